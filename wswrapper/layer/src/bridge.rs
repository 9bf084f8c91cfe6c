//! A wrapped connection that leaves the code we sit in is *bridged*.
//!
//! Invariant 5: a connection stays wrapped wherever it goes. Where the code that will use it cannot be reached (a new program
//! image that uses stdio, another process that gets the descriptor, a sandbox that forbids our system calls), the program gets
//! one end of a plain socket pair under the connection's numbers, and a companion process speaks WebSocket on the other side.
//!
//! Nothing is lost at the hand-over, in mid-frame neither: bytes in the kernel's queue stay there, and all that is known besides
//! is written down ([`wsproto::Handover`]) and sent to the companion as the first bytes of the pair.
//!
//! Which connections are bridged at an exec or a spawn, and why, is argued in `docs/architecture.md`.

use std::fmt;
use std::sync::atomic::Ordering;

use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, F_GETFD, FD_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, epoll_event, pid_t,
};
use wsproto::{Handover, Receiver, Sender};

use crate::Layer;
use crate::bridged::Addresses;
use crate::conn::{Conn, Receive, Send};
use crate::epoll::Epoll;
use crate::owners::Owners;
use crate::registered::Registered;
use crate::slots::{Ref, Slot};
use crate::sys::{Errno, Fd, Sys};
use wslock::MutexGuard;

/// Close code of a server that cannot go on, RFC 6455 section 7.4.1.
const INTERNAL_ERROR: u16 = 1011;

/// The highest number that a new program takes for its own whatever it is told: standard error.
pub(crate) const LAST_STANDARD: Fd = 2;

/// Descriptors that are looked at where nothing tells of them: the usual limit of a process.
pub(crate) const USUAL_FDS: Fd = 1024;

/// Why a connection is bridged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The process becomes another program.
    Exec,
    /// A child is started that inherits it.
    Spawn,
    /// It is sent to another process, unix(7).
    Passed,
    /// The process enters a sandbox, seccomp(2).
    Sandbox,
    /// It becomes a standard descriptor, stdin(3).
    Standard,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Exec => "goes to a new program",
            Why::Spawn => "goes to a child",
            Why::Passed => "is sent to another process",
            Why::Sandbox => "the program enters a sandbox",
            Why::Standard => "becomes a standard descriptor",
        })
    }
}

/// Why it could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBridged {
    /// Another thread waits in the middle of a write: how much of it went out is known when it is over.
    Busy,
    /// A system call failed.
    Failed(Errno),
    /// The companion could not be started.
    NoCompanion(Errno),
}

impl fmt::Display for NotBridged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotBridged::Busy => f.write_str("another thread is writing to it"),
            NotBridged::Failed(error) => write!(f, "error {}", error.0),
            NotBridged::NoCompanion(Errno(libc::ENOENT)) => f.write_str(
                "no wsproxy-bridge or wsproxy beside libwswrapper.so or in ../bin: install one, or name it in WSWRAP_COMPANION",
            ),
            NotBridged::NoCompanion(error) => write!(f, "the companion does not start: error {}", error.0),
        }
    }
}

/// A number that a vfork(2) child, which has a descriptor table of its own and our memory, made a copy of a connection.
pub struct Copied {
    child: pid_t,
    fd: Fd,
    conn: u32,
}

/// An epoll instance, by one of its numbers, with what is registered there.
type Watcher<'a> = (Fd, MutexGuard<'a, Registered>, Ref<'a, Epoll>);

impl<S: Sys> Layer<S> {
    /// Before execve(2): the new program gets the connections that are meant for it in a form that it can use, and this process
    /// steps out of the others. `listed` are those behind standard error that the new program's environment tells of
    /// (`LISTEN_FDS`, sd_listen_fds(3)).
    ///
    /// If the exec fails, what is bridged stays bridged, and [`Layer::after_failed_exec`] takes the rest back.
    pub fn before_exec(&self, listed: Fd) {
        if self.is_vfork_child() {
            return self.before_exec_of_vfork_child();
        }
        for fd in 0..=self.highest.load(Ordering::Relaxed) {
            let Some(conn) = self.conn_of_kernel(fd).filter(|_| self.survives_exec(fd)) else { continue };
            let shared = || conn.send.lock().owners.as_ref().is_some_and(|owners| owners.is_shared(&self.sys));
            if fd <= LAST_STANDARD + listed || !shared() {
                self.hand_over_or_end(&conn, fd, Why::Exec);
            }
        }
        self.each_owners(|owners| owners.step_out(&self.sys));
    }

