//! What is wrong with a setting, in one line.

use std::fmt;
use std::path::Path;

/// A setting that cannot be put into force: the option as the command line names it, its value, the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The option: `--cert`.
    pub option: &'static str,
    /// Its value; empty for an option without one.
    pub value: String,
    /// Why that does not do.
    pub reason: String,
}

impl BadSetting {
    /// A setting whose value is text.
    pub fn new(option: &'static str, value: impl Into<String>, reason: impl fmt::Display) -> Self {
        BadSetting { option, value: value.into(), reason: reason.to_string() }
    }

    /// A setting whose value is a file.
    pub fn file(option: &'static str, path: &Path, reason: impl fmt::Display) -> Self {
        Self::new(option, path.display().to_string(), reason)
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadSetting { option, value, reason } = self;
        let space = if value.is_empty() { "" } else { " " };
        write!(f, "{option}{space}{value}: {reason}")
    }
}

impl std::error::Error for BadSetting {}
