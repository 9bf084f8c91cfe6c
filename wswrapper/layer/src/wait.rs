//! Waiting: in one call of the program's, possibly several times, with one deadline.

use std::time::Duration;

use libc::{POLLIN, c_int, pollfd, sigset_t};

use crate::sys::{Errno, Fd, Result, Sys};

/// The time a call has left.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Duration>);

impl Deadline {
    /// `timeout` from this moment on; `None` is for ever.
    pub fn after(sys: &impl Sys, timeout: Option<Duration>) -> Self {
        Deadline(timeout.map(|timeout| if timeout.is_zero() { timeout } else { sys.now().saturating_add(timeout) }))
    }

    /// What is left: zero once it has passed.
    pub fn remaining(self, sys: &impl Sys) -> Option<Duration> {
        self.0.map(|at| if at.is_zero() { at } else { at.saturating_sub(sys.now()) })
    }
}

/// The waits of one receive call.
///
/// The first is a peek that blocks in the kernel, with the kernel's own idea of `O_NONBLOCK`, `SO_RCVTIMEO`, signals and
/// restarts. If it was woken by something that is no payload the next ones must not start the time anew.
#[derive(Default)]
pub struct PeekWait {
    /// When the first wait began, and the socket's time limit.
    began: Option<Duration>,
}

impl PeekWait {
    /// Peeks into `buf`, waiting unless `flags` has `MSG_DONTWAIT` or the socket is non-blocking.
    ///
    /// # Errors
    /// Those of recv(2): `EAGAIN` when there is nothing, or not within `SO_RCVTIMEO`; `EINTR`.
    pub fn peek(&mut self, sys: &impl Sys, fd: Fd, buf: &mut [u8], flags: c_int) -> Result<usize> {
        if flags & libc::MSG_DONTWAIT == 0 {
            match self.began {
                None => self.began = Some(sys.now()),
                Some(began) => {
                    // With a time limit set the kernel does not restart an interrupted receive, signal(7); nor does poll.
                    if let Some(limit) = sys.receive_timeout(fd) {
                        let left = began.saturating_add(limit).saturating_sub(sys.now());
                        let nonblocking = sys.fcntl(fd, libc::F_GETFL, 0)? & libc::O_NONBLOCK != 0;
                        if !nonblocking && !poll_one(sys, fd, Some(left))? {
                            return Err(Errno(libc::EAGAIN));
                        }
                    }
                }
            }
        }
        let look = libc::MSG_PEEK | flags & (libc::MSG_DONTWAIT | libc::MSG_WAITALL);
        if flags & libc::MSG_DONTWAIT != 0 {
            return sys.recv(fd, buf, look);
        }
        sys.outside(|| sys.recv(fd, buf, look))
    }
}

/// Waits until `fd` is readable; false when the time is over.
fn poll_one(sys: &impl Sys, fd: Fd, timeout: Option<Duration>) -> Result<bool> {
    Ok(sys.outside(|| sys.poll(&mut [pollfd { fd, events: POLLIN, revents: 0 }], timeout, None))? > 0)
}

/// What the waiting calls apply in each of their waits.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// How long to wait in all.
    pub timeout: Option<Duration>,
    /// The signal mask during the wait.
    pub mask: Option<&'a sigset_t>,
}
