//! WebSocket servers of any kind, and the proxy that turns WebSockets into TCP connections.
//!
//! A [`Server`] accepts connections, speaks the opening handshake in any dialect and hands a ready byte stream, a
//! [`WebSocket`], with its [`Request`] to a [`Handler`]. The [`proxy`] is one handler; an echo server is another:
//!
//! ```
//! use tokio::io::AsyncWriteExt as _;
//! use wsproxy::{Handler, Request, Server, Settings, Stream, WebSocket, socket};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     async fn serve(&self, _request: Request, socket: WebSocket<Stream>) {
//!         let (mut from, mut to) = tokio::io::split(socket);
//!         let _ = tokio::io::copy(&mut from, &mut to).await;
//!         // The answer to the client's Close.
//!         let _ = to.shutdown().await;
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let settings = Settings::default();
//!     let server = Server::new(settings.clone(), Echo);
//!     for bound in socket::listen(&"127.0.0.1:0".parse()?)? {
//!         println!("listening on {bound}");
//!         let server = server.clone();
//!         let listener = bound.into_listener()?;
//!         tokio::spawn(async move { server.run(listener).await });
//!     }
//!     // A real server does so when a signal comes.
//!     settings.lifecycle.drain();
//!     server.finished().await;
//!     Ok(())
//! }
//! ```

mod accepting;
pub mod address;
pub mod auth;
mod connection;
pub mod dial;
mod file;
pub mod handler;
mod heartbeat;
pub mod lifecycle;
pub mod limits;
pub mod made;
pub mod metrics;
pub mod monitor;
mod opening;
pub mod proxy;
pub mod proxy_protocol;
pub mod record;
pub mod relay;
mod resolve;
pub mod server;
pub mod setting;
pub mod socket;
mod stamp;
pub mod stream;
pub mod tls;
pub mod token;
pub mod traffic;
pub mod trust;
pub mod watch;
pub mod web;
pub mod websocket;

pub use handler::{Denial, Handler, Peer, Request, WebRequest};
pub use server::{Server, Settings};
pub use setting::{BadSetting, Source};
pub use stream::Stream;
pub use websocket::WebSocket;
/// The protocol, of which requests and settings are made.
pub use wsproto;
