//! One connection, from its first byte to the handler.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant as Deadline, timeout, timeout_at};
use wsproto::{Handshake, Policy, Progress, Refusal};

use crate::handler::{Denial, Handler, Peer, Request};
use crate::limits::Place;
use crate::proxy_protocol::{self, Front};
use crate::server::Settings;
use crate::stream::{Rewind, Stream};
use crate::websocket::WebSocket;

/// What is read of a request at a time.
const PIECE: usize = 2048;

/// How long a refused client has to read why, and how much it may go on sending meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub peer: Peer,
    pub local: Option<SocketAddr>,
    pub id: u64,
}

/// Why a connection became no WebSocket.
#[derive(Debug)]
pub(crate) struct Refused {
    /// One word, for counting.
    pub label: &'static str,
    /// One line, for the log.
    pub reason: String,
}

/// The label of a connection on which no request was begun.
const PROBE: &str = "probe";

impl Refused {
    fn new(label: &'static str, reason: impl ToString) -> Self {
        Refused { label, reason: reason.to_string() }
    }

    /// Whether nothing was asked for: a port scan, a load balancer's look, a browser that connects in advance.
    pub(crate) fn is_probe(&self) -> bool {
        self.label == PROBE
    }
}

/// How an opening handshake ended.
enum Opening {
    /// A WebSocket; what follows the request; its place among those that there may be.
    Open(Box<Request>, Vec<u8>, Place),
    /// Refused; the reply has been sent.
    Refused(Refused),
}

/// Speaks the opening handshake on `stream` and hands the WebSocket to `handler`.
pub(crate) async fn serve<H: Handler>(
    mut stream: Stream,
    mut origin: Origin,
    settings: &Settings,
    handler: &H,
) -> Result<(), Refused> {
    let deadline = Deadline::now() + settings.handshake_timeout;
    let late = |label| move |_| Refused::new(label, "no complete request within the handshake timeout");
    if settings.trusted.includes(origin.peer) {
        stream = timeout_at(deadline, introduced(stream, &mut origin)).await.map_err(late(PROBE))??;
    }
    let mut begun = false;
    let opening = timeout_at(deadline, open(&mut stream, origin, settings, handler, &mut begun)).await;
    match opening.map_err(late(if begun { "timeout" } else { PROBE }))?? {
        Opening::Open(request, early, _place) => {
            let start = Instant::now();
            settings.metrics.opened(request.accepted.dialect);
            let socket = WebSocket::new(stream, &request.accepted, early);
            handler.serve(*request, socket).await;
            settings.metrics.closed(start.elapsed());
            Ok(())
        }
        Opening::Refused(refused) => {
            linger(&mut stream).await;
            Err(refused)
        }
    }
}

/// Takes what a trusted proxy says in front of the connection.
async fn introduced(mut stream: Stream, origin: &mut Origin) -> Result<Stream, Refused> {
    match proxy_protocol::read(&mut stream).await {
        Ok(Front::Header(ends)) => {
            if let Some(ends) = ends {
                (origin.peer, origin.local) = (Peer::Inet(ends.from), Some(ends.to));
            }
            Ok(stream)
        }
        Ok(Front::None(seen)) if seen.is_empty() => Ok(stream),
        Ok(Front::None(seen)) => Ok(Box::new(Rewind::new(seen, stream))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Refused::new("proxy_header", error)),
        Err(error) => Err(Refused::new(PROBE, error)),
    }
}

