//! The hooks: one for each libc function that is interposed, in the order of `docs/hooks.md`.
//!
//! Each asks whether a descriptor concerns us, which costs one atomic load, and is then either the real call or a call of
//! the layer.

use libc::{
    c_int, c_ulong, c_void, epoll_event, fd_set, iovec, msghdr, nfds_t, pollfd, sigset_t, size_t,
    sockaddr, socklen_t, ssize_t, timespec, timeval,
};
use redhook::{hook, real};

use crate::glue::{self, call, conn, fresh, int, listener, ours, size, unit};
use wait::{WaitTime, poll_ours, select_ours};

pub mod kernel;
mod wait;

// Listening.

hook! { unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => ws_socket {
    fresh(unsafe { real!(socket)(domain, kind, protocol) })
} }

hook! { unsafe fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int => ws_bind {
    let result = unsafe { real!(bind)(fd, addr, len) };
    // It may have been looked at before it was what it is.
    if ours(fd).is_none() { fresh(fd); }
    result
} }

hook! { unsafe fn listen(fd: c_int, backlog: c_int) -> c_int => ws_listen {
    let result = unsafe { real!(listen)(fd, backlog) };
    if let (0, Some(layer)) = (result, glue::LAYER.get()) { let _ = call(fd, || { layer.listening(fd); Ok(()) }); }
    result
} }

