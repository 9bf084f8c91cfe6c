//! The options for targets by token.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use wsproxy::Source;
use wsproxy::token::{Kind, Settings};

use crate::failure::Failure;

/// Targets by token.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Targets by token")]
pub struct TokenOptions {
    /// Look up the target of each client by a token, in its request's ?token= or else its path: TokenFile, ReadOnlyTokenFile,
    /// TokenFileName, BaseTokenAPI, JSONTokenApi, JWTTokenApi, TokenRedis or UnixDomainSocketDirectory
    #[arg(long, value_name = "PLUGIN")]
    token_plugin: Option<Kind>,
    /// What the plugin is to use: a file, a directory, a URL with %s in it, or
    /// HOST[:PORT[:DB[:PASSWORD[:NAMESPACE]]]] of a Redis server, or its redis:// or (with TLS) rediss:// URL
    #[arg(long, value_name = "ARG", conflicts_with = "token_source_file")]
    token_source: Option<String>,
    /// The file whose first line is that, as it may hold a password
    #[arg(long, value_name = "FILE")]
    token_source_file: Option<PathBuf>,
    /// The token is the name of the host that the client asked for, in small letters
    #[arg(long)]
    host_token: bool,
    /// The same as --token-plugin TokenFile --token-source FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["token_plugin", "token_source", "token_source_file"])]
    target_config: Option<String>,
}

impl TokenOptions {
    /// What they come to; `None` if there is one target for all. No file is looked at.
    ///
    /// # Errors
    /// An option that means nothing without another one that is not there; a source that the plugin cannot use.
    pub fn settings(self, handshake_timeout: Duration) -> Result<Option<Settings>, Failure> {
        let TokenOptions { token_plugin, token_source, token_source_file, host_token: host, target_config } = self;
        let (kind, source) = match (target_config, token_plugin, token_source, token_source_file) {
            (Some(path), ..) => (Kind::TokenFile, Source::Given("--target-config", path)),
            (None, Some(kind), Some(text), _) => (kind, Source::Given("--token-source", text)),
            (None, Some(kind), None, Some(path)) => (kind, Source::File("--token-source-file", path)),
            (None, Some(_), None, None) => return Err(Failure::needs("--token-plugin", "--token-source ARG")),
            (None, None, Some(_), _) => return Err(Failure::needs("--token-source", "--token-plugin PLUGIN")),
            (None, None, None, Some(_)) => return Err(Failure::needs("--token-source-file", "--token-plugin PLUGIN")),
            (None, None, None, None) if host => return Err(Failure::needs("--host-token", "--token-plugin PLUGIN")),
            (None, None, None, None) => return Ok(None),
        };
        if let Source::Given(option, text) = &source {
            let shown = if kind.is_secret(text) { "(hidden)" } else { text };
            kind.check(text).map_err(|why| Failure::value(option, shown, why))?;
        }
        Ok(Some(Settings { kind, source, host, handshake_timeout }))
    }
}
