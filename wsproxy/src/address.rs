//! Addresses as the command line has them.

use std::fmt;
use std::str::FromStr;

/// Where to listen: `[ADDRESS:]PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The name or address; `None` for all.
    pub host: Option<String>,
    /// The port; 0 for one of the kernel's choice.
    pub port: u16,
}

/// Where to connect to: `HOST:PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why an address was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The port is no number of its range.
    Port,
    /// There is no host where one is needed, or an empty one.
    Host,
    /// An IPv6 address without brackets, or brackets around something else.
    Brackets,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Port => "the port is a number up to 65535",
            AddressError::Host => "a host stands in front of the port: HOST:PORT",
            AddressError::Brackets => "brackets belong around an IPv6 address, and nothing else: [::1]:5901",
        })
    }
}

impl std::error::Error for AddressError {}

/// Splits off the port. The host is `None` where there is no colon.
fn split(text: &str) -> Result<(Option<&str>, u16), AddressError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (Some(host), port),
        None => (None, text),
    };
    // `parse` takes a sign.
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
    let port = port.ok_or(AddressError::Port)?;
    let host = match host {
        Some(host) => Some(bare(host)?),
        None => None,
    };
    Ok((host, port))
}

/// The host without brackets.
fn bare(host: &str) -> Result<&str, AddressError> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) if is_ipv6(inside) => Ok(inside),
        Some(_) => Err(AddressError::Brackets),
        None if host.contains([':', '[', ']']) => Err(AddressError::Brackets),
        None => Ok(host),
    }
}

/// Whether it is an IPv6 address, perhaps with its zone: `fe80::1%eth0` (RFC 4007 section 11).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "1"));
    address.parse::<std::net::Ipv6Addr>().is_ok() && !zone.is_empty()
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        if host == Some("") {
            return Err(AddressError::Host);
        }
        Ok(Listen { host: host.map(str::to_owned), port })
    }
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match split(text)? {
            (None | Some(""), _) => Err(AddressError::Host),
            (Some(_), 0) => Err(AddressError::Port),
            (Some(host), port) => Ok(Target { host: host.to_owned(), port }),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => show(host, self.port, f),
            None => write!(f, "port {}", self.port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.host, self.port, f)
    }
}

fn show(host: &str, port: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let listen = |host: Option<&str>, port| Ok(Listen { host: host.map(str::to_owned), port });
        assert_eq!("5901".parse(), listen(None, 5901));
        assert_eq!("localhost:0".parse(), listen(Some("localhost"), 0));
        assert_eq!("[::1]:80".parse(), listen(Some("::1"), 80));
        for text in ["localhost:1", "[::1]:65535", "[fe80::1%eth0]:1"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (text, error) in [
            ("", AddressError::Port),
            ("x", AddressError::Port),
            ("+80", AddressError::Port),
            ("a:65536", AddressError::Port),
            (":80", AddressError::Host),
            ("::1:80", AddressError::Brackets),
            ("[localhost]:80", AddressError::Brackets),
            ("[::1%]:80", AddressError::Brackets),
            ("fe80::1%eth0:80", AddressError::Brackets),
        ] {
            assert_eq!(text.parse::<Listen>(), Err(error), "{text}");
        }
        assert_eq!("80".parse::<Target>(), Err(AddressError::Host));
        assert_eq!("a:0".parse::<Target>(), Err(AddressError::Port));
    }
}
