//! Certificates and keys from PEM files, and which of them a client gets.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

use super::Chain;
use super::password::Password;
use crate::file;
use crate::setting::BadSetting;

/// A file that keys may stand in.
struct Keys<'a> {
    option: &'static str,
    path: &'a Path,
    keys: Vec<Arc<dyn SigningKey>>,
}

/// Reads certificates and their keys.
///
/// # Errors
/// A file that cannot be read or lacks what it is there for; a certificate without a key; a key without a certificate.
pub(super) fn load(
    certificates: &[impl AsRef<Path>],
    keys: &[impl AsRef<Path>],
    password: Option<&Path>,
    kept: &OnceLock<Vec<u8>>,
) -> Result<Vec<Arc<CertifiedKey>>, BadSetting> {
    let password = Password::of(password, kept)?;
    let mut chains = Vec::new();
    let mut places = Vec::new();
    for path in certificates.iter().map(AsRef::as_ref) {
        let pem = read("--cert", path)?;
        chains.push((path, chain("--cert", path, &pem)?));
        places.push(Keys { option: "--cert", path, keys: private_keys("--cert", path, &pem, &password)? });
    }
    for path in keys.iter().map(AsRef::as_ref) {
        let keys = private_keys("--key", path, &read("--key", path)?, &password)?;
        if keys.is_empty() {
            return Err(BadSetting::file("--key", path, "there is no private key in it"));
        }
        places.push(Keys { option: "--key", path, keys });
    }
    for place in places.iter().filter(|place| place.option == "--key") {
        if !place.keys.iter().any(|key| chains.iter().any(|(_, chain)| is_pair(chain, key))) {
            return Err(BadSetting::file("--key", place.path, "this key fits none of the certificates"));
        }
    }
    let keys: Vec<_> = places.iter().flat_map(|place| &place.keys).collect();
    let certified = chains.into_iter().map(|(path, chain)| match keys.iter().find(|key| is_pair(&chain, key)) {
        Some(key) => Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(key)))),
        None => Err(BadSetting::file("--cert", path, misfit(&places))),
    });
    certified.collect()
}

/// Whether a key is the one of a certificate.
fn is_pair(chain: &Chain, key: &Arc<dyn SigningKey>) -> bool {
    CertifiedKey::new(chain.clone(), Arc::clone(key)).keys_match().is_ok()
}

/// Why a certificate has no key.
fn misfit(places: &[Keys]) -> String {
    let with: Vec<_> =
        places.iter().filter(|place| !place.keys.is_empty()).map(|place| place.path.display().to_string()).collect();
    match with.as_slice() {
        [] => "there is no private key in it, and no --key FILE".into(),
        with => format!("the private key in {} belongs to another certificate", with.join(", ")),
    }
}

/// The contents of a file.
pub(super) fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, BadSetting> {
    file::read(path).map_err(|error| BadSetting::file(option, path, error))
}

/// All certificates of a file.
pub(super) fn chain(option: &'static str, path: &Path, pem: &[u8]) -> Result<Chain, BadSetting> {
    let chain: Result<Chain, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(BadSetting::file(option, path, "there is no certificate in it (PEM)")),
        Ok(chain) => match chain.iter().find_map(|certificate| ParsedCertificate::try_from(certificate).err()) {
            Some(error) => Err(BadSetting::file(option, path, error)),
            None => Ok(chain),
        },
        Err(error) => Err(BadSetting::file(option, path, format!("not PEM: {error}"))),
    }
}

/// All private keys of a file, those that are encrypted included.
fn private_keys(
    option: &'static str,
    path: &Path,
    pem: &[u8],
    password: &Password,
) -> Result<Vec<Arc<dyn SigningKey>>, BadSetting> {
    let bad = |reason: String| BadSetting::file(option, path, reason);
    // RFC 1421 headers inside the block: OpenSSL's own encryption, whose key derivation is one round of MD5.
    if pem.windows(PROC_TYPE.len()).any(|bytes| bytes == PROC_TYPE) {
        return Err(bad(
            "the key is encrypted in a way of before PKCS#8: openssl pkcs8 -topk8 -in FILE converts it".into()
        ));
    }
    let mut ders: Vec<PrivateKeyDer<'static>> = password.open(option, path, pem)?;
    for der in PrivateKeyDer::pem_slice_iter(pem) {
        ders.push(der.map_err(|error| bad(format!("not PEM: {error}")))?);
    }
    ders.iter()
        .map(|der| any_supported_type(der).map_err(|_| bad("a key of this kind cannot be used".into())))
        .collect()
}

const PROC_TYPE: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// Chooses by the name that a client asks for.
#[derive(Debug)]
pub(super) struct Resolver {
    keys: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    pub(super) fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        Resolver { keys }
    }
}

/// Whether a certificate is one for `name` (RFC 6125, wildcards included).
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().map(ParsedCertificate::try_from);
    matches!(certificate, Some(Ok(certificate)) if rustls::client::verify_server_name(&certificate, name).is_ok())
}

impl ResolvesServerCert for Resolver {
    /// A certificate for the name, else any; among those the first whose kind of signature the client takes. RSA and ECDSA
    /// certificates for one name so serve old and recent clients.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let taken = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.keys.iter().filter(|key| is_for(key, &name)).find(taken));
        // Where none is of a kind that the client takes, any leads to the alert that says so.
        named.or_else(|| self.keys.iter().find(taken)).or_else(|| self.keys.first()).cloned()
    }
}
