//! From the program to the client: payload is read, frames are sent.

use std::io::{ErrorKind, IoSlice};
use std::ops::Range;

use wsproto::{Pong, Sender};

use super::{NET, PROGRAM, Step, sys};

/// Close code of a program that ended the connection, RFC 6455 section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

/// Room to encode a full frame in, with what goes in front of it.
const ENCODED: usize = 88 * 1024;

/// The direction out.
pub struct Outbound {
    sender: Sender,
    buffer: Box<[u8]>,
    /// Bytes of `buffer` that are not sent.
    payload: Range<usize>,
    /// Where base64 is made; there once it is needed.
    encoded: Box<[u8]>,
    /// The code to close with when the program has ended the stream.
    code: u16,
    /// Payload bytes that are still taken from the program, and the code to close with behind them.
    last: Option<(usize, u16)>,
    /// The program writes no more, or nothing more is taken from it.
    ended: bool,
    /// Our side of the connection is shut down.
    hung_up: bool,
    /// The network has failed.
    broken: bool,
    sent: u64,
}

impl Outbound {
    /// Goes on where `sender` stands; `sent` bytes of payload have been sent.
    pub fn new(sender: Sender, sent: u64) -> Self {
        let encoded = if sender.is_verbatim() { 0 } else { ENCODED };
        Outbound {
            ended: sender.is_closing(),
            sender,
            buffer: vec![0; Sender::MAX_FRAME].into(),
            payload: 0..0,
            encoded: vec![0; encoded].into(),
            code: NORMAL_CLOSURE,
            last: None,
            hung_up: false,
            broken: false,
            sent,
        }
    }

    /// A pong to send.
    pub fn queue_pong(&mut self, pong: &Pong) {
        self.sender.queue_pong(pong);
    }

    /// Payload bytes sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The client has ended the stream: `code` is to answer its Close when the program has ended it, too.
    pub fn answer_with(&mut self, code: u16) {
        self.code = code;
    }

    /// The client has ended the stream: no more than `bytes` are taken from the program, then Close is sent with `code`.
    pub fn finish(&mut self, code: u16, bytes: usize) {
        self.last.get_or_insert((bytes, code));
    }

    /// There is nobody to send to.
    pub fn give_up(&mut self) {
        self.broken = true;
        self.ended = true;
        self.payload = 0..0;
        // Whatever the program writes fails from here on.
        sys::shutdown(PROGRAM, libc::SHUT_RD);
    }

    /// Whether the network has failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// One piece of work.
    pub fn step(&mut self) -> Step {
        if self.broken {
            return Step::Over;
        }
        if !self.payload.is_empty() {
            return self.send_payload();
        }
        // What needs no payload goes out wherever a frame boundary lets it.
        if self.sender.wants_transmit() {
            return self.send_control();
        }
        if self.ended {
            return self.say_close();
        }
        let room = match self.last {
            Some((left, _)) => self.buffer.get_mut(..left.min(Sender::MAX_FRAME)).unwrap_or_default(),
            None => &mut self.buffer,
        };
        if room.is_empty() {
            self.ended = true;
            return Step::Busy;
        }
        match sys::recv(PROGRAM, room) {
            Ok(0) => self.ended = true,
            Ok(n) => {
                self.payload = 0..n;
                if let Some((left, _)) = &mut self.last {
                    *left -= n;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.last.is_none() => return Step::Input,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // ECONNRESET: the program has closed with bytes unread. What it had written has been read.
            Err(_) => self.ended = true,
        }
        Step::Busy
    }

    /// Everything is sent: Close, and the end of our side behind it.
    fn say_close(&mut self) -> Step {
        if !self.sender.is_closing() {
            self.sender.close(self.last.map_or(self.code, |(_, code)| code));
            return Step::Busy;
        }
        if !self.hung_up {
            self.hung_up = true;
            sys::shutdown(NET, libc::SHUT_WR);
            if self.last.is_some() {
                // The client closed the WebSocket, in both directions: a write is EPIPE.
                sys::shutdown(PROGRAM, libc::SHUT_RD);
            }
        }
        Step::Over
    }

    /// Pongs, Close, and rests.
    fn send_control(&mut self) -> Step {
        let head = self.sender.transmit_control();
        let sent = sys::send(NET, &[IoSlice::new(head.as_slice())]);
        self.sender.transmitted(*sent.as_ref().unwrap_or(&0));
        self.judge(sent, head.as_slice().len())
    }

    /// A frame of what the program wrote, or what an open one lacks.
    fn send_payload(&mut self) -> Step {
        let payload = self.buffer.get(self.payload.clone()).unwrap_or_default();
        let (sent, prepared, told) = if self.sender.is_verbatim() {
            let (head, count) = self.sender.transmit_head(payload.len());
            let head = head.as_slice();
            let pieces = [IoSlice::new(head), IoSlice::new(payload.get(..count).unwrap_or_default())];
            let prepared = head.len() + count;
            let sent = sys::send(NET, &pieces);
            let told = self.sender.transmitted(*sent.as_ref().unwrap_or(&0));
            (sent, prepared, told)
        } else {
            let len = self.sender.transmit_encoded(payload, &mut self.encoded);
            let out = self.encoded.get(..len).unwrap_or_default();
            let sent = if len == 0 { Ok(0) } else { sys::send(NET, &[IoSlice::new(out)]) };
            let told = self.sender.transmitted_encoded(*sent.as_ref().unwrap_or(&0), out);
            (sent, len, told)
        };
        self.payload.start += told;
        self.sent += told as u64;
        if prepared == 0 && told == 0 {
            // Close is under way: no frame begins any more.
            self.payload = 0..0;
        }
        self.judge(sent, prepared)
    }

    /// What follows from a send of `prepared` bytes.
    fn judge(&mut self, sent: std::io::Result<usize>, prepared: usize) -> Step {
        match sent {
            Ok(n) if n == prepared => Step::Busy,
            Ok(_) => Step::Room,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Room,
            Err(error) if error.kind() == ErrorKind::Interrupted => Step::Busy,
            Err(_) => {
                self.give_up();
                Step::Over
            }
        }
    }
}
