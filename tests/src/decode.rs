//! What a server sends. Contract: every byte is checked against the dialect; a stream that a strict client would refuse is
//! an error that says why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Wire;
use crate::encode::{CLOSE, PING};

const CONTINUATION: u8 = 0x0;
const PONG: u8 = 0xA;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed the WebSocket: RFC 6455 with its status code and reason, hixie-76 without.
    Close(Option<u16>, String),
    /// The TCP stream ended between two frames.
    Fin,
    /// The TCP stream ended inside a frame.
    Cut,
    /// The connection was reset.
    Reset,
}

/// The receiving half of a client.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    wire: Wire,
    /// A message has begun and its last fragment is yet to come.
    in_message: bool,
    text: Base64,
    /// Payload that nobody has taken.
    pub(crate) out: Vec<u8>,
    pub(crate) pongs: Vec<Vec<u8>>,
    pub(crate) close: Option<End>,
}

#[derive(Debug)]
enum State {
    /// Plain TCP.
    Raw,
    /// RFC 6455: a header of which these bytes have come.
    Header(Vec<u8>),
    /// RFC 6455: inside a data frame, `left` bytes to come.
    Data { fin: bool, left: u64 },
    /// RFC 6455: inside a control frame.
    Control { opcode: u8, len: usize, payload: Vec<u8> },
    /// hixie: between frames.
    Boundary,
    /// hixie: between `00` and `FF`.
    Text,
    /// hixie: after an `FF` that can only begin the close.
    Closing,
    /// After the close: nothing may follow.
    Closed,
}

