//! The system calls of a companion. All of the module's unsafe code.
//!
//! The descriptors' open files are shared with other processes, so `O_NONBLOCK` is not touched: each call says by itself that it
//! does not wait.

use std::io::{Error, IoSlice, Result};
use std::mem;
use std::os::fd::RawFd;

use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, c_int};

/// The result of a call that returns -1 and errno.
fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os_error())
}

/// recv(2) without waiting.
pub fn recv(fd: RawFd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `buf` is writable for its length.
    check(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), MSG_DONTWAIT) })
}

/// sendmsg(2) without waiting, and without SIGPIPE.
pub fn send(fd: RawFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    // SAFETY: a msghdr of zeros is valid: no name, no control data.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (bufs.as_ptr().cast_mut().cast(), bufs.len());
    // SAFETY: IoSlice has the layout of iovec, and each is readable; sendmsg does not write to them.
    check(unsafe { libc::sendmsg(fd, &raw const msg, MSG_DONTWAIT | MSG_NOSIGNAL) })
}

/// shutdown(2). A connection that is gone already is shut down well enough.
pub fn shutdown(fd: RawFd, how: c_int) {
    // SAFETY: no memory is involved.
    unsafe { libc::shutdown(fd, how) };
}

/// Bytes that wait to be received, ioctl(2) `FIONREAD`.
pub fn queued(fd: RawFd) -> usize {
    let mut count: c_int = 0;
    // SAFETY: FIONREAD writes an int.
    unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// poll(2) for some descriptors and the events to wait for, with a time in milliseconds, -1 for ever. Returns what it reports of
/// each; of a negative one, nothing.
pub fn poll<const N: usize>(interests: [(RawFd, i16); N], timeout: c_int) -> Result<[i16; N]> {
    let mut fds = interests.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    // SAFETY: `fds` is writable for its length.
    check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) } as isize)?;
    Ok(fds.map(|fd| fd.revents))
}

/// Milliseconds of a clock that never goes back, clock_gettime(2).
pub fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable, and the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Whether `fd` is a socket in the Unix domain that listens: getsockopt(2) `SO_DOMAIN`, `SO_ACCEPTCONN`.
pub fn listens(fd: RawFd) -> bool {
    let option = |name| {
        let mut value = [0; size_of::<c_int>()];
        get_option(fd, libc::SOL_SOCKET, name, &mut value).map(|_| c_int::from_ne_bytes(value))
    };
    matches!((option(libc::SO_DOMAIN), option(libc::SO_ACCEPTCONN)), (Ok(libc::AF_UNIX), Ok(1)))
}

/// accept4(2). It does not wait: the listener is nobody else's, and was made so.
pub fn accept(fd: RawFd) -> Result<RawFd> {
    // SAFETY: the address is not asked for.
    let asker = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    check(asker as isize).map(|_| asker)
}

/// close(2).
pub fn close(fd: RawFd) {
    // SAFETY: the caller has it from `accept`, and does not use it any more.
    unsafe { libc::close(fd) };
}

/// The user at the other end, getsockopt(2) `SO_PEERCRED`.
pub fn user(fd: RawFd) -> Option<libc::uid_t> {
    let mut maker = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `maker` has room for the `len` bytes that the kernel may write.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut maker).cast(), &raw mut len) };
    (result == 0).then_some(maker.uid)
}

/// The user of this process, geteuid(2).
pub fn own_user() -> libc::uid_t {
    // SAFETY: no memory is involved.
    unsafe { libc::geteuid() }
}

/// getsockopt(2). Returns the length of the value.
pub fn get_option(fd: RawFd, level: c_int, name: c_int, value: &mut [u8]) -> Result<usize> {
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `value` is writable for its length.
    check(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) } as isize)?;
    Ok(len as usize)
}

/// setsockopt(2).
pub fn set_option(fd: RawFd, level: c_int, name: c_int, value: &[u8]) -> Result<()> {
    // SAFETY: `value` is readable for its length.
    let result = unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), value.len() as libc::socklen_t) };
    check(result as isize).map(drop)
}

/// The address of the client, to be shown.
pub fn peer(fd: RawFd) -> Option<std::net::SocketAddr> {
    use std::os::fd::FromRawFd;
    // SAFETY: the descriptor stays open, since the stream is not dropped.
    let stream = mem::ManuallyDrop::new(unsafe { std::net::TcpStream::from_raw_fd(fd) });
    stream.peer_addr().ok()
}

/// Leaves what was inherited from the program: its session and terminal, its directory, its signals.
pub fn detach() {
    // SAFETY: no memory of ours is involved but `none`, which sigemptyset initializes.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut none = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
