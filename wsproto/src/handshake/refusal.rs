//! The reasons for which a request is refused, each with its HTTP status and its one line of text.

use std::fmt;

use crate::dialect::Dialect;

/// Why a request was refused. Displayed, it is the one line that the reply's body carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first byte is that of a TLS handshake.
    Tls,
    /// The request line is none of HTTP.
    RequestLine,
    /// The request target is neither a path nor an absolute `http` URI, or holds other than printable ASCII.
    Target,
    /// HTTP of another version than 1.1.
    HttpVersion,
    /// A header field's name is malformed.
    FieldName,
    /// A header field's value is malformed.
    FieldValue,
    /// A line ends in a way that HTTP does not know.
    LineEnd,
    /// A field that must stand once stands several times.
    Repeated(&'static str),
    /// The method is not GET.
    Method,
    /// A web request.
    NotWebSocket,
    /// `Connection` does not list `Upgrade`.
    Connection,
    /// `Host` is missing.
    Host,
    /// `Origin` is not one of those let in.
    Origin,
    /// RFC 6455: the request announces a body, whose bytes would stand where frames begin.
    Body,
    /// RFC 6455: `Sec-WebSocket-Version` is missing.
    VersionMissing,
    /// RFC 6455: the version is none of 13, 8 and 7.
    Version,
    /// RFC 6455: `Sec-WebSocket-Key` is missing.
    KeyMissing,
    /// RFC 6455: `Sec-WebSocket-Key` is not the base64 of 16 bytes.
    Key,
    /// hixie-76: `Sec-WebSocket-Key1` or `Sec-WebSocket-Key2` hides no number.
    HixieKey(&'static str, KeyFault),
    /// The client's dialect is not spoken here.
    Dialect(Dialect),
    /// The head is longer than its limit.
    HeadTooLarge,
    /// There are more than 100 header fields.
    TooManyFields,
}

/// What is wrong with a hixie-76 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is not there.
    Missing,
    /// It has no digits.
    NoDigits,
    /// It has no spaces.
    NoSpaces,
    /// Its number is above 32 bits.
    TooLarge,
    /// Its number is no multiple of its spaces.
    NotDivisible,
}

impl Refusal {
    /// The HTTP status of the reply.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Tls
            | Refusal::RequestLine
            | Refusal::Target
            | Refusal::HttpVersion
            | Refusal::FieldName
            | Refusal::FieldValue
            | Refusal::LineEnd
            | Refusal::Repeated(_)
            | Refusal::NotWebSocket
            | Refusal::Connection
            | Refusal::Host
            | Refusal::Body
            | Refusal::KeyMissing
            | Refusal::Key
            | Refusal::HixieKey(..) => 400,
            Refusal::Origin => 403,
            Refusal::Method => 405,
            Refusal::VersionMissing | Refusal::Version | Refusal::Dialect(_) => 426,
            Refusal::HeadTooLarge | Refusal::TooManyFields => 431,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Tls => "This port does not speak TLS",
            Refusal::RequestLine => "Malformed request line",
            Refusal::Target => "Malformed request target",
            Refusal::HttpVersion => "HTTP/1.1 is required",
            Refusal::FieldName => "Malformed header name",
            Refusal::FieldValue => "Malformed header value",
            Refusal::LineEnd => "Malformed line end",
            Refusal::Repeated(name) => return write!(f, "{name} stands more than once"),
            Refusal::Method => "Only GET opens a WebSocket",
            Refusal::NotWebSocket => "This is a WebSocket port",
            Refusal::Connection => "Connection does not list Upgrade",
            Refusal::Host => "Host is missing",
            Refusal::Origin => "Origin is not allowed",
            Refusal::VersionMissing => "Sec-WebSocket-Version is missing",
            Refusal::Version => "Sec-WebSocket-Version is none of 13, 8, 7",
            Refusal::Body => "A request with a body opens no WebSocket",
            Refusal::KeyMissing => "Sec-WebSocket-Key is missing",
            Refusal::Key => "Sec-WebSocket-Key is not the base64 of 16 bytes",
            Refusal::HixieKey(name, fault) => return write!(f, "{name} {fault}"),
            Refusal::Dialect(dialect) => return write!(f, "{dialect} is not spoken on this port"),
            Refusal::HeadTooLarge => "Request head is too large",
            Refusal::TooManyFields => "Too many header fields",
        })
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyFault::Missing => "is missing",
            KeyFault::NoDigits => "has no digits",
            KeyFault::NoSpaces => "has no spaces",
            KeyFault::TooLarge => "is above 32 bits",
            KeyFault::NotDivisible => "is not divisible by its spaces",
        })
    }
}
