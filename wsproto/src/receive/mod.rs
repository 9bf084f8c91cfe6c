//! The receiving half of a connection: frames in, payload and events out.
//!
//! The two framings are state machines of their own ([`rfc6455`], [`hixie`]); this module holds what they share: the
//! end of the stream, which is sticky, and the contract that the caller sees.

mod header;
mod hixie;
mod quantum;
mod rfc6455;
mod utf8;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::close::CloseReason;
use crate::dialect::{Dialect, Encoding};
use crate::inline::Inline;
use crate::state::{fields, variants};
use crate::violation::Violation;
use hixie::Hixie;
use rfc6455::Rfc6455;

/// What one call of [`Receiver::receive`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the input that were taken.
    pub consumed: usize,
    /// Bytes of payload that were written to the front of the output.
    pub produced: usize,
}

/// A ping's payload, at most 125 bytes, to be sent back as a pong (RFC 6455 section 5.5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong(Inline<125>);

fields!(Pong(payload));

impl Pong {
    pub(crate) fn new(payload: &[u8]) -> Self {
        let mut bytes = Inline::new();
        bytes.extend(payload);
        Pong(bytes)
    }

    /// The payload.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// How the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer's Close came.
    Closed(CloseReason),
    /// The peer broke a rule.
    Failed(Violation),
}

variants!(End { 1 => Closed(reason), 2 => Failed(violation) });

impl End {
    /// The code that our Close frame must carry: the peer's own (1000 if it sent none, RFC 6455 section 5.5.1), or the
    /// violation's.
    pub fn reply_code(&self) -> u16 {
        match self {
            End::Closed(reason) => reason.code().unwrap_or(1000),
            End::Failed(violation) => violation.close_code(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed(reason) => match reason.code() {
                Some(code) => write!(f, "closed by the client with {code}"),
                None => f.write_str("closed by the client"),
            },
            End::Failed(violation) => write!(f, "{} ({violation})", violation.close_code()),
        }
    }
}

/// The receiving half of a connection. Cheap to clone (a clone answers a look ahead), no heap, 300 bytes at most.
#[derive(Clone, Debug)]
pub struct Receiver {
    framing: Framing,
    end: Option<End>,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a connection has one Receiver, and it holds no heap")]
enum Framing {
    Rfc6455(Rfc6455),
    Hixie(Hixie),
}

fields!(Receiver { framing, end });
variants!(Framing { 1 => Rfc6455(framing), 2 => Hixie(framing) });

/// What a framing's step came to: it ran out of input or of room, or the stream is over.
type Step = Result<(), End>;

impl Receiver {
    /// The state right after the opening handshake. hixie is always [`Encoding::Base64`]; what `encoding` says of it
    /// does not matter.
    pub fn new(dialect: Dialect, encoding: Encoding) -> Self {
        let framing = match dialect {
            Dialect::Hixie75 | Dialect::Hixie76 => Framing::Hixie(Hixie::new()),
            Dialect::Rfc6455 => Framing::Rfc6455(Rfc6455::new(encoding)),
        };
        Receiver { framing, end: None }
    }

    /// A stream that is over: what stands for one that another process reads ([`crate::Handover`]).
    pub fn over() -> Self {
        Receiver { end: Some(End::Closed(CloseReason::NONE)), ..Receiver::new(Dialect::Rfc6455, Encoding::Binary) }
    }

    /// How many of the next bytes of the stream are certainly no payload and complete none: the rest of a header or of a
    /// control frame, the characters in front of the last one of a base64 quantum. They may be taken from the network
    /// before anybody asks for payload, and `receive` with an empty output takes all of them.
    ///
    /// 0: the very next byte delivers payload, or the stream has ended (see [`Receiver::end`]). RFC 6455 at a frame
    /// boundary: 6, the least that a client's header has; the exact rest once the form of the length is known. hixie:
    /// at least 4 at a boundary, 3 minus the characters held inside a frame.
    pub fn overhead(&self) -> usize {
        match (&self.end, &self.framing) {
            (Some(_), _) => 0,
            (None, Framing::Rfc6455(framing)) => framing.overhead(),
            (None, Framing::Hixie(framing)) => framing.overhead(),
        }
    }

