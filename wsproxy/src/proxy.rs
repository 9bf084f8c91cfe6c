//! The proxy: each WebSocket that may come in becomes a connection to a target.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::auth::Auth;
use crate::dial::{Connection, Destination, Dialer};
use crate::handler::{Denial, Handler, Request, WebRequest};
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::relay::{self, GOING_AWAY, INTERNAL_ERROR, NORMAL, Outcome, TRY_AGAIN_LATER};
use crate::stream::Stream;
use crate::token::Tokens;
use crate::traffic::{ClientSide, TargetSide, Traffic};
use crate::watch::{Watch as _, Watched};
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
    /// Where what passes is recorded.
    pub recorder: Option<Recorder>,
    /// Where what passes is shown.
    pub traffic: Option<Traffic>,
}

impl Proxy {
    /// Relays, looked at by whoever is to look.
    async fn relay<T>(&self, socket: &mut WebSocket<Stream>, target: &mut T, request: &Request) -> Outcome
    where
        T: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let recording = self.recorder.as_ref().map(|recorder| recorder.begin(request));
        match (recording, self.traffic.clone()) {
            (None, None) => self.relay_on(socket, target, request).await,
            (recording, traffic) => {
                let mut target = Watched::new(target, (recording, traffic.map(TargetSide)));
                self.relay_on(socket, &mut target, request).await
            }
        }
    }

    async fn relay_on<T>(&self, socket: &mut WebSocket<Stream>, target: &mut T, request: &Request) -> Outcome
    where
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
    async fn admit(&self, request: &mut Request) -> Result<(), Denial> {
        self.auth.admit(request).await?;
        if let Towards::Tokens(tokens) = &self.towards {
            let found = tokens.target(&request.accepted, request.id).await?;
            request.extensions.insert(found);
        }
        Ok(())
    }

    async fn admit_web(&self, request: &WebRequest) -> Result<(), Denial> {
        self.auth.admit_web(request).await
    }

    async fn serve(&self, mut request: Request, mut socket: WebSocket<Stream>) {
        if let Some(traffic) = &self.traffic {
            let mut watch = ClientSide::new(traffic.clone(), request.accepted.dialect);
            socket = socket.map(|stream, early| {
                watch.read(early);
                Box::new(Watched::new(stream, watch)) as Stream
            });
        }
        let looked_up: Option<Destination> = request.extensions.remove();
        let target = match (&self.towards, &looked_up) {
            (Towards::One(target), _) | (Towards::Tokens(_), Some(target)) => target,
            // Only what `admit` has let in gets here.
            (Towards::Tokens(_), None) => return relay::part(&mut socket, INTERNAL_ERROR).await,
        };
        let Request { accepted, peer, id, lifecycle, .. } = &request;
        let connected = tokio::select! {
            // A client that comes, speaks and leaves is served if the target is quick.
            biased;
            connected = self.dialer.connect(target, &request) => connected,
            () = socket.forsaken() => {
                tracing::info!(id, %peer, %target, "the client left before the target answered");
                return relay::part(&mut socket, NORMAL).await;
            }
            () = lifecycle.cut_off() => {
                tracing::info!(id, %peer, %target, "cut off before the target answered");
                return relay::part(&mut socket, GOING_AWAY).await;
            }
        };
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
        let outcome = match &mut connection {
            Connection::Tcp(stream) => self.relay(&mut socket, stream, &request).await,
            Connection::Unix(stream) => self.relay(&mut socket, stream, &request).await,
            Connection::Tls(stream) => self.relay(&mut socket, stream, &request).await,
        };
        tracing::info!(id, %peer, up = outcome.up, down = outcome.down, cause = %outcome.cause, "end");
    }
}
