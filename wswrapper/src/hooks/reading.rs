//! Hooks of what receives.

use crate::glue::is_conn;
use crate::ours;
use libc::{
    c_int, c_uint, c_void, iovec, mmsghdr, msghdr, off_t, off64_t, size_t, sockaddr, socklen_t, ssize_t, timespec,
};
use redhook::{hook, real};

interpose! { unsafe fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t => ws_read {
    if is_conn(fd) { unsafe { ours::read(fd, buf, len) } } else { unsafe { read.next()(fd, buf, len) } }
} }

interpose! { unsafe fn readv(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t => ws_readv {
    if is_conn(fd) { unsafe { ours::readv(fd, iov, n) } } else { unsafe { readv.next()(fd, iov, n) } }
} }

interpose! { unsafe fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t => ws_recv {
    if is_conn(fd) { unsafe { ours::recv(fd, buf, len, flags) } } else { unsafe { recv.next()(fd, buf, len, flags) } }
} }

interpose! { unsafe fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, addr: *mut sockaddr, addr_len: *mut socklen_t) -> ssize_t => ws_recvfrom {
    if is_conn(fd) { unsafe { ours::recvfrom(fd, buf, len, flags, addr, addr_len) } } else { unsafe { recvfrom.next()(fd, buf, len, flags, addr, addr_len) } }
} }

interpose! { unsafe fn recvmsg(fd: c_int, msg: *mut msghdr, flags: c_int) -> ssize_t => ws_recvmsg {
    if is_conn(fd) { unsafe { ours::recvmsg(fd, msg, flags) } } else { unsafe { recvmsg.next()(fd, msg, flags) } }
} }

interpose! { unsafe fn recvmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int, timeout: *mut timespec) -> c_int => ws_recvmmsg {
    if is_conn(fd) { unsafe { ours::recvmmsg(fd, messages, n, flags, timeout) } } else { unsafe { recvmmsg.next()(fd, messages, n, flags, timeout) } }
} }

// At an offset other than -1, the current position, the kernel has ESPIPE for a socket by itself.

interpose! { unsafe fn preadv2(fd: c_int, iov: *const iovec, n: c_int, offset: off_t, flags: c_int) -> ssize_t => ws_preadv2 {
    if offset == -1 && is_conn(fd) { unsafe { ours::preadv2(fd, iov, n, flags) } } else { unsafe { preadv2.next()(fd, iov, n, offset, flags) } }
} }

interpose! { unsafe fn preadv64v2(fd: c_int, iov: *const iovec, n: c_int, offset: off64_t, flags: c_int) -> ssize_t => ws_preadv64v2 {
    if offset == -1 && is_conn(fd) { unsafe { ours::preadv2(fd, iov, n, flags) } } else { unsafe { preadv64v2.next()(fd, iov, n, offset, flags) } }
} }

interpose! { unsafe fn __read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t => ws_read_alias {
    if is_conn(fd) { unsafe { ours::read(fd, buf, len) } } else { unsafe { __read.next()(fd, buf, len) } }
} }

// The fortified ones end the program if `len` is more than the buffer has room for: the real one does that.

interpose! { unsafe fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t) -> ssize_t => ws_read_chk {
    if len <= room && is_conn(fd) { unsafe { ours::read(fd, buf, len) } } else { unsafe { __read_chk.next()(fd, buf, len, room) } }
} }

interpose! { unsafe fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t => ws_recv_chk {
    if len <= room && is_conn(fd) { unsafe { ours::recv(fd, buf, len, flags) } } else { unsafe { __recv_chk.next()(fd, buf, len, room, flags) } }
} }

interpose! { unsafe fn __recvfrom_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int, addr: *mut sockaddr, addr_len: *mut socklen_t) -> ssize_t => ws_recvfrom_chk {
    if len <= room && is_conn(fd) { unsafe { ours::recvfrom(fd, buf, len, flags, addr, addr_len) } } else { unsafe { __recvfrom_chk.next()(fd, buf, len, room, flags, addr, addr_len) } }
} }

resolve!(read readv recv recvfrom recvmsg recvmmsg preadv2 preadv64v2 __read __read_chk __recv_chk __recvfrom_chk);
