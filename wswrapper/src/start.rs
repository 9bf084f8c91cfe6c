//! What happens when the library is loaded, around fork(2), and at exit(3); and where log lines go.

use std::cell::RefCell;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libc::{c_int, c_long, c_void};
use once_cell::race::OnceBox;
use wslayer::Layer;
use wslayer::config::{Config, LogTarget, Ports};
use wslayer::fork::ForkGuard;

use crate::companion;
use crate::glue::{LAYER, SLOTS, errno, set_errno};
use crate::hooks;
use crate::inherit;
use crate::kernel::Kernel;
use crate::ours;
use crate::rebind;
use crate::signals::{self, Section};

/// Runs when the library is loaded, before the program.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

thread_local! {
    /// What is locked between the two sides of a fork, in the thread that forks.
    static FORKING: RefCell<Option<(ForkGuard<'static>, Section)>> = const { RefCell::new(None) };
}

/// Where log lines go.
static LOG: OnceBox<Log> = OnceBox::new();

enum Log {
    /// Descriptor 2, as long as it is this file.
    Stderr { dev: libc::dev_t, ino: libc::ino_t },
    /// Opened for each line: the library keeps no descriptor that the program could close or reuse.
    File(CString),
}

extern "C" fn start() {
    // Whatever goes wrong in here must neither print through the program's stderr nor reach the program.
    std::panic::set_hook(Box::new(|_| {}));
    let errno = errno();
    let _ = catch_unwind(|| {
        hooks::resolve();
        match Config::from_env(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())) {
            Ok(config) => {
                rebind::prepare(config.rebind);
                if config.ports == Ports::None {
                    return;
                }
                if config.no_inherit && inherit::is_open_elsewhere(&config) {
                    inherit::disinherit();
                }
                inherit::remember();
                wrap(config);
                inherit::adopt_queues();
            }
            Err(line) => complain(&line),
        }
    });
    set_errno(errno);
}

fn wrap(config: Config) {
    let log = match &config.log {
        LogTarget::Nowhere => None,
        LogTarget::Stderr => identity(libc::STDERR_FILENO).map(|(dev, ino)| Log::Stderr { dev, ino }),
        LogTarget::File(path) => CString::new(path.as_str()).ok().map(Log::File),
    };
    if let Some(log) = log {
        let _ = LOG.set(Box::new(log));
    }
    companion::prepare(&config);
    let _ = LAYER.set(Box::new(Layer::new(Kernel::new(), SLOTS, config)));
    signals::adopt_all();
    // SAFETY: the handlers are functions of this library, which is never unloaded.
    unsafe {
        libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child));
        libc::atexit(at_exit);
    }
}

/// One line on stderr: the environment is wrong, and nothing is wrapped.
fn complain(line: &str) {
    let line = format!("libwswrapper.so: {line}; no port is wrapped\n");
    // SAFETY: `line` is readable for its length.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

unsafe extern "C" fn before_fork() {
    if let Some(layer) = LAYER.get() {
        let section = Section::enter();
        let guard = layer.before_fork();
        let _ = FORKING.try_with(|forking| forking.replace(Some((guard, section))));
    }
}

unsafe extern "C" fn in_parent() {
    // What is taken out is dropped when the cell is free again: a handler may run then, and fork.
    drop(FORKING.try_with(|forking| forking.take()));
}

unsafe extern "C" fn in_child() {
    let guard = FORKING.try_with(|forking| forking.take());
    if let (Some(layer), Ok(Some((guard, _section)))) = (LAYER.get(), guard) {
        layer.in_child(guard);
    }
}

/// A fork of which the C library knows nothing: `real` returns 0 in the child, and less where there is none.
pub fn around_fork(real: impl FnOnce() -> c_long) -> c_long {
    // SAFETY: what the C library does around a fork, in this order and in these processes.
    unsafe {
        before_fork();
        let errno_before = errno();
        let result = real();
        let errno_after = if result < 0 { errno() } else { errno_before };
        if result == 0 {
            in_child()
        } else {
            in_parent()
        }
        set_errno(errno_after);
        result
    }
}

/// The function that a child of clone(2) runs.
pub type Main = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;

/// Whether clone(2) with these flags makes a child as a fork does: with memory of its own, the thread-local one included.
pub fn is_like_fork(flags: c_int) -> bool {
    flags & (libc::CLONE_VM | libc::CLONE_SETTLS) == 0
}

/// clone(2) like a fork. `real` makes the system call, of a child that runs the function and has the argument that it is given.
///
/// # Safety
/// As for clone(2) with `f` and `arg`.
pub unsafe fn around_clone(f: Main, arg: *mut c_void, real: impl FnOnce(Main, *mut c_void) -> c_int) -> c_int {
    let Some(main) = f else { return real(f, arg) };
    let child = Child { main, arg };
    // The child never returns from the system call, and has a copy of this frame.
    around_fork(|| real(Some(run_child), (&raw const child).cast_mut().cast()).into()) as c_int
}

/// What a child of clone(2) is to run.
#[derive(Clone, Copy)]
struct Child {
    main: unsafe extern "C" fn(*mut c_void) -> c_int,
    arg: *mut c_void,
}

unsafe extern "C" fn run_child(child: *mut c_void) -> c_int {
    // SAFETY: it is what `around_clone` has given, in the child's copy of the memory, and the program's own function.
    unsafe {
        let Child { main, arg } = *child.cast::<Child>();
        in_child();
        main(arg)
    }
}

extern "C" fn at_exit() {
    if let Some(layer) = LAYER.get() {
        let _section = Section::enter();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            ours::flush_streams();
            layer.at_exit();
        }));
    }
}

