//! Closed connections whose last bytes are on their way.
//!
//! The kernel resets a closed connection over whatever its client sends, and then drops what it has not sent yet. A TCP client of the
//! program has no reason to send more; that of a WebSocket answers pings, and sends its own, while it is still reading. So the socket
//! stays open under a number of our own until the client has closed as well, and what it sends is dropped.
//!
//! That is driven like a handshake, by the waits for a listener. A process that accepts nothing, a child for each connection, puts the
//! socket into the queue of its listener ([`crate::queue`]), for a process that does. Where there is neither the kernel's way has to do.

use std::sync::atomic::Ordering;

use libc::F_DUPFD_CLOEXEC;

use crate::Layer;
use crate::again::again;
use crate::hub::Hub;
use crate::queue::CLOSED;
use crate::slots::Slot;
use crate::sys::{Fd, Sys};

impl<S: Sys> Layer<S> {
    /// The last number of a connection, `fd`, is about to be closed, and everything is with the kernel.
    pub(crate) fn drain(&self, fd: Fd) {
        if self.is_under_way(fd) && !self.keep_open(fd) {
            self.leave_to_others(fd);
        }
    }

    /// The same where the process ends.
    pub(crate) fn drain_elsewhere(&self, fd: Fd) {
        if self.is_under_way(fd) {
            self.leave_to_others(fd);
        }
    }

    /// Whether the kernel has bytes of the closed connection `fd` to send, and is to send them.
    fn is_under_way(&self, fd: Fd) -> bool {
        let sandboxed = self.sandboxed.load(Ordering::Relaxed);
        if sandboxed || self.sys.unsent(fd) == 0 || self.sys.closes_its_own_way(fd) {
            return false;
        }
        // What only waited for more to go out with goes now.
        let _ = self.sys.shutdown(fd, libc::SHUT_WR);
        self.sys.unsent(fd) > 0
    }

    /// Keeps a copy of `fd` with the handshakes of a listener from which this process accepts. Returns whether it could.
    fn keep_open(&self, fd: Fd) -> bool {
        let Some(listener) = self.listeners.in_use().find(|listener| listener.hub.lock().accepts) else { return false };
        let Ok(copy) = self.sys.fcntl(fd, F_DUPFD_CLOEXEC, 0) else { return false };
        let hub = &mut *listener.hub.lock();
        if hub.accepts {
            self.adopt_closed(hub, copy);
        } else {
            // The listener was closed meanwhile.
            let _ = self.sys.close(copy);
        }
        true
    }

    /// A closed connection is this process's, under the number `fd`.
    pub(crate) fn adopt_closed(&self, hub: &mut Hub, fd: Fd) {
        let (fd, unsent) = (self.private(fd), self.sys.unsent(fd));
        self.watch_closed(hub, fd, unsent);
        self.arm(hub, 0);
    }

    /// Puts `fd` into the queue of a listener that others accept from. What is locked is left alone, as in [`Layer::at_exit`].
    fn leave_to_others(&self, fd: Fd) {
        let queue_of = |fd| {
            let Slot::Listener(index) = self.slots.get(fd) else { return None };
            let listener = self.listeners.acquire(index)?;
            let hub = listener.hub.try_lock()?;
            Some(hub.queue?.write)
        };
        let own = || (0..=self.highest.load(Ordering::Relaxed)).find_map(queue_of);
        let heir = Some(self.heir.load(Ordering::Relaxed)).filter(|heir| *heir >= 0);
        if let Some(queue) = heir.or_else(own) {
            let _ = again(|| self.sys.send_passing(queue, &CLOSED, fd));
        }
    }

    /// The process has got listeners from another one, with queues whose writing ends are `ends`: it keeps one of them when it closes the
    /// listeners, as many a child does at once. It has no second thread yet that might be writing to the one that it has kept so far.
    pub(crate) fn keep_one(&self, mut ends: impl Iterator<Item = Fd> + Clone) {
        let heir = self.heir.load(Ordering::Relaxed);
        if ends.clone().any(|end| end == heir) {
            return;
        }
        if let Some(end) = ends.next() {
            self.heir.store(end, Ordering::Relaxed);
            if heir >= 0 {
                self.close_private(heir);
            }
        }
    }
}
