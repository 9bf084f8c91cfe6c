//! Bytes between a client and a target, both ways in one task.
//!
//! What is read is written at once, from a buffer that the thread lends; only what the other side does not take is kept, and
//! nothing more is read until it has gone. So a connection holds at most one buffer each way, and none while it is idle.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::heartbeat::Heartbeat;
use crate::lifecycle::{CutOff, Lifecycle};
use crate::websocket::WebSocket;

/// Bytes that are moved at a time.
const BUFFER: usize = 64 * 1024;

/// How long the second direction may go on when the first is over: WebSocket has no half-closed state, so the side that
/// ended is not listening for much longer.
const GRACE: Duration = Duration::from_secs(5);

/// How long a Close may take to go out.
const PARTING: Duration = Duration::from_secs(2);

/// How long what a side said may take to reach the other when it has ended, where that reads slowly. The kernel holds some MiB of what the
/// target said in front of the Close, and takes them back when the connection is closed on what the client says meanwhile.
const DELIVERY: Duration = Duration::from_secs(60);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// What a relay came to.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes from the client to the target.
    pub up: u64,
    /// Bytes from the target to the client.
    pub down: u64,
    /// What ended it.
    pub cause: Cause,
}

/// What ended a relay.
#[derive(Debug)]
pub enum Cause {
    /// The client's Close.
    ClientClosed,
    /// The client's connection ended without a Close.
    ClientLeft,
    /// The client broke a rule of the protocol.
    ClientFailed(String),
    /// The client's connection failed.
    ClientError(io::Error),
    /// The client has not answered the pings.
    ClientSilent,
    /// The server ends.
    CutOff,
    /// The target ended its stream.
    TargetClosed,
    /// The target's connection failed.
    TargetError(io::Error),
}

/// The purpose of the connection has been fulfilled: RFC 6455 section 7.4.1, as the others.
pub const NORMAL: u16 = 1000;

/// The server goes away.
pub const GOING_AWAY: u16 = 1001;

/// The server met a condition that it did not expect.
pub const INTERNAL_ERROR: u16 = 1011;

/// The service is overloaded or not there at the moment: of the IANA registry of WebSocket close codes.
pub const TRY_AGAIN_LATER: u16 = 1013;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::ClientClosed => f.write_str("closed by the client"),
            Cause::ClientLeft => f.write_str("the client left without a Close"),
            Cause::ClientFailed(rule) => write!(f, "the client broke a rule: {rule}"),
            Cause::ClientError(error) => write!(f, "the client's connection failed: {error}"),
            Cause::ClientSilent => f.write_str("the client does not answer pings"),
            Cause::CutOff => f.write_str("the server ends"),
            Cause::TargetClosed => f.write_str("closed by the target"),
            Cause::TargetError(error) => write!(f, "the target's connection failed: {error}"),
        }
    }
}

