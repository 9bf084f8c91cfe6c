//! Encrypted private keys: PKCS#8, RFC 5958 section 3.

use std::path::Path;
use std::sync::OnceLock;

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::setting::BadSetting;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
const OPTION: &str = "--key-password-file";

/// The password, with the file whose first line it is.
pub(super) struct Password<'a>(Option<(&'a Path, Vec<u8>)>);

impl<'a> Password<'a> {
    /// Reads it, whether a key will need it or not: a file that is named must be there. What came through a pipe comes once, and is `kept`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn of(file: Option<&'a Path>, kept: &OnceLock<Vec<u8>>) -> Result<Self, BadSetting> {
        let Some(file) = file else {
            return Ok(Password(None));
        };
        if let Some(line) = kept.get() {
            return Ok(Password(Some((file, line.clone()))));
        }
        let bytes = std::fs::read(file).map_err(|error| BadSetting::file(OPTION, file, error))?;
        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default().to_vec();
        if !std::fs::metadata(file).is_ok_and(|file| file.is_file()) {
            let _ = kept.set(line.clone());
        }
        Ok(Password(Some((file, line))))
    }

    /// The encrypted keys of a file.
    ///
    /// # Errors
    /// No password where one is needed, one that does not open a key, a key that is damaged.
    pub(super) fn open(
        &self,
        option: &'static str,
        path: &Path,
        pem: &[u8],
    ) -> Result<Vec<PrivateKeyDer<'static>>, BadSetting> {
        // What is not UTF-8 stands between the blocks, which are ASCII.
        let text = String::from_utf8_lossy(pem);
        let blocks = text.split(BEGIN).skip(1).map(|rest| rest.split_once(END).map_or(rest, |(block, _)| block));
        let mut keys = Vec::new();
        for block in blocks {
            let block = format!("{BEGIN}{block}{END}\n");
            let damaged = |error: &dyn std::fmt::Display| BadSetting::file(option, path, format!("the key: {error}"));
            let (_, document) = SecretDocument::from_pem(&block).map_err(|error| damaged(&error))?;
            let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|error| damaged(&error))?;
            let Some((file, password)) = &self.0 else {
                return Err(BadSetting::file(option, path, format!("the key is encrypted: {OPTION} FILE opens it")));
            };
            // The only sign of a wrong password is that what comes out makes no sense.
            let key = info.decrypt(password).map_err(|error| {
                let why = format!("the password does not open the key in {} ({error})", path.display());
                BadSetting::file(OPTION, file, why)
            })?;
            keys.push(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
        }
        Ok(keys)
    }
}
