//! Hooks of what sends.

use crate::glue::is_conn;
use crate::leaving;
use crate::ours;
use libc::{c_int, c_void, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use redhook::{hook, real};

interpose! { unsafe fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t => ws_write {
    if is_conn(fd) { unsafe { ours::write(fd, buf, len) } } else { unsafe { write.next()(fd, buf, len) } }
} }

interpose! { unsafe fn writev(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t => ws_writev {
    if is_conn(fd) { unsafe { ours::writev(fd, iov, n) } } else { unsafe { writev.next()(fd, iov, n) } }
} }

interpose! { unsafe fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t => ws_send {
    if is_conn(fd) { unsafe { ours::send(fd, buf, len, flags) } } else { unsafe { send.next()(fd, buf, len, flags) } }
} }

interpose! { unsafe fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, addr: *const sockaddr, addr_len: socklen_t) -> ssize_t => ws_sendto {
    if is_conn(fd) { unsafe { ours::send(fd, buf, len, flags) } } else { unsafe { sendto.next()(fd, buf, len, flags, addr, addr_len) } }
} }

interpose! { unsafe fn sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t => ws_sendmsg {
    if is_conn(fd) { unsafe { ours::sendmsg(fd, msg, flags) } }
    else if unsafe { leaving::has_control(msg) } { unsafe { leaving::sendmsg(fd, msg, flags, sendmsg.next()) } }
    else { unsafe { sendmsg.next()(fd, msg, flags) } }
} }

resolve!(write writev send sendto sendmsg);
