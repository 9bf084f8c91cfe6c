//! What trusted proxies in front of us say of the client.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::handler::Peer;

/// The proxies whose word is taken: for `X-Forwarded-For`, `X-Forwarded-Proto` and the PROXY protocol. By default none.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<Network>);

/// Where a trusted proxy connects from: `192.0.2.0/24`, `2001:db8::1`, or `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// From these addresses.
    Inet(IpNet),
    /// Through a Unix socket.
    Unix,
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Network::Unix);
        }
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Network::Inet).map_err(|_| "an address, a network as 192.0.2.0/24, or unix")
    }
}

impl FromIterator<Network> for Trusted {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Trusted(networks.into_iter().collect())
    }
}

impl Trusted {
    /// Whether the word of `peer` is taken.
    pub fn includes(&self, peer: Peer) -> bool {
        self.0.iter().any(|network| match (network, peer) {
            (Network::Inet(net), Peer::Inet(addr)) => net.contains(&addr.ip().to_canonical()),
            (Network::Unix, Peer::Unix) => true,
            (Network::Inet(_), Peer::Unix) | (Network::Unix, Peer::Inet(_)) => false,
        })
    }

    /// Who sent a request with this head: the last of `X-Forwarded-For` that is no trusted proxy, if `peer` is one.
    ///
    /// Each proxy appends the address that it saw, so the list is believed from its end, as far as those who wrote it are
    /// trusted. What stands before may be the client's own invention.
    pub fn client(&self, peer: Peer, head: &[u8]) -> Peer {
        let mut client = peer;
        if !self.includes(peer) {
            return client;
        }
        let fields: Vec<&[u8]> = fields(head, "x-forwarded-for").collect();
        for entry in fields.iter().rev().flat_map(|field| field.rsplit(|&byte| byte == b',')) {
            // What cannot be read hides nothing that was appended to it.
            let Some(addr) = address(entry.trim_ascii()) else { break };
            client = Peer::Inet(addr);
            if !self.includes(client) {
                break;
            }
        }
        client
    }

    /// Whether a trusted `peer` says that the client came over TLS.
    pub fn is_secure(&self, peer: Peer, head: &[u8]) -> bool {
        let proto = || fields(head, "x-forwarded-proto").last()?.rsplit(|&byte| byte == b',').next();
        let is =
            |proto: &[u8]| [&b"https"[..], b"wss"].iter().any(|secure| proto.trim_ascii().eq_ignore_ascii_case(secure));
        self.includes(peer) && proto().is_some_and(is)
    }
}

/// The values of the header fields with this name, in their order. They are bytes of any kind (RFC 9110 section 5.5).
pub(crate) fn fields<'a>(head: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.split(|&byte| byte == b'\n').filter_map(move |line| {
        let (field, value) = line.split_at_checked(line.iter().position(|&byte| byte == b':')?)?;
        field.eq_ignore_ascii_case(name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// An address, with or without a port; port 0 stands for none.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let addr = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| text.parse()).ok()?;
    Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Trusted {
        ["10.0.0.0/8", "2001:db8::1", "unix"].iter().map(|net| net.parse::<Network>().unwrap()).collect()
    }

    fn peer(ip: &str) -> Peer {
        Peer::Inet((ip.parse::<IpAddr>().unwrap(), 7).into())
    }

    #[test]
    fn the_list_is_believed_from_its_end() {
        let head = |list: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nx-FORWARDED-for: {list}\r\n\r\n").into_bytes();
        for (from, list, client) in [
            (peer("192.0.2.1"), "198.51.100.1", "192.0.2.1:7"),
            (peer("10.0.0.1"), "198.51.100.1", "198.51.100.1:0"),
            (peer("::ffff:10.0.0.1"), "198.51.100.1", "198.51.100.1:0"),
            (peer("2001:db8::1"), "[2001:db8::5]:80", "[2001:db8::5]:80"),
            (Peer::Unix, "2001:db8::5", "[2001:db8::5]:0"),
            (peer("10.0.0.1"), "203.0.113.9, 198.51.100.1,10.2.3.4", "198.51.100.1:0"),
            (peer("10.0.0.1"), "203.0.113.9, unknown, 10.2.3.4", "10.2.3.4:0"),
            (peer("10.0.0.1"), "nonsense", "10.0.0.1:7"),
        ] {
            assert_eq!(trusted().client(from, &head(list)).to_string(), client, "{from} {list}");
        }
        let with = |list: &[u8]| [&b"GET / HTTP/1.1\r\nX-Forwarded-For: "[..], list, b"\r\n\r\n"].concat();
        for (list, client) in [
            (&b"\xff, 198.51.100.1"[..], "198.51.100.1:0"),
            (b"203.0.113.9, \xff, 10.2.3.4", "10.2.3.4:0"),
            (b"198.51.100.1, \xff", "10.0.0.1:7"),
            (b"\xff\r\nX-Forwarded-For: 198.51.100.1", "198.51.100.1:0"),
        ] {
            assert_eq!(trusted().client(peer("10.0.0.1"), &with(list)).to_string(), client, "{}", list.escape_ascii());
        }
        let twice = b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n";
        assert_eq!(trusted().client(peer("10.0.0.1"), twice).to_string(), "203.0.113.9:0");
    }

    #[test]
    fn tls_is_believed_of_the_trusted() {
        let head = b"GET / HTTP/1.1\r\nX-Forwarded-Proto: http, https\r\n\r\n";
        assert!(trusted().is_secure(peer("10.0.0.1"), head));
        assert!(!trusted().is_secure(peer("192.0.2.1"), head));
        assert!(trusted().is_secure(peer("10.0.0.1"), b"GET / HTTP/1.1\r\nX-Forwarded-Proto: \xff, https\r\n\r\n"));
        assert!(!trusted().is_secure(peer("10.0.0.1"), b"GET / HTTP/1.1\r\nX-Forwarded-Proto: http\r\n\r\n"));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
