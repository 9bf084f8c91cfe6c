//! Sockets that are listened on: made here, inherited, or standing for one connection.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::address::Listen;
use crate::made::MadeFile;

/// How many connections may wait to be accepted; the kernel bounds it further (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// When a silent connection is looked at by the kernel, how often, and how many times in vain: two minutes in all.
///
/// There is no TCP_USER_TIMEOUT beside it: that would also end a peer that lives and does not read for a while.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// What may wait to be sent in a connection within this host, in bytes. The kernel doubles it for its own use, socket(7), and counts what
/// the other side has not acknowledged.
const LOCAL_SEND_QUEUE: usize = 128 * 1024;

/// A listening socket, in no runtime yet.
#[derive(Debug)]
pub enum Bound {
    /// Over TCP.
    Tcp(std::net::TcpListener),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// A connection that was accepted elsewhere.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// What an inherited descriptor is.
#[derive(Debug)]
pub enum Inherited {
    /// It listens.
    Listener(Bound),
    /// It is a connection.
    Connection(Accepted),
}

/// A listening socket in the runtime that it was made in.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a Unix socket.
    Unix(UnixListener),
}

/// Listens at all addresses that `listen` stands for and this machine has. Without a host that is one IPv6 socket that takes IPv4 as well, or an IPv4
/// socket where the kernel has no IPv6.
///
/// # Errors
/// Those of the resolver, socket(2), bind(2) and listen(2).
pub fn listen(listen: &Listen) -> io::Result<Vec<Bound>> {
    let Some(host) = &listen.host else {
        let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, listen.port));
        return match bind(any, false) {
            Err(error) if is_missing(&error) => {
                bind(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, listen.port)), false).map(|one| vec![one])
            }
            bound => bound.map(|one| vec![one]),
        };
    };
    listen_at((host.as_str(), listen.port).to_socket_addrs()?)
}

/// Listens at all addresses of a name that this machine has. One must be there: a name may have addresses of other machines, or of
/// IPv6 where that is switched off.
fn listen_at(addrs: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<Bound>> {
    let (mut sockets, mut chosen, mut missing) = (Vec::new(), None, None);
    for mut addr in addrs {
        // A port of the kernel's choice is one port.
        addr.set_port(chosen.unwrap_or(addr.port()));
        match bind(addr, true) {
            Ok(bound) => {
                if let Bound::Tcp(listener) = &bound {
                    chosen = Some(listener.local_addr()?.port());
                }
                sockets.push(bound);
            }
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Whether a program could listen on a port, of all addresses, now.
///
/// # Errors
/// Those of socket(2) and bind(2): `AddrInUse` if somebody listens there, unless with SO_REUSEPORT, which the program may set as well.
pub fn check_free(port: u16) -> io::Result<()> {
    let any = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
    let bind = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())
    };
    match bind(any) {
        Err(error) if is_missing(&error) => bind(SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))),
        bound => bound,
    }
}

/// The machine has no such address: it is another's, or there is no IPv6 in the kernel, or it is switched off.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// `only`: an IPv6 socket takes no IPv4, for which there may be a socket beside it.
fn bind(addr: SocketAddr, only: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(only)?;
    }
    // Connections of an earlier process in TIME_WAIT are no reason to wait.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    ready(&socket)?;
    Ok(Bound::Tcp(socket.into()))
}

/// What a listening socket is to have. Accepted connections inherit TCP_NODELAY and the keepalive from it.
fn ready(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    tune(socket)
}

/// Settings of a TCP connection: frames go out when they are written, for who has more to say says it at once, and a peer
/// that vanished is found.
///
/// # Errors
/// Those of setsockopt(2).
pub fn tune(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if socket.domain()? == Domain::UNIX {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))
}

/// Keeps the queue of what is sent over a TCP connection short where it is within this host; one over a network is left as it is.
///
/// On a network the queue has to hold what is under way, and the kernel finds its size. Here nothing is under way, and a queue of
/// megabytes only means that what is read has left the processor's cache since it was written. An error costs speed alone, so there is none.
pub fn shorten_send_queue(socket: &impl AsFd, local: IpAddr, peer: IpAddr) {
    let (local, peer) = (local.to_canonical(), peer.to_canonical());
    if local == peer || local.is_loopback() {
        let _ = SockRef::from(socket).set_send_buffer_size(LOCAL_SEND_QUEUE);
    }
}

