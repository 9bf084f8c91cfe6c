//! A wrapped connection: what is remembered between two calls.
//!
//! Everything here is small and none of it is payload. Receiving and sending have a lock each, held only across calls
//! that do not block; `receive` is taken before `send`, and `send` then only if it is free.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use wsproto::{Dialect, Encoding, End, Receiver, Sender};

use crate::hub::Agreed;
use crate::owners::Owners;
use crate::slots::Recycle;
use crate::sys::{Errno, PeerAddr};
use wslock::Mutex;

/// One connection, shared by all descriptors of this process that name it.
pub struct Conn {
    /// Descriptors of this process that name the connection.
    pub fds: AtomicU32,
    /// The way in.
    pub receive: Mutex<Receive>,
    /// The way out.
    pub send: Mutex<Send>,
    /// Counts the ends of [`Send::busy`]: what those wait for who want to send.
    pub idle: AtomicU32,
    /// Counts the connections that this object has been, so that what remembers one does not take another for it.
    pub use_count: AtomicU8,
    /// The socket, by its `SO_COOKIE`; 0 if that is not known.
    pub cookie: AtomicU64,
    flags: AtomicU8,
}

/// Close code of a server whose program closed the connection, RFC 6455 section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

/// Frames from this size on are received without a look ahead.
const LARGE_FRAME: u64 = 4096;

/// The receiver has a pong or the answer to a Close for the sender.
const ANSWER: u8 = 1;
/// The kernel has not taken all of what we had to say without payload.
const UNSENT: u8 = 2;

/// The receiving half.
pub struct Receive {
    /// The decoder.
    pub decoder: Receiver,
    /// Payload travels as it is, so that it can be received straight into the program's buffer.
    pub plain: bool,
    /// Bytes at the front of the kernel's queue that the decoder has already seen; none of them is payload.
    pub skip: usize,
    /// Counts what was taken from the kernel's queue: a peek from before is stale once it has changed.
    pub taken: u32,
    /// An error that a look at the queue took from the kernel; the next read reports it.
    pub error: Option<Errno>,
    /// The kernel reported an error: the connection is gone, and there is nobody to say Close to.
    pub broken: bool,
    /// The program has been told of the end of the stream.
    pub told: bool,
    /// Whether the end of the stream has been handed on to the sender.
    pub ended: bool,
    /// A companion reads the connection, and the numbers in this process name its socket: see [`crate::bridge`].
    pub moved: bool,
    /// Payload bytes delivered.
    pub bytes: u64,
    /// What the log says of the connection; kept only where it is asked for.
    pub about: Option<Box<About>>,
}

/// The sending half.
pub struct Send {
    /// The encoder.
    pub encoder: Sender,
    /// What [`Send::encoder`] was made for.
    pub dialect: Dialect,
    /// See [`Send::dialect`].
    pub encoding: Encoding,
    /// The thread that waits in the kernel with what was prepared last.
    pub busy: Option<u64>,
    /// The last attempt that did not wait fell short: a large write does better to wait at once.
    pub full: bool,
    /// Threads that wait for [`Send::busy`] to end.
    pub waiting: u32,
    /// The stream has ended: our side is shut down too once Close is out.
    pub hang_up: bool,
    /// That was done.
    pub hung_up: bool,
    /// As [`Receive::moved`].
    pub moved: bool,
    /// Payload bytes sent.
    pub bytes: u64,
    /// The processes that use the connection, once there can be more than one.
    pub owners: Option<Owners>,
}

/// What the log says of a connection.
pub struct About {
    /// The client.
    pub peer: PeerAddr,
}

impl Conn {
    /// Begins a connection in an unused object.
    pub fn open(&self, agreed: Agreed, about: Option<Box<About>>) {
        let Agreed { accepted, decoder, skip } = agreed;
        *self.receive.lock() = Receive {
            decoder,
            skip,
            plain: (accepted.dialect, accepted.encoding) == (Dialect::Rfc6455, Encoding::Binary),
            about,
            ..Receive::default()
        };
        *self.send.lock() = Send {
            encoder: Sender::new(accepted.dialect, accepted.encoding),
            dialect: accepted.dialect,
            encoding: accepted.encoding,
            ..Send::default()
        };
        self.flags.store(0, Ordering::Relaxed);
        self.use_count.fetch_add(1, Ordering::Relaxed);
        self.fds.store(1, Ordering::Release);
    }

    /// Notes that the receiver has something for the sender.
    pub fn set_answer(&self) {
        self.flags.fetch_or(ANSWER, Ordering::SeqCst);
    }

    /// Takes that note.
    pub fn take_answer(&self) -> bool {
        self.flags.fetch_and(!ANSWER, Ordering::SeqCst) & ANSWER != 0
    }

    /// Whether [`Conn::set_answer`] waits to be taken.
    pub fn has_answer(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & ANSWER != 0
    }

    /// Notes whether something waits for room in the kernel's send queue.
    pub fn set_unsent(&self, unsent: bool) {
        if unsent {
            self.flags.fetch_or(UNSENT, Ordering::Relaxed);
        } else if self.is_unsent() {
            self.flags.fetch_and(!UNSENT, Ordering::Relaxed);
        }
    }

    /// Whether something waits for room in the kernel's send queue.
    pub fn is_unsent(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNSENT != 0
    }
}

impl Receive {
    /// The error to report. That of a connection that moved stays, for all who are in the middle of a call.
    pub fn take_error(&mut self) -> Option<Errno> {
        let error = self.error?;
        if !self.moved {
            self.error = None;
        }
        Some(error)
    }

    /// The code of Close when the program ends the connection: that of the answer, if the client has ended it before.
    pub fn close_code(&self) -> u16 {
        self.decoder.end().map_or(NORMAL_CLOSURE, End::reply_code)
    }

    /// Whether the client sends large frames: then there is likely more than a small buffer holds.
    pub fn streams(&self) -> bool {
        self.decoder.frame_len() >= LARGE_FRAME
    }

    /// Between large frames that travel as they are: the next header is best received on its own.
    pub fn expects_large(&self) -> bool {
        self.plain && self.skip == 0 && self.streams() && self.decoder.overhead() > 0
    }
}

impl Default for Conn {
    fn default() -> Self {
        Conn {
            fds: AtomicU32::new(0),
            receive: Mutex::default(),
            send: Mutex::default(),
            idle: AtomicU32::new(0),
            use_count: AtomicU8::new(0),
            cookie: AtomicU64::new(0),
            flags: AtomicU8::new(0),
        }
    }
}

impl Recycle for Conn {
    fn recycle(&self) {
        *self.receive.lock() = Receive::default();
        *self.send.lock() = Send::default();
    }
}

impl Default for Receive {
    fn default() -> Self {
        Receive {
            decoder: Receiver::new(Dialect::Rfc6455, Encoding::Binary),
            plain: true,
            skip: 0,
            taken: 0,
            error: None,
            broken: false,
            told: false,
            ended: false,
            moved: false,
            bytes: 0,
            about: None,
        }
    }
}

impl Default for Send {
    fn default() -> Self {
        Send {
            encoder: Sender::new(Dialect::Rfc6455, Encoding::Binary),
            dialect: Dialect::Rfc6455,
            encoding: Encoding::Binary,
            busy: None,
            full: false,
            waiting: 0,
            hang_up: false,
            hung_up: false,
            moved: false,
            bytes: 0,
            owners: None,
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.peer)
    }
}
