//! Hooks of what makes, copies and ends descriptors.

use crate::glue::{concerns, fresh, is_conn};
use crate::ours;
use libc::{c_int, c_ulong, c_void};
use redhook::{hook, real};

interpose! { unsafe fn close(fd: c_int) -> c_int => ws_close {
    if concerns(fd) { ours::close(fd) } else { unsafe { close.next()(fresh(fd)) } }
} }

interpose! { unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => ws_shutdown {
    if is_conn(fd) { unsafe { ours::shutdown(fd, how) } } else { unsafe { shutdown.next()(fd, how) } }
} }

interpose! { unsafe fn dup(fd: c_int) -> c_int => ws_dup {
    if concerns(fd) { unsafe { ours::dup(fd) } } else { fresh(unsafe { dup.next()(fd) }) }
} }

interpose! { unsafe fn dup2(old: c_int, new: c_int) -> c_int => ws_dup2 {
    if concerns(old) || concerns(new) { unsafe { ours::dup2(old, new) } } else { fresh(unsafe { dup2.next()(old, new) }) }
} }

interpose! { unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => ws_dup3 {
    if concerns(old) || concerns(new) { unsafe { ours::dup3(old, new, flags) } } else { fresh(unsafe { dup3.next()(old, new, flags) }) }
} }

// fcntl and ioctl are variadic; their one further argument is a word in a register, passed on whatever it is.

interpose! { unsafe fn fcntl(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl {
    if ours::copies(command) { ours::fcntl(fd, command, arg, |fd| unsafe { fcntl.next()(fd, command, arg) }) }
    else { unsafe { fcntl.next()(fd, command, arg) } }
} }

interpose! { unsafe fn fcntl64(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl64 {
    if ours::copies(command) { ours::fcntl(fd, command, arg, |fd| unsafe { fcntl64.next()(fd, command, arg) }) }
    else { unsafe { fcntl64.next()(fd, command, arg) } }
} }

interpose! { unsafe fn ioctl(fd: c_int, request: c_ulong, arg: *mut c_void) -> c_int => ws_ioctl {
    if request == libc::FIONREAD && is_conn(fd) { unsafe { ours::readable_bytes(fd, arg) } } else { unsafe { ioctl.next()(fd, request, arg) } }
} }

// Further names of libc for the same functions.

interpose! { unsafe fn __close(fd: c_int) -> c_int => ws_close_alias {
    if concerns(fd) { ours::close(fd) } else { unsafe { __close.next()(fresh(fd)) } }
} }

interpose! { unsafe fn __dup2(old: c_int, new: c_int) -> c_int => ws_dup2_alias {
    if concerns(old) || concerns(new) { unsafe { ours::dup2(old, new) } } else { fresh(unsafe { __dup2.next()(old, new) }) }
} }

interpose! { unsafe fn __fcntl(fd: c_int, command: c_int, arg: *mut c_void) -> c_int => ws_fcntl_alias {
    if ours::copies(command) { ours::fcntl(fd, command, arg, |fd| unsafe { __fcntl.next()(fd, command, arg) }) }
    else { unsafe { __fcntl.next()(fd, command, arg) } }
} }

resolve!(close shutdown dup dup2 dup3 fcntl fcntl64 ioctl __close __dup2 __fcntl);
