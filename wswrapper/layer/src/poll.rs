//! poll(2) and ppoll(2), select(2) and pselect(2), with descriptors of ours among the others.

use libc::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use libc::{c_int, c_short, pollfd};

use crate::Layer;
use crate::slots::Slot;
use crate::sys::{Errno, Fd, Result, Sys};
use crate::wait::{Deadline, Limits};

/// Descriptors that a wait serves without allocating.
const FEW: usize = 32;

/// What select's sets ask of poll, and what of poll's answer puts a descriptor into them: fs/select.c of Linux.
const READ_SET: c_short = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
const WRITE_SET: c_short = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
const EXCEPT_SET: c_short = POLLPRI;

/// Bits of one word of an fd_set.
const WORD: usize = u64::BITS as usize;

/// The sets of select(2), each of at least `nfds` bits.
pub struct FdSets<'a> {
    /// Readable.
    pub read: Option<&'a mut [u64]>,
    /// Writable.
    pub write: Option<&'a mut [u64]>,
    /// Exceptional.
    pub except: Option<&'a mut [u64]>,
}

impl<S: Sys> Layer<S> {
    /// Whether a wait for `fd` needs a look: it is ours, or nobody has looked yet.
    pub fn wait_concerns(&self, fd: Fd) -> bool {
        match self.slots.get(fd) {
            Slot::Plain | Slot::OtherListener | Slot::Private => false,
            Slot::Conn(_) | Slot::Listener(_) | Slot::Epoll(_) => true,
            Slot::Unknown => self.may_listen(fd),
        }
    }

