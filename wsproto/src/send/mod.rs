//! The sending half of a connection: payload in, frames out, however little of them the kernel takes.
//!
//! The rule kept here: **a write that is reported is a write that is sent.** Nobody may ever call again, so no payload
//! that the program is told of waits here, and none that it is not told of is sent. A preparation commits nothing; what
//! the kernel took of it, at any byte, is committed by `transmitted` or `transmitted_encoded`:
//!
//! - RFC 6455: a frame that is cut stays open with the length that it announced, and the next payload fills it. A cut
//!   header keeps its rest. Pongs and Close wait for the end of an open frame.
//! - hixie: a cut frame ends where the kernel stopped. The rest of one base64 quantum and `FF` wait as the tail, and the
//!   last byte of that quantum is *owed*: it is not reported, so the program brings it again as the first byte of its next
//!   write; there it is skipped, and reported once the tail is out.
//! - RFC 6455 with base64: the frame stays open, at most six bits of a byte that was reported wait for the next payload;
//!   the byte that completes the frame is owed as in hixie while characters of the frame wait.
//!
//! The one exception: where the owed byte is the only one that a call commits, it is reported and the tail waits all the
//! same. Reporting nothing would be worse: the program could rightly send something else. It takes a kernel that has
//! room for less than a frame of one byte (hixie), or for less than the last characters of an open frame (base64).

mod encode;
mod head;

#[cfg(test)]
mod tests;

use crate::dialect::{Dialect, Encoding};
use crate::receive::Pong;
use crate::state::{Field, Out, variants};
use encode::Carry;
pub use head::Head;

/// The sending half of a connection. Nothing is committed until `transmitted` says what the kernel took: prepare, send,
/// report. A preparation that is not reported counts as not sent. No heap, 464 bytes at most.
#[derive(Clone, Debug)]
pub struct Sender {
    dialect: Dialect,
    encoding: Encoding,
    /// Unsent rests, which must go out first; behind them what else was prepared.
    head: Head,
    pong: Option<Pong>,
    ping: bool,
    closing: Closing,
    frame: Frame,
    /// The program was not told of the last byte committed.
    owed: bool,
    prepared: Prepared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// `close` was not called.
    Open,
    /// Close waits for a frame boundary.
    Queued(u16),
    /// The first byte of Close is out, or there is none in this dialect.
    Begun,
}

/// The frame that is on the wire, not counting what waits in `head`.
#[derive(Clone, Copy, Debug)]
enum Frame {
    /// None.
    Boundary,
    /// RFC 6455: `left` bytes of the announced payload, at least one, are not sent.
    Verbatim { left: usize },
    /// RFC 6455 with base64: `bytes` of those whose characters were announced, at least one, are not sent.
    Base64 { bytes: usize, carry: Carry },
    /// hixie: `00` is out and nothing else.
    Hixie,
}

/// What was prepared last and is not reported. The first four are the lengths of the parts of `head` behind the rests,
/// in their order.
#[derive(Clone, Copy, Debug, Default)]
struct Prepared {
    pong: u16,
    ping: u16,
    close: u16,
    header: u16,
    /// Bytes of payload behind the head, as the program counts them but for the one owed.
    payload: usize,
    /// Characters that encode them.
    chars: usize,
    /// Bits left over behind these characters.
    carry: Carry,
    /// The payload given begins with the byte owed.
    owed: bool,
}

variants!(Closing { 1 => Open, 2 => Queued(code), 3 => Begun });
variants!(Frame { 1 => Boundary, 2 => Verbatim { left }, 3 => Base64 { bytes, carry }, 4 => Hixie });

/// A preparation that is not reported counts as not sent, and is not written down.
impl Field for Sender {
    fn put(&self, out: &mut Out) {
        let mut sender = self.clone();
        sender.commit_head(0);
        let Sender { dialect, encoding, head, pong, ping, closing, frame, owed, prepared: _ } = &sender;
        dialect.put(out);
        encoding.put(out);
        head.put(out);
        pong.put(out);
        ping.put(out);
        closing.put(out);
        frame.put(out);
        owed.put(out);
    }

    fn get(input: &mut &[u8]) -> Option<Self> {
        Some(Sender {
            dialect: Field::get(input)?,
            encoding: Field::get(input)?,
            head: Field::get(input)?,
            pong: Field::get(input)?,
            ping: Field::get(input)?,
            closing: Field::get(input)?,
            frame: Field::get(input)?,
            owed: Field::get(input)?,
            prepared: Prepared::default(),
        })
    }
}

impl Prepared {
    /// Bytes of it in `head`.
    fn in_head(&self) -> usize {
        usize::from(self.pong + self.ping + self.close + self.header)
    }
}

