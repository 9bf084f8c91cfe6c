//! Other processes, and what is shared with them; signal handlers.

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use libc::pollfd;
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, Fd, SharedWords, Sys};

use super::Kernel;
use crate::glue::errno;

/// Whether a process that is no child of ours runs. One that is dead and that its parent has not waited for does not, but
/// kill(2) finds it: pidfd_open(2) tells of the end.
fn runs(kernel: &Kernel, pid: libc::pid_t) -> bool {
    // SAFETY: no memory is involved.
    let Ok(fd) = (unsafe { call!(pidfd_open, pid, 0) }) else { return true };
    let mut poll = [pollfd { fd: fd as Fd, events: libc::POLLIN, revents: 0 }];
    let ended = kernel.poll(&mut poll, Some(Duration::ZERO), None) == Ok(1);
    let _ = kernel.close(fd as Fd);
    !ended
}

/// See [`Sys::is_alive`].
pub fn is_alive(kernel: &Kernel, pid: libc::pid_t) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: signal 0 is none; `info` is writable, and all zeros is a valid one. A child that is dead stays waitable.
    unsafe {
        if libc::kill(pid, 0) != 0 && errno() == libc::ESRCH {
            return false;
        }
        match call!(waitid, libc::P_PID, pid, info.as_mut_ptr(), options, 0) {
            Ok(_) => info.assume_init().si_pid() == 0,
            // No child of ours: a relative.
            Err(_) => runs(kernel, pid),
        }
    }
}

/// See [`Sys::signals_restart`].
pub fn signals_restart() -> bool {
    (1..=libc::SIGRTMAX()).all(|signal| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: nothing is installed; `action` is writable, and all zeros is a valid one.
        let action = unsafe {
            libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        let none = action.sa_sigaction == libc::SIG_DFL || action.sa_sigaction == libc::SIG_IGN;
        none || action.sa_flags & libc::SA_RESTART != 0
    })
}

/// See [`Sys::shared_words`].
pub fn shared_words(count: usize) -> Option<Arc<dyn SharedWords>> {
    let len = count.checked_mul(mem::size_of::<AtomicU32>())?;
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh anonymous mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    (at != libc::MAP_FAILED).then(|| Arc::new(Mapping { at: at.cast(), count }) as Arc<dyn SharedWords>)
}

/// Words in a shared anonymous mapping.
struct Mapping {
    at: *const AtomicU32,
    count: usize,
}

// SAFETY: the mapping holds atomics only, and stays until the value is dropped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl SharedWords for Mapping {
    fn get(&self, index: usize) -> Option<&AtomicU32> {
        // SAFETY: `index` is within the mapping, which was zeroed: a valid AtomicU32.
        (index < self.count).then(|| unsafe { &*self.at.add(index) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody borrows from it any more.
        unsafe { libc::munmap(self.at.cast_mut().cast(), self.count * mem::size_of::<AtomicU32>()) };
    }
}
