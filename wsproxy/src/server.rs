//! Listening sockets and the connections that come from them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use wsproto::Policy;

use crate::connection;
use crate::handler::{Handler, Peer};
use crate::tls::Tls;
use crate::web::Web;

/// How long to wait when there are no descriptors left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What a server needs to know. Made once, shared by all connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an opening handshake must be like. Whether it comes over TLS is told for each connection.
    pub policy: Policy,
    /// How long a connection may take to become a WebSocket, from its first byte on.
    pub handshake_timeout: Duration,
    /// TLS as well, on the same port; alone, if it says so.
    pub tls: Option<Tls>,
    /// Files as well, on the same port.
    pub web: Option<Arc<Web>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { policy: Policy::default(), handshake_timeout: Duration::from_secs(10), tls: None, web: None }
    }
}

/// A WebSocket server around a [`Handler`].
pub struct Server<H> {
    shared: Arc<Shared<H>>,
    listeners: Vec<TcpListener>,
}

struct Shared<H> {
    handler: H,
    settings: Settings,
    connections: AtomicU64,
}

impl<H: Handler> Server<H> {
    /// A server around `handler` that listens on `listeners`.
    pub fn new(listeners: Vec<TcpListener>, settings: Settings, handler: H) -> Self {
        let connections = AtomicU64::new(0);
        Server { shared: Arc::new(Shared { handler, settings, connections }), listeners }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until the future is dropped; connections that are open then go on.
    pub async fn run(self) {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&self.shared)));
        }
        accepting.join_all().await;
    }
}

async fn accept<H: Handler>(listener: TcpListener, shared: Arc<Shared<H>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(serve(stream, peer, Arc::clone(&shared)));
            }
            // The connection failed before it was accepted; the next may not. accept(2) says so of these and others.
            Err(error) if !is_exhausted(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether accept(2) failed for want of something that other connections hold.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

async fn serve<H: Handler>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<H>>) {
    let id = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    // Frames are to arrive when they are sent; who has more to say says it at once. It fails for a socket that is closed.
    let _ = stream.set_nodelay(true);
    let peer = Peer::Inet(peer);
    let Shared { handler, settings, .. } = &*shared;
    if let Some(reason) = connection::serve(Box::new(stream), peer, id, settings, handler).await {
        tracing::info!(id, %peer, reason, "refused");
    }
}
