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

/// A WebSocket server around a [`Handler`]. Clones are the same server.
pub struct Server<H> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    handler: H,
    settings: Settings,
    connections: AtomicU64,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Server { shared: Arc::clone(&self.shared) }
    }
}

impl<H: Handler> Server<H> {
    /// A server around `handler`.
    pub fn new(settings: Settings, handler: H) -> Self {
        Server { shared: Arc::new(Shared { handler, settings, connections: AtomicU64::new(0) }) }
    }

    /// Serves the connections of `listener` until the future is dropped; those that are open then go on.
    ///
    /// Several threads may do so with copies of one listening socket, each in a runtime of its own: a connection stays with
    /// the thread that accepts it, which is one that has nothing else to do.
    pub async fn run(&self, listener: TcpListener) {
        accept(listener, Arc::clone(&self.shared)).await;
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
