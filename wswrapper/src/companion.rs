//! Starts the companion of a connection: `wsproxy bridge`, a process of its own that leaves no trace in this one.
//!
//! It is started as posix_spawn(3) does it, by a clone that shares our memory while we wait, so that the size of the program does
//! not matter, nothing is copied, and no lock or handler of the program comes into it; but twice: the process between ends at
//! once and is waited for here, with no signal for its end, so that the program's own wait(2) and SIGCHLD know of neither. The
//! companion gets the two sockets as its descriptors 0 and 1, one for questions as 3, and nothing else of ours but, if it is to log there, standard
//! error; its environment is not the program's, in which `LD_PRELOAD` stands.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use libc::{c_char, c_int, c_void};
use once_cell::race::OnceBox;
use syscalls::{Sysno, syscall};
use wslayer::config::{Config, LogTarget};
use wslayer::sys::{Errno, Fd, Result};

use crate::glue::errno;
use crate::start::logs_to_stderr;

/// The names of the program: the companion alone, and the proxy, which is many times its size and does the same if it is told to.
const NAMES: [&str; 2] = ["wsproxy-bridge", "wsproxy"];

/// Where it may be, seen from the directory of the library: beside it, or where an installation has its programs.
const PLACES: [&str; 3] = [".", "../bin", "../../bin"];

/// Stack of each of the two processes until it executes: what they do is in this file.
const STACK: usize = 32 * 1024;

/// What is known from the start, so that nothing is looked up when it is needed.
struct Companion {
    paths: Vec<CString>,
    environment: Vec<CString>,
    verbose: bool,
}

static COMPANION: OnceBox<Companion> = OnceBox::new();

/// Notes where the companion is and how it is to log. `WSWRAP_COMPANION` names another.
pub fn prepare(config: &Config) {
    let named = std::env::var_os("WSWRAP_COMPANION").filter(|path| !path.is_empty());
    let paths: Vec<PathBuf> = match (named, own_directory()) {
        (Some(path), _) => vec![path.into()],
        (None, Some(directory)) => {
            let in_all_places = |name| PLACES.map(|place| directory.join(place).join(name));
            NAMES.into_iter().flat_map(in_all_places).collect()
        }
        (None, None) => Vec::new(),
    };
    let mut environment = Vec::new();
    if config.verbose {
        environment.push(c"WSWRAP_VERBOSE=1".to_owned());
        if let LogTarget::File(path) = &config.log {
            environment.extend(CString::new(format!("WSWRAP_LOG={path}")));
        }
    }
    let paths = paths.into_iter().filter_map(|path| CString::new(path.into_os_string().as_encoded_bytes()).ok());
    let stderr = config.log == LogTarget::Stderr;
    let companion = Companion { paths: paths.collect(), environment, verbose: config.verbose && stderr };
    let _ = COMPANION.set(Box::new(companion));
}

/// The directory of this library, without symbolic links: it may have been loaded by a name that does not stay.
fn own_directory() -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: the address is of this library, and `info` is writable.
    let found = unsafe { libc::dladdr((&raw const COMPANION).cast(), &raw mut info) } != 0;
    if !found || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a C string of the loader's, which stays as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes())).canonicalize().ok()?;
    path.parent().map(Path::to_owned)
}

/// What the two processes need, and what becomes of them. They share the memory of this thread, which waits for both.
struct Start<'a> {
    paths: &'a [CString],
    argv: [*const c_char; 3],
    envp: [*const c_char; 3],
    net: Fd,
    pair: Fd,
    questions: Option<Fd>,
    /// Whether standard error goes along.
    stderr: bool,
    /// The lower one of the two stacks ends here.
    stack: *mut c_void,
    companion: Result<libc::pid_t>,
    error: c_int,
}

