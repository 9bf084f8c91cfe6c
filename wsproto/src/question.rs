//! What the library asks a companion about the client's socket, which is the companion's: getsockopt(2) and setsockopt(2).
//!
//! Each question, and each answer, is one message. Both processes are on one machine, so levels, names and values are those of
//! its kernel; the numbers around them are big-endian.

/// The longest value of an option; the kernel's longest of TCP is a quarter of that.
pub const LONGEST: usize = 1024;

/// Numbers in front of the value.
const HEAD: usize = 4;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// getsockopt(2) with so much room for the value.
    Get {
        /// The protocol.
        level: i32,
        /// The option.
        name: i32,
        /// Bytes.
        room: usize,
    },
    /// setsockopt(2).
    Set {
        /// The protocol.
        level: i32,
        /// The option.
        name: i32,
        /// As the program gave it.
        value: &'a [u8],
    },
}

/// An answer: the value of the option, empty if it was set, or errno(3).
pub type Answer<'a> = Result<&'a [u8], i32>;

/// A message on its way.
pub struct Message {
    bytes: [u8; 4 * HEAD + LONGEST],
    len: usize,
}

impl Message {
    /// Room for one that is to be received.
    pub const MAX: usize = 4 * HEAD + LONGEST;

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn new<const N: usize>(numbers: [i32; N], value: &[u8]) -> Option<Self> {
        let mut message = Message { bytes: [0; Self::MAX], len: 4 * N + value.len() };
        let (head, rest) = message.bytes.split_at_mut_checked(4 * N)?;
        for (place, number) in head.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        rest.get_mut(..value.len())?.copy_from_slice(value);
        Some(message)
    }
}

impl<'a> Question<'a> {
    /// Writes it down; `None` if the value is longer than any is.
    pub fn encode(&self) -> Option<Message> {
        match *self {
            Question::Get { level, name, room } => {
                Message::new([0, level, name, i32::try_from(room.min(LONGEST)).ok()?], &[])
            }
            Question::Set { level, name, value } => Message::new([1, level, name, 0], value),
        }
    }

    /// Reads it back.
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (head, value) = message.split_at_checked(4 * HEAD)?;
        let mut numbers = head.as_chunks().0.iter().map(|number| i32::from_be_bytes(*number));
        let (kind, level, name) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let room = usize::try_from(numbers.next()?).ok().filter(|room| *room <= LONGEST)?;
        match (kind, value) {
            (0, []) => Some(Question::Get { level, name, room }),
            (1, value) => Some(Question::Set { level, name, value }),
            _ => None,
        }
    }
}

/// Writes an answer down; `None` if the value is longer than any is.
pub fn encode_answer(answer: Answer<'_>) -> Option<Message> {
    match answer {
        Ok(value) => Message::new([0], value),
        Err(errno) => Message::new([errno], &[]),
    }
}

/// Reads an answer back.
pub fn decode_answer(message: &[u8]) -> Option<Answer<'_>> {
    let (errno, value) = message.split_first_chunk()?;
    Some(match i32::from_be_bytes(*errno) {
        0 => Ok(value),
        errno => Err(errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_their_messages() {
        let long = [7; LONGEST];
        for question in [
            Question::Get { level: 6, name: 11, room: 256 },
            Question::Get { level: -1, name: i32::MAX, room: 0 },
            Question::Set { level: 0, name: 1, value: &[] },
            Question::Set { level: 6, name: 4, value: &long },
        ] {
            assert_eq!(Question::decode(question.encode().unwrap().as_slice()), Some(question));
        }
        for answer in [Ok(&[][..]), Ok(&long), Err(92)] {
            assert_eq!(decode_answer(encode_answer(answer).unwrap().as_slice()), Some(answer));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let too_long = [0; LONGEST + 1];
        assert!(Question::Set { level: 6, name: 4, value: &too_long }.encode().is_none());
        assert!(encode_answer(Ok(&[0; Message::MAX])).is_none());
        let room = Question::Get { level: 6, name: 4, room: usize::MAX }.encode().unwrap();
        assert_eq!(Question::decode(room.as_slice()), Some(Question::Get { level: 6, name: 4, room: LONGEST }));
        let get = Question::Get { level: 6, name: 4, room: 4 }.encode().unwrap();
        for len in 0..get.as_slice().len() {
            assert_eq!(Question::decode(&get.as_slice()[..len]), None);
        }
        let mut strange = get.as_slice().to_vec();
        strange[3] = 2;
        assert_eq!(Question::decode(&strange), None);
        assert_eq!(decode_answer(&[0; 3]), None);
    }
}