/// Whether descriptor 2 is what log lines go to.
pub fn logs_to_stderr() -> bool {
    matches!(LOG.get(), Some(Log::Stderr { dev, ino }) if identity(libc::STDERR_FILENO) == Some((*dev, *ino)))
}

/// Which file a descriptor is.
pub fn identity(fd: c_int) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills `stat` where it succeeds.
    unsafe {
        (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| {
            let stat = stat.assume_init();
            (stat.st_dev, stat.st_ino)
        })
    }
}

unsafe extern "C" {
    /// pthread_setcancelstate(3), which the libc crate does not have.
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// From pthread.h.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// Sets whether this thread can be cancelled; returns what was set.
fn cancel_state(state: c_int) -> c_int {
    let mut old = 0;
    // SAFETY: `old` is writable.
    unsafe { pthread_setcancelstate(state, &raw mut old) };
    old
}

/// Appends one line to the log. Whatever fails, the program does not notice.
pub fn log_line(line: &[u8]) {
    let Some(log) = LOG.get() else { return };
    let errno = errno();
    // A thread that is cancelled in open(2) or write(2) is unwound, and cannot be through Rust's frames.
    let cancel = cancel_state(PTHREAD_CANCEL_DISABLE);
    match log {
        // The program may have put something else in its place.
        Log::Stderr { dev, ino } if identity(libc::STDERR_FILENO) == Some((*dev, *ino)) => {
            write_all(libc::STDERR_FILENO, line);
        }
        Log::Stderr { .. } => {}
        Log::File(path) => {
            // Not waiting for the reader of a FIFO.
            let flags =
                libc::O_NONBLOCK | libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOCTTY;
            // SAFETY: `path` is a C string.
            let fd = unsafe { libc::open(path.as_ptr(), flags, 0o644) };
            if fd >= 0 {
                write_all(fd, line);
                // SAFETY: the descriptor is ours.
                unsafe { libc::close(fd) };
            }
        }
    }
    cancel_state(cancel);
    set_errno(errno);
}

/// One write: lines of several processes do not mix. A reader that has gone is no matter to the program: no SIGPIPE.
fn write_all(fd: c_int, line: &[u8]) {
    // SAFETY: all pointers are to initialized or writable locals; `line` is readable for its length.
    unsafe {
        let (mut pipe, mut before, mut pending) = (empty_set(), empty_set(), empty_set());
        libc::sigaddset(&raw mut pipe, libc::SIGPIPE);
        libc::sigpending(&raw mut pending);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, &raw mut before);
        let written = libc::write(fd, line.as_ptr().cast(), line.len());
        if written < 0 && errno() == libc::EPIPE && libc::sigismember(&raw const pending, libc::SIGPIPE) == 0 {
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const pipe, std::ptr::null_mut(), &raw const now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}

/// No signals.
fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// How many descriptors the kernel's table of this process has room for: `FDSize` of proc(5). Without /proc, what an fd_set
/// holds.
pub fn descriptor_table_size() -> c_int {
    let mut buf = [0; 512];
    // SAFETY: the path is a C string, and `buf` is writable for its length.
    let n = unsafe {
        let fd = libc::open(c"/proc/self/status".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let n = libc::read(fd, buf.as_mut_ptr().cast(), buf.len());
        libc::close(fd);
        usize::try_from(n).unwrap_or(0)
    };
    let text = std::str::from_utf8(buf.get(..n).unwrap_or_default()).unwrap_or_default();
    let size = text.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    size.unwrap_or(libc::FD_SETSIZE as c_int)
}
