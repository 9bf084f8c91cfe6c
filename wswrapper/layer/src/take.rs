//! The ways bytes go from the kernel's queue into the program's buffers, none of which waits.

use std::io::IoSliceMut;

use crate::Layer;
use crate::again::{insist, is_passing};
use crate::conn::{Conn, Receive};
use crate::iov::{Cursor, PIECES};
use crate::recv::{Short, Step, is_flood};
use crate::scratch::{SMALL, Scratch};
use crate::slots::Slot;
use crate::sys::{Errno, Fd, Result, Sys};

/// Bytes that are no payload behind the end of a client's frame: the shortest header, RFC 6455 section 5.2.
const NEXT_HEADER: usize = 6;

/// Longest run of bytes that are no payload: the payload of a control frame, RFC 6455 section 5.5.
const MAX_OVERHEAD: usize = 125;

/// Most bytes that a look at the queue leaves there although the decoder has seen them: see [`crate::ready`].
pub(crate) const SKIP_MAX: usize = 16;

/// Rests of frames that fit with their surroundings into this much are received by way of the stack: a plain recv costs less
/// than a vectored one. This is what the first message takes together with the request in front of it;
const BLOCK: usize = 768;

/// and this what most small messages take, with less of the stack to be cleared and fetched.
const SMALL_BLOCK: usize = 128;

/// Looks between large frames at what is no payload alone, one at a time, before they are taken in bulk.
const PATIENT: u32 = 8;

