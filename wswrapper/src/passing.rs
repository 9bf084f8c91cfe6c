//! Descriptors on their way between processes, unix(7): the sockets of a queue ([`wslayer::queue`]), and messages with one descriptor.

use std::mem;
use std::ptr;

use libc::{c_int, c_void, cmsghdr, iovec, msghdr, socklen_t};
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, Fd, Result};

use crate::kernel::SO_COOKIE;

/// Control data with one descriptor: cmsg(3). Its padding is that of `CMSG_SPACE`.
#[repr(C)]
struct Rights {
    header: cmsghdr,
    fd: c_int,
}

/// The length of the control data without that padding, `CMSG_LEN`.
const RIGHTS: usize = mem::offset_of!(Rights, fd) + mem::size_of::<c_int>();

impl Rights {
    fn new(fd: c_int) -> Self {
        // SAFETY: a header of zeros is valid.
        let mut header: cmsghdr = unsafe { mem::zeroed() };
        (header.cmsg_len, header.cmsg_level, header.cmsg_type) = (RIGHTS, libc::SOL_SOCKET, libc::SCM_RIGHTS);
        Rights { header, fd }
    }
}

/// A message of one buffer.
fn message(iov: &mut iovec, control: &mut Rights) -> msghdr {
    // SAFETY: a msghdr of zeros is valid: no name, no buffers, no control data.
    let mut msg: msghdr = unsafe { mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (iov, 1);
    (msg.msg_control, msg.msg_controllen) = (ptr::from_mut(control).cast(), mem::size_of::<Rights>());
    msg
}

/// `AF_UNIX`, `SOCK_SEQPACKET`, close-on-exec.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> Result<(Fd, Fd)> {
    let mut pair: [c_int; 2] = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` has room for the two descriptors.
    unsafe { syscall!(Sysno::socketpair, libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) }.map_err(raw)?;
    Ok((pair[0], pair[1]))
}

fn raw(error: syscalls::Errno) -> Errno {
    Errno(error.into_raw())
}

/// A socket option of the type of `value`.
fn option<T>(fd: Fd, name: c_int, mut value: T) -> Option<T> {
    let mut len = mem::size_of::<T>() as socklen_t;
    let at: *mut c_void = (&raw mut value).cast();
    // SAFETY: `value` has room for the `len` bytes that the kernel may write; all callers ask for a kind of integer.
    unsafe { syscall!(Sysno::getsockopt, fd, libc::SOL_SOCKET, name, at, &raw mut len) }.ok().map(|_| value)
}

/// Which socket `fd` is, if [`pair`] may have made it.
pub fn cookie(fd: Fd) -> Option<u64> {
    let kind = (option::<c_int>(fd, libc::SO_DOMAIN, 0)?, option::<c_int>(fd, libc::SO_TYPE, 0)?);
    if kind == (libc::AF_UNIX, libc::SOCK_SEQPACKET) { option(fd, SO_COOKIE, 0_u64) } else { None }
}

/// Sends `bytes` and the descriptor `passed`.
///
/// # Errors
/// Those of sendmsg(2), which does not wait.
pub fn send(fd: Fd, bytes: &[u8], passed: Fd) -> Result<()> {
    let mut iov = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Rights::new(passed);
    let msg = message(&mut iov, &mut control);
    // SAFETY: `msg` is a message of readable memory, which sendmsg does not write to.
    let sent = unsafe { syscall!(Sysno::sendmsg, fd, &raw const msg, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    sent.map(drop).map_err(raw)
}

/// Receives a message into `buf`. Returns its length, and the descriptor that came along.
///
/// # Errors
/// Those of recvmsg(2), which does not wait.
pub fn receive(fd: Fd, buf: &mut [u8]) -> Result<(usize, Option<Fd>)> {
    let mut iov = iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut control = Rights::new(-1);
    let mut msg = message(&mut iov, &mut control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `msg` is a message of writable memory.
    let len = unsafe { syscall!(Sysno::recvmsg, fd, &raw mut msg, flags) }.map_err(raw)?;
    // What came without a descriptor has left the control data alone.
    Ok((len, (msg.msg_controllen >= RIGHTS && control.fd >= 0).then_some(control.fd)))
}
