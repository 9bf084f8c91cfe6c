//! listen(2) and accept(2): which listening sockets are ours, and what the program gets from them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use libc::{O_NONBLOCK, POLLIN, SOCK_CLOEXEC, SOCK_NONBLOCK, c_int, pollfd};

use crate::Layer;
use crate::again::again;
use crate::conn::About;
use crate::hub::{AcceptFlags, Hub, Ready};
use crate::slots::{Recycle, Ref, Slot};
use crate::sys::{Errno, Fd, PeerAddr, Result, Sys};
use crate::wait::Deadline;
use wslock::Mutex;

/// A wrapped listening socket, shared by all descriptors of this process that name it.
#[derive(Default)]
pub struct Listener {
    /// Descriptors of this process that name the socket.
    pub fds: AtomicU32,
    /// The handshakes in progress.
    pub hub: Mutex<Hub>,
    /// Whether it blocked when the program entered its sandbox.
    pub blocks: AtomicBool,
    /// The socket, by its `SO_COOKIE`; 0 if that is not known.
    pub cookie: AtomicU64,
    /// A child that is spawned is to get the socket under a number of its own.
    pub for_child: AtomicBool,
    /// Whether the program asked for non-blocking connections last time.
    nonblock_hint: AtomicBool,
}

/// How long the kernel may keep a connection to itself until its client sends something: most requests come sooner.
const DEFER: Duration = Duration::from_secs(1);

impl Recycle for Listener {
    fn recycle(&self) {
        *self.hub.lock() = Hub::default();
        self.for_child.store(false, Ordering::Relaxed);
    }
}

