//! What the scripted kernel knows: its files, its processes, and what has been called.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use libc::{EBADF, EPOLLIN, EPOLLOUT, POLLNVAL, c_int};

use crate::sys::{Errno, Fd, Result};

/// One open file.
#[derive(Default)]
pub struct File {
    /// What can be received.
    pub input: VecDeque<u8>,
    /// The peer has closed its side.
    pub fin: bool,
    /// What was sent.
    pub output: Vec<u8>,
    /// How much more the kernel takes at present.
    pub room: usize,
    /// How much more it takes of a send that waits.
    pub more: usize,
    /// Bytes in the send queue and their limit, for a test that is about them.
    pub queue: (usize, usize),
    /// Bytes that the kernel has taken and not sent.
    pub unsent: usize,
    /// `SO_LINGER` is set.
    pub lingers: bool,
    /// An error that the next receive reports.
    pub error: Option<c_int>,
    pub nonblocking: bool,
    pub shut_read: bool,
    pub shut_write: bool,
    /// Connections that wait to be accepted, for a listener.
    pub backlog: Option<VecDeque<Fd>>,
    /// The file is another number for that one.
    pub copy_of: Option<Fd>,
    pub closes_on_exec: bool,
    /// The bytes of a regular file, and the position in it.
    pub content: Option<Vec<u8>>,
    pub position: i64,
    /// A pipe: what is in it is [`File::input`].
    pub is_pipe: bool,
    /// The reading end of a queue: its messages, each with the file that came along.
    pub messages: Option<VecDeque<(Vec<u8>, File)>>,
    /// The writing end, by its reading end.
    pub writes_to: Option<Fd>,
    pub port: u16,
    pub set: Option<BTreeMap<Fd, (u32, u64)>>,
    pub timer: Option<Duration>,
    pub is_timer: bool,
}

/// A system call that fails.
pub struct Failing {
    pub call: &'static str,
    pub error: c_int,
    /// How many more of these calls succeed before,
    pub after: usize,
    /// and how many fail then.
    pub times: usize,
}

/// Everything there is.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<Fd, File>,
    /// The names of the system calls made, with their descriptors.
    pub calls: Vec<(&'static str, Fd)>,
    pub now: Duration,
    pub log: Vec<u8>,
    pub failing: Option<Failing>,
    /// Whether the library has been taken out of the environment.
    pub disinherited: bool,
    /// The process that calls, and all that run.
    pub pid: libc::pid_t,
    pub processes: Vec<libc::pid_t>,
    /// Companions started, with the descriptors that they got.
    pub companions: Vec<(Fd, Fd)>,
    pub no_companion: bool,
    /// What was sent to files that are closed, and what was left in those that another took the number of.
    pub sent_by_closed: BTreeMap<Fd, Vec<u8>>,
    pub replaced: BTreeMap<Fd, File>,
    /// Who has the record lock of a listener.
    pub turns: BTreeMap<Fd, libc::pid_t>,
    pub next: Fd,
    pub limit: usize,
}

impl State {
    /// What was not read from the file that had the number `fd`.
    pub fn closed_input(&self, fd: Fd) -> Vec<u8> {
        self.replaced[&fd].input.iter().copied().collect()
    }

    pub fn file(&mut self, name: &'static str, fd: Fd) -> Result<&mut File> {
        self.calls.push((name, fd));
        if let Some(failing) = self.failing.as_mut().filter(|failing| failing.call == name) {
            if failing.after > 0 {
                failing.after -= 1;
            } else if failing.times > 0 {
                failing.times -= 1;
                return Err(Errno(failing.error));
            }
        }
        self.files.get_mut(&fd).ok_or(Errno(EBADF))
    }

    pub fn bits(&self, fd: Fd) -> u32 {
        let Some(file) = self.files.get(&fd) else {
            return POLLNVAL as u32;
        };
        let due = file.timer.is_some_and(|at| at <= self.now);
        let events = file.set.as_ref().is_some_and(|set| {
            set.iter().any(|(fd, (events, _))| self.bits(*fd) & events & (EPOLLIN | EPOLLOUT) as u32 != 0)
        });
        let waits = file.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty())
            || file.messages.as_ref().is_some_and(|messages| !messages.is_empty());
        let mut bits = 0;
        if !file.input.is_empty() || file.fin || file.shut_read || waits || due || events || file.error.is_some() {
            bits |= EPOLLIN as u32;
        }
        let (queued, limit) = file.queue;
        let writable = if limit == 0 { file.room > 0 } else { limit.saturating_sub(queued) >= queued / 2 };
        if writable && file.backlog.is_none() && file.set.is_none() && !file.is_timer {
            bits |= EPOLLOUT as u32;
        }
        bits
    }
}
