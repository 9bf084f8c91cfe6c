//! Hooks of what a socket is asked about itself: a bridged connection answers as the client's own would.

use crate::leaving;
use libc::{c_int, c_void, sockaddr, socklen_t};
use redhook::{hook, real};

interpose! { unsafe fn getpeername(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int => ws_getpeername {
    unsafe { leaving::address(fd, addr, len, |addresses| addresses.peer, || getpeername.next()(fd, addr, len)) }
} }

interpose! { unsafe fn getsockname(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int => ws_getsockname {
    unsafe { leaving::address(fd, addr, len, |addresses| addresses.local, || getsockname.next()(fd, addr, len)) }
} }

interpose! { unsafe fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int => ws_getsockopt {
    unsafe { leaving::getsockopt(fd, level, name, value, len, getsockopt.next()(fd, level, name, value, len)) }
} }

interpose! { unsafe fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int => ws_setsockopt {
    leaving::setsockopt(fd, level, unsafe { setsockopt.next()(fd, level, name, value, len) })
} }

resolve!(getpeername getsockname getsockopt setsockopt);
