//! TLS towards clients: certificates from files or made on the spot, and what is known of a client behind it.
//!
//! A configuration is built whole from its [`Settings`], at the start and at each [`Tls::reload`], and then swapped: a
//! handshake uses the one that is in force when it begins, an open session is not touched, and a configuration that
//! cannot be built leaves the one before in force.

mod certificate;
mod facts;
mod parameters;
mod password;
mod self_signed;
mod target;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::setting::BadSetting;
use crate::stamp::Stamp;
use crate::stream::{Rewind, Stream};

use certificate::Resolver;
pub use facts::{ClientCertificate, TlsFacts};
pub use parameters::{Ciphers, Version};
pub use target::{TargetTls, Trust};

/// How often the files are looked at. Their times are compared, nothing is read.
const WATCH: Duration = Duration::from_secs(1);

/// The one application protocol: its name, RFC 7301 section 6.
const HTTP_1_1: &[u8] = b"http/1.1";

/// What a server offers and asks for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the certificates come from.
    pub identity: Identity,
    /// The oldest version of the protocol.
    pub minimum: Version,
    /// The cipher suites.
    pub ciphers: Ciphers,
    /// Whose certificates clients must have, so that those without TLS are turned away as well; `None`: they need not show any.
    pub clients: Option<Trust>,
    /// Clients without TLS are turned away.
    pub only: bool,
}

impl Settings {
    /// The same with absolute paths: the process may go elsewhere.
    fn anchored(mut self) -> Self {
        let anchor = |path: &mut PathBuf| {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        };
        if let Identity::Files { certificates, keys, password } = &mut self.identity {
            certificates.iter_mut().chain(keys).chain(password).for_each(anchor);
        }
        if let Some(Trust::File(file)) = &mut self.clients {
            anchor(file);
        }
        self
    }
}

/// A server's certificates and keys.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Files in PEM. A client gets the certificate for the name that it asks for, or the first.
    Files {
        /// Each the chain of one certificate, its own first; its key may stand in the same file.
        certificates: Vec<PathBuf>,
        /// The keys that stand in files of their own. Which belongs to which certificate is told by the keys themselves.
        keys: Vec<PathBuf>,
        /// The file with the password of encrypted keys.
        password: Option<PathBuf>,
    },
    /// A certificate made for this process, for the local machine's names.
    SelfSigned,
}

/// The TLS side of a server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    config: RwLock<Arc<ServerConfig>>,
    /// What the files looked like before they were read last.
    stamps: Mutex<Vec<Option<Stamp>>>,
    /// Held while they are read again.
    reading: Mutex<()>,
    /// The certificate that was made, where there are no files of any.
    made: Option<Arc<CertifiedKey>>,
    /// The password of the keys, where it can be read but once.
    password: OnceLock<Vec<u8>>,
}

/// The certificates and keys of files.
fn keys(
    settings: &Settings,
    made: Option<&Arc<CertifiedKey>>,
    kept: &OnceLock<Vec<u8>>,
) -> Result<Vec<Arc<CertifiedKey>>, BadSetting> {
    match &settings.identity {
        Identity::Files { certificates, keys, password } => {
            certificate::load(certificates, keys, password.as_deref(), kept)
        }
        Identity::SelfSigned => Ok(made.cloned().into_iter().collect()),
    }
}

