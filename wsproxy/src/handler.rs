//! What a server does with a WebSocket.

use std::fmt;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use http::Extensions;
use wsproto::Accepted;

use crate::lifecycle::Lifecycle;
use crate::stream::Stream;
use crate::tls::TlsFacts;
use crate::websocket::WebSocket;

/// A request for a WebSocket that the protocol has nothing against.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the handshake found in it: path, Host, Origin, dialect, encoding, subprotocol.
    pub accepted: Accepted,
    /// Its head as it came: the request line, the header fields, the blank line.
    pub head: Vec<u8>,
    /// Who sent it, as far as trusted proxies tell.
    pub peer: Peer,
    /// The address that the client connected to.
    pub local: Option<SocketAddr>,
    /// Counts the connections of a server, from 1; names this one in the log.
    pub id: u64,
    /// The server's: when it cuts off, the connection is to end with Close 1001.
    pub lifecycle: Lifecycle,
    /// What its TLS session tells of the client; `None` without TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// What [`Handler::admit`] has found out and [`Handler::serve`] is to know.
    pub extensions: Extensions,
}

/// A request for a file.
#[derive(Clone, Debug)]
pub struct WebRequest {
    /// Its head.
    pub head: http::request::Parts,
    /// Who sent it, as far as trusted proxies tell.
    pub peer: Peer,
    /// The connection, as in [`Request::id`].
    pub id: u64,
    /// As in [`Request::tls`].
    pub tls: Option<Arc<TlsFacts>>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Inet(SocketAddr),
    /// Over a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(addr) => addr.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// Why a request is not answered with a WebSocket.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The HTTP status with its reason phrase: `403 Forbidden`.
    pub status: &'static str,
    /// One line for the reply's body and the log.
    pub reason: String,
    /// One word, for counting.
    pub label: &'static str,
    /// What the client is to show: the `WWW-Authenticate` field that belongs to 401 (RFC 9110 section 11.6.1).
    pub challenge: Option<&'static str>,
}

impl Denial {
    /// One that the client can do nothing about.
    pub fn new(status: &'static str, reason: impl Into<String>) -> Self {
        Denial { status, reason: reason.into(), label: "denied", challenge: None }
    }

    /// The same, counted as something else than `denied`.
    #[must_use]
    pub fn counted_as(self, label: &'static str) -> Self {
        Denial { label, ..self }
    }
}

/// A service. One value serves all connections of a server.
pub trait Handler: Send + Sync + 'static {
    /// Looks at a request before it is answered. By default every request is welcome. It has what is left of the time of the
    /// opening handshake; then the client gets 503.
    ///
    /// # Errors
    /// The reply to send in place of a WebSocket.
    fn admit(&self, _request: &mut Request) -> impl Future<Output = Result<(), Denial>> + Send {
        ready(Ok(()))
    }

    /// Looks at a request for a file before it is answered, if the web side is to ask
    /// ([`auth`](crate::web::Settings::auth)). By default every request is welcome.
    ///
    /// # Errors
    /// The reply to send in place of the file.
    fn admit_web(&self, _request: &WebRequest) -> impl Future<Output = Result<(), Denial>> + Send {
        ready(Ok(()))
    }

    /// Serves a WebSocket. The connection ends when this returns.
    fn serve(&self, request: Request, socket: WebSocket<Stream>) -> impl Future<Output = ()> + Send;
}
