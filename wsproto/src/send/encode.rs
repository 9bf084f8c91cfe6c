//! Payload that travels as base64 text: hixie, whose frames end where they are cut, and RFC 6455 with the subprotocol
//! `base64`, whose frames stay open.

use super::head;
use super::{Committed, Frame, Sender};
use crate::base64;
use crate::dialect::Dialect;
use crate::state::fields;

/// The end of a hixie frame.
const HIXIE_END: u8 = 0xff;
/// Characters of one quantum.
const QUANTUM: usize = 4;

impl Sender {
    /// Encoded: writes unsent rests, control frames and one frame with as much of `payload` (not empty) as fits into
    /// `out` (at least 512 bytes) and [`Sender::MAX_FRAME`]. Returns how many bytes of `out` are filled.
    ///
    /// To be reported with [`Sender::transmitted_encoded`]. Nothing is filled if all of `payload` is the byte owed and it
    /// has gone out meanwhile ([`Sender::transmitted_encoded`] with nothing sent then reports it), if no frame may begin
    /// because of [`Sender::close`], or if payload travels as it is.
    pub fn transmit_encoded(&mut self, payload: &[u8], out: &mut [u8]) -> usize {
        self.prepare();
        if self.is_verbatim() {
            return 0;
        }
        self.prepared.owed = self.owed && !payload.is_empty();
        let payload = payload.get(usize::from(self.prepared.owed)..).unwrap_or_default();
        match self.frame {
            Frame::Base64 { bytes, carry } => {
                // Four characters less, so that padding has room.
                let room = out.len().saturating_sub(self.head.len() + QUANTUM);
                let room = (room * 6).saturating_sub(usize::from(carry.bits)) / 8;
                let payload = payload.get(..bytes.min(room)).unwrap_or(payload);
                let text = self.copy_head(out);
                self.prepared.payload = payload.len();
                (self.prepared.chars, self.prepared.carry) = carry.encode(payload, payload.len() == bytes, text);
                self.head.len() + self.prepared.chars
            }
            Frame::Boundary | Frame::Hixie if !payload.is_empty() && !self.is_closing() => {
                self.encode_frame(payload, out)
            }
            Frame::Boundary | Frame::Hixie | Frame::Verbatim { .. } => {
                self.copy_head(out);
                self.head.len()
            }
        }
    }

    /// The kernel took the first `sent` bytes of what [`Sender::transmit_encoded`] prepared in `out`. Commits exactly that
    /// and returns how many bytes of the payload the program is to be told. 0 with `sent` 0 leaves everything as before
    /// the preparation; with `sent` 0 it is 1 if the byte owed has gone out meanwhile ([`Sender::transmit_control`]).
    pub fn transmitted_encoded(&mut self, sent: usize, out: &[u8]) -> usize {
        let prepared = self.prepared;
        let rest = self.waiting();
        let text = out.get(self.head.len()..).and_then(|text| text.get(..prepared.chars)).unwrap_or_default();
        let Committed { header_begun, behind } = self.commit_head(sent);
        let mut told = 0;
        if prepared.owed && sent >= rest {
            self.owed = false;
            told = 1;
        }
        if header_begun {
            self.frame = match self.dialect {
                Dialect::Hixie75 | Dialect::Hixie76 => Frame::Hixie,
                Dialect::Rfc6455 => Frame::Base64 { bytes: prepared.payload, carry: Carry::default() },
            };
        }
        let gone = behind.min(text.len());
        match self.frame {
            Frame::Hixie if gone > 0 => {
                self.frame = Frame::Boundary;
                // The quantum that is cut is committed as a whole; its rest and the end of the frame are the tail.
                let quanta = gone.div_ceil(QUANTUM);
                if behind <= text.len() {
                    self.head.push(text.get(gone..quanta * QUANTUM).unwrap_or_default());
                    self.head.push(&[HIXIE_END]);
                }
                self.tell(told, prepared.payload.min(quanta * 3))
            }
            Frame::Base64 { bytes, carry } if gone > 0 => {
                // A byte whose first bit is out is committed.
                let fresh = gone * 6 - usize::from(carry.bits);
                let count = fresh.div_ceil(8).min(prepared.payload);
                let (_, rest) = text.split_at_checked(gone).unwrap_or_default();
                if count == bytes {
                    self.frame = Frame::Boundary;
                    self.head.push(rest);
                    return self.tell(told, count);
                }
                let mut carry = Carry { bits: (8 * count - fresh) as u8, ..prepared.carry };
                if let Some(&next) = rest.first() {
                    if carry.bits == 6 {
                        // All of the next character is committed.
                        self.head.push(&[next]);
                        carry.bits = 0;
                    }
                    carry.value = base64::value(next).unwrap_or_default() as u8 >> (6 - carry.bits);
                }
                self.frame = Frame::Base64 { bytes: bytes - count, carry };
                told + count
            }
            Frame::Boundary | Frame::Hixie | Frame::Base64 { .. } | Frame::Verbatim { .. } => told,
        }
    }

