//! One connection of a torture client: sends and checks the endless pattern that both directions carry.
//!
//! Contract: every byte is checked by its position; what is sent beside the pattern carries nothing to the program.

use std::thread;

use wstests::{Client, End, Pending, Rng, Server, Wire};

/// The byte at `position` of either direction of a connection; the same as in `apps/common.h`.
fn pattern(position: usize) -> u8 {
    (position * 31 + (position >> 8) * 7 + 11) as u8
}

fn stretch(position: usize, length: usize) -> Vec<u8> {
    (position..position + length).map(pattern).collect()
}

/// A connection and how far its two directions are.
pub struct Peer {
    /// The connection.
    pub client: Client,
    wire: Wire,
    sent: usize,
    got: usize,
    /// What is left of a frame that was begun.
    open: Vec<u8>,
}

impl Peer {
    /// Opens the connection, its handshake included; `seed` is that of its keys and masks.
    pub fn connect(server: &Server, wire: Wire, seed: u64) -> Self {
        let client =
            Client::builder(wire).seed(seed).connect(server.addr()).unwrap_or_else(|error| panic!("connect: {error}"));
        Self::of(client, wire)
    }

    /// Completes a handshake.
    pub fn enter(pending: Pending, wire: Wire) -> Self {
        Self::of(pending.finish().unwrap_or_else(|error| panic!("enter: {error}")), wire)
    }

    fn of(client: Client, wire: Wire) -> Self {
        Self { client, wire, sent: 0, got: 0, open: Vec::new() }
    }

    fn next(&mut self, length: usize) -> Vec<u8> {
        let bytes = stretch(self.sent, length);
        self.sent += length;
        bytes
    }

    /// Sends the next `length` bytes, cut and mixed with noise in every way.
    pub fn send(&mut self, length: usize, rng: &mut Rng) {
        let bytes = self.next(length);
        self.client.send_split(&bytes, rng);
    }

    /// Sends the next `length` bytes in one frame.
    pub fn whole(&mut self, length: usize) {
        let bytes = self.next(length);
        self.client.send(&bytes);
    }

    /// Sends one whole frame without payload.
    pub fn ping(&mut self) {
        self.client.raw(ping(self.wire));
    }

    /// Reads `length` bytes and checks them.
    pub fn expect(&mut self, length: usize) {
        let got = self.client.read_exact(length);
        self.verify(&got);
    }

    fn verify(&mut self, got: &[u8]) {
        let wrong = got.iter().enumerate().find(|&(at, &byte)| byte != pattern(self.got + at));
        assert_eq!(wrong, None, "the first wrong byte after {}", self.got);
        self.got += got.len();
    }

    /// Sends `left` bytes and expects them back: portions small enough for the buffers on the way, so that neither side waits for the other for ever.
    pub fn echo(&mut self, mut left: usize, rng: &mut Rng) {
        while left > 0 {
            let portion = rng.between(1, 4000).min(left);
            self.send(portion, rng);
            self.expect(portion);
            left -= portion;
        }
    }

    /// Reads as many `a` as there are, then "the end" and `last`.
    pub fn until(&mut self, last: u8) {
        let got = self.client.read_until(last);
        let words = [b"the end", &[last][..]].concat();
        let body = got.strip_suffix(&words[..]).expect("the end");
        assert!(body.iter().all(|&byte| byte == b'a'), "foreign bytes among {}", body.len());
    }

    /// Sends and expects `length` bytes at the same time.
    pub fn duplex(&mut self, length: usize, rng: &mut Rng) {
        let bytes = self.next(length);
        let got = self.client.exchange(&bytes, rng, length);
        self.verify(&got);
    }

    /// Reads `left` bytes in small portions.
    pub fn slow(&mut self, mut left: usize, rng: &mut Rng) {
        while left > 0 {
            let portion = rng.between(1, 20_000).min(left);
            self.expect(portion);
            left -= portion;
            thread::yield_now();
        }
    }

    /// Sends the first part of a frame without payload, and nothing of it on plain TCP.
    pub fn half(&mut self, rng: &mut Rng) {
        let frame = empty(self.wire, rng);
        let at = rng.between(0, frame.len());
        self.client.raw(&frame[..at]);
        self.open = frame[at..].to_vec();
    }

    /// Sends the rest of the frame that [`Peer::half`] began.
    pub fn rest(&mut self) {
        self.client.raw(&std::mem::take(&mut self.open));
    }

    /// Sends frames without payload, each in two parts, for as long as `quiet` says; it waits a little itself.
    pub fn noise(&mut self, rng: &mut Rng, mut quiet: impl FnMut() -> bool) {
        while quiet() {
            self.half(rng);
            // The pause is as long as the server is silent, so that it may see the half by itself.
            quiet();
            self.rest();
        }
    }

    /// Nothing may come before the end.
    pub fn end(&mut self) -> End {
        let rest = self.client.read_to_end();
        assert!(rest.is_empty(), "{} bytes that nobody expects before the end", rest.len());
        self.client.end().cloned().unwrap_or(End::Cut)
    }

    /// Reads `count` records of each writer: whole ones, and each writer's in their order.
    pub fn records(&mut self, writers: usize, count: usize, length: usize) {
        let mut next = vec![0; writers];
        for _ in 0..writers * count {
            let record = self.client.read_exact(length);
            let (writer, number) = (usize::from(record[0]), usize::from(record[1]) << 8 | usize::from(record[2]));
            assert_eq!(next.get(writer), Some(&number), "record {number} of writer {writer}");
            next[writer] += 1;
            let body = (writer * 16 + number % 16) as u8;
            assert!(record[3..].iter().all(|&byte| byte == body), "record {number} of {writer} is torn: {record:02x?}");
        }
    }
}

/// A frame that carries nothing to the program.
fn empty(wire: Wire, rng: &mut Rng) -> Vec<u8> {
    let choose = |choices: &[&[u8]], rng: &mut Rng| choices[rng.between(0, choices.len() - 1)].to_vec();
    match wire {
        Wire::Plain => Vec::new(),
        Wire::Hixie75 | Wire::Hixie76 => choose(&[&[0x00, 0xFF], &[0x80, 0x03, 1, 2, 3], &[0x81, 0x80, 0x00]], rng),
        Wire::Rfc6455 | Wire::Rfc6455Base64 => {
            let data = if wire == Wire::Rfc6455 { 0x82 } else { 0x81 };
            // A ping with a payload, one without, a pong, an empty message, and one in two empty fragments. The keys are
            // whatever they are: only the ping's payload is masked with one, and it may be anything.
            choose(
                &[
                    &[0x89, 0x85, 9, 8, 7, 6, b'n', b'o', b'i', b's', b'e'],
                    &[0x89, 0x80, 1, 2, 3, 4],
                    &[0x8A, 0x80, 5, 6, 7, 8],
                    &[data, 0x80, 4, 3, 2, 1],
                    &[data & 0x0F, 0x80, 4, 3, 2, 1, 0x80, 0x80, 0, 0, 0, 0],
                ],
                rng,
            )
        }
    }
}

/// One frame that carries nothing, whole: a ping where there are pings.
fn ping(wire: Wire) -> &'static [u8] {
    match wire {
        Wire::Plain => &[],
        Wire::Hixie75 | Wire::Hixie76 => &[0x00, 0xFF],
        Wire::Rfc6455 | Wire::Rfc6455Base64 => &[0x89, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'],
    }
}
