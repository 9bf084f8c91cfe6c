//! The thread that writes recordings.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use wsproto::Encoding;

use super::form::{Form, From, Start};
use crate::file::irregular;

/// Permissions of a recording.
const SECRET: u32 = 0o600;

/// About what the allocator and the queue add to a job.
const ALLOCATOR: usize = 32;

/// What is to be done.
pub enum Job {
    /// A connection is to be recorded in this file. `over` tells it that it is no more.
    Begin { path: PathBuf, form: Form, start: Start, over: Arc<AtomicBool> },
    /// Bytes have passed.
    Piece(Piece),
    /// The connection has ended.
    End { id: u64, after: Duration },
    /// Write all that is there, and tell.
    Finish(Sender<()>),
}

/// Bytes that have passed.
pub struct Piece {
    pub id: u64,
    pub after: Duration,
    pub from: From,
    pub bytes: Box<[u8]>,
    pub encoding: Encoding,
}

impl Job {
    /// The memory that it takes while it waits.
    pub fn cost(&self) -> usize {
        let bytes = match self {
            // With its end.
            Job::Begin { path, start, .. } => path.as_os_str().len() + start.len() + size_of::<Job>(),
            Job::Piece(piece) => piece.bytes.len(),
            Job::End { .. } | Job::Finish(_) => return 0,
        };
        bytes + size_of::<Job>() + ALLOCATOR
    }
}

struct Open {
    path: PathBuf,
    form: Form,
    begun: Instant,
    file: BufWriter<File>,
    over: Arc<AtomicBool>,
}

/// Works until nobody has a job any more. `waiting` counts the bytes that have not been written.
pub fn run(jobs: &Receiver<Job>, waiting: &AtomicUsize) {
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut line = Vec::new();
    loop {
        let job = match jobs.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Who reads along sees all there is.
                keep(&mut open, |recording| recording.file.flush());
                let Ok(job) = jobs.recv() else { return };
                job
            }
        };
        waiting.fetch_sub(job.cost(), Ordering::Relaxed);
        match job {
            Job::Begin { path, form, start, over } => begin(&mut open, path, form, &start, over),
            Job::Piece(piece) => {
                let id = piece.id;
                one(&mut open, id, |recording| {
                    line.clear();
                    recording.form.piece(&mut line, &piece);
                    recording.file.write_all(&line)
                });
            }
            Job::End { id, after } => {
                one(&mut open, id, |recording| recording.end(after));
                open.remove(&id);
            }
            Job::Finish(done) => {
                keep(&mut open, |recording| recording.end(recording.begun.elapsed()));
                open.clear();
                let _ = done.send(());
            }
        }
    }
}

/// Opens a file. What passes may be secret, so it is the user's alone.
fn begin(open: &mut HashMap<u64, Open>, path: PathBuf, form: Form, start: &Start, over: Arc<AtomicBool>) {
    let id = start.id;
    match create(&path) {
        Ok(file) => {
            open.insert(id, Open { path, form, begun: start.begun, file: BufWriter::new(file), over });
            one(open, id, |recording| {
                let mut line = Vec::new();
                form.start(&mut line, start);
                recording.file.write_all(&line)
            });
        }
        Err(error) => {
            over.store(true, Ordering::Relaxed);
            tracing::warn!(id, file = %path.display(), %error, "--record: this connection is not recorded");
        }
    }
}

/// Makes a file that only its owner can read, in place of one that stood there before: that may be somebody else's, who waits for
/// what comes, or have another name elsewhere. What is no regular file stays, and nothing is written to it: a FIFO that nobody reads
/// could stop the one thread that writes all recordings, and a symbolic link may lead anywhere.
fn create(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(old) if old.is_file() => fs::remove_file(path)?,
        Ok(_) => return Err(irregular()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().write(true).create_new(true).mode(SECRET).open(path)
}

/// Does something to one recording, which ends if that fails.
fn one(open: &mut HashMap<u64, Open>, id: u64, act: impl FnOnce(&mut Open) -> io::Result<()>) {
    if let Some(recording) = open.get_mut(&id)
        && let Err(error) = act(recording)
    {
        recording.fail(id, &error);
        open.remove(&id);
    }
}

/// Does something to all recordings; those for which it fails end.
fn keep(open: &mut HashMap<u64, Open>, act: impl Fn(&mut Open) -> io::Result<()>) {
    open.retain(|id, recording| act(recording).map_err(|error| recording.fail(*id, &error)).is_ok());
}

impl Open {
    fn end(&mut self, after: Duration) -> io::Result<()> {
        let mut line = Vec::new();
        self.form.end(&mut line, after);
        self.file.write_all(&line)?;
        self.file.flush()
    }

    fn fail(&self, id: u64, error: &io::Error) {
        self.over.store(true, Ordering::Relaxed);
        let file = self.path.display();
        tracing::warn!(id, %file, %error, "--record: the recording of this connection ends here");
    }
}
