//! The proxy: each WebSocket becomes a connection to a target.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::dial::{Connection, Destination, Dialer};
use crate::handler::{Handler, Request};
use crate::metrics::Metrics;
use crate::relay::{self, INTERNAL_ERROR, TRY_AGAIN_LATER};
use crate::stream::Stream;
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
}

impl Handler for Proxy {
    async fn serve(&self, request: Request, mut socket: WebSocket<Stream>) {
        let connected = self.dialer.connect(&self.destination, &request).await;
        let Request { accepted, peer, id, lifecycle, .. } = request;
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
        let heartbeat = self.heartbeat;
        let outcome = match &mut connection {
            Connection::Tcp(stream) => relay::relay(&mut socket, stream, heartbeat, &lifecycle).await,
            Connection::Unix(stream) => relay::relay(&mut socket, stream, heartbeat, &lifecycle).await,
            Connection::Tls(stream) => relay::relay(&mut socket, stream, heartbeat, &lifecycle).await,
        };
        self.metrics.moved(outcome.up, outcome.down);
        tracing::info!(id, %peer, up = outcome.up, down = outcome.down, cause = %outcome.cause, "end");
    }
}
