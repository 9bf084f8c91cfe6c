//! The benchmark of the library: a program with it against the same program without it.
//!
//! `wsbench [wrap] [--quick] [--noise] [FILTER]...` prints one line a measure; `docs/performance.md` tells how
//! each is taken. The exit status is 0 when everything ran, whatever the figures are.

mod command;
mod connections;
mod echo;
mod hixie;
mod link;
mod measure;
mod memory;
mod messages;
mod report;
mod server;
mod stream;
mod sys;
mod wire;
mod zero;

use std::io::{self, Write};
use std::process::ExitCode;

use measure::{Amount, Effort, Measure, Place, Target};
use wire::Wire;

const HELP: &str = "\
usage: scripts/bench [wrap] [--quick] [--noise] [FILTER]...

  wrap      the library: a wrapped server against the same one bare (the default)
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
    let mut filters = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "wrap" => {}
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
    let measures: Vec<&Measure> = WRAP.iter().filter(wanted).collect();
    if measures.is_empty() {
        return Err(io::Error::other("no measure has that in its name"));
    }
    if sys::raise_file_limit()? < IDLE + 100 {
        return Err(io::Error::other("the hard limit of open files is too low (ulimit -Hn)"));
    }
    let site = server::Site::prepare()?;
    println!("{}", report::head());
    let mut reached = 0;
    for measure in &measures {
        let pairs = measure
            .take(&site, effort)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", measure.name)))?;
        let (line, good) = report::line(measure, &pairs);
        println!("{line}");
        io::stdout().flush()?;
        reached += usize::from(good);
    }
    println!("{reached} of {} targets reached", measures.len());
    Ok(ExitCode::SUCCESS)
}
