//! The time that 64 bytes take to the server and back, the median in microseconds, against both servers.

use std::io;
use std::time::Instant;

use crate::command::Command;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::report;
use crate::server::{App, Server, Site};

/// The payload of a message, in bytes.
pub const MESSAGE: usize = 64;

/// A connection that sends a message, waits for it to come back, and so on. One unit is a message.
pub struct Echo {
    server: Server,
    link: Link,
    app: App,
    ask: Vec<u8>,
    answer: Vec<u8>,
}

impl Echo {
    /// Against the blocking server.
    pub fn blocking(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, App::Blocking)
    }

    /// Against the event-driven server.
    pub fn epoll(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Self::rig(site, side, App::Epoll)
    }

    fn rig(site: &Site, side: Side, app: App) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, app, side)?;
        let link = Link::open(server.at(), side.wire)?;
        let (ask, answer) = message(&link);
        Ok(Box::new(Self { server, link, app, ask, answer }))
    }
}

/// A message as it goes to the server, and as it must come back.
pub fn message(link: &Link) -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = (0..MESSAGE as u8).collect();
    (link.wire().frames(&payload, MESSAGE), link.wire().short_reply(&payload))
}

/// Waits for one whole answer, which `buffer` has the size of.
pub fn expect(link: &Link, buffer: &mut [u8], answer: &[u8]) -> io::Result<()> {
    link.read_exact(buffer)?;
    if buffer != answer {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "echo: something else came back"));
    }
    Ok(())
}

impl Rig for Echo {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        if matches!(self.app, App::Blocking) {
            self.link.send(&Command::Echo(count * MESSAGE as u64).bytes())?;
        }
        let mut buffer = vec![0; self.answer.len()];
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            self.link.write(&self.ask)?;
            expect(&self.link, &mut buffer, &self.answer)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        Ok(report::median(&mut times))
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}
