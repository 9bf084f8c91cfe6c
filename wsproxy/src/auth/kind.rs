//! The plugins, by the names that websockify gave them.

use std::fmt;
use std::str::FromStr;

use super::Plugin;
use super::basic::Basic;
use super::client_cert::CommonNames;
use super::origin::Origins;
use crate::setting::{BadSetting, Source};

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
    pub fn check(self, source: &str) -> Result<(), &'static str> {
        match self {
            Kind::BasicHttpAuth => Basic::new(source).map(drop),
            Kind::ExpectOrigin => Origins::new(source).map(drop),
            Kind::ClientCertCnAuth => CommonNames::new(source).map(drop),
        }
    }

    /// Opens it.
    pub(super) fn open(self, source: &Source) -> Result<Box<dyn Plugin>, BadSetting> {
        let text = source.text()?;
        let bad = |why| source.bad(why);
        Ok(match self {
            Kind::BasicHttpAuth => Box::new(Basic::new(&text).map_err(bad)?),
            Kind::ExpectOrigin => Box::new(Origins::new(&text).map_err(bad)?),
            Kind::ClientCertCnAuth => Box::new(CommonNames::new(&text).map_err(bad)?),
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
