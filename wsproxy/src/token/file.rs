//! `TokenFile` and `ReadOnlyTokenFile`: lines `TOKEN: HOST:PORT` in a file, or in the files of a directory.
//!
//! The table is a hash map. Before each lookup the files are looked at with stat(2), one call each, and they are read when
//! one has changed: how many tokens a file has makes no difference to a connection.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{Lookup, Miss, Plugin, beside};
use crate::dial::Destination;
use crate::file;
use crate::setting::{Anchored, BadSetting};
use crate::stamp::Stamp;

/// Tokens of files.
#[derive(Debug)]
pub(super) struct File(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Whether changes are followed.
    follows: bool,
    state: RwLock<State>,
    /// Held while files are read, so that one reads for all.
    reading: Mutex<()>,
}

#[derive(Debug)]
struct State {
    table: Arc<Table>,
    /// What the files looked like when they were read; `None`: a change in the meantime might not show.
    seen: Option<View>,
}

/// Targets by their tokens.
type Table = HashMap<Box<str>, Destination>;

/// The path, with the files in it if it is a directory, and what they look like.
#[derive(Debug, PartialEq, Eq)]
struct View(Vec<(PathBuf, Option<Stamp>)>);

impl View {
    fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        View(paths.into_iter().map(|path| (Stamp::of(&path), path)).map(|(stamp, path)| (path, stamp)).collect())
    }

    /// Whether they still look so. A file that comes or goes changes the directory.
    fn is_current(&self) -> bool {
        self.0.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    fn is_settled(&self) -> bool {
        self.0.iter().all(|(_, stamp)| stamp.is_none_or(|stamp| stamp.is_settled()))
    }
}

impl File {
    pub(super) fn open(source: &Anchored, follows: bool) -> Result<Self, BadSetting> {
        let path = source.path()?;
        let (seen, table) = read(&path);
        let state = State { table: Arc::new(table.map_err(|error| source.bad_file(&path, error))?), seen };
        Ok(File(Arc::new(Inner { path, follows, state: RwLock::new(state), reading: Mutex::new(()) })))
    }
}

impl Plugin for File {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        let (inner, token) = (Arc::clone(&self.0), token.to_owned());
        Box::pin(async move {
            if inner.follows {
                beside(move || inner.refreshed().get(token.as_str()).cloned().ok_or(Miss::Unknown)).await
            } else {
                inner.table().get(token.as_str()).cloned().ok_or(Miss::Unknown)
            }
        })
    }
}

impl Inner {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).table)
    }

    fn is_current(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.seen.as_ref().is_some_and(View::is_current)
    }

    /// The table, read again if a file has changed. One that cannot be used leaves the table before in force.
    fn refreshed(&self) -> Arc<Table> {
        if !self.is_current() {
            let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.is_current() {
                let (seen, table) = read(&self.path);
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                state.seen = seen;
                match table {
                    Ok(table) => state.table = Arc::new(table),
                    Err(error) => tracing::warn!(path = %self.path.display(), error, "tokens not read anew"),
                }
            }
        }
        self.table()
    }
}

/// What the files look like, and the tokens in them. They are looked at first: one that changes meanwhile is read once more.
fn read(path: &Path) -> (Option<View>, Result<Table, String>) {
    let (files, is_directory) = match directory(path) {
        Ok(files) => (files, true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => (vec![path.to_owned()], false),
        Err(error) => return (Some(View::of([path.to_owned()])), Err(error.to_string())),
    };
    let seen = View::of(is_directory.then(|| path.to_owned()).into_iter().chain(files.iter().cloned()));
    let seen = seen.is_settled().then_some(seen);
    (seen, tokens(&files))
}

/// The files of a directory that do not hide, by name.
fn directory(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn tokens(files: &[PathBuf]) -> Result<Table, String> {
    let mut table = HashMap::new();
    for path in files {
        let text = file::open(path).and_then(io::read_to_string);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (number, line) in text.lines().enumerate() {
            match entry(line) {
                Ok(None) => {}
                Ok(Some((token, target))) => drop(table.insert(token.into(), target)),
                Err(why) => return Err(format!("line {} of {}: {why}", number + 1, path.display())),
            }
        }
    }
    Ok(table)
}

/// What a line says. Empty lines and those that begin with `#` say nothing.
fn entry(line: &str) -> Result<Option<(&str, Destination)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.char_indices().zip(line.chars().skip(1)).find(|&((_, c), next)| c == ':' && next.is_whitespace());
    let ((end, _), _) = end.ok_or("a line is TOKEN: HOST:PORT, with a space behind the first colon")?;
    let (token, target) = line.split_at(end);
    let (token, target) = (token.trim_end(), target.trim_start_matches(':').trim());
    if token.is_empty() {
        return Err("the token is missing".into());
    }
    let target = target.parse().map_err(|error| format!("{target:?} is no target: {error}"))?;
    Ok(Some((token, target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tokens_and_targets() {
        let read = |line| entry(line).map(|found| found.map(|(token, target)| (token.to_owned(), target.to_string())));
        let found = |token: &str, target: &str| Ok(Some((token.to_owned(), target.to_owned())));
        assert_eq!(read("a: h:1"), found("a", "h:1"));
        assert_eq!(read("  a:b:\t[::1]:1  "), found("a:b", "[::1]:1"));
        assert_eq!(read("a : h:1"), found("a", "h:1"));
        assert_eq!(read("a: unix_socket:/run/x y"), found("a", "unix:/run/x y"));
        for line in ["", "   ", "# a: h:1"] {
            assert_eq!(read(line), Ok(None), "{line:?}");
        }
        for line in ["a", "a:h:1", "a: h", ": h:1", "a:", "a: h:1 x"] {
            assert!(read(line).is_err(), "{line:?}");
        }
    }
}
