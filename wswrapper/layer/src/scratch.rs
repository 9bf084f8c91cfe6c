//! Buffers for bytes on their way through: no allocation in a call, nothing of size on the caller's stack.
//!
//! Threads may have small stacks, and `malloc` is not safe in a signal handler; so the large buffers are a fixed set in
//! memory that stays untouched, hence costs nothing, until it is used.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Size of a large buffer: a full frame of 64 KiB in base64, with room for what surrounds it.
pub const LARGE: usize = 88 * 1024;

/// Size of the buffer on the stack that serves when all large ones are in use.
pub const SMALL: usize = 1024;

/// How many threads can decode at the same moment with a large buffer each.
const COUNT: usize = 16;

static BUFFERS: [Mutex<[u8; LARGE]>; COUNT] = [const { Mutex::new([0; LARGE]) }; COUNT];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A buffer for the length of one step; never kept while a call waits.
pub enum Scratch<'a> {
    /// One of the fixed set.
    Large(MutexGuard<'static, [u8; LARGE]>),
    /// The caller's own.
    Small(&'a mut [u8; SMALL]),
}

impl<'a> Scratch<'a> {
    /// Takes a large buffer if one is free, else `small`.
    pub fn take(small: &'a mut [u8; SMALL]) -> Self {
        let start = NEXT.load(Ordering::Relaxed);
        for i in 0..COUNT {
            let Some(buffer) = BUFFERS.get((start + i) % COUNT) else {
                break;
            };
            if let Some(guard) = buffer.try_lock() {
                return Scratch::Large(guard);
            }
            NEXT.store(start.wrapping_add(i + 1), Ordering::Relaxed);
        }
        Scratch::Small(small)
    }
}

/// In a forked child no other thread is left that could give its buffer back: such a buffer stays taken, and the child
/// has the others.
impl Deref for Scratch<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Scratch::Large(buffer) => buffer.as_slice(),
            Scratch::Small(buffer) => buffer.as_slice(),
        }
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Scratch::Large(buffer) => buffer.as_mut_slice(),
            Scratch::Small(buffer) => buffer.as_mut_slice(),
        }
    }
}
