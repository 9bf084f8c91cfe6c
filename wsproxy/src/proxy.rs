//! The proxy: each WebSocket becomes a connection to a target.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::dial::{Connection, Destination, Dialer};
use crate::handler::{Handler, Request};
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::relay::{self, INTERNAL_ERROR, Outcome, TRY_AGAIN_LATER};
use crate::stream::Stream;
use crate::traffic::{ClientSide, TargetSide, Traffic};
use crate::watch::{Watch as _, Watched};
use crate::websocket::WebSocket;

/// Relays every WebSocket to one target.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The target.
    pub destination: Destination,
    /// How it is connected to.
    pub dialer: Dialer,
    /// How often silent clients are pinged.
    pub heartbeat: Option<Duration>,
    /// Where the proxy counts.
    pub metrics: Arc<Metrics>,
    /// Where what passes is recorded.
    pub recorder: Option<Recorder>,
    /// Where what passes is shown.
    pub traffic: Option<Traffic>,
}

impl Proxy {
    /// Relays, looked at by whoever is to look.
    async fn relay<T>(&self, mut socket: WebSocket<Stream>, target: &mut T, request: &Request) -> Outcome
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let traffic = self.traffic.as_ref();
        let recording = self.recorder.as_ref().map(|recorder| recorder.begin(request));
        match (recording, traffic) {
            (None, None) => self.relay_on(&mut socket, target, request).await,
            (recording, traffic) => {
                let dialect = request.accepted.dialect;
                let mut target = Watched::new(target, (recording, traffic.cloned().map(TargetSide)));
                let mut socket = socket.map(|stream, early| {
                    let mut watch = traffic.cloned().map(|traffic| ClientSide::new(traffic, dialect));
                    watch.read(early);
                    Watched::new(stream, watch)
                });
                self.relay_on(&mut socket, &mut target, request).await
            }
        }
    }

    async fn relay_on<C, T>(&self, socket: &mut WebSocket<C>, target: &mut T, request: &Request) -> Outcome
    where
        C: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut counted = (0, 0);
        let count = |up, down| {
            if (up, down) != counted {
                self.metrics.moved(up - counted.0, down - counted.1);
                counted = (up, down);
            }
        };
        relay::relay(socket, target, self.heartbeat, &request.lifecycle, count).await
    }
}

impl Handler for Proxy {
    async fn serve(&self, request: Request, mut socket: WebSocket<Stream>) {
        let connected = self.dialer.connect(&self.destination, &request).await;
        let Request { accepted, peer, id, .. } = &request;
        let target = &self.destination;
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(id, %peer, %target, %error, "the target cannot be reached");
                let (reason, code) = match error.kind() {
                    io::ErrorKind::ConnectionRefused => ("refused", TRY_AGAIN_LATER),
                    io::ErrorKind::TimedOut => ("timeout", TRY_AGAIN_LATER),
                    io::ErrorKind::InvalidData => ("tls", INTERNAL_ERROR),
                    _ => ("other", INTERNAL_ERROR),
                };
                self.metrics.target_failed(reason);
                relay::part(&mut socket, code).await;
                return;
            }
        };
        tracing::info!(id, %peer, %target, dialect = %accepted.dialect, path = accepted.path, "open");
        let outcome = match &mut connection {
            Connection::Tcp(stream) => self.relay(socket, stream, &request).await,
            Connection::Unix(stream) => self.relay(socket, stream, &request).await,
            Connection::Tls(stream) => self.relay(socket, stream, &request).await,
        };
        tracing::info!(id, %peer, up = outcome.up, down = outcome.down, cause = %outcome.cause, "end");
    }
}
