//! The list of a directory, as a page.

use std::fmt::Write as _;

use super::tree::encode;

/// The page for the directory `path` (as in a link) with these names; `true` marks a directory.
pub(super) fn page(path: &str, names: &[(Vec<u8>, bool)]) -> String {
    let shown = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let title = escape(&shown);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if path != "/" {
        page.push_str("<li><a href=\"../\">../</a>\n");
    }
    for (name, is_directory) in names {
        let slash = if *is_directory { "/" } else { "" };
        let text = escape(&String::from_utf8_lossy(name));
        // Writing to a string does not fail.
        let _ = writeln!(page, "<li><a href=\"./{}{slash}\">{text}{slash}</a>", encode(name));
    }
    page.push_str("</ul>\n</html>\n");
    page
}

/// Text for a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_the_page() {
        let page = page(
            "/a%3Cb/",
            &[(b"x\"><script>".to_vec(), false), (b"javascript:x".to_vec(), true), (vec![0xff], false)],
        );
        assert!(page.contains("<h1>/a&lt;b/</h1>"), "{page}");
        assert!(page.contains("<a href=\"./x%22%3E%3Cscript%3E\">x&quot;&gt;&lt;script&gt;</a>"), "{page}");
        assert!(page.contains("<a href=\"./javascript%3Ax/\">javascript:x/</a>"), "{page}");
        assert!(page.contains("<a href=\"./%FF\">\u{fffd}</a>"), "{page}");
    }
}
