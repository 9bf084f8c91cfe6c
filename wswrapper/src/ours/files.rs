//! Between files and wrapped descriptors: sendfile(2), splice(2).

use libc::{c_int, c_uint, off_t, size_t, ssize_t};
use wslayer::sys::{Errno, Sys};

use super::layer;
use crate::glue::{fail, is_conn, size};

/// sendfile(2) to a wrapped descriptor. From one it is not to be had, as to all but pipes without us.
///
/// # Safety
/// As for sendfile(2).
#[inline(never)]
pub unsafe extern "C" fn send_file(fd: c_int, file: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    if is_conn(file) {
        return fail(Errno(if offset.is_null() { libc::EINVAL } else { libc::ESPIPE })) as ssize_t;
    }
    // SAFETY: the caller's promise.
    size(layer(fd, |layer| layer.send_file(fd, file, unsafe { offset.as_mut() }, count)))
}

/// splice(2) from or to a wrapped descriptor.
///
/// From one it is not to be had: what is in a pipe cannot be decoded. Programs then read and write instead.
///
/// # Safety
/// As for splice(2).
#[inline(never)]
pub unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut off_t,
    to: c_int,
    to_offset: *mut off_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    if is_conn(from) || !to_offset.is_null() {
        return fail(Errno(libc::EINVAL)) as ssize_t;
    }
    size(layer(to, |layer| match from_offset.is_null() {
        true => layer.send_pipe(to, from, len, flags),
        // The offset of a pipe; and something else than a pipe cannot be spliced to a socket.
        false if layer.sys().is_pipe(from) => Err(Errno(libc::ESPIPE)),
        false => Err(Errno(libc::EINVAL)),
    }))
}
