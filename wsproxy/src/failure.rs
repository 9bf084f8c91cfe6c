//! Why the proxy does not start: a line for the user and an exit status.

use std::fmt;

use wsproxy::BadSetting;

/// What is wrong, where, in one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    status: u8,
    line: String,
}

impl Failure {
    /// The command line is wrong (status 2).
    pub fn usage(line: impl Into<String>) -> Self {
        Self { status: 2, line: line.into() }
    }

    /// The value of an option cannot be right (status 2).
    pub fn value(option: &str, value: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::usage(format!("{option} {value}: {why}"))
    }

    /// An option needs another one (status 2).
    pub fn needs(option: &str, other: &str) -> Self {
        Self::usage(format!("{option}: it needs {other}"))
    }

    /// The system refuses (status 1).
    pub fn system(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { status: 1, line: format!("{what}: {why}") }
    }

    /// The value of an option is good, and what it names is not (status 1).
    pub fn setting(bad: BadSetting) -> Self {
        Self { status: 1, line: bad.to_string() }
    }

    /// The exit status that tells it to a script.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may hold anything.
        for c in self.line.chars() {
            if c.is_control() { c.escape_default().fmt(f)? } else { fmt::Write::write_char(f, c)? }
        }
        Ok(())
    }
}
