//! Where `libwswrapper.so` is, and how it gets into `LD_PRELOAD`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::elf::{self, Elf};
use crate::failure::{Failure, shown};
use crate::{sanitizer, sys};

/// The file name of the library, which is also how one that is already preloaded is known.
pub const NAME: &str = "libwswrapper.so";

/// Where it may be, seen from the directory of the launcher: beside it, installed in the usual way, or in the other
/// profile of the build tree.
const PLACES: [&str; 4] = [".", "../lib", "../release", "../debug"];

/// The library, found and sound.
#[derive(Debug)]
pub struct Library {
    /// The directory that holds it, absolute, without symbolic links.
    dir: PathBuf,
    /// Its headers: a program must match its target.
    pub elf: Elf,
}

impl Library {
    /// Looks in the places that belong to the running launcher.
    pub fn find() -> Result<Self, Failure> {
        let own = std::env::current_exe()
            .map_err(|e| Failure::own(format!("cannot tell where wswrap is: {e}: is /proc mounted?")))?;
        Self::find_from(own.parent().unwrap_or(Path::new("/")))
    }

    fn find_from(home: &Path) -> Result<Self, Failure> {
        let found = PLACES.iter().map(|place| home.join(place).join(NAME)).find(|path| path.is_file());
        let Some(path) = found else {
            return Err(Failure::own(format!(
                "{NAME} not found: neither in {home} nor in {home}/../lib: put it beside wswrap, or in a checkout run \
                 `cargo build --release -p wswrapper -p launcher -p wsbridge`",
                home = shown(home)
            )));
        };
        let broken = |why: String| Failure::own(format!("{}: {why}: build or install it again", shown(&path)));
        let elf = File::open(&path).map_err(|e| e.to_string()).and_then(elf::read).map_err(&broken)?;
        if !(elf.loadable && elf.dynamic) {
            return Err(broken("not a shared library".into()));
        }
        let path = path.canonicalize().map_err(|e| broken(e.to_string()))?;
        // A symbolic link may give the file another name at its end: the directory must hold it under ours.
        let dir = match path.parent() {
            Some(dir) if path.file_name() == Some(OsStr::new(NAME)) => dir,
            _ => {
                return Err(broken(format!("a link to {}, which is not named {NAME}", shown(&path))));
            }
        };
        Ok(Self { dir: dir.to_owned(), elf })
    }

    /// The file, under its own name.
    pub fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// The value for `LD_PRELOAD`: this library, then what `present` (the value so far) holds, without any copy of this
    /// library. The runtime of a sanitizer stays in front: AddressSanitizer ends a program in which it is not the first.
    pub fn preload(&self, present: Option<&OsStr>) -> Result<OsString, Failure> {
        let dir = if loader_takes(&self.dir) { self.dir.clone() } else { self.alias()? };
        let own = dir.join(NAME);
        let identity = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        let own_identity = identity(&own);
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for other in present.unwrap_or_default().as_bytes().split(|b| b" :".contains(b)).filter(|name| !name.is_empty())
        {
            let path = Path::new(OsStr::from_bytes(other));
            let copy =
                path.file_name() == Some(OsStr::new(NAME)) || own_identity.is_some() && identity(path) == own_identity;
            if sanitizer::is_runtime(path) {
                before.push(other);
            } else if !copy {
                behind.push(other);
            }
        }
        let all: Vec<_> = before.into_iter().chain([own.as_os_str().as_bytes()]).chain(behind).collect();
        Ok(OsString::from_vec(all.join(&b':')))
    }

    /// A directory under a name that the loader takes: a symbolic link in a directory of the user's own.
    ///
    /// It stays after the program has started, because every child of the program loads the library by that name as
    /// well; the next start uses it again. `LD_LIBRARY_PATH` with a bare file name serves paths with spaces, but not
    /// those with colons, and is lost in programs that set it themselves; `/proc/self/fd/N` is lost in programs that
    /// close what they do not know.
    fn alias(&self) -> Result<PathBuf, Failure> {
        // Not TMPDIR: that may be cleared when a session ends, while the program and its children go on.
        let home = PathBuf::from(format!("/tmp/wswrap-{}", sys::ids().euid));
        self.alias_in(&home).map_err(|why| {
            Failure::own(format!(
                "{dir}: ld.so takes no library from a path with a space, colon or dollar sign, and a link to it in {home} \
                 cannot be made ({why}): move wswrap to another path, or remove {home}",
                dir = shown(&self.dir),
                home = shown(home),
            ))
        })
    }

