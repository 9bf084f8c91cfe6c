//! Between files and wrapped descriptors: sendfile(2), splice(2).

use libc::{c_int, off_t, size_t, ssize_t};
use wslayer::sys::Errno;

use super::layer;
use crate::glue::{fail, size};

/// sendfile(2) to a wrapped descriptor.
///
/// # Safety
/// As for sendfile(2).
#[inline(never)]
pub unsafe extern "C" fn send_file(fd: c_int, file: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    size(layer(fd, |layer| layer.send_file(fd, file, unsafe { offset.as_mut() }, count)))
}

/// splice(2) with a wrapped descriptor: not to be had, and programs that use it do without.
#[inline(never)]
pub extern "C" fn splice() -> ssize_t {
    fail(Errno(libc::EINVAL)) as ssize_t
}
