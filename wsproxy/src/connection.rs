//! One connection, from its first byte to the handler.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wsproto::{Handshake, Policy, Progress};

use crate::handler::{Denial, Handler, Peer, Request};
use crate::stream::Stream;
use crate::websocket::WebSocket;

/// What is read of a request at a time.
const PIECE: usize = 2048;

/// How long a refused client has to read why, and how much it may go on sending meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 1 << 20;

/// How an opening handshake ended.
enum Opening {
    /// A WebSocket; what follows the request.
    Open(Box<Request>, Vec<u8>),
    /// Refused, for this reason.
    Refused(String),
    /// The client left, or sent nothing at all.
    Gone,
}

/// Speaks the opening handshake on `stream` and hands the WebSocket to `handler`. Returns why it did not come to that.
pub(crate) async fn serve<H: Handler>(
    mut stream: Stream,
    peer: Peer,
    id: u64,
    policy: &Policy,
    limit: Duration,
    handler: &H,
) -> Option<String> {
    let opening = match timeout(limit, open(&mut stream, peer, id, policy, handler)).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(error)) => return Some(error.to_string()),
        Err(_) => return Some("no complete request within the handshake timeout".into()),
    };
    match opening {
        Opening::Open(request, early) => {
            let socket = WebSocket::new(stream, &request.accepted, early);
            handler.serve(*request, socket).await;
            None
        }
        Opening::Refused(reason) => {
            linger(&mut stream).await;
            Some(reason)
        }
        Opening::Gone => None,
    }
}

/// Reads the request and answers it.
async fn open<H: Handler>(
    stream: &mut Stream,
    peer: Peer,
    id: u64,
    policy: &Policy,
    handler: &H,
) -> io::Result<Opening> {
    let (mut handshake, mut head, mut reply) = (Handshake::new(), Vec::new(), Vec::new());
    let mut piece = [0; PIECE];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(Opening::Gone);
        }
        let input = piece.get(..count).unwrap_or_default();
        let (taken, progress) = handshake.receive(input, policy, &mut reply);
        let (request, early) = input.split_at(taken.min(count));
        head.extend_from_slice(request);
        match progress {
            Progress::Incomplete => {}
            Progress::Refused(refusal) => {
                stream.write_all(&reply).await?;
                return Ok(Opening::Refused(refusal.to_string()));
            }
            Progress::Accepted(accepted) => {
                let request = Request { accepted: *accepted, head, peer, id };
                return match handler.admit(&request).await {
                    Ok(()) => {
                        stream.write_all(&reply).await?;
                        stream.flush().await?;
                        Ok(Opening::Open(Box::new(request), early.to_vec()))
                    }
                    Err(denial) => {
                        stream.write_all(denial.reply().as_bytes()).await?;
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

/// Lets a refused client read the reply: closing while it sends would reset the connection and take the reply back.
async fn linger(stream: &mut Stream) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, drain).await;
}