/// Relays until both sides have ended. The target's end becomes Close 1000, its failure Close 1011; the client's end becomes
/// the end of the target's input. A silent client is pinged every `heartbeat`, and is gone when it answers none of three.
/// When the server cuts off, that is Close 1001. `progress` is told how many bytes have gone up and down, whenever there is a
/// pause and at the end.
pub async fn relay<C, T>(
    client: &mut WebSocket<C>,
    target: &mut T,
    heartbeat: Option<Duration>,
    lifecycle: &Lifecycle,
    mut progress: impl FnMut(u64, u64),
) -> Outcome
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let mut heartbeat = Heartbeat::new(client, heartbeat);
    let mut cut_off = lifecycle.cut_off();
    let first = poll_fn(|cx| {
        if let Poll::Ready(result) = up.poll(cx, client, target) {
            return Poll::Ready(First::Up(result));
        }
        if let Poll::Ready(result) = down.poll(cx, target, client) {
            return Poll::Ready(First::Down(result));
        }
        progress(up.bytes, down.bytes);
        if Pin::new(&mut cut_off).poll(cx).is_ready() {
            return Poll::Ready(First::CutOff);
        }
        let held = down.is_held().then(|| down.written());
        heartbeat.poll(cx, client, !up.is_held(), held).map(|()| First::Silence)
    })
    .await;
    let (cause, close) = match first {
        First::Up(Ok(())) => {
            // It fails for a target that has gone, which the other direction finds out. One of TLS that does not read is not told.
            let _ = timeout(PARTING, target.shutdown()).await;
            // Last words: until the answer to its Close a client listens, and so may one that ended its half of the stream.
            let _ = timeout(GRACE, poll_fn(|cx| down.poll(cx, target, client))).await;
            (if client.end().is_some() { Cause::ClientClosed } else { Cause::ClientLeft }, NORMAL)
        }
        First::Up(Err(Fault::Read(error))) => match error.kind() {
            io::ErrorKind::InvalidData => (Cause::ClientFailed(error.to_string()), NORMAL),
            // TLS without its own closing message, which many leave out.
            io::ErrorKind::UnexpectedEof => (Cause::ClientLeft, NORMAL),
            _ => (Cause::ClientError(error), NORMAL),
        },
        First::Up(Err(Fault::Write(error))) => {
            // It takes nothing more, and may have said why.
            let _ = timeout(GRACE, poll_fn(|cx| down.poll(cx, target, client))).await;
            (Cause::TargetError(error), INTERNAL_ERROR)
        }
        First::Down(Ok(())) => {
            client.close(NORMAL);
            // Close has its place behind all that; a client that says something itself before it reads on is listened to meanwhile.
            let told = poll_fn(|cx| match up.poll(cx, client, target) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut *client).poll_shutdown(cx).map(drop),
            });
            let _ = unless_cut(&mut cut_off, timeout(DELIVERY, told)).await;
            let _ = timeout(GRACE, poll_fn(|cx| up.poll(cx, client, target))).await;
            (Cause::TargetClosed, NORMAL)
        }
        First::Down(Err(Fault::Read(error))) => (Cause::TargetError(error), INTERNAL_ERROR),
        First::Down(Err(Fault::Write(error))) => {
            // It hears nothing more; what it had said before is here, and the target may be slow to take it.
            let said = poll_fn(|cx| {
                let taken = up.poll(cx, client, target);
                // One that waits for its own words to be taken reads nothing meanwhile.
                let _ = drop_all(cx, target);
                taken
            });
            let _ = unless_cut(&mut cut_off, timeout(DELIVERY, said)).await;
            (Cause::ClientError(error), NORMAL)
        }
        First::Silence => (Cause::ClientSilent, INTERNAL_ERROR),
        First::CutOff => {
            // Close stands between frames: what was begun is ended.
            let _ = timeout(PARTING, poll_fn(|cx| down.poll_rest(cx, client))).await;
            (Cause::CutOff, GOING_AWAY)
        }
    };
    progress(up.bytes, down.bytes);
    let parting = async {
        match cause {
            Cause::TargetClosed | Cause::TargetError(_) => {
                let _ = unless_cut(&mut cut_off, part_within(DELIVERY, client, close)).await;
                part(client, close).await;
            }
            // Nobody is there.
            Cause::ClientError(_) => {}
            _ => part(client, close).await,
        }
    };
    tokio::join!(parting, leave(target));
    Outcome { up: up.bytes, down: down.bytes, cause }
}

/// Ends the client's connection: Close with `code` unless one is out, then what is under way from the client is dropped until it
/// has ended too, since a connection that is closed on unread bytes is reset, and the Close may be lost.
pub async fn part<C: AsyncRead + AsyncWrite + Unpin>(client: &mut WebSocket<C>, code: u16) {
    part_within(PARTING, client, code).await;
}

