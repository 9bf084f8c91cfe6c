//! Finished handshakes that any process may accept.
//!
//! A bare listener's connections wait in the kernel, where each process that has the socket can wait for them and accept them. What we
//! have taken from there, for its handshake, would be this process's alone, and lost to a program that waits for a listener and lets
//! another process accept: a child that it forks then, or another program that it starts.
//!
//! So a listener that another process may have, too, has a *queue*: a pair of sockets in the Unix domain, both ends in every one of
//! these processes. A message is one connection, its descriptor (`SCM_RIGHTS`) and what came of its handshake. The reading end is in the set
//! of each process's hub, so that whoever waits for the listener wakes for it, and `accept` takes from it first. The kernel frees it,
//! with what is in it, when the last process closes the listener, as it does with a listener.
//!
//! The queue is made by the first fork, or by an exec or spawn that takes the listener along ([`crate::given`]): a program without
//! children has none. What is ready is put in
//! - before a fork, and before an exec or spawn that takes the listener along;
//! - when the program waits again, and has not accepted what it was told of: it leaves that to others;
//! - at once, in a process that has never accepted from the listener;
//! - when the process ends, or closes the listener.
//!
//! A process that is woken by its own hub and accepts, as the workers of a server do, has no use for it. Where the queue cannot be made or is
//! full, connections stay where they are, for this process to accept.
//!
//! A message of one byte is a connection that its process has closed, to be held open until all is sent: see `drain.rs`.

use std::sync::atomic::Ordering;

use libc::{F_DUPFD_CLOEXEC, F_GETFL, MSG_DONTWAIT, MSG_PEEK, O_NONBLOCK, SOCK_NONBLOCK};
use wsproto::{Accepted, Handover, Sender};

use crate::Layer;
use crate::again::{again, insist};
use crate::hub::{Agreed, Hub, Ready};
use crate::slots::Slot;
use crate::sys::{Errno, Fd, PeerAddr, Result, Sys};

/// The two ends, descriptors of the library's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Where connections come out.
    pub read: Fd,
    /// Where they are put in.
    pub write: Fd,
}

/// The most of a path, or of a subprotocol, that goes along: they are for the log, and its lines are no longer.
const TEXT: usize = 512;

/// A length in front of a run of bytes.
type Len = u16;

/// Room for the longest message: the state, the address, two texts.
const ROOM: usize = Handover::MAX + 28 + 2 * TEXT + 3 * size_of::<Len>();

/// What comes with a connection that was closed.
pub(crate) const CLOSED: [u8; 1] = [0];

/// A message under construction.
struct Message {
    bytes: [u8; ROOM],
    len: usize,
}

impl Message {
    /// Writes down all that is known of a connection but its descriptor. Nothing in the kernel's queue is decoded yet.
    fn new(ready: &Ready) -> Self {
        let Agreed { accepted, decoder, skip: _ } = &*ready.agreed;
        let state = Handover {
            receiver: decoder.clone(),
            sender: Sender::new(accepted.dialect, accepted.encoding),
            broken: false,
            received: 0,
            sent: 0,
        }
        .encode();
        let mut message = Message { bytes: [0; ROOM], len: 0 };
        message.push(state.as_slice());
        message.push_run(ready.peer.as_bytes());
        message.push_run(accepted.path.as_bytes());
        if let Some(subprotocol) = &accepted.subprotocol {
            message.push_run(subprotocol.as_bytes());
        }
        message
    }

    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.len).zip(bytes) {
            *place = *byte;
        }
        self.len = ROOM.min(self.len + bytes.len());
    }

    fn push_run(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..TEXT).unwrap_or(bytes);
        self.push(&(bytes.len() as Len).to_be_bytes());
        self.push(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Takes a run of bytes from the front of `input`.
fn run<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = input.split_first_chunk()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(Len::from_be_bytes(*len)))?;
    *input = rest;
    Some(bytes)
}

/// What a message says of the client and of its handshake; `None` if it is none of this version's.
fn parse(message: &[u8]) -> Option<(PeerAddr, Box<Agreed>)> {
    let (state, mut rest) = message.split_at_checked(Handover::len(*message.first_chunk()?)?)?;
    let Handover { receiver, sender, .. } = Handover::decode(state)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let peer = PeerAddr::new(run(&mut rest)?);
    let accepted = Accepted {
        dialect: sender.dialect(),
        encoding: sender.encoding(),
        path: text(run(&mut rest)?),
        // Asked for by the handshake alone.
        host: String::new(),
        origin: None,
        subprotocol: if rest.is_empty() { None } else { Some(text(run(&mut rest)?)) },
    };
    Some((peer, Box::new(Agreed { accepted: Box::new(accepted), decoder: receiver, skip: 0 })))
}

impl<S: Sys> Layer<S> {
    /// Another process is about to have the listener as well: it finds in the queue what is ready.
    pub(crate) fn share_ready(&self, hub: &mut Hub) {
        if hub.queue.is_none() && !self.is_vfork_child() && !self.sandboxed.load(Ordering::Relaxed) {
            hub.queue = self.make_queue(hub.epoll);
        }
        self.offer(hub);
    }