    fn alias_in(&self, home: &Path) -> Result<PathBuf, String> {
        match fs::create_dir(home) {
            // Readable for all whatever the umask: the program may change its user and start children after that.
            Ok(()) => fs::set_permissions(home, Permissions::from_mode(0o755)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
        .map_err(|e| e.to_string())?;
        let meta = fs::symlink_metadata(home).map_err(|e| e.to_string())?;
        if !meta.is_dir() || meta.uid() != sys::ids().euid || meta.mode() & 0o022 != 0 {
            return Err("it is not a directory that you alone can write to".into());
        }
        let mut hasher = DefaultHasher::new();
        self.dir.hash(&mut hasher);
        let link = home.join(format!("{:016x}", hasher.finish()));
        if fs::read_link(&link).is_ok_and(|target| target == self.dir) {
            return Ok(link);
        }
        // Made under a name of this process and moved into place: a link seen by another launcher is whole.
        let fresh = home.join(format!("new-{}", std::process::id()));
        symlink(&self.dir, &fresh)
            .or_else(|e| {
                // Left by an earlier process of this number that was killed in between.
                if e.kind() != io::ErrorKind::AlreadyExists {
                    return Err(e);
                }
                fs::remove_file(&fresh)?;
                symlink(&self.dir, &fresh)
            })
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(|e| e.to_string())?;
        Ok(link)
    }
}

/// Whether `preload`, a value of `LD_PRELOAD`, has the library.
pub fn is_in(preload: &OsStr) -> bool {
    preload
        .as_bytes()
        .split(|b| b" :".contains(b))
        .any(|name| Path::new(OsStr::from_bytes(name)).file_name() == Some(OsStr::new(NAME)))
}

/// Can `dir` stand in `LD_PRELOAD`? ld.so(8) splits the list at spaces and colons, which cannot be escaped, and expands
/// `$ORIGIN`, `$LIB` and `$PLATFORM`.
fn loader_takes(dir: &Path) -> bool {
    !dir.as_os_str().as_bytes().iter().any(|b| b" :$".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test's own, removed at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("wswrap-unit-{}-{name}", std::process::id()));
            fs::create_dir(&dir).expect("a scratch directory");
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn library(dir: &str) -> Library {
        let elf = elf::read(File::open("/proc/self/exe").expect("this program")).expect("sound");
        Library { dir: dir.into(), elf }
    }

    #[test]
    fn ours_is_first_and_once() {
        let value = |present: Option<&str>| {
            let value = library("/opt/ws").preload(present.map(OsStr::new)).expect("a plain path");
            value.into_string().expect("plain")
        };
        assert_eq!(value(None), "/opt/ws/libwswrapper.so");
        assert_eq!(value(Some("")), "/opt/ws/libwswrapper.so");
        assert_eq!(value(Some("a.so:/b/c.so d.so")), "/opt/ws/libwswrapper.so:a.so:/b/c.so:d.so");
        assert_eq!(value(Some("a.so:/opt/ws/libwswrapper.so")), "/opt/ws/libwswrapper.so:a.so");
        assert_eq!(value(Some("/old/libwswrapper.so: :a.so")), "/opt/ws/libwswrapper.so:a.so");
        assert_eq!(value(Some("a.so:/x/libasan.so.8")), "/x/libasan.so.8:/opt/ws/libwswrapper.so:a.so");
        assert!(is_in(OsStr::new(&value(Some("a.so:/x/libasan.so.8")))));
        assert!(!is_in(OsStr::new("a.so:/libwswrapper.so.d/b.so")) && !is_in(OsStr::new("")));
    }

    #[test]
    fn the_same_file_by_another_name_is_a_copy() {
        let scratch = Scratch::new("copy");
        fs::write(scratch.0.join(NAME), "").expect("written");
        fs::write(scratch.0.join("other.so"), "").expect("written");
        symlink(scratch.0.join(NAME), scratch.0.join("link.so")).expect("linked");
        let dir = scratch.0.to_string_lossy();
        let value =
            library(&dir).preload(Some(OsStr::new(&format!("{dir}/link.so:{dir}/other.so")))).expect("a plain path");
        assert_eq!(value, *format!("{dir}/{NAME}:{dir}/other.so"));
    }

    #[test]
    fn a_path_that_would_be_split_or_expanded_is_not_given_to_the_loader() {
        assert!(loader_takes(Path::new("/opt/wsé;=/x")));
        for bad in ["/a b", "/a:b", "/a/$LIB"] {
            assert!(!loader_takes(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn an_alias_leads_to_the_directory_and_is_made_once() {
        let scratch = Scratch::new("alias");
        let home = scratch.0.join("home");
        let library = library("/opt/a b");
        let alias = library.alias_in(&home).expect("a link");
        assert!(loader_takes(&alias));
        assert_eq!(fs::read_link(&alias).expect("a link"), Path::new("/opt/a b"));
        assert_eq!(library.alias_in(&home).expect("the same link"), alias);
        fs::remove_file(&alias).expect("removed");
        symlink("/elsewhere", &alias).expect("a stale link");
        assert_eq!(library.alias_in(&home).expect("mended"), alias);
        assert_eq!(fs::read_link(&alias).expect("a link"), Path::new("/opt/a b"));
        assert_eq!(fs::read_dir(&home).expect("listed").count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let scratch = Scratch::new("shared");
        fs::set_permissions(&scratch.0, Permissions::from_mode(0o777)).expect("opened to all");
        assert!(library("/opt/a b").alias_in(&scratch.0).is_err());
        fs::set_permissions(&scratch.0, Permissions::from_mode(0o755)).expect("closed");
        let link = scratch.0.join("link");
        symlink(&scratch.0, &link).expect("a link to a good directory");
        assert!(library("/opt/a b").alias_in(&link).is_err());
    }

    #[test]
    fn a_missing_or_broken_library_is_told() {
        let scratch = Scratch::new("find");
        let home = scratch.0.join("bin");
        fs::create_dir_all(scratch.0.join("lib")).expect("lib");
        fs::create_dir_all(&home).expect("bin");
        let failure = Library::find_from(&home).expect_err("none there");
        assert!(failure.to_string().starts_with("libwswrapper.so not found"), "{failure}");
        assert_eq!(failure.status(), 1);
        fs::write(scratch.0.join("lib").join(NAME), b"\x7fELF").expect("written");
        let failure = Library::find_from(&home).expect_err("cut off");
        assert!(failure.to_string().contains("too short"), "{failure}");
        fs::copy("/proc/self/exe", scratch.0.join("lib").join(NAME)).expect("copied");
        let library = Library::find_from(&home).expect("an ELF file with PT_DYNAMIC");
        assert_eq!(library.dir, scratch.0.join("lib").canonicalize().expect("there"));
    }
}
