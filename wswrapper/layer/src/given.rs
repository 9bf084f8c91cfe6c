//! A listener that goes to another program, which accepts from it.
//!
//! The masters of some servers wait for a listener, and start the program that accepts when somebody connects. That one speaks
//! WebSocket if it has the library, whatever its environment says, and finds the clients whose handshakes are done if it gets the
//! listener's queue ([`crate::queue`]). Its descriptors are close-on-exec but for an exec or spawn that takes the listener along, and then a
//! variable, [`QUEUES`], says which they are. The sockets are told by their cookies, `SO_COOKIE`: a variable that is out of date, or that
//! somebody else has set, names none.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

use libc::{F_SETFD, FD_CLOEXEC};

use crate::Layer;
use crate::bridge::{LAST_STANDARD, USUAL_FDS};
use crate::queue::Queue;
use crate::slots::Slot;
use crate::sys::{Fd, Sys};

/// The variable that tells a new program of the queues of the listeners that it gets: `LISTENER:READ:COOKIE:WRITE:COOKIE,...`, where
/// `LISTENER` is the cookie of the listener, and `READ` and `WRITE` are the numbers of the ends. Cookies are hexadecimal.
pub const QUEUES: &CStr = c"WSWRAP_QUEUES";

/// Listeners whose queues one program can get. Those of further ones keep what is in them from it.
const MOST: usize = 8;

/// Room for the assignment of the variable: of each queue three cookies, two numbers and what stands between them.
const ROOM: usize = 16 + MOST * (3 * 16 + 2 * 10 + 5);

/// What a new program gets of ours.
pub struct Given {
    listener: bool,
    count: usize,
    queues: [Named; MOST],
}

/// A queue, and the sockets that it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    listener: u64,
    queue: Queue,
    read: u64,
    write: u64,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named { listener, queue, read, write } = self;
        write!(f, "{listener:x}:{}:{read:x}:{}:{write:x}", queue.read, queue.write)
    }
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut part = || parts.next();
        let cookie = |text| u64::from_str_radix(text, 16).ok();
        let (listener, read) = (cookie(part()?)?, part()?.parse().ok()?);
        let (read_cookie, write) = (cookie(part()?)?, part()?.parse().ok()?);
        Some(Named { listener, queue: Queue { read, write }, read: read_cookie, write: cookie(part()?)? })
    }
}

/// The assignment of the variable, a C string. Made without an allocation: a vfork(2) child should not make one.
pub struct Assignment {
    bytes: [u8; ROOM],
    len: usize,
}

impl Assignment {
    /// The string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Write for Assignment {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        // One zero stays behind it.
        let place = self.bytes.get_mut(..ROOM - 1).and_then(|bytes| bytes.get_mut(self.len..end));
        place.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Given {
    const NOTHING: Named = Named { listener: 0, queue: Queue { read: -1, write: -1 }, read: 0, write: 0 };

    fn nothing() -> Self {
        Given { listener: false, count: 0, queues: [Self::NOTHING; MOST] }
    }

    /// Whether the program gets a listener of ours.
    pub fn has_listener(&self) -> bool {
        self.listener
    }

    fn queues(&self) -> impl Iterator<Item = &Named> {
        self.queues.iter().take(self.count)
    }

    /// What tells it of the queues, `NAME=value`; `None` if there is none.
    pub fn assignment(&self) -> Option<Assignment> {
        let mut text = Assignment { bytes: [0; ROOM], len: 0 };
        let (name, mut before) = (QUEUES.to_str().ok()?, "=");
        write!(text, "{name}").ok()?;
        for queue in self.queues() {
            write!(text, "{before}{queue}").ok()?;
            before = ",";
        }
        (self.count > 0).then_some(text)
    }
}

impl<S: Sys> Layer<S> {
    /// Before execve(2): what the new program gets. `listed` are the descriptors behind standard error that its environment tells of, as in
    /// [`Layer::before_exec`]. [`Layer::after_giving`] undoes it.
    ///
    /// The kernel is asked of each number: those of a vfork(2) child are not what the tables say.
    pub fn give_exec(&self, listed: Fd) -> Given {
        let mut given = Given::nothing();
        let told = LAST_STANDARD.saturating_add(listed);
        let likely = |fd: &Fd| *fd <= told || matches!(self.slots.get(*fd), Slot::Listener(_));
        let last = self.highest.load(Ordering::Relaxed).max(told);
        for fd in (0..=last).filter(likely).filter(|fd| self.survives_exec(*fd)) {
            self.give(&mut given, fd, false);
        }
        given
    }

