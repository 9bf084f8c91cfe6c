//! TLS towards a target.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::{chain, read};
use super::parameters::Version;
use crate::setting::BadSetting;
use crate::stream::Stream;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the system knows.
    System,
    /// Those of a PEM file, and no others.
    File(PathBuf),
}

impl Trust {
    /// The authorities: `file` is the option that names the file, `system` the one that wants the system's.
    pub(super) fn roots(&self, file: &'static str, system: &'static str) -> Result<RootCertStore, BadSetting> {
        let mut roots = RootCertStore::empty();
        match self {
            Trust::File(path) => {
                for certificate in chain(file, path, &read(file, path)?)? {
                    roots.add(certificate).map_err(|error| BadSetting::file(file, path, error))?;
                }
            }
            Trust::System => {
                // One that is odd does not make the others worthless.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(BadSetting::new(system, "", format!("the system knows no authorities: {file} FILE")));
                }
            }
        }
        Ok(roots)
    }
}

/// The TLS client that targets get. Clones are the same.
#[derive(Clone)]
pub struct TargetTls {
    connector: TlsConnector,
}

impl std::fmt::Debug for TargetTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetTls").finish_non_exhaustive()
    }
}

impl TargetTls {
    /// One that believes certificates of `trust`; all without it, whatever name they are for.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else; a system without authorities.
    pub fn new(trust: Option<&Trust>) -> Result<Self, BadSetting> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(Version::Tls12.versions())
            .map_err(|error| BadSetting::new("--ssl-target", "", error))?;
        let config = match trust {
            Some(trust) => {
                builder.with_root_certificates(trust.roots("--ssl-target-ca", "--ssl-target")?).with_no_client_auth()
            }
            None => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
            }
        };
        Ok(TargetTls { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Makes the handshake with the server `host`, which is asked for by this name (unless it is an address) and must have a
    /// certificate for it.
    ///
    /// # Errors
    /// A name that no certificate can be for, those of the connection, `InvalidData` where the server is not believed.
    pub async fn connect(&self, host: &str, stream: Stream) -> io::Result<TlsStream<Stream>> {
        // The zone of an address (RFC 4007 section 11) means something to this machine alone.
        let host = host.split_once('%').map_or(host, |(address, _)| address);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?} is no name for a certificate"))
        })?;
        self.connector.connect(name, stream).await
    }
}

/// Believes every certificate. That the server holds the key to it is checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
