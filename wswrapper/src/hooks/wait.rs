//! What the waiting hooks have in common: is any of the descriptors ours, and if so, the layer's answer.

use std::slice;
use std::time::Duration;

use libc::{c_int, epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};
use wslayer::poll::{FdSets, is_set};
use wslayer::wait::Limits;

use crate::glue::{LAYER, call, count, fail, fresh, timespec_of, timeval_of};

/// The time argument of select or pselect.
#[derive(Clone, Copy)]
pub enum WaitTime {
    /// select(2) of Linux writes back what was left.
    Remaining(*mut timeval),
    /// pselect(2) leaves it alone.
    Fixed(*const timespec),
}

/// Whether `n` entries are what `room` bytes hold, as the fortified calls check.
pub fn fits(n: nfds_t, room: size_t) -> bool {
    room / size_of::<pollfd>() >= n as usize
}

/// poll(2), if any of the descriptors is ours.
///
/// # Safety
/// As for ppoll(2).
pub unsafe fn poll_ours(
    fds: *mut pollfd,
    n: nfds_t,
    timeout: Option<Duration>,
    mask: *const sigset_t,
) -> Option<c_int> {
    let layer = LAYER.get()?;
    if fds.is_null() || n == 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let (fds, mask) = unsafe { (slice::from_raw_parts_mut(fds, n as usize), mask.as_ref()) };
    fds.iter()
        .any(|poll| poll.fd >= 0 && layer.wait_concerns(poll.fd))
        .then(|| count(call(-1, || layer.poll(fds, Limits { timeout, mask }))))
}

/// select(2), if any of the descriptors is ours.
///
/// # Safety
/// As for pselect(2).
pub unsafe fn select_ours(
    nfds: c_int,
    sets: [*mut fd_set; 3],
    time: WaitTime,
    mask: *const sigset_t,
) -> Option<c_int> {
    let layer = LAYER.get()?;
    let nfds = usize::try_from(nfds).ok()?;
    let words = nfds.div_ceil(u64::BITS as usize);
    let [read, write, except] = sets.map(|set| {
        // SAFETY: select takes sets of at least `nfds` bits, in whole words.
        (!set.is_null()).then(|| unsafe { slice::from_raw_parts_mut(set.cast::<u64>(), words) })
    });
    let concerned = (0..nfds).any(|fd| {
        [&read, &write, &except]
            .into_iter()
            .any(|set| set.as_deref().is_some_and(|set| is_set(set, fd)))
            && layer.wait_concerns(fd as c_int)
    });
    if !concerned {
        return None;
    }
    // SAFETY: the caller's promise. What is no valid time is the kernel's to refuse.
    let timeout = match time {
        WaitTime::Remaining(time) => unsafe { timeval_of(time) },
        WaitTime::Fixed(time) => unsafe { timespec_of(time) },
    };
    let timeout = timeout.ok()?;
    // SAFETY: the caller's promise.
    let mask = unsafe { mask.as_ref() };
    let result = call(-1, || {
        Ok(layer.select(
            nfds,
            FdSets {
                read,
                write,
                except,
            },
            Limits { timeout, mask },
        ))
    });
    let (result, left) = match result {
        Ok(pair) => pair,
        Err(error) => return Some(fail(error)),
    };
    if let (WaitTime::Remaining(time), Some(left)) = (time, left) {
        // SAFETY: not null, or there would be no time left to tell of.
        unsafe {
            (*time).tv_sec = left.as_secs() as libc::time_t;
            (*time).tv_usec = libc::suseconds_t::from(left.subsec_micros());
        }
    }
    Some(count(result))
}

/// epoll_wait(2), if the instance is known, as all are that were made in this process.
///
/// # Safety
/// As for epoll_pwait(2).
pub unsafe fn epoll_ours(
    epoll: c_int,
    events: *mut epoll_event,
    n: c_int,
    timeout: Option<Duration>,
    mask: *const sigset_t,
) -> Option<c_int> {
    let layer = LAYER.get().filter(|layer| layer.is_epoll(epoll))?;
    if events.is_null() || n <= 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let (events, mask) = unsafe { (slice::from_raw_parts_mut(events, n as usize), mask.as_ref()) };
    Some(count(call(-1, || {
        layer.epoll_wait(epoll, events, Limits { timeout, mask })
    })))
}

/// Notes a fresh epoll instance.
pub fn epoll_created(fd: c_int) -> c_int {
    fresh(fd);
    if let (true, Some(layer)) = (fd >= 0, LAYER.get()) {
        let _ = call(fd, || {
            layer.epoll_created(fd);
            Ok(())
        });
    }
    fd
}
