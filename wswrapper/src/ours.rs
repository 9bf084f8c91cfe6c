//! What the hooks call for descriptors that concern us: the layer's functions with C's arguments and results.
//!
//! All of them are functions of their own that the hooks jump to, never inlined there.

mod files;
mod messages;
mod raw;
mod stdio;

pub use files::{send_file, splice};
pub use messages::{preadv2, pwritev2, recvmmsg, sendmmsg};
pub use raw::{dispatches, syscall};
pub use stdio::{VaList, fdopen, flush_streams, vdprintf, vdprintf_chk};

use libc::{
    c_int, c_void, epoll_event, fd_set, iovec, msghdr, nfds_t, pollfd, sigset_t, size_t, sockaddr, socklen_t, ssize_t,
    timespec, timeval,
};
use wslayer::Layer;
use wslayer::poll::FdSets;
use wslayer::sys::Errno;
use wslayer::wait::Limits;

use crate::glue::{self, LAYER, call, count, fail, fresh, int, size, unit, watches};
use crate::kernel::Kernel;

pub mod numbers;
pub mod options;

/// A call of the layer; there is one, or no descriptor would concern us.
fn layer<T>(fd: c_int, f: impl FnOnce(&Layer<Kernel>) -> wslayer::sys::Result<T>) -> wslayer::sys::Result<T> {
    match LAYER.get() {
        Some(layer) => call(fd, || f(layer)),
        None => Err(Errno(libc::EBADF)),
    }
}

/// Whether a receive counts its bytes and leaves the buffer, which may not exist, alone: tcp(7).
fn drops(flags: c_int) -> bool {
    flags & (libc::MSG_TRUNC | libc::MSG_OOB | libc::MSG_ERRQUEUE) == libc::MSG_TRUNC
}

/// After bind(2): the socket may have been looked at before it was what it is.
pub fn bound(fd: c_int, result: c_int) -> c_int {
    if result == 0 && !glue::concerns(fd) {
        fresh(fd);
    }
    result
}

/// After listen(2).
#[inline(never)]
pub fn listening(fd: c_int, result: c_int) -> c_int {
    if result == 0 && LAYER.get().is_some() {
        let _ = layer(fd, |layer| {
            layer.listening(fd);
            Ok(())
        });
    }
    result
}

/// Whether accept4(2) knows the flags; it is to refuse them otherwise.
pub fn accept_flags(flags: c_int) -> bool {
    flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0
}

/// accept(2).
///
/// # Safety
/// As for accept(2).
#[inline(never)]
pub unsafe extern "C" fn accept(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { accept4(fd, addr, len, 0) }
}

/// accept4(2).
///
/// # Safety
/// As for accept4(2).
#[inline(never)]
pub unsafe extern "C" fn accept4(fd: c_int, addr: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
    // SAFETY: the caller's promise; a null `len` is EFAULT as in the kernel.
    match (addr.is_null(), unsafe { len.as_ref() }) {
        (false, None) => return fail(Errno(libc::EFAULT)),
        (false, Some(len)) if len.cast_signed() < 0 => return fail(Errno(libc::EINVAL)),
        _ => {}
    }
    int(layer(fd, |layer| layer.accept(fd, flags)).map(|(fd, peer)| {
        // SAFETY: checked above.
        unsafe { glue::put_addr(&peer, addr, len) }
        fd
    }))
}

/// read(2). Of nothing it waits for nothing, other than recv(2).
///
/// # Safety
/// As for read(2).
#[inline(never)]
pub unsafe extern "C" fn read(fd: c_int, buf: *mut c_void, len: size_t) -> ssize_t {
    if len == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { recv(fd, buf, len, 0) }
}

