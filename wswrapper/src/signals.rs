//! The program's signal handlers, and the moments when they have to wait.
//!
//! A handler may call anything that is safe in one: read, write, poll, close, also on the very descriptor that the interrupted
//! code is busy with. If that code is ours it may hold a lock, or have sent half a frame. So a call of the layer is a *section*: a
//! handler that comes in it runs when the section ends, a few microseconds later. Where a call waits it is outside ([`outside`]),
//! holds nothing, and handlers run at once; all but a send, which is interrupted ([`wait`]).
//!
//! To that end the kernel is given [`on_signal`] in place of each handler. In a section it sends the signal to its thread once
//! more, and returns with all signals blocked; the end of the section restores the mask, and the kernel delivers. Outside it calls
//! the handler. So a section costs no system call unless a signal comes. Nothing here allocates or takes a lock.

use std::arch::global_asm;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering, compiler_fence};

use libc::{c_int, c_void, sighandler_t, siginfo_t, ucontext_t};
use syscalls::{Sysno, syscall};
use wslayer::sys::{Errno, RESTART, Result};

use crate::glue::LAYER;
use crate::hooks::next_sigaction;
use crate::thread::{self, Thread};

/// Signal numbers, as the kernel has them, go from 1 to this.
const SIGNALS: usize = 64;

/// Signals of the thread's own doing: blocking them, or putting them off, would end the process.
const OWN_DOING: [c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// The two that libc keeps for itself: pthread_cancel(3) and setuid(2) of all threads.
const OF_LIBC: [c_int; 2] = [32, 33];

/// The size of the kernel's sigset_t.
const MASK: usize = 8;

/// What is blocked while a signal is put off.
const ALL: u64 = !(bits(&OWN_DOING) | bits(&OF_LIBC));

const fn bits(mut signals: &[c_int]) -> u64 {
    let mut mask = 0;
    while let [signal, rest @ ..] = signals {
        mask |= 1 << (*signal - 1);
        signals = rest;
    }
    mask
}

/// What the program wants done on a signal; the kernel has [`on_signal`].
struct Action {
    handler: AtomicUsize,
    /// Those flags that the kernel was not given as the program has them: `SA_SIGINFO` and `SA_RESETHAND`.
    flags: AtomicI32,
}

static ACTIONS: [Action; SIGNALS + 1] =
    [const { Action { handler: AtomicUsize::new(0), flags: AtomicI32::new(0) } }; SIGNALS + 1];

const KEPT_FLAGS: c_int = libc::SA_SIGINFO | libc::SA_RESETHAND;

impl Thread {
    #[inline(always)]
    fn enter(&self) {
        self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn leave(&self) {
        compiler_fence(Ordering::SeqCst);
        self.set_depth(self.depth.load(Ordering::Relaxed).saturating_sub(1));
    }

    #[inline(always)]
    fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        if depth == 0 && self.deferred.load(Ordering::Relaxed) != 0 {
            self.deliver();
        }
    }

    /// Lets the handlers run that had to wait.
    #[cold]
    #[inline(never)]
    fn deliver(&self) {
        self.deferred.store(0, Ordering::Relaxed);
        set_mask(self.mask.load(Ordering::Relaxed));
    }
}

/// A section, until it is dropped. The pointer saves a second search for the thread's own, and keeps it with its thread.
pub struct Section(*const Thread);

impl Section {
    /// Begins a section.
    #[inline(always)]
    pub fn enter() -> Self {
        thread::with(|thread| {
            thread.enter();
            Section(thread)
        })
    }

    /// The thread's own errno(3).
    #[inline(always)]
    pub fn errno(&self) -> *mut c_int {
        // SAFETY: as in `drop`.
        unsafe { (*self.0).errno() }
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: a section stays in the thread that entered it, and this memory is the thread's until it ends: nothing in it is
        // ever dropped.
        unsafe { (*self.0).leave() }
    }
}

/// Runs `f`, which waits, outside all sections. The thread holds no lock. A handler may leave `f` by siglongjmp(3).
#[inline(always)]
pub fn outside<T>(f: impl FnOnce() -> T) -> T {
    thread::with(|thread| {
        let depth = thread.depth.load(Ordering::Relaxed);
        thread.set_depth(0);
        let result = f();
        thread.set_depth(depth);
        result
    })
}

/// A system call of four arguments that may wait, in a section. A signal that has a handler ends it, so that what was done is
/// accounted for before the handler runs.
///
/// # Errors
/// [`RESTART`] where the kernel would have gone on after the handler, and for a signal before the wait. Nothing was done then.
///
/// # Safety
/// As for the system call.
pub unsafe fn wait(number: Sysno, arguments: [usize; 4]) -> Result<usize> {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller's promise; the flag lives as long as the thread.
    let result = thread::with(|thread| unsafe { wswrap_wait(number as usize, a, b, c, d, thread.deferred.as_ptr()) });
    usize::try_from(result).map_err(|_| Errno(-result as c_int))
}

unsafe extern "C" {
    fn wswrap_wait(number: usize, a: usize, b: usize, c: usize, d: usize, deferred: *const u32) -> isize;
    /// From here on a signal is to end the call;
    static wswrap_wait_begin: u8;
    /// this is the system call, where the kernel goes back to for a restart;
    static wswrap_wait_call: u8;
    /// and here its result is known.
    static wswrap_wait_end: u8;
}

// A look at the flag, then the system call. A signal between the two would be put off until the wait is over, which may be never:
// so `on_signal` takes a thread that it finds between `begin` and `call` to `end`.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .text.wswrap_wait, \"ax\", @progbits",
    ".hidden wswrap_wait, wswrap_wait_begin, wswrap_wait_call, wswrap_wait_end",
    ".globl wswrap_wait, wswrap_wait_begin, wswrap_wait_call, wswrap_wait_end",
    "wswrap_wait:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "wswrap_wait_begin:",
    "cmp dword ptr [r9], 0",
    "jne 2f",
    "wswrap_wait_call:",
    "syscall",
    "wswrap_wait_end:",
    "ret",
    "2:",
    "mov rax, -{restart}",
    "ret",
    ".popsection",
    restart = const RESTART.0,
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .text.wswrap_wait, \"ax\", @progbits",
    ".hidden wswrap_wait, wswrap_wait_begin, wswrap_wait_call, wswrap_wait_end",
    ".globl wswrap_wait, wswrap_wait_begin, wswrap_wait_call, wswrap_wait_end",
    "wswrap_wait:",
    "mov x8, x0",
    "mov x0, x1",
    "mov x1, x2",
    "mov x2, x3",
    "mov x3, x4",
    "wswrap_wait_begin:",
    "ldr w9, [x5]",
    "cbnz w9, 2f",
    "wswrap_wait_call:",
    "svc 0",
    "wswrap_wait_end:",
    "ret",
    "2:",
    "mov x0, -{restart}",
    "ret",
    ".popsection",
    restart = const RESTART.0,
);

