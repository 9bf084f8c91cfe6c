//! The one kind of error the launcher has: a line for the user and an exit status.

use std::ffi::OsStr;
use std::fmt;

/// Why the program was not started: what is wrong, where, and what to do, in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    status: i32,
    line: String,
}

impl Failure {
    /// The command line is wrong (status 2).
    pub fn usage(line: String) -> Self {
        Self { status: 2, line }
    }

    /// The launcher cannot do its own part (status 1).
    pub fn own(line: String) -> Self {
        Self { status: 1, line }
    }

    /// The program could run, and the library would not be in it or not see its calls (status 1).
    pub fn cannot_wrap(line: String) -> Self {
        Self { status: 1, line }
    }

    /// The program exists but cannot be run (status 126).
    pub fn cannot_run(line: String) -> Self {
        Self { status: 126, line }
    }

    /// There is no such program (status 127).
    pub fn not_found(line: String) -> Self {
        Self { status: 127, line }
    }

    /// The exit status that tells this failure to a script.
    pub fn status(&self) -> i32 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// A name as it can stand in a line: control characters escaped, the rest as it is.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    let mut line = String::new();
    for c in name.as_ref().to_string_lossy().chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
