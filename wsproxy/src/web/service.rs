//! One web request, one reply.

use std::convert::Infallible;
use std::io;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Bytes, Incoming};
use tokio::io::AsyncSeekExt;

use super::Web;
use super::body::Content;
use super::conditions::{self, Validators, Verdict};
use super::gate::has_body;
use super::listing;
use super::tree::{self, Node, Place, Tree};
use crate::connection::Origin;
use crate::handler::{Denial, Handler, WebRequest};
use crate::trust::Trusted;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// What stands for a directory.
const INDEX: &str = "index.html";

/// What was found for a path.
enum Found {
    File(Place, std::fs::File, std::fs::Metadata),
    /// The names of a directory to be listed.
    Names(Vec<(Vec<u8>, bool)>),
    /// A directory that was asked for without its slash: relative links on its page would go wrong.
    Redirect(String),
}

/// Answers a request, and writes it into the log.
pub(super) async fn reply<H: Handler>(
    web: &Web,
    handler: &H,
    origin: &Origin,
    trusted: &Trusted,
    request: Request<Incoming>,
) -> Result<Response<Content>, Infallible> {
    let (head, _body) = request.into_parts();
    let &Origin { peer, id, ref tls, .. } = origin;
    let peer = if trusted.includes(peer) { trusted.client(peer, &lines(&head.headers)) } else { peer };
    let request = WebRequest { head, peer, id, tls: tls.clone() };
    let mut reply = match admit(web, handler, &request).await {
        Ok(()) => find(web, &request).await,
        Err(denial) => denied(&denial),
    };
    let head = &request.head;
    if head.headers.keys().any(|name| has_body(name.as_str())) {
        // Whoever wants to know what follows this request would have to read the body.
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // The first of a name replaces what the reply has of it, the others are added to that.
    reply.headers_mut().extend(web.fields.clone());
    let (method, path, status) = (&head.method, head.uri.path(), reply.status().as_u16());
    tracing::info!(id, %peer, %method, path, status, "web");
    Ok(reply)
}

/// Header fields as they come over the wire.
fn lines(fields: &HeaderMap) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat())
        .collect()
}

async fn admit<H: Handler>(web: &Web, handler: &H, request: &WebRequest) -> Result<(), Denial> {
    if web.auth { handler.admit_web(request).await } else { Ok(()) }
}

