//! write(2), send(2) and their kin on a wrapped connection.
//!
//! Invariant 3: a write that is reported is a write that is sent. The encoder prepares, the kernel takes what it takes,
//! the encoder says what that means for the program.
//!
//! The first attempt never blocks, under the lock. Where it falls short, the rest is sent with the program's own flags and
//! without the lock: the kernel waits, times out and restarts as it does for any socket. [`Send::busy`] keeps other
//! writers out meanwhile.

use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, POLLOUT, c_int, pollfd};

use crate::Layer;
use crate::again::again;
use crate::conn::{Conn, Send};
use crate::iov::{PIECES, tail, total};
use crate::scratch::{SMALL, Scratch};
use crate::slots::Slot;
use crate::sys::{Errno, Fd, RESTART, Result, Sys};
use crate::wait::Deadline;
use wslock::MutexGuard;

/// Payload that is collected from several buffers of the program into one base64 frame; its encoding fits beside it.
const GATHER: usize = 32 * 1024;

/// The longest frame whose length is in one byte: two bytes of header, 125 of payload.
const SHORT_FRAME: usize = 127;

/// The least that the encoder takes to make a frame in.
const MIN_ROOM: usize = 512;

/// Writes from this size on do not try to go out without waiting where the last one could not.
const LARGE_WRITE: usize = 16 * 1024;

/// What became of one frame.
pub(crate) struct Sent {
    /// Payload bytes to report.
    pub reported: usize,
    /// Everything that was prepared is out.
    pub whole: bool,
}

impl<S: Sys> Layer<S> {
    /// sendmsg(2) on a wrapped connection, without address and control data; `flags` 0 is write(2).
    ///
    /// # Errors
    /// Those of send(2); `EINVAL` for `MSG_OOB`, which no WebSocket carries; `ENOBUFS` for `MSG_ZEROCOPY`, on which
    /// programs fall back to a plain send.
    #[inline(always)]
    pub fn send(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        if let [only] = bufs
            && flags & (libc::MSG_OOB | libc::MSG_ZEROCOPY) == 0
            && let Some(sent) = self.send_short(fd, only, flags)
        {
            return sent;
        }
        match self.conn(fd) {
            Some(conn) => self.send_frames(&conn, fd, bufs, flags, None),
            None => self.send_plain(fd, bufs, flags),
        }
    }

    /// A message of one short frame that nothing goes in front of, as most are. `None` where it takes more; nothing was done then.
    ///
    /// It is copied behind its header: a plain send costs less than a vectored one.
    #[inline(always)]
    fn send_short(&self, fd: Fd, bytes: &[u8], flags: c_int) -> Option<Result<usize>> {
        let Slot::Conn(index) = self.slots.get(fd) else { return None };
        let mut frame = [0; SHORT_FRAME];
        let (conn, mut send) = self.lock_half(fd, index, |conn| &conn.send)?;
        if send.busy.is_some() {
            return None;
        }
        let frame = send.encoder.short_frame(bytes, &mut frame)?;
        let sent = self.sys.send(fd, frame, flags | MSG_DONTWAIT);
        if sent != Ok(frame.len()) {
            return Some(self.send_cut((conn, index), send, fd, bytes, flags, sent));
        }
        send.bytes += bytes.len() as u64;
        drop(send);
        if conn.has_answer()
            && let Some(conn) = self.conn(fd)
        {
            self.answer_late(&conn, fd);
        }
        Some(Ok(bytes.len()))
    }

    /// The kernel did not take all of a short frame of `bytes`.
    #[cold]
    #[inline(never)]
    fn send_cut<'a>(
        &'a self,
        (conn, index): (&'a Conn, u32),
        mut send: MutexGuard<'a, Send>,
        fd: Fd,
        bytes: &[u8],
        flags: c_int,
        sent: Result<usize>,
    ) -> Result<usize> {
        // For a wait, which is without the lock. There is no connection to refer to if another thread has just made the number void.
        let Some(_referred) = self.conns.acquire(index) else { return Err(Errno(libc::EBADF)) };
        let (head, len) = send.encoder.transmit_head(bytes.len());
        let prepared = head.as_slice().len() + len;
        let reported = send.encoder.transmitted(sent.unwrap_or(0));
        let bufs = &[IoSlice::new(bytes)];
        let first = self.complete(conn, send, fd, (bufs, 0), flags, judge(sent, reported, prepared));
        self.send_frames(conn, fd, bufs, flags, Some(first))
    }

