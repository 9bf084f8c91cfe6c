//! Memory of the event-driven server for each idle connection, in bytes: how much its proportional set size
//! grows over all of them. What the kernel holds for a socket is the same on both sides and not in it.

use std::io;

use crate::echo;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};

/// Every run has a server of its own: memory that was used once would be found ready the next time.
pub struct Memory {
    site: Site,
    side: Side,
}

impl Memory {
    /// Keeps what it takes to start servers.
    pub fn rig(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        Ok(Box::new(Self { site: site.clone(), side }))
    }

    /// A connection that has carried a message each way, and is idle from then on.
    fn idle(&self, server: &Server) -> io::Result<Link> {
        let link = Link::open(server.at(), self.side.wire)?;
        let (ask, answer) = echo::message(&link);
        link.write(&ask)?;
        echo::expect(&link, &mut vec![0; answer.len()], &answer)?;
        Ok(link)
    }
}

impl Rig for Memory {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let server = Server::start(&self.site, App::Epoll, self.side)?;
        // The first connection brings what is made once, and stays.
        let _first = self.idle(&server)?;
        let before = server.memory()?;
        let links = (0..count).map(|_| self.idle(&server)).collect::<io::Result<Vec<_>>>()?;
        let after = server.memory()?;
        Ok((after - before) / links.len() as f64)
    }

    fn server(&self) -> Option<&Server> {
        None
    }
}