/// Listens at `path`, a file with the permissions `mode`, which is to be removed at the end. A socket that nobody listens on is replaced.
///
/// # Errors
/// `AddrInUse` if somebody listens there, or it is another kind of file; those of bind(2) and listen(2).
pub fn listen_unix(path: &Path, mode: u32) -> io::Result<(Bound, MadeFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // From here on it is removed again whatever fails.
    let file = MadeFile::new(path, &std::fs::symlink_metadata(path)?)?;
    // Until it listens, nobody can connect, whatever the permissions are.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    ready(&socket)?;
    Ok((Bound::Unix(OwnedFd::from(socket).into()), file))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match std::fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "there is a file that is no socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where the queue is full it would wait.
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
    }
}

/// Takes over a socket of another process, whose family and state it says itself.
///
/// # Errors
/// Those of getsockopt(2), `ENOTSOCK` among them; `Unsupported` for a socket that carries no stream of TCP or Unix.
pub fn inherit(descriptor: OwnedFd) -> io::Result<Inherited> {
    let socket = Socket::from(descriptor);
    let (domain, kind, listens) = (socket.domain()?, socket.r#type()?, socket.is_listener()?);
    if kind != Type::STREAM || ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "no stream socket of TCP or Unix"));
    }
    ready(&socket)?;
    Ok(match (listens, domain == Domain::UNIX) {
        (true, true) => Inherited::Listener(Bound::Unix(OwnedFd::from(socket).into())),
        (true, false) => Inherited::Listener(Bound::Tcp(socket.into())),
        (false, true) => Inherited::Connection(Accepted::Unix(OwnedFd::from(socket).into())),
        (false, false) => Inherited::Connection(Accepted::Tcp(socket.into())),
    })
}

impl Bound {
    /// A descriptor of its own for the same socket.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn try_clone(&self) -> io::Result<Bound> {
        Ok(match self {
            Bound::Tcp(listener) => Bound::Tcp(listener.try_clone()?),
            Bound::Unix(listener) => Bound::Unix(listener.try_clone()?),
        })
    }

    /// The socket in the current runtime.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn into_listener(self) -> io::Result<Listener> {
        Ok(match self {
            Bound::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// Where it listens.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(addr) => addr.fmt(f),
                Err(error) => write!(f, "a socket without an address: {error}"),
            },
            Bound::Unix(listener) => match listener.local_addr() {
                Ok(addr) => write!(f, "unix:{}", addr.as_pathname().unwrap_or(Path::new("?")).display()),
                Err(error) => write!(f, "a socket without an address: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_name_that_are_not_there_are_left_out_unless_all_are() {
        let [here, there, further] =
            ["127.0.0.1:0", "192.0.2.1:0", "[2001:db8::1]:0"].map(|addr| addr.parse::<SocketAddr>().unwrap());
        let shown = |addrs: &[SocketAddr]| listen_at(addrs.iter().copied()).map(|bound| bound[0].to_string());
        for addrs in [[there, further, here], [here, there, further]] {
            assert!(shown(&addrs).unwrap().starts_with("127.0.0.1:"), "{addrs:?}");
            assert_eq!(listen_at(addrs.into_iter()).unwrap().len(), 1);
        }
        assert!(is_missing(&shown(&[there, further]).unwrap_err()));
        let held = std::net::TcpListener::bind(here).unwrap();
        let error = shown(&[there, held.local_addr().unwrap()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn the_send_queue_is_short_within_this_host_and_nowhere_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sizes = |local: &str, peer: &str| {
            let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let size = || SockRef::from(&stream).send_buffer_size().unwrap();
            let before = size();
            shorten_send_queue(&stream, local.parse().unwrap(), peer.parse().unwrap());
            (before, size())
        };
        for (local, peer) in [("127.0.0.1", "127.0.0.2"), ("::ffff:127.0.0.1", "127.0.0.1"), ("192.0.2.1", "192.0.2.1")]
        {
            let (before, after) = sizes(local, peer);
            assert!(before != after && after <= 2 * LOCAL_SEND_QUEUE, "{local} {peer}: {before}, {after}");
        }
        for (local, peer) in
            [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"), ("::ffff:192.0.2.1", "192.0.2.2")]
        {
            let (before, after) = sizes(local, peer);
            assert_eq!(before, after, "{local} {peer}");
        }
    }
}
