//! Origins that are let in: RFC 6454.

use std::fmt;
use std::str::FromStr;

/// An origin as browsers write it into the Origin field: `SCHEME://HOST`, with `:PORT` where that is not the scheme's own,
/// or `null` (RFC 6454 sections 6.2 and 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Whether the value of an Origin field says the same, without regard to ASCII case.
    pub fn matches(&self, field: &str) -> bool {
        self.0.eq_ignore_ascii_case(field)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no origin: no browser would ever send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginError {
    /// It is not made of a scheme and a host.
    Form,
    /// It goes on behind the host and port.
    Path,
    /// It names the port that its scheme has anyway.
    Port,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OriginError::Form => "an origin is SCHEME://HOST or SCHEME://HOST:PORT, as https://example.org, in ASCII",
            OriginError::Path => "an origin ends with its host and port: leave out what is behind",
            OriginError::Port => "browsers leave out the port that the scheme has anyway: leave it out",
        })
    }
}

impl std::error::Error for OriginError {}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.eq_ignore_ascii_case("null") {
            return Ok(Origin(text.to_owned()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(OriginError::Form);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Form)?;
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        // A file has no host.
        let host = if scheme.eq_ignore_ascii_case("file") { rest.is_empty() } else { !rest.is_empty() };
        if scheme.is_empty() || !scheme.chars().all(of_scheme) || !(host || rest.starts_with('/')) {
            return Err(OriginError::Form);
        }
        if rest.contains(['/', '?', '#']) {
            return Err(OriginError::Path);
        }
        // What stands in an address of IPv6 is no port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '[' | ']' | ':');
        let port_is_good =
            port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
        if !host.chars().all(of_host) || (port.is_some() && host.is_empty()) || !port_is_good {
            return Err(OriginError::Form);
        }
        match (scheme.to_ascii_lowercase().as_str(), port) {
            ("http" | "ws", Some("80")) | ("https" | "wss", Some("443")) => Err(OriginError::Port),
            _ => Ok(Origin(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_an_origin() {
        for text in [
            "https://example.org",
            "http://example.org:8080",
            "http://localhost:443",
            "http://[::1]",
            "http://[::1]:8080",
            "HTTPS://xn--bcher-kva.example",
            "moz-extension://0b3f-7",
            "null",
            "file://",
        ] {
            let origin = text.parse::<Origin>().unwrap();
            assert!(origin.matches(&text.to_ascii_lowercase()) && !origin.matches("https://other.example"), "{text}");
            assert_eq!(origin.to_string(), text);
        }
    }

    #[test]
    fn what_no_browser_sends_is_none() {
        use OriginError::{Form, Path, Port};
        for (text, error) in [
            ("", Form),
            ("example.org", Form),
            ("*", Form),
            ("https://*.example.org", Form),
            ("https://", Form),
            ("://example.org", Form),
            ("-1", Form),
            ("https://a b", Form),
            ("https://a https://b", Form),
            ("https://a\n", Form),
            ("https://user@example.org", Form),
            ("https://bücher.example", Form),
            ("https://example.org:", Form),
            ("https://example.org:+1", Form),
            ("https://example.org:65536", Form),
            ("https://:80", Form),
            ("https://example.org/", Path),
            ("https://example.org/x?y", Path),
            ("file:///tmp", Path),
            ("https://example.org:443", Port),
            ("HTTP://example.org:80", Port),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text:?}");
        }
    }
}
