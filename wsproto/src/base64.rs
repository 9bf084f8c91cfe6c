//! base64 (RFC 4648 section 4) in bulk and by the character, for frames that carry text.
//!
//! In bulk by `base64-simd`, which is three to five times as fast as `base64` from frames of a kilobyte on; the
//! handshake's few bytes stay with `base64`.

use base64_simd::{Out, STANDARD, STANDARD_NO_PAD};

/// Characters that `bytes` bytes take, padding included.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Encodes `payload`, padded, to the front of `out` (at least [`encoded_len`] long). Returns the number of characters.
pub(crate) fn encode(payload: &[u8], out: &mut [u8]) -> usize {
    match out.get_mut(..encoded_len(payload.len())) {
        Some(text) => STANDARD.encode(payload, Out::from_slice(text)).len(),
        None => 0,
    }
}

/// Decodes `text`, whole quanta without padding, into `out`, three quarters as long. `false`: some character is none of
/// base64, and what stands in `out` is undefined.
pub(crate) fn decode_quanta(text: &[u8], out: &mut [u8]) -> bool {
    let fits = text.len().is_multiple_of(4) && out.len() == text.len() / 4 * 3;
    debug_assert!(fits, "{} characters for {} bytes", text.len(), out.len());
    fits && STANDARD_NO_PAD.decode(text, Out::from_slice(out)).is_ok()
}

/// The character for the low six bits of `value`.
pub(crate) fn character(value: u32) -> u8 {
    const TABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    TABLE.get((value & 63) as usize).copied().unwrap_or_default()
}

/// The six bits that `character` stands for.
pub(crate) fn value(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in VECTORS {
            let mut out = [0; 8];
            let count = encode(bytes.as_bytes(), &mut out);
            assert_eq!(&out[..count], text.as_bytes());
            assert_eq!(encoded_len(bytes.len()), text.len());
            if bytes.len() % 3 == 0 {
                let mut back = vec![0; bytes.len()];
                assert!(decode_quanta(text.as_bytes(), &mut back));
                assert_eq!(back, bytes.as_bytes());
            }
        }
    }

    #[test]
    fn only_the_alphabet_decodes() {
        for byte in 0..=255_u8 {
            let known = value(byte);
            assert_eq!(decode_quanta(&[b'A', byte, b'A', b'A'], &mut [0; 3]), known.is_some(), "{byte:#x}");
            if let Some(value) = known {
                assert_eq!(character(value), byte);
            }
        }
    }
}
