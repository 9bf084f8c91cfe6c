//! One connection, from its first byte to the handler.
//!
//! Who the client is shows in what it sends: TLS by its first byte, and inside or without it a Flash policy request, a request
//! for a WebSocket, or one for a file. All of that together has the time of one opening handshake; after a web request the
//! next has as much again.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use wsproto::{Handshake, Policy, Progress};

use crate::handler::{Denial, Handler, Peer, Request};
use crate::server::Settings;
use crate::stream::{Rewind, Stream};
use crate::tls::TlsFacts;
use crate::web::{self, After};
use crate::websocket::WebSocket;

/// What is read of a request at a time.
const PIECE: usize = 2048;

/// How long a refused client has to read why, and how much it may go on sending meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// First bytes of TLS: the type of a handshake record (RFC 8446 section 5.1), and the length of an SSL 2 record, in which old
/// clients put their first message. No request begins with either.
const TLS: [u8; 2] = [0x16, 0x80];

/// What a Flash player sends, with a NUL behind it, before it lets a page of its own connect; and the answer it needs.
const FLASH: &[u8] = b"<policy-file-request/>";
const FLASH_POLICY: &[u8] =
    b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\n";

/// Who a connection is from.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The other end.
    pub peer: Peer,
    /// The number of the connection.
    pub id: u64,
    /// What its TLS session tells.
    pub tls: Option<Arc<TlsFacts>>,
}

/// How a connection began.
enum Opening {
    /// With a WebSocket; what follows the request.
    Open(Box<Request>, Vec<u8>),
    /// With a request for a file, of which these bytes have come.
    Web(Vec<u8>),
    /// It was answered, and there is nothing to add.
    Done,
    /// Refused, for this reason.
    Refused(String),
    /// The client left, or sent nothing at all.
    Gone,
}

/// Finds out what the client speaks, answers it, and hands a WebSocket to `handler`. Returns why it was refused, if it was.
pub(crate) async fn serve<H: Handler>(
    stream: Stream,
    peer: Peer,
    id: u64,
    settings: &Settings,
    handler: &H,
) -> Option<String> {
    let deadline = Instant::now() + settings.handshake_timeout;
    let mut client = Client { peer, id, tls: None };
    let (mut stream, mut seen) = match timeout_at(deadline, sniff(stream, settings, &mut client)).await {
        Ok(Ok(Some(started))) => started,
        Ok(Ok(None)) => return None,
        Ok(Err((reason, stream))) => {
            linger(stream).await;
            return Some(reason);
        }
        Err(_) => return Some("nothing, or no complete TLS handshake, within the handshake timeout".into()),
    };
    let policy = match client.tls {
        Some(_) => Cow::Owned(Policy { secure: true, ..settings.policy.clone() }),
        None => Cow::Borrowed(&settings.policy),
    };
    let mut left = deadline.saturating_duration_since(Instant::now());
    loop {
        let opening = match timeout(left, open(&mut stream, seen, &client, &policy, settings, handler)).await {
            Ok(Ok(opening)) => opening,
            Ok(Err(error)) => return Some(error.to_string()),
            Err(_) => return Some("no complete request within the handshake timeout".into()),
        };
        match (opening, &settings.web) {
            (Opening::Open(request, early), _) => {
                let socket = WebSocket::new(stream, &request.accepted, early);
                handler.serve(*request, socket).await;
                return None;
            }
            (Opening::Web(bytes), Some(web)) => {
                match web::serve(web, handler, &client, stream, bytes, &policy, settings.handshake_timeout).await {
                    After::Request(same, bytes) => (stream, seen, left) = (same, bytes, settings.handshake_timeout),
                    After::Close(stream) => {
                        linger(stream).await;
                        return None;
                    }
                    After::Gone => return None,
                }
            }
            (Opening::Web(_) | Opening::Gone, _) => return None,
            (Opening::Done, _) => {
                linger(stream).await;
                return None;
            }
            (Opening::Refused(reason), _) => {
                linger(stream).await;
                return Some(reason);
            }
        }
    }
}

