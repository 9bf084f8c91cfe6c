//! The hook of system calls by their number.
//!
//! Variadic like fcntl: the arguments are six words, passed on whatever they are. What does not concern us is a jump, with
//! all registers and the stack as they came: a child of clone(2) or vfork(2) returns from this function a second time, perhaps
//! where no frame of ours is left. The compiler does not promise that, so these few instructions are assembly.

use std::arch::naked_asm;
use std::ffi::c_void;
use std::mem::offset_of;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::ours;
use libc::c_long;
use redhook::ld_preload::dlsym_next;

/// The type of the function.
type Syscall = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// Numbers from here on do not concern us.
const NUMBERS: usize = 512;

/// `CLONE_ARGS_SIZE_VER0`, clone(2): clone3 refuses less.
const CLONE_ARGS: usize = 64;

/// Which numbers may concern us.
static DISPATCHED: [bool; NUMBERS] = {
    let mut table = [false; NUMBERS];
    let mut number = 0;
    while number < NUMBERS {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[number] = ours::dispatches(number as c_long);
        }
        number += 1;
    }
    table
};

/// The real function; until it is known, one that asks.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(first as Syscall as *mut c_void);

unsafe extern "C" fn first(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    resolve();
    unsafe { next()(number, a, b, c, d, e, f) }
}

fn next() -> Syscall {
    unsafe { std::mem::transmute(NEXT.load(Ordering::Relaxed)) }
}

/// Looks up the real function.
pub fn resolve() {
    // redhook panics on a symbol that libc lacks, and this is none of them.
    if let Ok(real) = catch_unwind(|| unsafe { dlsym_next("syscall\0") }) {
        NEXT.store(real.cast_mut().cast(), Ordering::Relaxed);
    }
}

unsafe extern "C" fn dispatch(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    unsafe { ours::syscall(number, [a, b, c, d, e, f], |[a, b, c, d, e, f]| next()(number, a, b, c, d, e, f)) }
}

/// syscall(2).
///
/// # Safety
/// As for syscall(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    naked_asm!(
        "cmp rdi, {numbers}",
        "jae 2f",
        "lea rax, [rip + {dispatched}]",
        "cmp byte ptr [rax + rdi], 0",
        "jne 3f",
        "2:",
        "jmp qword ptr [rip + {next}]",
        // A clone is ours only if it is like a fork: the child has a copy of this stack, and nothing else.
        "3:",
        "cmp rdi, {clone}",
        "jne 4f",
        "test rsi, {vm}",
        "jnz 2b",
        "test rdx, rdx",
        "jnz 2b",
        "jmp {dispatch}",
        // clone3 has the same two in a struct, whose size is its second argument. Programs that ask whether it is there give
        // no struct.
        "4:",
        "cmp rdi, {clone3}",
        "jne {dispatch}",
        "cmp rdx, {clone_args}",
        "jb 2b",
        "test rsi, rsi",
        "jz 2b",
        "test dword ptr [rsi + {flags}], {vm}",
        "jnz 2b",
        "cmp qword ptr [rsi + {stack}], 0",
        "jne 2b",
        "jmp {dispatch}",
        clone = const libc::SYS_clone,
        clone3 = const libc::SYS_clone3,
        clone_args = const CLONE_ARGS,
        flags = const offset_of!(libc::clone_args, flags),
        stack = const offset_of!(libc::clone_args, stack),
        vm = const libc::CLONE_VM,
        numbers = const NUMBERS,
        dispatched = sym DISPATCHED,
        dispatch = sym dispatch,
        next = sym NEXT,
    )
}

/// syscall(2).
///
/// # Safety
/// As for syscall(2).
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    naked_asm!(
        "cmp x0, #{numbers}",
        "b.hs 2f",
        "adrp x9, {dispatched}",
        "add x9, x9, :lo12:{dispatched}",
        "ldrb w9, [x9, x0]",
        "cbnz w9, 3f",
        "2:",
        "adrp x16, {next}",
        "ldr x16, [x16, :lo12:{next}]",
        "br x16",
        // A clone is ours only if it is like a fork: the child has a copy of this stack, and nothing else.
        "3:",
        "cmp x0, #{clone}",
        "b.ne 4f",
        "tst x1, #{vm}",
        "b.ne 2b",
        "cbnz x2, 2b",
        "b {dispatch}",
        // clone3 has the same two in a struct, whose size is its second argument. Programs that ask whether it is there give
        // no struct.
        "4:",
        "cmp x0, #{clone3}",
        "b.ne 5f",
        "cmp x2, #{clone_args}",
        "b.lo 2b",
        "cbz x1, 2b",
        "ldr x9, [x1, #{flags}]",
        "tst x9, #{vm}",
        "b.ne 2b",
        "ldr x9, [x1, #{stack}]",
        "cbnz x9, 2b",
        "5:",
        "b {dispatch}",
        clone = const libc::SYS_clone,
        clone3 = const libc::SYS_clone3,
        clone_args = const CLONE_ARGS,
        flags = const offset_of!(libc::clone_args, flags),
        stack = const offset_of!(libc::clone_args, stack),
        vm = const libc::CLONE_VM,
        numbers = const NUMBERS,
        dispatched = sym DISPATCHED,
        dispatch = sym dispatch,
        next = sym NEXT,
    )
}
