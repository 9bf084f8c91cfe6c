//! One connection, from its first byte to the handler.
//!
//! Who the client is shows in what it sends: TLS by its first byte, and inside or without it a Flash policy request, a request
//! for a WebSocket, or one for a file. All of that together has the time of one opening handshake; after a web request the
//! next has as much again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use crate::handler::{Denial, Handler, Peer};
use crate::opening::{Incoming, Opening, open};
use crate::proxy_protocol::{self, Front};
use crate::server::Settings;
use crate::stream::{Rewind, Stream};
use crate::tls::TlsFacts;
use crate::web::{self, After};
use crate::websocket::WebSocket;

/// How long a client has to take an answer, and one that is refused to read why; how much it may go on sending meanwhile.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// First bytes of TLS: the type of a handshake record (RFC 8446 section 5.1), and the length of an SSL 2 record, in which old
/// clients put their first message. No request begins with either.
const TLS: [u8; 2] = [0x16, 0x80];

/// Whose connection it is.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub peer: Peer,
    pub local: Option<SocketAddr>,
    pub id: u64,
    pub tls: Option<Arc<TlsFacts>>,
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
pub(crate) const PROBE: &str = "probe";

impl Refused {
    pub(crate) fn new(label: &'static str, reason: impl ToString) -> Self {
        Refused { label, reason: reason.to_string() }
    }

    /// Nothing complete came in time.
    pub(crate) fn late(begun: bool) -> Self {
        let label = if begun { "timeout" } else { PROBE };
        Refused::new(label, "no complete request within the handshake timeout")
    }

    /// It is not answered when the server cuts off.
    fn cut_off() -> Self {
        Refused::new("ending", "cut off before its request was answered")
    }

    /// Whether nothing was asked for: a port scan, a load balancer's look, a browser that connects in advance.
    pub(crate) fn is_probe(&self) -> bool {
        self.label == PROBE
    }
}

/// Finds out what the client speaks, answers it, and hands a WebSocket to `handler`.
pub(crate) async fn serve<H: Handler>(
    mut stream: Stream,
    mut origin: Origin,
    settings: &Settings,
    handler: &H,
) -> Result<(), Refused> {
    let mut deadline = Deadline::now() + settings.handshake_timeout;
    let mut cut_off = settings.lifecycle.cut_off();
    if settings.trusted.includes(origin.peer) {
        stream = tokio::select! {
            introduced = timeout_at(deadline, introduced(stream, &mut origin)) => {
                introduced.map_err(|_| Refused::late(false))??
            }
            () = settings.lifecycle.draining() => return Err(Refused::new(PROBE, "the server ends")),
        };
    }
    let mut incoming = Incoming { stream, seen: Vec::new(), begun: false };
    if settings.tls.is_some() {
        incoming = tokio::select! {
            secured = secured(incoming, deadline, &mut origin, settings) => secured?,
            () = &mut cut_off => return Err(Refused::cut_off()),
        };
    }
    loop {
        let opening = tokio::select! {
            opening = open(&mut incoming, &origin, settings, handler, deadline) => opening,
            () = &mut cut_off => return Err(Refused::cut_off()),
        };
        match (opening?, &settings.web) {
            (Opening::Open(request, early, _place), _) => {
                let _counted = settings.metrics.opened(request.accepted.dialect);
                let socket = WebSocket::new(incoming.stream, &request.accepted, early);
                handler.serve(*request, socket).await;
                return Ok(());
            }
            (Opening::Web(seen), Some(web)) => {
                match web::serve(web, handler, &origin, settings, incoming.stream, seen).await {
                    After::Request(stream, seen) => incoming = Incoming { stream, seen, begun: true },
                    After::Close(stream) => {
                        linger(stream).await;
                        return Ok(());
                    }
                    After::Gone => return Ok(()),
                }
                deadline = Deadline::now() + settings.handshake_timeout;
            }
            (Opening::Web(_), None) => return Ok(()),
            (Opening::Done, _) => {
                linger(incoming.stream).await;
                return Ok(());
            }
            (Opening::Refused(refused), _) => {
                linger(incoming.stream).await;
                return Err(refused);
            }
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

/// Reads the first bytes, and makes the TLS handshake if they are of one.
async fn secured(
    mut incoming: Incoming,
    deadline: Deadline,
    origin: &mut Origin,
    settings: &Settings,
) -> Result<Incoming, Refused> {
    incoming.more(settings, deadline).await?;
    let speaks_tls = incoming.seen.first().is_some_and(|first| TLS.contains(first));
    match &settings.tls {
        Some(tls) if speaks_tls => {
            let accepted = timeout_at(deadline, tls.accept(Rewind::new(incoming.seen, incoming.stream))).await;
            match accepted
                .map_err(|_| Refused::new("timeout", "no complete TLS handshake within the handshake timeout"))?
            {
                Ok((stream, facts)) => {
                    origin.tls = Some(Arc::new(facts));
                    Ok(Incoming { stream, seen: Vec::new(), begun: false })
                }
                Err((error, stream)) => {
                    linger(stream).await;
                    Err(Refused::new("tls", format!("TLS: {error}")))
                }
            }
        }
        Some(tls) if tls.only() => {
            let denial = Denial::new("400 Bad Request", "This port speaks TLS only");
            // Whoever does not read it has what it says in front of it anyway.
            let _ = timeout(LINGER, incoming.stream.write_all(denial.reply().as_bytes())).await;
            linger(incoming.stream).await;
            Err(Refused::new("plain", denial.reason))
        }
        Some(_) | None => Ok(incoming),
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

#[cfg(test)]
mod tests;
