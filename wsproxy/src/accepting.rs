//! What is done when no connection can be accepted.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long to wait when what other connections hold is wanting.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long after any other failure: the next connection is another one, but nobody knows all errors of all kernels.
const FAILED: Duration = Duration::from_millis(1);

/// How long there is no second line for the same cause.
const SILENCE: Duration = Duration::from_secs(60);

/// The causes that the log has a line for, and since when. The sockets of one service share it.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashMap<Option<i32>, Instant>>);

impl Complaints {
    /// Waits as long as it must be after a failure of accept(2), which the log tells once in a while. `who` could not come in.
    ///
    /// # Errors
    /// The error itself where it is the listening socket's own and stays: EINVAL ("Socket is not listening for connections"), EBADF
    /// and ENOTSOCK. All others are of one connection, or pass.
    pub(crate) async fn after(&self, error: io::Error, who: &str) -> io::Result<()> {
        let pause = match error.raw_os_error() {
            Some(libc::EINVAL | libc::EBADF | libc::ENOTSOCK) => return Err(error),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => EXHAUSTED,
            _ => FAILED,
        };
        if self.is_new(&error, Instant::now()) {
            tracing::warn!(%error, "no {who} can be accepted");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn is_new(&self, error: &io::Error, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = said.get(&error.raw_os_error()).is_none_or(|since| now.duration_since(*since) >= SILENCE);
        if is_new {
            said.insert(error.raw_os_error(), now);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stays_is_an_error_and_what_passes_a_pause() {
        let complaints = Complaints::default();
        for own in [libc::EINVAL, libc::EBADF, libc::ENOTSOCK] {
            let error = complaints.after(io::Error::from_raw_os_error(own), "connection").await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(own));
        }
        for (passing, pause) in [(libc::EMFILE, EXHAUSTED), (libc::ENOBUFS, EXHAUSTED), (libc::ECONNABORTED, FAILED)] {
            let start = tokio::time::Instant::now();
            complaints.after(io::Error::from_raw_os_error(passing), "connection").await.unwrap();
            assert_eq!(start.elapsed(), pause);
        }
    }

    #[test]
    fn a_cause_is_told_once_in_a_while() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let told = |error, after| complaints.is_new(&io::Error::from_raw_os_error(error), start + after);
        assert!(told(libc::EMFILE, Duration::ZERO) && !told(libc::EMFILE, SILENCE / 2));
        assert!(told(libc::ENFILE, SILENCE / 2) && told(libc::EMFILE, SILENCE));
    }
}
