//! splice(2) from a pipe to a wrapped connection.
//!
//! A program has put the bytes into the pipe before it comes here, and has no other way to get them out again: haproxy gives up
//! the connection where this fails. So it is served, and never takes a byte out of the pipe that it does not report.

use std::io::IoSlice;

use libc::{POLLHUP, POLLIN, POLLOUT, SPLICE_F_NONBLOCK, c_int, c_uint, pollfd};
use wsproto::Sender;

use crate::Layer;
use crate::conn::Conn;
use crate::scratch::{SMALL, Scratch};
use crate::send::Sent;
use crate::sys::{Errno, Fd, Result, Sys};

/// The flags there are, linux/splice.h.
const FLAGS: c_uint = 0x0f;

/// Characters of a base64 frame that are no payload, at most, and rests that may come before it.
const AROUND: usize = 256;

impl<S: Sys> Layer<S> {
    /// splice(2) from `pipe` to `fd`.
    ///
    /// # Errors
    /// Those of splice(2).
    pub fn send_pipe(&self, fd: Fd, pipe: Fd, len: usize, flags: c_uint) -> Result<usize> {
        let Some(conn) = self.conn(fd) else { return self.sys.splice(pipe, fd, len, flags) };
        if len == 0 {
            return Ok(0);
        }
        let append = self.sys.fcntl(fd, libc::F_GETFL, 0)? & libc::O_APPEND != 0;
        if self.sys.fcntl(pipe, libc::F_GETFL, 0)? & libc::O_ACCMODE == libc::O_WRONLY {
            return Err(Errno(libc::EBADF));
        }
        if flags & !FLAGS != 0 || append || !self.sys.is_pipe(pipe) {
            return Err(Errno(libc::EINVAL));
        }
        let mut done = 0;
        while done < len {
            let there = match self.sys.queued(pipe)? {
                0 if done > 0 => break,
                0 if self.pipe_fills(pipe, flags)? => continue,
                0 => break,
                there => there.min(len - done).min(Sender::MAX_FRAME),
            };
            let quiet = if done > 0 { libc::MSG_NOSIGNAL } else { 0 };
            let verbatim = conn.send.lock().encoder.is_verbatim();
            let sent = if verbatim {
                self.send_moved(&conn, fd, there, quiet, |n| self.sys.splice(pipe, fd, n, flags | SPLICE_F_NONBLOCK))
            } else {
                self.send_encoded_pipe(&conn, fd, pipe, there, quiet)
            };
            if !self.goes_on(sent, &mut done)? {
                break;
            }
        }
        Ok(done)
    }

    /// Waits for bytes in an empty pipe, as far as the call does; false when none will come.
    fn pipe_fills(&self, pipe: Fd, flags: c_uint) -> Result<bool> {
        let timeout = (flags & SPLICE_F_NONBLOCK != 0).then_some(std::time::Duration::ZERO);
        let mut poll = [pollfd { fd: pipe, events: POLLIN, revents: 0 }];
        match (self.sys.outside(|| self.sys.poll(&mut poll, timeout, None))?, poll.map(|poll| poll.revents)) {
            (0, _) => Err(Errno(libc::EAGAIN)),
            (_, [revents]) => Ok(revents & POLLIN != 0 || revents & POLLHUP == 0),
        }
    }

    /// Reads as much as the kernel surely takes, and sends it.
    fn send_encoded_pipe(&self, conn: &Conn, fd: Fd, pipe: Fd, len: usize, flags: c_int) -> Result<Sent> {
        let room = loop {
            drop(self.claim(conn, fd, flags)?);
            match self.room(fd) {
                Err(Errno(libc::EAGAIN)) if self.waits(fd, flags)? => self.await_room(fd)?,
                room => break room?,
            }
        };
        let mut small = [0; SMALL];
        let mut scratch = Scratch::take(&mut small);
        let piece = len.min(room.saturating_sub(AROUND) / 4 * 3).min(scratch.len());
        let piece = scratch.get_mut(..piece).unwrap_or_default();
        let n = self.sys.read(pipe, piece)?;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = piece.get(done..n) {
            match self.send(fd, &[IoSlice::new(rest)], flags) {
                Ok(sent) => done += sent,
                // Another thread was faster. The bytes are out of the pipe: they are sent before the call returns.
                Err(Errno(libc::EAGAIN | libc::EINTR)) => match self.await_room(fd) {
                    Ok(()) | Err(Errno(libc::EINTR)) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(Sent { reported: done, whole: true })
    }

    fn await_room(&self, fd: Fd) -> Result<()> {
        self.sys.outside(|| self.sys.poll(&mut [pollfd { fd, events: POLLOUT, revents: 0 }], None, None)).map(drop)
    }
}