/// The same for a client that may have a lot to read first.
async fn part_within<C: AsyncRead + AsyncWrite + Unpin>(limit: Duration, client: &mut WebSocket<C>, code: u16) {
    client.close(code);
    let ended = poll_fn(|cx| {
        let heard = drop_all(cx, client);
        match Pin::new(&mut *client).poll_shutdown(cx) {
            Poll::Ready(Ok(())) => heard,
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    });
    let _ = timeout(limit, ended).await;
}

/// Reads to the end, be it a failure.
fn drop_all<R: AsyncRead + Unpin>(cx: &mut Context<'_>, from: &mut R) -> Poll<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            let mut buf = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut *from).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    })
}

/// What `step` comes to; `None` if the server cuts off first.
async fn unless_cut<T>(cut_off: &mut CutOff, step: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = step => Some(done),
        () = cut_off => None,
    }
}

/// Ends the target's connection: its input ends, and what it goes on saying is dropped until it has ended too. A connection that is
/// closed on unread bytes is reset, and the client's last words, if they are still on their way, are lost.
async fn leave<T: AsyncRead + AsyncWrite + Unpin>(target: &mut T) {
    // It fails for a target that has gone, and takes for ever for one of TLS that does not read.
    if let Ok(Ok(())) = timeout(PARTING, target.shutdown()).await {
        let _ = timeout(PARTING, poll_fn(|cx| drop_all(cx, target))).await;
    }
}

/// Which direction was over first.
enum First {
    Up(Result<(), Fault>),
    Down(Result<(), Fault>),
    /// The client does not answer pings.
    Silence,
    /// The server cuts off.
    CutOff,
}

/// Where a direction broke.
enum Fault {
    Read(io::Error),
    Write(io::Error),
}

/// One direction.
#[derive(Default)]
struct Direction {
    bytes: u64,
    /// What the writer did not take yet, from `at` on.
    rest: Vec<u8>,
    at: usize,
    /// Written since the last flush.
    dirty: bool,
    ended: bool,
}

impl Direction {
    /// Whether the writer does not take what is there.
    fn is_held(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Bytes that the writer has taken.
    fn written(&self) -> u64 {
        self.bytes - (self.rest.len() - self.at) as u64
    }

    /// Moves what there is. Ready when the reader has ended and all is written and flushed.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_rest(cx, to))?;
            if self.ended {
                return Pin::new(to).poll_flush(cx).map_err(Fault::Write);
            }
            let moved = SCRATCH.with_borrow_mut(|scratch| self.poll_once(cx, from, to, scratch));
            match moved {
                Poll::Ready(moved) => moved?,
                Poll::Pending => {
                    if self.dirty && self.rest.is_empty() {
                        ready!(Pin::new(to).poll_flush(cx)).map_err(Fault::Write)?;
                        self.dirty = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what was kept.
    fn poll_rest<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<Result<(), Fault>> {
        while let Some(rest @ [_, ..]) = self.rest.get(self.at..) {
            match write(cx, to, rest)? {
                Poll::Ready(count) => self.at += count,
                Poll::Pending => return Poll::Pending,
            }
        }
        (self.rest, self.at) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what was read, or keeps what the writer does not take.
    fn poll_once<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(from).poll_read(cx, &mut buf)).map_err(Fault::Read)?;
        let mut bytes = buf.filled();
        self.bytes += bytes.len() as u64;
        self.ended = bytes.is_empty();
        self.dirty = true;
        while !bytes.is_empty() {
            match write(cx, to, bytes)? {
                Poll::Ready(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Poll::Pending => {
                    self.rest = bytes.to_vec();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes some of `bytes`.
fn write<W: AsyncWrite + Unpin>(cx: &mut Context<'_>, to: &mut W, bytes: &[u8]) -> Result<Poll<usize>, Fault> {
    match Pin::new(to).poll_write(cx, bytes) {
        Poll::Ready(Ok(0)) => Err(Fault::Write(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(count)) => Ok(Poll::Ready(count)),
        Poll::Ready(Err(error)) => Err(Fault::Write(error)),
        Poll::Pending => Ok(Poll::Pending),
    }
}
