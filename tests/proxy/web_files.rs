//! The files of the web side, as curl gets them.

use std::os::unix::fs::symlink;
use std::process::Command;

use wstests::{Rng, Scratch};

use crate::common::Rig;
use crate::pki::Pki;
use crate::tools::finish;

/// A reply.
struct Got {
    status: u16,
    /// Lines `name: value`, the names in lower case.
    fields: Vec<String>,
    body: Vec<u8>,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Asks for a path, as it is, with further options of curl.
#[track_caller]
fn curl(base: &str, path: &str, options: &[&str]) -> Got {
    let output = finish(
        Command::new("curl")
            .args(["-sS", "--path-as-is", "--noproxy", "*", "-D", "/dev/stderr", &format!("{base}{path}")])
            .args(options),
    );
    let head = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{path} {options:?}: {head}");
    let mut lines = head.lines().map(str::trim_end);
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| format!("{}:{value}", name.to_ascii_lowercase())).collect();
    Got { status, fields, body: output.stdout }
}

fn site() -> Scratch {
    let site = Scratch::new();
    std::fs::create_dir(site.join("www")).unwrap();
    std::fs::create_dir(site.join("www/sub dir")).unwrap();
    std::fs::create_dir(site.join("www/indexed")).unwrap();
    std::fs::write(site.join("secret"), "secret").unwrap();
    std::fs::write(site.join("www/page.html"), "<p>page").unwrap();
    std::fs::write(site.join("www/ten"), "0123456789").unwrap();
    std::fs::write(site.join("www/sub dir/a&b.css"), "p {}").unwrap();
    std::fs::write(site.join("www/indexed/index.html"), "<p>index").unwrap();
    site
}

fn serve(site: &Scratch, options: &[&str]) -> (Rig, String) {
    let rig = Rig::new(&[&["--web", site.join("www").to_str().unwrap()], options].concat());
    let base = format!("http://{}", rig.proxy.addr());
    (rig, base)
}

#[test]
fn a_file_comes_whole_with_its_type_and_validators() {
    let site = site();
    let large = Rng::new(5).bytes(5_000_001);
    for (name, kind) in [
        ("page.html", "text/html; charset=utf-8"),
        ("module.js", "text/javascript; charset=utf-8"),
        ("module.mjs", "application/javascript"),
        ("code.wasm", "application/wasm"),
        ("picture.svg", "image/svg+xml"),
        ("picture.PNG", "image/png"),
        ("data.json", "application/json"),
        ("unknown", "application/octet-stream"),
    ] {
        std::fs::write(site.join("www").join(name), &large).unwrap();
        let (_rig, base) = serve(&site, &[]);
        let got = curl(&base, &format!("/{name}"), &[]);
        assert_eq!((got.status, got.field("content-type")), (200, Some(kind)), "{name}");
        assert!(got.body == large, "{name}");
        assert_eq!(got.field("content-length"), Some("5000001"));
        assert!(got.field("etag").is_some() && got.field("last-modified").is_some() && got.field("date").is_some());
        assert_eq!(got.field("cache-control"), Some("no-cache"));
        let head = curl(&base, &format!("/{name}"), &["-I"]);
        assert_eq!((head.status, head.field("content-length")), (200, Some("5000001")), "{name}");
        assert_eq!(head.field("etag"), got.field("etag"));
    }
}

#[test]
fn ranges_and_conditions() {
    let site = site();
    let (_rig, base) = serve(&site, &[]);
    let whole = curl(&base, "/ten", &[]);
    let (tag, date) = (whole.field("etag").unwrap(), whole.field("last-modified").unwrap());
    for (range, status, body, place) in [
        ("2-4", 206, "234", Some("bytes 2-4/10")),
        ("7-", 206, "789", Some("bytes 7-9/10")),
        ("-1", 206, "9", Some("bytes 9-9/10")),
        ("0-1,4-5", 200, "0123456789", None),
        ("10-", 416, "Range Not Satisfiable\n", Some("bytes */10")),
    ] {
        let got = curl(&base, "/ten", &["-r", range]);
        let (body, length) = (body.as_bytes(), body.len().to_string());
        assert_eq!((got.status, got.body.as_slice(), got.field("content-range")), (status, body, place), "{range}");
        assert_eq!(got.field("content-length"), Some(length.as_str()), "{range}");
    }
    let with = |field: &str| curl(&base, "/ten", &["-H", field]);
    for field in [format!("If-None-Match: {tag}"), format!("If-Modified-Since: {date}")] {
        let got = with(&field);
        assert_eq!((got.status, got.body.as_slice(), got.field("etag")), (304, &b""[..], Some(tag)), "{field}");
    }
    assert_eq!(with("If-None-Match: \"other\"").status, 200);
    assert_eq!(with("If-Match: \"other\"").status, 412);
    std::fs::write(site.join("www/ten"), "9876543210").unwrap();
    let got = with(&format!("If-None-Match: {tag}"));
    assert_eq!((got.status, got.body.as_slice()), (200, &b"9876543210"[..]));
}

