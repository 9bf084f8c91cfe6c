//! The options for looking at what passes.

use std::io;
use std::path::PathBuf;

use clap::Args;
use wsproxy::BadSetting;
use wsproxy::record::{Form, Recorder};
use wsproxy::traffic::Traffic;

use crate::failure::Failure;

/// Looking at what passes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Watching")]
pub struct WatchOptions {
    /// Show what moves on standard output, a sign for each frame and each read or write of the target
    #[arg(long)]
    traffic: bool,
    /// Record each connection in a file of its own, FILE.N, where N is its number in the log. What passes may be secret: the
    /// file is its owner's alone
    #[arg(long, value_name = "FILE", value_parser = super::path())]
    record: Option<PathBuf>,
    /// What a recording looks like: js, as in 2011, for noVNC's player; or jsonl, with times, directions and base64
    #[arg(long, value_name = "FORMAT", default_value_t)]
    record_format: Form,
}

/// Who looks.
pub struct Watchers {
    /// The one that records.
    pub recorder: Option<Recorder>,
    /// The one that shows.
    pub traffic: Option<Traffic>,
}

impl WatchOptions {
    /// Whether anything is recorded.
    pub fn records(&self) -> bool {
        self.record.is_some()
    }

    /// Options that cannot be put into force together.
    ///
    /// # Errors
    /// Which, and why.
    pub fn check(&mut self, background: bool, inetd: bool) -> Result<(), Failure> {
        match (self.traffic, background, inetd) {
            (true, true, _) => return Err(Failure::usage("--traffic: a daemon has no standard output")),
            (true, false, true) => {
                return Err(Failure::usage("--traffic: with --inetd standard output is the client's"));
            }
            (true, false, false) | (false, ..) => {}
        }
        // The daemon's directory is another one.
        let record = self.record.as_deref().map(Recorder::check).transpose();
        self.record = record.map_err(|bad: BadSetting| Failure::setting(bad))?;
        Ok(())
    }

    /// Starts the threads that do it. There must be no fork behind this.
    ///
    /// # Errors
    /// Those of clone(2).
    pub fn start(&self) -> io::Result<Watchers> {
        let recorder = self.record.clone().map(|path| Recorder::start(path, self.record_format));
        let traffic = self.traffic.then(Traffic::start);
        Ok(Watchers { recorder: recorder.transpose()?, traffic: traffic.transpose()? })
    }
}
