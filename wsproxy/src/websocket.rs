//! A WebSocket as a stream of bytes.
//!
//! No payload is kept on the way in, but what a client says before it has a reader ([`WebSocket::forsaken`]): what is read is decoded in
//! the reader's own buffer, and payload is never longer than what carried it. None is kept on the way out either: a write reports exactly the bytes that the transport took (see
//! [`wsproto::Sender`]), so backpressure passes through as it is, and an idle connection holds no buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsproto::{Accepted, Dialect, End, Receiver, Sender};

/// Room for a frame of [`Sender::MAX_FRAME`] bytes in base64 and what surrounds it.
const SCRATCH: usize = 88 * 1024;

/// How much longer the payload can be than the base64 characters that complete it: three of a quantum came before.
const SPARE: usize = 2;

/// How much is kept of what a client says before anybody reads it.
const AHEAD: usize = 64 * 1024;

/// How much of it is read at a time.
const PIECE: usize = 4096;

/// Close code of an ordinary end, RFC 6455 section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

thread_local! {
    /// Where base64 is on its way through; nothing stays in it between two calls.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// The byte stream inside a WebSocket over the transport `T`.
///
/// Reading ends with the client's Close, or with the end of the transport; pings are answered meanwhile. A rule that the
/// client breaks is an error of kind `InvalidData`, and the Close with its code is on its way. Shutting down sends Close
/// 1000 (see [`WebSocket::close`] for another code) and ends the transport's outgoing half; what the client sent before its own
/// Close can still be read.
pub struct WebSocket<T> {
    transport: T,
    receiver: Receiver,
    sender: Sender,
    /// What the client sent behind its request.
    early: Vec<u8>,
    /// Payload that a reader with a tiny buffer left, or that was there before a reader.
    left: Vec<u8>,
    /// The dialect has pings.
    pings: bool,
    /// Bytes that the transport brought, payload or not.
    received: u64,
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// The stream behind a handshake. `early` is what was read after the request.
    pub fn new(transport: T, accepted: &Accepted, early: Vec<u8>) -> Self {
        WebSocket {
            transport,
            receiver: Receiver::new(accepted.dialect, accepted.encoding),
            sender: Sender::new(accepted.dialect, accepted.encoding),
            early,
            left: Vec::new(),
            pings: accepted.dialect == Dialect::Rfc6455,
            received: 0,
        }
    }

    /// The same stream over a transport that is made of its own. `change` sees what was read before as well.
    pub fn map<U>(self, change: impl FnOnce(T, &[u8]) -> U) -> WebSocket<U> {
        let WebSocket { transport, receiver, sender, early, left, pings, received } = self;
        WebSocket { transport: change(transport, &early), receiver, sender, early, left, pings, received }
    }

    /// How the client ended its side of the stream, once it has.
    pub fn end(&self) -> Option<&End> {
        self.receiver.end()
    }

    /// How many bytes the client has sent: grows while it lives.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Queues a ping, which a client must answer (RFC 6455 section 5.5.2); hixie has none, and it is not sent. It goes out with
    /// the next write or flush.
    pub fn ping(&mut self) {
        self.sender.queue_ping();
    }

    /// Queues Close with `code` (RFC 6455 section 7.4.1) behind what was written; the answer to the client's Close, or to a rule
    /// that it broke, has the code that belongs there instead. The first code counts. It goes out with
    /// [`AsyncWrite::poll_shutdown`].
    pub fn close(&mut self, code: u16) {
        self.sender.close(self.receiver.end().map_or(code, End::reply_code));
    }

    /// Listens to a client that nobody reads from yet. What it says is kept for the next read, up to 64 KiB, and pings are answered.
    /// Ready when it has ended without a word; one that has said something is to be heard, whatever it did then.
    pub async fn forsaken(&mut self) {
        poll_fn(|cx| self.poll_forsaken(cx)).await;
    }

    fn poll_forsaken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // In here, and not beside the future, of which each waiting connection has one.
        let mut piece = [0; PIECE];
        while self.left.len() <= AHEAD - PIECE {
            let mut buf = ReadBuf::new(&mut piece);
            let kept = std::mem::take(&mut self.left);
            let read = Pin::new(&mut *self).poll_read(cx, &mut buf);
            self.left = kept;
            match ready!(read) {
                Ok(()) if !buf.filled().is_empty() => self.left.extend_from_slice(buf.filled()),
                Ok(()) | Err(_) if self.left.is_empty() => return Poll::Ready(()),
                Ok(()) | Err(_) => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    /// Whether the client's dialect has pings.
    pub fn has_pings(&self) -> bool {
        self.pings
    }

    /// The transport.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Reads what the client sent, raw.
    fn poll_raw(&mut self, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = if self.early.is_empty() {
            let mut buf = ReadBuf::new(to);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buf))?;
            buf.filled().len()
        } else {
            let count = self.early.len().min(to.len());
            for (to, from) in to.iter_mut().zip(self.early.drain(..count)) {
                *to = from;
            }
            count
        };
        self.received += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Reads and decodes once. `None` is the end of the transport.
    fn poll_payload(&mut self, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<Option<usize>>> {
        if self.sender.is_verbatim() {
            let count = ready!(self.poll_raw(cx, to))?;
            let raw = to.get_mut(..count).unwrap_or_default();
            return Poll::Ready(Ok((count > 0).then(|| in_place(&mut self.receiver, raw))));
        }
        let mut small = [0; 1 + SPARE];
        let tiny = to.len() <= SPARE;
        let out = if tiny { &mut small[..] } else { &mut *to };
        let produced = ready!(BUFFER.with_borrow_mut(|buffer| {
            let room = (out.len() - SPARE).min(buffer.len());
            let raw = buffer.get_mut(..room).unwrap_or_default();
            let count = ready!(self.poll_raw(cx, raw))?;
            let produced = self.receiver.receive(raw.get_mut(..count).unwrap_or_default(), out).produced;
            Poll::Ready(io::Result::Ok((count > 0).then_some(produced)))
        }))?;
        if let (true, Some(produced)) = (tiny, produced) {
            self.left.extend_from_slice(small.get(..produced).unwrap_or_default());
            return Poll::Ready(Ok(Some(self.take_left(to))));
        }
        Poll::Ready(Ok(produced))
    }

    /// Delivers what an earlier read left.
    fn take_left(&mut self, to: &mut [u8]) -> usize {
        let count = self.left.len().min(to.len());
        for (to, from) in to.iter_mut().zip(self.left.drain(..count)) {
            *to = from;
        }
        if self.left.is_empty() {
            self.left = Vec::new();
        }
        count
    }

    /// Sends pongs and Close as far as the transport takes them.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sender.wants_transmit() {
            let head = self.sender.transmit_control();
            let sent = match Pin::new(&mut self.transport).poll_write(cx, head.as_slice()) {
                Poll::Ready(Ok(sent)) => sent,
                other => {
                    self.sender.transmitted(0);
                    return other.map_ok(drop);
                }
            };
            self.sender.transmitted(sent);
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_verbatim(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        let (head, count) = self.sender.transmit_head(payload.len());
        let payload = payload.get(..count).unwrap_or_default();
        let parts = [IoSlice::new(head.as_slice()), IoSlice::new(payload)];
        let sent = Pin::new(&mut self.transport).poll_write_vectored(cx, &parts);
        self.commit(sent, |sender, sent| sender.transmitted(sent))
    }

    fn poll_encoded(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|out| {
            let len = self.sender.transmit_encoded(payload, out);
            let out = out.get(..len).unwrap_or_default();
            // Nothing to send: the byte that was owed has gone out meanwhile.
            let sent = if len == 0 { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.transport).poll_write(cx, out) };
            self.commit(sent, |sender, sent| sender.transmitted_encoded(sent, out))
        })
    }

    /// Tells the encoder what the transport took; `Ok(0)` if that was no payload.
    fn commit(
        &mut self,
        sent: Poll<io::Result<usize>>,
        told: impl FnOnce(&mut Sender, usize) -> usize,
    ) -> Poll<io::Result<usize>> {
        match sent {
            Poll::Ready(Ok(sent)) => Poll::Ready(Ok(told(&mut self.sender, sent))),
            other => {
                told(&mut self.sender, 0);
                other
            }
        }
    }
}

/// Decodes `raw` where it lies: payload moves to the front. Returns how much there is.
fn in_place(receiver: &mut Receiver, raw: &mut [u8]) -> usize {
    let (mut at, mut payload) = (0, 0);
    while at < raw.len() {
        at += receiver.receive(raw.get_mut(at..).unwrap_or_default(), &mut []).consumed;
        let rest = raw.get_mut(at..).unwrap_or_default();
        let len = usize::try_from(receiver.verbatim()).unwrap_or(usize::MAX).min(rest.len());
        let good = receiver.receive_verbatim(rest.get_mut(..len).unwrap_or_default());
        if at > payload && good > 0 {
            raw.copy_within(at..at + good, payload);
        }
        (at, payload) = (at + len, payload + good);
    }
    payload
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.left.is_empty() {
            let count = this.take_left(buf.initialize_unfilled());
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.receiver.end() {
                Some(End::Closed(_)) => return Poll::Ready(Ok(())),
                Some(End::Failed(violation)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.to_string())));
                }
                None => {}
            }
            let Some(count) = ready!(this.poll_payload(cx, buf.initialize_unfilled()))? else {
                return Poll::Ready(Ok(()));
            };
            if let Some(pong) = this.receiver.take_pong() {
                this.sender.queue_pong(&pong);
            }
            if let Some(end @ End::Failed(_)) = this.receiver.end() {
                this.sender.close(end.reply_code());
            }
            if this.sender.wants_transmit() {
                // What cannot go out is tried again with the next write, read or flush.
                let _ = this.poll_control(cx)?;
            }
            if count > 0 {
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<T> {
    /// Sends a frame. After the client broke a rule, or after Close, it is `BrokenPipe`.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while !payload.is_empty() {
            if this.sender.is_closing() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let told = if this.sender.is_verbatim() {
                ready!(this.poll_verbatim(cx, payload))?
            } else {
                ready!(this.poll_encoded(cx, payload))?
            };
            if told > 0 {
                return Poll::Ready(Ok(told));
            }
        }
        Poll::Ready(Ok(0))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_control(cx))?;
        Pin::new(&mut this.transport).poll_flush(cx)
    }

    /// Sends Close and ends the outgoing half of the transport.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close(NORMAL_CLOSURE);
        ready!(this.poll_control(cx))?;
        Pin::new(&mut this.transport).poll_shutdown(cx)
    }
}
