//! The proxy: each WebSocket that may come in becomes a connection to a target.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Auth;
use crate::dial::{Connection, Destination, Dialer};
use crate::handler::{Denial, Handler, Request, WebRequest};
use crate::metrics::Metrics;
use crate::relay::{self, INTERNAL_ERROR, TRY_AGAIN_LATER};
use crate::stream::Stream;
use crate::token::Tokens;
use crate::websocket::WebSocket;

/// Where WebSockets are relayed to.
#[derive(Clone, Debug)]
pub enum Towards {
    /// To one target.
    One(Destination),
    /// To the target that a token in the request stands for.
    Tokens(Arc<Tokens>),
}

/// Relays WebSockets.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Who may come in, be it for a WebSocket or for a file.
    pub auth: Arc<Auth>,
    /// The target.
    pub towards: Towards,
    /// How it is connected to.
    pub dialer: Dialer,
    /// How often silent clients are pinged.
    pub heartbeat: Option<Duration>,
    /// Where the proxy counts.
    pub metrics: Arc<Metrics>,
}

impl Handler for Proxy {
    async fn admit(&self, request: &mut Request) -> Result<(), Denial> {
        self.auth.admit(request).await?;
        if let Towards::Tokens(tokens) = &self.towards {
            let found = tokens.target(&request.accepted).await?;
            request.extensions.insert(found);
        }
        Ok(())
    }

    async fn admit_web(&self, request: &WebRequest) -> Result<(), Denial> {
        self.auth.admit_web(request).await
    }

    async fn serve(&self, mut request: Request, mut socket: WebSocket<Stream>) {
        let looked_up: Option<Destination> = request.extensions.remove();
        let target = match (&self.towards, &looked_up) {
            (Towards::One(target), _) | (Towards::Tokens(_), Some(target)) => target,
            // Only what `admit` has let in gets here.
            (Towards::Tokens(_), None) => return relay::part(&mut socket, INTERNAL_ERROR).await,
        };
        let connected = self.dialer.connect(target, &request).await;
        let Request { accepted, peer, id, lifecycle, .. } = request;
        // With tokens, the path is as good as a password.
        let path = match &self.towards {
            Towards::One(_) => Some(accepted.path.as_str()),
            Towards::Tokens(_) => None,
        };
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
        tracing::info!(id, %peer, %target, dialect = %accepted.dialect, path, "open");
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
