//! The value of env's `-S`, split into words ("-S/--split-string syntax" in the manual of coreutils). Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Around;
use crate::failure::shown;

/// How long a word may become (execve(2), `MAX_ARG_STRLEN`).
const LENGTH: usize = 131_072;

/// The words in `text`, or what is wrong with it.
pub fn words(text: &[u8], around: &Around) -> Result<Vec<OsString>, String> {
    let bad = |why: &str| Err(format!("{why} behind `-S`"));
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<Vec<u8>>, None);
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let byte = match byte {
            b'\'' | b'"' if quote.is_none() => {
                quote = Some(byte);
                word.get_or_insert_default();
                continue;
            }
            _ if quote == Some(byte) => {
                quote = None;
                continue;
            }
            b'\t'..=b'\r' | b' ' if quote.is_none() => {
                words.extend(word.take());
                continue;
            }
            b'#' if word.is_none() => break,
            b'\\' if quote == Some(b'\'') && !matches!(rest.first(), Some(b'\\' | b'\'')) => byte,
            b'\\' => {
                let Some((&escaped, behind)) = rest.split_first() else { return bad("a backslash at the end") };
                rest = behind;
                match escaped {
                    b'_' if quote.is_none() => {
                        words.extend(word.take());
                        continue;
                    }
                    b'c' if quote.is_none() => break,
                    b'_' => b' ',
                    b'f' => b'\x0c',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => b'\x0b',
                    b'"' | b'#' | b'$' | b'\'' | b'\\' => escaped,
                    _ => return bad(&format!("`\\{}`", shown(OsStr::from_bytes(&[escaped])))),
                }
            }
            b'$' if quote != Some(b'\'') => {
                let Some((name, behind)) = variable(rest) else { return bad("`$` that is not `${NAME}`") };
                rest = behind;
                if let Some(value) = around.vars.get(name) {
                    word.get_or_insert_default().extend(value.as_bytes());
                }
                if word.as_ref().is_some_and(|word| word.len() > LENGTH) {
                    return bad("too long a word");
                }
                continue;
            }
            other => other,
        };
        word.get_or_insert_default().push(byte);
    }
    if quote.is_some() {
        return bad("a quote that does not end");
    }
    words.extend(word);
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

/// The name in `{NAME}`, and what stands behind.
fn variable(text: &[u8]) -> Option<(&OsStr, &[u8])> {
    let text = text.strip_prefix(b"{")?;
    let end = text.iter().position(|b| *b == b'}')?;
    let (name, rest) = (text.get(..end)?, text.get(end + 1..)?);
    let letters = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (letters && !name.first()?.is_ascii_digit()).then_some((OsStr::from_bytes(name), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_env_makes() {
        let vars = [("V", "a b"), ("LONG", &"x".repeat(LENGTH))];
        let vars = vars.map(|(name, value)| (name.into(), value.into())).into();
        let around = Around { vars, dir: "".into() };
        let split = |text: &str| words(text.as_bytes(), &around);
        for (text, expected) in [
            ("", &[][..]),
            ("perl -w", &["perl", "-w"]),
            (" \t a \n\x0b\x0c\r b ", &["a", "b"]),
            ("a'b c'\"d e\"f", &["ab cd ef"]),
            ("'' \"\"", &["", ""]),
            ("'\"' \"'\"", &["\"", "'"]),
            ("a#b #c d", &["a#b"]),
            ("'#a' \\#b", &["#a", "#b"]),
            ("a\\_b \"c\\_d\"", &["a", "b", "c d"]),
            ("a b\\cd e", &["a", "b"]),
            ("'a\\\\b\\'c\\n' \\n\\t\\r\\v\\f\\$\\\"", &["a\\b'c\\n", "\n\t\r\x0b\x0c$\""]),
            ("${V}x \"${V}\" '${V}' ${NONE} ${NONE}#y", &["a bx", "a b", "${V}"]),
        ] {
            assert_eq!(split(text), Ok(expected.iter().map(OsString::from).collect()), "{text}");
        }
        for bad in ["a\"b", "'a", "a\\", "\\q", "\"\\c\"", "$V", "${1}", "${}", "${V", "${V x}", "${LONG}x${LONG}"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