fn denied(denial: &Denial) -> Response<Content> {
    let status = denial.status.split(' ').next().and_then(|code| code.parse().ok());
    let mut reply = plain(status.unwrap_or(StatusCode::FORBIDDEN), denial.reason.clone());
    if let Some(challenge) = denial.challenge {
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    reply
}

/// A reply of one line.
fn plain(status: StatusCode, line: String) -> Response<Content> {
    text(status, TEXT, line + "\n")
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Content> {
    let mut reply = Response::new(Content::Text(Some(Bytes::from(text))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// A reply that its status says all of.
fn bare(status: StatusCode) -> Response<Content> {
    plain(status, status.canonical_reason().unwrap_or_default().to_owned())
}

async fn find(web: &Web, request: &WebRequest) -> Response<Content> {
    let head = &request.head;
    if head.method != Method::GET && head.method != Method::HEAD {
        let mut reply = bare(StatusCode::METHOD_NOT_ALLOWED);
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    // RFC 9112 section 3.2: a request of HTTP/1.1 without it, or with several, is answered so.
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return plain(StatusCode::BAD_REQUEST, "Host must stand once".into());
    }
    let Some(place) = Place::of(head.uri.path()) else {
        return bare(StatusCode::NOT_FOUND);
    };
    let path = place.directory();
    let (tree, list) = (web.tree.clone(), web.list);
    let found = tokio::task::spawn_blocking(move || look(&tree, place, list)).await;
    match found.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(Found::File(place, file, data)) => send(request, &place, file, &data).await,
        Ok(Found::Names(names)) => {
            let mut reply = text(StatusCode::OK, HTML, listing::page(&path, &names));
            reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            reply
        }
        Ok(Found::Redirect(mut to)) => {
            if let Some(query) = head.uri.query() {
                to = format!("{to}?{query}");
            }
            let mut reply = bare(StatusCode::MOVED_PERMANENTLY);
            if let Ok(to) = HeaderValue::try_from(to) {
                reply.headers_mut().insert(header::LOCATION, to);
            }
            reply
        }
        Err(error) => {
            let status = status_of(&error);
            if status.is_server_error() {
                tracing::warn!(id = request.id, path = head.uri.path(), %error, "web");
            }
            bare(status)
        }
    }
}

/// Looks for what stands in a place. Blocks.
fn look(tree: &Tree, place: Place, list: bool) -> io::Result<Found> {
    let file = |place: Place, file: std::fs::File| {
        let data = file.metadata()?;
        Ok(Found::File(place, file, data))
    };
    match tree.get(&place)? {
        Node::File(_) if place.slash => Err(io::ErrorKind::NotFound.into()),
        Node::File(open) => file(place, open),
        Node::Directory(_) if !place.slash => Ok(Found::Redirect(place.directory())),
        Node::Directory(directory) => {
            let index = place.join(INDEX);
            match tree.get(&index) {
                Ok(Node::File(open)) => file(index, open),
                Err(error) if status_of(&error) != StatusCode::NOT_FOUND => Err(error),
                Ok(Node::Directory(_)) | Err(_) if list => Ok(Found::Names(tree::names(&directory)?)),
                Ok(Node::Directory(_)) | Err(_) => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }
}

/// The status for what the file system says. What leads out of the tree is not there.
fn status_of(error: &io::Error) -> StatusCode {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => StatusCode::FORBIDDEN,
        Some(libc::ENOENT | libc::ENOTDIR | libc::EXDEV | libc::ELOOP | libc::ENAMETOOLONG | libc::ENXIO) => {
            StatusCode::NOT_FOUND
        }
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => StatusCode::SERVICE_UNAVAILABLE,
        _ if error.kind() == io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Sends a file, or what of it was asked for.
async fn send(request: &WebRequest, place: &Place, file: std::fs::File, data: &std::fs::Metadata) -> Response<Content> {
    let Ok(modified) = data.modified() else {
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let (size, validators) = (data.len(), Validators::new(modified, data.len()));
    let get = request.head.method == Method::GET;
    let mut reply = match conditions::judge(&request.head.headers, get, &validators, size) {
        Verdict::Whole => part(file, 0, size).await,
        Verdict::Part(first, count) => {
            let mut reply = part(file, first, count).await;
            if reply.status() == StatusCode::OK {
                *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
                set(&mut reply, header::CONTENT_RANGE, format!("bytes {first}-{}/{size}", first + count - 1));
            }
            reply
        }
        Verdict::NotModified => {
            let mut reply = Response::new(Content::empty());
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            reply
        }
        Verdict::Failed => return bare(StatusCode::PRECONDITION_FAILED),
        Verdict::Unsatisfiable => {
            let mut reply = bare(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut reply, header::CONTENT_RANGE, format!("bytes */{size}"));
            return reply;
        }
    };
    if reply.status().is_success() {
        let kind = mime_guess::from_path(place.name()).first_or_octet_stream();
        let text = kind.type_() == mime_guess::mime::TEXT && kind.get_param("charset").is_none();
        set(&mut reply, header::CONTENT_TYPE, format!("{kind}{}", if text { "; charset=utf-8" } else { "" }));
        reply.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    set(&mut reply, header::ETAG, validators.tag);
    set(&mut reply, header::LAST_MODIFIED, validators.modified);
    // A page and its modules change together, and a browser that guesses how long to keep each would mix them.
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// So many bytes of a file from `first` on. hyper leaves them out of the reply to HEAD.
async fn part(file: std::fs::File, first: u64, count: u64) -> Response<Content> {
    let mut file = tokio::fs::File::from_std(file);
    if first > 0 && file.seek(io::SeekFrom::Start(first)).await.is_err() {
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    }
    Response::new(Content::File(file, count))
}

fn set(reply: &mut Response<Content>, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        reply.headers_mut().insert(name, value);
    }
}
