//! How a measure is taken: the same work by two servers in turn, and the ratio of each pair.

use std::io;
use std::time::Instant;

use crate::proxies::Kind;
use crate::server::{Server, Site};
use crate::wire::Wire;

/// Which of the two servers, and how the client speaks to it.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// What makes the WebSocket.
    pub by: By,
    /// Plain on the bare side.
    pub wire: Wire,
    /// Where the server runs.
    pub place: Place,
}

/// What stands between the client and the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nothing: plain TCP.
    Nothing,
    /// The library, inside the program.
    Library,
    /// The library in a program that hands the connection on to a new one, and the companion.
    Companion,
    /// A proxy.
    Proxy(Kind),
}

/// Where a server runs, seen from its client. With one CPU there is no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a CPU of its own: for work that both do at the same time.
    Apart,
    /// On the client's CPU: for work that they do in turn. Waking another CPU costs more than all the rest, and
    /// never the same.
    Together,
    /// On any CPU, and a companion as well: for work of three processes.
    Anywhere,
}

/// One server and its client, ready to work.
pub trait Rig {
    /// Does `count` units of work and returns the figure, in the measure's unit. Any doubt about what the server
    /// did is an error.
    fn run(&mut self, count: u64) -> io::Result<f64>;

    /// The server whose CPU time the work costs; none if that says nothing.
    fn server(&self) -> Option<&Server>;
}

/// How much work one run is.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// As much as keeps the bare server busy for the run's time, found by trying from this much on.
    From(u64),
    /// So much, whatever it takes.
    Just(u64),
}

/// What is to be reached. Each is about the median over all pairs.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// wrapped / bare at least.
    AtLeast(f64),
    /// wrapped / bare at most.
    AtMost(f64),
    /// wrapped - bare at most, in the measure's unit.
    More(f64),
}

/// A line of the table.
pub struct Measure {
    /// What is measured, as the table says it and as the filter finds it.
    pub name: &'static str,
    /// The unit of the figures.
    pub unit: &'static str,
    /// How the client speaks to the wrapped server.
    pub wire: Wire,
    /// Where the server runs.
    pub place: Place,
    /// What one run does.
    pub amount: Amount,
    /// What is to be reached.
    pub target: Target,
    /// Starts server and client.
    pub rig: fn(&Site, Side) -> io::Result<Box<dyn Rig>>,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Pairs of a bare and a wrapped run.
    pub pairs: usize,
    /// What a bare run takes, in seconds.
    pub seconds: f64,
    /// Whether the second side is bare as well: what the table then shows is the noise.
    pub noise: bool,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The figure, in the measure's unit.
    pub value: f64,
    /// CPU seconds of the server, if they say something.
    pub cpu: Option<f64>,
    seconds: f64,
}

/// A bare run and the wrapped one right after it.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Without the library.
    pub bare: Sample,
    /// With it.
    pub wrapped: Sample,
}

impl Measure {
    /// Takes all pairs, bare and wrapped in turn, after one pair that warms up and does not count.
    pub fn take(&self, site: &Site, effort: Effort, by: By) -> io::Result<Vec<Pair>> {
        let first = match by {
            // What a bridged connection costs is told against one in place, which has the same frames.
            By::Companion => Side { by: By::Library, wire: self.wire, place: self.place },
            By::Nothing | By::Library | By::Proxy(_) => Side { by: By::Nothing, wire: Wire::Plain, place: self.place },
        };
        let other = if effort.noise { first } else { Side { by, wire: self.wire, place: self.place } };
        let mut bare = (self.rig)(site, first)?;
        let mut wrapped = (self.rig)(site, other)?;
        let count = match self.amount {
            Amount::Just(count) => count,
            Amount::From(first) => {
                let count = calibrate(bare.as_mut(), first, effort.seconds)?;
                // A side that is slower by far must not stretch the whole run.
                let taken = sample(wrapped.as_mut(), count)?.seconds;
                let share = (4.0 * effort.seconds / taken).min(1.0);
                ((count as f64 * share) as u64).max(1)
            }
        };
        let mut pairs = Vec::new();
        // A fixed amount has no time in it, so there is little noise to take out.
        let wanted = match self.amount {
            Amount::Just(_) => effort.pairs.min(5),
            Amount::From(_) => effort.pairs,
        };
        for number in 0..=wanted {
            let pair = Pair { bare: sample(bare.as_mut(), count)?, wrapped: sample(wrapped.as_mut(), count)? };
            if number > 0 {
                pairs.push(pair);
            }
        }
        Ok(pairs)
    }
}

/// Doubles the work until it takes a good part of the time, then takes the rule of three.
fn calibrate(rig: &mut dyn Rig, mut count: u64, seconds: f64) -> io::Result<u64> {
    loop {
        let taken = sample(rig, count)?.seconds;
        if taken > seconds / 4.0 {
            return Ok(((count as f64 * seconds / taken) as u64).max(1));
        }
        count *= 2;
    }
}

fn sample(rig: &mut dyn Rig, count: u64) -> io::Result<Sample> {
    let cpu = |rig: &dyn Rig| rig.server().map(Server::cpu_seconds).transpose();
    let (before, start) = (cpu(rig)?, Instant::now());
    let value = rig.run(count)?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), cpu(rig)?);
    Ok(Sample { value, cpu: after.zip(before).map(|(after, before)| after - before), seconds })
}
