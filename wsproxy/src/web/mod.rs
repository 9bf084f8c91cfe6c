//! Web requests: the files of one directory, on the port of the WebSockets.
//!
//! `serve` hands a connection whose first request is no WebSocket's to hyper, and takes it back if a later one is: reverse
//! proxies send an Upgrade over a connection that they have kept from an earlier request, and browsers fetch the many
//! modules of a page over one, for which a TLS handshake each would be a high price.

mod body;
mod conditions;
mod gate;
mod listing;
mod service;
mod tree;

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use wsproto::Refusal;

use crate::connection::Origin;
use crate::handler::Handler;
use crate::server;
use crate::setting::BadSetting;
use crate::stream::Stream;

use gate::Gate;
use tree::Tree;

/// What is served, and how.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The directory. Nothing outside it is served, whatever a path or a symbolic link says.
    pub directory: PathBuf,
    /// Directories without an index file are listed.
    pub list: bool,
    /// Requests are looked at by [`Handler::admit_web`] first.
    pub auth: bool,
    /// Header fields for every reply; they replace those of the same name that it has, and not each other.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

/// The web side of a server.
#[derive(Debug)]
pub struct Web {
    tree: Tree,
    list: bool,
    auth: bool,
    fields: HeaderMap,
}

impl Web {
    /// Opens the directory; it is held open from here on.
    ///
    /// # Errors
    /// It cannot be opened, or is none.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        let Settings { directory, list, auth, fields } = settings;
        let tree = Tree::open(&directory).map_err(|error| BadSetting::file("--web", &directory, error))?;
        let mut all = HeaderMap::new();
        for (name, value) in fields {
            all.append(name, value);
        }
        Ok(Web { tree, list, auth, fields: all })
    }
}

/// A header field of a reply, as `NAME:VALUE`.
///
/// # Errors
/// What is no field, or one that says how the reply itself is sent.
pub fn field(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header field is NAME:VALUE")?;
    let name: HeaderName = name.parse().map_err(|_| "this is no name of a header field")?;
    let value = value.trim().parse().map_err(|_| "this is no value of a header field")?;
    let own = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TRAILER,
    ];
    if own.contains(&name) { Err("this field is the server's own") } else { Ok((name, value)) }
}

/// Whether a refused request is one for the web side: one that is well-formed and does not ask for a WebSocket.
pub(crate) fn is_web(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotWebSocket | Refusal::Method | Refusal::HttpVersion)
}

/// What comes after the web requests of a connection.
pub(crate) enum After {
    /// Another kind of request, of which these bytes have come.
    Request(Stream, Vec<u8>),
    /// Its end.
    Close(Stream),
    /// It has failed.
    Gone,
}

/// Serves web requests on a connection of which `seen` has been read. Each may take the time of a handshake to come.
pub(crate) async fn serve<H: Handler>(
    web: &Web,
    handler: &H,
    origin: &Origin,
    settings: &server::Settings,
    stream: Stream,
    seen: Vec<u8>,
) -> After {
    let gate = Gate::new(stream, seen, settings);
    let service = service_fn(async |request| service::reply(web, handler, origin, &settings.trusted, request).await);
    // An end of input is the gate's way to end the requests: the reply under way is to be finished.
    let connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(gate), service);
    tokio::select! {
        served = connection.without_shutdown() => match served {
            Ok(parts) => parts.io.into_inner().into_after(),
            Err(error) => {
                tracing::debug!(id = origin.id, peer = %origin.peer, %error, "web connection");
                After::Gone
            }
        },
        () = settings.lifecycle.cut_off() => After::Gone,
    }
}