impl Decoder {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            state: match wire {
                Wire::Plain => State::Raw,
                Wire::Hixie75 | Wire::Hixie76 => State::Boundary,
                Wire::Rfc6455 | Wire::Rfc6455Base64 => State::Header(Vec::new()),
            },
            wire,
            in_message: false,
            text: Base64::default(),
            out: Vec::new(),
            pongs: Vec::new(),
            close: None,
        }
    }

    /// Whether the stream may end here without cutting anything.
    pub(crate) fn at_boundary(&self) -> bool {
        match &self.state {
            State::Raw | State::Boundary | State::Closed => true,
            State::Header(begun) => begun.is_empty() && !self.in_message,
            State::Data { .. } | State::Control { .. } | State::Text | State::Closing => false,
        }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn receive(&mut self, mut input: &[u8]) -> Result<(), String> {
        while let Some(&first) = input.first() {
            let taken = match &mut self.state {
                State::Raw => {
                    self.out.extend_from_slice(input);
                    input.len()
                }
                State::Header(begun) => {
                    begun.push(first);
                    let header = std::mem::take(begun);
                    self.state = self.header(header)?;
                    1
                }
                State::Data { fin, left } => {
                    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    *left -= part as u64;
                    let end = (*left == 0).then_some(*fin);
                    self.payload(&input[..part])?;
                    if let Some(fin) = end {
                        self.end_of_frame(fin)?;
                    }
                    part
                }
                State::Control { opcode, len, payload } => {
                    payload.push(first);
                    if payload.len() == *len {
                        let (opcode, payload) = (*opcode, std::mem::take(payload));
                        self.state = self.control(opcode, payload)?;
                    }
                    1
                }
                State::Boundary => {
                    self.state = match first {
                        0x00 => State::Text,
                        0xFF if self.wire == Wire::Hixie76 => State::Closing,
                        other => return Err(format!("a hixie frame begins with {other:02x}")),
                    };
                    1
                }
                State::Text => {
                    let text = input.split(|&byte| byte == 0xFF).next().unwrap_or_default().len();
                    self.text.decode(&input[..text], &mut self.out)?;
                    if text < input.len() {
                        self.text.end()?;
                        self.state = State::Boundary;
                        text + 1
                    } else {
                        text
                    }
                }
                State::Closing => {
                    if first != 0x00 {
                        return Err(format!("FF {first:02x} is not the close of draft 76"));
                    }
                    self.close = Some(End::Close(None, String::new()));
                    self.state = State::Closed;
                    1
                }
                State::Closed => {
                    return Err(format!("{} bytes after the close: {input:02x?}", input.len()));
                }
            };
            input = &input[taken..];
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.wire == Wire::Rfc6455Base64 {
            self.text.decode(bytes, &mut self.out)
        } else {
            self.out.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn end_of_frame(&mut self, fin: bool) -> Result<(), String> {
        self.in_message = !fin;
        self.state = State::Header(Vec::new());
        if fin { self.text.end() } else { Ok(()) }
    }

    /// Looks at the bytes of a header that have come; RFC 6455 section 5.2.
    fn header(&mut self, header: Vec<u8>) -> Result<State, String> {
        let (&[first, second], extended) = match header.split_first_chunk::<2>() {
            Some(parts) => parts,
            None => return Ok(State::Header(header)),
        };
        if second & 0x80 != 0 {
            return Err("a frame of the server is masked (section 5.1)".into());
        }
        if first & 0x70 != 0 {
            return Err(format!("reserved bits are set: {first:02x}"));
        }
        let (wanted, least) = match second {
            126 => (2, 126),
            127 => (8, 0x1_0000),
            _ => (0, 0),
        };
        if extended.len() < wanted {
            return Ok(State::Header(header));
        }
        let len = match wanted {
            0 => u64::from(second),
            _ => extended.iter().fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        if len < least || len >> 63 != 0 {
            return Err(format!("a length of {len} in {wanted} bytes is not the shortest form"));
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        if opcode >= CLOSE {
            if !fin || len > 125 {
                return Err(format!("a control frame of {len} bytes, FIN {fin}"));
            }
            return match len {
                0 => self.control(opcode, Vec::new()),
                _ => Ok(State::Control { opcode, len: len as usize, payload: Vec::new() }),
            };
        }
        let data = if self.wire == Wire::Rfc6455Base64 { 0x1 } else { 0x2 };
        match (opcode, self.in_message) {
            (CONTINUATION, true) => {}
            (opcode, false) if opcode == data => {}
            _ => {
                return Err(format!("opcode {opcode:x}, inside a message: {}", self.in_message));
            }
        }
        if len == 0 {
            self.end_of_frame(fin)?;
            return Ok(State::Header(Vec::new()));
        }
        Ok(State::Data { fin, left: len })
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<State, String> {
        match opcode {
            // A client would answer; the tests do not.
            PING => {}
            PONG => self.pongs.push(payload),
            CLOSE => {
                let (code, reason) = match payload.split_first_chunk::<2>() {
                    Some((code, reason)) => (Some(u16::from_be_bytes(*code)), reason),
                    None if payload.is_empty() => (None, [].as_slice()),
                    None => return Err("a Close with one byte".into()),
                };
                if code.is_some_and(|code| !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)) {
                    return Err(format!("status code {code:?} may not be sent (section 7.4)"));
                }
                let reason =
                    String::from_utf8(reason.to_vec()).map_err(|_| "the reason of a Close is not UTF-8".to_owned())?;
                self.close = Some(End::Close(code, reason));
                return Ok(State::Closed);
            }
            other => return Err(format!("unknown opcode {other:x}")),
        }
        Ok(State::Header(Vec::new()))
    }
}

/// Base64 that may arrive in pieces: RFC 4648 section 4, canonical, padded at its end and nowhere else.
#[derive(Debug, Default)]
struct Base64 {
    /// Up to three characters of a quantum.
    held: Vec<u8>,
    /// Padding has come: the text must end.
    padded: bool,
}

impl Base64 {
    fn decode(&mut self, text: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if self.padded {
            return Err("base64 goes on after its padding".into());
        }
        self.held.extend_from_slice(text);
        let rest = self.held.split_off(self.held.len() / 4 * 4);
        let whole = std::mem::replace(&mut self.held, rest);
        self.padded = whole.ends_with(b"=");
        STANDARD
            .decode_vec(&whole, to)
            .map_err(|error| format!("not base64: {error} in {:?}", String::from_utf8_lossy(&whole)))
    }

    fn end(&mut self) -> Result<(), String> {
        self.padded = false;
        if self.held.is_empty() {
            return Ok(());
        }
        Err(format!("base64 ends inside a quantum: {:?}", String::from_utf8_lossy(&self.held)))
    }
}

#[cfg(test)]
mod tests;
