//! System calls by their number, syscall(2), where they concern us.
//!
//! The kernel's own interface differs from libc's functions in places, and those who call it count on that: signal masks come
//! with their size, pselect6 has both in a struct, and ppoll and pselect6 write back the time that is left.
//!
//! What is not in [`dispatches`] goes to libc untouched. io_uring is refused: it would read and write past every hook, and
//! programs that find it missing use epoll instead.

use std::mem;
use std::time::Duration;

use libc::{c_int, c_long, c_uint, fd_set, sigset_t, timespec};
use wslayer::sys::{Errno, Sys};

use crate::glue::{LAYER, accepts, concerns, fail, fresh, is_conn, timespec_of, to_timespec, watches};
use crate::leaving;
use crate::ours;
use crate::start::around_fork;

/// The arguments of a system call.
type Words = [usize; 6];

/// The size of the kernel's signal mask.
const MASK: usize = 8;

/// Whether the system call may concern us.
pub const fn dispatches(number: c_long) -> bool {
    let everywhere = matches!(
        number,
        libc::SYS_read
            | libc::SYS_write
            | libc::SYS_readv
            | libc::SYS_writev
            | libc::SYS_preadv2
            | libc::SYS_pwritev2
            | libc::SYS_recvfrom
            | libc::SYS_sendto
            | libc::SYS_recvmsg
            | libc::SYS_sendmsg
            | libc::SYS_recvmmsg
            | libc::SYS_sendmmsg
            | libc::SYS_sendfile
            | libc::SYS_splice
            | libc::SYS_socket
            | libc::SYS_bind
            | libc::SYS_listen
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_shutdown
            | libc::SYS_close
            | libc::SYS_dup
            | libc::SYS_dup3
            | libc::SYS_fcntl
            | libc::SYS_ioctl
            | libc::SYS_ppoll
            | libc::SYS_pselect6
            | libc::SYS_epoll_create1
            | libc::SYS_epoll_ctl
            | libc::SYS_epoll_pwait
            | libc::SYS_epoll_pwait2
            | libc::SYS_close_range
            | libc::SYS_clone
            | libc::SYS_clone3
            | libc::SYS_execve
            | libc::SYS_execveat
            | libc::SYS_prctl
            | libc::SYS_seccomp
            | libc::SYS_io_uring_setup
    );
    #[cfg(target_arch = "x86_64")]
    let older = matches!(
        number,
        libc::SYS_fork
            | libc::SYS_dup2
            | libc::SYS_poll
            | libc::SYS_select
            | libc::SYS_epoll_create
            | libc::SYS_epoll_wait
    );
    #[cfg(not(target_arch = "x86_64"))]
    let older = false;
    everywhere || older
}

