//! Connections to targets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use crate::address::{AddressError, Target};
use crate::handler::{Peer, Request};
use crate::proxy_protocol::{self, Ends};
use crate::resolve::resolve;
use crate::socket::{shorten_send_queue, tune};
use crate::stream::Stream;
use crate::tls::TargetTls;

/// "Connection Attempt Delay" (RFC 8305 section 5): how long an address has before the next is tried as well.
const STAGGER: Duration = Duration::from_millis(250);

/// How long it takes until a Unix socket whose queue is full is tried again.
const FULL: Duration = Duration::from_millis(10);

/// The name that a certificate must be for behind a Unix socket.
const LOCAL: &str = "localhost";

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A port of a host.
    Tcp(Target),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Tcp(target) => target.fmt(f),
            Destination::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Destination {
    type Err = AddressError;

    /// `HOST:PORT`, or `unix:` and the absolute path of a Unix socket (`unix_socket:`, as websockify has it).
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let path = text.strip_prefix("unix:").or_else(|| text.strip_prefix("unix_socket:"));
        match path.filter(|path| path.starts_with('/')) {
            Some(path) => Ok(Destination::Unix(path.into())),
            None => text.parse().map(Destination::Tcp),
        }
    }
}

/// A connection to a target.
pub enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over TLS on either.
    Tls(Box<TlsStream<Stream>>),
}

/// How targets are connected to.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The address to connect from.
    pub source: Option<IpAddr>,
    /// How long it may take in all.
    pub timeout: Duration,
    /// Tell the target whose connection it is.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// Speak TLS to it.
    pub tls: Option<TargetTls>,
}

impl Default for Dialer {
    fn default() -> Self {
        Dialer { source: None, timeout: Duration::from_secs(10), proxy_protocol: None, tls: None }
    }
}

impl Dialer {
    /// Connects to `destination` for the sender of `request`.
    ///
    /// # Errors
    /// Those of the resolver and of connect(2), for the address that failed last; `TimedOut`; `InvalidData` for a failed TLS
    /// handshake.
    pub async fn connect(&self, destination: &Destination, request: &Request) -> io::Result<Connection> {
        let connected = timeout(self.timeout, async {
            match destination {
                Destination::Tcp(target) => {
                    let mut stream = self.connect_tcp(target).await?;
                    self.introduce(&mut stream, request).await?;
                    match &self.tls {
                        Some(tls) => Ok(Connection::Tls(Box::new(tls.connect(&target.host, Box::new(stream)).await?))),
                        None => Ok(Connection::Tcp(stream)),
                    }
                }
                Destination::Unix(path) => {
                    let mut stream = connect_unix(path).await?;
                    self.introduce(&mut stream, request).await?;
                    match &self.tls {
                        Some(tls) => Ok(Connection::Tls(Box::new(tls.connect(LOCAL, Box::new(stream)).await?))),
                        None => Ok(Connection::Unix(stream)),
                    }
                }
            }
        });
        connected.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
    }

    /// Tells the target whose connection it is, if it is to know.
    async fn introduce<T: AsyncWrite + Unpin>(&self, stream: &mut T, request: &Request) -> io::Result<()> {
        let Some(version) = self.proxy_protocol else {
            return Ok(());
        };
        let ends = match (request.peer, request.local) {
            (Peer::Inet(from), Some(to)) => Some(Ends { from, to }),
            // A trusted proxy has named the client on a Unix socket, and nobody where the client connected to.
            (Peer::Inet(from), None) => Some(Ends { from, to: unspecified(from) }),
            (Peer::Unix, _) => None,
        };
        stream.write_all(&proxy_protocol::header(version, ends)).await
    }

    async fn connect_tcp(&self, target: &Target) -> io::Result<TcpStream> {
        let found = resolve(&target.host, target.port).await?;
        self.race(found.into_iter().filter(|addr| self.reaches(addr)).collect()).await
    }

