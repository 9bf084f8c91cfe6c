//! epoll(7): registrations of what is ours carry our own data, and their events are filtered on the way out.
//!
//! The kernel's epoll instance stays the program's. A registration of a wrapped descriptor is made with a token instead of
//! the program's data, because an event says nothing but its data, and the descriptor is needed. A listener is registered
//! twice: itself, and its hub of handshakes, with the same events.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, POLLNVAL, c_int, c_short,
    epoll_event, pollfd,
};

use crate::Layer;
use crate::again::again;
use crate::ready::{Behind, LOOKS, READ_BITS, filter};
use crate::registered::{Registered, Registration};
use crate::slots::{Recycle, Ref, Slot};
use crate::sys::{Errno, Fd, Result, Sys};
use crate::wait::{Deadline, Limits};
use wslock::Mutex;

/// An epoll instance, shared by all descriptors of this process that name it.
#[derive(Default)]
pub struct Epoll {
    /// Descriptors of this process that name the instance.
    pub fds: AtomicU32,
    /// Registrations of wrapped descriptors.
    pub registered: Mutex<Registered>,
    /// The instance is that of the process that this one was forked from, too.
    pub inherited: AtomicBool,
    generation: AtomicU32,
}

/// A token: 32 bits that no program uses by accident, then whether it is the hub's, the generation, the descriptor.
#[derive(Clone, Copy)]
struct Token {
    fd: Fd,
    generation: u32,
    hub: bool,
}

/// How often a wait whose time is over looks for true events behind false ones.
const ROUNDS: u32 = 64;

const FD_BITS: u32 = 20;
const GENERATION_BITS: u32 = 11;
const GENERATIONS: u32 = 1 << GENERATION_BITS;

impl Token {
    fn pack(self, magic: u32) -> u64 {
        let low = u32::from(self.hub) << 31 | self.generation << FD_BITS | self.fd as u32;
        u64::from(magic) << 32 | u64::from(low)
    }

    fn unpack(data: u64, magic: u32) -> Option<Self> {
        let low = data as u32;
        (data >> 32 == u64::from(magic)).then_some(Token {
            fd: (low & ((1 << FD_BITS) - 1)) as Fd,
            generation: low >> FD_BITS & (GENERATIONS - 1),
            hub: low >> 31 != 0,
        })
    }
}

impl Recycle for Epoll {
    fn recycle(&self) {
        *self.registered.lock() = Registered::default();
        self.inherited.store(false, Ordering::Relaxed);
    }
}

impl<S: Sys> Layer<S> {
    /// `fd` is a fresh epoll instance.
    pub fn epoll_created(&self, fd: Fd) {
        self.forget(fd);
        if !self.is_vfork_child() {
            self.adopt_epoll(fd, Slot::Unknown);
        }
    }

    fn adopt_epoll(&self, fd: Fd, current: Slot) {
        if let Some(epoll) = self.epolls.allocate() {
            epoll.fds.store(1, Ordering::Release);
            let index = epoll.keep();
            if self.slots.exchange(fd, current, Slot::Epoll(index)) {
                self.mark(fd);
            } else {
                self.epolls.release(index);
            }
        }
    }

