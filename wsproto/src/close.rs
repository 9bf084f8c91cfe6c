//! The payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use crate::state::fields;
use crate::violation::Violation;

/// What the peer's Close said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseReason {
    code: Option<u16>,
}

fields!(CloseReason { code });

impl CloseReason {
    /// A Close without a code: an empty RFC 6455 Close frame, or hixie's `FF 00`.
    pub(crate) const NONE: CloseReason = CloseReason { code: None };

    /// The peer's close code, if it sent one.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// Reads a Close frame's payload.
    ///
    /// # Errors
    /// One byte only, a code that must not be sent, a reason that is not UTF-8.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(CloseReason::NONE),
            // Section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
            [_] => Err(Violation::CloseTooShort),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Violation::CloseCode(code));
                }
                match std::str::from_utf8(reason) {
                    Ok(_) => Ok(CloseReason { code: Some(code) }),
                    Err(_) => Err(Violation::CloseReasonNotUtf8),
                }
            }
        }
    }
}

/// Section 7.4: 1004 is reserved, 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame";
/// 1012 to 1014 stand in the IANA registry that section 7.4.2 sets up, but not in the RFC: they are taken, and all
/// other codes below 3000 are not. 3000 to 4999 belong to frameworks and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
