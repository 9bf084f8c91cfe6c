//! Memory of the event-driven server for each idle connection, in bytes: how much its proportional set size
//! grows over all of them. Behind a proxy it is the proxy's. What the kernel holds for a socket is the same on both sides and not in it.

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
        ask(&link)?;
        answered(&link)?;
        Ok(link)
    }
}

fn ask(link: &Link) -> io::Result<()> {
    link.write(&echo::message(link).0)
}

fn answered(link: &Link) -> io::Result<()> {
    let (_, answer) = echo::message(link);
    echo::expect(link, &mut vec![0; answer.len()], &answer)
}

impl Rig for Memory {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let server = Server::start(&self.site, App::Epoll, self.side)?;
        // The first connection brings what is made once, and stays.
        let _first = self.idle(&server)?;
        let before = server.memory()?;
        let links = (0..self.site.connections(count)).map(|_| self.idle(&server)).collect::<io::Result<Vec<_>>>()?;
        let after = server.memory()?;
        // All are open at the same time, and all answer.
        links.iter().try_for_each(ask)?;
        links.iter().try_for_each(answered)?;
        Ok((after - before) / links.len() as f64)
    }

    fn server(&self) -> Option<&Server> {
        None
    }
}