/// Starts a companion that speaks for the connection `net` with the program at the other end of `pair`, and is asked by `questions`.
///
/// # Errors
/// `ENOENT` when there is none; those of clone(2), mmap(2) and execve(2).
pub fn start(net: Fd, pair: Fd, questions: Option<Fd>) -> Result<libc::pid_t> {
    let Some(companion) = COMPANION.get() else { return Err(Errno(libc::ENOENT)) };
    let mut environment = companion.environment.iter().map(|variable| variable.as_ptr());
    let mut variable = || environment.next().unwrap_or(ptr::null());
    let envp = [variable(), variable(), ptr::null()];
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh anonymous mapping.
    let stacks = unsafe { libc::mmap(ptr::null_mut(), 2 * STACK, access, flags | libc::MAP_STACK, -1, 0) };
    if stacks == libc::MAP_FAILED {
        return Err(Errno(errno()));
    }
    let mut start = Start {
        paths: &companion.paths,
        argv: [c"wsproxy".as_ptr(), c"bridge".as_ptr(), ptr::null()],
        envp,
        net,
        pair,
        questions,
        stderr: companion.verbose && logs_to_stderr(),
        stack: stacks.wrapping_byte_add(STACK),
        companion: Err(Errno(libc::ENOENT)),
        error: 0,
    };
    let top = stacks.wrapping_byte_add(2 * STACK);
    let blocked = block_signals();
    // SAFETY: `between` runs on a stack of its own while this thread waits for its end, so what it shares with us stays as it
    // is. Signals are blocked: no handler of the program runs in it. Without CLONE_FILES it has its own descriptors.
    let between = unsafe { libc::clone(between, top, libc::CLONE_VM | libc::CLONE_VFORK, (&raw mut start).cast()) };
    let failed = errno();
    if between > 0 {
        // Its end sends no signal, so no wait of the program but one for all kinds of children sees it.
        // SAFETY: no memory is involved.
        while let Err(syscalls::Errno::EINTR) = unsafe { syscall!(Sysno::wait4, between, 0, libc::__WALL, 0) } {}
    }
    restore_signals(blocked);
    // SAFETY: the mapping is ours, and both who used it are done.
    unsafe { libc::munmap(stacks, 2 * STACK) };
    match (between, start.error) {
        (..0, _) => Err(Errno(failed)),
        (_, 0) => start.companion,
        (_, error) => Err(Errno(error)),
    }
}

/// The process between: starts the companion, and ends when that executes. The companion is nobody's child then, or init's.
extern "C" fn between(start: *mut c_void) -> c_int {
    // SAFETY: the starter's `Start`, which only this process uses until it ends.
    let shared = unsafe { &mut *start.cast::<Start<'_>>() };
    // SAFETY: as for the clone in `start`, with the other stack.
    let pid = unsafe { libc::clone(execute, shared.stack, libc::CLONE_VM | libc::CLONE_VFORK, start) };
    shared.companion = if pid < 0 { Err(Errno(errno())) } else { Ok(pid) };
    0
}

/// The companion until it executes.
extern "C" fn execute(start: *mut c_void) -> c_int {
    // SAFETY: the starter's `Start`, which only this process uses until it executes or ends.
    let start = unsafe { &mut *start.cast::<Start<'_>>() };
    // Descriptors of the companion's, and what they are here.
    let mut places = [Some((start.net, 0)), Some((start.pair, 1)), start.questions.map(|fd| (fd, 3))];
    // SAFETY: the descriptors are this process's own copies, and every pointer is to C strings and arrays that end with null.
    unsafe {
        // Out of the way first: each may have the number that another one gets.
        for (fd, _) in places.iter_mut().flatten() {
            match syscall!(Sysno::fcntl, *fd, libc::F_DUPFD, 10) {
                Ok(high) => *fd = high as Fd,
                Err(error) => {
                    start.error = error.into_raw();
                    return 1;
                }
            }
        }
        for (fd, place) in places.into_iter().flatten() {
            if let Err(error) = syscall!(Sysno::dup3, fd, place, 0) {
                start.error = error.into_raw();
                return 1;
            }
        }
        if !start.stderr {
            let _ = syscall!(Sysno::close, libc::STDERR_FILENO);
        }
        let lowest_free = if start.questions.is_some() { 4 } else { 3 };
        if syscall!(Sysno::close_range, lowest_free, c_int::MAX, 0).is_err() {
            // Linux before 5.9.
            for fd in lowest_free..crate::start::descriptor_table_size() {
                let _ = syscall!(Sysno::close, fd);
            }
        }
        let mut failed = libc::ENOENT;
        for path in start.paths {
            if let Err(error) = syscall!(Sysno::execve, path.as_ptr(), start.argv.as_ptr(), start.envp.as_ptr())
                && error != syscalls::Errno::ENOENT
            {
                failed = error.into_raw();
            }
        }
        // Only here: where it executes, the starter goes on with this memory.
        start.error = failed;
    }
    1
}

/// The signals that were blocked, as the kernel has them.
type Mask = u64;

/// Blocks all signals, those of the C library too. Returns what was blocked.
fn block_signals() -> Mask {
    let (all, mut before): (Mask, Mask) = (!0, 0);
    // SAFETY: both masks are of the size given.
    let _ = unsafe {
        syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut before, size_of::<Mask>())
    };
    before
}

/// Undoes that.
fn restore_signals(mask: Mask) {
    // SAFETY: the mask is of the size given.
    let _ = unsafe { syscall!(Sysno::rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, size_of::<Mask>()) };
}
