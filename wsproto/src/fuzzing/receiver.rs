//! A stream of frames comes to the same payload and the same end, however it is fed and whoever asks for it.

use super::{Choices, handed_over};
use crate::{Dialect, Encoding, End, Pong, Receiver, Sender};

/// Bytes: a stream of RFC 6455 frames with payload as it is.
pub fn frames_rfc6455(stream: &[u8]) {
    frames(Dialect::Rfc6455, Encoding::Binary, stream);
}

/// Bytes: a stream of RFC 6455 frames that carry base64.
pub fn frames_rfc6455_base64(stream: &[u8]) {
    frames(Dialect::Rfc6455, Encoding::Base64, stream);
}

/// Bytes: a stream of hixie frames.
pub fn frames_hixie(stream: &[u8]) {
    frames(Dialect::Hixie76, Encoding::Base64, stream);
}

/// Bytes: dialect, number of operations, operations, and a stream of frames that they are done to.
pub fn receiver_ops(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (dialect, encoding) = match choices.byte() % 3 {
        0 => (Dialect::Rfc6455, Encoding::Binary),
        1 => (Dialect::Rfc6455, Encoding::Base64),
        _ => (Dialect::Hixie75, Encoding::Base64),
    };
    let count = usize::from(choices.byte());
    let (choices, stream) = choices.split(count);
    let whole = receive_all(dialect, encoding, stream);
    assert_eq!(Queue::new(dialect, encoding, stream).drive(choices), whole);
}

/// What a stream of frames came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub payload: Vec<u8>,
    pub end: Option<End>,
    pub pong: Option<Pong>,
}

/// Feeds `stream` as a whole into a buffer that has room for all.
pub fn receive_all(dialect: Dialect, encoding: Encoding, stream: &[u8]) -> Outcome {
    let mut receiver = Receiver::new(dialect, encoding);
    let mut payload = vec![0; stream.len()];
    let received = receiver.receive(&mut stream.to_vec(), &mut payload);
    assert_eq!(received.consumed, stream.len(), "there was room");
    payload.truncate(received.produced);
    Outcome { payload, end: receiver.end().copied(), pong: receiver.take_pong() }
}

/// The whole stream, the stream byte by byte, and the stream into a buffer of one byte.
fn frames(dialect: Dialect, encoding: Encoding, stream: &[u8]) {
    let whole = receive_all(dialect, encoding, stream);
    let mut bytes = Queue::new(dialect, encoding, stream);
    let mut rooms = Queue::new(dialect, encoding, stream);
    while bytes.receive(1, 16) {}
    while rooms.receive(usize::MAX, 1) {}
    assert_eq!(bytes.outcome(), whole);
    assert_eq!(rooms.outcome(), whole);
    let mut early = Queue::new(dialect, encoding, stream);
    while early.header() || early.overhead() || early.verbatim(7) || early.receive(9, 2) {}
    assert_eq!(early.outcome(), whole);
}

/// A receiver and the queue in front of it, as a kernel holds it.
struct Queue<'a> {
    receiver: Receiver,
    stream: &'a [u8],
    payload: Vec<u8>,
    pong: Option<Pong>,
}

impl<'a> Queue<'a> {
    fn new(dialect: Dialect, encoding: Encoding, stream: &'a [u8]) -> Self {
        Queue { receiver: Receiver::new(dialect, encoding), stream, payload: Vec::new(), pong: None }
    }

    /// Does the operations, then takes what is left.
    fn drive(mut self, mut choices: Choices) -> Outcome {
        while !choices.is_empty() {
            match choices.byte() % 6 {
                0 => drop(self.header() || self.overhead()),
                1 => drop(self.verbatim(choices.length())),
                2 => self.take_pong(),
                3 => self.peek(choices.length(), choices.length()),
                _ => drop(self.receive(choices.length(), choices.length())),
            }
        }
        while self.receive(usize::MAX, 100) {}
        self.outcome()
    }

