//! Hooks of what makes connections.

use crate::glue::{accepts, fresh};
use crate::ours;
use crate::rebind;
use libc::{c_int, sockaddr, socklen_t};
use redhook::{hook, real};

interpose! { unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => ws_socket {
    fresh(unsafe { socket.next()(domain, kind, protocol) })
} }

interpose! { unsafe fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int => ws_bind {
    ours::bound(fd, unsafe { rebind::bind(fd, addr, len, bind.next()) })
} }

interpose! { unsafe fn listen(fd: c_int, backlog: c_int) -> c_int => ws_listen {
    ours::listening(fd, unsafe { listen.next()(fd, backlog) })
} }

interpose! { unsafe fn accept(fd: c_int, addr: *mut sockaddr, addr_len: *mut socklen_t) -> c_int => ws_accept {
    if accepts(fd) { unsafe { ours::accept(fd, addr, addr_len) } } else { fresh(unsafe { accept.next()(fd, addr, addr_len) }) }
} }

interpose! { unsafe fn accept4(fd: c_int, addr: *mut sockaddr, addr_len: *mut socklen_t, flags: c_int) -> c_int => ws_accept4 {
    if accepts(fd) && ours::accept_flags(flags) { unsafe { ours::accept4(fd, addr, addr_len, flags) } } else { fresh(unsafe { accept4.next()(fd, addr, addr_len, flags) }) }
} }

resolve!(socket bind listen accept accept4);
