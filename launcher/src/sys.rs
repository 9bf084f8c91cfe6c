//! The system calls that std has not, or does not do plainly. All unsafe of the launcher stands here and at the entry.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The command line as the C runtime hands it to `main`.
///
/// # Safety
/// `argv` points to `argc` pointers to NUL-terminated strings.
#[cfg_attr(test, allow(dead_code, reason = "called by the C entry point, which a test binary has not"))]
pub unsafe fn arguments(argc: libc::c_int, argv: *const *const libc::c_char) -> Vec<OsString> {
    let count = usize::try_from(argc).unwrap_or(0);
    (0..count)
        .map(|i| {
            // SAFETY: `i < argc`, and the caller vouches for so many strings.
            let arg = unsafe { CStr::from_ptr(*argv.add(i)) };
            OsString::from_vec(arg.to_bytes().to_vec())
        })
        .collect()
}

/// Becomes the program at `path`, with this process's environment and `changes` made to it. Comes back only with the
/// error of execve(2). Unlike std's `Command` it touches neither the signal mask nor any signal's disposition.
pub fn exec(path: &Path, argv: &[OsString], changes: &[(&str, OsString)]) -> io::Error {
    match try_exec(path, argv, changes) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_exec(path: &Path, argv: &[OsString], changes: &[(&str, OsString)]) -> io::Result<Infallible> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let argv = argv.iter().map(|arg| CString::new(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    let changed: HashSet<&OsStr> = changes.iter().map(|(name, _)| OsStr::new(*name)).collect();
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os().filter(|(name, _)| !changed.contains(name.as_os_str())) {
        env.push(variable(&name, &value)?);
    }
    for (name, value) in changes {
        env.push(variable(OsStr::new(name), value)?);
    }
    let (argv, env) = (pointers(&argv), pointers(&env));
    // SAFETY: a C string and two NULL-terminated arrays of pointers to C strings, which all live until after the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    Ok(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?)
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// May this process execute the file at `path`? Its mode, ACLs and mount are asked with the effective ids, as
/// execve(2) does.
pub fn executable(path: &Path) -> bool {
    allowed(path, libc::X_OK)
}

/// May this process write to the file or directory at `path`?
pub fn writable(path: &Path) -> bool {
    allowed(path, libc::W_OK)
}

fn allowed(path: &Path, mode: libc::c_int) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `path` is a C string.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) == 0 }
}

/// Who runs this process.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Real user.
    pub uid: u32,
    /// Real group.
    pub gid: u32,
    /// Effective user: the owner of what this process makes.
    pub euid: u32,
}

/// The ids of this process.
pub fn ids() -> Ids {
    // SAFETY: getuid(2), getgid(2) and geteuid(2) have no arguments and cannot fail.
    unsafe { Ids { uid: libc::getuid(), gid: libc::getgid(), euid: libc::geteuid() } }
}

/// The value of an extended attribute; empty if there is none or it cannot be read. Of those that matter here none is
/// longer than a few words.
pub fn attribute(path: &Path, name: &CStr) -> Vec<u8> {
    let mut value = vec![0; 64];
    let length = CString::new(path.as_os_str().as_bytes()).map_or(-1, |path| {
        // SAFETY: two C strings, and a buffer that is writable for its length.
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) }
    });
    value.truncate(usize::try_from(length).unwrap_or(0));
    value
}

/// Does the mount that holds `path` ignore set-uid, set-gid and file capabilities (mount(8), `nosuid`)?
pub fn is_nosuid(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a C string; statvfs(3) fills `stat` where it succeeds.
    unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) == 0 && stat.assume_init().f_flag & libc::ST_NOSUID != 0 }
}

/// Is this process one that execve(2) gives no new privileges (prctl(2), `PR_SET_NO_NEW_PRIVS`)?
pub fn no_new_privs() -> bool {
    // SAFETY: plain system call; the unused arguments must be 0.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Runs `work` in a process of its own after `delay`, unless this process, or the program that it has become, ends before.
///
/// That process is nobody's child but init's, so that the program finds none that it has not started; it has no descriptor
/// of this one but standard error, if `with_stderr`. Nothing is run where it could not be hidden: in a process that
/// adopts orphans, as the first one of a container does.
pub fn beside(delay: Duration, with_stderr: bool, work: impl FnOnce()) {
    // SAFETY: plain system calls. The launcher has one thread, so a child may do whatever this process may. Raw clone(2)
    // with no flags and no stack is fork without a signal at the child's end: a SIGCHLD could be left pending for the
    // program where it is blocked.
    unsafe {
        let mut adopts: libc::c_int = 0;
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut adopts, 0, 0, 0);
        let own = libc::getpid();
        let program = libc::syscall(libc::SYS_pidfd_open, own, 0);
        let Ok(program) = libc::c_int::try_from(program) else { return };
        if own == 1 || adopts != 0 || program < 0 {
            return;
        }
        let child = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0);
        if child == 0 {
            if libc::fork() == 0 && keep(program, with_stderr) && outlives(delay) {
                work();
            }
            libc::_exit(0);
        }
        let Ok(child) = libc::pid_t::try_from(child) else { return };
        while libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

/// Makes descriptor 0 the one of the program, and leaves no other open but standard error, if `with_stderr`.
fn keep(program: libc::c_int, with_stderr: bool) -> bool {
    // SAFETY: plain system calls of a process that uses no descriptor but these.
    unsafe {
        // A directory in use could not be unmounted.
        libc::chdir(c"/".as_ptr()) == 0
            && (program == 0 || libc::dup2(program, 0) == 0)
            && libc::syscall(libc::SYS_close_range, 1, 1, 0) == 0
            && libc::syscall(libc::SYS_close_range, if with_stderr { 3 } else { 2 }, libc::c_uint::MAX, 0) == 0
    }
}

/// Waits for `delay`; false if the process of descriptor 0 ends before.
fn outlives(delay: Duration) -> bool {
    let end = Instant::now() + delay;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        // Rounded up, so that the loop does not spin at the end.
        let millis = libc::c_int::try_from(left.as_millis() + 1).unwrap_or(libc::c_int::MAX);
        // SAFETY: one pollfd, which lives across the call.
        match unsafe { libc::poll(&raw mut poll, 1, millis) } {
            0 => return true,
            // Stopped and continued.
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
}
