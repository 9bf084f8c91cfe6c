//! Payload throughput in one direction, in MiB/s: download and upload against the blocking server.
//!
//! What is sent is prepared, and what comes is dropped in the kernel, so that the client is no slower than it
//! must be. The length of what comes is known from a part that was read and checked before; only hixie frames, which
//! end wherever the kernel was full, have to be looked at. That the stream is where it should be is checked after
//! every run.

use std::io::{self, BufRead};
use std::time::Instant;

use crate::command::{self, CHUNK, Command, HEADER};
use crate::hixie::Counter;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::rfc6455;
use crate::server::{App, Server, Site};
use crate::sys;
use crate::wire::Wire;

const MIB: usize = 1 << 20;

/// What a client reads at a time, in bytes.
const READ: usize = 256 * 1024;

fn doubt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The server pushes in writes of 64 KiB. One unit is a MiB.
pub struct Download {
    server: Server,
    link: Link,
    /// What a MiB of payload takes on the wire.
    wire_mib: u64,
    pattern: Vec<u8>,
    /// What the clients do.
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Have the kernel drop what comes.
    Drop,
    /// The same, and the bare server sends as many bytes in each write as the wrapped one.
    DropHeaded,
    /// Read what comes.
    Read,
}

impl Download {
    /// A client that has the kernel drop what comes.
    pub fn dropped(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, How::Drop)
    }

    /// The same against a bare server that sends something in the place of each header.
    pub fn headed(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, How::DropHeaded)
    }

    /// A client that reads what comes, as one must that looks for the ends of frames: bare and wrapped alike.
    pub fn read(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, How::Read)
    }

    /// Reads a MiB, checks every byte of it, and learns how long it is on the wire.
    fn rig(site: &Site, side: Side, how: How) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Blocking, side)?;
        let link = Link::open(server.at(), side.wire)?;
        let pattern = command::pattern();
        link.send(&Command::Source(MIB as u64).bytes())?;
        let (payload, wire_mib) = link.receive(MIB)?;
        if payload.chunks(CHUNK).any(|chunk| chunk != pattern) {
            return Err(doubt("download: not what the server sent"));
        }
        Ok(Box::new(Self { server, link, wire_mib, pattern, how }))
    }
}

impl Rig for Download {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let bytes = count * MIB as u64;
        let (command, in_front) = match (self.link.wire(), self.how) {
            (Wire::Plain, How::DropHeaded) => (Command::Headed(bytes), bytes / CHUNK as u64 * HEADER as u64),
            _ => (Command::Source(bytes), 0),
        };
        let ask = self.link.wire().frames(&command.bytes(), CHUNK);
        let start = Instant::now();
        self.link.write(&ask)?;
        match (self.link.wire(), self.how) {
            (Wire::Plain | Wire::Rfc6455, How::Drop | How::DropHeaded) => {
                sys::discard(self.link.stream(), count * self.wire_mib + in_front)?;
            }
            (Wire::Plain, How::Read) => self.link.buffered(READ, |from| drain(from, bytes))?,
            (Wire::Rfc6455 | Wire::Wss, _) => self.link.buffered(READ, |from| drain_rfc6455(from, bytes))?,
            (Wire::Hixie76, _) => self.link.buffered(READ, |from| drain_hixie(from, bytes))?,
        }
        let seconds = start.elapsed().as_secs_f64();
        self.link.send(&Command::Source(CHUNK as u64).bytes())?;
        if self.link.receive(CHUNK)?.0 != self.pattern {
            return Err(doubt("download: the stream lost its place"));
        }
        Ok(count as f64 / seconds)
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}

/// Reads `count` bytes.
fn drain(from: &mut dyn BufRead, count: u64) -> io::Result<()> {
    let mut got = 0;
    while got < count {
        got += take(from, |_| Ok(()))?;
    }
    exactly(got, count)
}

/// Reads frames of a server (RFC 6455 section 5.2, not masked) until they have carried `count` bytes.
fn drain_rfc6455(from: &mut dyn BufRead, count: u64) -> io::Result<()> {
    let mut counter = rfc6455::Counter::default();
    while counter.payload() < count || counter.within_frame() {
        take(from, |bytes| counter.feed(bytes))?;
    }
    exactly(counter.payload(), count)
}

/// Reads hixie frames until they have carried `count` bytes.
fn drain_hixie(from: &mut dyn BufRead, count: u64) -> io::Result<()> {
    let (mut counter, mut payload) = (Counter::default(), 0);
    while payload < count || counter.within_frame() {
        take(from, |bytes| {
            payload += counter.feed(bytes)?;
            Ok(())
        })?;
    }
    exactly(payload, count)
}

/// Has `look` see what comes next, and returns how much that was.
fn take(from: &mut dyn BufRead, look: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let bytes = from.fill_buf()?;
    let count = bytes.len();
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    look(bytes)?;
    from.consume(count);
    Ok(count as u64)
}

fn exactly(got: u64, wanted: u64) -> io::Result<()> {
    if got == wanted { Ok(()) } else { Err(doubt("download: more than was asked for")) }
}

/// The client sends prepared frames, a MiB of payload at a time; the server reads 64 KiB at a time. One unit is
/// a MiB.
pub struct Upload {
    server: Server,
    link: Link,
    /// A MiB of payload as it goes over the wire.
    frames: Vec<u8>,
}

impl Upload {
    /// Frames of 64 KiB.
    pub fn large(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, CHUNK)
    }

    /// Frames of 64 bytes. The bare twin sends the same payload, in writes of a MiB.
    pub fn small(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, 64)
    }

    /// Sends a MiB and has the server hash what came.
    fn rig(site: &Site, side: Side, frame: usize) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Blocking, side)?;
        let link = Link::open(server.at(), side.wire)?;
        let payload = command::pattern().repeat(MIB / CHUNK);
        let frames = side.wire.frames(&payload, frame);
        link.send(&Command::Check(MIB as u64).bytes())?;
        link.write(&frames)?;
        if link.receive(8)?.0 != command::hash(&payload).to_ne_bytes() {
            return Err(doubt("upload: the server got something else"));
        }
        Ok(Box::new(Self { server, link, frames }))
    }
}

impl Rig for Upload {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let bytes = count * MIB as u64;
        let announce = self.link.wire().frames(&Command::Sink(bytes).bytes(), CHUNK);
        let announce = self.link.seal(&announce)?;
        let blocks = (0..count).map(|_| self.link.seal(&self.frames)).collect::<io::Result<Vec<_>>>()?;
        let start = Instant::now();
        self.link.put(&announce)?;
        for block in &blocks {
            self.link.put(block)?;
        }
        let answer = self.link.receive(8)?.0;
        let seconds = start.elapsed().as_secs_f64();
        if answer != bytes.to_ne_bytes() {
            return Err(doubt("upload: the server lost count"));
        }
        Ok(count as f64 / seconds)
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}
