//! Opening handshakes in progress: what stands between a TCP connection and the program's `accept`. And closed connections whose last bytes
//! are on their way.
//!
//! Invariant 1: the program sees only WebSockets. A connection that the kernel has accepted waits here until its client
//! has asked for a WebSocket and the answer is out. The waiting calls of the program drive it; no thread does.
//!
//! Two descriptors of our own stand for all of it wherever the program waits for the listener: an epoll instance over the
//! pending connections, and in it a timer that is readable when a deadline has passed *or a connection is ready*. So every
//! waiter wakes, in every thread, until the ready connections are gone. Where other processes have the listener as well, the
//! epoll instance also has the queue that they share: see [`crate::queue`].

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, c_int,
    epoll_event,
};
use wsproto::{Accepted, Handshake, Progress, Receiver};

use crate::Layer;
use crate::again::{again, insist, is_passing, uninterrupted};
use crate::queue::Queue;
use crate::slots::Slot;
use crate::sys::{Errno, Fd, PeerAddr, Result, Sys};

/// How many connections may be in their handshake, or closed and not sent to the end; one more drops the oldest of the latter, or else of
/// the former.
pub const MAX_PENDING: usize = 1024;

/// How long a refused client has to read why.
const LINGER: Duration = Duration::from_secs(2);

/// How much a refused client may go on sending meanwhile.
const LINGER_BYTES: usize = 1 << 20;

/// How long a client that takes nothing of what was sent before a close is waited for. The kernel gives up as late on one that does not
/// close its side (`tcp_fin_timeout`, tcp(7)).
const DRAIN: Duration = Duration::from_secs(60);

/// How much it may go on sending meanwhile, and then once more for each time that it has taken some.
const DRAIN_BYTES: usize = LINGER_BYTES;

/// Connections accepted at one go, so that a flood of them cannot hold a call for ever.
const BATCH: usize = 64;

/// What is read of a request at a time.
const PIECE: usize = 1024;

/// The timer's name in the epoll instance; connections are numbered from 1.
const TIMER: u64 = 0;

/// The queue's.
const QUEUE: u64 = u64::MAX;

/// A listener's handshakes.
#[derive(Default)]
pub struct Hub {
    /// The epoll instance, once one was needed.
    pub epoll: Option<Fd>,
    timer: Option<Fd>,
    /// The last look left something for the next.
    pub(crate) more: bool,
    /// What the timer was last set to.
    armed: Option<Duration>,
    /// In the order of arrival.
    pending: BTreeMap<u64, Pending>,
    /// In the order in which their handshakes ended.
    pub(crate) ready: VecDeque<Ready>,
    last: u64,
    /// What is ready for whichever process accepts it, once there can be more than one.
    pub(crate) queue: Option<Queue>,
    /// The program has accepted from the listener in this process: it is likely to do so again.
    pub(crate) accepts: bool,
}

/// A connection whose handshake is done.
pub struct Ready {
    /// The connection.
    pub fd: Fd,
    /// Its client.
    pub peer: PeerAddr,
    /// What came of its handshake.
    pub agreed: Box<Agreed>,
    /// `SOCK_NONBLOCK` if the connection was accepted with it.
    pub nonblock: c_int,
    /// It has not the number that the kernel gave it.
    pub moved: bool,
}

/// What came of a handshake.
pub struct Agreed {
    /// What was agreed on.
    pub accepted: Box<Accepted>,
    /// The decoder, which may have seen a first frame's header.
    pub decoder: Receiver,
    /// Bytes at the front of the kernel's queue that are done with: the request and that header. Payload follows them.
    pub skip: usize,
}

struct Pending {
    fd: Fd,
    peer: PeerAddr,
    deadline: Duration,
    /// `SOCK_NONBLOCK` if the connection was accepted with it.
    nonblock: c_int,
    /// Whether the hub's epoll instance has it in its set.
    watched: bool,
    stage: Stage,
}

enum Stage {
    /// The request is not complete.
    Asking(Box<Handshake>),
    /// The rest of our answer waits for room.
    Answering { reply: Vec<u8>, then: Then },
    /// The refusal is out; what the client still sends is dropped, since closing on it would take the reply back.
    Lingering { budget: usize },
    /// The program has closed the connection, and the kernel has `unsent` bytes to send: see [`crate::drain`].
    Draining { budget: usize, unsent: usize },
}

enum Then {
    HandOut(Box<Agreed>),
    Linger,
}

