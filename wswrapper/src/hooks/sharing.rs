//! The hook of vfork(2), whose child runs in its parent's memory.
//!
//! The child returns from this function a second time, and both must find the stack as the caller left it: so what is to be done comes
//! before the real call, and that is a jump.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::leaving;
use libc::pid_t;
use redhook::ld_preload::dlsym_next;

/// The real function; until it is known, one that does what a caller of it may count on.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(libc::fork as unsafe extern "C" fn() -> pid_t as *mut c_void);

/// Looks up the real function.
pub fn resolve() {
    // redhook panics on a symbol that libc lacks, and this is none of them.
    if let Ok(real) = catch_unwind(|| unsafe { dlsym_next("vfork\0") }) {
        NEXT.store(real.cast_mut().cast(), Ordering::Relaxed);
    }
}

/// vfork(2).
///
/// # Safety
/// As for vfork(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfork() -> pid_t {
    naked_asm!(
        "endbr64",
        "sub rsp, 8",
        "call {before}",
        "add rsp, 8",
        "jmp qword ptr [rip + {next}]",
        before = sym leaving::before_vfork,
        next = sym NEXT,
    )
}

/// vfork(2).
///
/// # Safety
/// As for vfork(2).
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfork() -> pid_t {
    naked_asm!(
        "stp x29, x30, [sp, #-16]!",
        "bl {before}",
        "ldp x29, x30, [sp], #16",
        "adrp x16, {next}",
        "ldr x16, [x16, :lo12:{next}]",
        "br x16",
        before = sym leaving::before_vfork,
        next = sym NEXT,
    )
}
