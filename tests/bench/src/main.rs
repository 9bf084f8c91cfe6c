//! The benchmark of the library: a program with it against the same program without it.
//!
//! `wsbench [wrap|bridge|proxy] [--quick] [--noise] [FILTER]...` prints one line a measure; `docs/performance.md` tells how
//! each is taken. The exit status is 0 when everything ran, whatever the figures are.

mod command;
mod connections;
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
mod wire;
mod zero;

use std::io::{self, Write};
use std::process::ExitCode;

use measure::{Amount, By, Effort, Measure, Place, Target};
use proxies::Kind;
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

/// Idle connections that share the memory.
const IDLE: u64 = 5000;

const WRAP: [Measure; 12] = [
    Measure {
        name: "download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Download::dropped,
    },
    Measure {
        name: "download, same bytes",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Download::headed,
    },
    Measure {
        name: "upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.93),
        rig: stream::Upload::large,
    },
    Measure {
        name: "upload 64-byte frames",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.35),
        rig: stream::Upload::small,
    },
    Measure {
        name: "echo p50, blocking server",
        unit: "us",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(100),
        target: Target::AtMost(1.07),
        rig: echo::Echo::blocking,
    },
    Measure {
        name: "echo p50, epoll server",
        unit: "us",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(100),
        target: Target::AtMost(1.07),
        rig: echo::Echo::epoll,
    },
    Measure {
        name: "new connections",
        unit: "1/s",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(50),
        target: Target::AtLeast(0.8),
        rig: connections::Connections::rig,
    },
    Measure {
        name: "messages, 100 connections",
        unit: "1/s",
        wire: Wire::Rfc6455,
        place: Place::Apart,
        amount: Amount::From(10),
        target: Target::AtLeast(0.93),
        rig: messages::Messages::rig,
    },
    Measure {
        name: "hixie-76 download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Hixie76,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.45),
        rig: stream::Download::read,
    },
    Measure {
        name: "hixie-76 upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Hixie76,
        place: Place::Apart,
        amount: Amount::From(16),
        target: Target::AtLeast(0.45),
        rig: stream::Upload::large,
    },
    Measure {
        name: "read of /dev/zero",
        unit: "ns",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::From(10_000),
        target: Target::AtMost(1.05),
        rig: zero::Zero::rig,
    },
    Measure {
        name: "memory, idle connection",
        unit: "byte",
        wire: Wire::Rfc6455,
        place: Place::Together,
        amount: Amount::Just(IDLE),
        target: Target::More(1024.0),
        rig: memory::Memory::rig,
    },
];

/// What is measured of a bridged connection.
const BRIDGE: [Measure; 2] = [
    Measure {
        name: "download 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Anywhere,
        amount: Amount::From(16),
        target: Target::AtLeast(0.75),
        rig: stream::Download::read,
    },
    Measure {
        name: "upload 64 KiB",
        unit: "MiB/s",
        wire: Wire::Rfc6455,
        place: Place::Anywhere,
        amount: Amount::From(16),
        target: Target::AtLeast(0.75),
        rig: stream::Upload::large,
    },
];