/// What a step of a handshake came to.
enum Outcome {
    Waiting(Stage),
    Ready(Box<Agreed>),
    Gone,
}

impl Hub {
    /// Takes the connection that has been ready longest.
    pub fn take_ready(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Whether `accept` would succeed at once.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl<S: Sys> Layer<S> {
    /// Makes the hub's descriptors if they do not exist, and returns the one to wait for.
    pub(crate) fn ensure_hub(&self, hub: &mut Hub) -> Result<Fd> {
        if let Some(epoll) = hub.epoll {
            return Ok(epoll);
        }
        let timer = self.private(self.sys.timer_create()?);
        let epoll = match self.sys.epoll_create() {
            Ok(epoll) => self.private(epoll),
            Err(error) => {
                self.close_private(timer);
                return Err(error);
            }
        };
        let event = epoll_event { events: EPOLLIN as u32, u64: TIMER };
        let watched = self.set(epoll, EPOLL_CTL_ADD, timer, Some(event));
        let watched = watched.and_then(|()| hub.queue.map_or(Ok(()), |queue| self.watch_queue(epoll, queue)));
        if let Err(error) = watched {
            self.close_private(epoll);
            self.close_private(timer);
            return Err(error);
        }
        (hub.epoll, hub.timer, hub.armed) = (Some(epoll), Some(timer), None);
        Ok(epoll)
    }

    /// Whoever waits for the hub wakes for what is in the queue.
    pub(crate) fn watch_queue(&self, epoll: Fd, queue: Queue) -> Result<()> {
        let event = epoll_event { events: EPOLLIN as u32, u64: QUEUE };
        self.set(epoll, EPOLL_CTL_ADD, queue.read, Some(event))
    }

    /// Advances the handshakes and accepts what the kernel has until one connection is ready, without waiting; returns
    /// whether one is.
    ///
    /// # Errors
    /// Those of accept(2) other than `EAGAIN`, which are the program's to see.
    pub(crate) fn pump(&self, listener: Fd, hub: &mut Hub, flags: AcceptFlags) -> Result<bool> {
        hub.more = self.advance_pending(hub);
        let mut result = Ok(());
        let mut accepted = 0;
        while !hub.is_ready() {
            if accepted == BATCH {
                hub.more = true;
                break;
            }
            accepted += 1;
            match self.accept_one(listener, flags) {
                Ok((fd, peer)) => self.admit(hub, fd, peer, flags.nonblock),
                Err(Errno(libc::EAGAIN | libc::EINTR)) => break,
                // Not enough descriptors: handshakes must not cost the program its connections.
                Err(Errno(libc::EMFILE | libc::ENFILE)) if self.drop_oldest(hub) => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // The caller takes one, or the program does.
        self.arm(hub, 1);
        if hub.is_ready() { Ok(true) } else { result.map(|()| false) }
    }

    /// Drops everything that the hub holds.
    pub(crate) fn dissolve(&self, hub: &mut Hub) {
        let hub = std::mem::take(hub);
        self.ready.fetch_sub(hub.ready.len(), Ordering::AcqRel);
        let pending = hub.pending.into_values().map(|pending| pending.fd);
        let ready = hub.ready.into_iter().map(|ready| ready.fd);
        let fds = pending.chain(ready).chain(hub.timer).chain(hub.epoll);
        fds.for_each(|fd| self.close_private(fd));
        if let Some(queue) = hub.queue {
            self.close_queue(queue);
        }
    }

    /// Sets the timer to what the hub waits for: the earliest deadline, or, with more than `taken` connections ready, this
    /// moment, so that whoever waits for them wakes; likewise if a look was ended with more to do.
    pub(crate) fn arm(&self, hub: &mut Hub, taken: usize) {
        let Some(timer) = hub.timer else { return };
        let at = if hub.more || hub.ready.len() > taken {
            Some(Duration::from_nanos(1))
        } else {
            hub.pending.values().map(|pending| pending.deadline).min()
        };
        // Who waits for edges gets one for each time that there is more.
        if (hub.more || at != hub.armed) && again(|| self.sys.timer_set(timer, at)).is_ok() {
            hub.armed = at;
        }
    }

    /// Before a wait that the listeners may be part of: connections that are ready, and that the program did not take,
    /// are to end it, here or in another process that has the listener.
    #[inline(always)]
    pub(crate) fn ring(&self) {
        if self.ready.load(Ordering::Acquire) > 0 {
            self.arm_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn arm_all(&self) {
        for listener in self.listeners.in_use() {
            let hub = &mut *listener.hub.lock();
            hub.accepts &= hub.ready.is_empty();
            self.offer(hub);
            self.arm(hub, 0);
        }
    }

    /// A connection fresh from the kernel: often its request is there already.
    fn admit(&self, hub: &mut Hub, fd: Fd, peer: PeerAddr, nonblock: c_int) {
        if self.slots.replace(fd, Slot::Private).is_none() {
            // Beyond the numbers that can be tracked.
            let _ = self.sys.close(fd);
            return;
        }
        self.mark(fd);
        let deadline = self.sys.now().saturating_add(self.config.handshake_timeout);
        let stage = Stage::Asking(Box::new(Handshake::new()));
        let pending = Pending { fd, peer, deadline, nonblock, watched: false, stage };
        let Some(mut pending) = self.advance(hub, pending) else {
            return;
        };
        // It may stay for a while: out of the numbers that the program counts on.
        self.slots.replace(fd, Slot::Unknown);
        let fd = self.private(fd);
        pending.fd = fd;
        self.watch(hub, pending);
    }

    /// Puts a connection among the pending ones.
    fn watch(&self, hub: &mut Hub, mut pending: Pending) {
        // The program needs descriptors as well.
        let sandboxed = self.sandboxed.load(Ordering::Relaxed);
        let limit = if sandboxed { self.limit.load(Ordering::Relaxed) } else { self.sys.descriptor_limit() };
        let most = MAX_PENDING.min(limit / 4).max(1);
        while hub.pending.len() >= most {
            self.drop_oldest(hub);
        }
        hub.last += 1;
        let (fd, key) = (pending.fd, hub.last);
        let event = epoll_event { events: pending.interest(), u64: key };
        let added = self.ensure_hub(hub).and_then(|epoll| self.set(epoll, EPOLL_CTL_ADD, fd, Some(event)));
        if added.is_ok() {
            pending.watched = true;
            hub.pending.insert(key, pending);
        } else {
            self.close_private(fd);
        }
    }

    /// accept4(2) that does not block: `EAGAIN` where it would.
    ///
    /// On a blocking listener it takes a look first, and between the look and the accept no other process that has the listener may
    /// take the connection: the accept would wait for the next one, with everything locked.
    fn accept_one(&self, listener: Fd, flags: AcceptFlags) -> Result<(Fd, PeerAddr)> {
        let accept = || uninterrupted(|| self.sys.accept4(listener, libc::SOCK_CLOEXEC | flags.nonblock));
        let look = || if self.is_readable(listener) { accept() } else { Err(Errno(libc::EAGAIN)) };
        if !flags.blocking {
            return accept();
        }
        if self.sandboxed.load(Ordering::Relaxed) {
            // Which may forbid the lock.
            return look();
        }
        if !self.sys.take_turn(listener) {
            return Err(Errno(libc::EAGAIN));
        }
        let result = look();
        self.sys.leave_turn(listener);
        result
    }

    /// Drops the connection that has been closed longest, or else the handshake that has been pending longest. Returns whether there is
    /// one.
    fn drop_oldest(&self, hub: &mut Hub) -> bool {
        let closed = hub.pending.iter().find(|(_, pending)| matches!(pending.stage, Stage::Draining { .. }));
        let Some((&key, _)) = closed.or_else(|| hub.pending.first_key_value()) else { return false };
        if let Some(oldest) = hub.pending.remove(&key) {
            if !matches!(oldest.stage, Stage::Draining { .. }) {
                self.refuse_line(&oldest.peer, "too many handshakes at once");
            }
            self.close_private(oldest.fd);
        }
        true
    }

    /// Gives the connection `fd`, if it is one of the hub's, another number. Returns whether it is.
    pub(crate) fn move_away(&self, hub: &mut Hub, fd: Fd) -> bool {
        let Hub { epoll, pending, ready, .. } = hub;
        let waiting = pending.iter_mut().find(|(_, pending)| pending.fd == fd);
        let watch = waiting.as_ref().map(|(key, pending)| (**key, pending.interest()));
        let ready = ready.iter_mut().find(|ready| ready.fd == fd).map(|ready| {
            ready.moved = true;
            &mut ready.fd
        });
        let Some(place) = waiting.map(|(_, pending)| &mut pending.fd).or(ready) else {
            return false;
        };
        let watch = (*epoll).zip(watch);
        if let Some((epoll, _)) = watch {
            // It would outlive the number.
            let _ = self.set(epoll, EPOLL_CTL_DEL, fd, None);
        }
        self.slots.replace(fd, Slot::Unknown);
        *place = self.private(fd);
        if let Some((epoll, (key, events))) = watch {
            let event = epoll_event { events, u64: key };
            let _ = self.set(epoll, EPOLL_CTL_ADD, *place, Some(event));
        }
        true
    }

    /// Advances the handshakes whose clients have sent something, and drops those whose time is over. Returns whether there
    /// may be more of the former.
    pub(crate) fn advance_pending(&self, hub: &mut Hub) -> bool {
        let Some(epoll) = hub.epoll else { return false };
        if hub.pending.is_empty() {
            return false;
        }
        let mut events = [epoll_event { events: 0, u64: 0 }; BATCH];
        let n = again(|| self.sys.epoll_wait(epoll, &mut events, Some(Duration::ZERO), None)).unwrap_or(0);
        for event in events.iter().take(n) {
            let key = event.u64;
            if matches!(key, TIMER | QUEUE) {
                continue;
            }
            let Some(pending) = hub.pending.remove(&key) else {
                continue;
            };
            let (fd, interest) = (pending.fd, pending.interest());
            if let Some(pending) = self.advance(hub, pending) {
                let now = pending.interest();
                if now != interest {
                    let event = epoll_event { events: now, u64: key };
                    let _ = self.set(epoll, EPOLL_CTL_MOD, fd, Some(event));
                }
                hub.pending.insert(key, pending);
            }
        }
        let now = self.sys.now();
        let late: Vec<u64> = hub.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(key, _)| *key).collect();
        for key in late {
            if let Some(pending) = hub.pending.remove(&key).and_then(|pending| self.expire(pending, now)) {
                hub.pending.insert(key, pending);
            }
        }
        n == BATCH
    }

    /// Takes a handshake as far as it goes. Returns it if it has to wait.
    fn advance(&self, hub: &mut Hub, mut pending: Pending) -> Option<Pending> {
        let outcome = match pending.stage {
            Stage::Asking(handshake) => self.ask(pending.fd, &pending.peer, handshake),
            Stage::Answering { reply, then } => self.answer(pending.fd, reply, then),
            Stage::Lingering { budget } => match self.drop_input(pending.fd, budget) {
                Some(budget) => Outcome::Waiting(Stage::Lingering { budget }),
                None => Outcome::Gone,
            },
            Stage::Draining { budget, unsent } => match self.drop_input(pending.fd, budget) {
                Some(budget) => Outcome::Waiting(Stage::Draining { budget, unsent }),
                None => Outcome::Gone,
            },
        };
        match outcome {
            Outcome::Waiting(stage) => {
                if matches!(stage, Stage::Lingering { .. }) {
                    pending.deadline = pending.deadline.min(self.sys.now().saturating_add(LINGER));
                }
                pending.stage = stage;
                Some(pending)
            }
            Outcome::Ready(agreed) => {
                if let (Some(epoll), true) = (hub.epoll, pending.watched) {
                    let _ = self.set(epoll, EPOLL_CTL_DEL, pending.fd, None);
                }
                let Pending { fd, peer, nonblock, watched: moved, .. } = pending;
                self.ready.fetch_add(1, Ordering::AcqRel);
                hub.ready.push_back(Ready { fd, peer, agreed, nonblock, moved });
                None
            }
            Outcome::Gone => {
                self.close_private(pending.fd);
                None
            }
        }
    }

    /// Reads the request.
    fn ask(&self, fd: Fd, peer: &PeerAddr, mut handshake: Box<Handshake>) -> Outcome {
        let mut buf = [0; PIECE];
        loop {
            let n = match again(|| self.sys.recv(fd, &mut buf, MSG_PEEK | MSG_DONTWAIT)) {
                Ok(0) => return Outcome::Gone,
                Ok(n) => n,
                Err(Errno(libc::EAGAIN)) => return Outcome::Waiting(Stage::Asking(handshake)),
                Err(_) => return Outcome::Gone,
            };
            let mut reply = Vec::new();
            let input = buf.get(..n).unwrap_or_default();
            let (mut used, progress) = handshake.receive(input, &self.config.policy, &mut reply);
            let mut decoder = None;
            if let Progress::Accepted(accepted) = &progress {
                let mut early = Receiver::new(accepted.dialect, accepted.encoding);
                let seen = used + early.receive(buf.get_mut(used..n).unwrap_or_default(), &mut []).consumed;
                if seen < n && early.end().is_none() {
                    // Payload has come along: the read that takes it takes what is in front of it, too.
                    (decoder, used) = (Some((early, seen)), 0);
                }
            }
            if used > 0 && insist(|| self.sys.discard(fd, used)).is_err() {
                return Outcome::Gone;
            }
            match progress {
                Progress::Incomplete if n < PIECE => {
                    return Outcome::Waiting(Stage::Asking(handshake));
                }
                Progress::Incomplete => {}
                Progress::Accepted(accepted) => {
                    let fresh = || (Receiver::new(accepted.dialect, accepted.encoding), 0);
                    let (decoder, skip) = decoder.unwrap_or_else(fresh);
                    return self.answer(fd, reply, Then::HandOut(Box::new(Agreed { accepted, decoder, skip })));
                }
                Progress::Refused(refusal) => {
                    self.refuse_line(peer, refusal);
                    return self.answer(fd, reply, Then::Linger);
                }
            }
        }
    }

    /// Sends our reply.
    fn answer(&self, fd: Fd, mut reply: Vec<u8>, then: Then) -> Outcome {
        while !reply.is_empty() {
            match again(|| self.sys.send_vectored(fd, &[IoSlice::new(&reply)], MSG_DONTWAIT | MSG_NOSIGNAL)) {
                Ok(n) => drop(reply.drain(..n.min(reply.len()))),
                Err(error) if error == Errno(libc::EAGAIN) || is_passing(error) => {
                    return Outcome::Waiting(Stage::Answering { reply, then });
                }
                Err(_) => return Outcome::Gone,
            }
        }
        match then {
            Then::HandOut(agreed) => Outcome::Ready(agreed),
            Then::Linger => {
                let _ = self.sys.shutdown(fd, libc::SHUT_WR);
                match self.drop_input(fd, LINGER_BYTES) {
                    Some(budget) => Outcome::Waiting(Stage::Lingering { budget }),
                    None => Outcome::Gone,
                }
            }
        }
    }

    /// Drops what a client sends. Returns what is left of the `budget`; `None` when that is used up, or the client is gone.
    fn drop_input(&self, fd: Fd, mut budget: usize) -> Option<usize> {
        while budget > 0 {
            match again(|| self.sys.discard(fd, budget)) {
                Ok(n @ 1..) => budget = budget.saturating_sub(n),
                Err(Errno(libc::EAGAIN)) => return Some(budget),
                Ok(0) | Err(_) => return None,
            }
        }
        None
    }

    /// Puts a closed connection among the pending ones: see [`crate::drain`].
    pub(crate) fn watch_closed(&self, hub: &mut Hub, fd: Fd, unsent: usize) {
        let deadline = self.sys.now().saturating_add(DRAIN);
        let stage = Stage::Draining { budget: DRAIN_BYTES, unsent };
        self.watch(hub, Pending { fd, peer: PeerAddr::new(&[]), deadline, nonblock: 0, watched: false, stage });
    }

    /// The deadline of a connection has passed. Returns it if it has another one.
    fn expire(&self, mut pending: Pending, now: Duration) -> Option<Pending> {
        match pending.stage {
            Stage::Asking(_) => self.refuse_line(&pending.peer, "no complete request within the handshake timeout"),
            Stage::Draining { unsent: before, .. } => {
                let unsent = self.sys.unsent(pending.fd);
                if (1..before).contains(&unsent) {
                    pending.stage = Stage::Draining { budget: DRAIN_BYTES, unsent };
                    pending.deadline = now.saturating_add(DRAIN);
                    return Some(pending);
                }
            }
            Stage::Answering { .. } | Stage::Lingering { .. } => {}
        }
        self.close_private(pending.fd);
        None
    }
}

impl Pending {
    fn interest(&self) -> u32 {
        match self.stage {
            Stage::Asking(_) | Stage::Lingering { .. } | Stage::Draining { .. } => EPOLLIN as u32,
            Stage::Answering { .. } => EPOLLOUT as u32,
        }
    }
}

/// How connections are taken from the kernel.
#[derive(Clone, Copy)]
pub struct AcceptFlags {
    /// The listener is blocking.
    pub blocking: bool,
    /// `SOCK_NONBLOCK` where the program is expected to want it.
    pub nonblock: c_int,
}