    /// ppoll(2) with at least one descriptor of ours.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn poll(&self, fds: &mut [pollfd], limits: Limits<'_>) -> Result<usize> {
        let mut few = [pollfd { fd: -1, events: 0, revents: 0 }; FEW];
        let listeners = fds.iter().filter(|poll| matches!(self.slots.get(poll.fd), Slot::Listener(_))).count();
        if listeners == 0 {
            return self.poll_with_hubs(fds, 0, limits);
        }
        // Places that are not used are left out: an array for every number that there may be has no room for a further one.
        let used = fds.iter().filter(|poll| poll.fd >= 0).count();
        let mut many;
        let work = match few.get_mut(..used + listeners) {
            Some(work) => work,
            None => {
                many = vec![pollfd { fd: -1, events: 0, revents: 0 }; used + listeners];
                &mut many
            }
        };
        let (own, hubs) = work.split_at_mut(used);
        for (own, poll) in own.iter_mut().zip(fds.iter().filter(|poll| poll.fd >= 0)) {
            *own = *poll;
        }
        let listening = fds.iter().filter(|poll| matches!(self.slots.get(poll.fd), Slot::Listener(_)));
        for (hub, poll) in hubs.iter_mut().zip(listening) {
            // Only who asks for connections is woken by handshakes.
            if poll.events & (POLLIN | POLLRDNORM) != 0 {
                let fd = self.listener(poll.fd).and_then(|listener| self.hub_fd(&listener));
                *hub = pollfd { fd: fd.unwrap_or(-1), events: POLLIN, revents: 0 };
            }
        }
        let result = self.poll_with_hubs(work, listeners, limits);
        let mut answers = work.iter();
        for poll in fds.iter_mut() {
            let answer = if poll.fd < 0 { None } else { answers.next() };
            poll.revents = answer.map_or(0, |answer| answer.revents);
        }
        result
    }

    /// Waits until something of `fds`, the last `hubs` of which are our own, is truly ready.
    fn poll_with_hubs(&self, fds: &mut [pollfd], hubs: usize, limits: Limits<'_>) -> Result<usize> {
        self.ring();
        let deadline = Deadline::after(&self.sys, limits.timeout);
        let own = fds.len().saturating_sub(hubs);
        loop {
            if self.sys.outside(|| self.sys.poll(fds, deadline.remaining(&self.sys), limits.mask))? == 0 {
                return Ok(0);
            }
            let (own, hubs) = fds.split_at_mut(own);
            let woken = hubs.iter().any(|hub| hub.revents != 0);
            let mut ready = 0;
            for poll in own {
                if poll.fd < 0 {
                    continue;
                }
                poll.revents = match self.slots.get(poll.fd) {
                    Slot::Listener(_) if poll.revents & (POLLIN | POLLRDNORM) != 0 || woken => {
                        let waits = self.listener(poll.fd).is_some_and(|l| self.connection_waits(poll.fd, &l));
                        let input = if waits { poll.events & (POLLIN | POLLRDNORM) } else { 0 };
                        poll.revents & !(POLLIN | POLLRDNORM) | input
                    }
                    _ => self.filter_fd(poll.fd, poll.revents as u16 as u32) as c_short,
                };
                ready += usize::from(poll.revents != 0);
            }
            if ready > 0 || deadline.remaining(&self.sys).is_some_and(|left| left.is_zero()) {
                return Ok(ready);
            }
        }
    }

    /// pselect(2) with at least one descriptor of ours, by way of poll: our own descriptors may be beyond what an fd_set
    /// holds. Returns the number of bits set and the time that was left.
    ///
    /// # Errors
    /// Those of select(2).
    pub fn select(
        &self,
        nfds: usize,
        sets: FdSets<'_>,
        limits: Limits<'_>,
    ) -> (Result<usize>, Option<std::time::Duration>) {
        let deadline = Deadline::after(&self.sys, limits.timeout);
        let mut polls = Vec::new();
        let mut few = [pollfd { fd: -1, events: 0, revents: 0 }; FEW];
        let mut count = 0;
        for fd in 0..nfds {
            let mut events = 0;
            for (set, bits) in [(&sets.read, READ_SET), (&sets.write, WRITE_SET), (&sets.except, EXCEPT_SET)] {
                if set.as_deref().is_some_and(|set| is_set(set, fd)) {
                    events |= bits;
                }
            }
            if events == 0 {
                continue;
            }
            let poll = pollfd { fd: fd as c_int, events, revents: 0 };
            match few.get_mut(count) {
                Some(place) if polls.is_empty() => *place = poll,
                _ => {
                    if polls.is_empty() {
                        polls.extend_from_slice(&few);
                    }
                    polls.push(poll);
                }
            }
            count += 1;
        }
        let fds = if polls.is_empty() { few.get_mut(..count).unwrap_or_default() } else { &mut polls };
        let result = self.poll(fds, limits);
        let left = deadline.remaining(&self.sys);
        if result.is_ok() && fds.iter().any(|poll| poll.revents & POLLNVAL != 0) {
            return (Err(Errno(libc::EBADF)), left);
        }
        (result.map(|_| answer(nfds, sets, fds)), left)
    }
}

/// Writes poll's answer into the sets; returns how many bits are set.
fn answer(nfds: usize, sets: FdSets<'_>, fds: &[pollfd]) -> usize {
    let mut bits = 0;
    let sets =
        [(sets.read, POLLRDNORM, READ_SET), (sets.write, POLLWRNORM, WRITE_SET), (sets.except, POLLPRI, EXCEPT_SET)];
    for (set, asked, mask) in sets {
        let Some(set) = set else { continue };
        // Whole words, as the kernel does.
        set.iter_mut().take(nfds.div_ceil(WORD)).for_each(|word| *word = 0);
        for poll in fds {
            if poll.events & asked != 0
                && poll.revents & mask != 0
                && let Some(word) = set.get_mut(poll.fd as usize / WORD)
            {
                *word |= 1 << (poll.fd as usize % WORD);
                bits += 1;
            }
        }
    }
    bits
}

/// Whether `fd` is in the set.
pub fn is_set(set: &[u64], fd: usize) -> bool {
    set.get(fd / WORD).is_some_and(|word| word >> (fd % WORD) & 1 != 0)
}
