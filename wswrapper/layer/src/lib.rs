#![forbid(unsafe_code)]
//! What each libc call means for a descriptor that carries a WebSocket.
//!
//! The cdylib `wswrapper` has a hook for each call; a hook asks whether the descriptor concerns this layer, and if so calls
//! the function of the same meaning here, on the one [`Layer`] of the process. The layer reaches the kernel only through
//! [`sys::Sys`], so that unit tests can script the kernel.
//!
//! Functions that every message passes through are `inline(always)`: a return behind a system call is mispredicted, so a
//! further level costs more than what it does.
//!
//! The five invariants that everything here keeps, by the place that keeps them:
//!
//! 1. *The program sees only WebSockets*: [`hub`].
//! 2. *The kernel tells the truth about reading*: `recv`, `ready`.
//! 3. *A write that is reported is a write that is sent*: `send`.
//! 4. *Not ours, not touched*: [`slots`].
//! 5. *A wrapped connection stays wrapped wherever it goes*: `fd`, [`fork`], [`bridge`].

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

mod again;
pub mod bridge;
pub mod bridged;
pub mod config;
pub mod conn;
mod control;
mod drain;
mod earlier;
pub mod epoll;
mod fd;
mod file;
pub mod fork;
pub mod given;
pub mod hub;
mod iov;
pub mod listen;
mod log;
mod options;
pub mod owners;
mod peek;
mod pipe;
pub mod poll;
pub mod procfs;
pub mod queue;
mod range;
pub mod ready;
mod recv;
pub mod registered;
mod scratch;
mod send;
pub mod slots;
pub mod sys;
mod take;
pub mod wait;

use config::Config;
use conn::Conn;
use epoll::Epoll;
use listen::Listener;
use parking_lot::Mutex;
use slots::{MAX_FDS, Pool, Slots};
use sys::{Fd, Sys};

/// Listening sockets, and epoll instances, that can be wrapped at a time.
const MAX_LISTENERS: usize = 4096;
const MAX_EPOLLS: usize = 65_536;

/// Everything that is known in this process.
pub struct Layer<S> {
    sys: S,
    config: Config,
    slots: Slots,
    conns: Pool<Conn>,
    listeners: Pool<Listener>,
    epolls: Pool<Epoll>,
    /// The process that the tables belong to.
    pid: AtomicI32,
    /// Connections that are ready in all listeners' hubs.
    ready: AtomicUsize,
    /// Ports that the log has told of.
    told: Mutex<Vec<u16>>,
    /// The highest number that a connection or a listener ever had.
    highest: AtomicI32,
    /// The process is in a sandbox, or about to enter one: no system call is made that the program's own does not ask for.
    sandboxed: AtomicBool,
    /// How many descriptors the process could have when it entered its sandbox.
    limit: AtomicUsize,
    /// The writing end of an inherited listener's queue, for connections that outlive their process; negative while there is none.
    heir: AtomicI32,
    /// Copies of connections that vfork(2) children made.
    copies: wslock::Mutex<Vec<bridge::Copied>>,
    /// The highest number that anything was ever known of.
    top: AtomicI32,
    /// The upper half of our epoll data.
    magic: u32,
}

impl<S: Sys> Layer<S> {
    /// A layer that knows of no descriptor. `slots` must be all unknown.
    pub fn new(sys: S, slots: Slots, config: Config) -> Self {
        let (pid, magic) = (sys.pid(), sys.random());
        Layer {
            sys,
            config,
            slots,
            conns: Pool::new(MAX_FDS),
            listeners: Pool::new(MAX_LISTENERS),
            epolls: Pool::new(MAX_EPOLLS),
            pid: AtomicI32::new(pid),
            ready: AtomicUsize::new(0),
            told: Mutex::default(),
            highest: AtomicI32::new(-1),
            sandboxed: AtomicBool::new(false),
            limit: AtomicUsize::new(0),
            heir: AtomicI32::new(-1),
            copies: wslock::Mutex::default(),
            top: AtomicI32::new(-1),
            magic,
        }
    }

    /// The descriptor numbers.
    #[inline]
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// The kernel.
    pub fn sys(&self) -> &S {
        &self.sys
    }

    /// Whether the process is in a sandbox: see [`Layer::before_sandbox`].
    pub fn is_sandboxed(&self) -> bool {
        self.sandboxed.load(Ordering::Relaxed)
    }

    /// `fd` is a connection or a listener.
    pub(crate) fn note(&self, fd: Fd) {
        self.highest.fetch_max(fd, Ordering::Relaxed);
        self.mark(fd);
    }

    /// Something is known of `fd`.
    pub(crate) fn mark(&self, fd: Fd) {
        if self.top.load(Ordering::Relaxed) < fd {
            self.top.fetch_max(fd, Ordering::Relaxed);
        }
    }

    /// Whether there has been any connection or listener.
    pub fn is_in_use(&self) -> bool {
        self.highest.load(Ordering::Relaxed) >= 0
    }
}

#[cfg(test)]
mod tests;