impl Sender {
    /// The most payload of one frame, in bytes.
    pub const MAX_FRAME: usize = 65536;

    /// The state right after the opening handshake. hixie is always [`Encoding::Base64`].
    pub fn new(dialect: Dialect, encoding: Encoding) -> Self {
        let encoding = match dialect {
            Dialect::Hixie75 | Dialect::Hixie76 => Encoding::Base64,
            Dialect::Rfc6455 => encoding,
        };
        Sender {
            dialect,
            encoding,
            head: Head::new(),
            pong: None,
            ping: false,
            closing: Closing::Open,
            frame: Frame::Boundary,
            owed: false,
            prepared: Prepared::default(),
        }
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How payload travels.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// A stream that is over, with nothing left to send: what stands for one that another process writes
    /// ([`crate::Handover`]).
    pub fn over() -> Self {
        Sender { closing: Closing::Begun, ..Sender::new(Dialect::Rfc6455, Encoding::Binary) }
    }

    /// Whether payload travels as it is, behind a head ([`Sender::transmit_head`]), or must be encoded
    /// ([`Sender::transmit_encoded`]).
    pub fn is_verbatim(&self) -> bool {
        self.encoding == Encoding::Binary
    }

    /// Queues a pong; an unsent older one is replaced. Ignored for hixie, and once Close is under way.
    pub fn queue_pong(&mut self, pong: &Pong) {
        if self.dialect == Dialect::Rfc6455 && self.closing != Closing::Begun {
            self.pong = Some(pong.clone());
        }
    }

    /// Queues a ping without payload, which a client must answer (RFC 6455 section 5.5.2); one that is queued already is enough.
    /// Ignored for hixie, which has none, and once Close is under way.
    pub fn queue_ping(&mut self) {
        self.ping |= self.dialect == Dialect::Rfc6455 && self.closing != Closing::Begun;
    }

    /// Queues Close (RFC 6455: with `code`; hixie-76: `FF 00`; hixie-75: nothing on the wire). Idempotent: the first
    /// code counts. No frame is begun afterwards; an open one may still be filled, and Close waits for its end.
    pub fn close(&mut self, code: u16) {
        if self.closing == Closing::Open {
            self.closing = match self.dialect {
                Dialect::Hixie75 => Closing::Begun,
                Dialect::Hixie76 | Dialect::Rfc6455 => Closing::Queued(code),
            };
        }
    }

    /// Whether [`Sender::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.closing != Closing::Open
    }

    /// Whether Close is completely out. hixie-75 has none: at once, but for a tail that waits.
    pub fn is_closed(&self) -> bool {
        self.closing == Closing::Begun && self.waiting() == 0
    }

    /// Whether unsent rests, a pong or Close could go out at this point without payload.
    pub fn wants_transmit(&self) -> bool {
        self.waiting() > 0
            || match self.frame {
                // A preparation that is not reported holds pong and ping in `head`.
                Frame::Boundary => {
                    let Prepared { pong, ping, .. } = self.prepared;
                    self.pong.is_some() || self.ping || pong + ping > 0 || self.close_is_queued()
                }
                Frame::Hixie => self.close_is_queued(),
                Frame::Verbatim { .. } | Frame::Base64 { .. } => false,
            }
    }

    /// Prepares what may go out without payload: unsent rests, and at a frame boundary pong and Close. Empty if there is
    /// nothing. To be reported with [`Sender::transmitted`].
    pub fn transmit_control(&mut self) -> Head {
        self.prepare();
        self.head.clone()
    }

    /// Verbatim: prepares to send up to `len` (> 0) bytes of payload. Returns what goes in front of them, and how many of
    /// them may follow: those that an open frame lacks, else a new frame of at most [`Sender::MAX_FRAME`].
    ///
    /// That number is 0 only if `len` is 0, if no frame may begin because of [`Sender::close`], or if payload must be
    /// encoded. To be reported with [`Sender::transmitted`].
    pub fn transmit_head(&mut self, len: usize) -> (&Head, usize) {
        self.prepare();
        self.prepared.payload = match (self.encoding, self.frame) {
            (Encoding::Binary, Frame::Verbatim { left }) => len.min(left),
            (Encoding::Binary, Frame::Boundary) if len > 0 && !self.is_closing() => {
                let count = len.min(Self::MAX_FRAME);
                self.prepared.header = self.head.push_header(head::BINARY, count);
                count
            }
            _ => 0,
        };
        (&self.head, self.prepared.payload)
    }

