//! A request, and the first answer to it.

use std::borrow::Cow;

use http::Extensions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use wsproto::{Handshake, Policy, Progress, Refusal};

use crate::connection::{LINGER, Origin, PROBE, Refused};
use crate::handler::{Denial, Handler, Request};
use crate::limits::Place;
use crate::server::Settings;
use crate::stream::Stream;
use crate::web;

/// What is read of a request at a time.
const PIECE: usize = 2048;

/// What a Flash player sends, with a NUL behind it, before it lets a page of its own connect; and the answer it needs.
const FLASH: &[u8] = b"<policy-file-request/>";
const FLASH_POLICY: &[u8] =
    b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\n";

/// What a request came to.
pub(crate) enum Opening {
    /// A WebSocket; what follows the request; its place among those that there may be.
    Open(Box<Request>, Vec<u8>, Place),
    /// One for the web side, of which these bytes have come. It has not been answered.
    Web(Vec<u8>),
    /// It has been answered, and there is nothing to add.
    Done,
    /// Refused; the reply has been sent.
    Refused(Refused),
}

/// Bytes that a client has sent, and what is known of it by them.
pub(crate) struct Incoming {
    pub stream: Stream,
    /// What has been read.
    pub seen: Vec<u8>,
    /// Whether there was anything to read.
    pub begun: bool,
}

impl Incoming {
    /// Reads more.
    ///
    /// # Errors
    /// The client has left, nothing has come until `deadline`, or nobody waits for an answer, and the server ends.
    pub(crate) async fn more(&mut self, settings: &Settings, deadline: Instant) -> Result<(), Refused> {
        let mut piece = [0; PIECE];
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, self.stream.read(&mut piece)) => read.map_err(|_| Refused::late(self.begun))?,
            () = settings.lifecycle.draining(), if !self.begun => Ok(0),
        };
        let label = if self.begun { "left" } else { PROBE };
        let count = read.map_err(|error| Refused::new(label, error))?;
        if count == 0 {
            return Err(Refused::new(label, "the client left"));
        }
        self.begun = true;
        self.seen.extend_from_slice(piece.get(..count).unwrap_or_default());
        Ok(())
    }

    /// Sends a reply, which has time of its own: it is there to be sent when the time of the request is up, too.
    async fn answer(&mut self, reply: &[u8]) -> Result<(), Refused> {
        let sent = timeout(LINGER, async {
            self.stream.write_all(reply).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(sent) => sent.map_err(|error| Refused::new("left", error)),
            Err(_) => Err(Refused::new("timeout", "the client does not take the answer")),
        }
    }
}

/// Reads a request and answers it, unless it is for the web side. It has until `deadline` to come and to be judged.
pub(crate) async fn open<H: Handler>(
    incoming: &mut Incoming,
    origin: &Origin,
    settings: &Settings,
    handler: &H,
    deadline: Instant,
) -> Result<Opening, Refused> {
    if incoming.seen.is_empty() {
        incoming.more(settings, deadline).await?;
    }
    while FLASH.starts_with(&incoming.seen) && incoming.seen.len() < FLASH.len() {
        incoming.more(settings, deadline).await?;
    }
    if incoming.seen.starts_with(FLASH) {
        incoming.answer(FLASH_POLICY).await?;
        return Ok(Opening::Done);
    }
    let (mut handshake, mut reply, mut looked) = (Handshake::new(), Vec::new(), 0);
    loop {
        let policy = policy(settings, origin, &incoming.seen);
        let fresh = incoming.seen.get(looked..).unwrap_or_default();
        let (taken, progress) = handshake.receive(fresh, &policy, &mut reply);
        looked = incoming.seen.len().min(looked + taken);
        match progress {
            Progress::Incomplete => incoming.more(settings, deadline).await?,
            Progress::Refused(refusal) if settings.web.is_some() && web::is_web(&refusal) => {
                return Ok(Opening::Web(std::mem::take(&mut incoming.seen)));
            }
            Progress::Refused(refusal) => {
                incoming.answer(&reply).await?;
                return Ok(Opening::Refused(Refused::new(label_of(&refusal), refusal)));
            }
            Progress::Accepted(accepted) => {
                let early = incoming.seen.split_off(looked);
                let head = std::mem::take(&mut incoming.seen);
                let &Origin { peer, local, id, ref tls } = origin;
                let peer = settings.trusted.client(peer, &head);
                let (lifecycle, tls) = (settings.lifecycle.clone(), tls.clone());
                let extensions = Extensions::new();
                let mut request = Request { accepted: *accepted, head, peer, local, id, lifecycle, tls, extensions };
                let admitted = timeout_at(deadline, admit(&mut request, settings, handler)).await;
                return match admitted.unwrap_or_else(|_| Err(late())) {
                    Ok(place) => {
                        incoming.answer(&reply).await?;
                        Ok(Opening::Open(Box::new(request), early, place))
                    }
                    Err(denial) => {
                        incoming.answer(denial.reply().as_bytes()).await?;
                        Ok(Opening::Refused(Refused::new(denial.label, denial.reason)))
                    }
                };
            }
        }
    }
}

/// What the handshake is to be like: over TLS, if it is, or if a trusted proxy says so.
fn policy<'a>(settings: &'a Settings, origin: &Origin, head: &[u8]) -> Cow<'a, Policy> {
    let secure = origin.tls.is_some() || settings.trusted.is_secure(origin.peer, head);
    if settings.policy.secure || !secure {
        return Cow::Borrowed(&settings.policy);
    }
    Cow::Owned(Policy { secure: true, ..settings.policy.clone() })
}

/// Whether the request is let in: by the handler first, which knows best what is to be told to whom.
async fn admit<H: Handler>(request: &mut Request, settings: &Settings, handler: &H) -> Result<Place, Denial> {
    handler.admit(request).await?;
    let place = settings.limits.enter(request.peer)?;
    let over = if settings.once { !settings.lifecycle.drain() } else { settings.lifecycle.is_draining() };
    if over {
        return Err(Denial::new("503 Service Unavailable", "The server is ending").counted_as("ending"));
    }
    Ok(place)
}

/// What a request is told that has come whole, and could not be judged within the time of its handshake.
fn late() -> Denial {
    Denial::new("503 Service Unavailable", "The request could not be judged in time").counted_as("busy")
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
        | Refusal::Body
        | Refusal::KeyMissing
        | Refusal::Key
        | Refusal::HixieKey(..) => "malformed",
    }
}

impl Denial {
    /// The whole reply.
    pub(crate) fn reply(&self) -> String {
        let Denial { status, reason, challenge, label: _ } = self;
        let len = reason.len() + 1;
        let challenge = challenge.map(|challenge| format!("WWW-Authenticate: {challenge}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
             {challenge}Connection: close\r\n\r\n{reason}\n"
        )
    }
}
