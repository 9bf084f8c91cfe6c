//! With `-v`: a few seconds after the start, has anybody opened the ports, and is the library there?
//!
//! The program is not to notice: the process that looks is neither its child nor its parent, has none of its descriptors but
//! standard error, and ends when the program does.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use wslayer::config::Ports;
use wslayer::procfs::{Socket, connected, listening};

use crate::cli::{Config, STDERR};
use crate::failure::shown;
use crate::library;
use crate::sys;

/// When it looks. Servers open their ports in a fraction of that.
const DELAY: Duration = Duration::from_secs(5);

/// The command line of a companion, as the library starts it.
const COMPANION: &str = "wsproxy\0bridge\0";

/// A process that has a socket.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    name: String,
    /// Whether the library is in it, or it is a companion; what cannot be read counts as not.
    wrapped: bool,
}

/// Leaves a process behind that looks after this one has become the program. Where that cannot be done there is no look.
pub fn start(config: &Config) {
    let Ports::List(ranges) = &config.ports else {
        return;
    };
    let program = std::process::id();
    let log = config.log_target();
    sys::beside(DELAY, log == STDERR, || {
        for line in look(program, ranges) {
            let line = format!("wswrap[{program}]: {}: {line}\n", shown(&config.program));
            let _ = if log == STDERR {
                io::stderr().write_all(line.as_bytes())
            } else {
                File::options()
                    .append(true)
                    .create(true)
                    .open(&log)
                    .and_then(|mut file| file.write_all(line.as_bytes()))
            };
        }
    });
}

/// What is to be said of the ports in `ranges`.
fn look(program: u32, ranges: &[RangeInclusive<u16>]) -> Vec<String> {
    let listeners = with_owners(sockets(program, listening));
    let (mut open, others): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|(port, _)| is_in(*port, ranges));
    // A server for one client closes the listener when the client has come.
    let closed = closed(ranges, &open);
    if !closed.is_empty() {
        open.extend(served(program, &closed));
    }
    let own = |(port, owners): &(u16, Vec<Owner>)| owners.iter().any(|owner| owner.pid == program).then_some(*port);
    lines(ranges, &open, others.iter().find_map(own))
}

/// The ports in `ranges` on which somebody has a connection who is no older than the program: it, its descendants, and
/// the companions, which descend from nobody.
fn served(program: u32, ranges: &[RangeInclusive<u16>]) -> BTreeMap<u16, Vec<Owner>> {
    let connections = sockets(program, |table| connected(table, |port| is_in(port, ranges)));
    let start = started(program);
    let mut served = BTreeMap::<u16, Vec<Owner>>::new();
    for (port, mut owners) in with_owners(connections) {
        owners.retain(|owner| started(owner.pid) >= start);
        if !owners.is_empty() {
            served.entry(port).or_default().extend(owners);
        }
    }
    served
}

fn is_in(port: u16, ranges: &[RangeInclusive<u16>]) -> bool {
    ranges.iter().any(|range| range.contains(&port))
}

/// The single ports that are not open, and the ranges of which none is: programs are given a range to choose from.
fn closed(ranges: &[RangeInclusive<u16>], open: &[(u16, Vec<Owner>)]) -> Vec<RangeInclusive<u16>> {
    ranges.iter().filter(|range| !open.iter().any(|(port, _)| range.contains(port))).cloned().collect()
}

/// What is to be said: `open` are the requested ports and who has them, `other` one on which the program listens besides.
fn lines(ranges: &[RangeInclusive<u16>], open: &[(u16, Vec<Owner>)], other: Option<u16>) -> Vec<String> {
    let mut lines = Vec::new();
    let closed = closed(ranges, open);
    if !closed.is_empty() {
        let elsewhere = other.map(|port| format!("; the program listens on {port}")).unwrap_or_default();
        let (ports, delay) = (Ports::List(closed), DELAY.as_secs());
        lines.push(format!("port {ports} is not open after {delay} s{elsewhere}: is it the right port?"));
    }
    lines.extend(open.iter().filter(|(_, owners)| !owners.iter().any(|owner| owner.wrapped)).map(|(port, owners)| {
        match owners.first() {
            Some(Owner { pid, name, .. }) => format!(
                "port {port} is open and not wrapped: process {pid} ({}) has it, and libwswrapper.so is not in that process; \
                 try `wswrap --check` on its program",
                shown(name)
            ),
            None => format!("port {port} is open in a process that you may not look into: it is not wrapped"),
        }
    }));
    // One for each address family.
    lines.dedup();
    lines
}

