//! The log: lines of text or JSON, on standard error, in a file that can be opened anew, and to syslog.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Log;
use crate::failure::Failure;
use crate::options::LogFormat;
use crate::syslog::Syslog;

/// Where the log goes, opened and not yet in use.
pub struct Opened {
    verbose: bool,
    format: LogFormat,
    file: Option<LogFile>,
    /// Where there is no file.
    console: Option<Console>,
    syslog: Option<Syslog>,
}

/// Standard error, as somewhere to write to without waiting for its reader, for whom sessions would wait as well.
#[derive(Debug)]
enum Console {
    /// A file, or what was opened anew: to be told not to wait, a FIFO or a terminal needs another description (open(2)) than the one that
    /// is shared with whoever started this.
    File(File),
    /// A socket, such as the journal's, which is told with each line.
    Socket(OwnedFd),
}

impl Console {
    fn open() -> io::Result<Self> {
        let own = io::stderr().as_fd().try_clone_to_owned()?;
        let kind = SFlag::from_bits_truncate(fstat(&own)?.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFSOCK {
            return Ok(Console::Socket(own));
        }
        let waits = kind == SFlag::S_IFIFO || kind == SFlag::S_IFCHR;
        // Without the right to open it, or without /proc, it is written to as it is.
        let anew = waits.then(|| append(Path::new("/proc/self/fd/2")).ok()).flatten();
        Ok(Console::File(anew.unwrap_or_else(|| own.into())))
    }
}

impl io::Write for &Console {
    /// Writes a line. What is not taken at once is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Console::File(file) => (&*file).write(line),
            Console::Socket(socket) => {
                Ok(send(socket.as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log file. Clones are the same one.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: RwLock<Arc<File>>,
}

/// Opens what the log goes to.
///
/// # Errors
/// Those of open(2), of connect(2) and of the resolver.
pub fn open(log: &Log) -> Result<Opened, Failure> {
    let file = log.file.as_ref().map(|path| {
        let file = append(path).map_err(|why| Failure::system(format!("--log-file {}", path.display()), why))?;
        Ok(LogFile(Arc::new(Inner { path: path.clone(), file: RwLock::new(Arc::new(file)) })))
    });
    let file = file.transpose()?;
    let console = Console::open().map_err(|why| Failure::system("standard error", why))?;
    let syslog = log.syslog.as_ref().map(Syslog::connect).transpose()?;
    Ok(Opened { verbose: log.verbose, format: log.format, console: file.is_none().then_some(console), file, syslog })
}

/// Opens a file to write behind its end. Where that is a FIFO or a terminal, nobody is waited for: neither its reader here, nor room in it
/// later, when sessions would wait as well.
fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

impl Opened {
    /// Begins to log; to standard error, too, unless there is a file, if that is `allowed`. Returns the file.
    pub fn begin(self, allowed: bool) -> Option<LogFile> {
        let level = if self.verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
        let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
        if let Some(file) = &self.file {
            layers.push(lines(self.format, file.clone()));
        }
        if let Some(console) = self.console.filter(|_| allowed) {
            layers.push(lines(self.format, Arc::new(console)));
        }
        if let Some(syslog) = self.syslog {
            // Time, level and name stand in the head of a message.
            layers.push(match self.format {
                LogFormat::Text => {
                    let bare = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_level(false);
                    bare.with_target(false).log_internal_errors(false).with_writer(syslog).boxed()
                }
                LogFormat::Json => lines(LogFormat::Json, syslog),
            });
        }
        // It fails where a log has been begun before, and there is one.
        let _ = tracing_subscriber::registry().with(layers).with(level).try_init();
        self.file
    }
}

fn lines<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A full disk or a closed terminal stops no session, and there is nowhere to tell of it.
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).log_internal_errors(false);
    match format {
        LogFormat::Text => layer.with_writer(writer).boxed(),
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).with_writer(writer).boxed()
        }
    }
}

impl LogFile {
    /// Opens the file by its name again: another has taken its place, or will.
    ///
    /// # Errors
    /// Those of open(2); the log goes on where it went.
    pub fn reopen(&self) -> Result<(), String> {
        let path = &self.0.path;
        let file = append(path).map_err(|error| format!("--log-file {}: {error}", path.display()))?;
        *self.0.file.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(file);
        Ok(())
    }
}

impl MakeWriter<'_> for LogFile {
    type Writer = Arc<File>;

    fn make_writer(&self) -> Arc<File> {
        Arc::clone(&self.0.file.read().unwrap_or_else(PoisonError::into_inner))
    }
}
