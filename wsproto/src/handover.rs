//! A connection on its way to another process: what it is between two bytes of its stream, written down.
//!
//! The two processes may be of different builds, so the encoding names its version, and another version's is refused.

use crate::inline::Inline;
use crate::receive::Receiver;
use crate::send::Sender;
use crate::state::{Field, LONGEST, Out, fields};

/// The version of the encoding: to be raised whenever a field of any state changes.
const VERSION: u8 = 1;

/// Everything that is known of a connection, none of it payload.
///
/// # Encoding
///
/// The length of the whole in two bytes, big-endian, so that it can be read from the front of a stream; the version, 1; then
/// this struct's fields in their order. Numbers are big-endian, a `bool` or the presence of an `Option` is a byte 0 or 1, a
/// run of bytes has its length in two bytes in front, an enum is the byte that names the variant and the variant's fields.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The way in: dialect, half a header, phase of the mask, bytes left in the frame, held characters, an unsent pong, the
    /// end.
    pub receiver: Receiver,
    /// The way out: unsent rests, a pong, the frame that is open, the byte owed, Close.
    pub sender: Sender,
    /// The network has reported an error: there is nobody to speak to.
    pub broken: bool,
    /// Payload bytes delivered so far.
    pub received: u64,
    /// Payload bytes sent so far.
    pub sent: u64,
}

fields!(Handover { receiver, sender, broken, received, sent });

/// An encoded [`Handover`].
pub struct Encoded(Inline<LONGEST>);

impl Encoded {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Handover {
    /// Bytes in front that say how long the whole is.
    pub const PREFIX: usize = 2;
    /// The most bytes that the whole has.
    pub const MAX: usize = LONGEST;

    /// Writes it down.
    pub fn encode(&self) -> Encoded {
        let mut body = Out::new();
        VERSION.put(&mut body);
        self.put(&mut body);
        let mut whole = Inline::new();
        ((Self::PREFIX + body.len()) as u16).put(&mut whole);
        whole.extend(body.as_slice());
        Encoded(whole)
    }

    /// How long the whole is by its first bytes; `None` if that is no length that occurs.
    pub fn len(prefix: [u8; Self::PREFIX]) -> Option<usize> {
        let len = usize::from(u16::from_be_bytes(prefix));
        (Self::PREFIX..=Self::MAX).contains(&len).then_some(len)
    }

    /// Reads it back; `None` if `whole` is none, or of another version.
    pub fn decode(whole: &[u8]) -> Option<Self> {
        let (&prefix, mut body) = whole.split_first_chunk()?;
        if Self::len(prefix)? != whole.len() || u8::get(&mut body)? != VERSION {
            return None;
        }
        Self::get(&mut body).filter(|_| body.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, Encoding, Pong};

    fn fullest() -> Handover {
        let mut receiver = Receiver::new(Dialect::Rfc6455, Encoding::Binary);
        let control = |first| [&[first, 0xfd][..], &[0; 4 + 125]].concat();
        receiver.receive(&mut control(0x89), &mut []);
        receiver.receive(&mut control(0x89)[..130], &mut []);
        let mut sender = Sender::new(Dialect::Rfc6455, Encoding::Binary);
        let pong = Pong::new(&[1; 125]);
        sender.queue_pong(&pong);
        sender.transmit_control();
        sender.transmitted(1);
        sender.queue_pong(&pong);
        sender.transmit_head(70_000);
        Handover { receiver, sender, broken: true, received: u64::MAX, sent: 1 << 40 }
    }

    #[test]
    fn the_longest_has_room() {
        let encoded = fullest().encode();
        assert!((450..Handover::MAX - 200).contains(&encoded.as_slice().len()), "{}", encoded.as_slice().len());
        let decoded = Handover::decode(encoded.as_slice()).unwrap();
        assert_eq!((decoded.received, decoded.sent, decoded.broken), (u64::MAX, 1 << 40, true));
        assert_eq!(decoded.encode().as_slice(), encoded.as_slice());
    }

    #[test]
    fn what_is_cut_longer_or_of_another_version_is_refused() {
        let encoded = fullest().encode();
        let whole = encoded.as_slice();
        for cut in 0..whole.len() {
            assert!(Handover::decode(&whole[..cut]).is_none());
            // With a length that agrees.
            if let Some(front) = whole[..cut].get(2..) {
                let cut = [&(cut as u16).to_be_bytes()[..], front].concat();
                assert!(Handover::decode(&cut).is_none());
            }
        }
        assert!(Handover::decode(&[whole, &[0]].concat()).is_none());
        let mut other = whole.to_vec();
        other[2] += 1;
        assert!(Handover::decode(&other).is_none());
        assert_eq!(Handover::len([0, 1]), None);
        assert_eq!(Handover::len([0xff, 0xff]), None);
    }
}
