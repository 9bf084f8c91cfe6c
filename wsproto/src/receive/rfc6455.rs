//! Frames of RFC 6455, as they are or as base64 text.

use super::header::{self, Header, Opcode};
use super::quantum::{Pushed, Quantum};
use super::utf8::Utf8;
use super::{End, Pong, Received, Step};
use crate::base64;
use crate::close::CloseReason;
use crate::dialect::Encoding;
use crate::inline::Inline;
use crate::mask::Mask;
use crate::state::{fields, variants};
use crate::violation::Violation;

/// The state of a stream of client frames.
#[derive(Clone, Debug)]
pub(super) struct Rfc6455 {
    state: State,
    /// The message that the last data frame left unfinished.
    message: Message,
    payload: Payload,
    pong: Option<Pong>,
    frame_len: u64,
}

#[derive(Clone, Debug)]
enum State {
    /// In front of a frame, or inside its header.
    Header(Inline<{ header::LONGEST }>),
    /// Inside the payload of a control frame; `left` bytes are to come.
    Control { opcode: ControlOpcode, left: u8, mask: Mask, payload: Inline<125> },
    /// Inside the payload of a data frame; `left` bytes, at least one, are to come.
    Data { fin: bool, left: u64, mask: Mask },
}

#[derive(Clone, Copy, Debug)]
enum ControlOpcode {
    Close,
    Ping,
    Pong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    None,
    Binary,
    Text,
}

#[derive(Clone, Debug)]
enum Payload {
    Verbatim(Utf8),
    Base64(Quantum),
}

fields!(Rfc6455 { state, message, payload, pong, frame_len });
variants!(State { 1 => Header(held), 2 => Control { opcode, left, mask, payload }, 3 => Data { fin, left, mask } });
variants!(ControlOpcode { 1 => Close, 2 => Ping, 3 => Pong });
variants!(Message { 1 => None, 2 => Binary, 3 => Text });
variants!(Payload { 1 => Verbatim(utf8), 2 => Base64(quantum) });

impl Rfc6455 {
    pub(super) fn new(encoding: Encoding) -> Self {
        Rfc6455 {
            state: State::Header(Inline::new()),
            message: Message::None,
            payload: match encoding {
                Encoding::Binary => Payload::Verbatim(Utf8::new()),
                Encoding::Base64 => Payload::Base64(Quantum::new()),
            },
            pong: None,
            frame_len: 0,
        }
    }

    pub(super) fn overhead(&self) -> usize {
        match (&self.state, &self.payload) {
            (State::Header(held), _) => header::size(held.as_slice()) - held.len(),
            (State::Control { left, .. }, _) => usize::from(*left),
            (State::Data { .. }, Payload::Verbatim(_)) => 0,
            (State::Data { left, .. }, Payload::Base64(quantum)) => {
                quantum.overhead().min(usize::try_from(*left).unwrap_or(usize::MAX))
            }
        }
    }

    pub(super) fn verbatim(&self) -> u64 {
        match (&self.state, &self.payload) {
            (State::Data { left, .. }, Payload::Verbatim(_)) => *left,
            (State::Data { .. }, Payload::Base64(_)) | (State::Header(_) | State::Control { .. }, _) => 0,
        }
    }

    pub(super) fn frame_len(&self) -> u64 {
        self.frame_len
    }

    pub(super) fn has_pong(&self) -> bool {
        self.pong.is_some()
    }

    pub(super) fn take_pong(&mut self) -> Option<Pong> {
        self.pong.take()
    }

