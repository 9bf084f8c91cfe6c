//! The options for who may come in.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use wsproto::Origin;
use wsproxy::Source;
use wsproxy::auth::{Kind, Settings};

use crate::failure::Failure;

/// Who may come in.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthOptions {
    /// Let in pages of this origin only, as https://example.org; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Vec<Origin>,
    /// Ask for a name and password (HTTP's Basic) of this file, which htpasswd -B writes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    basic_auth_file: Option<String>,
    /// Let in who satisfies BasicHTTPAuth, ExpectOrigin or ClientCertCNAuth
    #[arg(long, value_name = "PLUGIN")]
    auth_plugin: Option<Kind>,
    /// What the plugin is to let in: USER:PASSWORD, or origins or common names with spaces between them
    #[arg(long, value_name = "ARG", conflicts_with = "auth_source_file")]
    auth_source: Option<String>,
    /// The file whose first line is that, as a command line is no place for a password
    #[arg(long, value_name = "FILE")]
    auth_source_file: Option<PathBuf>,
}

impl AuthOptions {
    /// Whether there is something that the web side could ask for as well.
    pub fn asks(&self) -> bool {
        self.basic_auth_file.is_some() || self.auth_plugin.is_some()
    }

    /// What they come to; the origins apart. No file is looked at.
    ///
    /// # Errors
    /// An option that means nothing without another one that is not there; a source that the plugin cannot use.
    pub fn settings(self, verifies_clients: bool, handshake_timeout: Duration) -> Result<Settings, Failure> {
        let AuthOptions { basic_auth_file, auth_plugin, auth_source, auth_source_file, .. } = self;
        let plugin = match (auth_plugin, auth_source, auth_source_file) {
            (Some(kind), Some(text), _) => {
                // What is wrong with it may be told, but not the password that it may be.
                let shown = if kind == Kind::BasicHttpAuth { "(hidden)" } else { &text };
                kind.check(&text).map_err(|why| Failure::value("--auth-source", shown, why))?;
                Some((kind, Source::Given("--auth-source", text)))
            }
            (Some(kind), None, Some(path)) => Some((kind, Source::File("--auth-source-file", path))),
            (Some(_), None, None) => return Err(Failure::needs("--auth-plugin", "--auth-source ARG")),
            (None, Some(_), _) => return Err(Failure::needs("--auth-source", "--auth-plugin PLUGIN")),
            (None, None, Some(_)) => return Err(Failure::needs("--auth-source-file", "--auth-plugin PLUGIN")),
            (None, None, None) => None,
        };
        if matches!(plugin, Some((Kind::ClientCertCnAuth, _))) && !verifies_clients {
            return Err(Failure::needs("--auth-plugin ClientCertCNAuth", "--verify-client"));
        }
        let basic_file = basic_auth_file.map(|path| Source::Given("--basic-auth-file", path));
        Ok(Settings { plugin, basic_file, handshake_timeout })
    }
}