/// syscall(2) with such a number; `real` makes the system call itself.
///
/// # Safety
/// As for syscall(2).
pub unsafe fn syscall(number: c_long, words: Words, real: impl FnOnce(Words) -> c_long) -> c_long {
    let [a, b, c, d, e, f] = words;
    let fd = a as c_int;
    // SAFETY: the caller's promise; each word is an argument of the type that the system call has there.
    unsafe {
        match number {
            libc::SYS_read if is_conn(fd) => ours::read(fd, b as _, c) as c_long,
            libc::SYS_write if is_conn(fd) => ours::write(fd, b as _, c) as c_long,
            libc::SYS_readv if is_conn(fd) => ours::readv(fd, b as _, c as _) as c_long,
            libc::SYS_writev if is_conn(fd) => ours::writev(fd, b as _, c as _) as c_long,
            // The offset is in two words, the lower of which is all of it on 64-bit machines.
            libc::SYS_preadv2 if d as i64 == -1 && is_conn(fd) => ours::preadv2(fd, b as _, c as _, f as _) as c_long,
            libc::SYS_pwritev2 if d as i64 == -1 && is_conn(fd) => ours::pwritev2(fd, b as _, c as _, f as _) as c_long,
            libc::SYS_recvfrom if is_conn(fd) => ours::recvfrom(fd, b as _, c, d as _, e as _, f as _) as c_long,
            libc::SYS_sendto if is_conn(fd) => ours::send(fd, b as _, c, d as _) as c_long,
            libc::SYS_recvmsg if is_conn(fd) => ours::recvmsg(fd, b as _, c as _) as c_long,
            libc::SYS_sendmsg if is_conn(fd) => ours::sendmsg(fd, b as _, c as _) as c_long,
            libc::SYS_recvmmsg if is_conn(fd) => {
                ours::recvmmsg(fd, b as _, c as c_uint, d as _, e as *mut timespec).into()
            }
            libc::SYS_sendmmsg if is_conn(fd) => ours::sendmmsg(fd, b as _, c as c_uint, d as _).into(),
            libc::SYS_sendfile if is_conn(fd) || is_conn(b as c_int) => {
                ours::send_file(fd, b as _, c as _, d) as c_long
            }
            libc::SYS_splice if is_conn(fd) || is_conn(c as c_int) => {
                ours::splice(fd, b as _, c as _, d as _, e, f as _) as c_long
            }
            libc::SYS_accept if accepts(fd) => ours::accept(fd, b as _, c as _).into(),
            libc::SYS_accept4 if accepts(fd) && ours::accept_flags(d as _) => {
                ours::accept4(fd, b as _, c as _, d as _).into()
            }
            libc::SYS_socket | libc::SYS_accept | libc::SYS_accept4 => made(real(words)),
            libc::SYS_bind => ours::bound(fd, real(words) as c_int).into(),
            libc::SYS_listen => ours::listening(fd, real(words) as c_int).into(),
            libc::SYS_close_range if LAYER.get().is_some() => {
                ours::numbers::close_range(a as c_uint, b as c_uint, c as c_int).into()
            }
            // Without the C library, hence without the handlers that it calls around a fork.
            libc::SYS_clone | libc::SYS_clone3 => around_fork(|| real(words)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork => around_fork(|| real(words)),
            libc::SYS_prctl if a as c_int == libc::PR_SET_SECCOMP => {
                leaving::before_sandbox();
                real(words)
            }
            // Others ask what there is.
            libc::SYS_seccomp
                if matches!(a as c_uint, libc::SECCOMP_SET_MODE_STRICT | libc::SECCOMP_SET_MODE_FILTER) =>
            {
                leaving::before_sandbox();
                real(words)
            }
            libc::SYS_execve => leaving::exec(c as _, |envp| real([a, b, envp as usize, d, e, f]) as c_int).into(),
            libc::SYS_execveat => leaving::exec(d as _, |envp| real([a, b, c, envp as usize, e, f]) as c_int).into(),
            libc::SYS_sendmsg => {
                leaving::before_sendmsg(b as _);
                real(words)
            }
            libc::SYS_sendmmsg => {
                leaving::before_sendmmsg(b as _, c as c_uint);
                real(words)
            }
            libc::SYS_shutdown if is_conn(fd) => ours::shutdown(fd, b as _).into(),
            libc::SYS_close if concerns(fd) => ours::close(fd).into(),
            libc::SYS_close => {
                fresh(fd);
                real(words)
            }
            libc::SYS_dup if concerns(fd) => ours::dup(fd).into(),
            libc::SYS_dup => made(real(words)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 if concerns(fd) || concerns(b as c_int) => ours::dup2(fd, b as _).into(),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 => made(real(words)),
            libc::SYS_dup3 if concerns(fd) || concerns(b as c_int) => ours::dup3(fd, b as _, c as _).into(),
            libc::SYS_dup3 => made(real(words)),
            libc::SYS_fcntl if ours::copies(b as _) => ours::fcntl(fd, b as _, c as _, |_| real(words) as c_int).into(),
            libc::SYS_ioctl if b as u64 == libc::FIONREAD && is_conn(fd) => ours::readable_bytes(fd, c as _).into(),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_create => ours::epoll_created(real(words) as c_int).into(),
            libc::SYS_epoll_create1 => ours::epoll_created(real(words) as c_int).into(),
            libc::SYS_epoll_ctl if watches::registers(c as _) => ours::epoll_ctl(fd, b as _, c as _, d as _).into(),
            libc::SYS_io_uring_setup if LAYER.get().is_some() => fail(Errno(libc::ENOSYS)).into(),
            _ => wait(number, words, real),
        }
    }
}

/// The system calls that wait, and what remains.
///
/// # Safety
/// As for syscall(2).
unsafe fn wait(number: c_long, words: Words, real: impl FnOnce(Words) -> c_long) -> c_long {
    let [a, b, c, d, e, f] = words;
    // SAFETY: as in `syscall`.
    unsafe {
        match number {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_poll if watches::fds(a as _, b as _) => ours::poll(a as _, b as _, c as _).into(),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_select if watches::sets(a as _, [b as _, c as _, d as _]) => {
                ours::select(a as _, [b as _, c as _, d as _], e as _).into()
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_epoll_wait if watches::epoll(a as _) => ours::epoll_wait(a as _, b as _, c as _, d as _).into(),
            libc::SYS_ppoll if watches::fds(a as _, b as _) => {
                masked(d, e, |mask| timed(c as _, |time| ours::ppoll(a as _, b as _, time, mask)))
            }
            libc::SYS_pselect6 if watches::sets(a as _, [b as _, c as _, d as _]) => {
                let sets = [b as *mut fd_set, c as _, d as _];
                let [mask, size] = (f as *const [usize; 2]).as_ref().copied().unwrap_or_default();
                masked(mask, size, |mask| timed(e as _, |time| ours::pselect(a as _, sets, time, mask)))
            }
            libc::SYS_epoll_pwait if watches::epoll(a as _) => {
                masked(e, f, |mask| ours::epoll_pwait(a as _, b as _, c as _, d as _, mask))
            }
            libc::SYS_epoll_pwait2 if watches::epoll(a as _) => {
                masked(e, f, |mask| ours::epoll_pwait2(a as _, b as _, c as _, d as _, mask))
            }
            _ => real(words),
        }
    }
}

/// A number that a system call made: what was known of it is void.
fn made(fd: c_long) -> c_long {
    fresh(fd as c_int).into()
}

/// A call with the kernel's signal mask, which is shorter than libc's.
///
/// # Safety
/// `mask` is null, or readable for `size` bytes.
unsafe fn masked(mask: usize, size: usize, call: impl FnOnce(*const sigset_t) -> c_int) -> c_long {
    if mask == 0 {
        return call(std::ptr::null()).into();
    }
    if size != MASK {
        return fail(Errno(libc::EINVAL)).into();
    }
    // SAFETY: all zeros is a valid set; the caller's promise for the bytes of the mask.
    let set = unsafe {
        let mut set: sigset_t = mem::zeroed();
        std::ptr::copy_nonoverlapping(mask as *const u8, (&raw mut set).cast(), MASK);
        set
    };
    call(&raw const set).into()
}

/// A call with a time limit, in the place of which the kernel writes what is left of it.
///
/// # Safety
/// `timeout` is null or writable.
unsafe fn timed(timeout: *mut timespec, call: impl FnOnce(*const timespec) -> c_int) -> c_int {
    let now = || LAYER.get().map_or(Duration::ZERO, |layer| layer.sys().now());
    // SAFETY: the caller's promise.
    let Ok(Some(limit)) = (unsafe { timespec_of(timeout) }) else { return call(timeout) };
    let began = now();
    let result = call(timeout);
    // SAFETY: the caller's promise; the time is valid, so it is there.
    unsafe { *timeout = to_timespec(limit.saturating_sub(now().saturating_sub(began))) };
    result
}
