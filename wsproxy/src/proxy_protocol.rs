//! The PROXY protocol, versions 1 and 2: a header in front of a connection that says whose it is.
//!
//! Source: "The PROXY protocol, versions 1 & 2" of the HAProxy project (doc/proxy-protocol.txt); sections are its.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How the header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As a line of text.
    V1,
    /// Binary.
    V2,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Version::V1),
            "v2" => Ok(Version::V2),
            _ => Err("v1 or v2"),
        }
    }
}

/// Both ends of a connection: from where it came, and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub from: SocketAddr,
    /// The address that it connected to.
    pub to: SocketAddr,
}

/// What version 2 begins with (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with, and its longest line (section 2.1).
const WORD: &[u8; 6] = b"PROXY ";
const LONGEST_LINE: usize = 107;

/// The shortest of them, `PROXY UNKNOWN\r\n`.
const SHORTEST_LINE: usize = 15;

/// The most that version 2 may have behind its fixed part: addresses, and 2 KiB of what we have no use for.
const LONGEST_TAIL: usize = 2048 + 216;

/// The header for a connection. `None`: its ends are not known, or no addresses.
pub fn header(version: Version, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(same_family);
    match version {
        Version::V1 => match ends {
            Some(Ends { from, to }) => {
                let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
                format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
            }
            None => b"PROXY UNKNOWN\r\n".to_vec(),
        },
        Version::V2 => {
            let mut out = SIGNATURE.to_vec();
            match ends {
                Some(Ends { from, to }) => {
                    let (family, len): (u8, u16) = if from.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
                    out.extend_from_slice(&[0x21, family]);
                    out.extend_from_slice(&len.to_be_bytes());
                    for ip in [from.ip(), to.ip()] {
                        match ip {
                            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                        }
                    }
                    out.extend_from_slice(&from.port().to_be_bytes());
                    out.extend_from_slice(&to.port().to_be_bytes());
                }
                // PROXY with the family UNSPEC: the connection is a client's, and its address is not known.
                None => out.extend_from_slice(&[0x21, 0, 0, 0]),
            }
            out
        }
    }
}

/// The header has one family for both; an IPv4 address has a form in IPv6 (RFC 4291 section 2.5.5.2).
fn same_family(Ends { from, to }: Ends) -> Ends {
    let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let (from, to) = (plain(from), plain(to));
    if from.is_ipv4() == to.is_ipv4() {
        return Ends { from, to };
    }
    let mapped = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        IpAddr::V6(_) => addr,
    };
    Ends { from: mapped(from), to: mapped(to) }
}

/// What stands in front of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Front {
    /// A header, and whose connection it says this is: `None` for one of the proxy's own, or one that it does not know.
    Header(Option<Ends>),
    /// No header; these bytes were read and belong to the connection.
    None(Vec<u8>),
}

