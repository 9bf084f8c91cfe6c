//! Hooks of what a socket is asked about itself: a bridged connection answers as the client's own would.

use crate::bridged;
use libc::{c_int, sockaddr, socklen_t};
use redhook::{hook, real};

interpose! { unsafe fn getpeername(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int => ws_getpeername {
    unsafe { bridged::address(fd, addr, len, |addresses| addresses.peer, || getpeername.next()(fd, addr, len)) }
} }

interpose! { unsafe fn getsockname(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int => ws_getsockname {
    unsafe { bridged::address(fd, addr, len, |addresses| addresses.local, || getsockname.next()(fd, addr, len)) }
} }

resolve!(getpeername getsockname);
