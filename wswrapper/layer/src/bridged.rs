//! What a bridged connection is known by: the name of the companion's end.
//!
//! The program's end of the pair is a socket in the Unix domain. So that `getpeername` can still tell the client, in this
//! program or in whatever it becomes or passes the socket to, the companion's end is bound to a name in the abstract namespace
//! that says both addresses of the connection: `\0ws/PEER/LOCAL/NUMBER`. It stays as long as the bridge, needs no table, and
//! shows in ss(8). Under a name of the same parts, `\0wq/...`, the companion is asked for options of the client's socket
//! ([`wsproto::question`]).

use std::fmt::Write;
use std::net::SocketAddr;

pub use wsproto::question;

/// Room for a name: `sun_path` of unix(7), without what says that it is abstract.
const LONGEST: usize = 107;

/// What a name begins with.
const MARK: &str = "ws/";

/// What the name of the socket for questions begins with, in its place.
const QUESTIONS: [u8; MARK.len()] = *b"wq/";

/// Both addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub peer: SocketAddr,
    /// The one that it connected to.
    pub local: SocketAddr,
}

/// A name in the abstract namespace, without the zero byte in front.
pub struct Name {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Name {
    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// `bytes`, if they are the name of a companion's end.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Addresses::parse(bytes)?;
        let mut name = Name { bytes: [0; LONGEST], len: bytes.len() };
        name.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(name)
    }

    /// The name of its socket for questions.
    pub fn of_questions(mut self) -> Self {
        if let Some(mark) = self.bytes.first_chunk_mut() {
            *mark = QUESTIONS;
        }
        self
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Addresses {
    /// The name of a companion's end; `number` tells it from one that somebody else took. `None` if it is too long: two
    /// addresses of IPv6 with long scopes.
    pub fn name(&self, number: u32) -> Option<Name> {
        let mut name = Name { bytes: [0; LONGEST], len: 0 };
        write!(name, "{MARK}{}/{}/{:x}", self.peer, self.local, number & 0xffff).ok()?;
        Some(name)
    }

    /// The addresses that `name` says, if it is such a name.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(name).ok()?.strip_prefix(MARK)?.split('/');
        let mut addr = || parts.next()?.parse().ok();
        Some(Addresses { peer: addr()?, local: addr()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::PeerAddr;

    #[test]
    fn a_name_tells_both_addresses() {
        for (peer, local) in [
            ("192.0.2.7:40112", "127.0.0.1:5901"),
            ("[::1]:1", "[::ffff:127.0.0.1]:65535"),
            ("[fe80::1111:2222:3333:4444%12]:40112", "[fe80::5555:6666:7777:8888%12]:5901"),
            ("[1111:2222:3333:4444:5555:6666:7777:8888]:65535", "[1111:2222:3333:4444:5555:6666:7777:9999]:65535"),
        ] {
            let addresses = Addresses { peer: peer.parse().unwrap(), local: local.parse().unwrap() };
            let name = addresses.name(0xffff_ffff).unwrap();
            assert_eq!(Addresses::parse(name.as_bytes()), Some(addresses), "{peer}");
            let questions = Name::parse(name.as_bytes()).unwrap().of_questions();
            assert_eq!((&questions.as_bytes()[..3], &questions.as_bytes()[3..]), (&b"wq/"[..], &name.as_bytes()[3..]));
            for addr in [addresses.peer, addresses.local] {
                assert_eq!(PeerAddr::from(addr).socket_addr(), Some(addr));
            }
        }
    }

    #[test]
    fn other_names_tell_nothing() {
        for name in [&b""[..], b"ws/", b"/tmp/.X11-unix/X0", b"ws/127.0.0.1:1", b"ws/127.0.0.1/127.0.0.1:2/0", b"\xff"]
        {
            assert_eq!(Addresses::parse(name), None);
        }
    }
}