    /// Before posix_spawn(3): what the child gets, by the listener's own number or by one that [`Layer::meant_for_child`] was told of. As
    /// [`Layer::give_exec`], other than that this process goes on: what becomes ready here later may be for the child. A child that another
    /// thread starts meanwhile may have the queue's ends as well, and knows nothing of them.
    pub fn give_spawn(&self) -> Given {
        let mut given = Given::nothing();
        for fd in 0..=self.highest.load(Ordering::Relaxed) {
            if let Slot::Listener(_) = self.slots.get(fd)
                && let Some(listener) = self.listener(fd)
                && (listener.for_child.load(Ordering::Relaxed) || self.survives_exec(fd))
            {
                self.give(&mut given, fd, true);
            }
        }
        given
    }

    /// posix_spawn_file_actions_adddup2(3): a child is to get `fd`, perhaps a listener, under a number of its choice.
    pub fn meant_for_child(&self, fd: Fd) {
        if let Slot::Listener(_) = self.slots.get(fd)
            && let Some(listener) = self.listener(fd)
        {
            listener.for_child.store(true, Ordering::Relaxed);
        }
    }

    /// `fd` goes along.
    fn give(&self, given: &mut Given, fd: Fd, to_child: bool) {
        if self.sandboxed.load(Ordering::Relaxed)
            || !self.sys.listening_port(fd).is_some_and(|port| self.config.ports.contains(port))
        {
            return;
        }
        given.listener = true;
        let Some(cookie) = self.sys.cookie(fd).filter(|cookie| given.queues().all(|known| known.listener != *cookie))
        else {
            return;
        };
        let Some(listener) = self.listeners.in_use().find(|l| l.cookie.load(Ordering::Relaxed) == cookie) else {
            return;
        };
        let hub = &mut *listener.hub.lock();
        if to_child || hub.is_ready() {
            self.share_ready(hub);
        }
        // In a vfork(2) child it may be one that its parent has made since.
        let name = |queue: Queue| {
            let (read, write) = (self.sys.queue_cookie(queue.read)?, self.sys.queue_cookie(queue.write)?);
            Some(Named { listener: cookie, queue, read, write })
        };
        if let (Some(named), Some(place)) = (hub.queue.and_then(name), given.queues.get_mut(given.count)) {
            *place = named;
            given.count += 1;
            self.close_on_exec(named.queue, false);
        }
    }

    /// After an exec that failed, and after a spawn.
    pub fn after_giving(&self, given: &Given) {
        given.queues().for_each(|named| self.close_on_exec(named.queue, true));
    }

    fn close_on_exec(&self, queue: Queue, on: bool) {
        for fd in [queue.read, queue.write] {
            let _ = self.sys.fcntl(fd, F_SETFD, if on { FD_CLOEXEC } else { 0 });
        }
    }

    /// A new program has begun: `text`, the value of [`QUEUES`], names the queues of listeners that it has got.
    pub fn adopt_queues(&self, text: &str) {
        for Named { listener: cookie, queue, read, write } in text.split(',').filter_map(Named::parse) {
            if (self.sys.queue_cookie(queue.read), self.sys.queue_cookie(queue.write)) != (Some(read), Some(write)) {
                continue;
            }
            self.close_on_exec(queue, true);
            for fd in [queue.read, queue.write] {
                self.slots.replace(fd, Slot::Private);
                self.mark(fd);
            }
            let mut numbers = (0..USUAL_FDS).filter(|fd| self.sys.cookie(*fd) == Some(cookie));
            let first = numbers.next();
            // In the program before. Many a program gets a listener that it has no use for.
            self.told.lock().extend(first.and_then(|fd| self.sys.listening_port(fd)));
            match first.and_then(|fd| Some((fd, self.listener(fd)?))) {
                Some((fd, listener)) => {
                    listener.hub.lock().queue = Some(queue);
                    numbers.for_each(|other| self.duplicated(fd, other));
                }
                None => self.close_queue(queue),
            }
        }
        let queues: Vec<_> = self.listeners.in_use().filter_map(|listener| listener.hub.lock().queue).collect();
        self.keep_one(queues.iter().map(|queue| queue.write));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_and_found() {
        let queue = Queue { read: Fd::MAX, write: 1_048_575 };
        let named = Named { listener: u64::MAX, queue, read: u64::MAX, write: 0x1234 };
        assert_eq!(Named::parse(&named.to_string()), Some(named));
        let given = Given { listener: true, count: MOST, queues: [named; MOST] };
        let assignment = given.assignment().unwrap();
        let value = assignment.as_c_str().to_str().unwrap().strip_prefix("WSWRAP_QUEUES=").unwrap();
        assert_eq!(value.split(',').filter_map(Named::parse).collect::<Vec<_>>(), [named; MOST]);
        assert!(Given::nothing().assignment().is_none());
    }

    #[test]
    fn what_names_no_queue_is_none() {
        for text in ["", "1", "1:2:3:4", "x:2:3:4:5", "1:2:3:4:", "1:-:3:4:5", "1:2:3:4294967296:5"] {
            assert_eq!(Named::parse(text), None, "{text}");
        }
    }
}
