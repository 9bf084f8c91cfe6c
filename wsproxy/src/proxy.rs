//! The proxy: each WebSocket becomes a connection to a target.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::address::Target;
use crate::handler::{Handler, Request};
use crate::relay::{self, INTERNAL_ERROR, TRY_AGAIN_LATER};
use crate::stream::{Stream, Transport};
use crate::tls::TargetTls;
use crate::websocket::WebSocket;

/// How long a target may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Relays every WebSocket to one target.
#[derive(Clone, Debug)]
pub struct Proxy {
    target: Target,
    tls: Option<TargetTls>,
    heartbeat: Option<Duration>,
}

impl Proxy {
    /// A proxy to `target`, which speaks TLS if `tls` is there, and which pings silent clients every `heartbeat`.
    pub fn new(target: Target, tls: Option<TargetTls>, heartbeat: Option<Duration>) -> Self {
        Proxy { target, tls, heartbeat }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Handler for Proxy {
    async fn serve(&self, request: Request, mut socket: WebSocket<Stream>) {
        let target = &self.target;
        let connected = match &self.tls {
            Some(tls) => {
                let session = async { tls.connect(&target.host, self.connect().await?).await };
                in_time(session).await.map(|session| Connected::Tls(Box::new(session)))
            }
            None => in_time(self.connect()).await.map(Connected::Plain),
        };
        match connected {
            Ok(Connected::Plain(mut stream)) => self.relay(&request, &mut socket, &mut stream).await,
            Ok(Connected::Tls(mut stream)) => self.relay(&request, &mut socket, &mut stream).await,
            Err(error) => {
                let Request { peer, id, .. } = request;
                tracing::warn!(id, %peer, %target, %error, "the target cannot be reached");
                let code = match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => TRY_AGAIN_LATER,
                    _ => INTERNAL_ERROR,
                };
                relay::part(&mut socket, code).await;
            }
        }
    }
}

/// A connection to a target.
enum Connected {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What comes of `connecting` within [`CONNECT`].
async fn in_time<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
}

impl Proxy {
    async fn relay<T: Transport>(&self, request: &Request, socket: &mut WebSocket<Stream>, stream: &mut T) {
        let Request { accepted, peer, id, .. } = request;
        tracing::info!(id, %peer, target = %self.target, dialect = %accepted.dialect, path = accepted.path, "open");
        let outcome = relay::relay(socket, stream, self.heartbeat).await;
        tracing::info!(id, %peer, up = outcome.up, down = outcome.down, cause = %outcome.cause, "end");
    }
}
