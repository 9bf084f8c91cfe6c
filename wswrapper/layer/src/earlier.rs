//! Epoll registrations that are older than what is known: of a socket that was no listener then, and of the process that this one
//! was forked from.
//!
//! A registration of a listener needs a token in place of the program's data, and the hub of handshakes beside it. A program may
//! register its socket before listen(2). Recording each registration of each socket would charge all programs for what few do, so
//! the kernel is asked, once for each listener of ours: proc(5) lists the registrations of an epoll instance, with their events and
//! data.
//!
//! After fork(2) both processes have the same epoll instance. The hub of the one means nothing to the other, which would wake for it
//! in vain and could not make it stop. So a child registers its hubs nowhere: it waits for them beside the instance.

use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLEXCLUSIVE, EPOLLONESHOT, POLLIN, epoll_event, pollfd};

use crate::Layer;
use crate::again::again;
use crate::epoll::Epoll;
use crate::ready::READ_BITS;
use crate::registered::Registration;
use crate::slots::Slot;
use crate::sys::{Fd, Result, Sys};
use crate::wait::{Deadline, Limits};

/// One registration, as proc(5) tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    fd: Fd,
    inode: u64,
    events: u32,
    data: u64,
}

/// `tfd: 5 events: 19 data: 5 pos:0 ino:61af sdev:7`, fs/eventpoll.c of Linux. Other lines are none.
fn parse(line: &str) -> Option<Listed> {
    let after = |name: &str| line.split_once(name)?.1.split_ascii_whitespace().next();
    let hex = |name: &str| u64::from_str_radix(after(name)?, 16).ok();
    Some(Listed {
        fd: after("tfd:")?.parse().ok()?,
        inode: hex("ino:")?,
        events: u32::try_from(hex("events:")?).ok()?,
        data: hex("data:")?,
    })
}

impl<S: Sys> Layer<S> {
    /// `fd` has turned out to be a listener of ours: it may have been registered before.
    pub(crate) fn adopt_registrations(&self, fd: Fd) {
        let is_epoll = |fd: &Fd| matches!(self.slots.get(*fd), Slot::Epoll(_));
        for epoll in (0..=self.top.load(Ordering::Relaxed)).filter(is_epoll) {
            let text = self.sys.fdinfo(epoll);
            let inode = self.sys.inode(fd);
            let mut lines = std::str::from_utf8(&text).unwrap_or_default().lines().filter_map(parse);
            // The number may have stood for another file, which lives on elsewhere.
            let Some(found) = lines.find(|listed| listed.fd == fd && Some(listed.inode) == inode) else { continue };
            if self.is_token(found.data) {
                continue;
            }
            let event = Some(epoll_event { events: found.events, u64: found.data });
            let _ = if found.events & EPOLLEXCLUSIVE as u32 != 0 {
                // Which the kernel does not modify.
                self.set(epoll, EPOLL_CTL_DEL, fd, None)
                    .and_then(|()| again(|| self.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event)))
            } else {
                again(|| self.epoll_ctl(epoll, EPOLL_CTL_MOD, fd, event))
            };
        }
    }

    /// epoll_pwait2(2) on an instance of the process that this one was forked from.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait_inherited(
        &self,
        epoll_fd: Fd,
        epoll: &Epoll,
        events: &mut [epoll_event],
        limits: Limits<'_>,
    ) -> Result<usize> {
        let listeners = self.listeners_in(epoll);
        let mut polls = vec![pollfd { fd: epoll_fd, events: POLLIN, revents: 0 }];
        for (fd, _) in &listeners {
            let hub = self.listener(*fd).and_then(|listener| self.hub_fd(&listener));
            polls.push(pollfd { fd: hub.unwrap_or(-1), events: POLLIN, revents: 0 });
        }
        let deadline = Deadline::after(&self.sys, limits.timeout);
        loop {
            let left = deadline.remaining(&self.sys);
            if self.sys.outside(|| self.sys.poll(&mut polls, left, limits.mask))? == 0 {
                return Ok(0);
            }
            let n = self.sys.epoll_wait(epoll_fd, events, Some(Duration::ZERO), None)?;
            let mut kept = self.translate(epoll_fd, epoll, events.get_mut(..n).unwrap_or_default());
            for ((fd, registration), hub) in listeners.iter().zip(polls.iter().skip(1)) {
                let (given, room) = events.split_at_mut_checked(kept).unwrap_or_default();
                let told = given.iter().any(|event| event.u64 == registration.data);
                if hub.revents != 0
                    && !told
                    && let Some(place) = room.first_mut()
                    && self.listener(*fd).is_some_and(|listener| self.connection_waits(*fd, &listener))
                {
                    *place = epoll_event { events: registration.events & READ_BITS, u64: registration.data };
                    kept += 1;
                    self.spend_oneshot(epoll_fd, epoll, *fd);
                }
            }
            if kept > 0 || deadline.remaining(&self.sys).is_some_and(|left| left.is_zero()) {
                return Ok(kept);
            }
        }
    }

    /// What waits for connections in an instance.
    fn listeners_in(&self, epoll: &Epoll) -> Vec<(Fd, Registration)> {
        let registered = epoll.registered.lock();
        let awaited = |fd: Fd, registration: &Registration| {
            matches!(registration.target, Slot::Listener(_))
                && self.slots.get(fd) == registration.target
                && registration.events & READ_BITS != 0
        };
        registered.latest().filter(|(fd, registration)| awaited(*fd, registration)).collect()
    }

    /// A one-shot registration has given its event.
    fn spend_oneshot(&self, epoll_fd: Fd, epoll: &Epoll, fd: Fd) {
        let mut registered = epoll.registered.lock();
        let Some(registration) = registered.get_mut(fd) else { return };
        if registration.events & EPOLLONESHOT as u32 != 0 {
            registration.events = EPOLLONESHOT as u32;
            let event = epoll_event { events: registration.events, u64: self.token(fd, registration) };
            let _ = self.set(epoll_fd, EPOLL_CTL_MOD, fd, Some(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_a_registration() {
        let line = "tfd:        5 events: 4000001d data:     55d0c0ffee07  pos:0 ino:61af sdev:7";
        let listed = Listed { fd: 5, inode: 0x61af, events: 0x4000_001d, data: 0x55d0_c0ff_ee07 };
        assert_eq!(parse(line), Some(listed));
        for other in ["pos:\t0", "flags:\t02", "", "tfd: x events: 1 data: 1 pos:0 ino:1 sdev:1"] {
            assert_eq!(parse(other), None);
        }
    }
}
