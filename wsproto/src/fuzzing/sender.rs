//! The invariant of sending: a program that resends what it was not told of, and a kernel that cuts anywhere, bring
//! every byte to the client in order, none twice; and nothing is sent that the program was not told of.

use super::{Choices, handed_over, peer};
use crate::{Dialect, Encoding, Pong, Receiver, Sender};

/// Bytes: dialect, then operations.
pub fn sender_ops(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (dialect, encoding) = match choices.byte() % 4 {
        0 => (Dialect::Rfc6455, Encoding::Binary),
        1 => (Dialect::Rfc6455, Encoding::Base64),
        2 => (Dialect::Hixie75, Encoding::Base64),
        _ => (Dialect::Hixie76, Encoding::Base64),
    };
    let mut world = World::new(dialect, encoding);
    // The client reads from the beginning after every operation: a long connection shows no more than a short one.
    while !choices.is_empty() && world.wire.len() < 20_000 {
        match choices.byte() % 8 {
            0 => world.control(choices.length()),
            1 => match choices.byte() % 4 {
                0 => world.ping(),
                _ => world.pong(choices.length()),
            },
            2 => world.change(choices.byte()),
            3 if choices.byte() < 8 => world.close(),
            // Prepared, and never sent.
            4 => drop(world.prepare(choices.length())),
            _ => {
                let len = choices.length();
                world.write(len, choices.length());
            }
        }
        world.check();
    }
    world.finish();
}

/// Program, sender, wire.
struct World {
    dialect: Dialect,
    encoding: Encoding,
    sender: Sender,
    /// What the program was told it has written.
    told: Vec<u8>,
    /// What the program writes next is a function of this and of the place.
    content: u8,
    /// The program was told of a part of a write: what comes next must come again.
    in_debt: bool,
    wire: Vec<u8>,
    /// Number of pongs queued; each carries its own.
    pongs: usize,
    /// Number of pings queued.
    pings: usize,
    closing: bool,
}

impl World {
    fn new(dialect: Dialect, encoding: Encoding) -> Self {
        World {
            dialect,
            encoding,
            sender: Sender::new(dialect, encoding),
            told: Vec::new(),
            content: 1,
            in_debt: false,
            wire: Vec::new(),
            pongs: 0,
            pings: 0,
            closing: false,
        }
    }

    /// What the program writes next.
    fn next(&self, len: usize) -> Vec<u8> {
        let place = self.told.len();
        (place..place + len).map(|place| (place as u8).wrapping_mul(31) ^ self.content ^ (place >> 8) as u8).collect()
    }

    /// Prepares a write of `len` bytes: all that would go to the kernel, and how much of it is head or encoded.
    fn prepare(&mut self, len: usize) -> Vec<u8> {
        let payload = self.next(len);
        if self.sender.is_verbatim() {
            let (head, count) = self.sender.transmit_head(len);
            assert!(count <= len.min(Sender::MAX_FRAME));
            assert!(count > 0 || len == 0 || self.closing, "a write makes progress");
            [head.as_slice(), &payload[..count]].concat()
        } else {
            // Room for all of an even write, and for about half of an odd one.
            let mut out = vec![0; 512 + len * (2 - len % 2)];
            let filled = self.sender.transmit_encoded(&payload, &mut out);
            out.truncate(filled);
            out
        }
    }

    /// The program writes `len` bytes, and the kernel takes at most `room` of what goes out.
    fn write(&mut self, len: usize, room: usize) {
        let len = len.max(1);
        let payload = self.next(len);
        let mut frame = [0; 127];
        let short = self.sender.short_frame(&payload, &mut frame).is_some();
        let out = self.prepare(len);
        if short {
            assert_eq!(frame[..len + 2], out, "the same frame either way");
        }
        let sent = room.min(out.len());
        let before = self.seen().bits;
        self.wire.extend_from_slice(&out[..sent]);
        let told = if short && sent == out.len() {
            // Nothing is to be reported of it.
            len
        } else if self.sender.is_verbatim() {
            self.sender.transmitted(sent)
        } else {
            self.sender.transmitted_encoded(sent, &out)
        };
        assert!(told <= len);
        self.told.extend_from_slice(&payload[..told]);
        if told > 0 {
            self.in_debt = told < len;
        } else if !self.in_debt && !self.closing {
            // The rest of an earlier frame may have gone out, but no bit of this payload. Four bits more are those that
            // padding leaves over, while the padding itself is not out.
            let owing = self.told.len() * 8 + 4;
            assert!(self.seen().bits <= before.max(owing), "nothing is committed and not told");
        }
    }

