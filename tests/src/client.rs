//! The client: plain TCP or a WebSocket, blocking, every operation with a deadline. No thread of its own.
//!
//! Reading never writes: a ping of the server is not answered and its Close not echoed unless the test does so. Methods
//! that return no `io::Result` panic when the operation fails.

use std::fmt::Display;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::{Deref, DerefMut};

use crate::open::Builder;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Rng, Wire};

/// A connection to a server: a [`Writer`] and a [`Reader`] of one stream. Dropping it closes the TCP connection without a
/// Close frame.
#[derive(Debug)]
pub struct Client {
    reader: Reader,
    writer: Writer,
    protocol: Option<String>,
}

impl Client {
    /// Connects and makes the opening handshake with the default options.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect(addr: impl ToSocketAddrs, wire: Wire) -> io::Result<Self> {
        Self::builder(wire).connect(addr)
    }

    /// The options of a client, to be changed and then connected.
    #[must_use]
    pub fn builder(wire: Wire) -> Builder {
        Builder::new(wire)
    }

    pub(crate) fn opened(
        stream: TcpStream,
        wire: Wire,
        protocol: Option<String>,
        received: &[u8],
        rng: Rng,
    ) -> io::Result<Self> {
        let reader = Reader::new(stream.try_clone()?, wire, received)?;
        let writer = Writer::new(stream, wire, rng);
        Ok(Self { reader, writer, protocol })
    }

    /// The subprotocol that the server chose.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Two halves for two threads.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// Sends `bytes` as [`Writer::send_split`] does while reading `expected` bytes: neither direction waits for the other.
    ///
    /// # Panics
    /// If sending or reading fails.
    #[track_caller]
    pub fn exchange(&mut self, bytes: &[u8], rng: &mut Rng, expected: usize) -> Vec<u8> {
        let Self { reader, writer, .. } = self;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.send_split(bytes, rng));
            let received = reader.read_exact(expected);
            if let Err(panic) = sender.join() {
                std::panic::resume_unwind(panic);
            }
            received
        })
    }

    /// Checks that the pongs received answer pings sent, in their order: each pong has the payload of a ping, none is
    /// repeated. RFC 6455 section 5.5.3 allows to answer the latest ping only.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn assert_pongs(&self) {
        let mut pings = self.writer.pings().iter();
        for pong in self.reader.pongs() {
            assert!(pings.any(|ping| ping == pong), "pong {pong:02x?} answers no ping, or too late");
        }
    }
}

/// Reading and ending a client is reading and ending its halves.
impl Deref for Client {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}

impl Client {
    /// [`Writer::send`].
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.writer.send(bytes);
    }

    /// [`Writer::try_send`].
    ///
    /// # Errors
    /// Those of write(2).
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.try_send(bytes)
    }

    /// [`Writer::send_split`].
    #[track_caller]
    pub fn send_split(&mut self, bytes: &[u8], rng: &mut Rng) {
        self.writer.send_split(bytes, rng);
    }

    /// [`Writer::ping`].
    #[track_caller]
    pub fn ping(&mut self, payload: &[u8]) {
        self.writer.ping(payload);
    }

    /// [`Writer::close`].
    #[track_caller]
    pub fn close(&mut self, code: u16) {
        self.writer.close(code);
    }

    /// [`Writer::shutdown_write`].
    #[track_caller]
    pub fn shutdown_write(&mut self) {
        self.writer.shutdown_write();
    }

    /// [`Writer::raw`].
    #[track_caller]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.writer.raw(bytes);
    }

    /// The sending half.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Ends the connection with a reset: nothing that is under way arrives.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[track_caller]
    pub fn abort(self) {
        crate::net::reset_on_close(self.stream());
    }
}

#[track_caller]
pub(crate) fn done<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}