    /// Without descriptors or memory for it there is none.
    fn make_queue(&self, epoll: Option<Fd>) -> Option<Queue> {
        let (read, write) = again(|| self.sys.queue_pair()).ok()?;
        let queue = Queue { read: self.private(read), write: self.private(write) };
        if epoll.is_some_and(|epoll| self.watch_queue(epoll, queue).is_err()) {
            self.close_queue(queue);
            return None;
        }
        Some(queue)
    }

    pub(crate) fn close_queue(&self, queue: Queue) {
        self.close_private(queue.read);
        if queue.write != self.heir.load(Ordering::Relaxed) {
            self.close_private(queue.write);
        }
    }

    /// Puts what is ready into the queue, if there is one, as much as that takes.
    pub(crate) fn offer(&self, hub: &mut Hub) {
        let Some(queue) = hub.queue.filter(|_| !hub.ready.is_empty()) else { return };
        if self.is_vfork_child() || self.sandboxed.load(Ordering::Relaxed) {
            return;
        }
        while let Some(mut ready) = hub.ready.pop_front() {
            if self.put(queue, &mut ready).is_err() {
                hub.ready.push_front(ready);
                break;
            }
            self.ready.fetch_sub(1, Ordering::AcqRel);
            self.close_private(ready.fd);
        }
    }

    /// Puts one connection into the queue. It is still open here.
    ///
    /// # Errors
    /// Those of sendmsg(2): `EAGAIN` when the queue is full.
    pub(crate) fn put(&self, queue: Queue, ready: &mut Ready) -> Result<()> {
        let skip = &mut ready.agreed.skip;
        if *skip > 0 {
            *skip = skip.saturating_sub(insist(|| self.sys.discard(ready.fd, *skip))?);
        }
        if *skip > 0 {
            return Err(Errno(libc::EAGAIN));
        }
        let message = Message::new(ready);
        again(|| self.sys.send_passing(queue.write, message.as_slice(), ready.fd))
    }

    /// Whether a connection is in the queue. Takes those that were closed out of it.
    pub(crate) fn queue_waits(&self, hub: &mut Hub) -> bool {
        let Some(queue) = hub.queue.filter(|_| !self.sandboxed.load(Ordering::Relaxed)) else { return false };
        while self.is_readable(queue.read) {
            let mut start = [0; CLOSED.len() + 1];
            match again(|| self.sys.recv(queue.read, &mut start, MSG_PEEK | MSG_DONTWAIT)) {
                Ok(len) if len == CLOSED.len() => {}
                Ok(_) => return true,
                // Another process has been faster.
                Err(_) => return false,
            }
            self.receive_queued(hub, queue);
            if hub.is_ready() {
                return true;
            }
        }
        false
    }

    /// Takes a connection out of the queue, if one is there: it is ready then.
    ///
    /// # Errors
    /// `EMFILE` if one is there and there is no number for it: it stays there.
    pub(crate) fn take_queued(&self, hub: &mut Hub) -> Result<()> {
        while self.queue_waits(hub) && !hub.is_ready() {
            let Some(queue) = hub.queue else { break };
            // The kernel would drop a connection that gets no number.
            self.sys.close(self.sys.fcntl(queue.read, F_DUPFD_CLOEXEC, 0)?)?;
            if !self.receive_queued(hub, queue) {
                break;
            }
        }
        Ok(())
    }

    /// Takes what is first in the queue. Returns whether something was: another process may have been faster.
    fn receive_queued(&self, hub: &mut Hub, queue: Queue) -> bool {
        let mut bytes = [0; ROOM];
        let Ok((len, fd)) = again(|| self.sys.receive_passed(queue.read, &mut bytes)) else { return false };
        let Some(fd) = fd else { return true };
        let message = bytes.get(..len).unwrap_or_default();
        match parse(message) {
            _ if message == CLOSED => self.adopt_closed(hub, fd),
            Some((peer, agreed)) if self.slots.replace(fd, Slot::Private).is_some() => {
                self.mark(fd);
                let flags = self.sys.fcntl(fd, F_GETFL, 0).unwrap_or(0);
                let nonblock = if flags & O_NONBLOCK != 0 { SOCK_NONBLOCK } else { 0 };
                self.ready.fetch_add(1, Ordering::AcqRel);
                hub.ready.push_back(Ready { fd, peer, agreed, nonblock, moved: false });
            }
            // Of another build of the library, or beyond the numbers that can be tracked.
            _ => drop(self.sys.close(fd)),
        }
        true
    }

    /// The process ends: what is ready and not accepted is for the others. What is locked is left alone, as in
    /// [`Layer::at_exit`].
    pub(crate) fn leave_ready(&self) {
        if self.ready.load(Ordering::Acquire) == 0 {
            return;
        }
        for fd in 0..=self.highest.load(Ordering::Relaxed) {
            if let Slot::Listener(index) = self.slots.get(fd)
                && let Some(listener) = self.listeners.acquire(index)
                && let Some(mut hub) = listener.hub.try_lock()
            {
                self.offer(&mut hub);
            }
        }
    }
}