/// Reads the request and answers it. `begun` tells whether there was anything to read.
async fn open<H: Handler>(
    stream: &mut Stream,
    origin: Origin,
    settings: &Settings,
    handler: &H,
    begun: &mut bool,
) -> Result<Opening, Refused> {
    let (mut handshake, mut head, mut reply) = (Handshake::new(), Vec::new(), Vec::new());
    let mut piece = [0; PIECE];
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read(&mut piece) => read,
            // Nobody waits for an answer, and the server ends.
            () = settings.lifecycle.draining(), if !*begun => Ok(0),
        };
        let label = if *begun { "left" } else { PROBE };
        let count = read.map_err(|error| Refused::new(label, error))?;
        if count == 0 {
            return Err(Refused::new(label, "the client left"));
        }
        *begun = true;
        let input = piece.get(..count).unwrap_or_default();
        head.extend_from_slice(input);
        let policy = policy(settings, origin.peer, &head);
        let (taken, progress) = handshake.receive(input, &policy, &mut reply);
        let early = input.get(taken..).unwrap_or_default();
        head.truncate(head.len() - early.len());
        let failed = |error| Refused::new("left", error);
        match progress {
            Progress::Incomplete => {}
            Progress::Refused(refusal) => {
                stream.write_all(&reply).await.map_err(failed)?;
                return Ok(Opening::Refused(Refused::new(label_of(&refusal), refusal)));
            }
            Progress::Accepted(accepted) => {
                let Origin { peer, local, id } = origin;
                let peer = settings.trusted.client(peer, &head);
                let lifecycle = settings.lifecycle.clone();
                let request = Request { accepted: *accepted, head, peer, local, id, lifecycle };
                return match admit(&request, settings, handler).await {
                    Ok(place) => {
                        stream.write_all(&reply).await.map_err(failed)?;
                        stream.flush().await.map_err(failed)?;
                        Ok(Opening::Open(Box::new(request), early.to_vec(), place))
                    }
                    Err((label, denial)) => {
                        stream.write_all(denial.reply().as_bytes()).await.map_err(failed)?;
                        Ok(Opening::Refused(Refused { label, reason: denial.reason }))
                    }
                };
            }
        }
    }
}

/// What the handshake is to be like: over TLS, if a trusted proxy says so.
fn policy<'a>(settings: &'a Settings, peer: Peer, head: &[u8]) -> Cow<'a, Policy> {
    if settings.policy.secure || !settings.trusted.is_secure(peer, head) {
        return Cow::Borrowed(&settings.policy);
    }
    Cow::Owned(Policy { secure: true, ..settings.policy.clone() })
}

/// Whether the request is let in: by the handler first, which knows best what is to be told to whom.
async fn admit<H: Handler>(
    request: &Request,
    settings: &Settings,
    handler: &H,
) -> Result<Place, (&'static str, Denial)> {
    handler.admit(request).await.map_err(|denial| ("denied", denial))?;
    let place = settings.limits.enter(request.peer).map_err(|denial| ("limit", denial))?;
    let over = if settings.once { !settings.lifecycle.drain() } else { settings.lifecycle.is_draining() };
    if over {
        return Err(("ending", Denial { status: "503 Service Unavailable", reason: "The server is ending".into() }));
    }
    Ok(place)
}

/// What a refusal is counted as.
fn label_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Tls => "tls",
        Refusal::NotWebSocket => "not_websocket",
        Refusal::Origin => "origin",
        Refusal::Version | Refusal::VersionMissing | Refusal::Dialect(_) => "version",
        Refusal::HeadTooLarge | Refusal::TooManyFields => "too_large",
        Refusal::RequestLine
        | Refusal::Target
        | Refusal::HttpVersion
        | Refusal::FieldName
        | Refusal::FieldValue
        | Refusal::LineEnd
        | Refusal::Repeated(_)
        | Refusal::Method
        | Refusal::Connection
        | Refusal::Host
        | Refusal::KeyMissing
        | Refusal::Key
        | Refusal::HixieKey(..) => "malformed",
    }
}

impl Denial {
    fn reply(&self) -> String {
        let Denial { status, reason } = self;
        let len = reason.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n{reason}\n"
        )
    }
}

/// Lets a refused client read the reply: closing while it sends would reset the connection and take the reply back.
async fn linger(stream: &mut Stream) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, drain).await;
}
