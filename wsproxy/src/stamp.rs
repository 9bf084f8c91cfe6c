//! Whether a file has changed, without reading it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long ago a file is to have changed for a further change to show: the kernel's clock of files goes in steps of up to
/// 10 ms, and what is written twice within one of them looks the same.
const SETTLED: Duration = Duration::from_millis(100);

/// What tells that a file has changed: replaced, by renaming or behind a symbolic link, or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    changed: (i64, i64),
    size: u64,
}

impl Stamp {
    /// `None`: the file cannot be seen.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|file| Self::from_metadata(&file))
    }

    fn from_metadata(file: &Metadata) -> Self {
        Stamp { place: (file.dev(), file.ino()), changed: (file.ctime(), file.ctime_nsec()), size: file.size() }
    }

    /// Whether the file was last changed so long before this moment that a change from here on is bound to show.
    pub(crate) fn is_settled(&self) -> bool {
        let changed = |seconds, nanos| {
            Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok().filter(|&n| n < 1_000_000_000)?))
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
        let age = changed(self.changed.0, self.changed.1).and_then(|changed| now?.checked_sub(changed));
        age.is_some_and(|age| age > SETTLED)
    }
}
