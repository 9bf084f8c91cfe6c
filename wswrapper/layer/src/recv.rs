//! read(2), recv(2) and their kin on a wrapped connection.
//!
//! Invariant 2: the kernel tells the truth about reading. Bytes are decoded straight into the program's buffer and only
//! what was delivered, and what is no payload, leaves the kernel's queue. Three ways lead there:
//!
//! - inside a frame whose payload travels as it is, one receive into the program's buffer, unmasked in place; where the
//!   frame may end, six bytes more are received: a client's header has at least as many, so none of them is payload;
//! - at a boundary between large frames, a receive of exactly what cannot be payload;
//! - else a peek, a decode into the program's buffer, and a discard of what was decoded.
//!
//! A call that has to wait does so in a peek of its own, without a lock, so that `O_NONBLOCK`, `SO_RCVTIMEO`, signals and
//! restarts are the kernel's business.

use std::io::IoSliceMut;
use std::sync::atomic::Ordering;

use libc::c_int;

use crate::Layer;
use crate::conn::{Conn, Receive};
use crate::iov::{Cursor, PIECES};
use crate::scratch::{SMALL, Scratch};
use crate::sys::{Errno, Fd, Result, Sys};
use crate::wait::PeekWait;

/// Bytes that are no payload behind the end of a client's frame: the shortest header, RFC 6455 section 5.2.
const NEXT_HEADER: usize = 6;

/// Longest run of bytes that are no payload: the payload of a control frame, RFC 6455 section 5.5.
const MAX_OVERHEAD: usize = 125;

/// What an attempt that does not wait came to.
enum Step {
    /// The buffers are full.
    Full,
    /// The kernel has no more for the moment.
    Dry,
    /// The stream is over.
    Ended,
    /// A system call failed.
    Failed(Errno),
    /// Another thread was faster; look again.
    Stale,
}

impl<S: Sys> Layer<S> {
    /// recvmsg(2) on a wrapped connection, without address and control data; `flags` 0 is read(2).
    ///
    /// # Errors
    /// Those of recv(2); `EINVAL` for `MSG_OOB`, which no WebSocket carries.
    pub fn receive(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        let Some(conn) = self.conn(fd) else {
            return self.sys.read_vectored(fd, bufs);
        };
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if flags & libc::MSG_ERRQUEUE != 0 || bufs.iter().all(|buf| buf.is_empty()) {
            return self.sys.recv_vectored(fd, bufs, flags);
        }
        let cursor = &mut Cursor::new(bufs);
        let received = if flags & libc::MSG_PEEK != 0 {
            self.peek(&conn, fd, cursor, flags)
        } else {
            self.fill(&conn, fd, cursor, flags)
        };
        if received == Err(Errno(libc::ENOTSOCK)) {
            // The number was closed behind our back and is something else by now.
            self.forget(fd);
            return self.sys.read_vectored(fd, bufs);
        }
        received
    }

    /// Bytes of payload that could be read at once, `FIONREAD`: exact as far as one large buffer of encoded bytes goes,
    /// and never 0 when there is payload.
    pub fn readable_bytes(&self, fd: Fd) -> Result<usize> {
        let Some(conn) = self.conn(fd) else {
            return self.sys.queued(fd);
        };
        let receive = &mut *conn.receive.lock();
        if receive.error.is_some() || receive.decoder.end().is_some() {
            return Ok(0);
        }
        let queued = self.sys.queued(fd)?.saturating_sub(receive.skip);
        if receive.decoder.verbatim() >= queued as u64 {
            return Ok(queued);
        }
        let mut small = [0; SMALL];
        let mut input = Scratch::take(&mut small);
        let Ok(n) = self
            .sys
            .recv(fd, &mut input, libc::MSG_PEEK | libc::MSG_DONTWAIT)
        else {
            return Ok(0);
        };
        let mut decoder = receive.decoder.clone();
        let mut rest = input.get_mut(receive.skip..n).unwrap_or_default();
        let (mut bytes, mut sink) = (0, [0; SMALL]);
        loop {
            let step = decoder.receive(rest, &mut sink);
            bytes += step.produced;
            if step.produced == 0 {
                return Ok(bytes);
            }
            rest = rest.get_mut(step.consumed..).unwrap_or_default();
        }
    }