    /// [`Layer::send`] of any bytes; `first` is what became of the first frame, if it was sent.
    #[inline(never)]
    fn send_frames(
        &self,
        conn: &Conn,
        fd: Fd,
        bufs: &[IoSlice<'_>],
        flags: c_int,
        mut first: Option<Result<Sent>>,
    ) -> Result<usize> {
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno(libc::EINVAL));
        }
        if flags & libc::MSG_ZEROCOPY != 0 {
            return Err(Errno(libc::ENOBUFS));
        }
        let len = total(bufs);
        if len == 0 {
            return self.sys.outside(|| self.sys.send_vectored(fd, bufs, flags));
        }
        let mut done = 0;
        while done < len {
            if done > 0 && !self.is_still(conn, fd) {
                // Another thread has closed the number while we waited: the next frame is not for whoever has it now.
                break;
            }
            // The kernel raises SIGPIPE only where nothing of the call was sent.
            let quiet = if done > 0 { MSG_NOSIGNAL } else { 0 };
            let sent = first.take().unwrap_or_else(|| self.send_frame(conn, fd, bufs, done, flags | quiet));
            match sent {
                Err(Errno(libc::ENOTSOCK)) if done == 0 => {
                    // The number was closed behind our back and is something else by now.
                    self.forget(fd);
                    return self.send_plain(fd, bufs, flags);
                }
                sent => {
                    if !self.goes_on(sent, &mut done)? {
                        break;
                    }
                }
            }
        }
        Ok(done)
    }

    /// Counts a frame of a call that sends several, and tells whether the next one follows.
    ///
    /// # Errors
    /// That of the frame, if nothing of the call was sent.
    #[inline(always)]
    pub(crate) fn goes_on(&self, sent: Result<Sent>, done: &mut usize) -> Result<bool> {
        match sent {
            Ok(sent) => {
                *done += sent.reported;
                Ok(sent.whole)
            }
            Err(RESTART) if *done == 0 => {
                // The handler runs, and the call goes on; anything may have been sent meanwhile.
                self.sys.outside(|| ());
                Ok(true)
            }
            Err(error) if *done == 0 => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The call on a number that is none of ours any more.
    fn send_plain(&self, fd: Fd, bufs: &[IoSlice<'_>], flags: c_int) -> Result<usize> {
        self.sys.outside(|| match self.sys.send_vectored(fd, bufs, flags) {
            Err(Errno(libc::ENOTSOCK)) if flags == 0 => self.sys.write_vectored(fd, bufs),
            result => result,
        })
    }

    /// Waits until another thread is done with its wait in the kernel, as far as this call knows.
    #[cold]
    #[inline(never)]
    fn await_idle<'a>(
        &self,
        conn: &'a Conn,
        mut send: MutexGuard<'a, Send>,
        limit: Option<Duration>,
    ) -> Result<MutexGuard<'a, Send>> {
        send.waiting += 1;
        let seen = conn.idle.load(Ordering::Relaxed);
        drop(send);
        let waited = self.sys.outside(|| self.sys.wait_word(&conn.idle, seen, limit));
        let mut send = conn.send.lock();
        send.waiting -= 1;
        waited.map(|()| send)
    }

    /// Runs `f`, which sends what was prepared and may wait, without the lock; others are kept out meanwhile.
    pub(crate) fn wait<'a, T>(
        &self,
        conn: &'a Conn,
        mut send: MutexGuard<'a, Send>,
        f: impl FnOnce() -> T,
    ) -> (T, MutexGuard<'a, Send>) {
        send.busy = Some(self.sys.thread());
        drop(send);
        let result = f();
        let mut send = conn.send.lock();
        send.busy = None;
        conn.idle.fetch_add(1, Ordering::Relaxed);
        if send.waiting > 0 {
            self.sys.wake_word(&conn.idle);
        }
        (result, send)
    }

    /// Sends one frame of the bytes behind the first `done`, or what an open frame still lacks.
    #[inline(always)]
    fn send_frame(&self, conn: &Conn, fd: Fd, bufs: &[IoSlice<'_>], done: usize, flags: c_int) -> Result<Sent> {
        let mut send = self.claim(conn, fd, flags)?;
        let verbatim = send.encoder.is_verbatim();
        // The rest of a frame in base64 is waited for, or there must be none.
        let flags = if verbatim || self.waits(fd, flags)? { flags } else { flags | MSG_DONTWAIT };
        let at_once = send.full && flags & MSG_DONTWAIT == 0 && total(bufs) - done >= LARGE_WRITE;
        let first = if verbatim && at_once {
            Err(Errno(libc::EAGAIN))
        } else if verbatim {
            self.try_verbatim(&mut send, fd, bufs, done, flags | MSG_DONTWAIT)
        } else {
            self.try_encoded(&mut send, fd, bufs, done, flags)
        };
        self.complete(conn, send, fd, (bufs, done), flags, first)
    }

    /// A frame after its `first` attempt: waits for the rest if `flags` and the socket say so, and ends the use of the sending half.
    #[inline(always)]
    fn complete<'a>(
        &self,
        conn: &'a Conn,
        mut send: MutexGuard<'a, Send>,
        fd: Fd,
        (bufs, done): (&[IoSlice<'_>], usize),
        flags: c_int,
        first: Result<Sent>,
    ) -> Result<Sent> {
        let sent = match first {
            Ok(sent) if sent.whole => Ok(sent),
            Err(error) if error != Errno(libc::EAGAIN) => Err(error),
            short => {
                send.full = true;
                let reported = short.map_or(0, |sent| sent.reported);
                let (rest, guard) = if flags & MSG_DONTWAIT != 0 {
                    (Err(Errno(libc::EAGAIN)), send)
                } else if send.encoder.is_verbatim() {
                    self.wait_verbatim(conn, send, fd, bufs, done + reported, flags)
                } else {
                    self.wait_encoded(conn, send, fd, bufs, done + reported, flags)
                };
                send = guard;
                match rest {
                    Ok(rest) => Ok(Sent { reported: reported + rest.reported, whole: rest.whole }),
                    Err(_) if reported > 0 => Ok(Sent { reported, whole: false }),
                    Err(error) => Err(error),
                }
            }
        };
        if let Ok(sent) = &sent {
            send.bytes += sent.reported as u64;
        }
        self.release(conn, fd, send);
        sent
    }

    /// The sending half, once no other thread waits in the kernel with what it prepared.
    #[inline(always)]
    pub(crate) fn claim<'a>(&self, conn: &'a Conn, fd: Fd, flags: c_int) -> Result<MutexGuard<'a, Send>> {
        let mut send = conn.send.lock();
        let mut deadline = None;
        while let Some(owner) = send.busy {
            if owner == self.sys.thread() || !self.waits(fd, flags)? {
                // A signal handler that was set by a raw system call interrupted this thread's own wait; or there is no room,
                // which is why the other waits, and this call must not.
                return Err(Errno(libc::EAGAIN));
            }
            let limit = || Deadline::after(&self.sys, self.sys.send_timeout(fd));
            let deadline = *deadline.get_or_insert_with(limit);
            send = self.await_idle(conn, send, deadline.remaining(&self.sys))?;
        }
        if send.encoder.is_closing() {
            return Err(self.broken_pipe(fd, &send, flags));
        }
        Ok(send)
    }

    /// A frame whose payload travels as it is: the program's own bytes behind a head.
    #[inline(always)]
    fn try_verbatim(&self, send: &mut Send, fd: Fd, bufs: &[IoSlice<'_>], done: usize, flags: c_int) -> Result<Sent> {
        if let [only] = bufs {
            return self.try_single(send, fd, only.get(done..).unwrap_or_default(), flags);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let room = pieces.get_mut(1..).unwrap_or_default();
        let (_, available) = tail(bufs, done, usize::MAX, room);
        let (head, len) = send.encoder.transmit_head(available);
        let (count, len) = tail(bufs, done, len, room);
        let head = head.as_slice();
        if let Some(first) = pieces.first_mut() {
            *first = IoSlice::new(head);
        }
        let from = usize::from(head.is_empty());
        let prepared = head.len() + len;
        let sent = self.sys.send_vectored(fd, pieces.get(from..=count).unwrap_or_default(), flags);
        let reported = send.encoder.transmitted(sent.unwrap_or(0));
        judge(sent, reported, prepared)
    }

    /// The same for one buffer.
    #[inline(always)]
    fn try_single(&self, send: &mut Send, fd: Fd, bytes: &[u8], flags: c_int) -> Result<Sent> {
        let (head, len) = send.encoder.transmit_head(bytes.len());
        let (head, bytes) = (head.as_slice(), bytes.get(..len).unwrap_or_default());
        let prepared = head.len() + bytes.len();
        let sent = self.sys.send_vectored(fd, &[IoSlice::new(head), IoSlice::new(bytes)], flags);
        let reported = send.encoder.transmitted(sent.unwrap_or(0));
        judge(sent, reported, prepared)
    }

    /// A frame in base64.
    fn try_encoded(&self, send: &mut Send, fd: Fd, bufs: &[IoSlice<'_>], done: usize, flags: c_int) -> Result<Sent> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let (count, _) = tail(bufs, done, usize::MAX, &mut pieces);
        let room = if flags & MSG_DONTWAIT == 0 { usize::MAX } else { self.room(fd)? };
        let flags = flags | MSG_DONTWAIT;
        let mut small = [0; SMALL];
        let mut scratch = Scratch::take(&mut small);
        let room = room.min(scratch.len());
        match pieces.get(..count) {
            Some([only]) => self.send_encoded(send, fd, only, scratch.get_mut(..room).unwrap_or_default(), flags),
            pieces => {
                let limit = GATHER.min(scratch.len() / 3);
                let (buf, out) = scratch.split_at_mut(limit);
                let payload = gather(pieces.unwrap_or_default(), buf);
                let room = room.min(out.len());
                self.send_encoded(send, fd, payload, out.get_mut(..room).unwrap_or_default(), flags)
            }
        }
    }

    fn send_encoded(&self, send: &mut Send, fd: Fd, payload: &[u8], out: &mut [u8], flags: c_int) -> Result<Sent> {
        let len = send.encoder.transmit_encoded(payload, out);
        let out = out.get(..len).unwrap_or_default();
        // Nothing to send: the byte owed has gone out meanwhile.
        let sent = if len == 0 { Ok(0) } else { self.sys.send_vectored(fd, &[IoSlice::new(out)], flags) };
        let reported = send.encoder.transmitted_encoded(sent.unwrap_or(0), out);
        judge(sent, reported, len)
    }

    /// The rest of a frame, waiting in the kernel without the lock.
    fn wait_verbatim<'a>(
        &self,
        conn: &'a Conn,
        mut send: MutexGuard<'a, Send>,
        fd: Fd,
        bufs: &[IoSlice<'_>],
        done: usize,
        flags: c_int,
    ) -> (Result<Sent>, MutexGuard<'a, Send>) {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let room = pieces.get_mut(1..).unwrap_or_default();
        let (_, available) = tail(bufs, done, usize::MAX, room);
        let (head, len) = send.encoder.transmit_head(available);
        // The wait is without the lock, so it cannot borrow from the encoder.
        let head = head.clone();
        let (count, len) = tail(bufs, done, len, room);
        let head = head.as_slice();
        if let Some(first) = pieces.first_mut() {
            *first = IoSlice::new(head);
        }
        let from = usize::from(head.is_empty());
        let pieces = pieces.get(from..=count).unwrap_or_default();
        let (sent, mut send) = self.wait(conn, send, || self.sys.send_waiting(fd, pieces, flags));
        let reported = send.encoder.transmitted(sent.unwrap_or(0));
        (judge(sent, reported, head.len() + len), send)
    }

    /// The same in base64, through a small buffer, since the wait may be long.
    fn wait_encoded<'a>(
        &self,
        conn: &'a Conn,
        mut send: MutexGuard<'a, Send>,
        fd: Fd,
        bufs: &[IoSlice<'_>],
        done: usize,
        flags: c_int,
    ) -> (Result<Sent>, MutexGuard<'a, Send>) {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let (count, _) = tail(bufs, done, usize::MAX, &mut pieces);
        let (mut gathered, mut out) = ([0; SMALL / 2], [0; SMALL]);
        let gathered = gather(pieces.get(..count).unwrap_or_default(), &mut gathered);
        let len = send.encoder.transmit_encoded(gathered, &mut out);
        let out = out.get(..len).unwrap_or_default();
        let (sent, mut send) = self.wait(conn, send, || match out {
            [] => Ok(0),
            out => self.sys.send_waiting(fd, &[IoSlice::new(out)], flags),
        });
        let reported = send.encoder.transmitted_encoded(sent.unwrap_or(0), out);
        (judge(sent, reported, len), send)
    }

    /// Whether a send with `flags` waits for room.
    pub(crate) fn waits(&self, fd: Fd, flags: c_int) -> Result<bool> {
        Ok(flags & MSG_DONTWAIT == 0 && self.sys.fcntl(fd, libc::F_GETFL, 0)? & libc::O_NONBLOCK == 0)
    }

    /// How large a frame the kernel takes whole at this moment.
    ///
    /// A base64 frame that is cut has to be ended, or filled, by a later call, and where the program need not call again
    /// bytes that were reported would wait for it. So where nobody waits for the rest no frame is begun that might be cut.
    ///
    /// # Errors
    /// `EAGAIN` when the kernel calls the socket not writable; it then reports when that changes.
    pub(crate) fn room(&self, fd: Fd) -> Result<usize> {
        let (queued, limit) = self.sys.send_queue(fd)?;
        let free = limit.saturating_sub(queued);
        // What makes a stream socket writable: include/net/sock.h of Linux, sk_stream_is_writeable.
        if free > 0 && free >= queued / 2 {
            // The kernel's own bookkeeping takes its share.
            return Ok((free / 2).max(MIN_ROOM));
        }
        let mut poll = [pollfd { fd, events: POLLOUT, revents: 0 }];
        match again(|| self.sys.poll(&mut poll, Some(Duration::ZERO), None))? {
            0 => Err(Errno(libc::EAGAIN)),
            // There is room since, or an error that the send is to report.
            _ => Ok(MIN_ROOM),
        }
    }

    /// What a write after Close comes to: the kernel's own answer where it knows that nothing more is sent.
    fn broken_pipe(&self, fd: Fd, send: &Send, flags: c_int) -> Errno {
        if send.moved {
            // The number names another socket by now.
            return Errno(libc::ENOTSOCK);
        }
        if send.hung_up {
            // Nothing of it can go out: our side is shut down, so this is EPIPE, or a reset, and SIGPIPE as without us.
            return self.sys.send_vectored(fd, &[IoSlice::new(&[0])], flags).err().unwrap_or(Errno(libc::EPIPE));
        }
        if flags & MSG_NOSIGNAL == 0 {
            self.sys.raise_sigpipe();
        }
        Errno(libc::EPIPE)
    }
}

/// What a send that took `sent` of `prepared` bytes is to the program, which is told of `reported` bytes.
fn judge(sent: Result<usize>, reported: usize, prepared: usize) -> Result<Sent> {
    match sent {
        Ok(taken) if reported > 0 || taken == prepared => Ok(Sent { reported, whole: taken == prepared }),
        Ok(_) => Err(Errno(libc::EAGAIN)),
        Err(error) => Err(error),
    }
}

/// Copies as much of `pieces` as fits into `buf`.
fn gather<'b>(pieces: &[IoSlice<'_>], buf: &'b mut [u8]) -> &'b [u8] {
    let mut len = 0;
    for piece in pieces {
        let room = buf.get_mut(len..).unwrap_or_default();
        let n = room.len().min(piece.len());
        for (to, from) in room.iter_mut().zip(piece.iter()) {
            *to = *from;
        }
        len += n;
    }
    buf.get(..len).unwrap_or_default()
}
