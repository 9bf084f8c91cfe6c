//! The lock while the process has one thread, when it gets a second one, and after that. Not a test of the harness, which has threads.

#![allow(clippy::expect_used, reason = "a test says what must hold by failing where it stands")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wslock::{Mutex, is_single_threaded};

fn main() {
    let lock = Mutex::new(0);
    assert!(is_single_threaded());

    // Alone: held is held, and free is free.
    let mut held = lock.lock();
    *held += 1;
    assert!(lock.try_lock().is_none());
    drop(held);
    *lock.try_lock().expect("it is free") += 1;

    // Taken alone, it is held for a thread that is made meanwhile, which is woken when it is given back.
    let (mut held, tried) = (lock.lock(), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            assert!(lock.try_lock().is_none());
            tried.store(true, Ordering::SeqCst);
            *lock.lock() += 1;
        });
        assert!(!is_single_threaded());
        // Between this and the lock there is nothing that it could sleep for but the lock.
        wait_until(|| tried.load(Ordering::SeqCst));
        wait_until(is_asleep);
        assert_eq!(*held, 2);
        *held += 10;
        drop(held);
        waiter.join().expect("the waiter's look");
    });
    assert_eq!(*lock.lock(), 13);
    println!("alone: ok");
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "the thread does not get there");
        thread::yield_now();
    }
}

/// Whether a thread of this process besides its first sleeps, by proc_pid_stat(5).
fn is_asleep() -> bool {
    let own = std::process::id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    tasks.flatten().filter(|task| task.file_name() != *own).any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
    })
}
