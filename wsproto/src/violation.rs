//! The rules that a peer's frames can break, each with the close code that RFC 6455 section 7.4.1 gives it.

use std::fmt;

use crate::state::variants;

/// The rule that the peer broke. It ends the stream (RFC 6455 section 7.1.7, "Fail the WebSocket Connection").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set without an extension that defines it (section 5.2).
    ReservedBits,
    /// An opcode is not defined (section 5.2).
    UnknownOpcode(u8),
    /// A client's frame is not masked (section 5.1).
    Unmasked,
    /// A length is not in its shortest form (section 5.2).
    LengthNotMinimal,
    /// A length has its highest bit set (section 5.2), or, in hixie, does not fit 64 bits.
    LengthTooLarge,
    /// A control frame is longer than 125 bytes (section 5.5).
    ControlTooLong,
    /// A control frame is fragmented (section 5.5).
    ControlFragmented,
    /// A continuation frame continues nothing (section 5.4).
    NothingToContinue,
    /// A message begins inside a fragmented one (section 5.4).
    MessageInMessage,
    /// A Close frame's payload is a single byte (section 5.5.1).
    CloseTooShort,
    /// A Close frame carries a code that must not be sent (section 7.4).
    CloseCode(u16),
    /// A Close frame's reason is not UTF-8 (section 5.5.1).
    CloseReasonNotUtf8,
    /// A text message is not UTF-8 (section 8.1).
    TextNotUtf8,
    /// A binary frame on a connection of the subprotocol `base64`, which carries text frames.
    BinaryInBase64,
    /// A character, or padding where none belongs, breaks the base64 of a frame.
    NotBase64,
    /// A hixie frame, or an RFC 6455 message, ends inside a base64 quantum.
    Base64Cut,
}

variants!(Violation {
    1 => ReservedBits,
    2 => UnknownOpcode(value),
    3 => Unmasked,
    4 => LengthNotMinimal,
    5 => LengthTooLarge,
    6 => ControlTooLong,
    7 => ControlFragmented,
    8 => NothingToContinue,
    9 => MessageInMessage,
    10 => CloseTooShort,
    11 => CloseCode(value),
    12 => CloseReasonNotUtf8,
    13 => TextNotUtf8,
    14 => BinaryInBase64,
    15 => NotBase64,
    16 => Base64Cut,
});

impl Violation {
    /// The code that our Close frame carries.
    pub fn close_code(self) -> u16 {
        match self {
            Violation::ReservedBits
            | Violation::UnknownOpcode(_)
            | Violation::Unmasked
            | Violation::LengthNotMinimal
            | Violation::LengthTooLarge
            | Violation::ControlTooLong
            | Violation::ControlFragmented
            | Violation::NothingToContinue
            | Violation::MessageInMessage
            | Violation::CloseTooShort
            | Violation::CloseCode(_) => 1002,
            Violation::BinaryInBase64 => 1003,
            Violation::CloseReasonNotUtf8 | Violation::TextNotUtf8 | Violation::NotBase64 | Violation::Base64Cut => {
                1007
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::ReservedBits => "reserved bit set",
            Violation::UnknownOpcode(opcode) => return write!(f, "unknown opcode {opcode:#x}"),
            Violation::Unmasked => "frame not masked",
            Violation::LengthNotMinimal => "length not in its shortest form",
            Violation::LengthTooLarge => "length too large",
            Violation::ControlTooLong => "control frame over 125 bytes",
            Violation::ControlFragmented => "control frame fragmented",
            Violation::NothingToContinue => "continuation of no message",
            Violation::MessageInMessage => "message inside a fragmented message",
            Violation::CloseTooShort => "Close payload of one byte",
            Violation::CloseCode(code) => return write!(f, "invalid close code {code}"),
            Violation::CloseReasonNotUtf8 => "close reason not UTF-8",
            Violation::TextNotUtf8 => "text not UTF-8",
            Violation::BinaryInBase64 => "binary frame where base64 text is spoken",
            Violation::NotBase64 => "not base64",
            Violation::Base64Cut => "base64 cut short",
        })
    }
}

impl std::error::Error for Violation {}
