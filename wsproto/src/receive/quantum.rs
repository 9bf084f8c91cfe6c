//! A base64 quantum that arrives, or is delivered, in pieces: at most three characters are held, and no byte of payload.

use crate::base64;
use crate::state::fields;
use crate::violation::Violation;

/// The quantum that the stream stands in.
#[derive(Clone, Debug)]
pub(super) struct Quantum {
    held: [u8; 3],
    count: u8,
    /// Bytes of this quantum that are delivered already while its last character is still in the network's queue: 0 to 2.
    delivered: u8,
    /// The quantum before this one was padded: only the end of a frame may follow.
    padded: bool,
}

fields!(Quantum { held, count, delivered, padded });

/// What became of a character.
pub(super) enum Pushed {
    /// It is taken; so many bytes were delivered.
    Taken(usize),
    /// The room did not suffice: so many bytes were delivered, and the character must come again.
    Full(usize),
}

impl Quantum {
    pub(super) const fn new() -> Self {
        Quantum { held: [0; 3], count: 0, delivered: 0, padded: false }
    }

    /// Characters that may certainly be taken before one delivers payload.
    pub(super) fn overhead(&self) -> usize {
        3_usize.saturating_sub(usize::from(self.count))
    }

    /// Whether the stream stands between two quanta of a frame, so that whole ones may be decoded in bulk.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0 && !self.padded
    }

    /// A frame ends here: text may follow padding again.
    pub(super) fn end_frame(&mut self) {
        self.padded = false;
    }

    /// Whether no quantum is unfinished.
    pub(super) fn is_complete(&self) -> bool {
        self.count == 0
    }

    /// Takes the next character of the text, or only looks at it if it completes a quantum that finds no room in `out`.
    ///
    /// # Errors
    /// The character is none of base64, stands behind padding, or pads what cannot be padded.
    pub(super) fn push(&mut self, character: u8, out: &mut [u8]) -> Result<Pushed, Violation> {
        if self.padded {
            return Err(Violation::NotBase64);
        }
        let [first, second, third] = self.held;
        match self.count {
            0 | 1 => {
                base64::value(character).ok_or(Violation::NotBase64)?;
                self.hold(character);
                return Ok(Pushed::Taken(0));
            }
            2 => {
                if character != b'=' {
                    base64::value(character).ok_or(Violation::NotBase64)?;
                }
                self.hold(character);
                return Ok(Pushed::Taken(0));
            }
            _ => {}
        }
        let bits = |character| base64::value(character).ok_or(Violation::NotBase64);
        let (value, len) = match (third, character) {
            (b'=', b'=') => (bits(first)? << 18 | bits(second)? << 12, 1),
            (_, b'=') => (bits(first)? << 18 | bits(second)? << 12 | bits(third)? << 6, 2),
            // A character behind `=` fails here: `=` has no value.
            _ => (bits(first)? << 18 | bits(second)? << 12 | bits(third)? << 6 | bits(character)?, 3),
        };
        let [_, bytes @ ..] = value.to_be_bytes();
        // RFC 4648 section 3.5: the bits that padding leaves over are zero in what an encoder makes.
        if bytes.iter().skip(len).any(|byte| *byte != 0) {
            return Err(Violation::NotBase64);
        }
        let waiting = bytes.iter().take(len).skip(usize::from(self.delivered));
        let missing = waiting.len().saturating_sub(out.len());
        let mut count = 0;
        for (to, from) in out.iter_mut().zip(waiting) {
            *to = *from;
            count += 1;
        }
        if missing > 0 {
            self.delivered += count as u8;
            return Ok(Pushed::Full(count));
        }
        *self = Quantum { padded: len < 3, ..Quantum::new() };
        Ok(Pushed::Taken(count))
    }

    fn hold(&mut self, character: u8) {
        if let Some(place) = self.held.get_mut(usize::from(self.count)) {
            *place = character;
            self.count += 1;
        }
    }
}
