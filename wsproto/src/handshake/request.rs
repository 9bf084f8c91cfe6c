//! What a complete request head asks for: the dialect, told by the request alone, the subprotocol, or a refusal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Error, Header, Request};

use super::refusal::{KeyFault, Refusal};
use super::{Accepted, Policy, hixie76};
use crate::dialect::{Dialect, Encoding};

/// The most header fields of a request.
const FIELDS: usize = 100;

/// What the reply has to prove.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// hixie-75: nothing.
    None,
    /// hixie-76: the numbers of both keys; the third key is to come.
    Numbers([u32; 2]),
    /// RFC 6455: the key.
    Key(String),
}

/// Looks at a head of which the request line is complete, and perhaps no more.
///
/// # Errors
/// A malformed line.
pub(super) fn check_line(head: &[u8]) -> Result<(), Refusal> {
    let line = head.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    match Request::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(malformed(error)),
    }
}

/// Judges a complete head.
///
/// # Errors
/// The first reason to refuse it.
pub(super) fn judge(head: &[u8], policy: &Policy) -> Result<(Box<Accepted>, Proof), Refusal> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    let complete = request.parse(head).map_err(malformed)?.is_complete();
    let (true, Some(method), Some(target), Some(version)) = (complete, request.method, request.path, request.version)
    else {
        return Err(Refusal::RequestLine);
    };
    if version != 1 {
        return Err(Refusal::HttpVersion);
    }
    if method != "GET" {
        return Err(Refusal::Method);
    }
    let fields = Fields(request.headers);
    if !fields.lists("Upgrade", "websocket") {
        return Err(Refusal::NotWebSocket);
    }
    if !fields.lists("Connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    let path = path(target)?.to_owned();
    let host = fields.one("Host")?.filter(|host| !host.contains(' ')).ok_or(Refusal::Host)?.to_owned();
    let dialect = dialect(&fields);
    if !policy.dialects.contains(dialect) {
        return Err(Refusal::Dialect(dialect));
    }
    let proof = match dialect {
        Dialect::Hixie75 => Proof::None,
        Dialect::Hixie76 => {
            Proof::Numbers([number(&fields, "Sec-WebSocket-Key1")?, number(&fields, "Sec-WebSocket-Key2")?])
        }
        Dialect::Rfc6455 => {
            match fields.one("Sec-WebSocket-Version")? {
                Some("13" | "8" | "7") => {}
                Some(_) => return Err(Refusal::Version),
                None => return Err(Refusal::VersionMissing),
            }
            let key = key(&fields)?;
            // A proxy in front that took the same bytes for a body would be talked past.
            if fields.one("Content-Length")?.is_some_and(|length| length != "0")
                || fields.values("Transfer-Encoding").next().is_some()
            {
                return Err(Refusal::Body);
            }
            Proof::Key(key)
        }
    };
    let origin = match (fields.one("Origin")?, dialect) {
        // Versions 8 and 7 name it so.
        (None, Dialect::Rfc6455) => fields.one("Sec-WebSocket-Origin")?,
        (origin, _) => origin,
    };
    let is_let_in = |origin| policy.origins.iter().any(|allowed| allowed.matches(origin));
    if !policy.origins.is_empty() && !origin.is_some_and(is_let_in) {
        return Err(Refusal::Origin);
    }
    let (encoding, subprotocol) = subprotocol(&fields, dialect);
    let origin = origin.map(str::to_owned);
    let subprotocol = subprotocol.map(str::to_owned);
    Ok((Box::new(Accepted { dialect, encoding, path, host, origin, subprotocol }), proof))
}

/// A request with a field of RFC 6455 is one of RFC 6455, whatever it lacks; two keys make hixie-76.
fn dialect(fields: &Fields) -> Dialect {
    let has = |name| fields.values(name).next().is_some();
    if has("Sec-WebSocket-Key") || has("Sec-WebSocket-Version") {
        Dialect::Rfc6455
    } else if has("Sec-WebSocket-Key1") || has("Sec-WebSocket-Key2") {
        Dialect::Hixie76
    } else {
        Dialect::Hixie75
    }
}

/// How payload travels, and the subprotocol to answer: one that was offered, or none.
fn subprotocol(fields: &Fields, dialect: Dialect) -> (Encoding, Option<&'static str>) {
    let offered = match dialect {
        Dialect::Hixie75 => "WebSocket-Protocol",
        Dialect::Hixie76 | Dialect::Rfc6455 => "Sec-WebSocket-Protocol",
    };
    // hixie separates them by spaces, RFC 6455 by commas; no name holds either.
    let offers = |name: &str| {
        fields.tokens(offered).any(|token| token.split(u8::is_ascii_whitespace).any(|token| token == name.as_bytes()))
    };
    match dialect {
        Dialect::Rfc6455 if offers("binary") => (Encoding::Binary, Some("binary")),
        Dialect::Rfc6455 if offers("base64") => (Encoding::Base64, Some("base64")),
        Dialect::Rfc6455 => (Encoding::Binary, None),
        Dialect::Hixie75 | Dialect::Hixie76 => {
            (Encoding::Base64, ["base64", "binary"].into_iter().find(|name| offers(name)))
        }
    }
}

/// The path of a request target: itself, or that of an absolute URI (RFC 6455 section 4.2.1).
fn path(target: &str) -> Result<&str, Refusal> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') {
        return Ok(target);
    }
    match target.split_once("://") {
        Some(("http" | "https" | "ws" | "wss", rest)) => {
            Ok(rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"))
        }
        _ => Err(Refusal::Target),
    }
}

/// The number of a hixie-76 key.
fn number(fields: &Fields, name: &'static str) -> Result<u32, Refusal> {
    let key = fields.one(name)?.ok_or(KeyFault::Missing);
    key.and_then(hixie76::number).map_err(|fault| Refusal::HixieKey(name, fault))
}

/// The key of RFC 6455.
fn key(fields: &Fields) -> Result<String, Refusal> {
    let key = fields.one("Sec-WebSocket-Key")?.ok_or(Refusal::KeyMissing)?;
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(key.to_owned()),
        Ok(_) | Err(_) => Err(Refusal::Key),
    }
}

/// The header fields of a request.
struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    /// The values of all lines of one name.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The elements of a list, over all lines of its name (RFC 9110 section 5.3).
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The value of a field that stands once, without white space around it; printable ASCII, as it goes into replies
    /// and into logs.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.values(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Refusal::Repeated(name));
        }
        let value = value.trim_ascii();
        if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Refusal::FieldValue);
        }
        std::str::from_utf8(value).map(Some).map_err(|_| Refusal::FieldValue)
    }
}

/// The refusal for what the parser does not take.
fn malformed(error: Error) -> Refusal {
    match error {
        Error::HeaderName => Refusal::FieldName,
        Error::HeaderValue => Refusal::FieldValue,
        Error::NewLine => Refusal::LineEnd,
        Error::TooManyHeaders => Refusal::TooManyFields,
        Error::Version => Refusal::HttpVersion,
        Error::Token | Error::Status => Refusal::RequestLine,
    }
}
