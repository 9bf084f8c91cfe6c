//! A directory that nothing leads out of.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2};

/// What need not be encoded in a segment of a path: RFC 3986, `unreserved`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The root of what is served.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Arc<OwnedFd>,
}

/// A path of a request, relative to the root: names alone, of which none is `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    names: Vec<Vec<u8>>,
    /// It ends in a slash, which asks for a directory.
    pub slash: bool,
}

/// What stands in a place.
pub(super) enum Node {
    File(File),
    Directory(OwnedFd),
}

impl Place {
    /// The place that the path of a request target names. `None`: none that could be in a tree.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut names = Vec::new();
        for segment in path.split('/') {
            let name: Vec<u8> = percent_decode_str(segment).collect();
            match name.as_slice() {
                b"" | b"." => {}
                b".." => return None,
                name if name.contains(&b'/') || name.contains(&0) => return None,
                _ => names.push(name),
            }
        }
        Some(Place { names, slash: path.ends_with('/') })
    }

    /// The path of the place as a directory, for a link: never one that begins with two slashes, which is another host.
    pub(super) fn directory(&self) -> String {
        let mut path = String::from("/");
        for name in &self.names {
            path.push_str(&encode(name));
            path.push('/');
        }
        path
    }

    /// A file in this place.
    pub(super) fn join(&self, name: &str) -> Place {
        let mut names = self.names.clone();
        names.push(name.into());
        Place { names, slash: false }
    }

    /// The path for the file system.
    fn relative(&self) -> PathBuf {
        if self.names.is_empty() {
            return PathBuf::from(".");
        }
        self.names.iter().map(|name| OsStr::from_bytes(name)).collect()
    }

    /// The name of what stands here.
    pub(super) fn name(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.names.last().map(Vec::as_slice).unwrap_or_default()))
    }
}

/// A name as a segment of a path.
pub(super) fn encode(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

impl Tree {
    /// Opens the root.
    ///
    /// # Errors
    /// Those of openat2(2): `ENOTDIR`, or `ENOSYS` on a kernel before 5.6.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty())?;
        let tree = Tree { root: Arc::new(root) };
        tree.resolve(Path::new("."))?;
        Ok(tree)
    }

    /// Opens a path. The kernel sees to it that it stays beneath the root: a symbolic link that leads out is `EXDEV`, and
    /// there is no moment between a check and its use.
    fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        // A named pipe without a writer is opened at once; it is refused by its type.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&*self.root, path, flags, Mode::empty(), resolve)?)
    }

    /// What stands in `place`. Blocks.
    ///
    /// # Errors
    /// Those of openat2(2); `NotFound` for what is neither a file nor a directory.
    pub(super) fn get(&self, place: &Place) -> io::Result<Node> {
        let fd = self.resolve(&place.relative())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(Node::File(File::from(fd))),
            FileType::Directory => Ok(Node::Directory(fd)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The names in a directory in their order, with a mark on directories. Blocks.
///
/// # Errors
/// Those of getdents(2).
pub(super) fn names(directory: &OwnedFd) -> io::Result<Vec<(Vec<u8>, bool)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_owned().into_bytes();
        if name != b"." && name != b".." {
            names.push((name, entry.file_type() == FileType::Directory));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_outside() {
        for path in ["/..", "/../etc/passwd", "/a/../../b", "/%2e%2e/x", "/.%2E/x", "/a%2fb", "/%2fetc", "/a%00b"] {
            assert_eq!(Place::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_place_is_decoded_once() {
        let names = |path| Place::of(path).map(|place| place.names);
        assert_eq!(names("//a///./b%20c/"), Some(vec![b"a".to_vec(), b"b c".to_vec()]));
        assert_eq!(names("/%252e%252e"), Some(vec![b"%2e%2e".to_vec()]));
        assert_eq!(names("/"), Some(vec![]));
        assert_eq!(
            Place::of("//evil.example//x y").map(|place| place.directory()).as_deref(),
            Some("/evil.example/x%20y/")
        );
    }
}
