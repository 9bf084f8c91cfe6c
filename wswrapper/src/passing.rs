//! Between processes, unix(7): the sockets of a queue ([`wslayer::queue`]), messages with one descriptor, and questions to a companion.

use std::mem;
use std::ptr;

use libc::{c_int, c_void, cmsghdr, iovec, msghdr, sockaddr_un, socklen_t};
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, Fd, Result};

use crate::kernel::SO_COOKIE;

/// Questions that wait for a companion that is busy.
const BACKLOG: c_int = 16;

/// How long, in seconds, a companion is waited for that does not answer: it may be stopped.
const PATIENCE: libc::time_t = 1;

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

/// The address of a name in the abstract namespace, and its length. What exceeds an address is cut.
pub fn abstract_address(name: &[u8]) -> (sockaddr_un, usize) {
    // SAFETY: all zeros is a valid address.
    let mut addr: sockaddr_un = unsafe { mem::zeroed() };
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // A zero byte in front makes the name abstract.
    for (to, from) in addr.sun_path.iter_mut().skip(1).zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let len = mem::offset_of!(sockaddr_un, sun_path) + 1 + name.len();
    (addr, len.min(mem::size_of::<sockaddr_un>()))
}

/// A socket that listens for questions and does not wait: close-on-exec, with the name that `bind` gives it.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listen(bind: impl FnOnce(Fd) -> Result<()>) -> Result<Fd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved.
    let fd = unsafe { syscall!(Sysno::socket, libc::AF_UNIX, kind, 0) }.map_err(raw)? as Fd;
    // SAFETY: no memory is involved.
    let listens = bind(fd).and_then(|()| unsafe { syscall!(Sysno::listen, fd, BACKLOG) }.map_err(raw));
    match listens {
        Ok(_) => Ok(fd),
        Err(error) => {
            close(fd);
            Err(error)
        }
    }
}

/// Asks the process that listens by `name`, and returns the length of its answer. Nothing is believed that is not of this process's user, or
/// of root, since anybody can take a name.
///
/// # Errors
/// Those of the system calls; `EAGAIN` where there is no answer in time; `EPERM` for another user's process.
pub fn ask(name: &[u8], question: &[u8], answer: &mut [u8]) -> Result<usize> {
    // SAFETY: no memory is involved.
    let fd = unsafe { syscall!(Sysno::socket, libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0) }
        .map_err(raw)? as Fd;
    let answered = converse(fd, name, question, answer);
    close(fd);
    answered
}

fn converse(fd: Fd, name: &[u8], question: &[u8], answer: &mut [u8]) -> Result<usize> {
    let (addr, len) = abstract_address(name);
    let patience = libc::timeval { tv_sec: PATIENCE, tv_usec: 0 };
    // SAFETY: every pointer is readable, or the answer's writable, for the length that stands behind it.
    unsafe {
        for name in [libc::SO_SNDTIMEO, libc::SO_RCVTIMEO] {
            let len = mem::size_of_val(&patience);
            syscall!(Sysno::setsockopt, fd, libc::SOL_SOCKET, name, &raw const patience, len).map_err(raw)?;
        }
        again(|| syscall!(Sysno::connect, fd, &raw const addr, len))?;
        let maker = option(fd, libc::SO_PEERCRED, libc::ucred { pid: 0, uid: u32::MAX, gid: 0 });
        if !maker.is_some_and(|maker| maker.uid == 0 || maker.uid == libc::geteuid()) {
            return Err(Errno(libc::EPERM));
        }
        again(|| syscall!(Sysno::sendto, fd, question.as_ptr(), question.len(), libc::MSG_NOSIGNAL, 0, 0))?;
        let (at, len) = (answer.as_mut_ptr(), answer.len());
        again(|| syscall!(Sysno::recvfrom, fd, at, len, 0, 0, 0))
    }
}

/// A system call once more, as long as signals interrupt it.
fn again(f: impl Fn() -> std::result::Result<usize, syscalls::Errno>) -> Result<usize> {
    loop {
        match f() {
            Err(syscalls::Errno::EINTR) => {}
            result => return result.map_err(raw),
        }
    }
}

fn close(fd: Fd) {
    // SAFETY: the descriptor was made in this module, and nobody else knows it.
    let _ = unsafe { syscall!(Sysno::close, fd) };
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
