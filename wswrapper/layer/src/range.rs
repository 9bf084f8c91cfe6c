//! Many numbers at once: close_range(2) and closefrom(3).
//!
//! The kernel closes; what is known of the numbers is settled before. What a call costs goes with the highest number that
//! anything is known of, not with the range, which mostly ends at 2^32 - 1.

use std::sync::atomic::Ordering;

use libc::{CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE, c_uint};

use crate::Layer;
use crate::slots::Slot;
use crate::sys::{Fd, Result, Sys};

impl<S: Sys> Layer<S> {
    /// close_range(2): as if each of the numbers were closed, other than that the library's own stay.
    ///
    /// # Errors
    /// Those of close_range(2), before anything is closed.
    pub fn close_range(&self, first: c_uint, last: c_uint, flags: c_uint) -> Result<()> {
        // A table that this thread is about to have for itself says nothing of the numbers of the others. Its thread mostly
        // goes on to exec.
        let apart = flags & CLOSE_RANGE_UNSHARE != 0 && !self.sys.is_single_threaded();
        if apart || flags & CLOSE_RANGE_CLOEXEC != 0 || first > last {
            return self.sys.close_range(first, last, flags);
        }
        // Does the kernel know the call, and these flags? Nothing has this number.
        self.sys.close_range(c_uint::MAX, c_uint::MAX, flags)?;
        if !self.is_vfork_child() {
            self.known_in(first, last).for_each(|fd| self.leave(fd));
        }
        let mut from = first;
        for private in self.private_in(first, last).map(Fd::cast_unsigned) {
            if private > from {
                self.sys.close_range(from, private - 1, flags)?;
            }
            from = private + 1;
        }
        if from <= last { self.sys.close_range(from, last, flags) } else { Ok(()) }
    }

    /// closefrom(3), where the kernel does not know close_range(2): the numbers from `first` to below `end`, one by one.
    pub fn close_each(&self, first: c_uint, end: c_uint) {
        for fd in first..end.min(c_uint::MAX >> 1) {
            // A number that is not open, or is the library's own, is no error of closefrom's.
            let _ = self.close(fd.cast_signed());
        }
    }

    /// The numbers from `first` to `last` that anything is known of, other than the library's own.
    fn known_in(&self, first: c_uint, last: c_uint) -> impl Iterator<Item = Fd> {
        self.marked(first, last).filter(|fd| !matches!(self.slots.get(*fd), Slot::Unknown | Slot::Private))
    }

    /// The library's own from `first` to `last`.
    fn private_in(&self, first: c_uint, last: c_uint) -> impl Iterator<Item = Fd> {
        self.marked(first, last).filter(|fd| self.slots.get(*fd) == Slot::Private)
    }

    fn marked(&self, first: c_uint, last: c_uint) -> impl Iterator<Item = Fd> + use<S> {
        let top = self.top.load(Ordering::Relaxed);
        let fd = |number: c_uint| Fd::try_from(number).unwrap_or(Fd::MAX);
        fd(first)..=fd(last).min(top)
    }
}