/// readv(2).
///
/// # Safety
/// As for readv(2).
#[inline(never)]
pub unsafe extern "C" fn readv(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t {
    match usize::try_from(n) {
        // SAFETY: the caller's promise.
        Ok(n @ 0..=glue::MAX_IOV) if unsafe { glue::iov_len(iov, n) } == 0 => 0,
        // SAFETY: the caller's promise.
        Ok(n @ 0..=glue::MAX_IOV) => size(layer(fd, |layer| layer.receive(fd, unsafe { glue::bufs_mut(iov, n)? }, 0))),
        _ => fail(Errno(libc::EINVAL)) as ssize_t,
    }
}

/// recv(2).
///
/// # Safety
/// As for recv(2).
#[inline(never)]
pub unsafe extern "C" fn recv(fd: c_int, buf: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    if buf.is_null() && len > 0 && !drops(flags) {
        return fail(Errno(libc::EFAULT)) as ssize_t;
    }
    size(layer(fd, |layer| match drops(flags) {
        true => layer.drop_payload(fd, len, flags),
        // SAFETY: the caller's promise.
        false => layer.receive(fd, &mut [unsafe { glue::buf_mut(buf, len) }], flags),
    }))
}

/// recvfrom(2): TCP names no sender.
///
/// # Safety
/// As for recvfrom(2).
#[inline(never)]
pub unsafe extern "C" fn recvfrom(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    flags: c_int,
    addr: *mut sockaddr,
    addr_len: *mut socklen_t,
) -> ssize_t {
    // SAFETY: the caller's promise.
    let result = unsafe { recv(fd, buf, len, flags) };
    // SAFETY: the caller's promise.
    if let (0.., false, Some(addr_len)) = (result, addr.is_null(), unsafe { addr_len.as_mut() }) {
        *addr_len = 0;
    }
    result
}

/// recvmsg(2): neither a sender nor control data.
///
/// # Safety
/// As for recvmsg(2).
#[inline(never)]
pub unsafe extern "C" fn recvmsg(fd: c_int, msg: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's promise.
    size(unsafe { receive_message(fd, msg, flags) })
}

/// One message of recvmsg(2) or recvmmsg(2).
///
/// # Safety
/// As for recvmsg(2).
unsafe fn receive_message(fd: c_int, msg: *mut msghdr, flags: c_int) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let head = unsafe { msg.as_mut() }.ok_or(Errno(libc::EFAULT))?;
    if head.msg_iovlen > glue::MAX_IOV {
        return Err(Errno(libc::EMSGSIZE));
    }
    let result = layer(fd, |layer| match drops(flags) {
        // SAFETY: the caller's promise.
        true => layer.drop_payload(fd, unsafe { glue::iov_len(head.msg_iov, head.msg_iovlen) }, flags),
        // SAFETY: the caller's promise.
        false => layer.receive(fd, unsafe { glue::bufs_mut(head.msg_iov, head.msg_iovlen)? }, flags),
    });
    if result.is_ok() {
        (head.msg_namelen, head.msg_controllen, head.msg_flags) = (0, 0, 0);
    }
    result
}

/// write(2).
///
/// # Safety
/// As for write(2).
#[inline(never)]
pub unsafe extern "C" fn write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { send(fd, buf, len, 0) }
}

/// writev(2).
///
/// # Safety
/// As for writev(2).
#[inline(never)]
pub unsafe extern "C" fn writev(fd: c_int, iov: *const iovec, n: c_int) -> ssize_t {
    match usize::try_from(n) {
        // SAFETY: the caller's promise.
        Ok(n @ 0..=glue::MAX_IOV) => size(layer(fd, |layer| layer.send(fd, unsafe { glue::bufs(iov, n)? }, 0))),
        _ => fail(Errno(libc::EINVAL)) as ssize_t,
    }
}

/// send(2), and sendto(2), whose address means nothing to a connected socket.
///
/// # Safety
/// As for send(2).
#[inline(never)]
pub unsafe extern "C" fn send(fd: c_int, buf: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    if buf.is_null() && len > 0 {
        return fail(Errno(libc::EFAULT)) as ssize_t;
    }
    // SAFETY: the caller's promise.
    size(layer(fd, |layer| layer.send(fd, &[unsafe { glue::buf(buf, len) }], flags)))
}

/// sendmsg(2), without control data.
///
/// # Safety
/// As for sendmsg(2).
#[inline(never)]
pub unsafe extern "C" fn sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's promise.
    size(unsafe { send_message(fd, msg, flags) })
}

