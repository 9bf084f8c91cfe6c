//! Hooks of what sets signal handlers.

use crate::signals::{self, is_covered};
use libc::{c_int, sighandler_t};
use redhook::{hook, real};

interpose! { unsafe fn sigaction(number: c_int, act: *const libc::sigaction, old: *mut libc::sigaction) -> c_int => ws_sigaction {
    if is_covered(number) { unsafe { signals::sigaction(number, act, old) } } else { unsafe { sigaction.next()(number, act, old) } }
} }

interpose! { unsafe fn __sigaction(number: c_int, act: *const libc::sigaction, old: *mut libc::sigaction) -> c_int => ws_sigaction_alias {
    if is_covered(number) { unsafe { signals::sigaction(number, act, old) } } else { unsafe { __sigaction.next()(number, act, old) } }
} }

interpose! { unsafe fn signal(number: c_int, handler: sighandler_t) -> sighandler_t => ws_signal {
    if is_covered(number) { signals::signal(number, || unsafe { signal.next()(number, handler) }) } else { unsafe { signal.next()(number, handler) } }
} }

interpose! { unsafe fn bsd_signal(number: c_int, handler: sighandler_t) -> sighandler_t => ws_bsd_signal {
    if is_covered(number) { signals::signal(number, || unsafe { bsd_signal.next()(number, handler) }) } else { unsafe { bsd_signal.next()(number, handler) } }
} }

interpose! { unsafe fn ssignal(number: c_int, handler: sighandler_t) -> sighandler_t => ws_ssignal {
    if is_covered(number) { signals::signal(number, || unsafe { ssignal.next()(number, handler) }) } else { unsafe { ssignal.next()(number, handler) } }
} }

interpose! { unsafe fn sysv_signal(number: c_int, handler: sighandler_t) -> sighandler_t => ws_sysv_signal {
    if is_covered(number) { signals::signal(number, || unsafe { sysv_signal.next()(number, handler) }) } else { unsafe { sysv_signal.next()(number, handler) } }
} }

interpose! { unsafe fn __sysv_signal(number: c_int, handler: sighandler_t) -> sighandler_t => ws_sysv_signal_alias {
    if is_covered(number) { signals::signal(number, || unsafe { __sysv_signal.next()(number, handler) }) } else { unsafe { __sysv_signal.next()(number, handler) } }
} }

interpose! { unsafe fn sigset(number: c_int, handler: sighandler_t) -> sighandler_t => ws_sigset {
    if is_covered(number) { signals::signal(number, || unsafe { sigset.next()(number, handler) }) } else { unsafe { sigset.next()(number, handler) } }
} }

/// The real sigaction(2).
#[inline(always)]
pub fn next_sigaction() -> unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int {
    sigaction.next()
}

resolve!(sigaction __sigaction signal bsd_signal ssignal sysv_signal __sysv_signal sigset);
