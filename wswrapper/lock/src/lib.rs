//! The mutex of what is locked around a fork.
//!
//! It is a plain futex(2). In a forked child the threads that waited do not exist; a lock that is unlocked there is free, where a fair lock
//! with a queue of its own (parking_lot's) may be handed over to a thread that is gone.
//!
//! And until the process makes its first further thread it takes no atomic read-modify-write operation. libc tells, and does the same with its own
//! locks. A thread that is made while a lock is held finds it held: the word is always true, only the way to change it
//! differs.
//!
//! A panic leaves nothing poisoned: it ends the connection that was guarded.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, compiler_fence};

use lock_api::{GuardNoSend, RawMutex};
use syscalls::{Sysno, syscall};

/// A mutex around a value.
pub type Mutex<T> = lock_api::Mutex<Futex, T>;

/// A mutex that is held.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Futex, T>;

/// Nobody has it.
const FREE: u32 = 0;
/// Somebody has it;
const HELD: u32 = 1;
/// and somebody may wait in the kernel for it.
const AWAITED: u32 = 2;

/// Operations of futex(2) within the process.
const WAIT: libc::c_int = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
/// See [`WAIT`].
const WAKE: libc::c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// Looks at a lock that another thread has, before the wait in the kernel: it is mostly held for less than the way there takes.
const SPINS: u32 = 100;

unsafe extern "C" {
    /// sys/single_threaded.h
    static __libc_single_threaded: libc::c_char;
}

/// Whether the process has one thread, as far as libc knows. It does not say so again of one that has had more (glibc 2.36), nor of its children.
#[inline(always)]
pub fn is_single_threaded() -> bool {
    // SAFETY: libc writes it before a thread is made, and a byte is read whole.
    unsafe { (&raw const __libc_single_threaded).read_volatile() != 0 }
}

/// The lock itself.
#[derive(Debug)]
pub struct Futex(AtomicU32);

// SAFETY: the word leaves FREE for one caller at a time. With several threads that is by one atomic operation. With one, nobody is there to
// come between the look and the change: a signal handler finds the word as it was or as it will be, and must not wait for it in either
// case. Acquire and Release order what the lock guards, for a handler that looks at it the compiler's own order; a thread is ordered by being made.
unsafe impl RawMutex for Futex {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait makes each new lock from it")]
    const INIT: Self = Futex(AtomicU32::new(FREE));

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        if is_single_threaded() {
            let free = self.0.load(Relaxed) == FREE;
            if free {
                self.0.store(HELD, Relaxed);
                compiler_fence(SeqCst);
            }
            return free;
        }
        self.0.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok()
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        if is_single_threaded() {
            // Nobody waits: that would be a thread.
            compiler_fence(SeqCst);
            self.0.store(FREE, Relaxed);
        } else if self.0.swap(FREE, Release) == AWAITED {
            self.wake();
        }
    }
}

impl Futex {
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        for _ in 0..SPINS {
            if self.0.load(Relaxed) == FREE && self.try_lock() {
                return;
            }
            std::hint::spin_loop();
        }
        // Others may wait as well, so it is AWAITED even when it has been taken.
        while self.0.swap(AWAITED, Acquire) != FREE {
            // SAFETY: the word is readable, and no time limit is given. It returns when the word is another, or the wait is over; which one is
            // found out above.
            let _ = unsafe { syscall!(Sysno::futex, self.0.as_ptr(), WAIT, AWAITED, 0) };
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        // SAFETY: the kernel takes the address for a name.
        let _ = unsafe { syscall!(Sysno::futex, self.0.as_ptr(), WAKE, 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn one_thread_at_a_time_has_it() {
        const ROUNDS: u64 = 20_000;
        let counter = Mutex::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let mut counter = counter.lock();
                        let before = *counter;
                        if round % 1024 == 0 {
                            // Long enough for the others to go and wait in the kernel.
                            thread::yield_now();
                        }
                        *counter = before + 1;
                    }
                });
            }
        });
        assert_eq!(*counter.lock(), 4 * ROUNDS);
    }

    #[test]
    fn what_is_held_is_not_taken_again() {
        let among_threads = || {
            assert!(!is_single_threaded());
            let lock = Mutex::new(());
            let held = lock.lock();
            assert!(lock.try_lock().is_none());
            drop(held);
            assert!(lock.try_lock().is_some());
        };
        thread::spawn(among_threads).join().unwrap();
    }

    #[test]
    fn a_panic_unlocks_it() {
        let lock = Mutex::new(1);
        let result = thread::scope(|scope| {
            let panics = || {
                let _held = lock.lock();
                std::panic::resume_unwind(Box::new(()));
            };
            scope.spawn(panics).join()
        });
        assert!(result.is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