    /// How many of the next bytes of the stream are payload carried as it is (RFC 6455 with [`Encoding::Binary`], inside
    /// a data frame): they may be received straight into the reader's buffer and handed to
    /// [`Receiver::receive_verbatim`]. Else 0.
    pub fn verbatim(&self) -> u64 {
        match (&self.end, &self.framing) {
            (None, Framing::Rfc6455(framing)) => framing.verbatim(),
            (None, Framing::Hixie(_)) | (Some(_), _) => 0,
        }
    }

    /// Unmasks (and for text frames checks) `payload`, the next bytes of the stream, in place; at most
    /// [`Receiver::verbatim`] of them.
    ///
    /// Returns how many bytes of it are good; fewer than given means that `end()` is a violation (text that is not
    /// UTF-8). A message that ends inside a character is a violation with all bytes good.
    pub fn receive_verbatim(&mut self, payload: &mut [u8]) -> usize {
        let (None, Framing::Rfc6455(framing)) = (&self.end, &mut self.framing) else {
            return 0;
        };
        let mut good = 0;
        if let Err(end) = framing.receive_verbatim(payload, &mut good) {
            self.end = Some(end);
        }
        good
    }

    /// Takes the header at the front of `input`, the next bytes of the stream, if they begin a data frame whose payload is carried as
    /// it is and not empty, with its whole header. Returns the header's length. `None`, with nothing done, for all else; it is for
    /// [`Receiver::receive`], which with an empty output comes to the same here in more steps.
    #[inline(always)]
    pub fn receive_header(&mut self, input: &[u8]) -> Option<usize> {
        match (&self.end, &mut self.framing) {
            (None, Framing::Rfc6455(framing)) => framing.receive_header(input),
            (None, Framing::Hixie(_)) | (Some(_), _) => None,
        }
    }

    /// Decodes `input`, the next bytes of the stream, into `out`.
    ///
    /// Takes every byte that is no payload (headers, pings, pongs, Close, empty frames, unfinished quanta), also after
    /// `out` is full, and stops in front of the first byte that needs room in `out`. With an empty `out` it takes just
    /// what is no payload. A base64 quantum that is only partly delivered leaves its last character in `input`.
    ///
    /// `input` is scratch as far as it is consumed; what is not consumed stays as it was. Once the stream has ended,
    /// everything is consumed and nothing produced.
    pub fn receive(&mut self, input: &mut [u8], out: &mut [u8]) -> Received {
        let mut received = Received::default();
        if self.end.is_none() {
            let step = match &mut self.framing {
                Framing::Rfc6455(framing) => framing.receive(input, out, &mut received),
                Framing::Hixie(framing) => framing.receive(input, out, &mut received),
            };
            self.end = step.err();
        }
        if self.end.is_some() {
            received.consumed = input.len();
        }
        received
    }

    /// Set once the stream is over: the peer's Close, or a rule broken. Sticky.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The latest ping that was not taken yet, as the pong to send. Never more than one is kept (RFC 6455 section 5.5.3
    /// allows to answer only the most recent one). None once the stream has ended by a violation.
    pub fn take_pong(&mut self) -> Option<Pong> {
        match (&self.end, &mut self.framing) {
            (Some(End::Failed(_)), _) | (_, Framing::Hixie(_)) => None,
            (_, Framing::Rfc6455(framing)) => framing.take_pong(),
        }
    }

    /// Whether [`Receiver::take_pong`] has one.
    pub fn has_pong(&self) -> bool {
        match (&self.end, &self.framing) {
            (Some(End::Failed(_)), _) | (_, Framing::Hixie(_)) => false,
            (_, Framing::Rfc6455(framing)) => framing.has_pong(),
        }
    }

    /// Length on the wire of the current or last data frame's payload, to tell streams of large frames from small ones.
    /// hixie frames announce none: the characters seen so far.
    pub fn frame_len(&self) -> u64 {
        match &self.framing {
            Framing::Rfc6455(framing) => framing.frame_len(),
            Framing::Hixie(framing) => framing.frame_len(),
        }
    }
}