    /// Reads until the buffers are full, or the kernel has no more and something was delivered.
    fn fill(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
    ) -> Result<usize> {
        let mut wait = PeekWait::default();
        let mut dry = false;
        loop {
            let nowait = cursor.filled() > 0 && flags & libc::MSG_WAITALL == 0;
            let flags = if nowait {
                libc::MSG_DONTWAIT
            } else {
                flags & libc::MSG_DONTWAIT
            };
            if nowait && dry {
                break;
            }
            let step = self.step(conn, fd, cursor, flags, dry, &mut wait);
            dry = matches!(step, Step::Dry);
            match step {
                Step::Dry | Step::Stale => {}
                Step::Full | Step::Ended => break,
                Step::Failed(error) if cursor.filled() == 0 => return Err(error),
                Step::Failed(Errno(libc::EAGAIN | libc::EINTR)) => break,
                Step::Failed(error) => {
                    // Bytes were delivered: the error is the next call's.
                    conn.receive.lock().error = Some(error);
                    break;
                }
            }
        }
        Ok(cursor.filled())
    }

    /// One attempt; waits in the kernel if `dry` says that there was nothing, or if nothing is known.
    fn step(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
        dry: bool,
        wait: &mut PeekWait,
    ) -> Step {
        let (taken, inside) = {
            let receive = &mut *conn.receive.lock();
            if let Some(error) = receive.error.take() {
                return Step::Failed(error);
            }
            if receive.decoder.end().is_some() {
                return Step::Ended;
            }
            let inside = receive.decoder.verbatim() > 0;
            if !dry && (inside || receive.expects_large()) {
                return self.take(conn, fd, receive, cursor);
            }
            (conn.taken.load(Ordering::Acquire), inside)
        };
        if inside {
            return match wait.peek(&self.sys, fd, &mut [0], flags) {
                Ok(0) => Step::Ended,
                Ok(_) => Step::Stale,
                Err(error) => Step::Failed(error),
            };
        }
        self.step_at_boundary(conn, fd, cursor, flags, taken, wait)
    }

    /// Waits in a peek that serves at once if all that came is small.
    fn step_at_boundary(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
        taken: u32,
        wait: &mut PeekWait,
    ) -> Step {
        let mut input = [0; SMALL];
        let n = match wait.peek(&self.sys, fd, &mut input, flags) {
            Ok(0) => return Step::Ended,
            Ok(n) => n,
            Err(error) => return Step::Failed(error),
        };
        let receive = &mut *conn.receive.lock();
        if conn.taken.load(Ordering::Acquire) != taken {
            return Step::Stale;
        }
        self.decode(
            conn,
            fd,
            receive,
            input.get_mut(..n).unwrap_or_default(),
            cursor,
        );
        match cursor.left() {
            0 => Step::Full,
            _ if n == SMALL => self.take(conn, fd, receive, cursor),
            _ => Step::Dry,
        }
    }

