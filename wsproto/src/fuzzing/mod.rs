//! What the fuzz targets run, one function each. The unit tests run the same functions over the seeds in `fuzz/seeds`
//! and over mutations of them.
//!
//! Each function reads arbitrary bytes as operations and data, and fails an assertion where the crate breaks a promise.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    reason = "test support: an index out of range or a panic is the finding"
)]

pub mod peer;
mod receiver;
mod request;
mod sender;

#[cfg(test)]
mod tests;

use crate::Handover;

pub use receiver::{Outcome, frames_hixie, frames_rfc6455, frames_rfc6455_base64, receive_all, receiver_ops};
pub use request::request_head;
pub use sender::sender_ops;

/// What another process makes of a connection that is handed over.
pub fn handed_over(receiver: &crate::Receiver, sender: &crate::Sender) -> (crate::Receiver, crate::Sender) {
    let (receiver, sender) = (receiver.clone(), sender.clone());
    let encoded = Handover { receiver, sender, broken: false, received: 0, sent: 0 }.encode();
    let Handover { receiver, sender, .. } = Handover::decode(encoded.as_slice()).expect("what was encoded decodes");
    (receiver, sender)
}

/// Arbitrary bytes as a source of numbers; zeros once they are used up.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    /// A length: mostly small, sometimes a few thousand, rarely more than a frame may have.
    pub fn length(&mut self) -> usize {
        match self.byte() {
            short @ 0..=0xbf => usize::from(short),
            0xff => 70_000,
            long => usize::from(long & 0x3f) << 6 | usize::from(self.byte()),
        }
    }

    /// The first `count` of the bytes left, and all that follow them.
    pub fn split(self, count: usize) -> (Choices<'a>, &'a [u8]) {
        let (choices, rest) = self.0.split_at(count.min(self.0.len()));
        (Choices(choices), rest)
    }
}
