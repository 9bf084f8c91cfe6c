//! The options for a program that the proxy starts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::options::Listening;

/// A program that the proxy starts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Wrapping a program")]
pub struct WrapOptions {
    /// When PROGRAM ends: exit with its status, the default; ignore it and serve on; or respawn it, unless it has ended three times
    /// within ten seconds
    #[arg(long, value_name = "MODE", value_enum, hide_possible_values = true)]
    wrap_mode: Option<Mode>,
    /// The program to start, with its arguments: it is made a WebSocket server in place if it can be, and no option asks for
    /// more; else its port moves. {port} in an argument stands for the port that it is to listen on behind the proxy
    #[arg(value_name = "PROGRAM", last = true)]
    program: Vec<OsString>,
}

/// What is done when the program ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// End with it
    #[default]
    Exit,
    /// Serve on
    Ignore,
    /// Start it again
    Respawn,
}

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name and arguments, not empty.
    pub words: Vec<OsString>,
    /// What is done when it ends.
    pub mode: Mode,
    /// An option asks for what only a proxy can do.
    pub behind: bool,
}

/// Options that mean the same for a program that serves WebSockets itself. All others need the proxy in front of it.
const NEUTRAL: [&str; 14] = [
    "addresses",
    "wrap_mode",
    "program",
    "daemon",
    "foreground",
    "pid_file",
    "user",
    "group",
    "timeout",
    "drain",
    "verbose",
    "log_file",
    "syslog",
    "log_format",
];

impl WrapOptions {
    /// The program, if there is one. `given` are the options of the command line, by their names in the table; `inherits`: there are
    /// sockets of systemd's, which only the proxy can serve.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn program<'a>(
        self,
        mut given: impl Iterator<Item = &'a str>,
        unix_target: Option<&PathBuf>,
        tokens: bool,
        chroot: Option<&PathBuf>,
        listening: &Listening,
        inherits: bool,
    ) -> Result<Option<Program>, Failure> {
        if self.program.is_empty() {
            return match self.wrap_mode {
                Some(_) => Err(Failure::needs("--wrap-mode", "-- PROGRAM")),
                None => Ok(None),
            };
        }
        let contradictions = [
            (unix_target.is_some(), "--unix-target: the target is PROGRAM"),
            (tokens, "--token-plugin: the target is PROGRAM"),
            (chroot.is_some(), "--chroot: PROGRAM is outside"),
            (listening.inetd, "--inetd: inetd starts a proxy for each connection, and so it would PROGRAM"),
        ];
        if let Some((_, line)) = contradictions.into_iter().find(|(given, _)| *given) {
            return Err(Failure::usage(line));
        }
        let behind = inherits || given.any(|name| !NEUTRAL.contains(&name));
        Ok(Some(Program { words: self.program, mode: self.wrap_mode.unwrap_or_default(), behind }))
    }
}
