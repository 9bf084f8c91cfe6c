//! The hooks: one for each libc function that is interposed, in the order of `docs/hooks.md`.
//!
//! Each is one expression: the layer's call, in [`crate::ours`], for a descriptor that concerns us, else the real call. That
//! takes one atomic load, and both calls are the last thing that the hook does, so that the compiler makes them jumps: a
//! frame of our own would cost every read of the program several times what the load does.

// SAFETY, for every `unsafe` below: a hook passes on the arguments that the program gave to the function of that name,
// unchanged, so the program has made the promises that the function asks for.
#![allow(clippy::undocumented_unsafe_blocks, reason = "one reason holds for all hooks, and is written above")]

use libc::{
    c_int, c_ulong, c_void, epoll_event, fd_set, iovec, msghdr, nfds_t, pollfd, sigset_t, size_t, sockaddr, socklen_t,
    ssize_t, timespec, timeval,
};
use redhook::{hook, real};
use std::mem::transmute;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::glue::{accepts, concerns, fresh, is_conn, watches};
use crate::ours;

pub mod kernel;

/// A hook, and `next()` for the real function behind it.
///
/// redhook finds the real function (`real!`), by way of a check for the first call that takes a stack frame; `next()` is
/// a pointer that is first a function which asks redhook, and then what redhook said.
macro_rules! interpose {
    (unsafe fn $name:ident ( $($arg:ident : $type:ty),* ) -> $result:ty => $hook:ident $body:block) => {
        hook! { unsafe fn $name($($arg: $type),*) -> $result => $hook $body }

        impl $name {
            #[inline(always)]
            fn next(&self) -> unsafe extern "C" fn($($type),*) -> $result {
                unsafe { transmute(self.place().load(Ordering::Relaxed)) }
            }

            #[inline(always)]
            fn place(&self) -> &'static AtomicPtr<c_void> {
                unsafe extern "C" fn first($($arg: $type),*) -> $result {
                    $name.resolve();
                    unsafe { real!($name)($($arg),*) }
                }
                static NEXT: AtomicPtr<c_void> = AtomicPtr::new(first as *const c_void as *mut c_void);
                &NEXT
            }

            fn resolve(&self) {
                // redhook panics on a symbol that libc lacks, and then nobody can call it.
                if let Ok(real) = catch_unwind(|| real!($name)) {
                    self.place().store(real as *mut c_void, Ordering::Relaxed);
                }
            }
        }
    };
}

// Listening.

interpose! { unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => ws_socket {
    fresh(unsafe { socket.next()(domain, kind, protocol) })
} }

interpose! { unsafe fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int => ws_bind {
    ours::bound(fd, unsafe { bind.next()(fd, addr, len) })
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

// Reading.

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

// Writing.

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
    if is_conn(fd) { unsafe { ours::sendmsg(fd, msg, flags) } } else { unsafe { sendmsg.next()(fd, msg, flags) } }
} }

// Waiting.

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

// Descriptors.

interpose! { unsafe fn close(fd: c_int) -> c_int => ws_close {
    if concerns(fd) { ours::close(fd) } else { unsafe { close.next()(fresh(fd)) } }
} }

interpose! { unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => ws_shutdown {
    if is_conn(fd) { unsafe { ours::shutdown(fd, how) } } else { unsafe { shutdown.next()(fd, how) } }
} }

interpose! { unsafe fn dup(fd: c_int) -> c_int => ws_dup {
    if concerns(fd) { unsafe { ours::dup(fd) } } else { fresh(unsafe { dup.next()(fd) }) }
} }

interpose! { unsafe fn dup2(old: c_int, new: c_int) -> c_int => ws_dup2 {
    if concerns(old) || concerns(new) { unsafe { ours::dup2(old, new) } } else { fresh(unsafe { dup2.next()(old, new) }) }
} }

interpose! { unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => ws_dup3 {
    if concerns(old) || concerns(new) { unsafe { ours::dup3(old, new, flags) } } else { fresh(unsafe { dup3.next()(old, new, flags) }) }
} }

// fcntl and ioctl are variadic; their one further argument is a word in a register, passed on whatever it is.

interpose! { unsafe fn fcntl(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl {
    if ours::copies_or_sets(command) { ours::fcntl(fd, command, arg, |fd| unsafe { fcntl.next()(fd, command, arg) }) }
    else { unsafe { fcntl.next()(fd, command, arg) } }
} }

interpose! { unsafe fn fcntl64(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl64 {
    if ours::copies_or_sets(command) { ours::fcntl(fd, command, arg, |fd| unsafe { fcntl64.next()(fd, command, arg) }) }
    else { unsafe { fcntl64.next()(fd, command, arg) } }
} }

interpose! { unsafe fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int => ws_ioctl {
    if matches!(request, libc::FIONREAD | libc::FIONBIO) && concerns(fd) {
        unsafe { ours::ioctl(fd, request, arg, |fd| ioctl.next()(fd, request, arg)) }
    } else {
        unsafe { ioctl.next()(fd, request, arg) }
    }
} }

/// Looks up every real function while that is safe: not in a signal handler, not after vfork(2).
pub fn resolve() {
    macro_rules! each {
        ($($name:ident)*) => { $( $name.resolve(); )* };
    }
    each!(socket bind listen accept accept4);
    each!(read readv recv recvfrom recvmsg __read_chk __recv_chk __recvfrom_chk);
    each!(write writev send sendto sendmsg);
    each!(select pselect poll ppoll __poll_chk __ppoll_chk);
    each!(epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2);
    each!(close shutdown dup dup2 dup3 fcntl fcntl64 ioctl);
}