    /// Puts the prepared head in front of `out`, and gives what of `out` is behind it.
    fn copy_head<'a>(&self, out: &'a mut [u8]) -> &'a mut [u8] {
        let Some((front, text)) = out.split_at_mut_checked(self.head.len()) else {
            return &mut [];
        };
        front.copy_from_slice(self.head.as_slice());
        text
    }

    /// Prepares a frame for as much of `payload` as fits.
    fn encode_frame(&mut self, payload: &[u8], out: &mut [u8]) -> usize {
        let overhead = self.head.len() + head::LONGEST_HEADER + 1;
        let room = out.len().saturating_sub(overhead) / QUANTUM * 3;
        let payload = payload.get(..room.min(Self::MAX_FRAME)).unwrap_or(payload);
        let chars = base64::encoded_len(payload.len());
        self.prepared.header = match (self.dialect, self.frame) {
            (Dialect::Rfc6455, _) => self.head.push_header(head::TEXT, chars),
            // `00` is out already.
            (Dialect::Hixie75 | Dialect::Hixie76, Frame::Hixie) => 0,
            (Dialect::Hixie75 | Dialect::Hixie76, _) => self.head.push(&[0x00]),
        };
        self.prepared.payload = payload.len();
        self.prepared.chars = chars;
        let text = self.copy_head(out);
        base64::encode(payload, text);
        let end = match self.dialect {
            Dialect::Rfc6455 => None,
            Dialect::Hixie75 | Dialect::Hixie76 => text.get_mut(chars),
        };
        let trailer = end.map_or(0, |end| {
            *end = HIXIE_END;
            1
        });
        self.head.len() + chars + trailer
    }

    /// How many bytes the program is told when a frame's last byte, the last of `count`, is committed and `told` is told
    /// already: all, or while a tail waits all but that one, which is then owed. Never nothing: see the module.
    fn tell(&mut self, told: usize, count: usize) -> usize {
        let all = told + count;
        self.owed = !self.head.is_empty() && all > 1;
        all - usize::from(self.owed)
    }
}

/// Bits of a byte whose first bits are in a character that went out: the low 0, 2 or 4 bits of `value`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    bits: u8,
    value: u8,
}

fields!(Carry { bits, value });

impl Carry {
    /// Encodes these bits and `payload` to the front of `out`; with `complete` the rest is padded. Returns the number of
    /// characters, and the bits left over.
    fn encode(mut self, payload: &[u8], complete: bool, out: &mut [u8]) -> (usize, Carry) {
        let mut chars = 0;
        // Bytes up to the next quantum, whole quanta, bytes of the last one.
        let lead = payload.len().min(usize::from((6 - self.bits) / 2 % 3));
        let (lead, rest) = payload.split_at_checked(lead).unwrap_or_default();
        for byte in lead {
            chars += self.push(*byte, out.get_mut(chars..).unwrap_or_default());
        }
        let (quanta, tail) = rest.split_at_checked(rest.len() / 3 * 3).unwrap_or_default();
        chars += base64::encode(quanta, out.get_mut(chars..).unwrap_or_default());
        for byte in tail {
            chars += self.push(*byte, out.get_mut(chars..).unwrap_or_default());
        }
        if complete && self.bits > 0 {
            let last = base64::character(u32::from(self.value) << (6 - self.bits));
            let padded = [last, b'=', b'='];
            let count = usize::from(1 + (6 - self.bits) / 2);
            for (to, from) in out.iter_mut().skip(chars).zip(padded.into_iter().take(count)) {
                *to = from;
                chars += 1;
            }
            self = Carry::default();
        }
        (chars, self)
    }

    /// Adds a byte, and writes the one or two characters that it completes.
    fn push(&mut self, byte: u8, out: &mut [u8]) -> usize {
        let value = u32::from(self.value) << 8 | u32::from(byte);
        self.bits += 8;
        let mut count = 0;
        for to in out.iter_mut() {
            if self.bits < 6 {
                break;
            }
            self.bits -= 6;
            *to = base64::character(value >> self.bits);
            count += 1;
        }
        self.value = value as u8 & ((1 << self.bits) - 1);
        count
    }
}
