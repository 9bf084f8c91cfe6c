//! The options for TLS, towards clients and towards the target.

use std::path::PathBuf;

use crate::failure::Failure;
use clap::Args;
use wsproxy::BadSetting;
use wsproxy::tls::{Ciphers, Identity, Settings, TargetTls, Tls, Trust, Version};

/// The certificate that is used where none is named, if it is there.
const DEFAULT: &str = "self.pem";

/// TLS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// Speak TLS, too, with this certificate: PEM, the chain behind it. Repeated, each client gets the certificate for the name
    /// that it asks for, or the first. Without it self.pem is used, if it is there. Files that change are read again
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// The private key, unless it stands in the certificate's file; repeated, in any order
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The file whose first line is the password of encrypted private keys (PKCS#8)
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
    /// Speak TLS with a certificate made for this run, and print its SHA-256 fingerprint
    #[arg(long, conflicts_with_all = ["cert", "key", "key_password_file"])]
    self_signed: bool,
    /// Turn away clients without TLS
    #[arg(long)]
    ssl_only: bool,
    /// The oldest version of TLS to speak: tlsv1_2 or tlsv1_3
    #[arg(long, value_name = "VERSION", default_value_t)]
    ssl_version: Version,
    /// The cipher suites to speak, and no others, by their names in OpenSSL or in RFCs, most preferred first
    #[arg(long, value_name = "NAME[:NAME...]")]
    ssl_ciphers: Option<Ciphers>,
    /// Turn away clients without a certificate of an authority that the system trusts, and those without TLS
    #[arg(long)]
    verify_client: bool,
    /// Trust the authorities of this file (PEM) with certificates of clients, and no others
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Speak TLS to the target, whose certificate must be for its name and of an authority that the system trusts
    #[arg(long)]
    ssl_target: bool,
    /// Trust the authorities of this file (PEM) with the target's certificate, and no others
    #[arg(long, value_name = "FILE")]
    ssl_target_ca: Option<PathBuf>,
    /// Take the target for what it says it is, whatever its certificate
    #[arg(long, conflicts_with = "ssl_target_ca")]
    ssl_target_insecure: bool,
}

impl TlsOptions {
    /// The TLS side of the server; `None` if it has none.
    ///
    /// # Errors
    /// An option that cannot be put into force.
    pub fn server(&self) -> Result<Option<Tls>, BadSetting> {
        let certificates = match self.cert.as_slice() {
            [] if std::fs::exists(DEFAULT).unwrap_or_default() => vec![PathBuf::from(DEFAULT)],
            named => named.to_vec(),
        };
        let identity = if self.self_signed {
            Identity::SelfSigned
        } else if certificates.is_empty() {
            return match self.needs_certificate() {
                Some(option) => Err(BadSetting::new(
                    option,
                    "",
                    format!("there is no certificate: --cert FILE, {DEFAULT} in this directory, or --self-signed"),
                )),
                None => Ok(None),
            };
        } else {
            Identity::Files { certificates, keys: self.key.clone(), password: self.key_password_file.clone() }
        };
        let file = self.cafile.clone();
        let clients = self.verify_client.then(|| file.map_or(Trust::System, Trust::File));
        let ciphers = self.ssl_ciphers.clone().unwrap_or_default();
        Tls::new(Settings { identity, minimum: self.ssl_version, ciphers, clients, only: self.ssl_only }).map(Some)
    }

    /// Whether clients must show a certificate.
    pub fn verifies_clients(&self) -> bool {
        self.verify_client
    }

    /// An option that means nothing without another one that is not there.
    pub fn missing(&self) -> Option<Failure> {
        let needs = [
            (self.cafile.is_some() && !self.verify_client, "--cafile", "--verify-client"),
            (self.ssl_target_ca.is_some() && !self.ssl_target, "--ssl-target-ca", "--ssl-target"),
            (self.ssl_target_insecure && !self.ssl_target, "--ssl-target-insecure", "--ssl-target"),
        ];
        needs.into_iter().find_map(|(missing, option, other)| missing.then(|| Failure::needs(option, other)))
    }

    /// An option that means nothing without a certificate.
    fn needs_certificate(&self) -> Option<&'static str> {
        [
            ("--ssl-only", self.ssl_only),
            ("--verify-client", self.verify_client),
            ("--ssl-version", self.ssl_version != Version::default()),
            ("--ssl-ciphers", self.ssl_ciphers.is_some()),
            ("--key", !self.key.is_empty()),
            ("--key-password-file", self.key_password_file.is_some()),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }

    /// The TLS client for the target; `None` if it is spoken to without.
    ///
    /// # Errors
    /// An option that cannot be put into force.
    pub fn target(&self) -> Result<Option<TargetTls>, BadSetting> {
        if !self.ssl_target {
            return Ok(None);
        }
        let trust = self.ssl_target_ca.clone().map_or(Trust::System, Trust::File);
        TargetTls::new((!self.ssl_target_insecure).then_some(&trust)).map(Some)
    }
}
