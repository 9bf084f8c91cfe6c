//! The plugins, by the names that websockify gave them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Plugin;
use super::api::{Answer, Api};
use super::directory::{Names, Sockets};
use super::file::File;
use super::jwt::Jwt;
use super::redis::Redis;
use crate::setting::{Anchored, BadSetting};

/// A plugin for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of tokens, or a directory of such files, read again when it changes.
    TokenFile,
    /// The same, read once.
    ReadOnlyTokenFile,
    /// A directory in which each file has the name of a token and holds its target.
    TokenFileName,
    /// A web service that answers with a target.
    BaseTokenApi,
    /// A web service that answers with a target in JSON.
    JsonTokenApi,
    /// The token holds the target itself, signed.
    JwtTokenApi,
    /// A Redis server.
    TokenRedis,
    /// A directory of Unix sockets whose names are the tokens.
    UnixDomainSocketDirectory,
}

const ALL: [Kind; 8] = [
    Kind::TokenFile,
    Kind::ReadOnlyTokenFile,
    Kind::TokenFileName,
    Kind::BaseTokenApi,
    Kind::JsonTokenApi,
    Kind::JwtTokenApi,
    Kind::TokenRedis,
    Kind::UnixDomainSocketDirectory,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::TokenFile => "TokenFile",
            Kind::ReadOnlyTokenFile => "ReadOnlyTokenFile",
            Kind::TokenFileName => "TokenFileName",
            Kind::BaseTokenApi => "BaseTokenAPI",
            Kind::JsonTokenApi => "JSONTokenApi",
            Kind::JwtTokenApi => "JWTTokenApi",
            Kind::TokenRedis => "TokenRedis",
            Kind::UnixDomainSocketDirectory => "UnixDomainSocketDirectory",
        }
    }

    /// Whether its source is a path.
    fn wants_path(self) -> bool {
        match self {
            Kind::TokenFile
            | Kind::ReadOnlyTokenFile
            | Kind::TokenFileName
            | Kind::JwtTokenApi
            | Kind::UnixDomainSocketDirectory => true,
            Kind::BaseTokenApi | Kind::JsonTokenApi | Kind::TokenRedis => false,
        }
    }

    /// Whether a source is written as it must be, as far as that can be told without looking anything up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, source: &str) -> Result<(), String> {
        match self {
            Kind::BaseTokenApi | Kind::JsonTokenApi => Api::check(source).map(drop),
            Kind::TokenRedis => Redis::check(source).map(drop),
            _ if self.wants_path() && source.is_empty() => Err("a path is wanted".into()),
            _ => Ok(()),
        }
    }

    /// Whether a source may hold a password, which is shown to nobody.
    pub fn is_secret(self, source: &str) -> bool {
        match self {
            Kind::BaseTokenApi | Kind::JsonTokenApi => source.contains('@'),
            Kind::TokenRedis => source.contains('@') || source.matches(':').count() >= 3,
            Kind::TokenFile
            | Kind::ReadOnlyTokenFile
            | Kind::TokenFileName
            | Kind::JwtTokenApi
            | Kind::UnixDomainSocketDirectory => false,
        }
    }

    /// Opens it.
    pub(super) fn open(self, source: &Anchored) -> Result<Arc<dyn Plugin>, BadSetting> {
        Ok(match self {
            Kind::TokenFile => Arc::new(File::open(source, true)?),
            Kind::ReadOnlyTokenFile => Arc::new(File::open(source, false)?),
            Kind::TokenFileName => Arc::new(Names::open(source)?),
            Kind::BaseTokenApi => Arc::new(Api::open(source, Answer::Text)?),
            Kind::JsonTokenApi => Arc::new(Api::open(source, Answer::Json)?),
            Kind::JwtTokenApi => Arc::new(Jwt::open(source)?),
            Kind::TokenRedis => Arc::new(Redis::open(source)?),
            Kind::UnixDomainSocketDirectory => Arc::new(Sockets::open(source)?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    /// The name, or the path of websockify's class of that name.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("websockify.").unwrap_or(text);
        let name = name.strip_prefix("token_plugins.").unwrap_or(name);
        ALL.into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("there is no such plugin; there are {}", ALL.map(Kind::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_paths_are_names() {
        for kind in ALL {
            for prefix in ["", "token_plugins.", "websockify.token_plugins."] {
                assert_eq!(format!("{prefix}{kind}").parse(), Ok(kind));
            }
        }
        assert!("my.plugins.TokenFile".parse::<Kind>().unwrap_err().contains("UnixDomainSocketDirectory"));
    }
}
