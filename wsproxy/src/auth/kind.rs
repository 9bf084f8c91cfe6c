//! The plugins, by the names that websockify gave them.

use std::fmt;
use std::str::FromStr;

use super::Plugin;
use super::basic::Basic;
use super::client_cert::CommonNames;
use super::origin::Origins;
use crate::setting::{Anchored, BadSetting};

/// A plugin for authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One user with one password.
    BasicHttpAuth,
    /// Pages of certain origins.
    ExpectOrigin,
    /// Client certificates for certain common names.
    ClientCertCnAuth,
}

const ALL: [Kind; 3] = [Kind::BasicHttpAuth, Kind::ExpectOrigin, Kind::ClientCertCnAuth];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::BasicHttpAuth => "BasicHTTPAuth",
            Kind::ExpectOrigin => "ExpectOrigin",
            Kind::ClientCertCnAuth => "ClientCertCNAuth",
        }
    }

    /// Whether a source is written as it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, source: &str) -> Result<(), String> {
        self.plugin(source).map(drop)
    }

    fn plugin(self, source: &str) -> Result<Box<dyn Plugin>, String> {
        Ok(match self {
            Kind::BasicHttpAuth => Box::new(Basic::new(source)?),
            Kind::ExpectOrigin => Box::new(Origins::new(source)?),
            Kind::ClientCertCnAuth => Box::new(CommonNames::new(source)?),
        })
    }

    /// Opens it.
    pub(super) fn open(self, source: &Anchored) -> Result<Box<dyn Plugin>, BadSetting> {
        self.plugin(&source.text()?).map_err(|why| source.bad(why))
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
        let name = name.strip_prefix("auth_plugins.").unwrap_or(name);
        let found = ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("there is no such plugin; there are {}", ALL.map(Kind::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_paths_are_names() {
        for kind in ALL {
            for prefix in ["", "auth_plugins.", "websockify.auth_plugins."] {
                assert_eq!(format!("{prefix}{kind}").parse(), Ok(kind));
            }
        }
        assert!("websockify.token_plugins.ExpectOrigin".parse::<Kind>().unwrap_err().contains("ClientCertCNAuth"));
    }
}
