//! What lets requests through to hyper one by one, and stops at the first that is for others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header;
use httparse::{EMPTY_HEADER, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use wsproto::{Handshake, Policy, Progress};

use super::{After, is_web};
use crate::server::Settings;
use crate::stream::Stream;

/// What is read of a request at a time.
const PIECE: usize = 2048;

/// The most header fields of a request.
const FIELDS: usize = 100;

/// How long a client may take no byte of a reply.
const STALL: Duration = Duration::from_secs(60);

/// A connection as hyper sees it: the heads of web requests, whole, and an end where another kind of request begins.
pub(super) struct Gate {
    stream: Stream,
    policy: Policy,
    limit: Duration,
    /// Ready when the server takes no further requests.
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
    state: State,
    /// What has come of a head; at the end, of what is not for hyper.
    head: Vec<u8>,
    /// How far the handshake has looked into it.
    looked: usize,
    handshake: Handshake,
    /// Judged, and not read by hyper yet.
    passed: Vec<u8>,
    deadline: Pin<Box<Sleep>>,
    stall: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A head is to come.
    Heads,
    /// A request has a body: the rest is hyper's, and the reply ends the connection.
    Body,
    /// Another kind of request has come.
    Other,
    /// The client has ended, or taken too long for a request, or the server ends.
    Ended,
}

/// Whether a request with these fields has a body, be it an empty one.
pub(super) fn has_body(name: &str) -> bool {
    name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str())
        || name.eq_ignore_ascii_case(header::TRANSFER_ENCODING.as_str())
}

impl Gate {
    pub(super) fn new(stream: Stream, seen: Vec<u8>, settings: &Settings) -> Self {
        let (limit, lifecycle) = (settings.handshake_timeout, settings.lifecycle.clone());
        Gate {
            stream,
            policy: settings.policy.clone(),
            limit,
            draining: Box::pin(async move { lifecycle.draining().await }),
            state: State::Heads,
            head: seen,
            looked: 0,
            handshake: Handshake::new(),
            passed: Vec::new(),
            deadline: Box::pin(sleep(limit)),
            stall: None,
        }
    }

    /// What to do when hyper is done.
    pub(super) fn into_after(self) -> After {
        match self.state {
            State::Other => After::Request(self.stream, self.head),
            State::Heads | State::Body | State::Ended => After::Close(self.stream),
        }
    }

    /// Looks at what has come and was not looked at. `false`: more is needed.
    fn judge(&mut self) -> bool {
        let fresh = self.head.get(self.looked..).unwrap_or_default();
        let (taken, progress) = self.handshake.receive(fresh, &self.policy, &mut Vec::new());
        self.looked = self.head.len().min(self.looked + taken);
        match progress {
            Progress::Incomplete => false,
            Progress::Refused(refusal) if is_web(&refusal) => {
                let rest = self.head.split_off(self.looked);
                self.passed = std::mem::replace(&mut self.head, rest);
                if comes_with_body(&self.passed) {
                    self.state = State::Body;
                    self.passed.append(&mut self.head);
                }
                (self.handshake, self.looked) = (Handshake::new(), 0);
                self.deadline.as_mut().reset(Instant::now() + self.limit);
                true
            }
            Progress::Accepted(_) | Progress::Refused(_) => {
                self.state = State::Other;
                true
            }
        }
    }

    /// A write has been tried: an error if the client has not taken a byte for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Whether a complete head announces a body.
fn comes_with_body(head: &[u8]) -> bool {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    // It has been parsed before; what would not parse is not followed by another request.
    request.parse(head).is_err() || request.headers.iter().any(|field| has_body(field.name))
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.passed.is_empty() {
                let count = this.passed.len().min(buf.remaining());
                buf.put_slice(this.passed.drain(..count).as_slice());
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Heads => {}
                State::Body => return Pin::new(&mut this.stream).poll_read(cx, buf),
                State::Other | State::Ended => return Poll::Ready(Ok(())),
            }
            if this.looked < this.head.len() && this.judge() {
                continue;
            }
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut piece)?;
            if read.is_pending() {
                let ends = this.head.is_empty() && this.draining.as_mut().poll(cx).is_ready();
                if !ends {
                    ready!(this.deadline.as_mut().poll(cx));
                }
            }
            if piece.filled().is_empty() {
                this.state = State::Ended;
            }
            this.head.extend_from_slice(piece.filled());
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
