//! Encrypted tokens: JWE in its compact form (RFC 7516 section 3.1), with the algorithms of RFC 7518 sections 4 and 5.
//!
//! | key | `alg` | `enc` |
//! |---|---|---|
//! | symmetric | `dir`, `A128KW`, `A256KW` | `A128GCM`, `A192GCM`, `A256GCM`, `A128CBC-HS256`, `A192CBC-HS384`, `A256CBC-HS512` |
//! | RSA, private | `RSA-OAEP`, `RSA-OAEP-256` | the same |
//!
//! `RSA1_5` is left out for its history of oracles (RFC 3218), compression (`zip`) for its bombs.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap as _};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::key::{Key, Secret};
use super::{decoded, header_of};

/// The one thing that is told of a token that does not open: more would help those who try.
const CLOSED: &str = "it cannot be decrypted";

/// The content of an encrypted token.
pub(super) fn open(token: &str, key: &Key) -> Result<Vec<u8>, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, wrapped, iv, text, tag] = parts[..] else {
        return Err("it is no encrypted token".into());
    };
    let fields = header_of(header)?;
    // RFC 7516 section 4.1.13: what is critical and not understood makes the token invalid.
    if fields.contains_key("crit") || fields.contains_key("zip") {
        return Err("its header asks for something that is not supported (crit, zip)".into());
    }
    let name = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    let (alg, enc) = (name("alg"), name("enc"));
    let content = Content::named(enc).ok_or_else(|| format!("its enc, {enc:?}, is not supported"))?;
    let key = content_key(alg, key, &decoded(wrapped)?)?;
    let (iv, text, tag) = (decoded(iv)?, decoded(text)?, decoded(tag)?);
    content.open(&key, &iv, header.as_bytes(), text, &tag).ok_or_else(|| CLOSED.to_owned())
}

/// The key of the content (RFC 7516 section 5.2, steps 6 to 12).
fn content_key(alg: &str, key: &Key, wrapped: &[u8]) -> Result<Vec<u8>, String> {
    let unfit = || format!("its alg, {alg:?}, is not one for this key");
    let closed = |_| CLOSED.to_owned();
    match &key.secret {
        Secret::Symmetric(key) => {
            let kek = match alg {
                "dir" if wrapped.is_empty() => return Ok(key.clone()),
                "A128KW" => &key_wrap::AES_128,
                "A256KW" => &key_wrap::AES_256,
                _ => return Err(unfit()),
            };
            let mut plain = vec![0; wrapped.len()];
            let kek = AesKek::new(kek, key).map_err(|_| unfit())?;
            Ok(kek.unwrap(wrapped, &mut plain).map_err(closed)?.to_vec())
        }
        Secret::Rsa(key) => {
            let oaep = match alg {
                "RSA-OAEP" => &OAEP_SHA1_MGF1SHA1,
                "RSA-OAEP-256" => &OAEP_SHA256_MGF1SHA256,
                _ => return Err(unfit()),
            };
            let mut plain = vec![0; key.min_output_size()];
            Ok(key.decrypt(oaep, wrapped, &mut plain, None).map_err(closed)?.to_vec())
        }
        Secret::None => Err("it is encrypted, and the key is none that opens it".into()),
    }
}

/// How the content is encrypted.
enum Content {
    /// RFC 7518 section 5.3.
    Gcm(&'static aead::Algorithm),
    /// RFC 7518 section 5.2.
    Cbc(&'static cipher::Algorithm, hmac::Algorithm, usize),
}

impl Content {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "A128GCM" => Content::Gcm(&aead::AES_128_GCM),
            "A192GCM" => Content::Gcm(&aead::AES_192_GCM),
            "A256GCM" => Content::Gcm(&aead::AES_256_GCM),
            "A128CBC-HS256" => Content::Cbc(&cipher::AES_128, hmac::HMAC_SHA256, 16),
            "A192CBC-HS384" => Content::Cbc(&cipher::AES_192, hmac::HMAC_SHA384, 24),
            "A256CBC-HS512" => Content::Cbc(&cipher::AES_256, hmac::HMAC_SHA512, 32),
            _ => return None,
        })
    }

    fn open(&self, key: &[u8], iv: &[u8], header: &[u8], mut text: Vec<u8>, tag: &[u8]) -> Option<Vec<u8>> {
        match self {
            Content::Gcm(algorithm) => {
                // "A 128-bit Authentication Tag": a short one would be quick to guess.
                if tag.len() != algorithm.tag_len() {
                    return None;
                }
                let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
                let nonce = Nonce::try_assume_unique_for_key(iv).ok()?;
                text.extend_from_slice(tag);
                Some(key.open_in_place(nonce, Aad::from(header), &mut text).ok()?.to_vec())
            }
            &Content::Cbc(algorithm, digest, half) => {
                // The key is one for the MAC and one for the cipher, of the same length; of the MAC the first half is sent.
                if key.len() != 2 * half || tag.len() != half {
                    return None;
                }
                let (mac_key, key) = key.split_at(half);
                let bits = (u64::try_from(header.len()).ok()? * 8).to_be_bytes();
                let mac = hmac::sign(&hmac::Key::new(digest, mac_key), &[header, iv, &text, &bits].concat());
                if !bool::from(mac.as_ref().get(..half)?.ct_eq(tag)) {
                    return None;
                }
                let iv = DecryptionContext::Iv128(FixedLength::from(<[u8; 16]>::try_from(iv).ok()?));
                let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
                Some(key.decrypt(&mut text, iv).ok()?.to_vec())
            }
        }
    }
}