    /// Delivers what the kernel has, without waiting.
    fn take(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
    ) -> Step {
        loop {
            if receive.decoder.end().is_some() {
                return Step::Ended;
            }
            if cursor.left() == 0 {
                return Step::Full;
            }
            let step = if receive.decoder.verbatim() > 0 {
                self.take_verbatim(conn, fd, receive, cursor)
            } else if receive.expects_large() {
                self.take_overhead(conn, fd, receive)
            } else {
                self.take_decoded(conn, fd, receive, cursor)
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Inside a frame: payload goes straight into the program's buffers.
    fn take_verbatim(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        cursor: &mut Cursor<'_, '_>,
    ) -> Option<Step> {
        let rest = usize::try_from(receive.decoder.verbatim()).unwrap_or(usize::MAX);
        let want = rest.min(cursor.left());
        let skip = receive.skip;
        let (mut seen, mut header) = ([0; SKIP_MAX], [0; NEXT_HEADER]);
        let room = cursor.room();
        let (received, payload, ends) = if skip == 0 && want < rest && room.len() >= want {
            (
                self.sys.recv(
                    fd,
                    room.get_mut(..want).unwrap_or_default(),
                    libc::MSG_DONTWAIT,
                ),
                want,
                false,
            )
        } else {
            let mut pieces: [IoSliceMut<'_>; PIECES] =
                std::array::from_fn(|_| IoSliceMut::new(&mut []));
            let mut at = 0;
            if let (true, Some(piece)) = (skip > 0, pieces.first_mut()) {
                *piece = IoSliceMut::new(seen.get_mut(..skip).unwrap_or_default());
                at = 1;
            }
            let (count, bytes) =
                cursor.pieces(want, pieces.get_mut(at..PIECES - 1).unwrap_or_default());
            at += count;
            let ends = bytes == rest;
            if let (true, Some(piece)) = (ends, pieces.get_mut(at)) {
                *piece = IoSliceMut::new(&mut header);
                at += 1;
            }
            let pieces = pieces.get_mut(..at).unwrap_or_default();
            (
                self.sys.recv_vectored(fd, pieces, libc::MSG_DONTWAIT),
                bytes,
                ends,
            )
        };
        let n = match received {
            Ok(0) => return Some(Step::Ended),
            Ok(n) => n,
            Err(Errno(libc::EAGAIN)) => return Some(Step::Dry),
            Err(error) => return Some(Step::Failed(error)),
        };
        conn.taken.fetch_add(1, Ordering::AcqRel);
        receive.skip = skip.saturating_sub(n);
        let mut got = n.saturating_sub(skip).min(payload);
        while got > 0 {
            let room = cursor.room();
            let len = got.min(room.len());
            let good = receive
                .decoder
                .receive_verbatim(room.get_mut(..len).unwrap_or_default());
            cursor.advance(good);
            receive.bytes += good as u64;
            got -= len;
            if good < len {
                break;
            }
        }
        let beyond = n.saturating_sub(skip + payload);
        if beyond > 0 {
            receive
                .decoder
                .receive(header.get_mut(..beyond).unwrap_or_default(), &mut []);
        }
        self.settle(conn, fd, receive);
        let asked = skip + payload + if ends { NEXT_HEADER } else { 0 };
        (n < asked).then_some(if cursor.left() == 0 {
            Step::Full
        } else {
            Step::Dry
        })
    }

    /// Between large frames: what cannot be payload.
    fn take_overhead(&self, conn: &Conn, fd: Fd, receive: &mut Receive) -> Option<Step> {
        let mut buf = [0; MAX_OVERHEAD];
        let buf = buf
            .get_mut(..receive.decoder.overhead())
            .unwrap_or_default();
        match self.sys.recv(fd, buf, libc::MSG_DONTWAIT) {
            Ok(0) => Some(Step::Ended),
            Ok(n) => {
                conn.taken.fetch_add(1, Ordering::AcqRel);
                receive
                    .decoder
                    .receive(buf.get_mut(..n).unwrap_or_default(), &mut []);
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
    ) -> Option<Step> {
        let mut small = [0; SMALL];
        let mut input = Scratch::take(&mut small);
        // More than the payload that fits, by a third for base64 and headers.
        let left = cursor.left();
        let want = input.len().min(left.saturating_add(left / 3 + 256));
        let peeked = self.sys.recv(
            fd,
            input.get_mut(..want).unwrap_or_default(),
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        );
        match peeked {
            Ok(0) => Some(Step::Ended),
            Ok(n) => {
                self.decode(
                    conn,
                    fd,
                    receive,
                    input.get_mut(..n).unwrap_or_default(),
                    cursor,
                );
                (n < want).then_some(if cursor.left() == 0 {
                    Step::Full
                } else {
                    Step::Dry
                })
            }
            Err(Errno(libc::EAGAIN)) => Some(Step::Dry),
            Err(error) => Some(Step::Failed(error)),
        }
    }

    /// Decodes `input`, a peek of the queue's front, and discards what that used up.
    fn decode(
        &self,
        conn: &Conn,
        fd: Fd,
        receive: &mut Receive,
        input: &mut [u8],
        cursor: &mut Cursor<'_, '_>,
    ) {
        let mut used = receive.skip;
        loop {
            let step = receive
                .decoder
                .receive(input.get_mut(used..).unwrap_or_default(), cursor.room());
            used += step.consumed;
            cursor.advance(step.produced);
            receive.bytes += step.produced as u64;
            if step.produced == 0 {
                break;
            }
        }
        self.discard(conn, fd, receive, used);
        self.settle(conn, fd, receive);
    }

    /// Takes `len` decoded bytes from the front of the kernel's queue.
    pub(crate) fn discard(&self, conn: &Conn, fd: Fd, receive: &mut Receive, len: usize) {
        receive.skip = 0;
        if len > 0 {
            conn.taken.fetch_add(1, Ordering::AcqRel);
            // They were peeked under the lock, so they are there.
            let _ = self.sys.discard(fd, len);
        }
    }

    /// recv(2) with `MSG_PEEK`: what could be read, decoded by a copy of the decoder. With `MSG_WAITALL` it waits until all
    /// that was asked for is there, as long as that is within [`SMALL`] bytes of the encoded stream.
    fn peek(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
    ) -> Result<usize> {
        let mut wait = PeekWait::default();
        loop {
            let queued = {
                let receive = &mut *conn.receive.lock();
                if let Some(error) = receive.error.take() {
                    return Err(error);
                }
                if self.payload_waits(conn, fd, receive) {
                    cursor.rewind();
                    let queued = self.peek_payload(fd, receive, cursor)?;
                    let waits =
                        flags & (libc::MSG_WAITALL | libc::MSG_DONTWAIT) == libc::MSG_WAITALL;
                    if !waits || cursor.left() == 0 || queued >= SMALL {
                        return Ok(cursor.filled());
                    }
                    queued
                } else if receive.decoder.end().is_some() {
                    return Ok(0);
                } else {
                    0
                }
            };
            // One byte more than there is.
            let mut input = [0; SMALL];
            let input = input.get_mut(..queued + 1).unwrap_or_default();
            let waitall = if queued > 0 { libc::MSG_WAITALL } else { 0 };
            match wait.peek(&self.sys, fd, input, flags & libc::MSG_DONTWAIT | waitall) {
                Ok(n) if n > queued => {}
                Ok(_) => return Ok(cursor.filled()),
                Err(_) if queued > 0 => return Ok(cursor.filled()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Decodes what the kernel has with a copy of the decoder. Returns how many encoded bytes that were.
    fn peek_payload(
        &self,
        fd: Fd,
        receive: &Receive,
        cursor: &mut Cursor<'_, '_>,
    ) -> Result<usize> {
        let mut small = [0; SMALL];
        let mut input = Scratch::take(&mut small);
        let n = self
            .sys
            .recv(fd, &mut input, libc::MSG_PEEK | libc::MSG_DONTWAIT)?;
        let (mut decoder, mut used) = (receive.decoder.clone(), receive.skip);
        loop {
            let step = decoder.receive(input.get_mut(used..n).unwrap_or_default(), cursor.room());
            used += step.consumed;
            cursor.advance(step.produced);
            if step.produced == 0 {
                return Ok(n);
            }
        }
    }

    /// recv(2) with `MSG_TRUNC`: reads `len` bytes and drops them, tcp(7). The caller's buffer may not exist.
    ///
    /// # Errors
    /// As for [`Layer::receive`].
    pub fn drop_payload(&self, fd: Fd, len: usize, flags: c_int) -> Result<usize> {
        let Some(conn) = self.conn(fd) else {
            return Err(Errno(libc::EBADF));
        };
        let mut sink = [0; SMALL];
        let mut done = 0;
        while done < len {
            let sink = sink.get_mut(..SMALL.min(len - done)).unwrap_or_default();
            let asked = sink.len();
            let nowait = if done > 0 { libc::MSG_DONTWAIT } else { 0 };
            match self.fill(
                &conn,
                fd,
                &mut Cursor::new(&mut [IoSliceMut::new(sink)]),
                flags | nowait,
            ) {
                Ok(n) if n == asked => done += n,
                Ok(n) => return Ok(done + n),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Most bytes that a look at the queue leaves there although the decoder has seen them: see [`crate::ready`].
pub(crate) const SKIP_MAX: usize = 16;
