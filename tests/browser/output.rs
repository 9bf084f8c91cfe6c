//! Reading what a program prints, with a deadline: `poll(2)` on the pipe, then one `read(2)`.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Waits until `source` has bytes, is at its end, or `until` has passed; false is the last.
pub fn readable(source: &impl AsRawFd, until: Instant) -> bool {
    loop {
        let mut entry = libc::pollfd { fd: source.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let timeout = libc::c_int::try_from(left).unwrap_or(libc::c_int::MAX);
        // SAFETY: `entry` is one initialised pollfd that outlives the call, and the count says one.
        let ready = unsafe { libc::poll(&raw mut entry, 1, timeout) };
        match ready {
            0 => return false,
            count if count > 0 => return true,
            _ => {
                let error = io::Error::last_os_error();
                assert_eq!(error.kind(), io::ErrorKind::Interrupted, "poll: {error}");
            }
        }
    }
}

/// Reads until `enough` says so or the stream ends; the answer is everything read.
///
/// Fails when `until` passes first, with what had come by then.
pub fn read_until(source: &mut (impl Read + AsRawFd), until: Instant, enough: impl Fn(&str) -> bool) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&text);
        if enough(&so_far) {
            return so_far.into_owned();
        }
        assert!(readable(source, until), "the deadline passed; the output so far: {so_far:?}");
        match source.read(&mut piece) {
            Ok(0) => return so_far.into_owned(),
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("reading the output: {error}; so far: {so_far:?}"),
        }
    }
}