impl Tls {
    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// The setting that cannot be put into force: a file that cannot be read or holds something else, a certificate without
    /// its key, cipher suites that no version in use has.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        let password = OnceLock::new();
        let stamps = Mutex::new(stamps(&settings, &password));
        let made = match &settings.identity {
            Identity::Files { .. } => None,
            Identity::SelfSigned => Some(self_signed::make()?),
        };
        let config = RwLock::new(Arc::new(configure(&settings, keys(&settings, made.as_ref(), &password)?)?));
        let settings = settings.anchored();
        Ok(Tls { shared: Arc::new(Shared { settings, config, stamps, reading: Mutex::new(()), made, password }) })
    }

    /// Reads the files again. Blocks as long as they take. Sessions that are open go on as they are; handshakes from here on use what was read.
    ///
    /// # Errors
    /// As [`Tls::new`]; what was in force stays in force.
    pub fn reload(&self) -> Result<(), BadSetting> {
        let Shared { settings, config, stamps: seen, made, reading, password } = &*self.shared;
        // Who reads for long must not put what has been replaced meanwhile into force.
        let _one = reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before they are read: a file that changes meanwhile is read once more.
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps(settings, password);
        // Only what came through a pipe at the start is for good.
        let (once, kept) = (OnceLock::new(), password.get().map(|_| password));
        let fresh = Arc::new(configure(settings, keys(settings, made.as_ref(), kept.unwrap_or(&once))?)?);
        *config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Reloads whenever a file changes, until the future is dropped. A change that is only half done (a certificate whose key
    /// is still to come) is logged, and made good by the next one.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(WATCH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let own = self.clone();
            // Beside all else: who serves files may hang.
            let _ = tokio::task::spawn_blocking(move || own.follow()).await;
        }
    }

    /// Reloads if a file has changed.
    fn follow(&self) {
        let Shared { settings, stamps: seen, password, .. } = &*self.shared;
        let looks = stamps(settings, password);
        let changed = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // A file that is not there (about to be replaced, or outside the root directory) is no change.
            looks.iter().zip(seen.iter()).any(|(now, seen)| now.is_some() && now != seen)
        };
        if changed {
            match self.reload() {
                Ok(()) => tracing::info!("certificates reloaded"),
                Err(error) => tracing::warn!(%error, "certificates not reloaded"),
            }
        }
    }

    /// The SHA-256 fingerprint of a self-signed certificate, as `openssl x509 -fingerprint -sha256` writes it.
    pub fn fingerprint(&self) -> Option<String> {
        self.shared.made.as_ref()?.cert.first().map(self_signed::fingerprint)
    }

    /// Whether clients without TLS are turned away.
    pub(crate) fn only(&self) -> bool {
        // Who speaks without TLS shows no certificate.
        self.shared.settings.only || self.shared.settings.clients.is_some()
    }

    /// Makes the handshake with a client whose first bytes have been read.
    ///
    /// # Errors
    /// Why there is no session, and the connection on which the alert went out.
    pub(crate) async fn accept(&self, stream: Rewind<Stream>) -> Result<(Stream, TlsFacts), (io::Error, Stream)> {
        let config = Arc::clone(&self.shared.config.read().unwrap_or_else(PoisonError::into_inner));
        match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(session) => {
                let facts = TlsFacts::of(session.get_ref().1);
                Ok((Box::new(session), facts))
            }
            Err((error, stream)) => Err((error, Box::new(stream))),
        }
    }
}

/// What the files of `settings` look like, but for that of a password which is kept. It is the last, so that the others have the same places
/// with it and without.
fn stamps(settings: &Settings, kept: &OnceLock<Vec<u8>>) -> Vec<Option<Stamp>> {
    let mut files = Vec::new();
    if let Some(Trust::File(file)) = &settings.clients {
        files.push(file);
    }
    if let Identity::Files { certificates, keys, password } = &settings.identity {
        files.extend(certificates.iter().chain(keys).chain(password.iter().filter(|_| kept.get().is_none())));
    }
    files.into_iter().map(|path| Stamp::of(path)).collect()
}

fn configure(settings: &Settings, keys: Vec<Arc<CertifiedKey>>) -> Result<ServerConfig, BadSetting> {
    let Settings { minimum, ciphers, clients, .. } = settings;
    let provider = Arc::new(ciphers.provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(minimum.versions())
        .map_err(|_| BadSetting::new("--ssl-ciphers", ciphers.to_string(), format!("none is one of {minimum}")))?;
    let suites = &provider.cipher_suites;
    let lonely = |key: &&Arc<CertifiedKey>| {
        !suites.iter().any(|suite| suite.usable_for_signature_algorithm(key.key.algorithm()))
    };
    if let Some(key) = keys.iter().find(lonely) {
        let reason = format!("none is for a certificate with a key for {:?}", key.key.algorithm());
        return Err(BadSetting::new("--ssl-ciphers", ciphers.to_string(), reason));
    }
    let builder = match clients {
        Some(trust) => builder.with_client_cert_verifier(verifier(trust, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(keys)));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

/// Who checks the certificates of clients.
fn verifier(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, BadSetting> {
    let roots = Arc::new(trust.roots("--cafile", "--verify-client")?);
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| BadSetting::new("--verify-client", "", error))
}

/// The certificates of a client or a server, its own first.
type Chain = Vec<CertificateDer<'static>>;
