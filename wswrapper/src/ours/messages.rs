//! Calls of several messages, and vectors with flags: recvmmsg(2), sendmmsg(2), preadv2(2), pwritev2(2).

use std::time::Duration;

use libc::{c_int, c_uint, iovec, mmsghdr, ssize_t, timespec};
use wslayer::sys::{Errno, Sys};

use super::{layer, receive_message, send_message};
use crate::glue::{self, count, fail, size};

/// The flags of preadv2(2) that mean something to, or are no matter to, a socket; linux/fs.h.
const RWF_SOCKET: c_int =
    libc::RWF_HIPRI | libc::RWF_DSYNC | libc::RWF_SYNC | libc::RWF_NOWAIT | libc::RWF_APPEND | RWF_NOAPPEND;

/// linux/fs.h, since Linux 6.9.
const RWF_NOAPPEND: c_int = 0x20;

/// The flags of preadv2(2) as recv(2) has them.
///
/// # Errors
/// `EOPNOTSUPP` for flags that no socket takes; `EINVAL` for a contradiction.
fn rwf(flags: c_int) -> Result<c_int, Errno> {
    if flags & !RWF_SOCKET != 0 {
        return Err(Errno(libc::EOPNOTSUPP));
    }
    if flags & libc::RWF_APPEND != 0 && flags & RWF_NOAPPEND != 0 {
        return Err(Errno(libc::EINVAL));
    }
    Ok(if flags & libc::RWF_NOWAIT != 0 { libc::MSG_DONTWAIT } else { 0 })
}

/// preadv2(2) with the offset -1.
///
/// # Safety
/// As for preadv2(2).
#[inline(never)]
pub unsafe extern "C" fn preadv2(fd: c_int, iov: *const iovec, n: c_int, flags: c_int) -> ssize_t {
    match (usize::try_from(n), rwf(flags)) {
        // SAFETY: the caller's promise.
        (Ok(n @ 0..=glue::MAX_IOV), Ok(_)) if unsafe { glue::iov_len(iov, n) } == 0 => 0,
        (Ok(n @ 0..=glue::MAX_IOV), Ok(flags)) => {
            // SAFETY: the caller's promise.
            size(layer(fd, |layer| layer.receive(fd, unsafe { glue::bufs_mut(iov, n)? }, flags)))
        }
        (Ok(0..=glue::MAX_IOV), Err(error)) => fail(error) as ssize_t,
        _ => fail(Errno(libc::EINVAL)) as ssize_t,
    }
}

/// pwritev2(2) with the offset -1.
///
/// # Safety
/// As for pwritev2(2).
#[inline(never)]
pub unsafe extern "C" fn pwritev2(fd: c_int, iov: *const iovec, n: c_int, flags: c_int) -> ssize_t {
    match (usize::try_from(n), rwf(flags)) {
        (Ok(n @ 0..=glue::MAX_IOV), Ok(flags)) => {
            // SAFETY: the caller's promise.
            size(layer(fd, |layer| layer.send(fd, unsafe { glue::bufs(iov, n)? }, flags)))
        }
        (Ok(0..=glue::MAX_IOV), Err(error)) => fail(error) as ssize_t,
        _ => fail(Errno(libc::EINVAL)) as ssize_t,
    }
}

/// recvmmsg(2): the time limit counts between messages only, as in the kernel.
///
/// # Safety
/// As for recvmmsg(2).
#[inline(never)]
pub unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    n: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    let Ok(limit) = (unsafe { glue::timespec_of(timeout) }) else { return fail(Errno(libc::EINVAL)) };
    let now = || layer(fd, |layer| Ok(layer.sys().now())).unwrap_or_default();
    let end = limit.map(|limit| now().saturating_add(limit));
    let mut left = limit;
    let mut each = flags & !libc::MSG_WAITFORONE;
    let mut done = 0;
    while done < n {
        // SAFETY: the caller's promise: there are `n` messages.
        let received = unsafe { receive_next(fd, messages, done, each) };
        if let Err(error) = received {
            if done == 0 {
                return fail(error);
            }
            if !matches!(error, Errno(libc::EAGAIN | libc::EINTR | libc::EFAULT | libc::EINVAL | libc::EMSGSIZE)) {
                let _ = layer(fd, |layer| {
                    layer.postpone(fd, error);
                    Ok(())
                });
            }
            break;
        }
        done += 1;
        if flags & libc::MSG_WAITFORONE != 0 {
            each |= libc::MSG_DONTWAIT;
        }
        left = end.map(|end| end.saturating_sub(now()));
        if left == Some(Duration::ZERO) {
            break;
        }
    }
    // SAFETY: the caller's promise.
    if let (1.., Some(left), Some(timeout)) = (done, left, unsafe { timeout.as_mut() }) {
        *timeout = glue::to_timespec(left);
    }
    count(Ok(done as usize))
}

/// Receives the message at `index`.
///
/// # Safety
/// As for recvmmsg(2), with more than `index` messages.
unsafe fn receive_next(fd: c_int, messages: *mut mmsghdr, index: c_uint, flags: c_int) -> Result<(), Errno> {
    if messages.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: the caller's promise.
    unsafe {
        let message = messages.add(index as usize);
        (*message).msg_len = receive_message(fd, &raw mut (*message).msg_hdr, flags)? as c_uint;
    }
    Ok(())
}

/// sendmmsg(2): ends behind the first message of which only a part was sent.
///
/// # Safety
/// As for sendmmsg(2).
#[inline(never)]
pub unsafe extern "C" fn sendmmsg(fd: c_int, messages: *mut mmsghdr, n: c_uint, flags: c_int) -> c_int {
    let mut done = 0;
    while done < (n as usize).min(glue::MAX_IOV) {
        if messages.is_null() {
            return fail(Errno(libc::EFAULT));
        }
        // SAFETY: the caller's promise: there are `n` messages.
        let (message, sent) = unsafe {
            let message = messages.add(done);
            (message, send_message(fd, &raw const (*message).msg_hdr, flags))
        };
        match sent {
            Ok(sent) => {
                // SAFETY: as above; `send_message` has checked the vector.
                let asked = unsafe {
                    (*message).msg_len = sent as c_uint;
                    glue::iov_len((*message).msg_hdr.msg_iov, (*message).msg_hdr.msg_iovlen)
                };
                done += 1;
                if sent < asked {
                    break;
                }
            }
            Err(error) if done == 0 => return fail(error),
            Err(_) => break,
        }
    }
    count(Ok(done))
}
