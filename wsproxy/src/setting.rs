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

/// A source whose files are found wherever the process has gone: relative paths begin where it was when this was made.
#[derive(Clone, Debug)]
pub(crate) struct Anchored {
    source: Source,
    start: PathBuf,
}

impl Anchored {
    pub fn new(source: Source) -> Self {
        // In a directory that has gone nothing relative is found anyway.
        Anchored { source, start: std::env::current_dir().unwrap_or_default() }
    }

    /// The value.
    ///
    /// # Errors
    /// A file that cannot be read or is not UTF-8.
    pub fn text(&self) -> Result<String, BadSetting> {
        match &self.source {
            Source::Given(_, text) => Ok(text.clone()),
            Source::File(_, path) => {
                let text = std::fs::read_to_string(self.start.join(path)).map_err(|error| self.bad(error))?;
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
        }
    }

    /// The value, as a path.
    ///
    /// # Errors
    /// As [`Anchored::text`]; an empty value.
    pub fn path(&self) -> Result<PathBuf, BadSetting> {
        let text = self.text()?;
        if text.is_empty() { Err(self.bad("a path is wanted")) } else { Ok(self.start.join(text)) }
    }

    /// What is wrong with it. The contents of a file are not shown.
    pub fn bad(&self, reason: impl fmt::Display) -> BadSetting {
        match &self.source {
            Source::Given(option, text) => BadSetting::new(option, text, reason),
            Source::File(option, path) => BadSetting::file(option, path, reason),
        }
    }

    /// What is wrong with the file at `path`, which is its value.
    pub fn bad_file(&self, path: &Path, reason: impl fmt::Display) -> BadSetting {
        match &self.source {
            Source::Given(..) => self.bad(reason),
            Source::File(..) => self.bad(format_args!("{}: {reason}", path.display())),
        }
    }
}