/// If the thread is about to make the system call of [`wait`], or to make it again, it has failed with [`RESTART`] instead.
fn end_wait(context: &mut ucontext_t) {
    let between = |at: u64| {
        let (begin, call) = (&raw const wswrap_wait_begin, &raw const wswrap_wait_call);
        (begin as u64..=call as u64).contains(&at)
    };
    let end = &raw const wswrap_wait_end as u64;
    #[cfg(target_arch = "x86_64")]
    {
        let registers = context.uc_mcontext.gregs.get_mut(libc::REG_RAX as usize..=libc::REG_RIP as usize);
        if let Some([rax, _, _, rip]) = registers
            && between(rip.cast_unsigned())
        {
            (*rax, *rip) = (i64::from(-RESTART.0), end.cast_signed());
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let machine = &mut context.uc_mcontext;
        if let ([x0, ..], true) = (&mut machine.regs, between(machine.pc)) {
            (*x0, machine.pc) = (i64::from(-RESTART.0).cast_unsigned(), end);
        }
    }
}

fn set_mask(mask: u64) {
    // SAFETY: `mask` is readable, and as large as the kernel is told.
    let _ = unsafe { syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, MASK) };
}

/// What the kernel calls for each signal that the program handles.
unsafe extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let waits = thread::with(|thread| {
        let waits = thread.depth.load(Ordering::Relaxed) != 0;
        if waits {
            // SAFETY: the kernel's own arguments.
            unsafe { defer(thread, signal, info, context.cast()) };
        }
        waits
    });
    let Some(action) = ACTIONS.get(signal as usize).filter(|_| !waits) else { return };
    let handler = action.handler.load(Ordering::Relaxed);
    if action.flags.load(Ordering::Relaxed) & libc::SA_RESETHAND != 0 {
        // SAFETY: all zeros is a valid action: the default one.
        unsafe { next_sigaction()(signal, MaybeUninit::<libc::sigaction>::zeroed().as_ptr(), ptr::null_mut()) };
    }
    if !is_plain(handler) {
        // SAFETY: the program has installed it as a handler. One that takes the signal alone finds the further arguments in
        // registers that it does not look at.
        unsafe {
            let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(handler);
            handler(signal, info, context);
        }
    }
}