impl<S: Sys> Layer<S> {
    /// Delivers the rest of a short frame, which is what a read mostly comes to behind a look at the queue. Nothing is done where there is
    /// none.
    #[inline(always)]
    pub(crate) fn take_short(&self, fd: Fd, buf: &mut [u8]) -> Short<'_> {
        let Slot::Conn(index) = self.slots.get(fd) else { return Short::Other };
        let Some((conn, mut receive)) = self.lock_half(fd, index, |conn| &conn.receive) else { return Short::Other };
        let receive = &mut *receive;
        let on = |delivered, boundary| match self.conns.acquire(index) {
            Some(conn) => Short::On { conn, delivered, boundary },
            None => Short::Other,
        };
        let rest = receive.decoder.verbatim();
        if receive.error.is_some() || rest > SMALL_BLOCK as u64 {
            return Short::Other;
        }
        if rest == 0 {
            let between = receive.decoder.end().is_none() && !receive.streams() && !buf.is_empty();
            return if between { on(0, Some(receive.taken)) } else { Short::Other };
        }
        let mut block = [0; SMALL_BLOCK];
        let asked = rest as usize + receive.skip + NEXT_HEADER;
        let (Some(payload), Some(room)) = (buf.get_mut(..rest as usize), block.get_mut(..asked)) else {
            return Short::Other;
        };
        let n = match self.sys.recv(fd, room, libc::MSG_DONTWAIT) {
            Ok(0) => return Short::Done(Ok(0)),
            Ok(n) => n,
            Err(Errno(libc::EAGAIN)) => return Short::Other,
            Err(error) => {
                receive.broken |= !is_passing(error);
                return Short::Done(Err(error));
            }
        };
        receive.taken = receive.taken.wrapping_add(1);
        let skip = receive.skip.min(n);
        receive.skip -= skip;
        let (from, behind) = block.get_mut(skip..n).unwrap_or_default().split_at_mut((n - skip).min(payload.len()));
        let payload = payload.get_mut(..from.len()).unwrap_or_default();
        payload.copy_from_slice(from);
        let good = receive.decoder.receive_verbatim(payload);
        receive.bytes += good as u64;
        if !behind.is_empty() {
            receive.decoder.receive(behind, &mut []);
        }
        self.settle(conn, fd, receive);
        match good {
            0 => Short::Other,
            good if n == asked && good < buf.len() => on(good, None),
            good => Short::Done(Ok(good)),
        }
    }

    /// Delivers what the kernel has, without waiting.
    #[inline(always)]
    pub(crate) fn take(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
        barren: &mut u32,
    ) -> Step {
        // What was delivered before ended in front of a header.
        let mut first = cursor.filled() == 0;
        loop {
            if receive.decoder.end().is_some() {
                return Step::Ended;
            }
            if cursor.left() == 0 {
                return Step::Full;
            }
            let rest = usize::try_from(receive.decoder.verbatim()).unwrap_or(usize::MAX);
            let asked = rest.saturating_add(receive.skip + NEXT_HEADER);
            let small = rest <= cursor.left() && asked <= BLOCK;
            if !small && receive.skip > SKIP_MAX {
                // A request that early payload followed.
                if let Err(error) = self.discard(fd, receive, receive.skip) {
                    return Step::Failed(error);
                }
            }
            let before = cursor.filled();
            let step = if rest > 0 && (first || !small) {
                first = false;
                match small {
                    true if asked <= SMALL_BLOCK => self.take_rest(conn, fd, receive, cursor, [0; SMALL_BLOCK], asked),
                    true => self.take_rest(conn, fd, receive, cursor, [0; BLOCK], asked),
                    false => self.take_verbatim(conn, fd, receive, cursor, rest),
                }
            } else if receive.expects_large() && *barren < PATIENT {
                self.take_overhead(conn, fd, receive)
            } else {
                self.take_decoded(conn, fd, receive, cursor, *barren > 0)
            };
            if let Some(step) = step {
                return step;
            }
            if is_flood(cursor.filled() == before, barren) {
                return Step::Flooded;
            }
        }
    }

    /// The rest of a small frame, and the header behind it: together with what is skipped in front, `asked` bytes.
    #[inline(always)]
    fn take_rest<const ROOM: usize>(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
        mut buf: [u8; ROOM],
        asked: usize,
    ) -> Option<Step> {
        let buf = buf.get_mut(..asked).unwrap_or_default();
        let n = match self.sys.recv(fd, buf, libc::MSG_DONTWAIT) {
            Ok(0) => return Some(Step::Ended),
            Ok(n) => n,
            Err(Errno(libc::EAGAIN)) => return Some(Step::Dry),
            Err(error) => return Some(Step::Failed(error)),
        };
        receive.taken = receive.taken.wrapping_add(1);
        let skip = receive.skip.min(n);
        receive.skip -= skip;
        feed(receive, buf.get_mut(skip..n).unwrap_or_default(), cursor);
        self.settle(conn, fd, receive);
        (n < asked).then_some(if cursor.left() == 0 { Step::Full } else { Step::Dry })
    }

    /// Inside a frame: payload goes straight into the program's buffers.
    fn take_verbatim(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
        rest: usize,
    ) -> Option<Step> {
        let want = rest.min(cursor.left());
        let skip = receive.skip;
        let (mut seen, mut header) = ([0; SKIP_MAX], [0; NEXT_HEADER]);
        let room = cursor.room();
        let (received, payload, ends) = if skip == 0 && want < rest && room.len() >= want {
            (self.sys.recv(fd, room.get_mut(..want).unwrap_or_default(), libc::MSG_DONTWAIT), want, false)
        } else {
            let mut pieces: [IoSliceMut<'_>; PIECES] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
            let mut at = 0;
            if let (true, Some(piece)) = (skip > 0, pieces.first_mut()) {
                *piece = IoSliceMut::new(seen.get_mut(..skip).unwrap_or_default());
                at = 1;
            }
            let (count, bytes) = cursor.pieces(want, pieces.get_mut(at..PIECES - 1).unwrap_or_default());
            at += count;
            let ends = bytes == rest;
            if let (true, Some(piece)) = (ends, pieces.get_mut(at)) {
                *piece = IoSliceMut::new(&mut header);
                at += 1;
            }
            let pieces = pieces.get_mut(..at).unwrap_or_default();
            (self.sys.recv_vectored(fd, pieces, libc::MSG_DONTWAIT), bytes, ends)
        };
        let n = match received {
            Ok(0) => return Some(Step::Ended),
            Ok(n) => n,
            Err(Errno(libc::EAGAIN)) => return Some(Step::Dry),
            Err(error) => return Some(Step::Failed(error)),
        };
        receive.taken = receive.taken.wrapping_add(1);
        receive.skip = skip.saturating_sub(n);
        let mut got = n.saturating_sub(skip).min(payload);
        while got > 0 {
            let room = cursor.room();
            let len = got.min(room.len());
            let good = receive.decoder.receive_verbatim(room.get_mut(..len).unwrap_or_default());
            cursor.advance(good);
            receive.bytes += good as u64;
            got -= len;
            if good < len {
                break;
            }
        }
        let beyond = n.saturating_sub(skip + payload);
        if beyond > 0 {
            receive.decoder.receive(header.get_mut(..beyond).unwrap_or_default(), &mut []);
        }
        self.settle(conn, fd, receive);
        let asked = skip + payload + if ends { NEXT_HEADER } else { 0 };
        (n < asked).then_some(if cursor.left() == 0 { Step::Full } else { Step::Dry })
    }

    /// Between large frames: what cannot be payload.
    fn take_overhead(&self, conn: &Conn, fd: Fd, receive: &mut Receive) -> Option<Step> {
        let mut buf = [0; MAX_OVERHEAD];
        let buf = buf.get_mut(..receive.decoder.overhead()).unwrap_or_default();
        match self.sys.recv(fd, buf, libc::MSG_DONTWAIT) {
            Ok(0) => Some(Step::Ended),
            Ok(n) => {
                receive.taken = receive.taken.wrapping_add(1);
                receive.decoder.receive(buf.get_mut(..n).unwrap_or_default(), &mut []);
                self.settle(conn, fd, receive);
                None
            }
            Err(Errno(libc::EAGAIN)) => Some(Step::Dry),
            Err(error) => Some(Step::Failed(error)),
        }
    }

    /// Many small frames, or base64: through a large buffer.
    fn take_decoded(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
        in_flood: bool,
    ) -> Option<Step> {
        let mut small = [0; SMALL];
        let mut input = Scratch::take(&mut small);
        // More than the payload that fits, by a third for base64 and headers.
        let left = cursor.left();
        let want = if in_flood { input.len() } else { input.len().min(left.saturating_add(left / 3 + 256)) };
        let peeked = self.sys.recv(fd, input.get_mut(..want).unwrap_or_default(), libc::MSG_PEEK | libc::MSG_DONTWAIT);
        match peeked {
            Ok(0) => Some(Step::Ended),
            Ok(n) => {
                self.decode(conn, fd, receive, input.get_mut(..n).unwrap_or_default(), cursor);
                (n < want).then_some(if cursor.left() == 0 { Step::Full } else { Step::Dry })
            }
            Err(Errno(libc::EAGAIN)) => Some(Step::Dry),
            Err(error) => Some(Step::Failed(error)),
        }
    }

    /// Decodes `input`, a peek of the queue's front, and discards what that used up.
    pub(crate) fn decode(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        input: &mut [u8],
        cursor: &mut Cursor<'_, '_>,
    ) {
        let skip = receive.skip;
        let used = feed(receive, input.get_mut(skip..).unwrap_or_default(), cursor);
        let _ = self.discard(fd, receive, skip + used);
        self.settle(conn, fd, receive);
    }

    /// Takes `len` decoded bytes from the front of the kernel's queue.
    ///
    /// # Errors
    /// Those of recv(2). They were peeked under the lock, so they are there, and nothing should go wrong; what stays there all
    /// the same is remembered as seen.
    pub(crate) fn discard(&self, fd: Fd, receive: &mut Receive, len: usize) -> Result<()> {
        receive.skip = 0;
        if len == 0 {
            return Ok(());
        }
        receive.taken = receive.taken.wrapping_add(1);
        let taken = insist(|| self.sys.discard(fd, len));
        receive.skip = len.saturating_sub(taken.unwrap_or(0));
        taken.map(drop)
    }
}

/// Decodes `input` into the program's buffers as far as they go. Returns how much of it is used up.
fn feed(receive: &mut Receive, input: &mut [u8], cursor: &mut Cursor<'_, '_>) -> usize {
    let mut used = 0;
    loop {
        let step = receive.decoder.receive(input.get_mut(used..).unwrap_or_default(), cursor.room());
        used += step.consumed;
        cursor.advance(step.produced);
        receive.bytes += step.produced as u64;
        if step.produced == 0 || used == input.len() {
            return used;
        }
    }
}
