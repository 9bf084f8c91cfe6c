//! What processes that fork must agree on: which of them use a connection, since the last to close it sends Close.
//!
//! fork(2) makes a second owner without a call on the connection. So before a fork every connection gets a few words in
//! memory that the processes share, with the process ids of its owners; a process that ends without a close, by _exit(2) or
//! a signal, is found out by asking whether it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::{SharedWords, Sys};

/// Owners that a connection can have at a time. A process beyond them is not known to the others.
const OWNERS: usize = 15;

/// A child that is about to be made and has no process id yet.
const UNBORN: u32 = u32::MAX;

/// A companion that speaks for the connection from here on: see [`crate::bridge`].
const COMPANION: u32 = u32::MAX - 1;

/// The owners of one connection.
pub struct Owners {
    words: Arc<dyn SharedWords>,
    first: usize,
}

impl Owners {
    /// Owners for each of `count` connections, all of them this process.
    pub fn new(sys: &impl Sys, count: usize) -> Option<impl Iterator<Item = Owners>> {
        let words = sys.shared_words(count.checked_mul(OWNERS)?)?;
        let pid = sys.pid().unsigned_abs();
        Some((0..count).map(move |index| {
            let owners = Owners { words: words.clone(), first: index * OWNERS };
            owners.replace(0, pid);
            owners
        }))
    }

    /// A child is about to share the connection.
    pub fn announce_child(&self, sys: &impl Sys) {
        if !self.replace(0, UNBORN) {
            let dead = self.words().map(|word| word.load(Ordering::Acquire)).find(|pid| !alive(sys, *pid));
            if let Some(dead) = dead {
                self.replace(dead, UNBORN);
            }
        }
    }

    /// This process is that child.
    pub fn arrive(&self, sys: &impl Sys) {
        self.replace(UNBORN, sys.pid().unsigned_abs());
    }

    /// A companion takes this process's place, and is the only one to speak from here on.
    pub fn hand_over(&self, sys: &impl Sys) {
        if !self.replace(sys.pid().unsigned_abs(), COMPANION) {
            self.replace(0, COMPANION);
        }
    }

    /// Whether a companion speaks for the connection.
    pub fn is_handed_over(&self) -> bool {
        self.words().any(|word| word.load(Ordering::Acquire) == COMPANION)
    }

    /// Whether another process uses the connection.
    pub fn is_shared(&self, sys: &impl Sys) -> bool {
        let own = sys.pid().unsigned_abs();
        self.words().map(|word| word.load(Ordering::Acquire)).any(|pid| pid != 0 && pid != own && alive(sys, pid))
    }

    /// This process is about to become another program, which does not know the connection.
    pub fn step_out(&self, sys: &impl Sys) {
        self.replace(sys.pid().unsigned_abs(), 0);
    }

    /// It did not become one.
    pub fn step_in(&self, sys: &impl Sys) {
        self.replace(0, sys.pid().unsigned_abs());
    }

    /// This process is done with the connection. Returns whether no other process uses it.
    pub fn leave(&self, sys: &impl Sys) -> bool {
        self.replace(sys.pid().unsigned_abs(), 0);
        self.words().all(|word| {
            let pid = word.load(Ordering::Acquire);
            pid == 0 || !alive(sys, pid)
        })
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU32> {
        (self.first..self.first + OWNERS).filter_map(|index| self.words.get(index))
    }

    /// Puts `new` where `current` is. Returns whether it was found.
    fn replace(&self, current: u32, new: u32) -> bool {
        self.words().any(|word| word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }
}

fn alive(sys: &impl Sys, pid: u32) -> bool {
    pid == UNBORN || pid == COMPANION || sys.is_alive(pid.cast_signed())
}
