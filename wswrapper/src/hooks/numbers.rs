//! Hooks of what makes descriptors that have nothing to do with us, and of what closes many at once.
//!
//! A number may have been closed where no hook sees it: in libc itself, or by a raw system call. Whatever takes the number next
//! must not be taken for what it was.

use crate::glue::{LAYER, fresh};
use crate::ours::numbers::{self, fresh_pair};
use libc::{c_char, c_int, c_uint, mode_t, sigset_t};
use redhook::{hook, real};

interpose! { unsafe fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int => ws_close_range {
    if LAYER.get().is_some() { numbers::close_range(first, last, flags) } else { unsafe { close_range.next()(first, last, flags) } }
} }

interpose! { unsafe fn closefrom(first: c_int) -> () => ws_closefrom {
    if LAYER.get().is_some() { numbers::closefrom(first) } else { unsafe { closefrom.next()(first) } }
} }

interpose! { unsafe fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int => ws_socketpair {
    unsafe { fresh_pair(pair, socketpair.next()(domain, kind, protocol, pair)) }
} }

interpose! { unsafe fn pipe(pair: *mut c_int) -> c_int => ws_pipe {
    unsafe { fresh_pair(pair, pipe.next()(pair)) }
} }

interpose! { unsafe fn pipe2(pair: *mut c_int, flags: c_int) -> c_int => ws_pipe2 {
    unsafe { fresh_pair(pair, pipe2.next()(pair, flags)) }
} }

// open and its kin are variadic; the mode, where there is one, is a word in a register, passed on whatever it is.

interpose! { unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => ws_open {
    fresh(unsafe { open.next()(path, flags, mode) })
} }

interpose! { unsafe fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => ws_open64 {
    fresh(unsafe { open64.next()(path, flags, mode) })
} }

interpose! { unsafe fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => ws_openat {
    fresh(unsafe { openat.next()(dir, path, flags, mode) })
} }

interpose! { unsafe fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => ws_openat64 {
    fresh(unsafe { openat64.next()(dir, path, flags, mode) })
} }

interpose! { unsafe fn __open_2(path: *const c_char, flags: c_int) -> c_int => ws_open_2 {
    fresh(unsafe { __open_2.next()(path, flags) })
} }

interpose! { unsafe fn __open64_2(path: *const c_char, flags: c_int) -> c_int => ws_open64_2 {
    fresh(unsafe { __open64_2.next()(path, flags) })
} }

interpose! { unsafe fn __openat_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int => ws_openat_2 {
    fresh(unsafe { __openat_2.next()(dir, path, flags) })
} }

interpose! { unsafe fn __openat64_2(dir: c_int, path: *const c_char, flags: c_int) -> c_int => ws_openat64_2 {
    fresh(unsafe { __openat64_2.next()(dir, path, flags) })
} }

interpose! { unsafe fn creat(path: *const c_char, mode: mode_t) -> c_int => ws_creat {
    fresh(unsafe { creat.next()(path, mode) })
} }

interpose! { unsafe fn creat64(path: *const c_char, mode: mode_t) -> c_int => ws_creat64 {
    fresh(unsafe { creat64.next()(path, mode) })
} }

interpose! { unsafe fn eventfd(count: c_uint, flags: c_int) -> c_int => ws_eventfd {
    fresh(unsafe { eventfd.next()(count, flags) })
} }

interpose! { unsafe fn timerfd_create(clock: c_int, flags: c_int) -> c_int => ws_timerfd_create {
    fresh(unsafe { timerfd_create.next()(clock, flags) })
} }

interpose! { unsafe fn signalfd(fd: c_int, mask: *const sigset_t, flags: c_int) -> c_int => ws_signalfd {
    fresh(unsafe { signalfd.next()(fd, mask, flags) })
} }

interpose! { unsafe fn memfd_create(name: *const c_char, flags: c_uint) -> c_int => ws_memfd_create {
    fresh(unsafe { memfd_create.next()(name, flags) })
} }

interpose! { unsafe fn inotify_init() -> c_int => ws_inotify_init {
    fresh(unsafe { inotify_init.next()() })
} }

interpose! { unsafe fn inotify_init1(flags: c_int) -> c_int => ws_inotify_init1 {
    fresh(unsafe { inotify_init1.next()(flags) })
} }

resolve!(close_range closefrom socketpair pipe pipe2 open open64 openat openat64 __open_2 __open64_2 __openat_2 __openat64_2 creat creat64 eventfd timerfd_create signalfd memfd_create inotify_init inotify_init1);