/// Reads the first bytes, and makes the TLS handshake if they are of one. `None`: the client has left.
///
/// # Errors
/// Why there is no TLS session, and the connection.
async fn sniff(
    mut stream: Stream,
    settings: &Settings,
    client: &mut Client,
) -> Result<Option<(Stream, Vec<u8>)>, (String, Stream)> {
    let mut seen = Vec::new();
    match more(&mut stream, &mut seen).await {
        // Who leaves with a reset has left.
        Ok(0) | Err(_) => return Ok(None),
        Ok(_) => {}
    }
    let speaks_tls = seen.first().is_some_and(|first| TLS.contains(first));
    match &settings.tls {
        Some(tls) if speaks_tls => {
            let (stream, facts) = tls.accept(Rewind::new(seen, stream)).await.map_err(told)?;
            client.tls = Some(Arc::new(facts));
            Ok(Some((stream, Vec::new())))
        }
        Some(tls) if tls.only() => {
            let denial = Denial { status: "400 Bad Request", reason: "This port speaks TLS only".into() };
            // The reply is for who can read it.
            let _ = stream.write_all(denial.reply().as_bytes()).await;
            Err((denial.reason, stream))
        }
        Some(_) | None => Ok(Some((stream, seen))),
    }
}

/// The failure of a TLS handshake, for the log.
fn told((error, stream): (io::Error, Stream)) -> (String, Stream) {
    (format!("TLS: {error}"), stream)
}

/// Reads what there is. Returns how much; 0 at the end.
async fn more(stream: &mut Stream, seen: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; PIECE];
    let count = stream.read(&mut piece).await?;
    seen.extend_from_slice(piece.get(..count).unwrap_or_default());
    Ok(count)
}

/// Reads a request, of which `seen` has come, and answers it unless it is for the web side.
async fn open<H: Handler>(
    stream: &mut Stream,
    mut seen: Vec<u8>,
    client: &Client,
    policy: &Policy,
    settings: &Settings,
    handler: &H,
) -> io::Result<Opening> {
    if seen.is_empty() && more(stream, &mut seen).await? == 0 {
        return Ok(Opening::Gone);
    }
    if seen.starts_with(FLASH.get(..1).unwrap_or_default()) {
        while FLASH.starts_with(&seen) && seen.len() < FLASH.len() {
            if more(stream, &mut seen).await? == 0 {
                return Ok(Opening::Gone);
            }
        }
        if seen.starts_with(FLASH) {
            stream.write_all(FLASH_POLICY).await?;
            return Ok(Opening::Done);
        }
    }
    let (mut handshake, mut reply) = (Handshake::new(), Vec::new());
    let mut looked = 0;
    loop {
        let (taken, progress) = handshake.receive(seen.get(looked..).unwrap_or_default(), policy, &mut reply);
        looked = seen.len().min(looked + taken);
        match progress {
            Progress::Incomplete => {
                if more(stream, &mut seen).await? == 0 {
                    return Ok(Opening::Gone);
                }
            }
            Progress::Refused(refusal) if settings.web.is_some() && web::is_web(&refusal) => {
                return Ok(Opening::Web(seen));
            }
            Progress::Refused(refusal) => {
                stream.write_all(&reply).await?;
                stream.flush().await?;
                return Ok(Opening::Refused(refusal.to_string()));
            }
            Progress::Accepted(accepted) => {
                let early = seen.split_off(looked);
                let Client { peer, id, ref tls } = *client;
                let request = Request { accepted: *accepted, head: seen, peer, id, tls: tls.clone() };
                return match handler.admit(&request).await {
                    Ok(()) => {
                        stream.write_all(&reply).await?;
                        stream.flush().await?;
                        Ok(Opening::Open(Box::new(request), early))
                    }
                    Err(denial) => {
                        stream.write_all(denial.reply().as_bytes()).await?;
                        stream.flush().await?;
                        Ok(Opening::Refused(denial.reason))
                    }
                };
            }
        }
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

/// Lets a client read what it was sent: closing while it sends would reset the connection and take the reply back.
async fn linger(mut stream: Stream) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, drain).await;
}
