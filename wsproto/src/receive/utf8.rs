//! UTF-8 checked over pieces of any size (RFC 3629), as RFC 6455 section 8.1 asks for text messages.

use crate::state::fields;

/// Where the stream of bytes stands inside a character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Utf8 {
    /// Continuation bytes that are missing; 0 between characters.
    missing: u8,
    /// The range that the next continuation byte must lie in.
    low: u8,
    high: u8,
}

fields!(Utf8 { missing, low, high });

impl Utf8 {
    pub(super) const fn new() -> Self {
        Utf8 { missing: 0, low: 0x80, high: 0xbf }
    }

    /// Whether no character is unfinished.
    pub(super) fn is_complete(self) -> bool {
        self.missing == 0
    }

    /// Checks the next bytes. Returns how many of them can begin a valid text: all, or those in front of the first byte
    /// that no valid text has there.
    pub(super) fn check(&mut self, bytes: &[u8]) -> usize {
        let mut good = 0;
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if self.missing == 0 {
                // The bulk of a text is whole characters; what the library stops at goes byte by byte.
                let valid = match std::str::from_utf8(rest) {
                    Ok(_) => rest.len(),
                    Err(error) => error.valid_up_to(),
                };
                if valid > 0 {
                    good += valid;
                    rest = rest.get(valid..).unwrap_or_default();
                    continue;
                }
            }
            if !self.step(byte) {
                return good;
            }
            good += 1;
            rest = tail;
        }
        good
    }

    /// Takes one byte; `false` if no valid text has it here. The table of RFC 3629 section 4.
    fn step(&mut self, byte: u8) -> bool {
        if self.missing > 0 {
            let fits = (self.low..=self.high).contains(&byte);
            *self = Utf8 { missing: self.missing - 1, ..Utf8::new() };
            return fits;
        }
        let (missing, low, high) = match byte {
            0x00..=0x7f => (0, 0x80, 0xbf),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xe1..=0xec | 0xee..=0xef => (2, 0x80, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            0x80..=0xc1 | 0xf5..=0xff => return false,
        };
        *self = Utf8 { missing, low, high };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_agrees_with_the_library() {
        // The edges of every row of the table, and the byte behind each edge.
        let bytes = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
            0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
        ];
        for first in bytes {
            for second in bytes {
                for third in bytes {
                    for fourth in bytes {
                        let text = [b'a', first, second, third, fourth];
                        let valid = std::str::from_utf8(&text).is_ok();
                        let mut whole = Utf8::new();
                        let good = whole.check(&text);
                        assert_eq!(good == text.len() && whole.is_complete(), valid, "{text:x?}");
                        for cut in 1..text.len() {
                            let mut halves = Utf8::new();
                            let mut sum = halves.check(&text[..cut]);
                            if sum == cut {
                                sum += halves.check(&text[cut..]);
                            }
                            assert_eq!(sum, good, "{text:x?} cut at {cut}");
                        }
                    }
                }
            }
        }
    }
}
