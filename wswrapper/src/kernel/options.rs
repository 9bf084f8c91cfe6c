//! Socket options and addresses, getsockopt(2), setsockopt(2), getsockname(2).

use std::mem::{self, MaybeUninit};
use std::net::SocketAddr;
use std::time::Duration;

use libc::{c_int, sockaddr_storage, socklen_t};
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, Fd, PeerAddr, Result};

/// From asm-generic/socket.h; the libc crate does not have it for this target.
pub const SO_COOKIE: c_int = 57;

/// An integer socket option.
fn get(fd: Fd, level: c_int, name: c_int) -> Result<c_int> {
    let (mut value, mut len) = (0 as c_int, mem::size_of::<c_int>() as socklen_t);
    // SAFETY: `value` has room for the `len` bytes that the kernel may write.
    unsafe { call!(getsockopt, fd, level, name, &raw mut value, &raw mut len) }.map(|_| value)
}

/// The address that `name`, getsockname or getpeername, tells of a socket, as much as an internet address takes.
pub fn address(name: Sysno, fd: Fd) -> Option<SocketAddr> {
    let mut addr = MaybeUninit::<sockaddr_storage>::zeroed();
    let mut len = mem::size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: `addr` has room for the `len` bytes that the kernel may write.
    unsafe { syscall!(name, fd, addr.as_mut_ptr(), &raw mut len) }.ok()?;
    // SAFETY: the storage was zeroed, so all of it is initialized.
    let bytes = unsafe { std::slice::from_raw_parts(addr.as_ptr().cast::<u8>(), 28) };
    PeerAddr::new(bytes).socket_addr()
}

/// An integer socket option to be set.
pub fn set(fd: Fd, level: c_int, name: c_int, value: c_int) -> Result<()> {
    let len = mem::size_of::<c_int>() as socklen_t;
    // SAFETY: the option is an int, and `value` is one.
    unsafe { call!(setsockopt, fd, level, name, &raw const value, len) }.map(drop)
}

/// `SO_RCVTIMEO` or `SO_SNDTIMEO`; `None` when there is no limit.
pub fn time_limit(fd: Fd, name: c_int) -> Option<Duration> {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut len = mem::size_of::<libc::timeval>() as socklen_t;
    // SAFETY: the option is a timeval, and `time` is one.
    unsafe { call!(getsockopt, fd, libc::SOL_SOCKET, name, &raw mut time, &raw mut len) }.ok()?;
    let limit = Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs());
    (!limit.is_zero()).then_some(limit)
}

/// See [`wslayer::sys::Sys::send_queue`].
pub fn send_queue(fd: Fd) -> Result<(usize, usize)> {
    // linux/sock_diag.h: SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED of nine values.
    let mut info = [0_u32; 9];
    let mut len = mem::size_of_val(&info) as socklen_t;
    // SAFETY: `info` has room for the `len` bytes that the kernel may write.
    unsafe { call!(getsockopt, fd, libc::SOL_SOCKET, libc::SO_MEMINFO, info.as_mut_ptr(), &raw mut len) }?;
    let [_, _, _, limit, _, queued, ..] = info;
    Ok((queued as usize, limit as usize))
}

/// See [`wslayer::sys::Sys::closes_its_own_way`].
pub fn closes_its_own_way(fd: Fd) -> bool {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let mut len = mem::size_of::<libc::linger>() as socklen_t;
    // SAFETY: the option is a linger, and `linger` is one.
    let result = unsafe { call!(getsockopt, fd, libc::SOL_SOCKET, libc::SO_LINGER, &raw mut linger, &raw mut len) };
    result.is_err() || linger.l_onoff != 0
}

/// See [`wslayer::sys::Sys::listening_port`].
pub fn listening_port(fd: Fd) -> Option<u16> {
    let listens = get(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN).ok()? != 0;
    if !listens || get(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL).ok()? != libc::IPPROTO_TCP {
        return None;
    }
    address(Sysno::getsockname, fd).map(|addr| addr.port())
}

/// See [`wslayer::sys::Sys::defer_accept`].
pub fn defer_accept(fd: Fd, time: Duration) -> Result<()> {
    if get(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)? != 0 {
        return Ok(());
    }
    let secs = c_int::try_from(time.as_secs()).unwrap_or(c_int::MAX);
    set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, secs)
}

/// See [`wslayer::sys::Sys::cookie`].
pub fn cookie(fd: Fd) -> Option<u64> {
    if get(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL).ok()? != libc::IPPROTO_TCP {
        return None;
    }
    let (mut value, mut len) = (0_u64, mem::size_of::<u64>() as socklen_t);
    // SAFETY: `value` has room for the `len` bytes that the kernel may write.
    unsafe { call!(getsockopt, fd, libc::SOL_SOCKET, SO_COOKIE, &raw mut value, &raw mut len) }.ok()?;
    Some(value)
}

/// Gives the socket `to` the time limits of `from`.
pub fn copy_time_limits(from: Fd, to: Fd) {
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let mut len = mem::size_of::<libc::timeval>() as socklen_t;
        // SAFETY: the options are timevals, and `time` is one.
        let _ = unsafe {
            call!(getsockopt, from, libc::SOL_SOCKET, name, &raw mut time, &raw mut len)
                .and_then(|_| call!(setsockopt, to, libc::SOL_SOCKET, name, &raw const time, len))
        };
    }
}
