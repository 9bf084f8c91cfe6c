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
//! They are in `take`; `MSG_PEEK` and the count of readable bytes are in `peek`.
//!
//! A call that has to wait does so in a peek of its own, without a lock, so that `O_NONBLOCK`, `SO_RCVTIMEO`, signals and
//! restarts are the kernel's business.

use std::io::IoSliceMut;

use libc::c_int;

use crate::Layer;
use crate::again::is_passing;
use crate::conn::Conn;
use crate::iov::Cursor;
use crate::scratch::SMALL;
use crate::slots::{Ref, Slot};
use crate::sys::{Errno, Fd, Result, Sys};
use crate::wait::PeekWait;

/// What an attempt that does not wait came to.
pub(crate) enum Step {
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
    /// As much without payload as a call passes over.
    Flooded,
}

/// What a read comes to that is not prepared for more than the rest of a short frame.
pub(crate) enum Short<'a> {
    /// That is what there was, or the call failed.
    Done(Result<usize>),
    /// So much was delivered of `conn`, and the call goes on; `boundary` as in [`Layer::fill`].
    On { conn: Ref<'a, Conn>, delivered: usize, boundary: Option<u32> },
    /// Something else.
    Other,
}

/// Steps without payload in one call, each of up to a large buffer, before a call that does not wait gives others their turn. What
/// is behind so many pings then comes with the next bytes of that client at the latest.
const BARREN: u32 = 64;

/// Counts a step that brought nothing; whether it was one too many.
pub(crate) fn is_flood(nothing: bool, barren: &mut u32) -> bool {
    *barren = if nothing { *barren + 1 } else { 0 };
    *barren >= BARREN
}

impl<S: Sys> Layer<S> {
    /// recvmsg(2) on a wrapped connection, without address and control data; `flags` 0 is read(2).
    ///
    /// # Errors
    /// Those of recv(2); `EINVAL` for `MSG_OOB`, which no WebSocket carries.
    #[inline(always)]
    pub fn receive(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        if let [only] = &mut *bufs
            && flags & !libc::MSG_DONTWAIT == 0
        {
            let received = match self.take_short(fd, only) {
                Short::Done(received) => Some(received),
                Short::On { conn, delivered, boundary } => {
                    let cursor = &mut Cursor::new(bufs);
                    cursor.advance(delivered);
                    Some(self.fill(&conn, fd, cursor, flags, boundary))
                }
                Short::Other => None,
            };
            match received {
                Some(Err(Errno(libc::ENOTSOCK))) => return self.receive_elsewhere(fd, bufs, flags),
                Some(received) => return received,
                None => {}
            }
        }
        self.receive_any(fd, bufs, flags)
    }

    /// [`Layer::receive`] of anything.
    #[inline(never)]
    fn receive_any(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        let Some(conn) = &self.conn(fd) else { return self.receive_plain(fd, bufs, flags) };
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if flags & libc::MSG_ERRQUEUE != 0 || bufs.iter().all(|buf| buf.is_empty()) {
            return self.sys.outside(|| self.sys.recv_vectored(fd, bufs, flags));
        }
        let cursor = &mut Cursor::new(bufs);
        let received = if flags & libc::MSG_PEEK != 0 {
            self.peek(conn, fd, cursor, flags)
        } else {
            self.fill(conn, fd, cursor, flags, None)
        };
        if received == Err(Errno(libc::ENOTSOCK)) {
            return self.receive_elsewhere(fd, bufs, flags);
        }
        received
    }

    /// The number was closed behind our back and is something else by now.
    #[cold]
    #[inline(never)]
    fn receive_elsewhere(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        self.forget(fd);
        self.receive_plain(fd, bufs, flags)
    }

    /// An error behind what a call delivers: the next call's to report.
    pub fn postpone(&self, fd: Fd, error: Errno) {
        if let Some(conn) = self.conn(fd) {
            conn.receive.lock().error.get_or_insert(error);
        }
    }

