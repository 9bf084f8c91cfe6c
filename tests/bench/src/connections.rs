//! Connections a second to the event-driven server, one after the other: connect, request and a first message
//! of 64 bytes in one write, reply and echo, close. A bare client sends the message alone.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};
use crate::sys;
use crate::wire::Wire;

/// One unit is a connection.
pub struct Connections {
    server: Server,
    wire: Wire,
    ask: Vec<u8>,
    answer: Vec<u8>,
}

impl Connections {
    /// Prepares what every connection says.
    pub fn rig(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Epoll, side)?;
        let payload = [b'c'; crate::echo::MESSAGE];
        let ask = [side.wire.request(), &side.wire.frames(&payload, payload.len())].concat();
        let answer = side.wire.short_reply(&payload);
        Ok(Box::new(Self { server, wire: side.wire, ask, answer }))
    }

    fn one(&self) -> io::Result<()> {
        let mut stream = link::connect(self.server.at())?;
        // Ten thousands of connections in TIME_WAIT would use up the ports.
        sys::reset_on_close(&stream)?;
        stream.write_all(&self.ask)?;
        let mut from: BufReader<&TcpStream> = BufReader::with_capacity(1024, &stream);
        self.wire.read_reply(&mut from)?;
        let mut buffer = vec![0; self.answer.len()];
        from.read_exact(&mut buffer)?;
        if buffer != self.answer {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "connections: something else came back"));
        }
        Ok(())
    }
}

impl Rig for Connections {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let start = Instant::now();
        for _ in 0..count {
            self.one()?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}
