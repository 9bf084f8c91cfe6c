//! Files that stand for a process and go with it: a Unix socket's, one with a process id.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that was made here, removed when this is dropped if it is still the same one.
#[derive(Debug)]
pub struct MadeFile {
    path: PathBuf,
    id: (u64, u64),
}

impl MadeFile {
    /// The file at `path`, which looks like that.
    ///
    /// # Errors
    /// Those of getcwd(3).
    pub fn new(path: &Path, made: &Metadata) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        // Without links, so that a root directory above it is found in it.
        let real = path.parent().and_then(|parent| parent.canonicalize().ok()).zip(path.file_name());
        let path = real.map(|(parent, name)| parent.join(name)).unwrap_or(path);
        Ok(MadeFile { path, id: (made.dev(), made.ino()) })
    }

    /// `root`, by its real path, is the root directory from here on. A file outside it is out of reach, and stays: a descriptor of
    /// its directory would be a way out for whoever is to be locked in.
    pub fn below(&mut self, root: &Path) {
        if let Ok(inside) = self.path.strip_prefix(root) {
            self.path = Path::new("/").join(inside);
        }
    }
}

impl Drop for MadeFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.id) {
            // Whoever has given up the right to remove it leaves it, as daemons do. The next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