/// One message of sendmsg(2) or sendmmsg(2).
///
/// # Safety
/// As for sendmsg(2).
unsafe fn send_message(fd: c_int, msg: *const msghdr, flags: c_int) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let head = unsafe { msg.as_ref() }.ok_or(Errno(libc::EFAULT))?;
    if head.msg_iovlen > glue::MAX_IOV {
        return Err(Errno(libc::EMSGSIZE));
    }
    // SAFETY: the caller's promise.
    layer(fd, |layer| layer.send(fd, unsafe { glue::bufs(head.msg_iov, head.msg_iovlen)? }, flags))
}

/// select(2): of Linux, which writes back the time that was left.
///
/// # Safety
/// As for select(2).
#[inline(never)]
pub unsafe fn select(nfds: c_int, sets: [*mut fd_set; 3], timeout: *mut timeval) -> c_int {
    let nfds = watches::clamp(nfds);
    // SAFETY: the caller's promise.
    let Ok(time) = (unsafe { glue::timeval_of(timeout) }) else { return fail(Errno(libc::EINVAL)) };
    let limits = Limits { timeout: time, mask: None };
    // SAFETY: the caller's promise.
    let result = layer(-1, |layer| Ok(layer.select(nfds as usize, unsafe { fd_sets(nfds, sets) }, limits)));
    let (result, left) = match result {
        Ok(pair) => pair,
        Err(error) => return fail(error),
    };
    // SAFETY: the caller's promise.
    if let (Some(left), Some(timeout)) = (left, unsafe { timeout.as_mut() }) {
        timeout.tv_sec = left.as_secs().cast_signed();
        timeout.tv_usec = libc::suseconds_t::from(left.subsec_micros());
    }
    count(result)
}

/// pselect(2).
///
/// # Safety
/// As for pselect(2).
#[inline(never)]
pub unsafe fn pselect(nfds: c_int, sets: [*mut fd_set; 3], timeout: *const timespec, mask: *const sigset_t) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { limits(timeout, mask) } {
        // SAFETY: the caller's promise.
        Ok(limits) => count(layer(-1, |layer| layer.select(nfds as usize, unsafe { fd_sets(nfds, sets) }, limits).0)),
        Err(error) => fail(error),
    }
}

/// The sets as the layer takes them.
///
/// # Safety
/// Each is null or has room for `nfds` bits, in whole words.
unsafe fn fd_sets<'a>(nfds: c_int, sets: [*mut fd_set; 3]) -> FdSets<'a> {
    // SAFETY: the caller's promise.
    let [read, write, except] = sets.map(|set| unsafe { watches::words(nfds, set) });
    FdSets { read, write, except }
}

/// poll(2).
///
/// # Safety
/// As for poll(2).
#[inline(never)]
pub unsafe extern "C" fn poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int {
    let limits = Limits { timeout: glue::millis(timeout), mask: None };
    // SAFETY: the caller's promise; not null, since a descriptor among them concerns us.
    let fds = unsafe { std::slice::from_raw_parts_mut(fds, n as usize) };
    count(layer(-1, |layer| layer.poll(fds, limits)))
}

/// ppoll(2).
///
/// # Safety
/// As for ppoll(2).
#[inline(never)]
pub unsafe extern "C" fn ppoll(fds: *mut pollfd, n: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int {
    // SAFETY: the caller's promise; not null, since a descriptor among them concerns us.
    match unsafe { limits(timeout, mask) } {
        Ok(limits) => {
            // SAFETY: as above.
            let fds = unsafe { std::slice::from_raw_parts_mut(fds, n as usize) };
            count(layer(-1, |layer| layer.poll(fds, limits)))
        }
        Err(error) => fail(error),
    }
}

/// After epoll_create(2).
#[inline(never)]
pub fn epoll_created(fd: c_int) -> c_int {
    if fresh(fd) >= 0 && LAYER.get().is_some() {
        let _ = layer(fd, |layer| {
            layer.epoll_created(fd);
            Ok(())
        });
    }
    fd
}

/// epoll_ctl(2).
///
/// # Safety
/// As for epoll_ctl(2).
#[inline(never)]
pub unsafe extern "C" fn epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int {
    // SAFETY: the caller's promise.
    unit(layer(fd, |layer| layer.epoll_ctl(epoll, op, fd, unsafe { event.as_ref() }.copied())))
}

/// epoll_wait(2).
///
/// # Safety
/// As for epoll_wait(2).
#[inline(never)]
pub unsafe extern "C" fn epoll_wait(epoll: c_int, events: *mut epoll_event, n: c_int, timeout: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { epoll_pwait(epoll, events, n, timeout, std::ptr::null()) }
}

/// epoll_pwait(2).
///
/// # Safety
/// As for epoll_pwait(2).
#[inline(never)]
pub unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    n: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's promise.
    let limits = Limits { timeout: glue::millis(timeout), mask: unsafe { mask.as_ref() } };
    // SAFETY: the caller's promise.
    unsafe { wait(epoll, events, n, limits) }
}

