//! From the client to the program: frames are received, payload is written.

use std::io::{ErrorKind, IoSlice};
use std::ops::Range;

use wsproto::Receiver;

use super::{NET, PROGRAM, Step, sys};

/// Bytes received at a time.
const BUFFER: usize = 256 * 1024;

/// Runs of payload in one buffer that are written together.
const RUNS: usize = 32;

/// The direction in.
pub struct Inbound {
    receiver: Receiver,
    /// What was received; payload that travels as it is stays where it is and is unmasked there, base64 is decoded to the front
    /// of `text`.
    buffer: Box<[u8]>,
    text: Box<[u8]>,
    /// Bytes of `buffer` that the decoder has not seen.
    raw: Range<usize>,
    /// Payload that waits to be written, in order.
    runs: [Range<usize>; RUNS],
    waiting: Range<usize>,
    /// Whether the runs are in `text`.
    decoded: bool,
    /// The program does not read any more: payload is dropped.
    deaf: bool,
    /// The client sends no more.
    over: bool,
    /// The program has been told.
    told: bool,
    received: u64,
}

impl Inbound {
    /// Goes on where `receiver` stands; `received` bytes of payload have been delivered.
    pub fn new(receiver: Receiver, received: u64) -> Self {
        Inbound {
            receiver,
            buffer: vec![0; BUFFER].into(),
            text: Box::default(),
            raw: 0..0,
            runs: std::array::from_fn(|_| 0..0),
            waiting: 0..0,
            decoded: false,
            deaf: false,
            over: false,
            told: false,
            received,
        }
    }

    /// The decoder.
    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Payload bytes delivered.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The program does not read any more.
    pub fn be_deaf(&mut self) {
        self.deaf = true;
        self.waiting = 0..0;
    }

    /// Whether the program has been told of the end.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether nobody reads what comes.
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// One piece of work.
    pub fn step(&mut self) -> Step {
        if !self.waiting.is_empty() {
            return self.write();
        }
        if !self.raw.is_empty() && self.receiver.end().is_none() {
            self.digest();
            return Step::Busy;
        }
        if self.over || self.receiver.end().is_some() {
            if !self.told {
                self.told = true;
                sys::shutdown(PROGRAM, libc::SHUT_WR);
            }
            return Step::Over;
        }
        match sys::recv(NET, &mut self.buffer) {
            Ok(0) => self.over = true,
            Ok(n) => self.raw = 0..n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Input,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A reset, say: nothing more comes.
            Err(_) => self.over = true,
        }
        Step::Busy
    }

    /// Finds the payload in what was received.
    fn digest(&mut self) {
        let (mut count, mut filled) = (0, 0);
        self.decoded = false;
        while self.receiver.end().is_none()
            && let Some(input) = self.buffer.get_mut(self.raw.clone())
            && !input.is_empty()
        {
            let verbatim = usize::try_from(self.receiver.verbatim()).unwrap_or(usize::MAX).min(input.len());
            if verbatim > 0 {
                let Some(run) = self.runs.get_mut(count) else { break };
                let good = self.receiver.receive_verbatim(input.get_mut(..verbatim).unwrap_or_default());
                *run = self.raw.start..self.raw.start + good;
                self.raw.start += verbatim;
                count += 1;
                continue;
            }
            let received = self.receiver.receive(input, self.text.get_mut(filled..).unwrap_or_default());
            self.raw.start += received.consumed;
            filled += received.produced;
            if received.consumed == 0 && received.produced == 0 {
                if !self.text.is_empty() {
                    break;
                }
                // The first base64 that asks for room: as much as a full buffer decodes to.
                self.text = vec![0; BUFFER / 4 * 3].into();
            }
        }
        if let (1.., Some(run)) = (filled, self.runs.first_mut()) {
            (*run, count, self.decoded) = (0..filled, 1, true);
        }
        let bytes: usize = self.runs.iter().take(count).map(Range::len).sum();
        self.received += bytes as u64;
        self.waiting = if self.deaf { 0..0 } else { 0..count };
    }

    /// Writes payload to the program.
    fn write(&mut self) -> Step {
        let from = if self.decoded { &self.text } else { &self.buffer };
        let mut pieces = [IoSlice::new(&[]); RUNS];
        let runs = self.runs.get(self.waiting.clone()).unwrap_or_default();
        for (piece, run) in pieces.iter_mut().zip(runs) {
            *piece = IoSlice::new(from.get(run.clone()).unwrap_or_default());
        }
        let written = match sys::send(PROGRAM, pieces.get(..runs.len()).unwrap_or_default()) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Room,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Step::Busy,
            // It has closed, or shut down its reading: TCP would take the bytes and drop them.
            Err(_) => {
                self.be_deaf();
                return Step::Busy;
            }
        };
        let mut left = written;
        while let Some(run) = self.runs.get_mut(self.waiting.start).filter(|_| !self.waiting.is_empty()) {
            let len = run.len();
            let gone = left.min(len);
            run.start += gone;
            left -= gone;
            if gone < len {
                break;
            }
            self.waiting.start += 1;
        }
        Step::Busy
    }
}