/// What `read` finds in the tables that a process can see: those of its network namespace.
fn sockets(pid: u32, read: impl Fn(BufReader<File>) -> Vec<Socket>) -> Vec<Socket> {
    let table = |name: &str| File::open(format!("/proc/{pid}/net/{name}")).map(|file| read(BufReader::new(file)));
    [table("tcp"), table("tcp6")].into_iter().flatten().flatten().collect()
}

/// The ports of `sockets`, and the processes that have them, as far as they can be looked into.
fn with_owners(sockets: Vec<Socket>) -> Vec<(u16, Vec<Owner>)> {
    let links: Vec<PathBuf> = sockets.iter().map(|socket| socket.link().into()).collect();
    let mut found: Vec<_> = sockets.iter().map(|socket| (socket.port, Vec::new())).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let held: HashSet<PathBuf> = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        for ((_, owners), _) in found.iter_mut().zip(&links).filter(|(_, link)| held.contains(*link)) {
            owners.push(Owner::of(pid));
        }
    }
    found
}

impl Owner {
    fn of(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let wrapped = read("maps").contains(library::NAME) || read("cmdline") == COMPANION;
        Self { pid, name: read("comm").trim_end().to_owned(), wrapped }
    }
}

/// When a process was started, in ticks (proc_pid_stat(5), `starttime`); `None` if it has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, which may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_and_their_owner_is_this_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = socket.local_addr().expect("an address").port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
        let own = std::process::id();
        let is_own = |owners: &[Owner]| matches!(owners, [Owner { pid, wrapped: false, .. }] if *pid == own);
        let listeners = with_owners(sockets(own, listening));
        assert!(listeners.iter().any(|(found, owners)| *found == port && is_own(owners)), "{listeners:?}");

        assert_eq!(served(own, &[port..=port]), BTreeMap::new(), "not accepted");
        let _accepted = socket.accept().expect("accepted");
        drop(socket);
        let found = served(own, &[port..=port]);
        assert!(found.len() == 1 && is_own(&found[&port]), "{found:?}");
        assert_eq!(look(own, &[port..=port]).len(), 1, "it is not wrapped");
        assert!(started(own) >= started(1) && started(1).is_some());
        drop(client);
    }

    #[test]
    fn a_line_is_said_where_something_is_wrong() {
        let owner = |wrapped| Owner { pid: 7, name: "Xvnc".into(), wrapped };
        let good = |port| (port, vec![owner(true), owner(false)]);
        let bad = |port| (port, vec![owner(false)]);
        let said = |ports: &str, open: &[(u16, Vec<Owner>)], other| match ports.parse() {
            Ok(Ports::List(ranges)) => lines(&ranges, open, other),
            other => panic!("{other:?}"),
        };
        // The ports, those that are open, another one; then the ports that are said to be closed, and how many are not wrapped.
        for (ports, open, other, closed, unwrapped) in [
            ("5901", &[good(5901)][..], None, None, 0),
            ("5901", &[good(5901)], Some(80), None, 0),
            ("5901", &[bad(5901), bad(5901)], None, None, 1),
            ("5901", &[(5901, vec![])], None, None, 1),
            ("5901", &[], None, Some("5901 is not open after 5 s:"), 0),
            ("5901", &[], Some(80), Some("5901 is not open after 5 s; the program listens on 80:"), 0),
            ("1,2", &[good(1)], None, Some("2 is"), 0),
            ("1,2,3", &[bad(2)], None, Some("1,3 is"), 1),
            ("1,2", &[good(1), good(2)], None, None, 0),
            ("1-3", &[good(3)], None, None, 0),
            ("1-3,5-6", &[good(2)], None, Some("5-6 is"), 0),
            ("1-3,2", &[good(3)], None, Some("2 is"), 0),
        ] {
            let said = said(ports, open, other);
            let is = |line: &&String| closed.is_some_and(|closed| line.starts_with(&format!("port {closed}")));
            assert_eq!(said.iter().filter(is).count(), usize::from(closed.is_some()), "{ports}: {said:?}");
            let others = said.iter().filter(|line| line.contains("is not wrapped") || line.contains("(Xvnc)"));
            assert_eq!(
                (others.count(), said.len()),
                (unwrapped, unwrapped + usize::from(closed.is_some())),
                "{said:?}"
            );
        }
    }
}