/// epoll_pwait2(2).
///
/// # Safety
/// As for epoll_pwait2(2).
#[inline(never)]
pub unsafe extern "C" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    n: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { limits(timeout, mask) } {
        // SAFETY: the caller's promise.
        Ok(limits) => unsafe { wait(epoll, events, n, limits) },
        Err(error) => fail(error),
    }
}

/// epoll_wait(2) in all its forms.
///
/// # Safety
/// `events` is writable for `n` entries.
unsafe fn wait(epoll: c_int, events: *mut epoll_event, n: c_int, limits: Limits<'_>) -> c_int {
    if n <= 0 {
        return fail(Errno(libc::EINVAL));
    }
    if events.is_null() {
        return fail(Errno(libc::EFAULT));
    }
    // SAFETY: the caller's promise.
    let events = unsafe { std::slice::from_raw_parts_mut(events, n as usize) };
    count(layer(-1, |layer| layer.epoll_wait(epoll, events, limits)))
}

/// The limits of a wait.
///
/// # Safety
/// Both pointers are null or readable.
unsafe fn limits<'a>(timeout: *const timespec, mask: *const sigset_t) -> Result<Limits<'a>, Errno> {
    // SAFETY: the caller's promise.
    let (timeout, mask) = unsafe { (glue::timespec_of(timeout), mask.as_ref()) };
    timeout.map(|timeout| Limits { timeout, mask }).map_err(|()| Errno(libc::EINVAL))
}

/// close(2).
#[inline(never)]
pub extern "C" fn close(fd: c_int) -> c_int {
    unit(layer(fd, |layer| layer.close(fd)))
}

/// shutdown(2).
///
/// # Safety
/// None is asked for; the hooks call all of these alike.
#[inline(never)]
pub unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    unit(layer(fd, |layer| layer.shutdown(fd, how)))
}

/// dup(2).
///
/// # Safety
/// As for [`shutdown`].
#[inline(never)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    int(layer(fd, |layer| layer.dup(fd)))
}

/// dup2(2).
///
/// # Safety
/// As for [`shutdown`].
#[inline(never)]
pub unsafe extern "C" fn dup2(old: c_int, new: c_int) -> c_int {
    int(layer(old, |layer| layer.dup_to(old, new, None)))
}

/// dup3(2).
///
/// # Safety
/// As for [`shutdown`].
#[inline(never)]
pub unsafe extern "C" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    int(layer(old, |layer| layer.dup_to(old, new, Some(flags))))
}

/// Whether an fcntl(2) command is of interest.
pub fn copies(command: c_int) -> bool {
    matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC)
}

/// fcntl(2) with such a command.
#[inline(never)]
pub fn fcntl(fd: c_int, command: c_int, arg: *mut c_void, real: impl FnOnce(c_int) -> c_int) -> c_int {
    match glue::concerns(fd) {
        true => int(layer(fd, |layer| layer.dup_above(fd, command, arg as usize as c_int))),
        false => fresh(real(fd)),
    }
}

/// ioctl(2) `FIONREAD`.
///
/// # Safety
/// As for ioctl(2).
#[inline(never)]
pub unsafe fn readable_bytes(fd: c_int, arg: *mut c_void) -> c_int {
    unit(layer(fd, |layer| {
        // SAFETY: the request takes an int.
        let value = unsafe { arg.cast::<c_int>().as_mut() }.ok_or(Errno(libc::EFAULT))?;
        *value = c_int::try_from(layer.readable_bytes(fd)?).unwrap_or(c_int::MAX);
        Ok(())
    }))
}
