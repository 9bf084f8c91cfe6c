//! The processes of one test: those that name its directory, and what they started. Daemons leave the process group and
//! the session of the test, and a browser rewrites its children's command lines, so neither would find them all.

use super::DEADLINE;
use super::output::readable;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process;
use std::time::Instant;

/// All processes whose environment or command line holds one path, and their descendants. Dropping it kills them and
/// waits until they are gone.
pub struct Family {
    mark: PathBuf,
}

impl Family {
    /// The family of `mark`: a path that no other process has reason to name, and that begins no path of another test.
    pub fn of(mark: impl Into<PathBuf>) -> Family {
        Family { mark: mark.into() }
    }

    /// The living members, this process excepted.
    fn members(&self) -> HashSet<u32> {
        let processes: Vec<u32> = fs::read_dir("/proc")
            .expect("/proc is mounted")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let parents: HashMap<u32, u32> = processes.iter().filter_map(|&pid| Some((pid, living_parent(pid)?))).collect();
        parents
            .keys()
            .copied()
            .filter(|&pid| pid != process::id())
            .filter(|&pid| {
                let mut line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
                line.any(|ancestor| ancestor != process::id() && self.names_mark(ancestor))
            })
            .collect()
    }

    /// True when the environment or the command line of `pid` holds the mark. A process of another user cannot be read and
    /// is none of ours.
    fn names_mark(&self, pid: u32) -> bool {
        let mark = self.mark.as_os_str().as_encoded_bytes();
        ["environ", "cmdline"]
            .iter()
            .filter_map(|file| fs::read(format!("/proc/{pid}/{file}")).ok())
            .any(|text| text.windows(mark.len()).any(|window| window == mark))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        let until = Instant::now() + DEADLINE;
        // A member may start another while this looks, hence again until none is left.
        loop {
            let members = self.members();
            if members.is_empty() {
                return;
            }
            let handles: Vec<OwnedFd> = members.iter().filter_map(|&pid| open(pid)).collect();
            for handle in &handles {
                kill(handle);
            }
            for handle in &handles {
                if !readable(handle, until) {
                    eprintln!("a process of {} does not end", self.mark.display());
                    return;
                }
            }
        }
    }
}

/// The parent of `pid`, or nothing when it has ended (a zombie included: nothing of it is left to kill).
fn living_parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses included: proc(5).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(parent)
}

/// A descriptor of the process, readable when it has ended: pidfd_open(2). Nothing when it has ended already.
fn open(pid: u32) -> Option<OwnedFd> {
    // SAFETY: the call takes a process id and flags and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = libc::c_int::try_from(descriptor).ok().filter(|&fd| fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sends SIGKILL: pidfd_send_signal(2). A process that has ended in the meantime is no error.
fn kill(handle: &OwnedFd) {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the whole call, and a null siginfo_t asks for the values of kill(2).
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), libc::SIGKILL, info, 0) };
    if sent != 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "pidfd_send_signal: {error}");
    }
}
