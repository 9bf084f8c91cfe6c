//! Starting the launcher, and a directory to prepare programs in.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use wstests::{launcher, library};

/// The library's file name.
pub const LIBRARY: &str = "libwswrapper.so";

/// A directory of one test's own, removed at its end with all that the launcher has made for programs in it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("wstests-{}-{number}", std::process::id()));
        fs::create_dir(&dir).expect("a scratch directory");
        // As it is named after all links, which is how the launcher names it.
        Self(dir.canonicalize().expect("there"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// An executable file with this content.
    pub fn program(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (source, path) = (self.path("content"), self.path(name));
        fs::write(&source, content).expect("written");
        install(&source, &path);
        path
    }

    /// A C program, compiled with `flags`.
    pub fn compiled(&self, name: &str, flags: &[&str]) -> PathBuf {
        let source = self.path("main.c");
        fs::write(&source, "int main(void) { return 0; }\n").expect("written");
        self.built("cc", name, &source, flags)
    }

    /// A program from `source`, made by a compiler that is called as cc is.
    pub fn built(&self, compiler: &str, name: &str, source: &Path, flags: &[&str]) -> PathBuf {
        let path = self.path(name);
        let status = Command::new(compiler).arg("-o").arg(&path).arg(source).args(flags).current_dir(&self.0).status();
        assert!(status.expect("the compiler runs").success(), "{compiler} {flags:?}");
        path
    }

    /// The launcher and the library in a directory of any name.
    pub fn installed(&self, dir: &str) -> PathBuf {
        let dir = self.path(dir);
        fs::create_dir_all(&dir).expect("made");
        install(&launcher(), &dir.join("wswrap"));
        install(&library(), &dir.join(LIBRARY));
        dir.join("wswrap")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Ok(meta) = fs::metadata(&self.0) else {
            return;
        };
        // The links by which the loader finds a library in here outlive the programs that were started.
        let links = fs::read_dir(format!("/tmp/wswrap-{}", meta.uid()));
        for link in links.into_iter().flatten().flatten() {
            if fs::read_link(link.path()).is_ok_and(|target| target.starts_with(&self.0)) {
                let _ = fs::remove_file(link.path());
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies a file to be executed. Another process writes it: a descriptor of this one could be held by a child that another
/// thread has just forked, and the kernel refuses to execute a file that is open for writing (execve(2), ETXTBSY).
pub fn install(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).arg(from).arg(to).status();
    assert!(status.expect("install runs").success(), "{} to {}", from.display(), to.display());
}

/// Sets the mode of a file.
pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode set");
}

/// A command whose environment has nothing of ours.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in ["PORT", "LOG", "VERBOSE", "DIALECTS", "ORIGINS", "HANDSHAKE_TIMEOUT", "NO_INHERIT"] {
        command.env_remove(format!("WSWRAP_{name}"));
    }
    command.env_remove("LD_PRELOAD").stdin(Stdio::null());
    command
}

/// `wswrap none` with more words behind; no port is wrapped.
pub fn wswrap<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = clean(launcher());
    command.arg("none").args(words);
    command
}

pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command that succeeds prints.
pub fn told(command: &mut Command) -> String {
    let output = output(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The one line that a command says on standard error when it refuses to start a program.
#[track_caller]
pub fn refusal(command: &mut Command, status: i32) -> String {
    let output = output(command);
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(status), "{command:?}: {errors}");
    assert!(output.stdout.is_empty(), "{command:?} prints: {:?}", output.stdout);
    assert!(errors.starts_with("wswrap: ") && errors.ends_with('\n'), "{errors:?}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}
