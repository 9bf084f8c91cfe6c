//! Hooks of what sends.

use crate::glue::is_conn;
use crate::leaving;
use crate::ours;
use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, off_t, off64_t, size_t, sockaddr, socklen_t, ssize_t};
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

interpose! { unsafe fn sendmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int) -> c_int => ws_sendmmsg {
    if is_conn(fd) { unsafe { ours::sendmmsg(fd, messages, n, flags) } }
    else { unsafe { leaving::before_sendmmsg(messages, n); sendmmsg.next()(fd, messages, n, flags) } }
} }

// At an offset other than -1, the current position, the kernel has ESPIPE for a socket by itself.

interpose! { unsafe fn pwritev2(fd: c_int, iov: *const iovec, n: c_int, offset: off_t, flags: c_int) -> ssize_t => ws_pwritev2 {
    if offset == -1 && is_conn(fd) { unsafe { ours::pwritev2(fd, iov, n, flags) } } else { unsafe { pwritev2.next()(fd, iov, n, offset, flags) } }
} }

interpose! { unsafe fn pwritev64v2(fd: c_int, iov: *const iovec, n: c_int, offset: off64_t, flags: c_int) -> ssize_t => ws_pwritev64v2 {
    if offset == -1 && is_conn(fd) { unsafe { ours::pwritev2(fd, iov, n, flags) } } else { unsafe { pwritev64v2.next()(fd, iov, n, offset, flags) } }
} }

// From a wrapped descriptor the kernel's own sendfile fills a pipe, and splice any pipe: with frames.

interpose! { unsafe fn sendfile(fd: c_int, file: c_int, offset: *mut off_t, count: size_t) -> ssize_t => ws_sendfile {
    if is_conn(fd) || is_conn(file) { unsafe { ours::send_file(fd, file, offset, count) } } else { unsafe { sendfile.next()(fd, file, offset, count) } }
} }

interpose! { unsafe fn sendfile64(fd: c_int, file: c_int, offset: *mut off64_t, count: size_t) -> ssize_t => ws_sendfile64 {
    if is_conn(fd) || is_conn(file) { unsafe { ours::send_file(fd, file, offset, count) } } else { unsafe { sendfile64.next()(fd, file, offset, count) } }
} }

interpose! { unsafe fn splice(from: c_int, from_offset: *mut off64_t, to: c_int, to_offset: *mut off64_t, len: size_t, flags: c_uint) -> ssize_t => ws_splice {
    if is_conn(from) || is_conn(to) { unsafe { ours::splice(from, from_offset, to, to_offset, len, flags) } } else { unsafe { splice.next()(from, from_offset, to, to_offset, len, flags) } }
} }

interpose! { unsafe fn __write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t => ws_write_alias {
    if is_conn(fd) { unsafe { ours::write(fd, buf, len) } } else { unsafe { __write.next()(fd, buf, len) } }
} }

interpose! { unsafe fn __send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t => ws_send_alias {
    if is_conn(fd) { unsafe { ours::send(fd, buf, len, flags) } } else { unsafe { __send.next()(fd, buf, len, flags) } }
} }

resolve!(write writev send sendto sendmsg sendmmsg pwritev2 pwritev64v2 sendfile sendfile64 splice __write __send);
