//! `TokenFileName` and `UnixDomainSocketDirectory`: names in a directory are tokens.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use super::{Lookup, Miss, Plugin, beside, written};
use crate::dial::Destination;
use crate::file;
use crate::setting::{Anchored, BadSetting};

/// The longest file that can hold a target.
const LONGEST: u64 = 4096;

/// Files that hold a target each.
#[derive(Debug)]
pub(super) struct Names(PathBuf);

/// Unix sockets, in directories below as well.
#[derive(Debug)]
pub(super) struct Sockets(PathBuf);

impl Names {
    pub(super) fn open(source: &Anchored) -> Result<Self, BadSetting> {
        directory(source).map(Names)
    }
}

impl Sockets {
    pub(super) fn open(source: &Anchored) -> Result<Self, BadSetting> {
        directory(source).map(Sockets)
    }
}

fn directory(source: &Anchored) -> Result<PathBuf, BadSetting> {
    let path = source.path()?;
    fs::read_dir(&path).map_err(|error| source.bad_file(&path, error))?;
    Ok(path)
}

/// The path for a token that stays below its directory: one of names alone, so many at the most.
fn below(directory: &Path, token: &str, most: usize) -> Result<PathBuf, Miss> {
    let relative = Path::new(token);
    let names = || relative.components();
    let good = names().all(|part| matches!(part, Component::Normal(_))) && (1..=most).contains(&names().count());
    if good && !token.contains('\0') { Ok(directory.join(relative)) } else { Err(Miss::Unknown) }
}

/// A file that is not there is a token that is not there.
fn missed(error: &io::Error) -> Miss {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENXIO) => Miss::Unknown,
        _ => Miss::Failed(error.to_string()),
    }
}

impl Plugin for Names {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let path = below(&self.0, token, 1)?;
            let text = beside(move || content(&path)).await?;
            written(&text)
        })
    }
}

fn content(path: &Path) -> Result<String, Miss> {
    let file = file::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Miss::Unknown,
        _ => missed(&error),
    })?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| missed(&error))?;
    Ok(text)
}

impl Plugin for Sockets {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let path = below(&self.0, token, usize::MAX)?;
            beside(move || {
                let found = fs::metadata(&path).map_err(|error| missed(&error))?;
                if found.file_type().is_socket() { Ok(Destination::Unix(path)) } else { Err(Miss::Unknown) }
            })
            .await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directory_has_a_token() {
        let find = |token, most| below(Path::new("/d"), token, most);
        assert_eq!(find("a", 1), Ok("/d/a".into()));
        assert_eq!(find("a/b", 2), Ok("/d/a/b".into()));
        for token in ["", ".", "..", "/", "/etc/passwd", "../d2/a", "a/../../x", "a\0b"] {
            assert_eq!(find(token, usize::MAX), Err(Miss::Unknown), "{token:?}");
        }
        assert_eq!(find("a/b", 1), Err(Miss::Unknown));
    }
}
