//! The proxy: each WebSocket becomes a connection to a target.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::Target;
use crate::handler::{Handler, Request};
use crate::relay::{self, INTERNAL_ERROR, TRY_AGAIN_LATER};
use crate::stream::Stream;
use crate::websocket::WebSocket;

/// How long a target may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Relays every WebSocket to one target.
#[derive(Clone, Debug)]
pub struct Proxy {
    target: Target,
    heartbeat: Option<Duration>,
}

impl Proxy {
    /// A proxy to `target`, which pings silent clients every `heartbeat`.
    pub fn new(target: Target, heartbeat: Option<Duration>) -> Self {
        Proxy { target, heartbeat }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.target.host.as_str(), self.target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Handler for Proxy {
    async fn serve(&self, request: Request, mut socket: WebSocket<Stream>) {
        let Request { accepted, peer, id, .. } = request;
        let target = &self.target;
        let connected = match timeout(CONNECT, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        };
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(id, %peer, %target, %error, "the target cannot be reached");
                let code = match error.kind() {
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => TRY_AGAIN_LATER,
                    _ => INTERNAL_ERROR,
                };
                relay::part(&mut socket, code).await;
                return;
            }
        };
        tracing::info!(id, %peer, %target, dialect = %accepted.dialect, path = accepted.path, "open");
        let outcome = relay::relay(&mut socket, &mut stream, self.heartbeat).await;
        tracing::info!(id, %peer, up = outcome.up, down = outcome.down, cause = %outcome.cause, "end");
    }
}
