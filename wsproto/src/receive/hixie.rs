//! Frames of hixie-75 and hixie-76: base64 text between `00` and `FF`, and frames with a length, which are skipped.

use super::quantum::{Pushed, Quantum};
use super::{End, Received, Step};
use crate::base64;
use crate::close::CloseReason;
use crate::state::{fields, variants};
use crate::violation::Violation;

/// Bytes that end a text, or begin a frame with a length, have this bit.
const HIGH: u8 = 0x80;
/// At a boundary: a frame's type and the first three characters of its text.
const BOUNDARY: usize = 4;

/// The state of a stream of hixie frames.
#[derive(Clone, Debug)]
pub(super) struct Hixie {
    state: State,
    quantum: Quantum,
    frame_len: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In front of a frame.
    Boundary,
    /// Inside a text frame (type 00).
    Text,
    /// Inside a frame of the types 01 to 7F, which run to `FF` as well and mean nothing.
    Unknown,
    /// Inside the length of a frame whose type has the top bit; `close` if the type is `FF`.
    Length { close: bool, len: u64 },
    /// Inside such a frame's data; `left` bytes, at least one, are to come.
    Skip { left: u64 },
}

fields!(Hixie { state, quantum, frame_len });
variants!(State { 1 => Boundary, 2 => Text, 3 => Unknown, 4 => Length { close, len }, 5 => Skip { left } });

impl Hixie {
    pub(super) fn new() -> Self {
        Hixie { state: State::Boundary, quantum: Quantum::new(), frame_len: 0 }
    }

    pub(super) fn overhead(&self) -> usize {
        match self.state {
            State::Boundary => BOUNDARY,
            State::Text => self.quantum.overhead(),
            // The least that the frame still has is one byte.
            State::Unknown | State::Length { .. } => 1 + BOUNDARY,
            State::Skip { left } => usize::try_from(left).unwrap_or(usize::MAX).saturating_add(BOUNDARY),
        }
    }

    pub(super) fn frame_len(&self) -> u64 {
        self.frame_len
    }

    /// `received` is kept up to date, so that it holds when the stream ends in mid-input.
    pub(super) fn receive(&mut self, input: &[u8], out: &mut [u8], received: &mut Received) -> Step {
        while let Some((&byte, _)) = input.get(received.consumed..).and_then(<[u8]>::split_first) {
            let input = input.get(received.consumed..).unwrap_or_default();
            let out = out.get_mut(received.produced..).unwrap_or_default();
            let mut count = 1;
            match self.state {
                State::Boundary => match byte {
                    0x00 => {
                        self.frame_len = 0;
                        self.state = State::Text;
                    }
                    0x01..=0x7f => self.state = State::Unknown,
                    0x80..=0xff => self.state = State::Length { close: byte == 0xff, len: 0 },
                },
                State::Text if byte == 0xff => {
                    if !self.quantum.is_complete() {
                        return Err(End::Failed(Violation::Base64Cut));
                    }
                    self.quantum.end_frame();
                    self.state = State::Boundary;
                }
                State::Text => {
                    count = self.decode(byte, input, out, &mut received.produced)?;
                    if count == 0 {
                        return Ok(());
                    }
                }
                State::Unknown => match input.iter().position(|byte| *byte == 0xff) {
                    Some(place) => {
                        count = place + 1;
                        self.state = State::Boundary;
                    }
                    None => count = input.len(),
                },
                State::Length { close, len } => self.state = next_length(close, len, byte)?,
                State::Skip { left } => {
                    count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.state = match left - count as u64 {
                        0 => State::Boundary,
                        left => State::Skip { left },
                    };
                }
            }
            received.consumed += count;
        }
        Ok(())
    }

    /// Decodes text from `input`, which begins with `byte`: whole quanta in bulk, or else one character. Returns the
    /// number of characters taken; 0 when `out` is full.
    fn decode(&mut self, byte: u8, input: &[u8], out: &mut [u8], produced: &mut usize) -> Result<usize, End> {
        let mut count = 0;
        if self.quantum.is_idle() {
            count = decode_bulk(input, out) * 4;
            *produced += count / 4 * 3;
        }
        if count == 0 {
            match self.quantum.push(byte, out).map_err(End::Failed)? {
                Pushed::Full(delivered) => *produced += delivered,
                Pushed::Taken(delivered) => {
                    *produced += delivered;
                    count = 1;
                }
            }
        }
        self.frame_len += count as u64;
        Ok(count)
    }
}

/// The state after one more `byte` of a length: seven bits a byte, the high bit says that more follow.
fn next_length(close: bool, len: u64, byte: u8) -> Result<State, End> {
    let more = len.checked_mul(128).ok_or(End::Failed(Violation::LengthTooLarge))?;
    let len = more | u64::from(byte & !HIGH);
    if byte & HIGH != 0 {
        return Ok(State::Length { close, len });
    }
    match (len, close) {
        (0, true) => Err(End::Closed(CloseReason::NONE)),
        (0, false) => Ok(State::Boundary),
        (left, _) => Ok(State::Skip { left }),
    }
}

/// Decodes as many whole quanta without padding from the front of `input` as `out` has room for. Returns their number;
/// 0 if there are none or some character is wrong.
fn decode_bulk(input: &[u8], out: &mut [u8]) -> usize {
    let room = out.len() / 3;
    let near = input.get(..room.saturating_mul(4)).unwrap_or(input);
    let mut quanta = text_len(near) / 4;
    if near.get((quanta * 4).wrapping_sub(1)) == Some(&b'=') {
        quanta -= 1;
    }
    let (Some(text), Some(out)) = (near.get(..quanta * 4), out.get_mut(..quanta * 3)) else {
        return 0;
    };
    if base64::decode_quanta(text, out) { quanta } else { 0 }
}

/// How many bytes stand in front of the first one with the top bit.
fn text_len(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let plain = bytes.chunks_exact(BLOCK).take_while(|block| block.iter().fold(0, |all, byte| all | byte) & HIGH == 0);
    let blocks = plain.count() * BLOCK;
    let rest = bytes.get(blocks..).unwrap_or_default();
    blocks + rest.iter().take_while(|byte| **byte & HIGH == 0).count()
}