    /// Whatever may go out without payload.
    fn control(&mut self, room: usize) {
        let wanted = self.sender.wants_transmit();
        let head = self.sender.transmit_control();
        assert_eq!(wanted, !head.as_slice().is_empty());
        let sent = room.min(head.as_slice().len());
        self.wire.extend_from_slice(&head.as_slice()[..sent]);
        assert_eq!(self.sender.transmitted(sent), 0);
    }

    fn pong(&mut self, len: usize) {
        let mut payload = self.pongs.to_be_bytes().to_vec();
        payload.resize(len.clamp(payload.len(), 125), 0x55);
        self.sender.queue_pong(&Pong::new(&payload));
        self.pongs += 1;
    }

    fn ping(&mut self) {
        self.sender.queue_ping();
        self.pings += 1;
    }

    /// The program changes its mind about what comes next, where it may.
    fn change(&mut self, content: u8) {
        if self.sender.is_verbatim() || !self.in_debt {
            self.content = content;
            self.in_debt = false;
        }
    }

    fn close(&mut self) {
        self.sender.close(1000);
        self.closing = true;
        assert!(self.sender.is_closing());
    }

    fn seen(&self) -> peer::Seen {
        peer::read(self.dialect, self.encoding, &self.wire)
    }

    /// What holds after every operation, and goes on to hold in another process.
    fn check(&mut self) {
        self.sender = handed_over(&Receiver::new(self.dialect, self.encoding), &self.sender).1;
        let seen = self.seen();
        // What the client has is what the program was told, and of what comes next at most the byte owed.
        let ahead = usize::from(self.in_debt && self.encoding == Encoding::Base64);
        let mut expected = self.told.clone();
        expected.extend(self.next(ahead));
        assert!(expected.starts_with(&seen.payload), "in order, none twice, none that is not told");
        // What was told is sent: nothing waits, but for bits of a quantum that was cut.
        let waiting = (self.told.len() * 8).saturating_sub(seen.bits);
        let most = match (self.encoding, self.dialect) {
            (Encoding::Binary, _) => 0,
            (Encoding::Base64, Dialect::Rfc6455) => 6,
            (Encoding::Base64, _) => 10,
        };
        assert!(waiting <= most, "{waiting} bits wait");
        assert!(seen.close.is_none() || self.closing);
        let numbers: Vec<_> = seen.pongs.iter().map(|pong| pong[..size_of::<usize>()].to_vec()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "the latest pong, once");
        assert!(seen.pings <= self.pings, "no ping that nobody asked for");
        if self.dialect != Dialect::Hixie75 {
            assert_eq!(self.sender.is_closed(), seen.close.is_some());
        }
    }

    /// The kernel has room again: all that may go out does, and the program goes on until its last frame is complete.
    fn finish(mut self) {
        self.control(usize::MAX);
        self.check();
        // In hixie-75 nothing ends a frame that is empty so far, once no more is written.
        let stuck = self.dialect == Dialect::Hixie75 && self.closing;
        while (self.in_debt && !self.closing) || (!self.seen().at_boundary && !stuck) {
            let before = self.told.len();
            self.write(5_000, usize::MAX);
            assert!(self.told.len() > before, "room makes progress");
            self.check();
        }
        self.close();
        while self.sender.wants_transmit() {
            self.control(usize::MAX);
        }
        self.check();
        let seen = self.seen();
        assert!(self.sender.is_closed() && (seen.at_boundary || stuck));
        assert!(seen.payload.starts_with(&self.told), "all that was told is there");
        assert!(
            seen.payload.len() - self.told.len() <= usize::from(self.in_debt),
            "and no more, but for the byte owed"
        );
    }
}