/// What is measured of a proxy, and how many times better than the best peer it is to be.
const PROXY: [(Measure, f64); 6] = [
    (
        Measure {
            name: "download 64 KiB",
            unit: "MiB/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.7),
            rig: stream::Download::read,
        },
        1.5,
    ),
    (
        Measure {
            name: "upload 64 KiB",
            unit: "MiB/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(16),
            target: Target::AtLeast(0.5),
            rig: stream::Upload::large,
        },
        2.0,
    ),
    (
        Measure {
            name: "new connections",
            unit: "1/s",
            wire: Wire::Rfc6455,
            place: Place::Together,
            amount: Amount::From(16),
            target: Target::AtLeast(0.6),
            rig: connections::Connections::rig,
        },
        1.0,
    ),
    (
        Measure {
            name: "messages, 100 connections",
            unit: "1/s",
            wire: Wire::Rfc6455,
            place: Place::Apart,
            amount: Amount::From(4),
            target: Target::AtLeast(0.9),
            rig: messages::Messages::rig,
        },
        1.0,
    ),
    (
        Measure {
            name: "echo p50, epoll server",
            unit: "us",
            wire: Wire::Rfc6455,
            place: Place::Together,
            amount: Amount::From(100),
            target: Target::AtMost(f64::INFINITY),
            rig: echo::Echo::epoll,
        },
        1.0,
    ),
    (
        Measure {
            name: "memory, idle connection",
            unit: "byte",
            wire: Wire::Rfc6455,
            place: Place::Together,
            amount: Amount::Just(IDLE),
            target: Target::More(10.0 * 1024.0),
            rig: memory::Memory::rig,
        },
        1.0,
    ),
];

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
    if sys::raise_file_limit()? < 2 * IDLE + 100 {
        return Err(io::Error::other("the hard limit of open files is too low (ulimit -Hn)"));
    }
    let site = server::Site::prepare()?;
    let (reached, all) = match what {
        What::Library => measure_each(&WRAP, &site, effort, By::Library, wanted)?,
        What::Companion => measure_each(&BRIDGE, &site, effort, By::Companion, wanted)?,
        What::Proxies => measure_proxies(&site, effort, wanted)?,
    };
    if all == 0 {
        return Err(io::Error::other("no measure has that in its name"));
    }
    println!("{reached} of {all} targets reached");
    Ok(ExitCode::SUCCESS)
}

/// Names the measure in its error.
fn take(measure: &Measure, site: &server::Site, effort: Effort, by: By) -> io::Result<Vec<measure::Pair>> {
    measure.take(site, effort, by).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", measure.name)))
}

/// Returns how many targets were reached, and how many there are.
fn measure_each(
    measures: &[Measure],
    site: &server::Site,
    effort: Effort,
    by: By,
    wanted: impl Fn(&&Measure) -> bool,
) -> io::Result<(usize, usize)> {
    let (first, other) = if by == By::Companion { ("in place", "bridged") } else { ("bare", "wrapped") };
    println!("{}", report::head(first, other));
    let (mut reached, mut all) = (0, 0);
    for measure in measures.iter().filter(wanted) {
        let pairs = take(measure, site, effort, by)?;
        let (line, good) = report::line(measure.name, measure, &pairs);
        println!("{line}  {}", report::verdict(good));
        io::stdout().flush()?;
        (reached, all) = (reached + usize::from(good), all + 1);
    }
    Ok((reached, all))
}

/// The same of our proxy, beside the peers that are here. One that cannot do the work has a line that says so.
fn measure_proxies(
    site: &server::Site,
    effort: Effort,
    wanted: impl Fn(&&Measure) -> bool,
) -> io::Result<(usize, usize)> {
    println!("{}", report::head("bare", "proxied"));
    let (mut reached, mut all) = (0, 0);
    for (measure, factor) in PROXY.iter().filter(|(measure, _)| wanted(&measure)) {
        let ours = take(measure, site, effort, By::Proxy(Kind::Wsproxy))?;
        let mut peers = Vec::new();
        // What a peer keeps for a connection may be a process: nobody waits for five thousand of them.
        let compared = !matches!(measure.amount, Amount::Just(_));
        for kind in Kind::ALL.into_iter().skip(1).filter(|kind| compared && kind.is_here()) {
            let few = Effort { pairs: effort.pairs / 5, ..effort };
            match measure.take(site, few, By::Proxy(kind)) {
                Ok(pairs) => {
                    peers.push(report::figure(measure, &pairs));
                    println!("{}", report::line(&format!("  {}", kind.name()), measure, &pairs).0);
                }
                Err(error) => println!("  {}: {error}", kind.name()),
            }
        }
        let (line, good) = report::line(measure.name, measure, &ours);
        let (words, better) = report::beside(measure, report::figure(measure, &ours), &peers, *factor);
        println!("{line}{words}  {}", report::verdict(good && better));
        io::stdout().flush()?;
        (reached, all) = (reached + usize::from(good && better), all + 1);
    }
    Ok((reached, all))
}
