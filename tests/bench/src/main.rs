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

use measure::{Amount, By, Effort, Measure, Runs, Sample};
use proxies::Kind;
use server::Site;
use tables::{BRIDGE, CPUS, PROXY, WRAP};
use wire::Wire;

const HELP: &str = "\
usage: scripts/bench [wrap|bridge|proxy] [--quick] [--noise] [FILTER]...

  wrap      the library: a wrapped server against the same one bare (the default)
  bridge    a connection that was handed on to a new program, against the wrapped program that keeps it
  proxy     the proxy in front of a server, and the peers found here, against the same server without it
  --quick   15 turns instead of 125
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
    let mut effort = Effort { turns: 125, seconds: 0.04, noise: false };
    let (mut filters, mut what) = (Vec::new(), What::Library);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "wrap" => what = What::Library,
            "bridge" => what = What::Companion,
            "proxy" => what = What::Proxies,
            "--quick" => effort.turns = 15,
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
        What::Library => table.each(&WRAP, ["bare", "wrapped"], &[By::Nothing, By::Library], wanted)?,
        What::Companion => {
            // A companion is a further process, as a relay is.
            let sides = [By::Library, By::Companion, By::Nothing, By::Proxy(Kind::Relay)];
            table.each(&BRIDGE, ["in place", "bridged"], &sides, wanted)?
        }
        What::Proxies => {
            let (reached, all) = table.proxies(wanted)?;
            let kinds = [By::Proxy(Kind::Bound), By::Proxy(Kind::Wsproxy)];
            let (further, more) = table.each(&CPUS, ["one CPU", "all CPUs"], &kinds, wanted)?;
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
    /// Measures the second of `sides` against the first, and shows what a relay is against none where there are two more. Returns
    /// how many targets were reached, and how many there are.
    fn each(
        &self,
        measures: &[Measure],
        names: [&str; 2],
        sides: &[By],
        wanted: impl Fn(&&Measure) -> bool,
    ) -> io::Result<(usize, usize)> {
        let (mut reached, mut all) = (0, 0);
        for measure in measures.iter().filter(wanted) {
            if all == 0 {
                println!("{}", report::head(names));
            }
            let runs: Vec<Vec<Sample>> = self.take(measure, sides).into_iter().collect::<io::Result<_>>()?;
            if let [_, _, bare, relay] = &runs[..] {
                println!("{}", indented(Kind::Relay, measure, bare, relay));
            }
            if let [first, other, ..] = &runs[..] {
                let (line, good) = report::line(measure.name, measure, first, other);
                println!("{line}  {}", report::verdict(good));
                (reached, all) = (reached + usize::from(good), all + 1);
            }
            io::stdout().flush()?;
        }
        Ok((reached, all))
    }

    /// Measures our proxy beside the peers that are here, and the least of all proxies, which is no peer: it encrypts nothing and
    /// does not look at what it moves. A peer that cannot do the work has a line that says so.
    fn proxies(&self, wanted: impl Fn(&&Measure) -> bool) -> io::Result<(usize, usize)> {
        let (mut reached, mut all) = (0, 0);
        for (measure, factor) in PROXY.iter().filter(|(measure, _)| wanted(&measure)) {
            if all == 0 {
                println!("{}", report::head(["bare", "proxied"]));
            }
            // What a peer keeps for a connection may be a process: nobody waits for five thousand of them.
            let compared = !matches!(measure.amount, Amount::Just(_));
            let relay = (compared && measure.wire != Wire::Wss).then_some(Kind::Relay);
            let peers = Kind::PEERS.into_iter().filter(|kind| compared && kind.is_here());
            let others: Vec<Kind> = relay.into_iter().chain(peers).collect();
            let proxies = [Kind::Wsproxy].into_iter().chain(others.iter().copied()).map(By::Proxy);
            let mut runs =
                self.take(measure, &[By::Nothing].into_iter().chain(proxies).collect::<Vec<_>>()).into_iter();
            let mut next = || runs.next().unwrap_or_else(|| Ok(Vec::new()));
            let (bare, ours) = (next()?, next()?);
            let (mut beside_relay, mut beside_peers) = (None, Vec::new());
            for kind in others {
                match next() {
                    Ok(theirs) => {
                        println!("{}", indented(kind, measure, &bare, &theirs));
                        let times = report::times(measure, &ours, &theirs);
                        match kind {
                            Kind::Relay => beside_relay = Some(times),
                            _ => beside_peers.push(times),
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => println!("  {}: no answer", kind.name()),
                    Err(error) => println!("  {}: {error}", kind.name()),
                }
            }
            let (line, good) = report::line(measure.name, measure, &bare, &ours);
            let (words, better) = report::beside(beside_peers.into_iter(), *factor);
            let relay = report::beside_relay(beside_relay);
            println!("{line}{relay}{words}  {}", report::verdict(good && better));
            io::stdout().flush()?;
            (reached, all) = (reached + usize::from(good && better), all + 1);
        }
        Ok((reached, all))
    }

    /// Takes a measure. An error names it.
    fn take(&self, measure: &Measure, sides: &[By]) -> Vec<Runs> {
        if let Amount::Just(count) = measure.amount
            && self.site.connections(count) < count
        {
            let (name, count) = (measure.name, self.site.connections(count));
            println!("  {name}: {count} only, for the hard limit of open files is low (ulimit -Hn)");
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", measure.name));
        measure.take(&self.site, self.effort, sides).into_iter().map(|runs| runs.map_err(named)).collect()
    }
}

/// The line of one that is there to compare with.
fn indented(kind: Kind, measure: &Measure, bare: &[Sample], other: &[Sample]) -> String {
    report::line(&format!("  {}", kind.name()), measure, bare, other).0
}
