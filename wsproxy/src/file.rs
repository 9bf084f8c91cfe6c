//! Files that are read whole: those of the settings, and those that tokens stand for.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a file to read it. A FIFO, which would wait for a writer, or a device, which may have no end, is none.
///
/// # Errors
/// Those of open(2); `InvalidInput` for what is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

/// The contents of a file.
///
/// # Errors
/// As [`open`]; those of read(2).
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is wrong with a FIFO, a device, a socket.
pub(crate) fn irregular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is something that is no regular file")
}