    /// The call on a number that is none of ours any more.
    fn receive_plain(&self, fd: Fd, bufs: &mut [IoSliceMut<'_>], flags: c_int) -> Result<usize> {
        self.sys.outside(|| match self.sys.recv_vectored(fd, bufs, flags) {
            Err(Errno(libc::ENOTSOCK)) if flags == 0 => self.sys.read_vectored(fd, bufs),
            result => result,
        })
    }

    /// Reads until the buffers are full, or the kernel has no more and something was delivered. `boundary` is [`Receive::taken`] where
    /// it is known that the last frame was read to its end, and nothing of what follows.
    ///
    /// [`Receive::taken`]: crate::conn::Receive::taken
    pub(crate) fn fill(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
        mut boundary: Option<u32>,
    ) -> Result<usize> {
        let mut wait = PeekWait::default();
        let (mut dry, mut first, mut barren) = (false, true, 0);
        loop {
            let nowait = cursor.filled() > 0 && flags & libc::MSG_WAITALL == 0;
            let flags = if nowait { libc::MSG_DONTWAIT } else { flags & libc::MSG_DONTWAIT };
            if dry && cursor.filled() > 0 && flags & libc::MSG_DONTWAIT != 0 {
                break;
            }
            if !std::mem::take(&mut first) && !self.is_still(conn, fd) {
                // Another thread has closed the number while we waited, and it may be another connection by now.
                let error = conn.receive.lock().take_error().unwrap_or(Errno(libc::EBADF));
                return if cursor.filled() == 0 { Err(error) } else { Ok(cursor.filled()) };
            }
            let step = match boundary.take() {
                Some(taken) => self.step_at_boundary(conn, fd, cursor, flags, taken, (&mut wait, &mut barren)),
                None => self.step(conn, fd, cursor, flags, dry, (&mut wait, &mut barren)),
            };
            dry = matches!(step, Step::Dry);
            match step {
                Step::Dry | Step::Stale => {}
                Step::Flooded if cursor.filled() > 0 => break,
                Step::Flooded if flags & libc::MSG_DONTWAIT != 0 || self.is_nonblocking(fd) => {
                    return Err(Errno(libc::EAGAIN));
                }
                Step::Flooded => barren = 0,
                Step::Full | Step::Ended => break,
                Step::Failed(error @ Errno(libc::EAGAIN | libc::EINTR)) if cursor.filled() == 0 => return Err(error),
                Step::Failed(Errno(libc::EAGAIN | libc::EINTR)) => break,
                Step::Failed(error) => {
                    let receive = &mut *conn.receive.lock();
                    receive.broken |= !is_passing(error);
                    if cursor.filled() == 0 {
                        return Err(error);
                    }
                    // Bytes were delivered: the error is the next call's.
                    receive.error = Some(error);
                    break;
                }
            }
        }
        if cursor.filled() == 0 {
            self.end_told(conn, fd);
        }
        Ok(cursor.filled())
    }

    /// One attempt; waits in the kernel if `dry` says that there was nothing, or if nothing is known.
    #[inline(always)]
    fn step(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
        dry: bool,
        (wait, barren): (&mut PeekWait, &mut u32),
    ) -> Step {
        let (taken, inside) = {
            let receive = &mut *conn.receive.lock();
            if let Some(error) = receive.take_error() {
                return Step::Failed(error);
            }
            if receive.decoder.end().is_some() {
                return Step::Ended;
            }
            let inside = receive.decoder.verbatim() > 0;
            if !dry && (inside || receive.streams()) {
                return self.take(conn, fd, receive, cursor, barren);
            }
            (receive.taken, inside)
        };
        if inside {
            return match wait.peek(&self.sys, fd, &mut [0], flags) {
                Ok(0) => Step::Ended,
                Ok(_) => Step::Stale,
                Err(error) => Step::Failed(error),
            };
        }
        self.step_at_boundary(conn, fd, cursor, flags, taken, (wait, barren))
    }

    /// Waits in a peek that serves at once if all that came is small.
    fn step_at_boundary(
        &self,
        conn: &Conn,
        fd: Fd,
        cursor: &mut Cursor<'_, '_>,
        flags: c_int,
        taken: u32,
        (wait, barren): (&mut PeekWait, &mut u32),
    ) -> Step {
        let mut input = [0; SMALL];
        let n = match wait.peek(&self.sys, fd, &mut input, flags) {
            Ok(0) => return Step::Ended,
            Ok(n) => n,
            Err(error) => return Step::Failed(error),
        };
        let receive = &mut *conn.receive.lock();
        if receive.taken != taken || !self.is_still(conn, fd) {
            return Step::Stale;
        }
        self.decode(conn, fd, receive, input.get_mut(..n).unwrap_or_default(), cursor);
        match cursor.left() {
            0 => Step::Full,
            _ if is_flood(cursor.filled() == 0, barren) => Step::Flooded,
            _ if n == SMALL => self.take(conn, fd, receive, cursor, barren),
            _ => Step::Dry,
        }
    }

    /// Whether `fd` still names the connection that it was found to be. Asked after a wait, under the lock of the direction that
    /// goes on: `leave` waits for that.
    pub(crate) fn is_still(&self, conn: &Conn, fd: Fd) -> bool {
        matches!(self.slots.get(fd), Slot::Conn(index) if self.conns.is_at(index, conn))
    }

    /// Whether the program's calls on `fd` do not wait.
    pub(crate) fn is_nonblocking(&self, fd: Fd) -> bool {
        self.sys.fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0)
    }
}
