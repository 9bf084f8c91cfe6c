//! Messages a second over 100 connections to the event-driven server: 64 bytes there and back on each, all of
//! them under way at once.

use std::io;
use std::time::Instant;

use crate::echo;
use crate::link::Link;
use crate::measure::{Rig, Side};
use crate::server::{App, Server, Site};

const CONNECTIONS: usize = 100;

/// The connections take turns: the answer is read and the next message sent. One unit is a message on each.
pub struct Messages {
    server: Server,
    links: Vec<Link>,
}

impl Messages {
    /// Opens the connections.
    pub fn rig(site: &Site, side: Side) -> io::Result<Box<dyn Rig>> {
        let server = Server::start(site, App::Epoll, side)?;
        let links = (0..CONNECTIONS).map(|_| Link::open(server.at(), side.wire)).collect::<io::Result<_>>()?;
        Ok(Box::new(Self { server, links }))
    }
}

impl Rig for Messages {
    fn run(&mut self, count: u64) -> io::Result<f64> {
        let Some(first) = self.links.first() else {
            return Ok(0.0);
        };
        let (ask, answer) = echo::message(first);
        let mut buffer = vec![0; answer.len()];
        let start = Instant::now();
        for link in &self.links {
            link.write(&ask)?;
        }
        for round in 1..=count {
            for link in &self.links {
                echo::expect(link, &mut buffer, &answer)?;
                if round < count {
                    link.write(&ask)?;
                }
            }
        }
        Ok((count * CONNECTIONS as u64) as f64 / start.elapsed().as_secs_f64())
    }

    fn server(&self) -> Option<&Server> {
        Some(&self.server)
    }
}
