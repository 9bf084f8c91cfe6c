//! The client's side, as simple as it can be written: it reads from the beginning of all that was ever sent.

use crate::{Dialect, Encoding};

/// What a client has of what a server sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Payload whose bits are all there.
    pub payload: Vec<u8>,
    /// Bits of payload that are there.
    pub bits: usize,
    /// Pongs, in order.
    pub pongs: Vec<Vec<u8>>,
    /// How many pings there were.
    pub pings: usize,
    /// Close, with its code in RFC 6455. Nothing follows.
    pub close: Option<u16>,
    /// All frames are complete.
    pub at_boundary: bool,
}

/// Reads all of `wire`. Anything that a client must not accept is a panic.
pub fn read(dialect: Dialect, encoding: Encoding, wire: &[u8]) -> Seen {
    match dialect {
        Dialect::Rfc6455 => read_rfc6455(encoding, wire),
        Dialect::Hixie75 | Dialect::Hixie76 => read_hixie(dialect, wire),
    }
}

fn read_rfc6455(encoding: Encoding, wire: &[u8]) -> Seen {
    let mut seen = Seen { at_boundary: true, ..Seen::default() };
    let mut rest = wire;
    while !rest.is_empty() {
        assert_eq!(seen.close, None, "nothing follows Close");
        let size = match rest.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        if rest.len() < size {
            seen.at_boundary = false;
            break;
        }
        let len = match size {
            2 => usize::from(rest[1]),
            4 => usize::from(u16::from_be_bytes([rest[2], rest[3]])),
            _ => usize::try_from(u64::from_be_bytes(rest[2..10].try_into().unwrap_or_default())).unwrap_or(usize::MAX),
        };
        assert!(len < 126 || size > 2, "masked, or the length is missing");
        assert!(size == 2 || len > 125 && (size == 4) == (len <= 65535), "the shortest form");
        let payload = &rest[size..rest.len().min(size + len)];
        let whole = payload.len() == len;
        match (rest[0], encoding) {
            (0x82, Encoding::Binary) => {
                assert!(len > 0, "no empty frame is sent");
                seen.payload.extend_from_slice(payload);
                seen.bits += 8 * payload.len();
            }
            (0x81, Encoding::Base64) => {
                assert!(len > 0 && len % 4 == 0, "whole quanta are announced");
                seen.text(payload, whole);
            }
            (0x8a, _) if whole => seen.pongs.push(payload.to_vec()),
            (0x88, _) if whole => {
                assert_eq!(len, 2);
                seen.close = Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
            (0x89, _) if whole => {
                assert_eq!(len, 0);
                seen.pings += 1;
            }
            (0x88..=0x8a, _) => {}
            (first, encoding) => panic!("a frame {first:#x} in {encoding}"),
        }
        seen.at_boundary = whole;
        rest = &rest[size + payload.len()..];
    }
    seen
}

fn read_hixie(dialect: Dialect, wire: &[u8]) -> Seen {
    let mut seen = Seen { at_boundary: true, ..Seen::default() };
    let mut rest = wire;
    while let Some((&kind, tail)) = rest.split_first() {
        assert_eq!(seen.close, None, "nothing follows Close");
        match (kind, tail) {
            (0x00, _) => {
                let end = tail.iter().position(|byte| *byte == 0xff);
                seen.text(&tail[..end.unwrap_or(tail.len())], end.is_some());
                seen.at_boundary = end.is_some();
                rest = end.map_or(&[], |end| &tail[end + 1..]);
            }
            (0xff, []) => {
                seen.at_boundary = false;
                rest = &[];
            }
            (0xff, [0x00, tail @ ..]) if dialect == Dialect::Hixie76 => {
                seen.close = Some(1000);
                rest = tail;
            }
            _ => panic!("a frame {kind:#x} in {dialect}"),
        }
    }
    seen
}

impl Seen {
    /// The text of one frame, or what is there of it.
    fn text(&mut self, text: &[u8], whole: bool) {
        assert!(!whole || text.len().is_multiple_of(4), "a frame ends with a quantum");
        let chars = text.iter().take_while(|byte| **byte != b'=').count();
        let padding = &text[chars..];
        assert!(padding.len() <= 2 && padding.iter().all(|byte| *byte == b'='), "padding only ends a frame");
        let (mut value, mut held) = (0_u32, 0);
        for character in &text[..chars] {
            let bits = crate::base64::value(*character).expect("a character of base64");
            value = value << 6 | bits;
            held += 6;
            if held >= 8 {
                held -= 8;
                self.payload.push((value >> held) as u8);
                self.bits += 8;
                value &= (1 << held) - 1;
            }
        }
        // In the last quantum the bits left over are no payload.
        if whole {
            assert!(held < 6 && value == 0, "unused bits are zero");
        } else if padding.is_empty() {
            self.bits += held;
        }
    }
}
