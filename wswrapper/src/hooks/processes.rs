//! Hooks of what takes a connection out of the code we sit in: new programs, children, sandboxes; and of the ways to make a
//! child of which `pthread_atfork` does not tell.
//!
//! None of glibc's functions reaches another by its symbol, so each has a hook of its own.

use crate::leaving::{self, Strings, exec, spawn};
use crate::start::{self, Main};
use libc::{c_char, c_int, c_ulong, c_void, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};
use redhook::{hook, real};

interpose! { unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int => ws_execve {
    unsafe { exec(envp, |envp| execve.next()(path, argv, envp)) }
} }

// These two become those that are given the environment: it may have to be another one.

hook! { unsafe fn execv(path: *const c_char, argv: Strings) -> c_int => ws_execv {
    unsafe { exec(leaving::environ(), |envp| execve.next()(path, argv, envp)) }
} }

hook! { unsafe fn execvp(file: *const c_char, argv: Strings) -> c_int => ws_execvp {
    unsafe { exec(leaving::environ(), |envp| execvpe.next()(file, argv, envp)) }
} }

interpose! { unsafe fn execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int => ws_execvpe {
    unsafe { exec(envp, |envp| execvpe.next()(file, argv, envp)) }
} }

interpose! { unsafe fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int => ws_fexecve {
    unsafe { exec(envp, |envp| fexecve.next()(fd, argv, envp)) }
} }

interpose! { unsafe fn execveat(dir: c_int, path: *const c_char, argv: Strings, envp: Strings, flags: c_int) -> c_int => ws_execveat {
    unsafe { exec(envp, |envp| execveat.next()(dir, path, argv, envp, flags)) }
} }

interpose! { unsafe fn posix_spawn(pid: *mut pid_t, path: *const c_char, actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t, argv: Strings, envp: Strings) -> c_int => ws_posix_spawn {
    unsafe { spawn(envp, |envp| posix_spawn.next()(pid, path, actions, attr, argv, envp)) }
} }

interpose! { unsafe fn posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t, argv: Strings, envp: Strings) -> c_int => ws_posix_spawnp {
    unsafe { spawn(envp, |envp| posix_spawnp.next()(pid, file, actions, attr, argv, envp)) }
} }

interpose! { unsafe fn posix_spawn_file_actions_adddup2(actions: *mut posix_spawn_file_actions_t, old: c_int, new: c_int) -> c_int => ws_posix_spawn_file_actions_adddup2 {
    leaving::before_spawn_with(old);
    unsafe { posix_spawn_file_actions_adddup2.next()(actions, old, new) }
} }

interpose! { unsafe fn system(command: *const c_char) -> c_int => ws_system {
    leaving::before_spawn();
    unsafe { system.next()(command) }
} }

interpose! { unsafe fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void => ws_popen {
    leaving::before_spawn();
    unsafe { popen.next()(command, mode) }
} }

interpose! { unsafe fn _Fork() -> pid_t => ws_fork {
    start::around_fork(|| unsafe { _Fork.next()() }.into()) as pid_t
} }

// clone is variadic; its three further arguments are words in registers, passed on whatever they are.

interpose! { unsafe fn clone(f: Main, stack: *mut c_void, flags: c_int, arg: *mut c_void, parent: *mut c_void, tls: *mut c_void, child: *mut c_void) -> c_int => ws_clone {
    if start::is_like_fork(flags) { unsafe { start::around_clone(f, arg, |f, arg| clone.next()(f, stack, flags, arg, parent, tls, child)) } }
    else { unsafe { clone.next()(f, stack, flags, arg, parent, tls, child) } }
} }

// prctl is variadic; its four further arguments are words in registers, passed on whatever they are.

interpose! { unsafe fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int => ws_prctl {
    if option == libc::PR_SET_SECCOMP { leaving::before_sandbox() }
    unsafe { prctl.next()(option, a, b, c, d) }
} }

resolve!(execve execvpe fexecve execveat posix_spawn posix_spawnp posix_spawn_file_actions_adddup2 system popen _Fork clone prctl);

/// A variadic function over a function that gets at its arguments, which stable Rust cannot define: the registers that pass
/// arguments are stored in order, and the rest is where the caller put it. Every argument of these functions is a pointer, so
/// each takes one place.
macro_rules! variadic {
    ($name:ident => $body:path) => {
        /// The function of this name, execl(3).
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() -> c_int {
            #[cfg(target_arch = "x86_64")]
            std::arch::naked_asm!(
                "endbr64",
                // The stack is aligned behind these six and the return address.
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "push rdi",
                "mov rdi, rsp",
                "lea rsi, [rsp + 56]",
                "sub rsp, 8",
                "call {body}",
                "add rsp, 56",
                "ret",
                body = sym $body
            );
            #[cfg(target_arch = "aarch64")]
            std::arch::naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "add x0, sp, #16",
                "add x1, sp, #80",
                "bl {body}",
                "ldp x29, x30, [sp], #80",
                "ret",
                body = sym $body
            );
        }
    };
}

variadic!(execl => leaving::execl);
variadic!(execlp => leaving::execlp);
variadic!(execle => leaving::execle);

/// What `leaving` calls in place of the variadic ones.
pub mod next {
    use super::*;

    /// execve(2), without another look.
    pub unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
        unsafe { super::execve.next()(path, argv, envp) }
    }

    /// execvpe(3), without another look.
    pub unsafe fn execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int {
        unsafe { super::execvpe.next()(file, argv, envp) }
    }
}
