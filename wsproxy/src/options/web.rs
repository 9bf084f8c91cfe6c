//! The options for the web side.

use std::path::PathBuf;

use crate::failure::Failure;
use clap::Args;
use http::{HeaderName, HeaderValue};
use wsproxy::BadSetting;
use wsproxy::web::{Settings, Web, field};

/// The web side.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Web")]
pub struct WebOptions {
    /// Serve the files of this directory on the same port; index.html stands for its directory
    #[arg(long, value_name = "DIR")]
    web: Option<PathBuf>,
    /// List directories that have no index.html
    #[arg(long, conflicts_with = "file_only")]
    web_list: bool,
    /// Do not list directories, which is how it is anyway
    #[arg(long)]
    file_only: bool,
    /// Ask clients for the same credentials for files as for WebSockets
    #[arg(long)]
    web_auth: bool,
    /// Add this header field to web replies, in place of the server's own of that name; repeatable
    #[arg(long, value_name = "NAME:VALUE", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
}

impl WebOptions {
    /// An option that means nothing without another one that is not there. `asks`: there is something to ask clients for.
    pub fn missing(&self, asks: bool) -> Option<Failure> {
        if self.web_auth && self.web.is_some() && !asks {
            return Some(Failure::needs("--web-auth", "--basic-auth-file FILE or --auth-plugin PLUGIN"));
        }
        let given = [
            ("--web-list", self.web_list),
            ("--file-only", self.file_only),
            ("--web-auth", self.web_auth),
            ("--header", !self.header.is_empty()),
        ];
        let idle = given.into_iter().find(|(_, given)| *given && self.web.is_none());
        idle.map(|(option, _)| Failure::needs(option, "--web DIR"))
    }

    /// The web side; `None` if there is none.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub fn web(&self) -> Result<Option<Web>, BadSetting> {
        let Some(directory) = self.web.clone() else {
            return Ok(None);
        };
        Web::new(Settings { directory, list: self.web_list, auth: self.web_auth, fields: self.header.clone() })
            .map(Some)
    }
}
