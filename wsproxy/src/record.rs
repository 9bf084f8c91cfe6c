//! Recordings of what passes, one file a connection.
//!
//! Files are written by one thread, behind a queue whose bytes are bounded. Where the disk is slower than the connection, or
//! full, the recording ends with a line in the log; the connection notices nothing.

mod form;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use wsproto::Encoding;

use crate::handler::Request;
use crate::setting::BadSetting;
use crate::watch::Watch;
pub use form::Form;
use form::{From, Start};
use writer::{Job, Piece};

/// Bytes that may wait for the disk, of all connections together.
const WAITING: usize = 32 << 20;

/// How long the last bytes may take to the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes recordings. Clones are the same one.
#[derive(Clone)]
pub struct Recorder {
    path: PathBuf,
    form: Form,
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).field("form", &self.form).finish_non_exhaustive()
    }
}

impl Recorder {
    /// The absolute form of the path that `--record` names, in a directory that can be written to.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(path: &Path) -> Result<PathBuf, BadSetting> {
        let bad = |why: io::Error| BadSetting::file("--record", path, why);
        let absolute = std::path::absolute(path).map_err(bad)?;
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        if absolute.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(BadSetting::file("--record", path, "a directory: name a file in it"));
        }
        let here = std::fs::metadata(directory).map_err(bad)?;
        if !here.is_dir() {
            return Err(bad(io::ErrorKind::NotADirectory.into()));
        }
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(|why| bad(why.into()))?;
        Ok(absolute)
    }

    /// Starts the thread that writes. The recording of connection N is the file `PATH.N`.
    ///
    /// # Errors
    /// Those of clone(2).
    pub fn start(path: PathBuf, form: Form) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&waiting);
        thread::Builder::new().name("recorder".into()).spawn(move || writer::run(&queue, &done))?;
        Ok(Recorder { path, form, jobs, waiting })
    }

    /// Begins the recording of a connection.
    pub fn begin(&self, request: &Request) -> Recording {
        let id = request.id;
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{id}"));
        let over = Arc::new(AtomicBool::new(false));
        let start = Start::of(request);
        let mut recording = Recording {
            id,
            is_begun: false,
            begun: start.begun,
            encoding: request.accepted.encoding,
            jobs: self.jobs.clone(),
            waiting: Arc::clone(&self.waiting),
            over: Arc::clone(&over),
        };
        let job = Job::Begin { path: path.into(), form: self.form, start, over };
        recording.is_begun = recording.queue(job);
        recording
    }

    /// Waits until all that has been recorded is written, or the disk has had its time. What is recorded later is lost.
    pub fn finish(&self) {
        let (done, finished): (Sender<()>, Receiver<()>) = channel();
        if self.jobs.send(Job::Finish(done)).is_ok() && finished.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("--record: the disk has not taken the last of what was recorded");
        }
    }
}

/// The recording of one connection. It sees the target's side: what is written there comes from the client.
pub struct Recording {
    id: u64,
    /// The thread knows of it.
    is_begun: bool,
    begun: Instant,
    encoding: Encoding,
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    /// There is no more to record.
    over: Arc<AtomicBool>,
}

impl Recording {
    /// Hands a job to the thread, if there is room for it.
    fn queue(&self, job: Job) -> bool {
        let cost = job.cost();
        if self.waiting.fetch_add(cost, Ordering::Relaxed) + cost > WAITING {
            self.waiting.fetch_sub(cost, Ordering::Relaxed);
            self.over.store(true, Ordering::Relaxed);
            tracing::warn!(id = self.id, "--record: the disk is too slow: the recording of this connection ends here");
            return false;
        }
        // The thread ends after the last of those who tell it something.
        self.jobs.send(job).is_ok()
    }

    fn note(&mut self, from: From, bytes: &[u8]) {
        if bytes.is_empty() || self.over.load(Ordering::Relaxed) {
            return;
        }
        let piece =
            Piece { id: self.id, after: self.begun.elapsed(), from, bytes: bytes.into(), encoding: self.encoding };
        self.queue(Job::Piece(piece));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Room for it was taken with the beginning.
        if self.is_begun {
            let _ = self.jobs.send(Job::End { id: self.id, after: self.begun.elapsed() });
        }
    }
}

impl Watch for Recording {
    fn read(&mut self, bytes: &[u8]) {
        self.note(From::Target, bytes);
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.note(From::Client, bytes);
    }

    fn write_ended(&mut self, _whole: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_bounded_by_the_memory_that_they_take() {
        let (jobs, queue) = channel();
        let mut recording = Recording {
            id: 1,
            is_begun: true,
            begun: Instant::now(),
            encoding: Encoding::Binary,
            jobs,
            waiting: Arc::default(),
            over: Arc::default(),
        };
        for _ in 0..1_000_000 {
            recording.note(From::Client, b"x");
        }
        let waiting = queue.try_iter().count();
        assert!((1000..WAITING / size_of::<Job>()).contains(&waiting), "{waiting}");
    }
}