    pub(crate) fn epoll(&self, fd: Fd) -> Option<Ref<'_, Epoll>> {
        let slot = self.slots.get(fd);
        let Slot::Epoll(index) = slot else {
            return None;
        };
        self.epolls.acquire(index).filter(|_| self.slots.get(fd) == slot)
    }

    /// Whether epoll_ctl(2) for `fd` is ours to serve.
    pub fn epoll_ctl_concerns(&self, fd: Fd) -> bool {
        match self.slots.get(fd) {
            Slot::Unknown => self.may_listen(fd),
            Slot::Conn(_) | Slot::Listener(_) | Slot::Epoll(_) | Slot::Private => true,
            Slot::Plain | Slot::OtherListener => false,
        }
    }

    /// epoll_ctl(2) for a descriptor of ours.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn epoll_ctl(&self, epoll_fd: Fd, op: c_int, fd: Fd, event: Option<epoll_event>) -> Result<()> {
        if self.slots.get(fd) == Slot::Private {
            return Err(Errno(libc::EBADF));
        }
        if let slot @ (Slot::Unknown | Slot::Plain) = self.slots.get(epoll_fd) {
            self.adopt_epoll(epoll_fd, slot);
        }
        let (Some(epoll), true) = (self.epoll(epoll_fd), matches!(op, EPOLL_CTL_ADD | EPOLL_CTL_MOD | EPOLL_CTL_DEL))
        else {
            return self.sys.epoll_ctl(epoll_fd, op, fd, event);
        };
        let inherited = epoll.inherited.load(Ordering::Relaxed);
        let hub = self.listener(fd).filter(|_| !inherited).and_then(|listener| self.hub_fd(&listener));
        let target = self.slots.get(fd);
        // The lock is held across the call, which does not block: an event of the registration finds it here.
        let mut registered = epoll.registered.lock();
        let Some(event) = event.filter(|_| op != EPOLL_CTL_DEL) else {
            self.sys.epoll_ctl(epoll_fd, op, fd, event)?;
            registered.remove(fd, target);
            if let Some(hub) = hub {
                let _ = self.set(epoll_fd, op, hub, None);
            }
            return Ok(());
        };
        let generation = epoll.generation.fetch_add(1, Ordering::Relaxed) % GENERATIONS;
        let token = |hub| Token { fd, generation, hub }.pack(self.magic);
        // The kernel knows no exclusive wait for an epoll instance.
        let bits = |hub| if hub { event.events & !(EPOLLEXCLUSIVE as u32) } else { event.events };
        let ours = |hub| Some(epoll_event { events: bits(hub), u64: token(hub) });
        self.sys.epoll_ctl(epoll_fd, op, fd, ours(false))?;
        if let Some(hub) = hub {
            // It may be there, or not there, from another time: it is brought to the same state.
            let result = match self.set(epoll_fd, op, hub, ours(true)) {
                Err(Errno(libc::EEXIST)) => self.set(epoll_fd, EPOLL_CTL_MOD, hub, ours(true)),
                Err(Errno(libc::ENOENT)) => self.set(epoll_fd, EPOLL_CTL_ADD, hub, ours(true)),
                result => result,
            };
            if let Err(error) = result {
                // Handshakes would wake nobody: the program is to try again, as if its own call had failed.
                if op == EPOLL_CTL_ADD {
                    let _ = self.set(epoll_fd, EPOLL_CTL_DEL, fd, None);
                }
                return Err(error);
            }
        }
        let registration = Registration {
            target,
            use_count: self.use_count(target).unwrap_or(0),
            events: event.events,
            data: event.u64,
            generation: generation as u16,
            spent: false,
        };
        // The kernel keeps the registration of a file that lives on under another number.
        let lives = |other: &Registration| {
            self.use_count(other.target) == Some(other.use_count) && self.any_number_of(other.target).is_some()
        };
        registered.insert(fd, registration, lives);
        Ok(())
    }

    /// Which use of its place `target` is, if it is in use.
    fn use_count(&self, target: Slot) -> Option<u8> {
        match target {
            Slot::Conn(index) => self.conns.acquire(index).map(|conn| conn.use_count.load(Ordering::Relaxed)),
            _ => Some(0),
        }
    }

    /// A number that names `target`.
    #[cold]
    fn any_number_of(&self, target: Slot) -> Option<Fd> {
        (0..=self.highest.load(Ordering::Relaxed)).find(|fd| self.slots.get(*fd) == target)
    }

    /// epoll_ctl(2) of the library's own. The program knows nothing of it and would not try again, and a registration that is
    /// not armed is a wake-up lost.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn set(&self, epoll: Fd, op: c_int, fd: Fd, event: Option<epoll_event>) -> Result<()> {
        again(|| self.sys.epoll_ctl(epoll, op, fd, event))
    }

    /// epoll_pwait2(2).
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn epoll_wait(&self, epoll_fd: Fd, events: &mut [epoll_event], limits: Limits<'_>) -> Result<usize> {
        let Some(epoll) = self.epoll(epoll_fd) else {
            return self.sys.outside(|| self.sys.epoll_wait(epoll_fd, events, limits.timeout, limits.mask));
        };
        self.ring();
        if epoll.inherited.load(Ordering::Relaxed) {
            return self.wait_inherited(epoll_fd, &epoll, events, limits);
        }
        let deadline = Deadline::after(&self.sys, limits.timeout);
        let (mut left, mut rounds) = (limits.timeout, 0);
        loop {
            let n = self.sys.outside(|| self.sys.epoll_wait(epoll_fd, events, left, limits.mask))?;
            if n == 0 {
                return Ok(0);
            }
            let full = n == events.len();
            let kept = self.translate(epoll_fd, &epoll, events.get_mut(..n).unwrap_or_default());
            if kept > 0 {
                return Ok(kept);
            }
            left = deadline.remaining(&self.sys);
            rounds += 1;
            // True events may stand behind as many false ones as were asked for. But clients that ping one after the other hold
            // nobody beyond his time.
            if left.is_some_and(|left| left.is_zero()) && (!full || rounds >= ROUNDS) {
                return Ok(0);
            }
        }
    }

    /// The data that stands for a registration of `fd`.
    pub(crate) fn token(&self, fd: Fd, registration: &Registration) -> u64 {
        Token { fd, generation: registration.generation.into(), hub: false }.pack(self.magic)
    }

    /// Whether `data` is such data.
    pub(crate) fn is_token(&self, data: u64) -> bool {
        Token::unpack(data, self.magic).is_some()
    }

    /// Gives the events the program's data, drops the false ones, and returns how many are left, at the front.
    #[inline(always)]
    pub(crate) fn translate(&self, epoll_fd: Fd, epoll: &Epoll, events: &mut [epoll_event]) -> usize {
        let mut kept = 0;
        for i in 0..events.len() {
            let Some((event, later)) = events.get(i..).and_then(<[_]>::split_first) else {
                break;
            };
            let given = match Token::unpack(event.u64, self.magic) {
                None => Some(*event),
                Some(token) => self.see((epoll_fd, epoll), token, event.events, later),
            };
            if let (Some(event), Some(place)) = (given, events.get_mut(kept)) {
                *place = event;
                kept += 1;
            }
        }
        kept
    }

    /// Looks behind one event of ours, with those that the kernel gave behind it. Returns what the program gets.
    #[inline(always)]
    fn see(&self, epoll: (Fd, &Epoll), token: Token, reported: u32, later: &[epoll_event]) -> Option<epoll_event> {
        let registration = epoll.1.registered.lock().find(token.fd, token.generation)?;
        let events = match registration.target {
            Slot::Conn(index) if registration.events & EPOLLONESHOT as u32 == 0 => {
                if reported & READ_BITS == 0 {
                    reported
                } else {
                    let named = self.slots.is_conn_at(token.fd, index);
                    let fd = if named { Some(token.fd) } else { self.any_number_of(registration.target) };
                    // No `map_or`, whose closure would be a function of its own.
                    let behind = match fd {
                        Some(fd) => self.behind_conn(fd, index),
                        None => Behind::Something,
                    };
                    let edge = registration.events & EPOLLET as u32 != 0;
                    filter(reported, behind.or_something_if(edge))
                }
            }
            _ => self.see_other(epoll, token, &registration, reported, later),
        };
        (events != 0).then_some(epoll_event { events, u64: registration.data })
    }

    /// The same for what is no connection, or registered for one event. Returns the bits that the program gets.
    #[inline(never)]
    fn see_other(
        &self,
        epoll: (Fd, &Epoll),
        token: Token,
        registration: &Registration,
        reported: u32,
        later: &[epoll_event],
    ) -> u32 {
        let duplicate = |other: &epoll_event| {
            let other = Token::unpack(other.u64, self.magic);
            other.is_some_and(|other| other.fd == token.fd && other.hub != token.hub)
        };
        if matches!(registration.target, Slot::Listener(_)) && later.iter().any(duplicate) {
            // The listener and its hub in one go: the second of them answers for both.
            return 0;
        }
        let events = match registration.target {
            target if self.slots.get(token.fd) != target => reported,
            Slot::Listener(_) => {
                let waits = self.listener(token.fd).is_some_and(|l| self.connection_waits(token.fd, &l));
                let others = if token.hub { 0 } else { reported & !READ_BITS };
                if waits { others | registration.events & READ_BITS } else { others }
            }
            _ => self.filter_fd(token.fd, reported),
        };
        // One that was made under a number which is another file's by now cannot be armed again, by nobody.
        let one_shot =
            registration.events & EPOLLONESHOT as u32 != 0 && self.slots.get(token.fd) == registration.target;
        let stands = !one_shot || self.settle_oneshot(epoll, token, events != 0);
        if stands { events } else { 0 }
    }

    /// A one-shot registration is disarmed by the event that the program gets, and by no other. Returns whether the event
    /// stands.
    ///
    /// Two threads may each have an event of a listener, its own and its hub's: only one of them is given. And another thread may
    /// have armed it again by now: then this event is of the past, and what it tells of will be told once more.
    #[inline(never)]
    fn settle_oneshot(&self, (epoll_fd, epoll): (Fd, &Epoll), token: Token, given: bool) -> bool {
        let listener = self.listener(token.fd);
        let hub = listener.as_ref().and_then(|listener| self.hub_fd(listener));
        // Held across the calls, which do not block: nobody arms it in between.
        let mut registered = epoll.registered.lock();
        let current = registered.get_mut(token.fd).filter(|r| u32::from(r.generation) == token.generation && !r.spent);
        let Some(registration) = current else {
            drop(registered);
            if let Some(listener) = listener {
                self.arm(&mut listener.hub.lock(), 0);
            }
            return false;
        };
        registration.spent = given;
        let events = if given { EPOLLONESHOT as u32 } else { registration.events };
        let set = |fd: Fd, hub: bool| {
            let data = Token { hub, ..token }.pack(self.magic);
            let _ = self.set(epoll_fd, EPOLL_CTL_MOD, fd, Some(epoll_event { events, u64: data }));
        };
        if !given || hub.is_some() {
            set(token.fd, false);
        }
        if let Some(hub) = hub {
            set(hub, true);
        }
        true
    }

    /// What is behind the report that a nested epoll instance has events.
    ///
    /// Looks at the descriptors of ours in it, which takes off the queue what is no payload, until one of them has something
    /// to tell, or the kernel no longer calls the instance ready, or only what is not ours can be the cause.
    pub(crate) fn behind_epoll(&self, fd: Fd, index: u32, nesting: c_int) -> Behind {
        let Some(epoll) = self.epolls.acquire(index) else { return Behind::Something };
        if nesting == 0 {
            return Behind::Something;
        }
        for _ in 0..LOOKS {
            if !self.is_readable(fd) {
                return Behind::Nothing;
            }
            if self.look_inside(&epoll, nesting) == Behind::Something {
                return Behind::Something;
            }
        }
        // Clients flood us with pings: a wait in the instance itself finds out, in its own time.
        Behind::Something
    }

    /// Looks once at what is registered with `epoll`.
    fn look_inside(&self, epoll: &Epoll, nesting: c_int) -> Behind {
        let registered: Vec<(Fd, Registration)> = epoll.registered.lock().latest().collect();
        let event = |(fd, r): &(Fd, Registration)| pollfd { fd: *fd, events: r.events as c_short, revents: 0 };
        let mut polls: Vec<pollfd> = registered.iter().map(event).collect();
        // A closed descriptor is POLLNVAL, no error.
        let _ = self.sys.poll(&mut polls, Some(Duration::ZERO), None);
        let mut ours = false;
        for (poll, (fd, registration)) in polls.iter().zip(registered) {
            let reported = u32::from(poll.revents.cast_unsigned());
            let left = match registration.target {
                target if self.slots.get(fd) != target || poll.revents & POLLNVAL != 0 => continue,
                Slot::Listener(_) => {
                    let Some(listener) = self.listener(fd) else { continue };
                    ours |= self.hub_fd(&listener).is_some_and(|hub| self.is_readable(hub));
                    u32::from(self.connection_waits(fd, &listener))
                }
                Slot::Epoll(index) if reported != 0 => match self.behind_epoll(fd, index, nesting - 1) {
                    Behind::Something => reported,
                    Behind::Nothing | Behind::Unknown => 0,
                },
                _ => self.filter_fd(fd, reported),
            };
            if left != 0 {
                return Behind::Something;
            }
            ours |= reported != 0;
        }
        // Nothing of ours had anything to report: the cause is a descriptor of the program's.
        if ours { Behind::Nothing } else { Behind::Something }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_magic_and_nothing_else() {
        for (fd, generation, hub) in [(0, 0, false), (7, 2047, true), ((1 << 20) - 1, 5, false)] {
            let data = Token { fd, generation, hub }.pack(0xfeed_f00d);
            let back = Token::unpack(data, 0xfeed_f00d).unwrap();
            assert_eq!((back.fd, back.generation, back.hub), (fd, generation, hub));
            assert!(Token::unpack(data, 0xfeed_f00e).is_none());
        }
        assert!(Token::unpack(7, 0xfeed_f00d).is_none());
    }
}
