//! What goes out in front of payload: the rest of what the kernel cut, control frames, a frame's header.

use std::ops::Range;

use crate::inline::Inline;
use crate::receive::Pong;
use crate::state::fields;

/// First bytes of our frames (RFC 6455 section 5.2): FIN and the opcode.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// The most payload whose length is in the second byte.
pub(super) const SHORT: usize = 125;

/// A control frame's header: no mask, a length up to 125.
const CONTROL_HEADER: usize = 2;
const LONGEST_PONG: usize = CONTROL_HEADER + 125;
const CLOSE_FRAME: usize = CONTROL_HEADER + 2;
pub(super) const LONGEST_HEADER: usize = 10;
/// A pong that was cut after one byte, another pong, a ping, Close and a header.
const LONGEST: usize = LONGEST_PONG - 1 + LONGEST_PONG + CONTROL_HEADER + CLOSE_FRAME + LONGEST_HEADER;

/// Bytes to go out in front of the payload, held in place.
#[derive(Clone, Debug)]
pub struct Head(Inline<LONGEST>);

fields!(Head(bytes));

impl Head {
    pub(super) const fn new() -> Self {
        Head(Inline::new())
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keep(&mut self, range: Range<usize>) {
        self.0.keep(range);
    }

    /// Appends `bytes`. Returns their number, as all of the following do.
    pub(super) fn push(&mut self, bytes: &[u8]) -> u16 {
        self.0.extend(bytes)
    }

    /// Appends the header of a frame of `len` bytes, not masked.
    pub(super) fn push_header(&mut self, first: u8, len: usize) -> u16 {
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(short @ ..=125), _) => self.push(&[first, short]),
            (_, Ok(medium)) => self.push(&[first, 126]) + self.push(&medium.to_be_bytes()),
            (_, Err(_)) => self.push(&[first, 127]) + self.push(&(len as u64).to_be_bytes()),
        }
    }

    pub(super) fn push_pong(&mut self, pong: &Pong) -> u16 {
        self.push_header(PONG, pong.as_slice().len()) + self.push(pong.as_slice())
    }

    pub(super) fn push_ping(&mut self) -> u16 {
        self.push_header(PING, 0)
    }

    pub(super) fn push_close(&mut self, code: u16) -> u16 {
        self.push_header(CLOSE, 2) + self.push(&code.to_be_bytes())
    }

    /// The pong whose frame stands at `range`.
    pub(super) fn pong_at(&self, range: Range<usize>) -> Option<Pong> {
        self.as_slice().get(range)?.get(CONTROL_HEADER..).map(Pong::new)
    }
}
