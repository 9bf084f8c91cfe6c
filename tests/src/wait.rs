//! Waiting for a condition of the outside world, always with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Generous: a slow machine is no failure, and a test never waits this
/// long unless it is about to fail.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// How often a condition that cannot be waited for (a line of `/proc`, the end of a process) is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Looks at `condition` until it gives a value, and returns that.
///
/// # Panics
/// If it gives none within [`TIMEOUT`]; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    match within(TIMEOUT, &mut condition) {
        Some(value) => value,
        None => panic!("waited {TIMEOUT:?} in vain for {what}"),
    }
}

/// Looks at `condition` until it gives a value or `limit` has passed.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        // The clock is read first: a condition that comes true at the last moment counts.
        let late = Instant::now() >= deadline;
        if let Some(value) = condition() {
            return Some(value);
        }
        if late {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
