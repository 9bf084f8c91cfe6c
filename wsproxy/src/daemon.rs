//! The process itself: into the background, its number in a file, its rights given up.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{ForkResult, chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, fork};
use nix::unistd::{initgroups, setgid, setgroups, setsid, setuid};
use wsproxy::made::MadeFile;

use crate::config::Identity;
use crate::ending::release_signals;
use crate::failure::Failure;

/// Who waits for the daemon to be ready: the process that was started. It ends with status 0 when it is told so, and with the
/// daemon's own failure, which has been told, when it is not.
#[derive(Debug)]
pub struct Waiter(std::io::PipeWriter);

/// Where the two processes of [`background`] are.
pub enum Side {
    /// In the background.
    Daemon(Waiter),
    /// In the one that was started, or between, which is to end with this status at once.
    Started(i32),
}

/// Goes on in a process of a session of its own, without a terminal. No other thread may run.
///
/// Errors of the daemon still go to the terminal, until [`Waiter::ready`].
///
/// # Errors
/// Those of pipe(2) and fork(2).
pub fn background() -> Result<Side, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::system("--daemon", why);
    let (mut told, tell) = std::io::pipe().map_err(|why| failed(&why))?;
    // SAFETY: no other thread runs, so the child may do whatever the parent may.
    match unsafe { fork() }.map_err(|why| failed(&why))? {
        ForkResult::Parent { .. } => {
            drop(tell);
            // It has no files, and may be told to wait no longer.
            release_signals();
            // The end without a byte is the end of the daemon, which has said why.
            let ready = told.read(&mut [0]).is_ok_and(|count| count == 1);
            return Ok(Side::Started(if ready { 0 } else { 1 }));
        }
        ForkResult::Child => drop(told),
    }
    setsid().map_err(|why| failed(&why))?;
    // A session's leader could get a terminal again by opening one; its child cannot (credentials(7)).
    // SAFETY: no other thread runs, as above.
    match unsafe { fork() }.map_err(|why| failed(&why))? {
        // The pipe stays open in the child alone.
        ForkResult::Parent { .. } => Ok(Side::Started(0)),
        ForkResult::Child => Ok(Side::Daemon(Waiter(tell))),
    }
}

impl Waiter {
    /// Lets the process that was started end, and leaves its terminal and directory.
    ///
    /// # Errors
    /// Those of chdir(2), and of opening /dev/null.
    pub fn ready(mut self, null: &File) -> Result<(), Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::system("--daemon", why);
        // No file system is kept busy.
        chdir("/").map_err(|why| failed(&why))?;
        silence(null)?;
        self.0.write_all(b"\n").map_err(|why| failed(&why))
    }
}

/// Lets nothing out and in by the standard descriptors.
///
/// # Errors
/// Those of dup2(2).
pub fn silence(null: &File) -> Result<(), Failure> {
    let done = dup2_stdin(null).and_then(|()| dup2_stdout(null)).and_then(|()| dup2_stderr(null));
    done.map_err(|why| Failure::system("/dev/null", why))
}

/// Writes a file with the number of this process, to be removed at the end; `None`, if what stands there is no regular file, such as a
/// device: that stays.
///
/// # Errors
/// Those of open(2) and write(2). Nothing is left of the file then.
pub fn write_pid(path: &Path) -> Result<Option<MadeFile>, Failure> {
    let write = || {
        // A FIFO without a reader is not waited for.
        let mut open = File::options();
        let mut file = open.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let data = file.metadata()?;
        let made = data.is_file().then(|| MadeFile::new(path, &data)).transpose()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(made)
    };
    write().map_err(|why: std::io::Error| Failure::system(format!("--pid-file {}", path.display()), why))
}

/// Gives up what is not needed when all is opened: the groups, the file system, the user. The user's groups are looked up before the
/// files that name them are out of reach, and the user goes last, with the right to all of it. `files` are told of the root directory.
///
/// # Errors
/// Those of chroot(2), initgroups(3), setgid(2) and setuid(2).
pub fn give_up<'a>(identity: &Identity, files: impl Iterator<Item = &'a mut MadeFile>) -> Result<(), Failure> {
    let Identity { user, uid, gid, chroot: root } = identity;
    let group = gid.or(user.as_ref().map(|user| user.gid));
    let uid = user.as_ref().map(|user| user.uid).or(*uid);
    if let Some(group) = group {
        // Named by the option that asks for it.
        let option = match (gid, user) {
            (None, Some(user)) => format!("--user {}", user.name),
            _ => format!("--group {group}"),
        };
        let failed = |why| Failure::system(option.as_str(), why);
        // Root's own groups do not stay.
        match user.as_ref().and_then(|user| CString::new(user.name.as_str()).ok()) {
            Some(name) => initgroups(&name, group),
            None => setgroups(&[group]),
        }
        .map_err(failed)?;
        setgid(group).map_err(failed)?;
    }
    if let Some(root) = root {
        let failed = |why| Failure::system(format!("--chroot {}", root.display()), why);
        let real = root.canonicalize().unwrap_or_default();
        chroot(root).map_err(failed)?;
        chdir("/").map_err(failed)?;
        files.for_each(|file| file.below(&real));
    }
    if let Some(uid) = uid {
        setuid(uid).map_err(|why| Failure::system(format!("--user {uid}"), why))?;
    }
    Ok(())
}

/// The limits on descriptors that the process was started with, if it has others of its own.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorLimit(Option<(u64, u64)>);

/// As many descriptors as may be had: each WebSocket needs two.
pub fn raise_descriptor_limit() -> DescriptorLimit {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return DescriptorLimit(None) };
    // With fewer it works as well, for fewer clients.
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    DescriptorLimit(raised.then_some((soft, hard)))
}

impl DescriptorLimit {
    /// Gives it to a program that is to be started. With more it might fail: select(2) stops at 1024, and who closes all that it
    /// may have needs hours for a thousand million.
    pub fn give_to(self, command: &mut tokio::process::Command) {
        if let Some((soft, hard)) = self.0 {
            let lower = move || setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(std::io::Error::from);
            // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
            unsafe { command.pre_exec(lower) };
        }
    }
}