/// Reads a header if there is one, and nothing behind it. At the end of the stream there is none.
///
/// # Errors
/// Those of reading; `InvalidData` for a header that is malformed.
pub async fn read<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<Front> {
    let mut seen = Vec::new();
    loop {
        let missing = match parse(&seen)? {
            Parsed::Needs(count) => count,
            Parsed::Done(ends) => return Ok(Front::Header(ends)),
            Parsed::Other => return Ok(Front::None(seen)),
        };
        let mut piece = stream.take(missing as u64);
        if piece.read_buf(&mut seen).await? == 0 {
            return Ok(Front::None(seen));
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// Undecided: at least so many more belong to the header, if it is one.
    Needs(usize),
    Done(Option<Ends>),
    Other,
}

fn parse(seen: &[u8]) -> io::Result<Parsed> {
    if begins(seen, WORD) {
        return parse_line(seen);
    }
    if !begins(seen, SIGNATURE) {
        return Ok(Parsed::Other);
    }
    let Some((&[version, family, high, low], tail)) =
        seen.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(Parsed::Needs(SIGNATURE.len() + 4 - seen.len()));
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version & 0xf0 != 0x20 || len > LONGEST_TAIL {
        return Err(malformed());
    }
    if tail.len() < len {
        return Ok(Parsed::Needs(len - tail.len()));
    }
    match (version & 0x0f, family) {
        // LOCAL: the proxy's own connection, such as a health check.
        (0, _) => Ok(Parsed::Done(None)),
        (1, 0x11) => binary::<4>(tail).map(|ends| Parsed::Done(Some(ends))),
        (1, 0x21) => binary::<16>(tail).map(|ends| Parsed::Done(Some(ends))),
        // UNSPEC, datagrams, Unix sockets: "the receiver must accept the connection and use the real one's addresses".
        (1, _) => Ok(Parsed::Done(None)),
        _ => Err(malformed()),
    }
}

/// Whether `seen` is the beginning of `whole`, or goes on behind it.
fn begins(seen: &[u8], whole: &[u8]) -> bool {
    seen.iter().zip(whole).all(|(seen, whole)| seen == whole)
}

/// Version 1. `seen` is empty or begins like it.
fn parse_line(seen: &[u8]) -> io::Result<Parsed> {
    let Some(line) = seen.strip_suffix(b"\r\n") else {
        if seen.len() >= LONGEST_LINE || seen.contains(&b'\n') {
            return Err(malformed());
        }
        // Of a longer line the end is looked for one byte after the other.
        let least = if seen.is_empty() { WORD.len() } else { SHORTEST_LINE };
        return Ok(Parsed::Needs(least.saturating_sub(seen.len()).max(1)));
    };
    let line = std::str::from_utf8(line).map_err(|_| malformed())?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or_else(malformed);
    let ends = match word()? {
        "UNKNOWN" => return Ok(Parsed::Done(None)),
        "TCP4" => ends::<Ipv4Addr>([word()?, word()?, word()?, word()?]),
        "TCP6" => ends::<Ipv6Addr>([word()?, word()?, word()?, word()?]),
        _ => None,
    };
    match (ends, words.next()) {
        (Some(ends), None) => Ok(Parsed::Done(Some(ends))),
        _ => Err(malformed()),
    }
}

fn ends<A: FromStr + Into<IpAddr>>([from, to, from_port, to_port]: [&str; 4]) -> Option<Ends> {
    let addr = |ip: &str, port: &str| -> Option<SocketAddr> {
        // `parse` takes a sign.
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten()?;
        Some(SocketAddr::new(ip.parse::<A>().ok()?.into(), port))
    };
    Some(Ends { from: addr(from, from_port)?, to: addr(to, to_port)? })
}

fn binary<const N: usize>(tail: &[u8]) -> io::Result<Ends>
where
    IpAddr: From<[u8; N]>,
{
    let parts = || {
        let (&from, rest) = tail.split_first_chunk::<N>()?;
        let (&to, rest) = rest.split_first_chunk::<N>()?;
        let (&from_port, rest) = rest.split_first_chunk::<2>()?;
        let (&to_port, _) = rest.split_first_chunk::<2>()?;
        let addr = |ip: [u8; N], port| SocketAddr::new(ip.into(), u16::from_be_bytes(port));
        Some(Ends { from: addr(from, from_port), to: addr(to, to_port) })
    };
    parts().ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(from: &str, to: &str) -> Ends {
        Ends { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    async fn front(mut bytes: &[u8]) -> (io::Result<Front>, usize) {
        (read(&mut bytes).await, bytes.len())
    }

    /// Delivers one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl AsyncRead for Drip<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.0.len().min(1));
            buf.put_slice(now);
            self.0 = later;
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_header_is_read_as_it_is_written_and_nothing_behind_it() {
        for ends in
            [Some(both("192.0.2.1:5", "198.51.100.2:80")), Some(both("[2001:db8::1]:65535", "[2001:db8::2]:1")), None]
        {
            for version in [Version::V1, Version::V2] {
                let mut bytes = header(version, ends);
                bytes.extend_from_slice(b"GET / HTTP/1.1");
                let (read, left) = front(&bytes).await;
                assert_eq!((read.unwrap(), left), (Front::Header(ends), 14), "{version:?}");
                let mut drip = Drip(&bytes);
                assert_eq!(super::read(&mut drip).await.unwrap(), Front::Header(ends));
                assert_eq!(drip.0.len(), 14);
            }
        }
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let ends = Some(both("255.255.255.255:65535", "1.2.3.4:80"));
        assert_eq!(header(Version::V1, ends), b"PROXY TCP4 255.255.255.255 1.2.3.4 65535 80\r\n");
        let v2 = [&SIGNATURE[..], &[0x21, 0x11, 0, 12, 255, 255, 255, 255, 1, 2, 3, 4, 255, 255, 0, 80]].concat();
        assert_eq!(header(Version::V2, ends), v2);
        let mixed = Some(both("192.0.2.1:5", "[2001:db8::2]:80"));
        assert_eq!(header(Version::V1, mixed), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5 80\r\n");
    }

    #[tokio::test]
    async fn what_is_no_header_is_given_back() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"POST", b"PR", b"", b"\x16\x03\x01", b"\r\n\r\nGET"] {
            let mut source = bytes;
            match read(&mut source).await.unwrap() {
                Front::None(seen) => assert_eq!([&seen[..], source].concat(), bytes),
                Front::Header(_) => panic!("{bytes:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_broken_header_is_an_error() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat();
        let version = [&SIGNATURE[..], &[0x31, 0, 0, 0]].concat();
        let short = [&SIGNATURE[..], &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        for bytes in [
            &b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n      ",
            b"PROXY TCP4 1.2.3.4\n5.6.7.8 1 2\r\n",
            b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            &long,
            &version,
            &short,
            &endless,
        ] {
            assert_eq!(front(bytes).await.0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