    /// After an execve(2) that failed: this process still uses what it stepped out of.
    pub fn after_failed_exec(&self) {
        if !self.is_vfork_child() {
            self.each_owners(|owners| owners.step_in(&self.sys));
        }
    }

    /// Before a child is started by posix_spawn(3) and its kin: a connection that it gets as a standard descriptor is meant for
    /// it. If it cannot be bridged it stays what it is, since the program itself goes on with it.
    pub fn before_spawn(&self) {
        for fd in 0..=LAST_STANDARD {
            if let Some(conn) = self.conn_of_kernel(fd)
                && self.survives_exec(fd)
            {
                self.hand_over_if_possible(&conn, fd, Why::Spawn);
            }
        }
    }

    /// Before `fd` goes to another process, which is to use it.
    pub fn before_passing(&self, fd: Fd, why: Why) {
        if let Some(conn) = self.conn_of_kernel(fd) {
            self.hand_over_or_end(&conn, fd, why);
        }
    }

    /// Before system calls that we make, and the program does not, are forbidden.
    pub fn before_sandbox(&self) {
        for fd in 0..USUAL_FDS {
            if let Some(listener) = self.listener(fd) {
                listener.blocks.store(!self.is_nonblocking(fd), Ordering::Relaxed);
            }
        }
        self.limit.store(self.sys.descriptor_limit(), Ordering::Relaxed);
        self.sandboxed.store(true, Ordering::Relaxed);
        for fd in 0..=self.highest.load(Ordering::Relaxed) {
            if let Some(conn) = self.conn_of_kernel(fd) {
                self.hand_over_if_possible(&conn, fd, Why::Sandbox);
            }
        }
    }

    /// The program makes `new` another number for `old`. As a standard descriptor it is meant for stdio, which reads and writes past every
    /// hook, in this program or the next. Where it cannot be bridged it stays what it is, for who uses the number alone.
    ///
    /// A vfork(2) child executes, and is served then. In a sandbox there may be no system call of ours.
    pub(crate) fn becomes_standard(&self, old: Fd, new: Fd) {
        if (0..=LAST_STANDARD).contains(&new)
            && self.slots.is_conn(old)
            && !self.sandboxed.load(Ordering::Relaxed)
            && !self.is_vfork_child()
            && let Some(conn) = self.conn_of_kernel(old)
        {
            self.hand_over_if_possible(&conn, old, Why::Standard);
        }
    }

    /// A vfork(2) child made `new` a copy of `old`, in a descriptor table of its own.
    pub(crate) fn copied(&self, old: Fd, new: Fd) {
        let child = self.sys.pid();
        let copies = &mut *self.copies.lock();
        let known = copies.iter().find(|copy| copy.child == child && copy.fd == old).map(|copy| copy.conn);
        let conn = known.or(match self.slots.get(old) {
            Slot::Conn(index) => Some(index),
            _ => None,
        });
        copies.retain(|copy| {
            copy.child != child && self.sys.is_alive(copy.child) || copy.child == child && copy.fd != new
        });
        copies.extend(conn.map(|conn| Copied { child, fd: new, conn }));
    }

    /// A vfork(2) child has our tables, and they are the parent's: what its standard descriptors are is told by the copies it
    /// made, and by the sockets themselves.
    fn before_exec_of_vfork_child(&self) {
        let child = self.sys.pid();
        let copies: Vec<(Fd, u32)> = {
            let copies = &mut *self.copies.lock();
            let own = copies.iter().filter(|copy| copy.child == child).map(|copy| (copy.fd, copy.conn)).collect();
            copies.retain(|copy| copy.child != child);
            own
        };
        let standard = 0..=LAST_STANDARD;
        if copies.is_empty() && standard.clone().all(|fd| self.sys.cookie(fd).is_none()) {
            return;
        }
        let numbers = (0..=self.highest.load(Ordering::Relaxed)).filter_map(|fd| match self.slots.get(fd) {
            Slot::Conn(index) => Some((fd, index)),
            _ => None,
        });
        let known: Vec<(u64, u32)> =
            copies.iter().copied().chain(numbers).filter_map(|(fd, conn)| Some((self.sys.cookie(fd)?, conn))).collect();
        for fd in standard.chain(copies.iter().map(|(fd, _)| *fd)).filter(|fd| self.survives_exec(*fd)) {
            let cookie = self.sys.cookie(fd);
            let conn = known.iter().find(|(known, _)| Some(*known) == cookie).map(|(_, conn)| *conn);
            if let Some(conn) = conn.and_then(|conn| self.conns.acquire(conn))
                && self.is_socket_of(&conn, fd)
            {
                self.hand_over_or_end(&conn, fd, Why::Exec);
            }
        }
    }

