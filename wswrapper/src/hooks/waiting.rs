//! Hooks of what waits.

use crate::glue::watches;
use crate::ours;
use libc::{c_int, epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};
use redhook::{hook, real};

interpose! { unsafe fn select(nfds: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *mut timeval) -> c_int => ws_select {
    if unsafe { watches::sets(nfds, [reads, writes, excepts]) } { unsafe { ours::select(nfds, [reads, writes, excepts], timeout) } } else { unsafe { select.next()(nfds, reads, writes, excepts, timeout) } }
} }

interpose! { unsafe fn pselect(nfds: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int => ws_pselect {
    if unsafe { watches::sets(nfds, [reads, writes, excepts]) } { unsafe { ours::pselect(nfds, [reads, writes, excepts], timeout, mask) } } else { unsafe { pselect.next()(nfds, reads, writes, excepts, timeout, mask) } }
} }

interpose! { unsafe fn poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int => ws_poll {
    if unsafe { watches::fds(fds, n) } { unsafe { ours::poll(fds, n, timeout) } } else { unsafe { poll.next()(fds, n, timeout) } }
} }

interpose! { unsafe fn ppoll(fds: *mut pollfd, n: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int => ws_ppoll {
    if unsafe { watches::fds(fds, n) } { unsafe { ours::ppoll(fds, n, timeout, mask) } } else { unsafe { ppoll.next()(fds, n, timeout, mask) } }
} }

interpose! { unsafe fn __poll_chk(fds: *mut pollfd, n: nfds_t, timeout: c_int, room: size_t) -> c_int => ws_poll_chk {
    if watches::fits(n, room) && unsafe { watches::fds(fds, n) } { unsafe { ours::poll(fds, n, timeout) } } else { unsafe { __poll_chk.next()(fds, n, timeout, room) } }
} }

interpose! { unsafe fn __ppoll_chk(fds: *mut pollfd, n: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t) -> c_int => ws_ppoll_chk {
    if watches::fits(n, room) && unsafe { watches::fds(fds, n) } { unsafe { ours::ppoll(fds, n, timeout, mask) } } else { unsafe { __ppoll_chk.next()(fds, n, timeout, mask, room) } }
} }

interpose! { unsafe fn __select(nfds: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set, timeout: *mut timeval) -> c_int => ws_select_alias {
    if unsafe { watches::sets(nfds, [reads, writes, excepts]) } { unsafe { ours::select(nfds, [reads, writes, excepts], timeout) } } else { unsafe { __select.next()(nfds, reads, writes, excepts, timeout) } }
} }

interpose! { unsafe fn __poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int => ws_poll_alias {
    if unsafe { watches::fds(fds, n) } { unsafe { ours::poll(fds, n, timeout) } } else { unsafe { __poll.next()(fds, n, timeout) } }
} }

interpose! { unsafe fn epoll_create(size_hint: c_int) -> c_int => ws_epoll_create {
    ours::epoll_created(unsafe { epoll_create.next()(size_hint) })
} }

interpose! { unsafe fn epoll_create1(flags: c_int) -> c_int => ws_epoll_create1 {
    ours::epoll_created(unsafe { epoll_create1.next()(flags) })
} }

interpose! { unsafe fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int => ws_epoll_ctl {
    if watches::registers(fd) { unsafe { ours::epoll_ctl(epoll, op, fd, event) } } else { unsafe { epoll_ctl.next()(epoll, op, fd, event) } }
} }

interpose! { unsafe fn epoll_wait(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: c_int) -> c_int => ws_epoll_wait {
    if watches::epoll(epoll) { unsafe { ours::epoll_wait(epoll, events, n, timeout) } } else { unsafe { epoll_wait.next()(epoll, events, n, timeout) } }
} }

interpose! { unsafe fn epoll_pwait(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: c_int, mask: *const sigset_t) -> c_int => ws_epoll_pwait {
    if watches::epoll(epoll) { unsafe { ours::epoll_pwait(epoll, events, n, timeout, mask) } } else { unsafe { epoll_pwait.next()(epoll, events, n, timeout, mask) } }
} }

interpose! { unsafe fn epoll_pwait2(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: *const timespec, mask: *const sigset_t) -> c_int => ws_epoll_pwait2 {
    if watches::epoll(epoll) { unsafe { ours::epoll_pwait2(epoll, events, n, timeout, mask) } } else { unsafe { epoll_pwait2.next()(epoll, events, n, timeout, mask) } }
} }

resolve!(select pselect poll ppoll __select __poll __poll_chk __ppoll_chk epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2);
