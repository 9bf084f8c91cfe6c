//! The lock while the process has one thread, when it gets a second one, and after that. Not a test of the harness, which has threads.

#![allow(clippy::expect_used, reason = "a test says what must hold by failing where it stands")]

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
    let mut held = lock.lock();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            assert!(lock.try_lock().is_none());
            *lock.lock() += 1;
        });
        assert!(!is_single_threaded());
        // It waits in the kernel, if it comes to that: what it adds has to come behind.
        wait_until_asleep();
        assert_eq!(*held, 2);
        *held += 10;
        drop(held);
        waiter.join().expect("the waiter's look");
    });
    assert_eq!(*lock.lock(), 13);
    println!("alone: ok");
}

/// Waits until a thread of this process besides its first is in futex(2).
fn wait_until_asleep() {
    let deadline = Instant::now() + Duration::from_secs(20);
    let own = std::process::id().to_string();
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
        let asleep = tasks.flatten().filter(|task| task.file_name() != *own).any(|task| {
            // "S" (sleeping) is the third field of stat, behind the name.
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
        });
        if asleep {
            return;
        }
        assert!(Instant::now() < deadline, "the thread does not wait");
        thread::yield_now();
    }
}
