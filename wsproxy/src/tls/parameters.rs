//! Versions and cipher suites by the names that people know.

use std::fmt;
use std::str::FromStr;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2, RFC 5246.
    #[default]
    Tls12,
    /// 1.3, RFC 8446.
    Tls13,
}

impl Version {
    /// This and all later ones.
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Version::Tls12 => &ALL,
            Version::Tls13 => ALL.split_at(1).0,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "tlsv1_2",
            Version::Tls13 => "tlsv1_3",
        })
    }
}

/// Why a version is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionError {
    /// It was given up: RFC 8996.
    TooOld,
    /// There is none of this name.
    Unknown,
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VersionError::TooOld => "too old to be safe (RFC 8996): tlsv1_2 is the oldest",
            VersionError::Unknown => "tlsv1_2 or tlsv1_3",
        })
    }
}

impl std::error::Error for VersionError {}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(name: &str) -> Result<Self, VersionError> {
        match name {
            "default" | "tlsv1_2" => Ok(Version::Tls12),
            "tlsv1_3" => Ok(Version::Tls13),
            "sslv2" | "sslv3" | "tlsv1" | "tlsv1_0" | "tlsv1_1" => Err(VersionError::TooOld),
            _ => Err(VersionError::Unknown),
        }
    }
}

/// The cipher suites that are offered, most preferred first.
#[derive(Clone, Debug, Default)]
pub struct Ciphers {
    /// Empty: all that there are.
    suites: Vec<SupportedCipherSuite>,
}

/// A name that stands for no cipher suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCipher(String);

impl fmt::Display for UnknownCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = aws_lc_rs::ALL_CIPHER_SUITES.iter().map(|suite| name(suite)).collect();
        write!(f, "{:?} is none of {}", self.0, names.join(":"))
    }
}

impl std::error::Error for UnknownCipher {}

impl FromStr for Ciphers {
    type Err = UnknownCipher;

    /// Names with colons, commas or spaces between them.
    fn from_str(list: &str) -> Result<Self, UnknownCipher> {
        let names = list.split([':', ',', ' ']).filter(|name| !name.is_empty());
        let suites = names.map(|name| find(name).ok_or_else(|| UnknownCipher(name.into())));
        let suites = suites.collect::<Result<Vec<_>, _>>()?;
        if suites.is_empty() { Err(UnknownCipher(list.into())) } else { Ok(Ciphers { suites }) }
    }
}

impl fmt::Display for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.suites.iter().map(name).collect();
        f.write_str(&names.join(":"))
    }
}

impl Ciphers {
    pub(super) fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites.clone_from(&self.suites);
        }
        provider
    }
}

/// A suite by the name of the IANA registry or that of OpenSSL.
fn find(wanted: &str) -> Option<SupportedCipherSuite> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().find(|suite| {
        let iana = format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
        wanted.eq_ignore_ascii_case(&iana) || wanted.eq_ignore_ascii_case(name(suite))
    })
}

/// The name that OpenSSL has for a suite.
fn name(suite: &SupportedCipherSuite) -> &'static str {
    match suite.suite() {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_both_names() {
        for suite in aws_lc_rs::ALL_CIPHER_SUITES {
            assert_ne!(name(suite), "?");
            assert_eq!(find(name(suite)).map(|suite| suite.suite()), Some(suite.suite()));
        }
        let both = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:ecdhe-ecdsa-aes128-gcm-sha256".parse::<Ciphers>();
        assert_eq!(
            both.map(|both| both.to_string()).as_deref(),
            Ok("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
        );
    }

    #[test]
    fn what_is_no_suite_is_named() {
        for (list, bad) in [("", ""), ("RC4-MD5", "RC4-MD5"), ("TLS_AES_128_GCM_SHA256:HIGH", "HIGH")] {
            assert_eq!(list.parse::<Ciphers>().map(drop), Err(UnknownCipher(bad.into())));
        }
    }

    #[test]
    fn versions_that_were_given_up_are_told_from_unknown_ones() {
        assert_eq!("default".parse(), Ok(Version::Tls12));
        assert_eq!("tlsv1_1".parse::<Version>(), Err(VersionError::TooOld));
        assert_eq!("tlsv1_4".parse::<Version>(), Err(VersionError::Unknown));
    }
}
