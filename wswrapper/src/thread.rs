//! What the library keeps of each thread.
//!
//! On x86-64 the compiler would have the dynamic linker asked for the place in each call (`__tls_get_addr`), since a library may come
//! into a process late. This one comes with the program, so that its thread-local memory is at a fixed distance from the thread
//! pointer: "initial exec" in ELF Handling for Thread-Local Storage, section 4.3. On other machines asking costs little (TLS descriptors).

#[cfg(target_arch = "x86_64")]
use std::arch::{asm, global_asm};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use libc::c_int;

/// What a thread and its signal handlers share. They take turns, so relaxed order will do, but for the compiler's. All zeros at first.
#[repr(C)]
pub struct Thread {
    /// How deep in sections: see [`crate::signals`].
    pub depth: AtomicU32,
    /// Not 0: a signal was put off, and `mask` is what the end of the section restores.
    pub deferred: AtomicU32,
    /// See `deferred`.
    pub mask: AtomicU64,
    errno: AtomicPtr<c_int>,
}

impl Thread {
    /// Where errno(3) is, which libc is asked for once.
    #[inline(always)]
    pub fn errno(&self) -> *mut c_int {
        match self.errno.load(Ordering::Relaxed) {
            errno if errno.is_null() => self.find_errno(),
            errno => errno,
        }
    }

    #[cold]
    fn find_errno(&self) -> *mut c_int {
        // SAFETY: it has no preconditions.
        let errno = unsafe { libc::__errno_location() };
        self.errno.store(errno, Ordering::Relaxed);
        errno
    }
}

/// Runs `f` with the calling thread's own.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn with<T>(f: impl FnOnce(&Thread) -> T) -> T {
    let thread: *const Thread;
    // SAFETY: this reads the thread pointer, which is kept at its own address, and the distance from it that the dynamic linker has put
    // down. There are as many bytes as `Thread` has, all zero at first, and they are the thread's until it ends.
    unsafe {
        asm!(
            "mov {thread}, qword ptr fs:[0]",
            "add {thread}, qword ptr [rip + wswrap_thread@GOTTPOFF]",
            thread = out(reg) thread,
            options(pure, nomem, nostack),
        );
        f(&*thread)
    }
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .tbss.wswrap_thread, \"awT\", @nobits",
    ".hidden wswrap_thread",
    ".globl wswrap_thread",
    ".type wswrap_thread, @object",
    ".balign 8",
    "wswrap_thread:",
    ".zero {size}",
    ".size wswrap_thread, {size}",
    ".popsection",
    size = const size_of::<Thread>(),
);

/// Runs `f` with the calling thread's own.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn with<T>(f: impl FnOnce(&Thread) -> T) -> T {
    thread_local! {
        static THREAD: Thread = const {
            Thread {
                depth: AtomicU32::new(0),
                deferred: AtomicU32::new(0),
                mask: AtomicU64::new(0),
                errno: AtomicPtr::new(std::ptr::null_mut()),
            }
        };
    }
    THREAD.with(f)
}
