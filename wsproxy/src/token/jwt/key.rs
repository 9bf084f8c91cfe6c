//! The key of JSON Web Tokens: a PEM file with a key or a certificate, or a symmetric key in base64url.

use std::fmt;

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, DecodingKey};
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_cert::Certificate;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// RFC 8017 appendix A.1, RFC 5480 section 2.1.1, RFC 8410 section 3.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The fewest bits of an RSA key (RFC 7518 sections 3.3 and 4.3).
const RSA_BITS: usize = 2048;

/// The fewest bytes of a symmetric key, which are enough for AES-128.
const SYMMETRIC: usize = 16;

/// As jwcrypto takes it: with padding or without.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key, and what it is good for.
pub(super) struct Key {
    verifying: DecodingKey,
    /// Those of its kind and no others: a public key must never serve as the secret of an HMAC.
    algorithms: &'static [Algorithm],
    pub(super) secret: Secret,
}

/// What opens encrypted tokens.
pub(super) enum Secret {
    /// AES and HMAC.
    Symmetric(Vec<u8>),
    /// RSA-OAEP.
    Rsa(Box<OaepPrivateDecryptingKey>),
    /// Nothing does.
    None,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Key {
    /// Reads the contents of a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        const BEGIN: &[u8] = b"-----BEGIN ";
        if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Self::symmetric(bytes);
        }
        if let Ok(key) = PrivateKeyDer::from_pem_slice(bytes) {
            return Self::private(&key);
        }
        if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(bytes) {
            let info = SubjectPublicKeyInfoRef::from_der(&key).map_err(|error| format!("the public key: {error}"))?;
            return Self::public(info.algorithm.oid, info.subject_public_key.raw_bytes());
        }
        let certificate = CertificateDer::from_pem_slice(bytes)
            .map_err(|_| "there is no key in it that can be used (PRIVATE KEY, PUBLIC KEY or CERTIFICATE in PEM)")?;
        let certificate = Certificate::from_der(&certificate).map_err(|error| format!("the certificate: {error}"))?;
        let info = certificate.tbs_certificate.subject_public_key_info;
        Self::public(info.algorithm.oid, info.subject_public_key.raw_bytes())
    }

    fn symmetric(bytes: &[u8]) -> Result<Self, String> {
        let key = BASE64URL
            .decode(bytes.trim_ascii())
            .map_err(|_| "there is no key in it: PEM, or a symmetric key in base64url")?;
        if key.len() < SYMMETRIC {
            return Err(format!("the symmetric key has {} bytes: {SYMMETRIC} are the fewest", key.len()));
        }
        Ok(Key {
            verifying: DecodingKey::from_secret(&key),
            algorithms: &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
            secret: Secret::Symmetric(key),
        })
    }

    /// A public key in the form that its kind has inside a SubjectPublicKeyInfo.
    fn public(kind: ObjectIdentifier, key: &[u8]) -> Result<Self, String> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let (verifying, algorithms): (_, &[Algorithm]) = match kind {
            RSA => {
                let bits =
                    aws_lc_rs::rsa::PublicKey::from_der(key).map_err(|error| error.to_string())?.modulus_len() * 8;
                if bits < RSA_BITS {
                    return Err(format!("the RSA key has {bits} bits: {RSA_BITS} are the fewest"));
                }
                (DecodingKey::from_rsa_der(key), &[RS256, RS384, RS512, PS256, PS384, PS512])
            }
            // Uncompressed points (SEC 1 section 2.3.3) tell their curve by their length.
            EC => match key.len() {
                65 => (DecodingKey::from_ec_der(key), &[ES256]),
                97 => (DecodingKey::from_ec_der(key), &[ES384]),
                _ => return Err("of elliptic curves P-256 and P-384 can be used".into()),
            },
            ED25519 => (DecodingKey::from_ed_der(key), &[EdDSA]),
            _ => return Err("RSA, P-256, P-384 and Ed25519 can be used, and this key is of another kind".into()),
        };
        Ok(Key { verifying, algorithms, secret: Secret::None })
    }

    fn private(key: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let damaged = |error: &dyn fmt::Display| format!("the private key: {error}");
        match key {
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let info = PrivateKeyInfo::from_der(der).map_err(|error| damaged(&error))?;
                match info.algorithm.oid {
                    RSA => Self::rsa(der),
                    EC => Self::curve(der),
                    ED25519 => {
                        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|error| damaged(&error))?;
                        Self::public(ED25519, pair.public_key().as_ref())
                    }
                    other => Self::public(other, &[]),
                }
            }
            PrivateKeyDer::Pkcs1(der) => {
                let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
                let info = PrivateKeyInfo::new(algorithm, der.secret_pkcs1_der());
                Self::rsa(&info.to_der().map_err(|error| damaged(&error))?)
            }
            PrivateKeyDer::Sec1(der) => Self::curve(der.secret_sec1_der()),
            _ => Err("it is a private key of an unknown form".into()),
        }
    }

    /// An RSA key in PKCS#8.
    fn rsa(der: &[u8]) -> Result<Self, String> {
        let damaged = |error: &dyn fmt::Display| format!("the private key: {error}");
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|error| damaged(&error))?;
        let opens = PrivateDecryptingKey::from_pkcs8(der).map_err(|error| damaged(&error))?;
        let opens = OaepPrivateDecryptingKey::new(opens).map_err(|error| damaged(&error))?;
        Ok(Key { secret: Secret::Rsa(Box::new(opens)), ..Self::public(RSA, pair.public_key().as_ref())? })
    }

    /// A key of an elliptic curve, in PKCS#8 or SEC 1.
    fn curve(der: &[u8]) -> Result<Self, String> {
        [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING]
            .into_iter()
            .find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
            .ok_or_else(|| "of elliptic curves P-256 and P-384 can be used".to_owned())
            .and_then(|pair| Self::public(EC, pair.public_key().as_ref()))
    }

    pub(super) fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }

    pub(super) fn algorithms(&self) -> &[Algorithm] {
        self.algorithms
    }

    pub(super) fn is_symmetric(&self) -> bool {
        matches!(self.secret, Secret::Symmetric(_))
    }
}
