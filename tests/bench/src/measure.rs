//! How a measure is taken: the same work by two servers in turn, and the ratio of each pair.

use std::io;
use std::slice;
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
    /// As much as keeps the bare server busy for the run's time, found by trying from this much on.
    From(u64),
    /// So much, whatever it takes.
    Just(u64),
}

/// What is to be reached. Each is about the median over all pairs.
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
    /// CPU seconds of the server and its front, if they say something.
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
    /// Takes all pairs of two sides, the bare one first, in turn, after one pair that warms up and does not count.
    pub fn take(&self, site: &Site, effort: Effort, [first, other]: [By; 2]) -> io::Result<Vec<Pair>> {
        let first = Side::new(first, self);
        let other = if effort.noise { first } else { Side::new(other, self) };
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
    let cpu = |rig: &dyn Rig| rig.server().map_or(Ok(None), Server::cpu_seconds);
    let (before, start) = (cpu(rig)?, Instant::now());
    let value = rig.run(count)?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), cpu(rig)?);
    Ok(Sample { value, cpu: after.zip(before).map(|(after, before)| after - before), seconds })
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