    /// The header of a data frame alone comes to the same as without room for what is behind it. `false`: there is none.
    fn header(&mut self) -> bool {
        let front = &self.stream[..self.stream.len().min(64)];
        let mut twin = self.receiver.clone();
        let size = self.receiver.receive_header(front);
        if let Some(size) = size {
            let received = twin.receive(&mut front.to_vec(), &mut []);
            assert_eq!((received.consumed, received.produced), (size, 0));
            self.stream = &self.stream[size..];
        }
        assert_eq!(format!("{:?}", self.receiver), format!("{twin:?}"));
        size.is_some()
    }

    /// What is certainly no payload is taken without room for any. `false`: there is none.
    fn overhead(&mut self) -> bool {
        let count = self.receiver.overhead().min(self.stream.len());
        let received = self.receiver.receive(&mut self.stream[..count].to_vec(), &mut []);
        assert_eq!((received.consumed, received.produced), (count, 0), "overhead is no payload");
        self.stream = &self.stream[count..];
        self.check();
        count > 0
    }

    /// Payload as it is, at most `limit` bytes of it, in place. `false`: there is none.
    fn verbatim(&mut self, limit: usize) -> bool {
        let count = usize::try_from(self.receiver.verbatim()).unwrap_or(usize::MAX).min(limit).min(self.stream.len());
        let mut payload = self.stream[..count].to_vec();
        let good = self.receiver.receive_verbatim(&mut payload);
        assert!(good == count || self.receiver.end().is_some());
        self.payload.extend_from_slice(&payload[..good]);
        self.stream = &self.stream[count..];
        self.check();
        count > 0
    }

    /// At most `limit` bytes into `room`. `false`: the stream is used up.
    fn receive(&mut self, limit: usize, room: usize) -> bool {
        let given = &self.stream[..limit.min(self.stream.len())];
        let (mut input, mut out) = (given.to_vec(), vec![0; room]);
        let ended = self.receiver.end().is_some();
        let received = self.receiver.receive(&mut input, &mut out);
        assert!(received.consumed <= input.len() && received.produced <= room);
        assert!(!ended || received.produced == 0, "nothing comes after the end");
        assert_eq!(input[received.consumed..], given[received.consumed..], "what is not consumed is not touched");
        if !given.is_empty() && room > 0 {
            assert!(received.consumed + received.produced > 0, "input and room make progress");
        }
        if received.consumed < given.len() {
            assert_eq!((received.produced, self.receiver.overhead()), (room, 0), "only payload without room stays");
        }
        self.payload.extend_from_slice(&out[..received.produced]);
        self.stream = &self.stream[received.consumed..];
        self.check();
        !self.stream.is_empty()
    }

    /// A clone that is fed tells what the receiver itself delivers.
    fn peek(&mut self, limit: usize, room: usize) {
        let input = &self.stream[..limit.min(self.stream.len())];
        let mut out = vec![0; room];
        let received = self.receiver.clone().receive(&mut input.to_vec(), &mut out);
        let before = self.payload.len();
        self.receive(limit, room);
        assert_eq!(self.payload[before..], out[..received.produced]);
    }

    fn take_pong(&mut self) {
        self.pong = self.receiver.take_pong().or(self.pong.take());
    }

    /// The next byte is either no payload or payload, in each state; and what follows is the same in another process.
    fn check(&mut self) {
        self.receiver = handed_over(&self.receiver, &Sender::new(Dialect::Hixie75, Encoding::Base64)).0;
        if self.receiver.end().is_some() || self.receiver.verbatim() > 0 {
            assert_eq!(self.receiver.overhead(), 0);
        }
    }

    fn outcome(mut self) -> Outcome {
        assert!(self.stream.is_empty());
        self.take_pong();
        let end = self.receiver.end().copied();
        if matches!(end, Some(End::Failed(_))) {
            self.pong = None;
        }
        Outcome { payload: self.payload, end, pong: self.pong }
    }
}
