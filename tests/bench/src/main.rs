//! The benchmark: a program with the library or behind the proxy against the same program without it.
//!
//! `wsbench [wrap|bridge|proxy] [--quick] [--noise] [FILTER]...` prints one line a measure; `docs/performance.md` tells how
//! each is taken. The exit status is 0 when everything ran, whatever the figures are.

mod command;
mod connections;
mod crowd;
mod echo;
mod hixie;
mod link;
mod measure;
mod memory;
mod messages;
mod proxies;
mod report;
mod rfc6455;
mod server;
mod stream;
mod sys;
mod tables;
mod tls;
mod wire;
mod zero;

use std::io::{self, Write};
use std::process::ExitCode;

use measure::{Amount, By, Effort, Measure, Pair};
use proxies::Kind;
use server::Site;
use tables::{BRIDGE, CPUS, PROXY, WRAP};
use wire::Wire;

const HELP: &str = "\
usage: scripts/bench [wrap|bridge|proxy] [--quick] [--noise] [FILTER]...

  wrap      the library: a wrapped server against the same one bare (the default)
  bridge    a connection that was handed on to a new program, against the wrapped program that keeps it
  proxy     the proxy in front of a server, and the peers found here, against the same server without it
  --quick   15 pairs instead of 125
  --noise   bare against bare: what the figures are worth on this machine
  FILTER    only measures whose name contains this
";

/// What the table is about.
enum What {
    Library,
    Companion,
    Proxies,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wsbench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<ExitCode> {
    let mut effort = Effort { pairs: 125, seconds: 0.04, noise: false };
    let (mut filters, mut what) = (Vec::new(), What::Library);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "wrap" => what = What::Library,
            "bridge" => what = What::Companion,
            "proxy" => what = What::Proxies,
            "--quick" => effort.pairs = 15,
            "--noise" => effort.noise = true,
            "-h" | "--help" => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            option if option.starts_with('-') => {
                eprint!("wsbench: unknown option {option}\n{HELP}");
                return Ok(ExitCode::FAILURE);
            }
            filter => filters.push(filter.to_owned()),
        }
    }
    let wanted = |measure: &&Measure| filters.is_empty() || filters.iter().any(|filter| measure.name.contains(filter));
    let site = Site::prepare()?;
    let table = Table { site, effort };
    let (reached, all) = match what {
        What::Library => table.each(&WRAP, ["bare", "wrapped"], [By::Nothing, By::Library], wanted)?,
        What::Companion => table.each(&BRIDGE, ["in place", "bridged"], [By::Library, By::Companion], wanted)?,
        What::Proxies => {
            let (reached, all) = table.proxies(wanted)?;
            let kinds = [By::Proxy(Kind::Bound), By::Proxy(Kind::Wsproxy)];
            let (further, more) = table.each(&CPUS, ["one CPU", "all CPUs"], kinds, wanted)?;
            (reached + further, all + more)
        }
    };
    if all == 0 {
        return Err(io::Error::other("no measure has that in its name"));
    }
    println!("{reached} of {all} targets reached");
    Ok(ExitCode::SUCCESS)
}

/// What all lines have in common.
struct Table {
    site: Site,
    effort: Effort,
}

impl Table {
    /// Measures `sides` against each other. Returns how many targets were reached, and how many there are.
    fn each(
        &self,
        measures: &[Measure],
        names: [&str; 2],
        sides: [By; 2],
        wanted: impl Fn(&&Measure) -> bool,
    ) -> io::Result<(usize, usize)> {
        let (mut reached, mut all) = (0, 0);
        for measure in measures.iter().filter(wanted) {
            if all == 0 {
                println!("{}", report::head(names));
            }
            let pairs = self.take(measure, sides)?;
            // A companion is a further process as well.
            let relay = if sides.contains(&By::Companion) { self.relay(measure)? } else { None };
            let (line, good) = report::line(measure.name, measure, &pairs);
            let words = report::beside_relay(measure, report::figure(measure, &pairs), relay);
            println!("{line}{words}  {}", report::verdict(good));
            io::stdout().flush()?;
            (reached, all) = (reached + usize::from(good), all + 1);
        }
        Ok((reached, all))
    }

    /// Measures our proxy beside the peers that are here. One that cannot do the work has a line that says so.
    fn proxies(&self, wanted: impl Fn(&&Measure) -> bool) -> io::Result<(usize, usize)> {
        let (mut reached, mut all) = (0, 0);
        for (measure, factor) in PROXY.iter().filter(|(measure, _)| wanted(&measure)) {
            if all == 0 {
                println!("{}", report::head(["bare", "proxied"]));
            }
            let ours = self.take(measure, [By::Nothing, By::Proxy(Kind::Wsproxy)])?;
            let relay = self.relay(measure)?;
            let mut peers = Vec::new();
            // What a peer keeps for a connection may be a process: nobody waits for five thousand of them.
            let compared = !matches!(measure.amount, Amount::Just(_));
            for kind in Kind::PEERS.into_iter().filter(|kind| compared && kind.is_here()) {
                match measure.take(&self.site, self.few(), [By::Nothing, By::Proxy(kind)]) {
                    Ok(pairs) => {
                        peers.push(report::figure(measure, &pairs));
                        println!("{}", report::line(&format!("  {}", kind.name()), measure, &pairs).0);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => println!("  {}: no answer", kind.name()),
                    Err(error) => println!("  {}: {error}", kind.name()),
                }
            }
            let (line, good) = report::line(measure.name, measure, &ours);
            let figure = report::figure(measure, &ours);
            let (words, better) = report::beside(measure, figure, &peers, *factor);
            let relay = report::beside_relay(measure, figure, relay);
            println!("{line}{relay}{words}  {}", report::verdict(good && better));
            io::stdout().flush()?;
            (reached, all) = (reached + usize::from(good && better), all + 1);
        }
        Ok((reached, all))
    }

    /// What the least of all proxies reaches, which is no peer: bytes that it moves are not encrypted and not looked at.
    fn relay(&self, measure: &Measure) -> io::Result<Option<f64>> {
        if measure.wire == Wire::Wss || matches!(measure.amount, Amount::Just(_)) {
            return Ok(None);
        }
        let kind = Kind::Relay;
        let pairs = self.take(measure, [By::Nothing, By::Proxy(kind)])?;
        println!("{}", report::line(&format!("  {}", kind.name()), measure, &pairs).0);
        Ok(Some(report::figure(measure, &pairs)))
    }

    /// Takes a measure in full. An error names it.
    fn take(&self, measure: &Measure, sides: [By; 2]) -> io::Result<Vec<Pair>> {
        if let Amount::Just(count) = measure.amount
            && self.site.connections(count) < count
        {
            let (name, count) = (measure.name, self.site.connections(count));
            println!("  {name}: {count} only, for the hard limit of open files is low (ulimit -Hn)");
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", measure.name));
        measure.take(&self.site, self.effort, sides).map_err(named)
    }

    /// What peers are measured with. Fewer pairs than these say nothing.
    fn few(&self) -> Effort {
        Effort { pairs: (self.effort.pairs / 5).max(9), ..self.effort }
    }
}