hook! { unsafe fn accept(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int => ws_accept {
    match listener(fd) {
        Some(layer) => unsafe { accept_ours(layer, fd, addr, len, 0) },
        None => fresh(unsafe { real!(accept)(fd, addr, len) }),
    }
} }

hook! { unsafe fn accept4(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int => ws_accept4 {
    match listener(fd) {
        Some(layer) if flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0 => {
            unsafe { accept_ours(layer, fd, addr, len, flags) }
        }
        _ => fresh(unsafe { real!(accept4)(fd, addr, len, flags) }),
    }
} }

// Reading.

hook! { unsafe fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t => ws_read {
    match conn(fd) {
        Some(layer) => size(call(fd, || layer.receive(fd, &mut [unsafe { glue::buf_mut(buf, len) }], 0))),
        None => unsafe { real!(read)(fd, buf, len) },
    }
} }

hook! { unsafe fn readv(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t => ws_readv {
    match conn(fd) {
        Some(layer) if glue::iov_fits(n) => {
            size(call(fd, || layer.receive(fd, unsafe { glue::bufs_mut(iov, n as usize) }, 0)))
        }
        _ => unsafe { real!(readv)(fd, iov, n) },
    }
} }

hook! { unsafe fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t => ws_recv {
    match conn(fd) {
        Some(layer) if drops(flags) => size(call(fd, || layer.drop_payload(fd, len, flags))),
        Some(layer) => size(call(fd, || layer.receive(fd, &mut [unsafe { glue::buf_mut(buf, len) }], flags))),
        None => unsafe { real!(recv)(fd, buf, len, flags) },
    }
} }

hook! { unsafe fn recvfrom(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int, addr: *mut sockaddr,
                           addr_len: *mut socklen_t) -> ssize_t => ws_recvfrom {
    match conn(fd) {
        Some(layer) => {
            let result = call(fd, || match drops(flags) {
                true => layer.drop_payload(fd, len, flags),
                false => layer.receive(fd, &mut [unsafe { glue::buf_mut(buf, len) }], flags),
            });
            // TCP names no sender here.
            if let (Ok(_), false, Some(addr_len)) = (result, addr.is_null(), unsafe { addr_len.as_mut() }) {
                *addr_len = 0;
            }
            size(result)
        }
        None => unsafe { real!(recvfrom)(fd, buf, len, flags, addr, addr_len) },
    }
} }

hook! { unsafe fn recvmsg(fd: c_int, msg: *mut msghdr, flags: c_int) -> ssize_t => ws_recvmsg {
    match (conn(fd), unsafe { msg.as_ref() }) {
        (Some(layer), Some(head)) if head.msg_iovlen <= glue::MAX_IOV && flags & libc::MSG_ERRQUEUE == 0 => {
            let bufs = unsafe { glue::bufs_mut(head.msg_iov, head.msg_iovlen) };
            let result = call(fd, || match drops(flags) {
                true => layer.drop_payload(fd, bufs.iter().map(|buf| buf.len()).sum(), flags),
                false => layer.receive(fd, bufs, flags),
            });
            if result.is_ok() { unsafe { glue::clear_msg(msg) } }
            size(result)
        }
        _ => unsafe { real!(recvmsg)(fd, msg, flags) },
    }
} }

hook! { unsafe fn __read_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t) -> ssize_t => ws_read_chk {
    match conn(fd) {
        Some(_) if len <= room => unsafe { ws_read(fd, buf, len) },
        _ => unsafe { real!(__read_chk)(fd, buf, len, room) },
    }
} }

hook! { unsafe fn __recv_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int) -> ssize_t
        => ws_recv_chk {
    match conn(fd) {
        Some(_) if len <= room => unsafe { ws_recv(fd, buf, len, flags) },
        _ => unsafe { real!(__recv_chk)(fd, buf, len, room, flags) },
    }
} }

hook! { unsafe fn __recvfrom_chk(fd: c_int, buf: *mut c_void, len: size_t, room: size_t, flags: c_int,
                                 addr: *mut sockaddr, addr_len: *mut socklen_t) -> ssize_t => ws_recvfrom_chk {
    match conn(fd) {
        Some(_) if len <= room => unsafe { ws_recvfrom(fd, buf, len, flags, addr, addr_len) },
        _ => unsafe { real!(__recvfrom_chk)(fd, buf, len, room, flags, addr, addr_len) },
    }
} }

// Writing.

hook! { unsafe fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t => ws_write {
    match conn(fd) {
        Some(layer) => size(call(fd, || layer.send(fd, &[unsafe { glue::buf(buf, len) }], 0))),
        None => unsafe { real!(write)(fd, buf, len) },
    }
} }

hook! { unsafe fn writev(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t => ws_writev {
    match conn(fd) {
        Some(layer) if glue::iov_fits(n) => {
            size(call(fd, || layer.send(fd, unsafe { glue::bufs(iov, n as usize) }, 0)))
        }
        _ => unsafe { real!(writev)(fd, iov, n) },
    }
} }

hook! { unsafe fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t => ws_send {
    match conn(fd) {
        Some(layer) => size(call(fd, || layer.send(fd, &[unsafe { glue::buf(buf, len) }], flags))),
        None => unsafe { real!(send)(fd, buf, len, flags) },
    }
} }

hook! { unsafe fn sendto(fd: c_int, buf: *const c_void, len: size_t, flags: c_int, addr: *const sockaddr,
                         addr_len: socklen_t) -> ssize_t => ws_sendto {
    match conn(fd) {
        Some(layer) => size(call(fd, || layer.send(fd, &[unsafe { glue::buf(buf, len) }], flags))),
        None => unsafe { real!(sendto)(fd, buf, len, flags, addr, addr_len) },
    }
} }

hook! { unsafe fn sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t => ws_sendmsg {
    match (conn(fd), unsafe { msg.as_ref() }) {
        (Some(layer), Some(head)) if head.msg_iovlen <= glue::MAX_IOV => {
            size(call(fd, || layer.send(fd, unsafe { glue::bufs(head.msg_iov, head.msg_iovlen) }, flags)))
        }
        _ => unsafe { real!(sendmsg)(fd, msg, flags) },
    }
} }

// Waiting.

hook! { unsafe fn select(nfds: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set,
                         timeout: *mut timeval) -> c_int => ws_select {
    match unsafe { select_ours(nfds, [reads, writes, excepts], WaitTime::Remaining(timeout), std::ptr::null()) } {
        Some(result) => result,
        None => unsafe { real!(select)(nfds, reads, writes, excepts, timeout) },
    }
} }

hook! { unsafe fn pselect(nfds: c_int, reads: *mut fd_set, writes: *mut fd_set, excepts: *mut fd_set,
                          timeout: *const timespec, mask: *const sigset_t) -> c_int => ws_pselect {
    match unsafe { select_ours(nfds, [reads, writes, excepts], WaitTime::Fixed(timeout), mask) } {
        Some(result) => result,
        None => unsafe { real!(pselect)(nfds, reads, writes, excepts, timeout, mask) },
    }
} }

hook! { unsafe fn poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int => ws_poll {
    match unsafe { poll_ours(fds, n, glue::millis(timeout), std::ptr::null()) } {
        Some(result) => result,
        None => unsafe { real!(poll)(fds, n, timeout) },
    }
} }

hook! { unsafe fn ppoll(fds: *mut pollfd, n: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int
        => ws_ppoll {
    let time = unsafe { glue::timespec_of(timeout) };
    match time.ok().and_then(|time| unsafe { poll_ours(fds, n, time, mask) }) {
        Some(result) => result,
        None => unsafe { real!(ppoll)(fds, n, timeout, mask) },
    }
} }

hook! { unsafe fn __poll_chk(fds: *mut pollfd, n: nfds_t, timeout: c_int, room: size_t) -> c_int => ws_poll_chk {
    if wait::fits(n, room) { unsafe { ws_poll(fds, n, timeout) } }
    else { unsafe { real!(__poll_chk)(fds, n, timeout, room) } }
} }

hook! { unsafe fn __ppoll_chk(fds: *mut pollfd, n: nfds_t, timeout: *const timespec, mask: *const sigset_t,
                              room: size_t) -> c_int => ws_ppoll_chk {
    if wait::fits(n, room) { unsafe { ws_ppoll(fds, n, timeout, mask) } }
    else { unsafe { real!(__ppoll_chk)(fds, n, timeout, mask, room) } }
} }

hook! { unsafe fn epoll_create(size_hint: c_int) -> c_int => ws_epoll_create {
    wait::epoll_created(unsafe { real!(epoll_create)(size_hint) })
} }

hook! { unsafe fn epoll_create1(flags: c_int) -> c_int => ws_epoll_create1 {
    wait::epoll_created(unsafe { real!(epoll_create1)(flags) })
} }

hook! { unsafe fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int => ws_epoll_ctl {
    match glue::LAYER.get().filter(|layer| layer.epoll_ctl_concerns(fd)) {
        Some(layer) => unit(call(fd, || layer.epoll_ctl(epoll, op, fd, unsafe { event.as_ref() }.copied()))),
        None => unsafe { real!(epoll_ctl)(epoll, op, fd, event) },
    }
} }

hook! { unsafe fn epoll_wait(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: c_int) -> c_int
        => ws_epoll_wait {
    match unsafe { wait::epoll_ours(epoll, events, n, glue::millis(timeout), std::ptr::null()) } {
        Some(result) => result,
        None => unsafe { real!(epoll_wait)(epoll, events, n, timeout) },
    }
} }

hook! { unsafe fn epoll_pwait(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: c_int,
                              mask: *const sigset_t) -> c_int => ws_epoll_pwait {
    match unsafe { wait::epoll_ours(epoll, events, n, glue::millis(timeout), mask) } {
        Some(result) => result,
        None => unsafe { real!(epoll_pwait)(epoll, events, n, timeout, mask) },
    }
} }

hook! { unsafe fn epoll_pwait2(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: *const timespec,
                               mask: *const sigset_t) -> c_int => ws_epoll_pwait2 {
    let time = unsafe { glue::timespec_of(timeout) };
    match time.ok().and_then(|time| unsafe { wait::epoll_ours(epoll, events, n, time, mask) }) {
        Some(result) => result,
        None => unsafe { real!(epoll_pwait2)(epoll, events, n, timeout, mask) },
    }
} }

// Descriptors.

hook! { unsafe fn close(fd: c_int) -> c_int => ws_close {
    match ours(fd) {
        Some(layer) => unit(call(fd, || layer.close(fd))),
        None => { fresh(fd); unsafe { real!(close)(fd) } }
    }
} }

hook! { unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => ws_shutdown {
    match conn(fd) {
        Some(layer) => unit(call(fd, || layer.shutdown(fd, how))),
        None => unsafe { real!(shutdown)(fd, how) },
    }
} }

hook! { unsafe fn dup(fd: c_int) -> c_int => ws_dup {
    match ours(fd) {
        Some(layer) => int(call(fd, || layer.dup(fd))),
        None => fresh(unsafe { real!(dup)(fd) }),
    }
} }

hook! { unsafe fn dup2(old: c_int, new: c_int) -> c_int => ws_dup2 {
    match ours(old).or_else(|| ours(new)) {
        Some(layer) => int(call(old, || layer.dup_to(old, new, None))),
        None => fresh(unsafe { real!(dup2)(old, new) }),
    }
} }

hook! { unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => ws_dup3 {
    match ours(old).or_else(|| ours(new)) {
        Some(layer) => int(call(old, || layer.dup_to(old, new, Some(flags)))),
        None => fresh(unsafe { real!(dup3)(old, new, flags) }),
    }
} }

// fcntl and ioctl are variadic; their one further argument is a word in a register, passed on whatever it is.

hook! { unsafe fn fcntl(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl {
    fcntl_any(fd, command, arg, |fd, command, arg| unsafe { real!(fcntl)(fd, command, arg) })
} }

hook! { unsafe fn fcntl64(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl64 {
    fcntl_any(fd, command, arg, |fd, command, arg| unsafe { real!(fcntl64)(fd, command, arg) })
} }

hook! { unsafe fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int => ws_ioctl {
    match (ours(fd), request) {
        (Some(layer), libc::FIONREAD) if conn(fd).is_some() && !arg.is_null() => {
            let result = call(fd, || layer.readable_bytes(fd));
            if let Ok(n) = result { unsafe { *arg.cast::<c_int>() = n.min(c_int::MAX as usize) as c_int } }
            int(result.map(|_| 0))
        }
        (Some(layer), libc::FIONBIO) if !arg.is_null() => {
            let result = unsafe { real!(ioctl)(fd, request, arg) };
            if result == 0 { layer.set_nonblocking(fd, unsafe { *arg.cast::<c_int>() } != 0) }
            result
        }
        _ => unsafe { real!(ioctl)(fd, request, arg) },
    }
} }

/// Whether a receive drops its bytes and leaves the buffer, which may not exist, alone: tcp(7).
fn drops(flags: c_int) -> bool {
    flags & (libc::MSG_TRUNC | libc::MSG_PEEK | libc::MSG_OOB | libc::MSG_ERRQUEUE)
        == libc::MSG_TRUNC
}

/// accept4(2) on a listener of ours.
///
/// # Safety
/// As for accept4(2).
unsafe fn accept_ours(
    layer: &wslayer::Layer<kernel::Kernel>,
    fd: c_int,
    addr: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller's promise; a null `len` is EFAULT as in the kernel.
    match (addr.is_null(), unsafe { len.as_ref() }) {
        (false, None) => return glue::fail(wslayer::sys::Errno(libc::EFAULT)),
        (false, Some(len)) if (*len as c_int) < 0 => {
            return glue::fail(wslayer::sys::Errno(libc::EINVAL));
        }
        _ => {}
    }
    let result = call(fd, || layer.accept(fd, flags));
    if let Ok((_, peer)) = &result {
        // SAFETY: checked above.
        unsafe { glue::put_addr(peer, addr, len) }
    }
    int(result.map(|(fd, _)| fd))
}

/// fcntl under both of its names.
fn fcntl_any(
    fd: c_int,
    command: c_int,
    arg: *mut c_void,
    real: impl Fn(c_int, c_int, *mut c_void) -> c_int,
) -> c_int {
    let copies = matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC);
    match ours(fd) {
        Some(layer) if copies || command == libc::F_SETFL => {
            int(call(fd, || layer.fcntl(fd, command, arg as usize as c_int)))
        }
        _ => {
            let result = real(fd, command, arg);
            if copies { fresh(result) } else { result }
        }
    }
}

/// Looks up every real function while that is safe: not in a signal handler, not after vfork(2).
///
/// # Safety
/// None is called; that they exist was asked of the loader.
pub fn resolve() {
    macro_rules! each {
        ($($name:ident)*) => { $(
            // redhook panics on a symbol that libc lacks, and then nobody can call it.
            let _ = std::panic::catch_unwind(|| { let _ = real!($name); });
        )* };
    }
    each!(socket bind listen accept accept4);
    each!(read readv recv recvfrom recvmsg __read_chk __recv_chk __recvfrom_chk);
    each!(write writev send sendto sendmsg);
    each!(select pselect poll ppoll __poll_chk __ppoll_chk);
    each!(epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2);
    each!(close shutdown dup dup2 dup3 fcntl fcntl64 ioctl);
}
