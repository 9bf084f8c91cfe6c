//! The system calls that std has not, or does not do plainly. All unsafe of the launcher stands here and at the entry.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

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

/// Does the file carry capabilities (capabilities(7), "File capabilities")?
pub fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: two C strings; a size of 0 asks for the length alone, nothing is written.
    unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}
