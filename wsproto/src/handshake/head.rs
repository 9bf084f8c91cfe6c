//! A request's head, collected up to its blank line.

use super::refusal::Refusal;
use super::request;

/// The first byte of a TLS record that carries a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// The bytes that have come of a head.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// How many bytes of empty lines stood in front. They count against the limit: whoever feeds this may keep them.
    blank: usize,
    /// The request line is complete and was looked at.
    line_seen: bool,
}

impl Head {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what of `input` belongs to the head. `true`: it is complete.
    ///
    /// # Errors
    /// What no request begins with, a malformed request line, a head above `limit` with the empty lines in front of it.
    pub(super) fn receive(&mut self, input: &[u8], taken: &mut usize, limit: usize) -> Result<bool, Refusal> {
        let mut input = input;
        if self.bytes.is_empty() {
            // RFC 9112 section 2.2: empty lines in front of the request line are ignored.
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            *taken += blank;
            self.blank = self.blank.saturating_add(blank);
            input = input.get(blank..).unwrap_or_default();
        }
        let Some(limit) = limit.checked_sub(self.blank) else { return Err(Refusal::HeadTooLarge) };
        let before = self.bytes.len();
        let room = limit.saturating_add(1).saturating_sub(before);
        self.bytes.extend_from_slice(input.get(..room).unwrap_or(input));
        match self.bytes.first() {
            None => return Ok(false),
            Some(&TLS_HANDSHAKE) => return Err(Refusal::Tls),
            Some(first) if !first.is_ascii_alphabetic() => return Err(Refusal::RequestLine),
            Some(_) => {}
        }
        // The blank line may begin up to two bytes in front of this piece.
        let searched = before.saturating_sub(2);
        let end = blank_line(self.bytes.get(searched..).unwrap_or_default()).map(|end| searched + end);
        self.bytes.truncate(end.unwrap_or(usize::MAX));
        *taken += self.bytes.len() - before;
        if !self.line_seen && self.bytes.get(before..).is_some_and(|piece| piece.contains(&b'\n')) {
            self.line_seen = true;
            request::check_line(&self.bytes)?;
        }
        if self.bytes.len() > limit {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(end.is_some())
    }
}

/// Where the first blank line ends, seen from the line end in front of it; a lone LF ends a line, too.
fn blank_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1).find_map(
        |next| match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        },
    )
}
