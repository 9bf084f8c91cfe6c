//! The dialects and encodings a connection can speak, and sets of dialects as an option names them.

use std::fmt;
use std::str::FromStr;

use crate::state::variants;

/// The protocol revision that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// draft-hixie-thewebsocketprotocol-75.
    Hixie75,
    /// draft-hixie-thewebsocketprotocol-76, the same as draft-ietf-hybi-thewebsocketprotocol-00.
    Hixie76,
    /// RFC 6455 (version 13) and the drafts that share its framing (versions 8 and 7).
    Rfc6455,
}

variants!(Dialect { 1 => Hixie75, 2 => Hixie76, 3 => Rfc6455 });

impl Dialect {
    const ALL: [Dialect; 3] = [Dialect::Hixie75, Dialect::Hixie76, Dialect::Rfc6455];

    const fn bit(self) -> u8 {
        match self {
            Dialect::Hixie75 => 1,
            Dialect::Hixie76 => 2,
            Dialect::Rfc6455 => 4,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Dialect::Hixie75 => "hixie-75",
            Dialect::Hixie76 => "hixie-76",
            Dialect::Rfc6455 => "rfc6455",
        })
    }
}

/// How the bytes of the stream travel inside frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are: binary frames of RFC 6455 (text frames are taken too).
    Binary,
    /// As base64 text: every hixie connection, and RFC 6455 with the subprotocol `base64`.
    Base64,
}

variants!(Encoding { 1 => Binary, 2 => Base64 });

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Encoding::Binary => "binary",
            Encoding::Base64 => "base64",
        })
    }
}

/// A set of dialects, never empty when it was parsed. Written as names with commas: `hixie-76,rfc6455`. The default
/// is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialects(u8);

impl Dialects {
    /// Whether `dialect` is in the set.
    pub const fn contains(self, dialect: Dialect) -> bool {
        self.0 & dialect.bit() != 0
    }
}

impl Default for Dialects {
    fn default() -> Self {
        Dialect::ALL.into_iter().collect()
    }
}

impl FromIterator<Dialect> for Dialects {
    fn from_iter<I: IntoIterator<Item = Dialect>>(dialects: I) -> Self {
        Dialects(dialects.into_iter().fold(0, |set, dialect| set | dialect.bit()))
    }
}

impl fmt::Display for Dialects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for dialect in Dialect::ALL.into_iter().filter(|dialect| self.contains(*dialect)) {
            write!(f, "{separator}{dialect}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// Why a list of dialects was not understood: the name that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectsError(String);

impl fmt::Display for DialectsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no dialect: give one or more of {}, with commas", self.0, Dialects::default())
    }
}

impl std::error::Error for DialectsError {}

impl FromStr for Dialects {
    type Err = DialectsError;

    /// Parses names separated by commas, with white space around them, in any order and case.
    ///
    /// # Errors
    /// A name that is none of the dialects', the empty name of an empty list among them.
    fn from_str(list: &str) -> Result<Self, DialectsError> {
        list.split(',')
            .map(str::trim)
            .map(|name| {
                Dialect::ALL
                    .into_iter()
                    .find(|dialect| dialect.to_string().eq_ignore_ascii_case(name))
                    .ok_or_else(|| DialectsError(name.to_owned()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_its_dialects() {
        let set: Dialects = " RFC6455 ,hixie-75".parse().unwrap();
        assert!(set.contains(Dialect::Hixie75) && !set.contains(Dialect::Hixie76) && set.contains(Dialect::Rfc6455));
        assert_eq!(set.to_string(), "hixie-75,rfc6455");
        assert_eq!(Dialects::default().to_string(), "hixie-75,hixie-76,rfc6455");
    }

    #[test]
    fn an_unknown_or_empty_name_is_told() {
        for (list, name) in [("hixie-74", "\"hixie-74\""), ("", "\"\""), ("rfc6455,", "\"\"")] {
            let error = list.parse::<Dialects>().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
