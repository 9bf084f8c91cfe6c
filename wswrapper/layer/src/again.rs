//! Calls of the library's own that fail for a moment only.
//!
//! A call that the program made may fail with such an error, and the program tries again. It knows nothing of the calls
//! that the library makes beside it: those are tried again here, so that no client and no byte is lost to them.

use crate::sys::{Errno, Result};

/// How often a call is made in all.
const TRIES: usize = 8;

/// Interrupted, or short of memory, or of the watches that epoll(7) allows: nothing is known to be wrong with the descriptor.
pub(crate) fn is_passing(Errno(error): Errno) -> bool {
    matches!(error, libc::EINTR | libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC)
}

/// Makes `call` until it gives anything but such an error, a few times.
///
/// # Errors
/// Those of `call`.
#[inline(always)]
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    match call() {
        Err(error) if is_passing(error) => persist(call, error),
        result => result,
    }
}

#[cold]
#[inline(never)]
fn persist<T>(mut call: impl FnMut() -> Result<T>, first: Errno) -> Result<T> {
    let mut last = first;
    for _ in 1..TRIES {
        match call() {
            Err(error) if is_passing(error) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// Makes `call`, which nothing speaks against, until it succeeds, a few times.
///
/// # Errors
/// Those of `call`.
#[inline(always)]
pub(crate) fn insist<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    match call() {
        Err(_) => (2..TRIES).find_map(|_| call().ok()).map_or_else(call, Ok),
        result => result,
    }
}

/// [`again`] for a call whose lack of memory is for the program to hear of: tried again after an interruption alone.
///
/// # Errors
/// Those of `call`.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..TRIES {
        match call() {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
    call()
}
