//! Reading without taking, and taking without reading: `MSG_PEEK`, `FIONREAD`, `MSG_TRUNC`.

use std::io::IoSliceMut;

use libc::c_int;

use crate::Layer;
use crate::conn::{Conn, Receive};
use crate::iov::Cursor;
use crate::scratch::{SMALL, Scratch};
use crate::sys::{Errno, Fd, Result, Sys};
use crate::wait::PeekWait;

impl<S: Sys> Layer<S> {
    /// Bytes of payload that could be read at once, `FIONREAD`. It has to be exact, however much that is: nginx, having read
    /// as many, waits for an edge, and none comes for what was there from the beginning.
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
        let (mut small, mut large) = ([0; SMALL], Vec::new());
        let mut scratch = Scratch::take(&mut small);
        let input = room_for(queued + receive.skip, &mut scratch, &mut large);
        let Ok(n) = self.sys.recv(fd, input, libc::MSG_PEEK | libc::MSG_DONTWAIT) else {
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

    /// recv(2) with `MSG_PEEK`: what could be read, decoded by a copy of the decoder. With `MSG_WAITALL` it waits until all
    /// that was asked for is there, as long as that is within [`SMALL`] bytes of the encoded stream.
    pub(crate) fn peek(&self, conn: &Conn, fd: Fd, cursor: &mut Cursor<'_, '_>, flags: c_int) -> Result<usize> {
        let mut wait = PeekWait::default();
        loop {
            let queued = {
                let receive = &mut *conn.receive.lock();
                if let Some(error) = receive.take_error() {
                    return Err(error);
                }
                let waits = self.payload_waits(conn, fd, receive);
                if let Some(error) = receive.error.take() {
                    return Err(error);
                }
                let may_wait = || flags & libc::MSG_DONTWAIT == 0 && !self.is_nonblocking(fd);
                if waits.is_none() {
                    if !may_wait() {
                        return Err(Errno(libc::EAGAIN));
                    }
                    continue;
                }
                if waits == Some(true) {
                    cursor.rewind();
                    let queued = self.peek_payload(fd, receive, cursor)?;
                    if cursor.filled() == 0 && queued > 0 {
                        // A flood of pings that the look did not see the end of.
                        continue;
                    }
                    let waits = flags & (libc::MSG_WAITALL | libc::MSG_DONTWAIT) == libc::MSG_WAITALL;
                    if !waits || cursor.left() == 0 || queued >= SMALL {
                        return Ok(cursor.filled());
                    }
                    queued
                } else if receive.decoder.end().is_some() {
                    break;
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
        self.end_told(conn, fd);
        Ok(0)
    }

    /// Decodes what the kernel has with a copy of the decoder. Returns how many encoded bytes that were.
    fn peek_payload(&self, fd: Fd, receive: &Receive, cursor: &mut Cursor<'_, '_>) -> Result<usize> {
        let (mut small, mut large) = ([0; SMALL], Vec::new());
        let mut scratch = Scratch::take(&mut small);
        let queued = if cursor.left() < scratch.len() / 2 { 0 } else { self.sys.queued(fd)? };
        let input = room_for(queued, &mut scratch, &mut large);
        let n = self.sys.recv(fd, input, libc::MSG_PEEK | libc::MSG_DONTWAIT)?;
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

    /// recv(2) with `MSG_TRUNC`: reads `len` bytes and drops them, tcp(7), or leaves them where they are with `MSG_PEEK`. The
    /// caller's buffer may not exist.
    ///
    /// # Errors
    /// As for [`Layer::receive`].
    pub fn drop_payload(&self, fd: Fd, len: usize, flags: c_int) -> Result<usize> {
        let Some(conn) = self.conn(fd) else {
            return Err(Errno(libc::EBADF));
        };
        let mut sink = [0; SMALL];
        if flags & libc::MSG_PEEK != 0 {
            let sink = sink.get_mut(..SMALL.min(len)).unwrap_or_default();
            let seen = self.receive(fd, &mut [IoSliceMut::new(sink)], flags & !libc::MSG_TRUNC)?;
            // A look sees no more than it has room for.
            return if seen < SMALL { Ok(seen) } else { Ok(self.readable_bytes(fd)?.clamp(seen, len)) };
        }
        let mut done = 0;
        while done < len {
            let sink = sink.get_mut(..SMALL.min(len - done)).unwrap_or_default();
            let asked = sink.len();
            let nowait = if done > 0 && flags & libc::MSG_WAITALL == 0 { libc::MSG_DONTWAIT } else { 0 };
            match self.fill(&conn, fd, &mut Cursor::new(&mut [IoSliceMut::new(sink)]), flags | nowait, None) {
                Ok(n) if n == asked => done += n,
                Ok(n) => return Ok(done + n),
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Room for a look at `queued` bytes: the one allocation in a call, for those who ask how much there is, or look at much. Without memory, less
/// than there is has to do.
fn room_for<'a>(queued: usize, scratch: &'a mut [u8], large: &'a mut Vec<u8>) -> &'a mut [u8] {
    if queued > scratch.len() && large.try_reserve_exact(queued).is_ok() {
        large.resize(queued, 0);
        return large;
    }
    scratch
}