    /// The connection behind `fd`, if the kernel agrees. libc puts other files under a number where no hook sees it (login_tty(3),
    /// daemon(3), freopen(3)); such a file is none of ours to replace, and the number is forgotten.
    fn conn_of_kernel(&self, fd: Fd) -> Option<Ref<'_, Conn>> {
        let conn = self.conn(fd)?;
        if self.is_socket_of(&conn, fd) {
            return Some(conn);
        }
        if !self.is_vfork_child() && self.slots.exchange(fd, Slot::Conn(conn.index()), Slot::Unknown) {
            if conn.fds.load(Ordering::Acquire) == 1
                && let Some(owners) = conn.send.lock().owners.take()
            {
                // Whoever else has the connection is to say Close in the end.
                owners.leave(&self.sys);
            }
            self.drop_conn(conn.index());
        }
        None
    }

    /// Whether the kernel's `fd` is the connection's socket; where that is not known, whether it is one of its kind.
    fn is_socket_of(&self, conn: &Conn, fd: Fd) -> bool {
        let known = conn.cookie.load(Ordering::Relaxed);
        self.sys.cookie(fd).is_some_and(|cookie| known == 0 || known == cookie)
    }

    /// Whether `fd` is open and stays so in an exec.
    pub(crate) fn survives_exec(&self, fd: Fd) -> bool {
        self.sys.fcntl(fd, F_GETFD, 0).is_ok_and(|flags| flags & FD_CLOEXEC == 0)
    }

    fn each_owners(&self, f: impl Fn(&Owners)) {
        for conn in self.conns.in_use() {
            if let Some(owners) = &conn.send.lock().owners {
                f(owners);
            }
        }
    }

    fn hand_over_if_possible(&self, conn: &Ref<'_, Conn>, fd: Fd, why: Why) {
        let peer = self.sys.peer(fd);
        if let Err(refusal) = self.hand_over(conn, fd, why) {
            self.log_not_bridged(peer, why, &refusal);
        }
    }

    /// Frames must not reach a program that takes them for payload, nor payload a client that takes it for frames: where no
    /// bridge can be made the connection ends.
    fn hand_over_or_end(&self, conn: &Ref<'_, Conn>, fd: Fd, why: Why) {
        let peer = self.sys.peer(fd);
        let Err(refusal) = self.hand_over(conn, fd, why) else { return };
        self.log_not_bridged(peer, why, &refusal);
        self.say_close(conn, fd, INTERNAL_ERROR, true);
        while let Ok(1..) = self.sys.discard(fd, usize::MAX >> 1) {}
        let _ = self.sys.shutdown(fd, libc::SHUT_RDWR);
    }

    /// Bridges the connection, under all its numbers in this process.
    fn hand_over(&self, conn: &Ref<'_, Conn>, fd: Fd, why: Why) -> Result<(), NotBridged> {
        let slot = Slot::Conn(conn.index());
        let in_vfork_child = self.is_vfork_child();
        let mut watchers = self.watchers();
        let (mut receive, mut send) = (conn.receive.lock(), conn.send.lock());
        if receive.moved {
            return Ok(());
        }
        if send.busy.is_some() {
            return Err(NotBridged::Busy);
        }
        let skip = receive.skip;
        self.discard(fd, &mut receive, skip).map_err(NotBridged::Failed)?;
        let numbers = self.numbers(conn.index(), fd);
        let (ours, companion) = self.pair_with_companion(fd, &receive, &send)?;
        let peer = self.sys.peer(fd);
        self.sys.copy_modes(fd, ours);
        for number in &numbers {
            // An epoll registration is of the socket under a number, and the socket lives on in the companion.
            let registered: Vec<(Fd, epoll_event)> = watchers
                .iter_mut()
                .filter_map(|(epoll, registered, _)| {
                    let registration = registered.get(*number).filter(|registration| registration.target == slot)?;
                    let event = epoll_event { events: registration.events, u64: registration.data };
                    let _ = self.set(*epoll, EPOLL_CTL_DEL, *number, None);
                    registered.remove(*number, slot);
                    Some((*epoll, event))
                })
                .collect();
            let flags = self.sys.fcntl(*number, F_GETFD, 0).unwrap_or(0);
            let flags = if flags & FD_CLOEXEC != 0 { O_CLOEXEC } else { 0 };
            let _ = self.sys.dup_to(ours, *number, Some(flags));
            if !in_vfork_child {
                for (epoll, event) in registered {
                    let _ = self.set(epoll, EPOLL_CTL_ADD, *number, Some(event));
                }
            }
        }
        let _ = self.sys.close(ours);
        retire(conn, &mut receive, &mut send, in_vfork_child);
        if let Some(owners) = send.owners.take() {
            owners.hand_over(&self.sys);
        }
        drop((send, receive, watchers));
        if !in_vfork_child {
            for number in numbers {
                if self.slots.exchange(number, slot, Slot::Unknown) {
                    self.drop_conn(conn.index());
                }
            }
        }
        self.log_bridged(peer, companion, why);
        Ok(())
    }

    /// The program's end of a pair, at whose other end a companion goes on where the connection stands.
    fn pair_with_companion(&self, fd: Fd, receive: &Receive, send: &Send) -> Result<(Fd, pid_t), NotBridged> {
        let handover = Handover {
            receiver: receive.decoder.clone(),
            sender: send.encoder.clone(),
            broken: receive.broken,
            received: receive.bytes,
            sent: send.bytes,
        }
        .encode();
        let (ours, theirs) = self.sys.socket_pair().map_err(NotBridged::Failed)?;
        let mut questions = None;
        if let (Some(peer), Some(local)) = (self.sys.peer(fd), self.sys.local(fd))
            && let Some(name) = (Addresses { peer, local }).name(self.sys.random())
            // Without a name the program is told of an unnamed peer.
            && self.sys.bind_abstract(theirs, name.as_bytes()).is_ok()
        {
            questions = self.sys.listen_abstract(name.of_questions().as_bytes()).ok();
        }
        let state = handover.as_slice();
        let started = match self.sys.send(ours, state, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Ok(n) if n == state.len() => {
                self.sys.start_companion(fd, theirs, questions).map_err(NotBridged::NoCompanion)
            }
            Ok(_) => Err(NotBridged::Failed(Errno(libc::ENOBUFS))),
            Err(error) => Err(NotBridged::Failed(error)),
        };
        for fd in [Some(theirs), questions].into_iter().flatten() {
            let _ = self.sys.close(fd);
        }
        if started.is_err() {
            let _ = self.sys.close(ours);
        }
        started.map(|companion| (ours, companion))
    }

    /// The numbers in this process that name the connection behind `fd`: as the tables have it, and as the kernel has it.
    fn numbers(&self, conn: u32, fd: Fd) -> Vec<Fd> {
        let cookie = self.sys.cookie(fd);
        // A vfork(2) child's own are no others than the standard ones, `fd`, and those of the parent that it kept.
        let highest = self.highest.load(Ordering::Relaxed).max(LAST_STANDARD);
        let standard = if self.is_vfork_child() { LAST_STANDARD } else { -1 };
        let mut numbers: Vec<Fd> = (0..=highest)
            .filter(|number| *number <= standard || self.slots.get(*number) == Slot::Conn(conn))
            .filter(|number| *number != fd && cookie.is_some() && self.sys.cookie(*number) == cookie)
            .collect();
        numbers.push(fd);
        numbers
    }

    /// All epoll instances, locked, in the order in which a fork takes them.
    fn watchers(&self) -> Vec<Watcher<'_>> {
        let mut instances: Vec<(u32, Fd)> = (0..=self.top.load(Ordering::Relaxed))
            .filter_map(|fd| match self.slots.get(fd) {
                Slot::Epoll(index) => Some((index, fd)),
                _ => None,
            })
            .collect();
        instances.sort_unstable();
        instances.dedup_by_key(|(index, _)| *index);
        let acquire = |(index, fd)| {
            let epoll = self.epolls.acquire(index)?;
            Some((fd, epoll.get().registered.lock(), epoll))
        };
        instances.into_iter().filter_map(acquire).collect()
    }
}

/// The connection is another process's. Calls that are under way find out: under a number of this process's own they are for
/// the pair's end; in a vfork(2) parent, whose numbers cannot be changed from here, the stream is over.
fn retire(conn: &Conn, receive: &mut Receive, send: &mut Send, over: bool) {
    receive.taken = receive.taken.wrapping_add(1);
    conn.take_answer();
    conn.set_unsent(false);
    // Neither Close nor a line in the log when the last number goes.
    (receive.broken, receive.ended, receive.about) = (true, true, None);
    (receive.decoder, send.encoder) = (Receiver::over(), Sender::over());
    (send.hang_up, send.hung_up) = (false, over);
    (receive.moved, send.moved) = (!over, !over);
    receive.error = (!over).then_some(Errno(libc::ENOTSOCK));
}
