//! What recordings look like.

use std::io::Write as _;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wsproto::Encoding;

use super::writer::Piece;
use crate::handler::Request;

/// What a file looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// That of 2011: JavaScript, a string for each piece, `{MS{DATA` to the client and `}MS}DATA` from it. Base64 stays so; other bytes
    /// stand as the characters of that number. noVNC's player takes both.
    #[default]
    JavaScript,
    /// A JSON object a line: first the connection, then each piece with its time, direction and bytes in base64, then the end.
    JsonLines,
}

impl FromStr for Form {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "js" => Ok(Form::JavaScript),
            "jsonl" => Ok(Form::JsonLines),
            _ => Err("it is js or jsonl"),
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Form::JavaScript => "js",
            Form::JsonLines => "jsonl",
        })
    }
}

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The client's.
    Client,
    /// The target's.
    Target,
}

/// What there is to tell of a connection before its first byte.
pub struct Start {
    pub id: u64,
    peer: String,
    path: String,
    dialect: String,
    time: SystemTime,
    /// The clock of all times in the file.
    pub begun: Instant,
}

impl Start {
    /// Bytes of text in it.
    pub fn len(&self) -> usize {
        self.peer.len() + self.path.len() + self.dialect.len()
    }

    /// Of this one, which begins.
    pub fn of(request: &Request) -> Self {
        Start {
            id: request.id,
            peer: request.peer.to_string(),
            path: request.accepted.path.clone(),
            dialect: request.accepted.dialect.to_string(),
            time: SystemTime::now(),
            begun: Instant::now(),
        }
    }
}

impl Form {
    /// The beginning of a file.
    pub fn start(self, out: &mut Vec<u8>, start: &Start) {
        match self {
            Form::JavaScript => out.extend_from_slice(b"var VNC_frame_data = [\n"),
            Form::JsonLines => {
                let Start { id, peer, path, dialect, time, .. } = start;
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                line(
                    out,
                    &json!({"start": since.as_secs_f64(), "id": id, "peer": peer, "path": path, "dialect": dialect}),
                );
            }
        }
    }

    /// A piece.
    pub fn piece(self, out: &mut Vec<u8>, piece: &Piece) {
        let Piece { after, from, bytes, encoding, .. } = piece;
        match self {
            Form::JavaScript => {
                let brace = match from {
                    From::Client => '}',
                    From::Target => '{',
                };
                // A vector takes what is written to it, here as below.
                let _ = write!(out, "'{brace}{}{brace}", after.as_millis());
                match encoding {
                    Encoding::Base64 => out.extend_from_slice(STANDARD.encode(bytes).as_bytes()),
                    Encoding::Binary => escape(out, bytes),
                }
                out.extend_from_slice(b"',\n");
            }
            Form::JsonLines => {
                let from = match from {
                    From::Client => "client",
                    From::Target => "target",
                };
                line(out, &json!({"ms": ms(*after), "from": from, "data": STANDARD.encode(bytes)}));
            }
        }
    }

    /// The end of a file.
    pub fn end(self, out: &mut Vec<u8>, after: Duration) {
        match self {
            Form::JavaScript => out.extend_from_slice(b"'EOF'];\n"),
            Form::JsonLines => line(out, &json!({"ms": ms(after), "end": true})),
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms(after: Duration) -> f64 {
    after.as_micros() as f64 / 1000.0
}

fn line(out: &mut Vec<u8>, object: &serde_json::Value) {
    let _ = writeln!(out, "{object}");
}

/// Bytes inside a string of JavaScript in single quotes, each one the character of its number. What could end the string or the
/// element that holds a script is escaped with all that is not plain.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\'' => out.extend_from_slice(b"\\'"),
            b' '..=b'~' if byte != b'<' => out.push(byte),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(form: Form, from: From, encoding: Encoding, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        let after = Duration::from_micros(1_234_567);
        form.piece(&mut out, &Piece { id: 1, after, from, bytes: bytes.into(), encoding });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_form_of_2011() {
        let js = |from, encoding, bytes| piece(Form::JavaScript, from, encoding, bytes);
        assert_eq!(js(From::Target, Encoding::Base64, b"RFB 003.008\n"), "'{1234{UkZCIDAwMy4wMDgK',\n");
        assert_eq!(js(From::Client, Encoding::Binary, b"a'\\\n\0\xFF<"), "'}1234}a\\'\\\\\\n\\x00\\xff\\x3c',\n");
    }

    #[test]
    fn lines_of_json() {
        let line = piece(Form::JsonLines, From::Client, Encoding::Binary, b"\0a");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value, json!({"ms": 1234.567, "from": "client", "data": "AGE="}));
        assert!(line.ends_with("}\n"));
    }
}