    /// Tries all addresses, each when the one before has failed or has had its time.
    async fn race(&self, addrs: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let mut left = interleave(addrs).into_iter();
        let nowhere = || io::Error::new(io::ErrorKind::AddrNotAvailable, "no address of the family of the source");
        let first = left.next().ok_or_else(nowhere)?;
        if left.len() == 0 {
            return attempt(first, self.source).await;
        }
        let mut attempts = JoinSet::new();
        attempts.spawn(attempt(first, self.source));
        loop {
            let done = tokio::select! {
                Some(done) = attempts.join_next() => Some(done),
                () = sleep(STAGGER), if left.len() > 0 => None,
                else => return Err(nowhere()),
            };
            let failed = match done {
                None => None,
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => Some(error),
                Some(Err(error)) => Some(io::Error::other(error)),
            };
            match (left.next(), failed) {
                (Some(addr), _) => drop(attempts.spawn(attempt(addr, self.source))),
                (None, Some(error)) if attempts.is_empty() => return Err(error),
                (None, _) => {}
            }
        }
    }

    fn reaches(&self, addr: &SocketAddr) -> bool {
        self.source.is_none_or(|source| source.is_ipv4() == addr.is_ipv4())
    }
}

/// No address, of the same family.
fn unspecified(addr: SocketAddr) -> SocketAddr {
    let any = if addr.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0)
}

/// The families in turn, from that of the first on (RFC 8305 section 4). The resolver has sorted each.
fn interleave(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addrs.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = addrs.into_iter().partition(|addr| addr.is_ipv4() == first_is_v4);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(one.len() + other.len());
    while one.len() + other.len() > 0 {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns
}

/// Connects to a Unix socket. One whose queue is full makes connect(2) wait, or fail with EAGAIN if it may not, and nothing tells when there
/// is room again.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL).await,
            done => return done,
        }
    }
}

async fn attempt(addr: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    tune(&socket)?;
    if let Some(source) = source {
        // The port is chosen when the target is known: one port serves for many targets (ip(7)).
        nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&addr.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    // Within a host the connection is there by now: nothing to wait for, and no timer to set.
    if stream.peer_addr().is_err() {
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(()), Err)?;
    }
    shorten_send_queue(&stream, stream.local_addr()?.ip(), addr.ip());
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_they_are_written() {
        for text in ["host:1", "[::1]:1", "unix:/run/x", "unix:5"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        assert_eq!("unix_socket:/run/x".parse(), Ok(Destination::Unix("/run/x".into())));
        assert!("unix:run/x".parse::<Destination>().is_err());
    }

    #[test]
    fn families_take_turns() {
        let addrs = |list: &[&str]| list.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(interleave(given), addrs(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
        assert_eq!(interleave(Vec::new()), []);
    }

    /// An address that does not answer: what waits to be accepted there fills the queue. Lives as long as the sockets.
    fn hangs() -> (SocketAddr, Vec<socket2::Socket>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let door = socket();
        door.bind(&any.into()).unwrap();
        door.listen(0).unwrap();
        let addr = door.local_addr().unwrap();
        let mut sockets = vec![door];
        for _ in 0..4 {
            let waiting = socket();
            waiting.set_nonblocking(true).unwrap();
            let _ = waiting.connect(&addr);
            sockets.push(waiting);
        }
        (addr.as_socket().unwrap(), sockets)
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_fails_or_hangs() {
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = door.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (silent, _held) = hangs();
        let dialer = Dialer::default();
        for addrs in [vec![good], vec![closed, good], vec![silent, good], vec![silent, closed, good, closed]] {
            let connected = timeout(Duration::from_secs(5), dialer.race(addrs.clone())).await;
            let stream = connected.unwrap_or_else(|_| panic!("{addrs:?}: no answer"));
            assert_eq!(stream.unwrap().peer_addr().unwrap(), good, "{addrs:?}");
        }
        let error = dialer.race(vec![closed, closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(dialer.race(Vec::new()).await.is_err());
    }
}