impl<S: Sys> Layer<S> {
    /// The listener behind `fd`, if it is one of ours; decided by its port when it is first used.
    pub(crate) fn listener(&self, fd: Fd) -> Option<Ref<'_, Listener>> {
        loop {
            match self.slots.get(fd) {
                slot @ Slot::Listener(index) => match self.listeners.acquire(index) {
                    Some(listener) if self.slots.get(fd) == slot => return Some(listener),
                    _ => {}
                },
                slot @ Slot::Unknown => self.probe(fd, slot),
                _ => return None,
            }
        }
    }

    /// Whether `fd`, of which nothing is known, is a listener of ours. In a sandbox it is not asked: what was open before is
    /// known, and a call of listen(2) or accept(2) tells of others.
    pub(crate) fn may_listen(&self, fd: Fd) -> bool {
        !self.sandboxed.load(Ordering::Relaxed) && self.listener(fd).is_some()
    }

    /// Whether `accept` on `fd` is ours to serve.
    pub fn accepts(&self, fd: Fd) -> bool {
        if self.slots.get(fd) == Slot::Plain {
            // It was no listener when it was looked at; a program that calls accept says that it is one.
            self.slots.exchange(fd, Slot::Plain, Slot::Unknown);
        }
        self.listener(fd).is_some()
    }

    /// `fd` listens from this moment on: listen(2) succeeded.
    pub fn listening(&self, fd: Fd) {
        if !matches!(self.slots.get(fd), Slot::Listener(_)) {
            self.forget(fd);
            self.listener(fd);
        }
    }

    /// Finds out what `fd` is.
    fn probe(&self, fd: Fd, current: Slot) {
        let slot = match self.sys.listening_port(fd) {
            None => Slot::Plain,
            Some(port) if !self.config.ports.contains(port) => Slot::OtherListener,
            Some(port) => match self.listeners.allocate() {
                None => Slot::OtherListener,
                Some(listener) => {
                    listener.fds.store(1, Ordering::Release);
                    listener.cookie.store(self.sys.cookie(fd).unwrap_or(0), Ordering::Relaxed);
                    // A hint to the kernel: without it more handshakes are pending. A silent client shows up after this
                    // time all the same.
                    let _ = self.sys.defer_accept(fd, DEFER);
                    // It is the socket's in bytes of frames, and would keep a short request, a ping or a Close from us.
                    let _ = self.sys.reset_low_water(fd);
                    let index = listener.keep();
                    if self.slots.exchange(fd, current, Slot::Listener(index)) {
                        self.note(fd);
                        self.log_port(port);
                        self.adopt_registrations(fd);
                        if self.config.no_inherit {
                            self.disinherit();
                        }
                    } else {
                        self.listeners.release(index);
                    }
                    return;
                }
            },
        };
        // If it is something else by now, another thread knows better.
        self.slots.exchange(fd, current, slot);
        self.mark(fd);
    }

    /// A port has been opened. When it was the last one, nothing that is started from here on needs the library.
    #[cold]
    fn disinherit(&self) {
        // A vfork(2) child runs in its parent's memory, and would change the parent's environment.
        let own = self.pid.load(Ordering::Relaxed) == self.sys.pid();
        if own && self.config.ports.each_open(&self.told.lock()) {
            self.sys.disinherit();
        }
    }

    /// accept4(2) on a wrapped listener: the next connection whose handshake is done, and its client's address.
    ///
    /// # Errors
    /// Those of accept(2), and never one that a client caused by its handshake.
    pub fn accept(&self, fd: Fd, flags: c_int) -> Result<(Fd, PeerAddr)> {
        let Some(listener) = self.listener(fd) else {
            return self.sys.accept4(fd, flags);
        };
        let nonblock = flags & SOCK_NONBLOCK;
        listener.nonblock_hint.store(nonblock != 0, Ordering::Relaxed);
        let (mut deadline, mut queued, mut blocking) = (None, true, None);
        loop {
            let hub_fd = {
                let hub = &mut *listener.hub.lock();
                hub.accepts = true;
                let taking = self.accept_flags(fd, &listener);
                if let Some(ready) = self.next_ready(fd, hub, queued, taking)? {
                    self.arm(hub, 0);
                    return self.hand_out(ready, flags);
                }
                // As it was when the call was made: who waits goes on waiting.
                if !*blocking.get_or_insert(taking.blocking) {
                    return Err(Errno(libc::EAGAIN));
                }
                self.ensure_hub(hub)?
            };
            let limit = self.sys.receive_timeout(fd);
            let deadline = *deadline.get_or_insert_with(|| Deadline::after(&self.sys, limit));
            let event = |fd| pollfd { fd, events: POLLIN, revents: 0 };
            let mut polls = [event(fd), event(hub_fd)];
            match self.sys.outside(|| self.sys.poll(&mut polls, deadline.remaining(&self.sys), None)) {
                Ok(0) => return Err(Errno(libc::EAGAIN)),
                // All who wait wake for a client; who was not told of the queue need not look there.
                Ok(_) => queued = polls[1].revents != 0,
                // accept would go on, poll never does, signal(7).
                Err(Errno(libc::EINTR)) if limit.is_none() && self.sys.signals_restart() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the connection that `accept` is to give: what is ready here or in the queue has come before what the kernel has. The
    /// queue is looked at if something may be `queued`.
    ///
    /// # Errors
    /// Those of accept(2) other than `EAGAIN`.
    fn next_ready(&self, fd: Fd, hub: &mut Hub, queued: bool, flags: AcceptFlags) -> Result<Option<Ready>> {
        if !hub.is_ready() {
            if queued {
                self.take_queued(hub)?;
            }
            if !hub.is_ready() {
                self.pump(fd, hub, flags)?;
            }
        }
        let ready = hub.take_ready();
        if ready.is_some() {
            self.ready.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(ready)
    }

    /// Whether `accept` would succeed, or fail with more than `EAGAIN`, at once.
    pub(crate) fn connection_waits(&self, fd: Fd, listener: &Ref<'_, Listener>) -> bool {
        let hub = &mut *listener.hub.lock();
        if self.slots.get(fd) != Slot::Listener(listener.index()) {
            // Closed by another thread, and perhaps something else by now. Under the lock it stays what it is.
            return true;
        }
        if !hub.is_ready() && self.queue_waits(hub) {
            // It stays there for whoever accepts first.
            hub.more = self.advance_pending(hub);
            self.arm(hub, 1);
            return true;
        }
        let waits = self.pump(fd, hub, self.accept_flags(fd, listener)).unwrap_or(true);
        if !hub.accepts {
            // A program that only waits has others that accept.
            self.offer(hub);
        }
        waits
    }

    /// The descriptor that stands for a listener's handshakes wherever the program waits for the listener.
    pub(crate) fn hub_fd(&self, listener: &Listener) -> Option<Fd> {
        self.ensure_hub(&mut listener.hub.lock()).ok()
    }

    /// How connections are taken from the kernel. Another process that has the listener may have changed whether it blocks; but in a
    /// sandbox it is not asked.
    fn accept_flags(&self, fd: Fd, listener: &Listener) -> AcceptFlags {
        let sandboxed = self.sandboxed.load(Ordering::Relaxed);
        AcceptFlags {
            blocking: if sandboxed { listener.blocks.load(Ordering::Relaxed) } else { !self.is_nonblocking(fd) },
            nonblock: if listener.nonblock_hint.load(Ordering::Relaxed) { SOCK_NONBLOCK } else { 0 },
        }
    }

    /// Whether a plain accept on `fd` would not block.
    pub(crate) fn is_readable(&self, fd: Fd) -> bool {
        let mut poll = [pollfd { fd, events: POLLIN, revents: 0 }];
        matches!(again(|| self.sys.poll(&mut poll, Some(Duration::ZERO), None)), Ok(1..))
    }

    /// The lowest number that is free, as accept(2) gives it, for a connection that was kept out of the way.
    fn move_low(&self, fd: Fd) -> Fd {
        match self.sys.fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) {
            Ok(low) if low < fd => {
                self.slots.replace(low, Slot::Private);
                self.close_private(fd);
                low
            }
            Ok(no_better) => {
                let _ = self.sys.close(no_better);
                fd
            }
            Err(_) => fd,
        }
    }

    /// Gives an accepted descriptor the flags of accept4(2) where it has others: it is close-on-exec, and not blocking as
    /// `nonblock` says.
    fn set_flags(&self, fd: Fd, flags: c_int, nonblock: c_int) -> Result<()> {
        if flags & SOCK_CLOEXEC == 0 {
            self.sys.fcntl(fd, libc::F_SETFD, 0)?;
        }
        if flags & SOCK_NONBLOCK != nonblock {
            let status = self.sys.fcntl(fd, libc::F_GETFL, 0)?;
            self.sys.fcntl(fd, libc::F_SETFL, status ^ O_NONBLOCK)?;
        }
        Ok(())
    }

    /// Gives a connection to the program, with the flags that it asked for.
    fn hand_out(&self, ready: Ready, flags: c_int) -> Result<(Fd, PeerAddr)> {
        let Ready { fd, peer, agreed, nonblock, moved } = ready;
        let fd = if moved { self.move_low(fd) } else { fd };
        let Some(conn) = self.conns.allocate() else {
            self.close_private(fd);
            return Err(Errno(libc::ENFILE));
        };
        if let Err(error) = self.set_flags(fd, flags, nonblock) {
            self.close_private(fd);
            return Err(error);
        }
        let about = self.config.verbose.then(|| Box::new(About { peer }));
        self.log_open(&peer, &agreed.accepted);
        conn.open(*agreed, about);
        // A sandbox may forbid to ask.
        let asks = !self.sandboxed.load(Ordering::Relaxed);
        let cookie = asks.then(|| self.sys.cookie(fd)).flatten();
        conn.cookie.store(cookie.unwrap_or(0), Ordering::Relaxed);
        self.slots.replace(fd, Slot::Conn(conn.keep()));
        self.note(fd);
        Ok((fd, peer))
    }
}
