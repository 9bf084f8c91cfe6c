//! Commands that come to an end.

use std::path::Path;
use std::process::{Command, Output};

use wstests::{TIMEOUT, proxy};

/// Runs a command to its end, which the deadline brings at the latest.
#[track_caller]
pub fn finish(command: &Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.arg(TIMEOUT.as_secs().to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        bounded.env(name, value.unwrap());
    }
    if let Some(directory) = command.get_current_dir() {
        bounded.current_dir(directory);
    }
    bounded.output().unwrap()
}

/// Starts a proxy that must not start, in `directory`: the one line that it says why, which names all of `names`.
#[track_caller]
pub fn refused(directory: &Path, options: &[&str], status: i32, names: &[&str]) -> String {
    let output =
        finish(Command::new(proxy()).current_dir(directory).args(options).args(["127.0.0.1:0", "127.0.0.1:9"]));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{options:?}: {line}");
    for name in names {
        assert!(line.contains(name), "{options:?}: {name:?} is not in {line:?}");
    }
    assert!(status == 2 || (line.starts_with("wsproxy: ") && line.lines().count() == 1), "{options:?}: {line:?}");
    line
}
