//! The locks that are held around a fork: the standard library's, without poisoning.
//!
//! They are plain futexes. In a forked child the threads that waited do not exist; a lock that is unlocked there is free, where
//! a fair lock with a queue of its own (parking_lot's) may be handed over to a thread that is gone.

use std::sync::{PoisonError, TryLockError};

pub use std::sync::MutexGuard;

/// A mutex. A panic while it was held ends the connection that it guards (see the glue), so there is nothing to poison.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Guards `value`.
    pub const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
