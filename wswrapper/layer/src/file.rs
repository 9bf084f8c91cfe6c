//! sendfile(2) to a wrapped connection.
//!
//! Exactly the bytes that the program is told of have left the file: they are read by position, and the position moves on
//! by what was sent in the end. Invariant 3 holds as for any write.
//!
//! Large files whose payload travels as it is are moved by the kernel itself, a frame at a time: the frame's head is sent, and
//! sendfile(2) puts the payload behind it without a copy. A frame announces its length, so this is done only where the file
//! surely has a whole frame; all else is read into a scratch buffer and sent as by write(2).

use std::io::IoSlice;

use libc::{MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, SEEK_CUR, SEEK_SET, c_int};
use wsproto::Sender;

use crate::Layer;
use crate::conn::Conn;
use crate::scratch::{SMALL, Scratch};
use crate::send::Sent;
use crate::sys::{Errno, Fd, Result, Sys};

/// The most that one call moves, as in the kernel (`MAX_RW_COUNT`).
const MAX_COUNT: usize = 0x7fff_f000;

impl<S: Sys> Layer<S> {
    /// sendfile(2) to `fd`, from `offset` in `file` or, where there is none, from its own position; either moves on by
    /// what was sent.
    ///
    /// # Errors
    /// Those of sendfile(2), in its order: the kernel itself checks both descriptors and the offset.
    pub fn send_file(&self, fd: Fd, file: Fd, offset: Option<&mut i64>, count: usize) -> Result<usize> {
        let Some(conn) = self.conn(fd) else { return self.sys.sendfile(fd, file, offset, count) };
        let mut probe = offset.as_deref().copied();
        self.sys.sendfile(fd, file, probe.as_mut(), 0)?;
        let start = match probe {
            Some(offset) => offset,
            None => self.sys.lseek(file, 0, SEEK_CUR)?,
        };
        let sent = match self.send_from(&conn, fd, file, start, count.min(MAX_COUNT)) {
            Err(Errno(libc::ENOTSOCK)) => {
                // The number was closed behind our back and is something else by now.
                self.forget(fd);
                return self.sys.sendfile(fd, file, offset, count);
            }
            // What the kernel says of a file that it cannot send.
            Err(Errno(libc::EISDIR)) => return Err(Errno(libc::EINVAL)),
            sent => sent?,
        };
        let end = start.saturating_add_unsigned(sent as u64);
        match offset {
            Some(offset) => *offset = end,
            None => drop(self.sys.lseek(file, end, SEEK_SET)?),
        }
        Ok(sent)
    }

    /// Sends up to `count` bytes of `file` from `start` on; fewer at its end, or where the socket takes no more.
    fn send_from(&self, conn: &Conn, fd: Fd, file: Fd, start: i64, count: usize) -> Result<usize> {
        let large = conn.send.lock().encoder.is_verbatim() && count >= Sender::MAX_FRAME;
        let whole_frames = if large { self.sys.file_size(file) } else { 0 };
        let mut done = 0;
        while done < count {
            let mut at = start.saturating_add_unsigned(done as u64);
            // The kernel raises SIGPIPE only where nothing of the call was sent.
            let flags = if done > 0 { MSG_NOSIGNAL } else { 0 };
            let left = usize::try_from(whole_frames.saturating_sub(at)).unwrap_or(0).min(count - done);
            let sent = if left >= Sender::MAX_FRAME {
                self.send_moved(conn, fd, Sender::MAX_FRAME, flags, |len| {
                    self.sys.sendfile(fd, file, Some(&mut at), len)
                })
            } else {
                self.send_copied(fd, file, at, count - done, flags)
            };
            if !self.goes_on(sent, &mut done)? {
                break;
            }
        }
        Ok(done)
    }

    /// Sends one frame, or what an open one lacks, of up to `len` bytes of payload that `payload` makes the kernel put behind
    /// the head. It may block, so no lock is held.
    pub(crate) fn send_moved(
        &self,
        conn: &Conn,
        fd: Fd,
        len: usize,
        flags: c_int,
        payload: impl FnOnce(usize) -> Result<usize>,
    ) -> Result<Sent> {
        let mut send = self.claim(conn, fd, flags)?;
        let (head, len) = send.encoder.transmit_head(len);
        let head = head.clone();
        let head = head.as_slice();
        let ((taken, moved), mut send) = self.wait(conn, send, || {
            let ahead = match head {
                [] => Ok(0),
                head => self.sys.send_waiting(fd, &[IoSlice::new(head)], flags | MSG_MORE),
            };
            match ahead {
                Ok(n) if n == head.len() => (n, payload(len)),
                Ok(n) => (n, Err(Errno(libc::EAGAIN))),
                Err(error) => (0, Err(error)),
            }
        });
        let reported = send.encoder.transmitted(taken + moved.unwrap_or(0));
        send.bytes += reported as u64;
        self.release(conn, fd, send);
        moved.map(|n| Sent { reported, whole: n == len })
    }

    /// Reads a piece of up to `len` bytes at `at`, and sends it like write(2).
    ///
    /// A scratch buffer is not kept while a call waits: the large one serves what goes out at once, and where the socket is full
    /// a small piece is waited with.
    fn send_copied(&self, fd: Fd, file: Fd, at: i64, len: usize, flags: c_int) -> Result<Sent> {
        let mut small = [0; SMALL];
        let at_once = {
            let mut scratch = Scratch::take(&mut small);
            let piece = scratch.get_mut(..len.min(Sender::MAX_FRAME)).unwrap_or_default();
            self.send_piece(fd, file, at, piece, flags | MSG_DONTWAIT)
        };
        if !matches!(at_once, Err(Errno(libc::EAGAIN))) || !self.waits(fd, flags)? {
            return at_once;
        }
        let piece = small.get_mut(..len.min(SMALL / 2)).unwrap_or_default();
        self.send_piece(fd, file, at, piece, flags)
    }

    fn send_piece(&self, fd: Fd, file: Fd, at: i64, piece: &mut [u8], flags: c_int) -> Result<Sent> {
        let n = self.sys.pread(file, piece, at)?;
        if n == 0 {
            return Ok(Sent { reported: 0, whole: false });
        }
        let reported = self.send(fd, &[IoSlice::new(piece.get(..n).unwrap_or_default())], flags)?;
        // A socket that waits takes the rest, too.
        Ok(Sent { reported, whole: reported == n || self.waits(fd, flags & !MSG_DONTWAIT)? })
    }
}
