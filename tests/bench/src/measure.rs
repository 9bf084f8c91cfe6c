//! How a measure is taken: the same work by several servers in turn, and the ratios of each turn.

use std::io;
use std::slice;
use std::time::Instant;

use crate::proxies::Kind;
use crate::server::{Server, Site};
use crate::wire::Wire;

/// Which of the servers, and how the client speaks to it.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// What makes the WebSocket.
    pub by: By,
    /// Plain on the bare side.
    pub wire: Wire,
    /// Where the server runs.
    pub place: Place,
}

impl Side {
    /// What speaks plain TCP itself has a plain client.
    fn new(by: By, measure: &Measure) -> Self {
        let wire = match by {
            By::Nothing | By::Proxy(Kind::Relay) => Wire::Plain,
            By::Library | By::Companion | By::Proxy(_) => measure.wire,
        };
        Self { by, wire, place: measure.place }
    }
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

/// Where a server runs, and a proxy in front of it, seen from their client, which has the first CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a CPU of its own: for work that both do at the same time. A proxy has the CPUs that are left, or any if none is.
    Apart,
    /// On the client's CPU: for work that they do in turn. Waking another CPU costs more than all the rest, and
    /// never the same.
    Together,
    /// On any CPU, and a companion as well: for work of three processes.
    Anywhere,
}

impl Place {
    /// Those of `cpus` that the server may use. With one CPU there is no choice.
    pub fn of_server(self, cpus: &[usize]) -> &[usize] {
        match (self, cpus) {
            (Self::Together, [first, ..]) => slice::from_ref(first),
            (Self::Apart, [_, second, ..]) => slice::from_ref(second),
            (Self::Together | Self::Apart | Self::Anywhere, all) => all,
        }
    }

    /// Those of `cpus` that a proxy in front of the server may use.
    pub fn of_proxy(self, cpus: &[usize]) -> &[usize] {
        match (self, cpus) {
            (Self::Together, [first, ..]) => slice::from_ref(first),
            (Self::Apart, [_, _, others @ ..]) if !others.is_empty() => others,
            (Self::Together | Self::Apart | Self::Anywhere, all) => all,
        }
    }
}

/// One server and its client, ready to work.
pub trait Rig {
    /// Does `count` units of work and returns the figure, in the measure's unit. Any doubt about what the server
    /// did is an error.
    fn run(&mut self, count: u64) -> io::Result<f64>;

    /// The server whose CPU time, with that of what stands in front of it, the work costs; none if that says nothing.
    fn server(&self) -> Option<&Server>;
}

/// How much work one run is.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// As much as keeps the server busy for the run's time, found by trying from this much on.
    From(u64),
    /// So much, whatever it takes.
    Just(u64),
}

/// What is to be reached. Each is about the median over all turns.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// wrapped / bare at least; 0 if the ratio is only shown.
    AtLeast(f64),
    /// wrapped / bare at most; infinite if the ratio is only shown.
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
    /// Turns, in each of which every server has a run.
    pub turns: usize,
    /// What a run takes, in seconds.
    pub seconds: f64,
    /// Whether the other sides are bare as well: what the table then shows is the noise.
    pub noise: bool,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The figure, in the measure's unit.
    pub value: f64,
    /// CPU seconds of the server and its front for a unit of work, if they say something.
    pub cpu: Option<f64>,
}

/// The runs of one side, a turn each, or why it has none.
pub type Runs = io::Result<Vec<Sample>>;

/// A side that does its work.
struct Working {
    rig: Box<dyn Rig>,
    /// Units of work in a run.
    count: u64,
    runs: Vec<Sample>,
}

impl Measure {
    /// Takes all turns of these sides. One that fails is out of the game, and the others go on.
    pub fn take(&self, site: &Site, effort: Effort, sides: &[By]) -> Vec<Runs> {
        let by = |side: &By| if effort.noise { sides.first().copied().unwrap_or(*side) } else { *side };
        let mut working: Vec<io::Result<Working>> =
            sides.iter().map(|side| self.prepare(site, effort, by(side))).collect();
        // A fixed amount has no time in it, so there is little noise to take out.
        let turns = match self.amount {
            Amount::Just(_) => effort.turns.min(5),
            Amount::From(_) => effort.turns,
        };
        // The first turn warms up and does not count.
        for number in 0..=turns {
            for side in &mut working {
                let Ok(Working { rig, count, runs }) = side else { continue };
                match sample(rig.as_mut(), *count) {
                    Ok((run, _)) if number > 0 => runs.push(run),
                    Ok(_) => {}
                    Err(error) => *side = Err(error),
                }
            }
        }
        working.into_iter().map(|side| side.map(|side| side.runs)).collect()
    }

    /// Starts a side and finds out what a run of it is.
    fn prepare(&self, site: &Site, effort: Effort, by: By) -> io::Result<Working> {
        let mut rig = (self.rig)(site, Side::new(by, self))?;
        let count = match self.amount {
            Amount::Just(count) => count,
            Amount::From(first) => calibrate(rig.as_mut(), first, effort.seconds)?,
        };
        Ok(Working { rig, count, runs: Vec::new() })
    }
}

/// Doubles the work until it takes a good part of the time, then takes the rule of three.
fn calibrate(rig: &mut dyn Rig, mut count: u64, seconds: f64) -> io::Result<u64> {
    loop {
        let taken = sample(rig, count)?.1;
        if taken > seconds / 4.0 {
            return Ok(((count as f64 * seconds / taken) as u64).max(1));
        }
        count *= 2;
    }
}

/// One run, and the seconds that it took.
fn sample(rig: &mut dyn Rig, count: u64) -> io::Result<(Sample, f64)> {
    let cpu = |rig: &dyn Rig| rig.server().map_or(Ok(None), Server::cpu_seconds);
    let (before, start) = (cpu(rig)?, Instant::now());
    let value = rig.run(count)?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), cpu(rig)?);
    let cpu = after.zip(before).map(|(after, before)| (after - before) / count as f64);
    Ok((Sample { value, cpu }, seconds))
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_with_one_cpu_two_and_four() {
        let [one, two, four] = [&[3][..], &[3, 5], &[3, 5, 6, 7]];
        assert_eq!([one, two, four].map(|cpus| Place::Together.of_server(cpus)), [&[3], &[3], &[3]]);
        assert_eq!([one, two, four].map(|cpus| Place::Together.of_proxy(cpus)), [&[3], &[3], &[3]]);
        assert_eq!([one, two, four].map(|cpus| Place::Apart.of_server(cpus)), [&[3], &[5], &[5]]);
        assert_eq!([one, two, four].map(|cpus| Place::Apart.of_proxy(cpus)), [one, two, &[6, 7]]);
        assert_eq!([one, two, four].map(|cpus| Place::Anywhere.of_server(cpus)), [one, two, four]);
        assert_eq!([one, two, four].map(|cpus| Place::Anywhere.of_proxy(cpus)), [one, two, four]);
    }
}