#[test]
fn directories_have_an_index_or_nothing() {
    let site = site();
    for options in [&[][..], &["--file-only"]] {
        let (_rig, base) = serve(&site, options);
        assert_eq!(curl(&base, "/indexed/", &[]).body, b"<p>index");
        let got = curl(&base, "/indexed?a=b", &[]);
        assert_eq!((got.status, got.field("location")), (301, Some("/indexed/?a=b")));
        let got = curl(&base, "//sub%20dir", &[]);
        assert_eq!((got.status, got.field("location")), (301, Some("/sub%20dir/")));
        for path in ["/", "/sub%20dir/", "/page.html/", "/missing", "/missing/", "/page.html/x"] {
            assert_eq!(curl(&base, path, &[]).status, 404, "{path}");
        }
        assert_eq!(curl(&base, "/sub%20dir/a%26b.css?v=1#x", &[]).body, b"p {}");
    }
}

#[test]
fn web_list_lists_what_has_no_index() {
    let site = site();
    let (_rig, base) = serve(&site, &["--web-list"]);
    let got = curl(&base, "/", &[]);
    let page = String::from_utf8_lossy(&got.body);
    assert_eq!((got.status, got.field("content-type")), (200, Some("text/html; charset=utf-8")));
    for link in ["<a href=\"./page.html\">page.html</a>", "<a href=\"./sub%20dir/\">sub dir/</a>", "indexed/"] {
        assert!(page.contains(link), "{link}: {page}");
    }
    let page = String::from_utf8(curl(&base, "/sub%20dir/", &[]).body).unwrap();
    assert!(page.contains("<a href=\"./a%26b.css\">a&amp;b.css</a>") && page.contains("../"), "{page}");
    assert_eq!(curl(&base, "/indexed/", &[]).body, b"<p>index");
}

#[test]
fn nothing_outside_is_served() {
    let site = site();
    let inside = site.join("www");
    for (name, to) in [
        ("out", "../secret"),
        ("absolute", site.join("secret").to_str().unwrap()),
        ("up", ".."),
        ("root", "/"),
        ("inside", "page.html"),
        ("hop", "up/secret"),
        ("round", "round"),
        ("proc", "/proc/self/root"),
    ] {
        symlink(to, inside.join(name)).unwrap();
    }
    symlink("../../secret", inside.join("sub dir/index.html")).unwrap();
    assert!(finish(Command::new("mkfifo").arg(inside.join("pipe"))).status.success());
    let (_rig, base) = serve(&site, &["--web-list"]);
    for path in [
        "/../secret",
        "/indexed/../../secret",
        "/%2e%2e/secret",
        "/.%2E/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/indexed/..%2f..%2fsecret",
        "/..%5csecret",
        "/%252e%252e/secret",
        "/..%c0%afsecret",
        "/page.html%00",
        "/%00",
        "/out",
        "/absolute",
        "/up/secret",
        "/up/",
        "/root/etc/passwd",
        "/hop",
        "/round",
        "/proc/etc/passwd",
        "/pipe",
    ] {
        let got = curl(&base, path, &[]);
        assert_eq!((got.status, got.body.as_slice()), (404, &b"Not Found\n"[..]), "{path}");
    }
    assert_eq!(curl(&base, "/inside", &[]).body, b"<p>page");
    // An index that leads out is none.
    let page = curl(&base, "/sub%20dir/", &[]);
    assert!(page.status == 200 && !String::from_utf8_lossy(&page.body).contains("secret"));
}

#[test]
fn the_directory_is_held_open() {
    let site = site();
    let (_rig, base) = serve(&site, &[]);
    assert_eq!(curl(&base, "/ten", &[]).status, 200);
    std::fs::rename(site.join("www"), site.join("moved")).unwrap();
    assert_eq!(curl(&base, "/ten", &[]).status, 200);
}

#[test]
fn curl_gets_files_over_tls() {
    let (site, pki) = (site(), Pki::new());
    let (rig, _) = serve(&site, &["--cert", &pki.local("local")]);
    let got =
        curl(&format!("https://localhost:{}", rig.proxy.port()), "/ten", &["-4", "--cacert", &pki.file("ca.pem")]);
    assert_eq!((got.status, got.body.as_slice()), (200, &b"0123456789"[..]));
}
