//! A port that is opened elsewhere: for a proxy that listens on it itself (`WSWRAP_REBIND`).

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use wslayer::config::Rebind;

/// bind(2).
type Bind = unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int;

/// ::ffff:127.0.0.1: where a socket for both families gets IPv4 connections.
const MAPPED_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1];

/// The port that is asked for, and in the upper half the one that is opened. Zero: all are opened as asked for.
static PORTS: AtomicU32 = AtomicU32::new(0);

/// Moves that port from here on.
pub fn prepare(rebind: Option<Rebind>) {
    if let Some(Rebind { from, to }) = rebind {
        PORTS.store(u32::from(to) << 16 | u32::from(from), Ordering::Relaxed);
    }
}

/// bind(2) by way of `next`, to the loopback address where the port is the one that moves.
///
/// # Safety
/// As bind(2): `addr` is readable for `len` bytes.
pub unsafe fn bind(fd: c_int, addr: *const sockaddr, len: socklen_t, next: Bind) -> c_int {
    let [from_low, from_high, to_low, to_high] = PORTS.load(Ordering::Relaxed).to_le_bytes();
    let (from, to) = (u16::from_le_bytes([from_low, from_high]), u16::from_le_bytes([to_low, to_high]));
    let len_of = |size: usize| socklen_t::try_from(size).unwrap_or(socklen_t::MAX);
    let (v4, v6) = (len_of(mem::size_of::<sockaddr_in>()), len_of(mem::size_of::<sockaddr_in6>()));
    if from == 0 || addr.is_null() || len < v4 {
        // SAFETY: passed on as it came.
        return unsafe { next(fd, addr, len) };
    }
    // SAFETY: the address is readable for `len` bytes, which hold a family and more.
    match c_int::from(unsafe { addr.read_unaligned() }.sa_family) {
        libc::AF_INET => {
            // SAFETY: it is readable for the size of an IPv4 address, which it is.
            let mut moved = unsafe { addr.cast::<sockaddr_in>().read_unaligned() };
            if moved.sin_port == from.to_be() {
                moved.sin_port = to.to_be();
                moved.sin_addr.s_addr = libc::INADDR_LOOPBACK.to_be();
                // SAFETY: `moved` is an address that lives until after the call.
                return unsafe { next(fd, (&raw const moved).cast(), v4) };
            }
        }
        libc::AF_INET6 if len >= v6 => {
            // SAFETY: it is readable for the size of an IPv6 address, which it is.
            let mut moved = unsafe { addr.cast::<sockaddr_in6>().read_unaligned() };
            if moved.sin6_port == from.to_be() {
                moved.sin6_port = to.to_be();
                moved.sin6_addr.s6_addr = MAPPED_LOOPBACK;
                moved.sin6_scope_id = 0;
                if is_v6_only(fd) {
                    moved.sin6_addr.s6_addr = std::net::Ipv6Addr::LOCALHOST.octets();
                }
                // SAFETY: `moved` is an address that lives until after the call.
                return unsafe { next(fd, (&raw const moved).cast(), v6) };
            }
        }
        _ => {}
    }
    // SAFETY: passed on as it came.
    unsafe { next(fd, addr, len) }
}

/// Whether the socket takes IPv6 alone (ipv6(7)).
fn is_v6_only(fd: c_int) -> bool {
    let (mut only, mut len): (c_int, socklen_t) = (0, mem::size_of::<c_int>() as socklen_t);
    // SAFETY: both are writable, and `len` is the size of `only`.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, (&raw mut only).cast(), &raw mut len) };
    result == 0 && only != 0
}