/// Puts a signal off to the end of the section.
///
/// # Safety
/// `info` and `context` are what the kernel gave a signal handler of this thread.
unsafe fn defer(thread: &Thread, signal: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
    // First of all: the signal must not come at once, as it might where the program has set SA_NODEFER, nor another one.
    set_mask(ALL);
    // SAFETY: the kernel has filled both. Its part of the mask are the first bytes.
    unsafe {
        let mask = (&raw mut (*context).uc_sigmask).cast::<u64>();
        // A further signal may have come before the mask was set; it saw the mask of this very handler. The outermost one is
        // the last to come here.
        thread.mask.store(mask.read_unaligned(), Ordering::Relaxed);
        thread.deferred.store(1, Ordering::Relaxed);
        mask.write_unaligned(ALL);
        // Asked of the kernel: libc's idea of them is the parent's in a vfork(2) child.
        let (pid, tid) = (syscall!(Sysno::getpid).unwrap_or(0), syscall!(Sysno::gettid).unwrap_or(0));
        if syscall!(Sysno::rt_tgsigqueueinfo, pid, tid, signal, info).is_err() {
            // No room in the queue: better without its information than not at all.
            let _ = syscall!(Sysno::tgkill, pid, tid, signal);
        }
        end_wait(&mut *context);
    }
}

/// No handler: `SIG_DFL`, `SIG_IGN`, or what the program cannot mean.
fn is_plain(handler: sighandler_t) -> bool {
    handler == libc::SIG_DFL || handler == libc::SIG_IGN || handler == libc::SIG_ERR
}

fn is_ours(handler: sighandler_t) -> bool {
    handler == on_signal as unsafe extern "C" fn(_, _, _) as sighandler_t
}

/// Whether handlers of `signal` are called by way of [`on_signal`].
pub fn is_covered(signal: c_int) -> bool {
    (1..=SIGNALS as c_int).contains(&signal)
        && !OWN_DOING.contains(&signal)
        && LAYER.get().is_some_and(|layer| !layer.is_vfork_child())
}

/// What the program is told of the present handler, and its flags.
fn present(signal: c_int) -> (sighandler_t, c_int) {
    let action = ACTIONS.get(signal as usize);
    action.map_or((0, 0), |action| (action.handler.load(Ordering::Relaxed), action.flags.load(Ordering::Relaxed)))
}

/// sigaction(2).
///
/// # Safety
/// As for sigaction(2).
pub unsafe fn sigaction(signal: c_int, act: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    let (handler, flags) = present(signal);
    // SAFETY: the caller's promise.
    let mut given = unsafe { act.as_ref() }.copied();
    if let Some(given) = &mut given
        && !is_plain(given.sa_sigaction)
        && !is_ours(given.sa_sigaction)
        && is_covered(signal)
        && let Some(action) = ACTIONS.get(signal as usize)
    {
        action.handler.store(given.sa_sigaction, Ordering::Relaxed);
        action.flags.store(given.sa_flags & KEPT_FLAGS, Ordering::Relaxed);
        given.sa_sigaction = on_signal as unsafe extern "C" fn(_, _, _) as sighandler_t;
        given.sa_flags = given.sa_flags & !libc::SA_RESETHAND | libc::SA_SIGINFO;
    }
    let act = given.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the caller's promise, and `act` is null or readable.
    let result = unsafe { next_sigaction()(signal, act, old) };
    // SAFETY: the caller's promise.
    if let (0, Some(old)) = (result, unsafe { old.as_mut() })
        && is_ours(old.sa_sigaction)
    {
        old.sa_sigaction = handler;
        old.sa_flags = old.sa_flags & !KEPT_FLAGS | flags;
    }
    result
}

/// signal(2) and its kin, which `real` is one of: it has set a handler with the flags that it stands for.
pub fn signal(signal: c_int, real: impl FnOnce() -> sighandler_t) -> sighandler_t {
    let (handler, _) = present(signal);
    let old = real();
    adopt(signal);
    if is_ours(old) { handler } else { old }
}

/// Takes over a handler that was set without us.
fn adopt(signal: c_int) {
    let mut set = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `set` is writable, and all zeros is a valid one.
    unsafe {
        if is_covered(signal) && next_sigaction()(signal, ptr::null(), set.as_mut_ptr()) == 0 {
            let set = set.assume_init();
            if !is_plain(set.sa_sigaction) && !is_ours(set.sa_sigaction) {
                sigaction(signal, &raw const set, ptr::null_mut());
            }
        }
    }
}

/// Takes over the handlers that were set before the library was started.
pub fn adopt_all() {
    (1..=SIGNALS as c_int).for_each(adopt);
}
