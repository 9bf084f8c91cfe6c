//! The standard streams of a running program: output is collected all the time, input never blocks the test.

use std::io::{Read, Write};
use std::process::ChildStdin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::TIMEOUT;

/// What a program has written to one descriptor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    output: Mutex<Output>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    /// Up to here it has been read by the test.
    taken: usize,
    ended: bool,
}

impl Capture {
    /// Collects what comes from `pipe` until its end.
    pub(crate) fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let capture = Self::default();
        let mine = capture.clone();
        thread::spawn(move || {
            let mut piece = [0; 65_536];
            loop {
                let n = pipe.read(&mut piece).unwrap_or(0);
                let mut output = mine.lock();
                output.bytes.extend_from_slice(&piece[..n]);
                output.ended = n == 0;
                mine.0.changed.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        capture
    }

    /// All of it so far, read or not.
    pub(crate) fn all(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Waits until `length` gives how much of the unread output to take, knowing whether more will come, and takes it.
    #[track_caller]
    pub(crate) fn take(&self, what: &str, length: impl Fn(&[u8], bool) -> Option<usize>) -> Vec<u8> {
        let deadline = Instant::now() + TIMEOUT;
        let mut output = self.lock();
        loop {
            let unread = output.bytes.get(output.taken..).unwrap_or_default();
            if let Some(n) = length(unread, output.ended) {
                let taken = unread[..n].to_vec();
                output.taken += n;
                return taken;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if output.ended || left.is_zero() {
                let ended = output.ended;
                let come = unread.len();
                // The lock is given back first: the server prints what it has when the test fails.
                drop(output);
                panic!("{what}: {come} bytes have come, ended: {ended}");
            }
            output = self.0.changed.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.0.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The standard input of a program.
#[derive(Debug)]
pub(crate) struct Feed(Sender<Vec<u8>>);

impl Feed {
    /// Writes into `pipe` whatever is given, and closes it with the last owner of this.
    pub(crate) fn start(mut pipe: ChildStdin) -> Self {
        let (sender, receiver) = channel::<Vec<u8>>();
        thread::spawn(move || {
            for bytes in receiver {
                // The program may have ended without reading: then there is nobody to tell.
                if pipe.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Self(sender)
    }

    pub(crate) fn put(&self, bytes: &[u8]) {
        // Fails only when the program reads no more.
        let _ = self.0.send(bytes.to_vec());
    }
}
