//! Settings: where their values come from, and what is wrong with one, in one line.

use std::fmt;
use std::path::{Path, PathBuf};

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

/// Where the value of a setting comes from. A command line is no place for a secret: every process can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line: the option, the value.
    Given(&'static str, String),
    /// The first line of a file: the option, the file.
    File(&'static str, PathBuf),
}

impl Source {
    /// The value.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8.
    pub fn text(&self) -> Result<String, BadSetting> {
        match self {
            Source::Given(_, text) => Ok(text.clone()),
            Source::File(_, path) => {
                let text = std::fs::read_to_string(path).map_err(|error| self.bad(error))?;
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
        }
    }

    /// The value, as a path. The process may go elsewhere, so it is an absolute one.
    pub(crate) fn path(&self) -> Result<PathBuf, BadSetting> {
        let path = PathBuf::from(self.text()?);
        std::path::absolute(path).map_err(|error| self.bad(error))
    }

    /// What is wrong with it. The contents of a file are not shown.
    pub(crate) fn bad(&self, reason: impl fmt::Display) -> BadSetting {
        match self {
            Source::Given(option, text) => BadSetting::new(option, text, reason),
            Source::File(option, path) => BadSetting::file(option, path, reason),
        }
    }

    /// The same with an absolute path: the process may go elsewhere before the file is read again. `names_file` tells whether
    /// the value itself is a path.
    pub(crate) fn anchored(self, names_file: bool) -> Self {
        match self {
            Source::File(option, path) => Source::File(option, std::path::absolute(&path).unwrap_or(path)),
            Source::Given(option, text) if names_file => {
                let path = std::path::absolute(&text).ok().and_then(|path| path.into_os_string().into_string().ok());
                Source::Given(option, path.unwrap_or(text))
            }
            Source::Given(..) => self,
        }
    }
}