    /// `good` is how many bytes may be delivered, also when the stream ends here.
    pub(super) fn receive_verbatim(&mut self, payload: &mut [u8], good: &mut usize) -> Step {
        let (State::Data { fin, left, mask }, Payload::Verbatim(utf8)) = (&mut self.state, &mut self.payload) else {
            return Ok(());
        };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(payload.len());
        let Some(payload) = payload.get_mut(..count) else {
            return Ok(());
        };
        mask.apply(payload);
        *good = count;
        if self.message == Message::Text {
            *good = utf8.check(payload);
            if *good < count {
                return Err(End::Failed(Violation::TextNotUtf8));
            }
        }
        *left -= count as u64;
        match (*left, *fin) {
            (0, fin) => self.end_frame(fin),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    pub(super) fn receive_header(&mut self, input: &[u8]) -> Option<usize> {
        let (State::Header(held), Payload::Verbatim(_)) = (&self.state, &self.payload) else { return None };
        if !held.is_empty() {
            return None;
        }
        if let (Message::None, Some((len, mask, _))) = (self.message, header::short_message(input)) {
            (self.message, self.frame_len) = (Message::Binary, len.into());
            self.state = State::Data { fin: true, left: len.into(), mask };
            return Some(header::SHORTEST);
        }
        let header = header::parse(input).ok()??;
        if header.len == 0 || header.opcode.is_control() {
            return None;
        }
        let size = header.size;
        // A header that is out of place changes nothing.
        self.begin(header).ok().map(|()| size)
    }

    /// `received` is kept up to date, so that it holds when the stream ends in mid-input.
    pub(super) fn receive(&mut self, input: &mut [u8], out: &mut [u8], received: &mut Received) -> Step {
        loop {
            let input = input.get_mut(received.consumed..).unwrap_or_default();
            let out = out.get_mut(received.produced..).unwrap_or_default();
            let before = *received;
            match &mut self.state {
                State::Header(_) | State::Data { .. } if input.is_empty() => return Ok(()),
                State::Header(held) => {
                    let plain = self.message == Message::None && matches!(self.payload, Payload::Verbatim(_));
                    if plain
                        && held.is_empty()
                        && let Some(last) = copy_short_messages(input, out, received)
                    {
                        self.frame_len = last;
                        continue;
                    }
                    let Some(header) = collect(held, input, &mut received.consumed)? else {
                        return Ok(());
                    };
                    self.begin(header)?;
                }
                State::Control { opcode, left, mask, payload } => {
                    let count = usize::from(*left).min(input.len());
                    let piece = input.get_mut(..count).unwrap_or_default();
                    mask.apply(piece);
                    payload.extend(piece);
                    *left -= count as u8;
                    received.consumed += count;
                    if *left > 0 {
                        return Ok(());
                    }
                    match opcode {
                        ControlOpcode::Close => return Err(closed(payload.as_slice())),
                        ControlOpcode::Ping => self.pong = Some(Pong::new(payload.as_slice())),
                        // Section 5.5.3: "A response to an unsolicited Pong frame is not expected."
                        ControlOpcode::Pong => {}
                    }
                    self.state = State::Header(Inline::new());
                }
                State::Data { .. } => {
                    match self.payload {
                        Payload::Verbatim(_) => self.copy(input, out, received)?,
                        Payload::Base64(_) => self.decode(input, out, received)?,
                    }
                    if *received == before {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Moves payload that travels as it is from `input` to `out`.
    fn copy(&mut self, input: &[u8], out: &mut [u8], received: &mut Received) -> Step {
        let (State::Data { fin, left, mask }, Payload::Verbatim(utf8)) = (&mut self.state, &mut self.payload) else {
            return Ok(());
        };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()).min(out.len());
        let (Some(from), Some(to)) = (input.get(..count), out.get_mut(..count)) else {
            return Ok(());
        };
        mask.copy(from, to);
        received.consumed += count;
        if self.message == Message::Text {
            let good = utf8.check(to);
            received.produced += good;
            if good < count {
                return Err(End::Failed(Violation::TextNotUtf8));
            }
        } else {
            received.produced += count;
        }
        *left -= count as u64;
        match (*left, *fin) {
            (0, fin) => self.end_frame(fin),
            _ => Ok(()),
        }
    }

    /// Decodes base64 text from `input` to `out`: whole quanta in bulk, or else one character.
    fn decode(&mut self, input: &mut [u8], out: &mut [u8], received: &mut Received) -> Step {
        let (State::Data { fin, left, mask }, Payload::Base64(quantum)) = (&mut self.state, &mut self.payload) else {
            return Ok(());
        };
        let available = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        let mut count = 0;
        if quantum.is_idle() {
            count = decode_bulk(mask, available, input, out) * 4;
            received.produced += count / 4 * 3;
        }
        if let (0, Some(&masked)) = (count, input.get(..available).and_then(<[u8]>::first)) {
            match quantum.push(masked ^ mask.byte(0), out).map_err(End::Failed)? {
                Pushed::Full(delivered) => {
                    received.produced += delivered;
                    return Ok(());
                }
                Pushed::Taken(delivered) => {
                    received.produced += delivered;
                    *mask = mask.turned(1);
                    count = 1;
                }
            }
        }
        received.consumed += count;
        *left -= count as u64;
        match (*left, *fin) {
            (0, fin) => self.end_frame(fin),
            _ => Ok(()),
        }
    }

    /// A header is complete: checks it against the message it stands in, and enters the frame.
    fn begin(&mut self, header: Header) -> Step {
        let Header { fin, opcode, len, mask, .. } = header;
        let control = |opcode| State::Control { opcode, left: len.min(125) as u8, mask, payload: Inline::new() };
        match opcode {
            Opcode::Close if len == 0 => return Err(closed(&[])),
            Opcode::Close => self.state = control(ControlOpcode::Close),
            Opcode::Ping => self.state = control(ControlOpcode::Ping),
            Opcode::Pong => self.state = control(ControlOpcode::Pong),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.message = next_message(self.message, opcode, &self.payload).map_err(End::Failed)?;
                self.frame_len = len;
                if len == 0 {
                    return self.end_frame(fin);
                }
                self.state = State::Data { fin, left: len, mask };
            }
        }
        Ok(())
    }

    /// A data frame is complete; with `fin` its message is, too.
    fn end_frame(&mut self, fin: bool) -> Step {
        self.state = State::Header(Inline::new());
        if let Payload::Base64(quantum) = &mut self.payload {
            quantum.end_frame();
        }
        if !fin {
            return Ok(());
        }
        self.message = Message::None;
        match &self.payload {
            Payload::Verbatim(utf8) if !utf8.is_complete() => Err(End::Failed(Violation::TextNotUtf8)),
            Payload::Base64(quantum) if !quantum.is_complete() => Err(End::Failed(Violation::Base64Cut)),
            Payload::Verbatim(_) | Payload::Base64(_) => Ok(()),
        }
    }
}

/// The message that a data frame of `opcode` belongs to.
fn next_message(message: Message, opcode: Opcode, payload: &Payload) -> Result<Message, Violation> {
    match (message, opcode) {
        // Section 5.4: a fragmented message is a frame with another opcode than 0, followed by frames with opcode 0.
        (Message::None, Opcode::Continuation) => Err(Violation::NothingToContinue),
        (open, Opcode::Continuation) => Ok(open),
        (Message::None, Opcode::Text) => Ok(Message::Text),
        (Message::None, _) => match payload {
            Payload::Verbatim(_) => Ok(Message::Binary),
            Payload::Base64(_) => Err(Violation::BinaryInBase64),
        },
        (Message::Binary | Message::Text, _) => Err(Violation::MessageInMessage),
    }
}

/// Takes the whole binary messages of up to 125 bytes at the front of `input` that `out` has room for: a client that writes little at a
/// time sends nothing else, and to go from state to state costs more than such a message. Returns the length of the last one.
#[inline]
fn copy_short_messages(mut input: &[u8], mut out: &mut [u8], received: &mut Received) -> Option<u64> {
    let mut last = None;
    while let Some((len, mut mask, rest)) = header::short_message(input) {
        let len = usize::from(len);
        let (Some((from, behind)), true) = (rest.split_at_checked(len), len <= out.len()) else { break };
        let (to, room) = std::mem::take(&mut out).split_at_mut(len);
        mask.copy(from, to);
        received.consumed += header::SHORTEST + len;
        received.produced += len;
        (input, out, last) = (behind, room, Some(len as u64));
    }
    last
}

/// Takes the header's bytes from `input`; `None` when some are missing, which are then held.
#[inline]
fn collect(held: &mut Inline<{ header::LONGEST }>, input: &[u8], consumed: &mut usize) -> Result<Option<Header>, End> {
    if held.is_empty() {
        // The common case: the whole header is there.
        if let Some(header) = header::parse(input).map_err(End::Failed)? {
            *consumed += header.size;
            return Ok(Some(header));
        }
    }
    let mut rest = input;
    // The first two bytes tell how many there are.
    while let Some((piece, tail)) = rest.split_at_checked(match held.len() {
        0 | 1 => 1,
        len => header::size(held.as_slice()).saturating_sub(len).min(rest.len()),
    }) {
        if piece.is_empty() {
            break;
        }
        held.extend(piece);
        *consumed += piece.len();
        rest = tail;
    }
    header::parse(held.as_slice()).map_err(End::Failed)
}

/// Unmasks and decodes as many whole quanta without padding of the `available` bytes of `input` as `out` has room for.
/// Returns their number; 0, with `input` as it was, if there are none or some character is wrong.
fn decode_bulk(mask: &mut Mask, available: usize, input: &mut [u8], out: &mut [u8]) -> usize {
    let mut quanta = (available / 4).min(out.len() / 3);
    let last = (quanta * 4).wrapping_sub(1);
    if input.get(last).is_some_and(|masked| masked ^ mask.byte(last) == b'=') {
        quanta -= 1;
    }
    let (Some(text), Some(out)) = (input.get_mut(..quanta * 4), out.get_mut(..quanta * 3)) else {
        return 0;
    };
    let before = *mask;
    mask.apply(text);
    if !base64::decode_quanta(text, out) {
        *mask = before;
        mask.apply(text);
        *mask = before;
        return 0;
    }
    quanta
}

/// How the stream ends by a Close frame with this payload.
fn closed(payload: &[u8]) -> End {
    match CloseReason::parse(payload) {
        Ok(reason) => End::Closed(reason),
        Err(violation) => End::Failed(violation),
    }
}
