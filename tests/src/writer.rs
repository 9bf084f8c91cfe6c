//! The sending half of a client.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::client::done;
use crate::{Rng, Wire, encode};

/// The sending half.
#[derive(Debug)]
pub struct Writer {
    stream: TcpStream,
    wire: Wire,
    rng: Rng,
    pings: Vec<Vec<u8>>,
}

impl Writer {
    pub(crate) fn new(stream: TcpStream, wire: Wire, rng: Rng) -> Self {
        Self { stream, wire, rng, pings: Vec::new() }
    }

    /// The payloads of the pings sent so far.
    #[must_use]
    pub fn pings(&self) -> &[Vec<u8>] {
        &self.pings
    }

    /// Sends `bytes` as one message (plain: as they are).
    ///
    /// # Panics
    /// If sending fails.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        done("send", self.try_send(bytes));
    }

    /// Sends `bytes` as one message (plain: as they are).
    ///
    /// # Errors
    /// Those of write(2).
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = Vec::new();
        encode::message(self.wire, bytes, &mut self.rng, &mut wire);
        self.put(&wire)
    }

    /// Sends `bytes` cut at random places: into messages, these into fragments (RFC 6455), all of it into TCP segments;
    /// between them pings and unsolicited pongs (RFC 6455), frames with a length (hixie) and empty ones.
    ///
    /// # Panics
    /// If sending fails.
    #[track_caller]
    pub fn send_split(&mut self, bytes: &[u8], rng: &mut Rng) {
        let mut wire = Vec::new();
        encode::split(self.wire, bytes, rng, &mut self.pings, &mut wire);
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            // Single bytes are the hardest test, but a megabyte of them would take its time: few cuts in a long rest.
            let most = if rng.one_in(3) || rest.len() < 2000 { 20 } else { rest.len().min(100_000) };
            let (segment, after) = rest.split_at(rng.between(1, most.min(rest.len())));
            rest = after;
            done("send", self.put(segment));
        }
    }

    /// Sends a ping (RFC 6455 section 5.5.2); nothing in the other dialects.
    ///
    /// # Panics
    /// If sending fails or the payload is above 125 bytes.
    #[track_caller]
    pub fn ping(&mut self, payload: &[u8]) {
        assert!(payload.len() <= 125, "a control frame carries 125 bytes at most");
        if self.wire.is_rfc6455() {
            self.pings.push(payload.to_vec());
            self.frame(true, encode::PING, payload);
        }
    }

    /// Sends one masked RFC 6455 frame, legal or not.
    ///
    /// # Panics
    /// If sending fails.
    #[track_caller]
    pub fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        let mut wire = Vec::new();
        encode::frame(fin, opcode, payload, &mut self.rng, &mut wire);
        self.raw(&wire);
    }

    /// Ends the sending direction as the dialect does: RFC 6455 a Close frame with `code`, hixie-76 `FF 00`, hixie-75 and
    /// plain the end of the TCP direction.
    ///
    /// # Panics
    /// If sending fails.
    #[track_caller]
    pub fn close(&mut self, code: u16) {
        done("close", self.try_close(code));
    }

    /// [`Writer::close`] for a connection that may be gone.
    ///
    /// # Errors
    /// Those of write(2) and shutdown(2).
    pub fn try_close(&mut self, code: u16) -> io::Result<()> {
        let mut wire = Vec::new();
        encode::close(self.wire, code, &mut self.rng, &mut wire);
        if wire.is_empty() {
            return self.stream.shutdown(Shutdown::Write);
        }
        self.put(&wire)
    }

    /// Ends the TCP direction, without a Close.
    ///
    /// # Panics
    /// If shutdown(2) fails.
    #[track_caller]
    pub fn shutdown_write(&mut self) {
        done("shutdown", self.stream.shutdown(Shutdown::Write));
    }

    /// One message of `bytes` as it goes over the wire, to be sent with [`Writer::raw`] in pieces.
    #[must_use]
    pub fn message(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        encode::message(self.wire, bytes, &mut self.rng, &mut wire);
        wire
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If sending fails.
    #[track_caller]
    pub fn raw(&mut self, bytes: &[u8]) {
        done("send", self.put(bytes));
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}
