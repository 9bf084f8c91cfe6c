//! What a TLS session tells of its client.

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::{Decode, Tag, Tagged};

/// What is known of a client by its TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol, as OpenSSL names it: `TLSv1.3`.
    pub version: &'static str,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The certificate that the client showed. It has been verified.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject in the form of RFC 4514: `CN=ann,O=Example`.
    pub subject: String,
    /// The common name in it; `None` if it has none, or several.
    pub common_name: Option<String>,
}

impl TlsFacts {
    pub(super) fn of(session: &ServerConnection) -> Self {
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let client = session.peer_certificates().and_then(<[_]>::first).and_then(ClientCertificate::of);
        TlsFacts { version, server_name: session.server_name().map(str::to_owned), client }
    }
}

impl ClientCertificate {
    /// `None` for one whose subject cannot be read, which is then good for nothing.
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let subject = Certificate::from_der(der).ok()?.tbs_certificate.subject;
        let mut names = subject.0.iter().flat_map(|level| level.0.iter()).filter(|part| part.oid == CN);
        let common_name = match (names.next(), names.next()) {
            (Some(name), None)
                if matches!(name.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String) =>
            {
                std::str::from_utf8(name.value.value()).ok().map(str::to_owned)
            }
            _ => None,
        };
        Some(ClientCertificate { subject: subject.to_string(), common_name })
    }
}
