//! Descriptor numbers: close(2), dup(2), fcntl(2), shutdown(2).
//!
//! Invariant 5: a wrapped connection stays wrapped under every number it gets, and its Close goes out when the last of
//! them, in the last process, is closed. A number's entry is made after the real call and removed before it.

use std::sync::atomic::{AtomicU32, Ordering};

use libc::{F_DUPFD, c_int};

use crate::Layer;
use crate::conn::Conn;
use crate::owners::Owners;
use crate::slots::{Ref, Slot};
use crate::sys::{Errno, Fd, Result, Sys};
use wslock::{Mutex, MutexGuard};

impl<S: Sys> Layer<S> {
    /// The wrapped connection behind `fd`. One piece of code for all calls: it is in the cache when the next one comes.
    #[inline(never)]
    pub(crate) fn conn(&self, fd: Fd) -> Option<Ref<'_, Conn>> {
        loop {
            let slot = self.slots.get(fd);
            let Slot::Conn(index) = slot else { return None };
            // The number may be closed and used again between the two looks.
            if let Some(conn) = self.conns.acquire(index)
                && self.slots.get(fd) == slot
            {
                return Some(conn);
            }
        }
    }

    /// The connection at `index`, and a half of it under its lock, if that is still what `fd` names. As long as the lock is held the number
    /// stays what it is, for [`Layer::leave`] waits: so this takes no reference, of which most calls would have little else.
    #[inline(always)]
    pub(crate) fn lock_half<'a, T: 'a>(
        &'a self,
        fd: Fd,
        index: u32,
        half: impl FnOnce(&'a Conn) -> &'a Mutex<T>,
    ) -> Option<(&'a Conn, MutexGuard<'a, T>)> {
        let conn = self.conns.unreferenced(index)?;
        let guard = half(conn).lock();
        self.slots.is_conn_at(fd, index).then_some((conn, guard))
    }

    /// Whether calls on `fd` that close or copy it are ours to serve.
    pub fn fd_concerns(&self, fd: Fd) -> bool {
        !matches!(self.slots.get(fd), Slot::Unknown | Slot::Plain | Slot::OtherListener)
    }

    /// `fd` was made by a call that knows nothing of us, or is about to be closed as something that is none of ours:
    /// whatever was known of the number is void.
    ///
    /// A vfork(2) child has numbers of its own, and no tables: there the number says nothing of the parent's.
    pub fn forget(&self, fd: Fd) {
        if self.slots.get(fd) != Slot::Unknown
            && !self.is_vfork_child()
            && let Some(slot) = self.slots.replace(fd, Slot::Unknown)
        {
            self.drop_slot(slot);
        }
    }

    /// close(2).
    ///
    /// # Errors
    /// Those of close(2); `EBADF` for a descriptor of the library's own.
    pub fn close(&self, fd: Fd) -> Result<()> {
        if self.slots.get(fd) == Slot::Private {
            return Err(Errno(libc::EBADF));
        }
        if self.is_vfork_child() {
            // The tables are the parent's, and the parent's connection goes on.
            return self.sys.close(fd);
        }
        self.leave(fd);
        self.sys.close(fd)
    }

    /// dup(2).
    ///
    /// # Errors
    /// Those of dup(2); `EBADF` for a descriptor of the library's own.
    pub fn dup(&self, fd: Fd) -> Result<Fd> {
        // The lowest number, like dup's; and not close-on-exec either.
        self.dup_above(fd, F_DUPFD, 0)
    }

    /// dup2(2), or dup3(2) with `flags`.
    ///
    /// # Errors
    /// Those of dup2(2); `EBADF` for a descriptor of the library's own.
    pub fn dup_to(&self, old: Fd, new: Fd, flags: Option<c_int>) -> Result<Fd> {
        if self.slots.get(old) == Slot::Private {
            return Err(Errno(libc::EBADF));
        }
        if old == new {
            return self.sys.dup_to(old, new, flags);
        }
        if self.is_vfork_child() {
            let fd = self.sys.dup_to(old, new, flags)?;
            self.copied(old, fd);
            return Ok(fd);
        }
        // Nothing may happen to `new` unless `old` is valid.
        self.sys.fcntl(old, libc::F_GETFD, 0)?;
        if self.slots.get(new) == Slot::Private {
            // A number that the program never got, and may have; the library's own stay where they are: they are at high
            // numbers, and dup2(2) has this error for a number that is being opened.
            self.listeners.in_use().any(|listener| self.move_away(&mut listener.hub.lock(), new));
            if self.slots.get(new) == Slot::Private {
                return Err(Errno(libc::EBUSY));
            }
        }
        if self.slots.get(new) != self.slots.get(old) {
            self.becomes_standard(old, new);
        }
        self.leave(new);
        let fd = self.sys.dup_to(old, new, flags)?;
        self.share(old, fd);
        Ok(fd)
    }

    /// dup(2) and `F_DUPFD` gave `old` the further number `new`.
    pub fn duplicated(&self, old: Fd, new: Fd) {
        if self.is_vfork_child() {
            self.copied(old, new);
            return;
        }
        self.forget(new);
        self.share(old, new);
    }

    /// fcntl(2) `F_DUPFD` or `F_DUPFD_CLOEXEC`: dup(2) to the lowest number from `lowest` on.
    ///
    /// # Errors
    /// Those of fcntl(2); `EBADF` for a descriptor of the library's own.
    pub fn dup_above(&self, fd: Fd, command: c_int, lowest: c_int) -> Result<Fd> {
        if self.slots.get(fd) == Slot::Private {
            return Err(Errno(libc::EBADF));
        }
        let new = self.sys.fcntl(fd, command, lowest)?;
        self.duplicated(fd, new);
        if command == F_DUPFD {
            self.becomes_standard(fd, new);
        }
        Ok(new)
    }

    /// shutdown(2): the end of our sending is a Close; what the client still sends is delivered.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shutdown(&self, fd: Fd, how: c_int) -> Result<()> {
        if let (Some(conn), libc::SHUT_WR | libc::SHUT_RDWR) = (self.conn(fd), how)
            && !conn.send.lock().owners.as_ref().is_some_and(Owners::is_handed_over)
        {
            let code = conn.receive.lock().close_code();
            self.say_close(&conn, fd, code, true);
            return match self.sys.shutdown(fd, how) {
                // Our side is shut down already, and the client may have ended its own since.
                Err(Errno(libc::ENOTCONN)) if conn.send.lock().hung_up => Ok(()),
                result => result,
            };
        }
        self.sys.shutdown(fd, how)
    }

    /// A descriptor of the library's own: out of the program's way.
    pub(crate) fn private(&self, fd: Fd) -> Fd {
        let fd = self.sys.move_high(fd);
        self.slots.replace(fd, Slot::Private);
        self.mark(fd);
        fd
    }

    /// Closes a descriptor of the library's own.
    pub(crate) fn close_private(&self, fd: Fd) {
        self.slots.replace(fd, Slot::Unknown);
        let _ = self.sys.close(fd);
    }

    /// A vfork(2) child runs in our memory but is another process.
    pub fn is_vfork_child(&self) -> bool {
        self.sys.pid() != self.pid.load(Ordering::Relaxed)
    }

    /// The number `fd` is about to be closed.
    pub(crate) fn leave(&self, fd: Fd) {
        let slot = self.slots.get(fd);
        if let Slot::Conn(index) = slot {
            // Of several threads that each close the last number but one, one is told that it was the last.
            if let Some(conn) = self.conn(fd)
                && self.slots.exchange(fd, slot, Slot::Unknown)
            {
                if conn.fds.fetch_sub(1, Ordering::AcqRel) == 1 {
                    // The kernel's number still stands for the connection: this talks to the client.
                    if self.finish(&conn, fd) {
                        self.drain(fd);
                    }
                    self.conns.release(index);
                } else {
                    // Another thread may be in a call on the connection under this number.
                    drop(conn.receive.lock());
                    drop(conn.send.lock());
                }
            }
            return;
        }
        self.forget(fd);
    }

    /// The connection's last number in this process is about to go. Returns whether its client has been told, and may be about to send
    /// something.
    pub(crate) fn finish(&self, conn: &Conn, fd: Fd) -> bool {
        let last = conn.send.lock().owners.take().is_none_or(|owners| owners.leave(&self.sys));
        let mut receive = conn.receive.lock();
        let told = last && !receive.broken;
        let mut unread = None;
        if told {
            // Bytes left in the queue would make the kernel reset the connection, and the client lose what we sent last.
            unread = self.payload_waits(conn, fd, &mut receive);
            self.say_close(conn, fd, receive.close_code(), false);
        }
        // The parent of a forking server lets go of each connection: that is no end.
        if last {
            self.log_end(conn, &receive);
        }
        // A client is to hear of payload that the program left unread, as without us.
        told && unread != Some(true)
    }

    /// `new` names what `old` names.
    fn share(&self, old: Fd, new: Fd) {
        let slot = self.slots.get(old);
        let shared = match slot {
            Slot::Conn(index) => self.conns.acquire(index).is_some_and(|conn| one_more(&conn.fds)),
            Slot::Listener(index) => self.listeners.acquire(index).is_some_and(|listener| one_more(&listener.fds)),
            Slot::Epoll(index) => self.epolls.acquire(index).is_some_and(|epoll| one_more(&epoll.fds)),
            _ => false,
        };
        if shared {
            self.note(new);
            // What another thread put there meanwhile is gone with its number; beyond the numbers that can be tracked it is
            // this one that goes.
            self.drop_slot(self.slots.replace(new, slot).unwrap_or(slot));
        }
    }

    /// A number stopped to name `slot`.
    fn drop_slot(&self, slot: Slot) {
        match slot {
            Slot::Conn(index) => self.drop_conn(index),
            Slot::Listener(index) => {
                let Some(listener) = self.listeners.acquire(index) else {
                    return;
                };
                let last = listener.fds.fetch_sub(1, Ordering::AcqRel) == 1;
                // Also where it is not: another thread may be accepting from this number.
                let mut hub = listener.hub.lock();
                if last {
                    self.offer(&mut hub);
                    self.dissolve(&mut hub);
                    self.listeners.release(index);
                }
            }
            Slot::Epoll(index) => {
                let Some(epoll) = self.epolls.acquire(index) else {
                    return;
                };
                if epoll.fds.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.epolls.release(index);
                }
            }
            Slot::Unknown | Slot::Plain | Slot::OtherListener | Slot::Private => {}
        }
    }

    pub(crate) fn drop_conn(&self, index: u32) {
        let Some(conn) = self.conns.acquire(index) else {
            return;
        };
        if conn.fds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.conns.release(index);
        }
    }
}

/// One more number for an object, unless its last was closed meanwhile.
fn one_more(fds: &AtomicU32) -> bool {
    fds.fetch_update(Ordering::AcqRel, Ordering::Acquire, |fds| (fds > 0).then_some(fds + 1)).is_ok()
}
