//! Hooks of socket options.

use crate::bridged;
use crate::glue::{concerns, is_conn};
use crate::ours::options;
use libc::{c_int, c_void, socklen_t};
use redhook::{hook, real};

interpose! { unsafe fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> c_int => ws_getsockopt {
    if options::is_asked(level, name) && is_conn(fd) { unsafe { options::error(fd, value, len, || getsockopt.next()(fd, level, name, value, len)) } }
    else { unsafe { bridged::getsockopt(fd, level, name, value, len, getsockopt.next()(fd, level, name, value, len)) } }
} }

interpose! { unsafe fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> c_int => ws_setsockopt {
    if options::is_set(level, name) && concerns(fd) { unsafe { options::set(name, value, len) } }
    else { unsafe { bridged::setsockopt(fd, level, name, value, len, setsockopt.next()(fd, level, name, value, len)) } }
} }

resolve!(getsockopt setsockopt);
