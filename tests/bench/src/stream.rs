//! Payload throughput in one direction, in MiB/s: download and upload against the blocking server.
//!
//! What is sent is prepared, and what comes is dropped in the kernel, so that the client is no slower than it
//! must be. The length of what comes is known from a part that was read and checked before; only hixie frames, which
//! end wherever the kernel was full, have to be looked at. That the stream is where it should be is checked after
//! every run.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Instant;

use crate::command::{self, CHUNK, Command};
use crate::hixie::Counter;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};
use crate::sys;
use crate::wire::Wire;

const MIB: usize = 1 << 20;

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
    /// The client reads what comes, also where it could have the kernel drop it.
    reads: bool,
}

impl Download {
    /// A client that has the kernel drop what comes.
    pub fn dropped(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, false)
    }

    /// A client that reads what comes, as one must that looks for the ends of frames: bare and wrapped alike.
    pub fn read(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, true)
    }

    /// Reads a MiB, checks every byte of it, and learns how long it is on the wire.
    fn rig(site: &Site, side: Side, reads: bool) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Blocking, side)?;
        let link = Link::open(server.at(), side.wire)?;
        let pattern = command::pattern();
        link.send(&Command::Source(MIB as u64).bytes())?;
        let (payload, wire_mib) = link.receive(MIB)?;
        if payload.chunks(CHUNK).any(|chunk| chunk != pattern) {
            return Err(doubt("download: not what the server sent"));
        }
        Ok(Box::new(Self { server, link, wire_mib, pattern, reads }))
    }
}

impl Rig for Download {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let ask = self.link.wire().frames(&Command::Source(count * MIB as u64).bytes(), CHUNK);
        let start = Instant::now();
        self.link.write(&ask)?;
        match self.link.wire() {
            Wire::Plain if self.reads => drain(self.link.stream(), count * MIB as u64)?,
            Wire::Plain | Wire::Rfc6455 => {
                sys::discard(self.link.stream(), count * self.wire_mib)?;
            }
            Wire::Hixie76 => drain_hixie(self.link.stream(), count * MIB as u64)?,
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
fn drain(mut from: &TcpStream, count: u64) -> io::Result<()> {
    let (mut buffer, mut left) = (vec![0; 256 * 1024], count);
    while left > 0 {
        let got = from.read(&mut buffer)? as u64;
        if got == 0 || got > left {
            return Err(doubt("download: not as long as was asked for"));
        }
        left -= got;
    }
    Ok(())
}

/// Reads hixie frames until they have carried `count` bytes.
fn drain_hixie(mut from: &TcpStream, count: u64) -> io::Result<()> {
    let (mut counter, mut payload) = (Counter::default(), 0);
    let mut buffer = vec![0; 256 * 1024];
    while payload < count || counter.within_frame() {
        let got = from.read(&mut buffer)?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (bytes, _) = buffer.split_at(got);
        payload += counter.feed(bytes)?;
    }
    if payload > count {
        return Err(doubt("download: more than was asked for"));
    }
    Ok(())
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
        let start = Instant::now();
        self.link.write(&announce)?;
        for _ in 0..count {
            self.link.write(&self.frames)?;
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
