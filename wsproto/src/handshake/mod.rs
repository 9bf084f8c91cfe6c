//! The server side of one opening handshake: a request in pieces of any size, a reply.
//!
//! A request is not parsed before its blank line is there, so that the work is linear however it is fed. What can be
//! told earlier is: a first byte or line that no request has, and a head that grows past its limit.

mod head;
mod hixie76;
mod origin;
mod refusal;
mod reply;
mod request;

#[cfg(test)]
mod tests;

use crate::dialect::{Dialect, Dialects, Encoding};
use crate::inline::Inline;
use head::Head;
pub use origin::{Origin, OriginError};
pub use refusal::{KeyFault, Refusal};
use request::Proof;

/// What the server accepts. Built once, shared by all handshakes.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The dialects that are spoken; a client of another one is refused with 426. Default: all.
    pub dialects: Dialects,
    /// The origins that are let in; others, and requests without one, are refused with 403. Empty (the default): any.
    pub origins: Vec<Origin>,
    /// The connection comes over TLS: hixie's Location is `wss`. Default: no.
    pub secure: bool,
    /// The most bytes of a request's head, its blank line and empty lines in front of it included; 431 beyond. Default: 8192.
    pub head_limit: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { dialects: Dialects::default(), origins: Vec::new(), secure: false, head_limit: 8192 }
    }
}

/// What came of a piece of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is needed.
    Incomplete,
    /// The handshake is complete once the reply is sent.
    Accepted(Box<Accepted>),
    /// The connection is to be closed once the reply is sent.
    Refused(Refusal),
}

/// All that is known of an accepted request. The strings are printable ASCII, each at most as long as the head limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The protocol revision chosen.
    pub dialect: Dialect,
    /// How payload travels in both directions.
    pub encoding: Encoding,
    /// The resource that the client asked for: path and query.
    pub path: String,
    /// The Host field.
    pub host: String,
    /// The Origin field; `Sec-WebSocket-Origin` in versions 8 and 7.
    pub origin: Option<String>,
    /// The subprotocol that the reply names; always one that was offered.
    pub subprotocol: Option<String>,
}

/// The server side of one opening handshake. Holds at most the head limit of heap while incomplete.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The head is not complete.
    Head(Head),
    /// hixie-76: the head is complete and good, the 8 bytes behind it are not.
    Key3 { accepted: Box<Accepted>, numbers: [u32; 2], key: Inline<8> },
    /// Accepted or refused.
    Done,
}

impl Default for State {
    fn default() -> Self {
        State::Head(Head::default())
    }
}

impl Handshake {
    /// A handshake of which nothing has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes from the network. Returns how many of them belong to the handshake, and what came of it.
    ///
    /// While [`Progress::Incomplete`] all of them do. What follows an accepted request (frames) is not counted and stays
    /// with the caller. On `Accepted` and on `Refused` the HTTP reply is appended to `reply`; the handshake is over then,
    /// and further calls take nothing and come to `Incomplete`.
    pub fn receive(&mut self, input: &[u8], policy: &Policy, reply: &mut Vec<u8>) -> (usize, Progress) {
        let mut taken = 0;
        let progress = match self.advance(input, &mut taken, policy, reply) {
            Ok(None) => Progress::Incomplete,
            Ok(Some(accepted)) => Progress::Accepted(accepted),
            Err(refusal) => {
                reply::refuse(&refusal, policy, reply);
                Progress::Refused(refusal)
            }
        };
        (taken, progress)
    }

    /// One step after the other, as far as `input` goes. The state is `Done` unless more is needed.
    fn advance(
        &mut self,
        input: &[u8],
        taken: &mut usize,
        policy: &Policy,
        reply: &mut Vec<u8>,
    ) -> Result<Option<Box<Accepted>>, Refusal> {
        let state = match std::mem::replace(&mut self.state, State::Done) {
            State::Head(mut head) => {
                let complete = head.receive(input, taken, policy.head_limit)?;
                if !complete {
                    self.state = State::Head(head);
                    return Ok(None);
                }
                let (accepted, proof) = request::judge(head.as_slice(), policy)?;
                match proof {
                    Proof::None => {
                        reply::accept(&accepted, policy, reply);
                        return Ok(Some(accepted));
                    }
                    Proof::Key(key) => {
                        reply::accept_key(&accepted, &key, reply);
                        return Ok(Some(accepted));
                    }
                    Proof::Numbers(numbers) => State::Key3 { accepted, numbers, key: Inline::new() },
                }
            }
            state @ (State::Key3 { .. } | State::Done) => state,
        };
        let State::Key3 { accepted, numbers, mut key } = state else {
            return Ok(None);
        };
        let rest = input.get(*taken..).unwrap_or_default();
        let piece = rest.get(..hixie76::KEY3 - key.len()).unwrap_or(rest);
        key.extend(piece);
        *taken += piece.len();
        if key.len() < hixie76::KEY3 {
            self.state = State::Key3 { accepted, numbers, key };
            return Ok(None);
        }
        reply::accept(&accepted, policy, reply);
        reply.extend_from_slice(&hixie76::digest(numbers, key.as_slice()));
        Ok(Some(accepted))
    }
}