    /// Verbatim: writes the frame of a payload of 1 to 125 bytes to the front of `out`, and returns it. `None` if the payload is not
    /// of that kind, if anything goes out in front of it, if no frame may begin, or if `out` is too small.
    ///
    /// Where the kernel takes all of it, nothing is to be reported: the next frame begins behind it, as this one did. Where it takes
    /// less, the same bytes are prepared with [`Sender::transmit_head`] and reported with [`Sender::transmitted`].
    #[inline]
    pub fn short_frame<'a>(&self, payload: &[u8], out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let idle = self.encoding == Encoding::Binary
            && matches!(self.frame, Frame::Boundary)
            && self.closing == Closing::Open
            && self.head.is_empty()
            && self.pong.is_none()
            && !self.ping;
        if !idle || !(1..=head::SHORT).contains(&payload.len()) {
            return None;
        }
        let frame = out.get_mut(..payload.len() + 2)?;
        let [first, second, rest @ ..] = frame else { return None };
        (*first, *second) = (head::BINARY, payload.len() as u8);
        rest.copy_from_slice(payload);
        Some(frame)
    }

    /// The kernel took the first `sent` bytes of what [`Sender::transmit_head`] or [`Sender::transmit_control`] prepared:
    /// the head, then payload. Commits exactly that and returns how many bytes of the payload the program is to be told.
    /// 0 with `sent` 0 leaves everything as before the preparation.
    pub fn transmitted(&mut self, sent: usize) -> usize {
        let prepared = self.prepared;
        let committed = self.commit_head(sent);
        if committed.header_begun {
            self.frame = Frame::Verbatim { left: prepared.payload };
        }
        let Frame::Verbatim { left } = self.frame else {
            return 0;
        };
        let count = committed.behind.min(prepared.payload);
        self.frame = match left - count {
            0 => Frame::Boundary,
            left => Frame::Verbatim { left },
        };
        count
    }

    /// Whether Close waits to be begun.
    fn close_is_queued(&self) -> bool {
        matches!(self.closing, Closing::Queued(_))
    }

    /// Length of the rests that must go out before anything else.
    fn waiting(&self) -> usize {
        self.head.len().saturating_sub(self.prepared.in_head())
    }

    /// Begins a preparation: forgets one that was not reported, then puts pong and Close behind the rests.
    fn prepare(&mut self) {
        if self.prepared.in_head() == 0 {
            self.prepared = Prepared::default();
        } else {
            self.commit_head(0);
        }
        match self.frame {
            Frame::Boundary => {
                if let Some(pong) = &self.pong {
                    self.prepared.pong = self.head.push_pong(pong);
                    self.pong = None;
                }
                if std::mem::take(&mut self.ping) {
                    self.prepared.ping = self.head.push_ping();
                }
                if let Closing::Queued(code) = self.closing {
                    self.prepared.close = match self.dialect {
                        Dialect::Rfc6455 => self.head.push_close(code),
                        Dialect::Hixie75 | Dialect::Hixie76 => self.head.push(&[0xff, 0x00]),
                    };
                }
            }
            // The frame of which only `00` is out ends as an empty one.
            Frame::Hixie if self.close_is_queued() => self.prepared.close = self.head.push(&[0xff, 0xff, 0x00]),
            Frame::Hixie | Frame::Verbatim { .. } | Frame::Base64 { .. } => {}
        }
    }

    /// The kernel took `sent` bytes of what was prepared: commits what of them lies in the head. The part that is cut
    /// keeps its rest; parts of which nothing went out are as before the preparation.
    fn commit_head(&mut self, sent: usize) -> Committed {
        let rest = self.waiting();
        let Prepared { pong, ping, close, header, .. } = std::mem::take(&mut self.prepared);
        let pong_end = rest + usize::from(pong);
        let ping_end = pong_end + usize::from(ping);
        let close_end = ping_end + usize::from(close);
        let header_end = close_end + usize::from(header);
        if pong > 0 && sent <= rest && self.pong.is_none() {
            self.pong = self.head.pong_at(rest..pong_end);
        }
        self.ping |= ping > 0 && sent <= pong_end;
        if close > 0 && sent > ping_end {
            self.closing = Closing::Begun;
            (self.pong, self.ping) = (None, false);
            self.frame = Frame::Boundary;
        }
        let ends = [rest, pong_end, ping_end, close_end, header_end];
        let end = ends.into_iter().find(|end| sent <= *end).unwrap_or(sent);
        self.head.keep(sent..end);
        Committed { header_begun: header > 0 && sent > close_end, behind: sent.saturating_sub(header_end) }
    }
}

/// What [`Sender::commit_head`] found.
struct Committed {
    /// The first byte of the header of a frame is out.
    header_begun: bool,
    /// Bytes that went out behind the head.
    behind: usize,
}
