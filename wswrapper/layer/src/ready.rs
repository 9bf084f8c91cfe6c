//! Readiness: what select, poll and epoll may report of a descriptor.
//!
//! Invariant 2 makes the kernel's word on a connection true but for one thing: bytes may have come that are no payload, a
//! lone ping or half a header. So readiness is only ever *filtered*: the look that decides takes such bytes off the queue,
//! and a report of input stands exactly when payload, or the end of the stream, is there to be read.

use libc::{EPOLLIN, EPOLLRDNORM, c_int};

use crate::Layer;
use crate::again::{again, is_passing};
use crate::conn::{Conn, Receive};
use crate::scratch::{SMALL, Scratch};
use crate::slots::Slot;
use crate::sys::{Errno, Fd, Sys};
use crate::take::SKIP_MAX;

/// The bits that mean "something can be read", the same for poll and epoll.
pub const READ_BITS: u32 = (EPOLLIN | EPOLLRDNORM) as u32;

/// What is behind the kernel's report that a descriptor can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Payload, an error or the end of the stream; or the descriptor is none of ours.
    Something,
    /// Bytes that were no payload; they are gone.
    Nothing,
    /// So many bytes without payload that the look was ended.
    Unknown,
}

impl Behind {
    /// For who is told of edges: there may be none for what is there already. He has to read until there is no more, and does not
    /// wait in it.
    pub fn or_something_if(self, edge: bool) -> Self {
        if self == Behind::Unknown && edge { Behind::Something } else { self }
    }
}

/// The readiness rule: what the program sees of the bits that the kernel reports.
pub fn filter(reported: u32, behind: Behind) -> u32 {
    match behind {
        Behind::Something => reported,
        // Where it is unknown the kernel reports the same again, and the look goes on then. To say yes would have a program that
        // blocks in reading wait for a client that floods it with pings.
        Behind::Nothing | Behind::Unknown => reported & !READ_BITS,
    }
}

impl<S: Sys> Layer<S> {
    /// Filters what the kernel reports of `fd`, poll and epoll bits alike. `wanted` are the bits the program asked for.
    #[inline(always)]
    pub(crate) fn filter_fd(&self, fd: Fd, reported: u32) -> u32 {
        if reported & READ_BITS == 0 {
            return reported;
        }
        match self.slots.get(fd) {
            Slot::Conn(index) => filter(reported, self.behind_conn(fd, index)),
            Slot::Epoll(index) => filter(reported, self.behind_epoll(fd, index, NESTING)),
            _ => reported,
        }
    }

    /// What is behind a report of input on `fd`, which was the connection at `index` when that was looked up.
    #[inline(always)]
    pub(crate) fn behind_conn(&self, fd: Fd, index: u32) -> Behind {
        let Some((conn, mut receive)) = self.lock_half(fd, index, |conn| &conn.receive) else {
            // Another thread has closed the number, and it may be something else by now.
            return Behind::Something;
        };
        let receive = &mut *receive;
        self.flush(conn, fd);
        let over = |receive: &Receive| receive.error.is_some() || receive.decoder.end().is_some();
        if over(receive) || receive.decoder.verbatim() > 0 {
            return Behind::Something;
        }
        match self.payload_waits(conn, fd, receive) {
            Some(true) => Behind::Something,
            _ if over(receive) => Behind::Something,
            Some(false) => Behind::Nothing,
            None => Behind::Unknown,
        }
    }

    /// Takes what is no payload off the front of the queue. Returns whether payload, or the end of the stream, follows; `None`
    /// behind so much of it that others are to have their turn.
    ///
    /// A header that has its payload behind it stays in the queue: the read that follows takes both at once.
    #[inline(always)]
    pub(crate) fn payload_waits(&self, conn: &Conn, fd: Fd, receive: &mut Receive) -> Option<bool> {
        if receive.skip > 0 {
            return Some(true);
        }
        self.look(conn, fd, receive, &mut [0; SKIP_MAX]).or_else(|| self.look_on(conn, fd, receive))
    }

    /// The looks after the first: there may be much.
    #[inline(never)]
    fn look_on(&self, conn: &Conn, fd: Fd, receive: &mut Receive) -> Option<bool> {
        let mut small = [0; SMALL];
        let mut buf = Scratch::take(&mut small);
        (0..LOOKS).find_map(|_| self.look(conn, fd, receive, &mut buf))
    }

    /// One look. `None` if all that it saw was no payload: the end of the stream may be behind it, and no further event would
    /// tell of that.
    #[inline(always)]
    fn look(&self, conn: &Conn, fd: Fd, receive: &mut Receive, buf: &mut [u8]) -> Option<bool> {
        let n = match again(|| self.sys.recv(fd, buf, libc::MSG_PEEK | libc::MSG_DONTWAIT)) {
            Ok(0) => return Some(true),
            Ok(n) => n,
            Err(Errno(libc::EAGAIN)) => return Some(false),
            Err(error) => {
                // The kernel tells an error once.
                receive.error = Some(error);
                receive.broken |= !is_passing(error);
                return Some(true);
            }
        };
        let seen = buf.get_mut(..n).unwrap_or_default();
        let used = match receive.decoder.receive_header(seen) {
            Some(header) if header < n => {
                // As it mostly is.
                receive.skip = header;
                return Some(true);
            }
            Some(header) => header,
            None => receive.decoder.receive(seen, &mut []).consumed,
        };
        let ended = receive.decoder.end().is_some();
        let follows = used < n && !ended;
        if follows && used <= SKIP_MAX {
            receive.skip = used;
        } else if self.discard(fd, receive, used).is_err() {
            // What is in front has been seen, so a further look must not decode it: the read knows how to pass it over.
            return Some(true);
        }
        self.settle(conn, fd, receive);
        (follows || ended).then_some(follows)
    }
}

/// How often one look goes on to what has come meanwhile.
pub(crate) const LOOKS: usize = 16;

/// How deep epoll instances may be nested, as in the kernel (`EP_MAX_NESTS`).
pub(crate) const NESTING: c_int = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, POLLIN, POLLRDNORM};

    #[test]
    fn poll_and_epoll_have_the_same_bits() {
        assert_eq!(READ_BITS, (POLLIN | POLLRDNORM) as u32);
    }

    #[test]
    fn only_false_input_is_filtered_out() {
        for mask in 0..128_u32 {
            let bits = [EPOLLIN, EPOLLRDNORM, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, EPOLLHUP, EPOLLERR];
            let reported =
                bits.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0).fold(0, |a, (_, b)| a | *b as u32);
            assert_eq!(filter(reported, Behind::Something), reported);
            let left = filter(reported, Behind::Nothing);
            assert_eq!(left & READ_BITS, 0);
            assert_eq!(left | READ_BITS, reported | READ_BITS);
        }
    }
}
