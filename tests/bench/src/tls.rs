//! TLS from the client's side: no slower than it must be, and it believes every server.

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// The files of a certificate and its key.
#[derive(Clone)]
pub struct Pair {
    /// In PEM.
    pub certificate: PathBuf,
    /// PKCS#8 in PEM.
    pub key: PathBuf,
}

impl Pair {
    /// Makes a key and a certificate (P-256, RFC 5480) and writes them into a directory.
    pub fn make(into: &Path) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).map_err(io::Error::other)?;
        let pair = Self { certificate: into.join("certificate.pem"), key: into.join("key.pem") };
        std::fs::write(&pair.certificate, pem("CERTIFICATE", made.cert.der()))?;
        std::fs::write(&pair.key, pem("PRIVATE KEY", made.signing_key.serialized_der()))?;
        Ok(pair)
    }
}

/// RFC 7468 section 2: base64 in lines of 64.
fn pem(label: &str, der: &[u8]) -> String {
    // 48 bytes are 64 characters.
    let lines: String = der.chunks(48).map(|part| STANDARD.encode(part) + "\n").collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

/// All servers do the same work: one version, one cipher suite, no session that is resumed.
static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
    let suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
});

/// What is read from the socket at a time, in bytes.
const INCOMING: usize = 256 * 1024;

/// What a record adds to its payload, RFC 8446 section 5.2 (22 bytes), and how much payload it has: 2^14 bytes.
const RECORD: (usize, usize) = (32, 1 << 14);

/// A session; the socket comes with each call.
pub struct Session {
    tls: UnbufferedClientConnection,
    /// Records that came; `incoming[..filled]`, the last one perhaps in part.
    incoming: Vec<u8>,
    filled: usize,
    /// What was in them; `plain[..taken]` has been read.
    plain: Vec<u8>,
    taken: usize,
}

impl Session {
    /// Makes the handshake.
    pub fn open(stream: &TcpStream) -> io::Result<Self> {
        let config = CONFIG.as_ref().map_err(io::Error::other)?;
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let tls = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut session = Self { tls, incoming: vec![0; INCOMING], filled: 0, plain: Vec::new(), taken: 0 };
        while !session.advance(stream, None)? {
            session.receive(stream)?;
        }
        Ok(session)
    }

    /// `bytes` in records. All that is sealed must be sent, in this order.
    pub fn seal(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (more, payload) = RECORD;
        let mut sealed = vec![0; bytes.len() + (bytes.len() / payload + 1) * more];
        let mut length = 0;
        self.advance(stream, Some((bytes, &mut sealed, &mut length)))?;
        sealed.truncate(length);
        Ok(sealed)
    }

    /// What comes, decrypted.
    pub fn reader<'a>(&'a mut self, stream: &'a TcpStream) -> Reader<'a> {
        Reader { session: self, stream }
    }

    /// How many bytes have been decrypted and not read.
    pub fn unread(&self) -> usize {
        self.plain.len() - self.taken
    }

    /// Takes more from the socket. Its end is an error: none of our servers has a reason to end.
    fn receive(&mut self, mut stream: &TcpStream) -> io::Result<()> {
        let got = stream.read(self.incoming.get_mut(self.filled..).unwrap_or_default())?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += got;
        Ok(())
    }

    /// Handles all records that are there whole, and then seals what there is to seal. Whether the handshake is done.
    fn advance(
        &mut self,
        mut stream: &TcpStream,
        mut seal: Option<(&[u8], &mut Vec<u8>, &mut usize)>,
    ) -> io::Result<bool> {
        let (mut handled, mut outgoing) = (0, Vec::new());
        let done = loop {
            let records = self.incoming.get_mut(handled..self.filled).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(records);
            handled += discard;
            match state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(io::Error::other)?;
                        self.plain.extend_from_slice(record.payload);
                        handled += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let at = outgoing.len();
                    outgoing.resize(at + INCOMING, 0);
                    let length = data.encode(outgoing.get_mut(at..).unwrap_or_default()).map_err(io::Error::other)?;
                    outgoing.truncate(at + length);
                }
                ConnectionState::TransmitTlsData(data) => {
                    stream.write_all(&outgoing)?;
                    outgoing.clear();
                    data.done();
                }
                ConnectionState::BlockedHandshake => break false,
                ConnectionState::WriteTraffic(mut traffic) => {
                    if let Some((bytes, sealed, length)) = seal.take() {
                        *length = traffic.encrypt(bytes, sealed).map_err(io::Error::other)?;
                    }
                    break true;
                }
                other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {other:?}"))),
            }
        };
        self.incoming.copy_within(handled..self.filled, 0);
        self.filled -= handled;
        Ok(done)
    }
}

/// What comes over a session.
pub struct Reader<'a> {
    session: &'a mut Session,
    stream: &'a TcpStream,
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.session.unread() == 0 {
            self.session.plain.clear();
            self.session.taken = 0;
            self.session.receive(self.stream)?;
            self.session.advance(self.stream, None)?;
        }
        Ok(self.session.plain.get(self.session.taken..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.session.taken += count;
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buffer)?;
        self.consume(got);
        Ok(got)
    }
}

/// Believes every certificate and every signature.
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
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_64() {
        let text = pem("X", &[0; 49]);
        assert_eq!(text, format!("-----BEGIN X-----\n{}\nAA==\n-----END X-----\n", "A".repeat(64)));
    }
}
