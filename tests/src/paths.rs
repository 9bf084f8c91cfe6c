//! Where the things under test and the test programs are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The built library. `WSWRAP_LIBRARY` names another one.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn library() -> PathBuf {
    released("WSWRAP_LIBRARY", "libwswrapper.so")
}

/// The built launcher. `WSWRAP_LAUNCHER` names another one.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn launcher() -> PathBuf {
    released("WSWRAP_LAUNCHER", "wswrap")
}

/// The built proxy, of the tests' own profile: its two hundred libraries take minutes to build, and are built once so.
/// `WSWRAP_PROXY` names another one.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn proxy() -> PathBuf {
    artefact("WSWRAP_PROXY", || profile_directory().join("wsproxy"))
}

/// The built companion of bridged connections, beside the library.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn companion() -> PathBuf {
    released("WSWRAP_BRIDGE", "wsproxy-bridge")
}

/// Where `scripts/unpack` has put the files of a Debian package; the package itself, `NAME.deb`, is beside it.
///
/// # Panics
/// If it has not.
#[must_use]
pub fn unpacked(package: &str) -> PathBuf {
    let path = profile_directory().with_file_name("unpacked").join(package);
    assert!(path.is_dir(), "{} is missing: `scripts/unpack {package}` makes it", path.display());
    path
}

/// A built example server, by its name, of the tests' own profile.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    present(profile_directory().join(name))
}

/// A script of `tests/apps`, by its file name.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn script(file: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps").join(file);
    assert!(path.is_file(), "{} is missing", path.display());
    path
}

/// Compiles `tests/apps/NAME.c` and returns the program; once for each test process.
///
/// # Panics
/// If the compiler is missing or complains.
#[must_use]
pub fn app(name: &str) -> PathBuf {
    compiled(name, name.to_owned(), &[])
}

/// The same as a library to preload, `NAME.so`.
///
/// # Panics
/// If the compiler is missing or complains.
#[must_use]
pub fn preload(name: &str) -> PathBuf {
    compiled(name, format!("{name}.so"), &["-D_GNU_SOURCE", "-shared", "-fPIC"])
}

fn compiled(name: &str, result: String, options: &[&str]) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    // A compilation that failed poisons the lock; the next test tells the same story by itself.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(&result) {
        return path.clone();
    }
    let source = script(&format!("{name}.c"));
    let directory = profile_directory().join("apps");
    std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let program = directory.join(&result);
    // Test processes may run side by side: each compiles under a name of its own, and rename replaces atomically.
    let draft = directory.join(format!("{result}.{}", std::process::id()));
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O2", "-Wall", "-Werror", "-pthread"])
        .args(options)
        .arg("-o")
        .arg(&draft)
        .arg(&source)
        .output()
        .unwrap_or_else(|error| panic!("cc cannot be run: {error}"));
    assert!(
        output.status.success(),
        "{} does not compile:\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::rename(&draft, &program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    built.insert(result, program.clone());
    program
}

/// The directory of the running test's profile, such as `target/debug`.
pub(crate) fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("no path of the test: {error}"));
    // target/PROFILE/deps/NAME-HASH
    test.ancestors().nth(2).unwrap_or_else(|| panic!("{} is not in a target directory", test.display())).to_path_buf()
}

/// What is built in release mode, as users have it: it goes into other programs.
fn released(variable: &str, file: &str) -> PathBuf {
    artefact(variable, || profile_directory().with_file_name("release").join(file))
}

fn artefact(variable: &str, built: impl FnOnce() -> PathBuf) -> PathBuf {
    present(std::env::var_os(variable).map_or_else(built, PathBuf::from))
}

fn present(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing: docs/testing.md says how to build it, and scripts/test does",
        path.display()
    );
    path
}
