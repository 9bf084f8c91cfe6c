//! What the hooks call for the socket options that our own use of the socket has a part in.

use libc::{c_int, c_void, socklen_t};

use super::layer;
use crate::glue;

/// Whether an option is such a one to be asked for.
#[inline(always)]
pub fn is_asked(level: c_int, name: c_int) -> bool {
    level == libc::SOL_SOCKET && name == libc::SO_ERROR
}

/// Whether an option is such a one to be set.
#[inline(always)]
pub fn is_set(level: c_int, name: c_int) -> bool {
    level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVLOWAT | libc::SO_PEEK_OFF)
}

/// getsockopt(2) `SO_ERROR`: what a look of ours took from the kernel, else what the kernel says.
///
/// # Safety
/// As for getsockopt(2).
#[inline(never)]
pub unsafe fn error(fd: c_int, value: *mut c_void, len: *mut socklen_t, real: impl FnOnce() -> c_int) -> c_int {
    let result = real();
    // SAFETY: the kernel has written to both, so they are writable.
    let place = unsafe { len.as_mut() }.filter(|len| result == 0 && **len as usize == size_of::<c_int>());
    if place.is_some()
        // SAFETY: as above.
        && let Some(value) = unsafe { value.cast::<c_int>().as_mut() }
        && *value == 0
        && let Ok(Some(error)) = layer(fd, |layer| Ok(layer.take_error(fd)))
    {
        *value = error.0;
    }
    result
}

/// setsockopt(2) of such an option. `SO_RCVLOWAT` is valid, and of no effect: the kernel would count bytes of frames, and keep a ping, a
/// Close or a request from us that is shorter. `SO_PEEK_OFF` is refused as by a kernel that has it for no TCP socket: it would move our own
/// looks.
///
/// # Safety
/// As for setsockopt(2).
#[inline(never)]
pub unsafe fn set(name: c_int, value: *const c_void, len: socklen_t) -> c_int {
    match len as usize {
        _ if name == libc::SO_PEEK_OFF => glue::fail(wslayer::sys::Errno(libc::EOPNOTSUPP)),
        0..4 => glue::fail(wslayer::sys::Errno(libc::EINVAL)),
        _ if value.is_null() => glue::fail(wslayer::sys::Errno(libc::EFAULT)),
        _ => 0,
    }
}
