//! The header of a client's frame (RFC 6455 section 5.2).

use crate::mask::Mask;
use crate::violation::Violation;

/// The longest header: two bytes, a 64-bit length, a masking key.
pub(super) const LONGEST: usize = 14;
/// The shortest header of a client: two bytes and a masking key.
pub(super) const SHORTEST: usize = 6;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        match self {
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
        }
    }
}

/// A complete header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) len: u64,
    pub(super) mask: Mask,
    /// Bytes that the header itself has.
    pub(super) size: usize,
}

/// How long a header is by its first `bytes`: [`SHORTEST`] until the form of the length is known.
pub(super) fn size(bytes: &[u8]) -> usize {
    match bytes.get(1).map(|second| second & 0x7f) {
        Some(126) => 8,
        Some(127) => LONGEST,
        Some(_) | None => SHORTEST,
    }
}

/// Reads the header at the front of `bytes`, if it begins a whole binary message of 1 to 125 bytes, as most are. Returns the length of the
/// payload, its mask, and what is behind the header.
#[inline(always)]
pub(super) fn short_message(bytes: &[u8]) -> Option<(u8, Mask, &[u8])> {
    match bytes.split_first_chunk::<SHORTEST>()? {
        (&[0x82, second @ 0x81..=0xfd, ref key @ ..], rest) => Some((second & 0x7f, Mask::new(*key), rest)),
        _ => None,
    }
}

/// Reads the header at the front of `bytes`. `None`: its rest is missing.
///
/// # Errors
/// The first rule that the bytes present break, whether the header is complete or not.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let &[first, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    // "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        unknown => return Err(Violation::UnknownOpcode(unknown)),
    };
    let control = first & 0x08 != 0;
    // Section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
    if control && !fin {
        return Err(Violation::ControlFragmented);
    }
    let &[second, ref rest @ ..] = rest else {
        return Ok(None);
    };
    // Section 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7f;
    if control && short > 125 {
        return Err(Violation::ControlTooLong);
    }
    // "The minimal number of bytes MUST be used to encode the length."
    let (len, key) = match short {
        126 => {
            let Some((&length, key)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let len = u16::from_be_bytes(length);
            if len < 126 {
                return Err(Violation::LengthNotMinimal);
            }
            (u64::from(len), key)
        }
        127 => {
            let Some((&length, key)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let len = u64::from_be_bytes(length);
            // "The most significant bit MUST be 0."
            if len >> 63 != 0 {
                return Err(Violation::LengthTooLarge);
            }
            if len < 1 << 16 {
                return Err(Violation::LengthNotMinimal);
            }
            (len, key)
        }
        short => (u64::from(short), rest),
    };
    Ok(key.first_chunk().map(|&key| Header { fin, opcode, len, mask: Mask::new(key), size: size(bytes) }))
}
