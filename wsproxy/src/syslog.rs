//! Messages for syslog: RFC 5424, over a Unix socket or UDP (RFC 5426).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::config;
use crate::failure::Failure;

/// The facility of daemons, RFC 5424 section 6.2.1.
const DAEMON: u8 = 3;

/// A syslog server. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Syslog(Arc<Server>);

#[derive(Debug)]
struct Server {
    socket: Socket,
    host: String,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram, PathBuf),
    Udp(UdpSocket),
}

impl Syslog {
    /// Connects. A server that is not there is found here only on a Unix socket.
    ///
    /// # Errors
    /// Those of connect(2) and of the resolver.
    pub fn connect(server: &config::Syslog) -> Result<Self, Failure> {
        let (name, socket) = match server {
            config::Syslog::Path(path) => (path.display().to_string(), unix(path)),
            config::Syslog::Udp(target) => (target.to_string(), udp(&target.host, target.port)),
        };
        let socket = socket.map_err(|why| Failure::system(format!("--syslog {name}"), why))?;
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        Ok(Syslog(Arc::new(Server { socket, host })))
    }
}

fn unix(path: &Path) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    // A server that is slow costs messages, not sessions.
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(Socket::Unix(socket, path.to_owned()))
}

fn udp(host: &str, port: u16) -> io::Result<Socket> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for addr in (host, port).to_socket_addrs()? {
        let any = if addr.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        match socket.connect(addr) {
            Ok(()) => return Ok(Socket::Udp(socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Where one event is written, in one piece.
pub struct Message {
    server: Arc<Server>,
    severity: u8,
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Message;

    fn make_writer(&'a self) -> Message {
        Message { server: Arc::clone(&self.0), severity: severity(Level::INFO) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Message {
        Message { server: Arc::clone(&self.0), severity: severity(*meta.level()) }
    }
}

/// RFC 5424 section 6.2.1.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl io::Write for Message {
    /// Sends a message. What the server does not take is lost.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Server { socket, host } = &*self.server;
        let mut message = format!("<{}>1 ", DAEMON * 8 + self.severity);
        // A string takes whatever is written.
        let _ = SystemTime.format_time(&mut format::Writer::new(&mut message));
        let host = if host.is_empty() { "-" } else { host };
        message.push_str(&format!(" {host} wsproxy {} - - ", std::process::id()));
        let mut message = message.into_bytes();
        message.extend_from_slice(text.trim_ascii_end());
        match socket {
            Socket::Udp(socket) => drop(socket.send(&message)),
            Socket::Unix(socket, path) => match socket.send(&message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Another server has taken its place.
                Err(_) => drop(socket.connect(path).and_then(|()| socket.send(&message))),
                Ok(_) => {}
            },
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
