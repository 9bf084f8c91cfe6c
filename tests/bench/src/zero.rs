//! What a descriptor costs that is not the library's: the blocking server reads single bytes from /dev/zero,
//! nanoseconds a read, while it holds the connection over which it was told to.

use std::io;

use crate::command::Command;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};

/// One unit is a read.
pub struct Zero {
    server: Server,
    link: Link,
}

impl Zero {
    /// Connects.
    pub fn rig(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Blocking, side)?;
        let link = Link::open(server.at(), side.wire)?;
        Ok(Box::new(Self { server, link }))
    }
}

impl Rig for Zero {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        self.link.send(&Command::Zero(count).bytes())?;
        let (answer, _) = self.link.receive(8)?;
        let spent = <[u8; 8]>::try_from(answer.as_slice()).map_err(io::Error::other)?;
        Ok(u64::from_ne_bytes(spent) as f64 / count as f64)
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}
