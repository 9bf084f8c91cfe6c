//! A server: what it needs to know, and the connections that come from its listening sockets.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use wsproto::Policy;

use crate::accepting::Complaints;
use crate::connection::{self, Origin};
use crate::handler::{Handler, Peer};
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::socket::{Accepted, Listener, shorten_send_queue, tune};
use crate::stream::Stream;
use crate::tls::Tls;
use crate::trust::Trusted;
use crate::web::Web;

/// How long what is open may take to end once it is cut off.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a server needs to know. Made once, shared by all connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an opening handshake must be like. Whether it comes over TLS is told for each connection.
    pub policy: Policy,
    /// TLS as well, on the same port; alone, if it says so.
    pub tls: Option<Tls>,
    /// Files as well, on the same port.
    pub web: Option<Arc<Web>>,
    /// How long a connection may take to become a WebSocket.
    pub handshake_timeout: Duration,
    /// The proxies that are believed in who the client is.
    pub trusted: Trusted,
    /// How many WebSockets there may be.
    pub limits: Limits,
    /// Serve one WebSocket and then no more.
    pub once: bool,
    /// The server's way to its end.
    pub lifecycle: Lifecycle,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: Policy::default(),
            tls: None,
            web: None,
            handshake_timeout: Duration::from_secs(10),
            trusted: Trusted::default(),
            limits: Limits::default(),
            once: false,
            lifecycle: Lifecycle::default(),
            metrics: Arc::default(),
        }
    }
}

/// A WebSocket server around a [`Handler`]. Clones are the same server.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    handler: H,
    settings: Settings,
    connections: AtomicU64,
    complaints: Complaints,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Server { shared: Arc::clone(&self.shared) }
    }
}

impl<H: Handler> Server<H> {
    /// A server around `handler`.
    pub fn new(settings: Settings, handler: H) -> Self {
        let (connections, complaints) = (AtomicU64::new(0), Complaints::default());
        Server { shared: Arc::new(Shared { handler, settings, connections, complaints }) }
    }

    /// Serves the connections of `listener` until the lifecycle says to drain; those that are open then go on.
    ///
    /// Several threads may do so with copies of one listening socket, each in a runtime of its own: a connection stays with
    /// the thread that accepts it, which is one that has nothing else to do. A runtime is to live until
    /// [`Server::finished`].
    ///
    /// # Errors
    /// Those of accept(2) that are the listening socket's own: it listens no more, as somebody who shares it has shut it down.
    pub async fn run(&self, listener: Listener) -> io::Result<()> {
        tokio::select! {
            ended = self.accept(&listener) => ended.map(|never| match never {}),
            () = self.shared.settings.lifecycle.draining() => Ok(()),
        }
    }

    /// Ready when no further connection is accepted and none is open, or when those that were cut off have had their time.
    pub async fn finished(&self) {
        let lifecycle = &self.shared.settings.lifecycle;
        lifecycle.draining().await;
        tokio::select! {
            () = lifecycle.empty() => {}
            () = async { lifecycle.cut_off().await; tokio::time::sleep(FAREWELL).await } => {}
        }
    }

    /// Serves a connection that was accepted elsewhere, to its end.
    ///
    /// # Errors
    /// Those of getsockname(2), getpeername(2) and epoll_ctl(2).
    pub async fn serve(&self, accepted: Accepted) -> io::Result<()> {
        match accepted {
            Accepted::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                tune(&stream)?;
                let peer = stream.peer_addr()?;
                serve_tcp(stream, peer, Arc::clone(&self.shared)).await;
            }
            Accepted::Unix(stream) => serve_unix(UnixStream::from_std(stream)?, Arc::clone(&self.shared)).await,
        }
        Ok(())
    }

    async fn accept(&self, listener: &Listener) -> io::Result<Infallible> {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    tokio::spawn(serve_tcp(stream, peer, Arc::clone(&self.shared)));
                }),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(serve_unix(stream, Arc::clone(&self.shared)));
                }),
            };
            if let Err(error) = accepted {
                self.shared.complaints.after(error, "connection").await?;
            }
        }
    }
}

async fn serve_tcp<H: Handler>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<H>>) {
    let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let local = stream.local_addr().ok().map(plain);
    if let Some(local) = local {
        shorten_send_queue(&stream, local.ip(), peer.ip());
    }
    serve(Box::new(stream), Peer::Inet(plain(peer)), local, shared).await;
}

async fn serve_unix<H: Handler>(stream: UnixStream, shared: Arc<Shared<H>>) {
    serve(Box::new(stream), Peer::Unix, None, shared).await;
}

async fn serve<H: Handler>(stream: Stream, peer: Peer, local: Option<SocketAddr>, shared: Arc<Shared<H>>) {
    let id = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let Shared { handler, settings, .. } = &*shared;
    let _open = settings.lifecycle.enter();
    settings.metrics.connection();
    if let Err(refused) = connection::serve(stream, Origin { peer, local, id, tls: None }, settings, handler).await {
        settings.metrics.refused(refused.label);
        if refused.is_probe() {
            tracing::debug!(id, %peer, reason = refused.reason, "no request");
        } else {
            tracing::info!(id, %peer, reason = refused.reason, "refused");
        }
    }
}
