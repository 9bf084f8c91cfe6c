//! Hooks of C's stdio that name a descriptor.

use std::arch::naked_asm;

use crate::glue::is_conn;
use crate::ours::{self, VaList};
use libc::{FILE, c_char, c_int};
use redhook::{hook, real};

interpose! { unsafe fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE => ws_fdopen {
    if is_conn(fd) { unsafe { ours::fdopen(fd, mode) } } else { unsafe { fdopen.next()(fd, mode) } }
} }

interpose! { unsafe fn vdprintf(fd: c_int, format: *const c_char, arguments: VaList) -> c_int => ws_vdprintf {
    if is_conn(fd) { unsafe { ours::vdprintf(fd, format, arguments) } } else { unsafe { vdprintf.next()(fd, format, arguments) } }
} }

interpose! { unsafe fn __vdprintf_chk(fd: c_int, flag: c_int, format: *const c_char, arguments: VaList) -> c_int => ws_vdprintf_chk {
    if is_conn(fd) { unsafe { ours::vdprintf_chk(fd, flag, format, arguments) } } else { unsafe { __vdprintf_chk.next()(fd, flag, format, arguments) } }
} }

// dprintf is variadic, which Rust can call and not define. So these two make a va_list of their arguments, as the compiler would
// in C, and call the function that takes one; on any other descriptor that is what libc's own do. Assembly rather than C:
// rustc exports symbols of Rust alone, and a C file would ask for a C compiler.
//
// A panic does not come through here (it is caught in the glue), but a thread that is cancelled in libc's function does: hence
// the unwind information.

/// The arguments behind the named ones go to a save area as their order is in the System V ABI, section 3.5.7: rdi to r9, then
/// xmm0 to xmm7 if al says that there are any. The va_list at rsp: gp_offset, fp_offset, overflow_arg_area, reg_save_area.
#[cfg(target_arch = "x86_64")]
macro_rules! with_va_list {
    ($named:literal, $list:literal, $target:path) => {
        naked_asm!(
            ".cfi_startproc",
            "sub rsp, 216",
            ".cfi_adjust_cfa_offset 216",
            "mov [rsp + 48], rdx",
            "mov [rsp + 56], rcx",
            "mov [rsp + 64], r8",
            "mov [rsp + 72], r9",
            "test al, al",
            "je 2f",
            "movaps [rsp + 80], xmm0",
            "movaps [rsp + 96], xmm1",
            "movaps [rsp + 112], xmm2",
            "movaps [rsp + 128], xmm3",
            "movaps [rsp + 144], xmm4",
            "movaps [rsp + 160], xmm5",
            "movaps [rsp + 176], xmm6",
            "movaps [rsp + 192], xmm7",
            "2:",
            concat!("mov dword ptr [rsp], 8 * ", $named),
            "mov dword ptr [rsp + 4], 48",
            "lea rax, [rsp + 224]",
            "mov [rsp + 8], rax",
            "lea rax, [rsp + 32]",
            "mov [rsp + 16], rax",
            concat!("mov r", $list, "x, rsp"),
            "call {target}",
            "add rsp, 216",
            ".cfi_adjust_cfa_offset -216",
            "ret",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}

/// The arguments behind the named ones go to a save area, x0 to x7, then q0 to q7, as AAPCS64, appendix B, has it. The va_list
/// at sp + 16: __stack, __gr_top, __vr_top, __gr_offs, __vr_offs.
#[cfg(target_arch = "aarch64")]
macro_rules! with_va_list {
    ($named:literal, $list:literal, $target:path) => {
        naked_asm!(
            ".cfi_startproc",
            "stp x29, x30, [sp, #-240]!",
            ".cfi_def_cfa_offset 240",
            ".cfi_offset x29, -240",
            ".cfi_offset x30, -232",
            "stp x2, x3, [sp, #64]",
            "stp x4, x5, [sp, #80]",
            "stp x6, x7, [sp, #96]",
            "stp q0, q1, [sp, #112]",
            "stp q2, q3, [sp, #144]",
            "stp q4, q5, [sp, #176]",
            "stp q6, q7, [sp, #208]",
            "add x9, sp, #240",
            "str x9, [sp, #16]",
            "add x9, sp, #112",
            "str x9, [sp, #24]",
            "add x9, sp, #240",
            "str x9, [sp, #32]",
            concat!("mov w9, #-8 * (8 - ", $named, ")"),
            "str w9, [sp, #40]",
            "mov w9, #-128",
            "str w9, [sp, #44]",
            concat!("add x", $named, ", sp, #16"),
            "bl {target}",
            "ldp x29, x30, [sp], #240",
            ".cfi_def_cfa_offset 0",
            "ret",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}

/// dprintf(3): two arguments are named, and the list is the third of vdprintf.
///
/// # Safety
/// As for dprintf(3).
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dprintf(fd: c_int, format: *const c_char) -> c_int {
    with_va_list!("2", "d", vdprintf::vdprintf)
}

/// `__dprintf_chk`: three arguments are named, and the list is the fourth of __vdprintf_chk.
///
/// # Safety
/// As for dprintf(3).
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __dprintf_chk(fd: c_int, flag: c_int, format: *const c_char) -> c_int {
    with_va_list!("3", "c", __vdprintf_chk::__vdprintf_chk)
}

resolve!(fdopen vdprintf __vdprintf_chk);
