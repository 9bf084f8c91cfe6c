//! Payload that several TLS connections send at the same time, in MiB/s in all: each to a process of its own behind the proxy.
//!
//! What is sent is encrypted before the clock starts, so that the proxy has more to do than all others together.

use std::borrow::Cow;
use std::io;
use std::thread;
use std::time::Instant;

use crate::command::{self, CHUNK, Command};
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};
use crate::sys;
use crate::wire::Wire;

const CONNECTIONS: usize = 16;

const MIB: usize = 1 << 20;

/// One unit is a MiB on each connection. Every run has connections of its own: it is chance which thread of the proxy has how
/// many of them.
pub struct Crowd {
    server: Server,
    wire: Wire,
    /// A MiB of payload as it goes over the wire, or within TLS.
    frames: Vec<u8>,
    /// The client's threads may use all.
    cpus: Vec<usize>,
}

impl Crowd {
    /// Prepares what every connection sends.
    pub fn rig(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Forking, side)?;
        let frames = side.wire.frames(&command::pattern().repeat(MIB / CHUNK), CHUNK);
        Ok(Box::new(Self { server, wire: side.wire, frames, cpus: site.cpus.clone() }))
    }
}

impl Rig for Crowd {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let bytes = count * MIB as u64;
        let mut work = Vec::new();
        for _ in 0..CONNECTIONS {
            let link = Link::open(self.server.at(), self.wire)?;
            let announce = link.wire().frames(&Command::Sink(bytes).bytes(), CHUNK);
            let mut blocks = vec![Cow::Owned(link.seal(&announce)?.into_owned())];
            for _ in 0..count {
                blocks.push(link.seal(&self.frames)?);
            }
            work.push((link, blocks));
        }
        let cpus = &self.cpus;
        let start = Instant::now();
        thread::scope(|scope| {
            let threads: Vec<_> = work
                .into_iter()
                .map(|(link, blocks)| {
                    scope.spawn(move || {
                        sys::pin(0, cpus)?;
                        send(&link, &blocks, bytes)
                    })
                })
                .collect();
            let join = |thread: thread::ScopedJoinHandle<_>| thread.join().unwrap_or(Err(io::ErrorKind::Other.into()));
            threads.into_iter().try_for_each(join)
        })?;
        Ok((count * CONNECTIONS as u64) as f64 / start.elapsed().as_secs_f64())
    }

    fn server(&self) -> Option<&Server> {
        None
    }
}

/// Sends all and waits until the server has counted it.
fn send(link: &Link, blocks: &[Cow<[u8]>], bytes: u64) -> io::Result<()> {
    for block in blocks {
        link.put(block)?;
    }
    if link.receive(8)?.0 != bytes.to_ne_bytes() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "upload: the server lost count"));
    }
    Ok(())
}
