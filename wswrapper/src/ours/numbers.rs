//! What the hooks call for many descriptor numbers at once, and for pairs of new ones.

use libc::{c_int, c_uint};

use super::layer;
use crate::glue::{fresh, unit};
use crate::start::descriptor_table_size;

/// close_range(2).
#[inline(never)]
pub fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    unit(layer(-1, |layer| layer.close_range(first, last, flags.cast_unsigned())))
}

/// closefrom(3), which cannot fail.
#[inline(never)]
pub fn closefrom(first: c_int) {
    let first = c_uint::try_from(first).unwrap_or(0);
    let closed = layer(-1, |layer| layer.close_range(first, c_uint::MAX, 0));
    if closed.is_err() {
        let end = c_uint::try_from(descriptor_table_size()).unwrap_or(0);
        let _ = layer(-1, |layer| {
            layer.close_each(first, end);
            Ok(())
        });
    }
}

/// After a call that makes two descriptors, as pipe(2) does.
///
/// # Safety
/// If `result` is 0, `pair` is readable for two numbers.
pub unsafe fn fresh_pair(pair: *const c_int, result: c_int) -> c_int {
    if result == 0 {
        // SAFETY: the caller's promise.
        let (one, other) = unsafe { (*pair, *pair.add(1)) };
        fresh(one);
        fresh(other);
    }
    result
}
