//! With `-v`: a few seconds after the start, has anybody opened the ports, and is the library there?
//!
//! The program is not to notice: the process that looks is neither its child nor its parent, has none of its descriptors but
//! standard error, and ends when the program does.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use wslayer::config::Ports;
use wslayer::procfs::{Listening, listening};

use crate::cli::{Config, STDERR};
use crate::failure::shown;
use crate::library;
use crate::sys;

/// When it looks. Servers open their ports in a fraction of that.
const DELAY: Duration = Duration::from_secs(5);

/// A process that has a listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    name: String,
    /// Whether the library is in it; what cannot be read counts as not.
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
        let listeners = listeners(program);
        let wanted = |listener: &&Listening| ranges.iter().any(|range| range.contains(&listener.port));
        let open: Vec<_> = listeners.iter().filter(wanted).map(|listener| (listener.port, owners(*listener))).collect();
        let others: Vec<_> =
            listeners.iter().filter(|listener| owners(**listener).iter().any(|owner| owner.pid == program)).collect();
        for line in lines(&config.ports, &open, &others) {
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

/// What is to be said: `open` are the requested ports and who has them, `others` what the program itself listens on.
fn lines(ports: &Ports, open: &[(u16, Vec<Owner>)], others: &[&Listening]) -> Vec<String> {
    if open.is_empty() {
        let elsewhere = match others {
            [] => String::new(),
            [first, ..] => format!("; the program listens on {}", first.port),
        };
        return vec![format!("port {ports} is not open after {} s{elsewhere}: is it the right port?", DELAY.as_secs())];
    }
    let mut lines: Vec<String> = open
        .iter()
        .filter(|(_, owners)| !owners.iter().any(|owner| owner.wrapped))
        .map(|(port, owners)| match owners.first() {
            Some(Owner { pid, name, .. }) => format!(
                "port {port} is open and not wrapped: process {pid} ({}) has it, and libwswrapper.so is not in that process; \
                 try `wswrap --check` on its program",
                shown(name)
            ),
            None => format!("port {port} is open in a process that you may not look into: it is not wrapped"),
        })
        .collect();
    // One for each address family.
    lines.dedup();
    lines
}

/// The listening TCP sockets that a process can see: those of its network namespace.
fn listeners(pid: u32) -> Vec<Listening> {
    let table = |name: &str| File::open(format!("/proc/{pid}/net/{name}")).map(|file| listening(BufReader::new(file)));
    [table("tcp"), table("tcp6")].into_iter().flatten().flatten().collect()
}

/// The processes that have this socket, as far as they can be looked into.
fn owners(listener: Listening) -> Vec<Owner> {
    let link = listener.link();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            descriptors.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(&link)))
        })
        .map(|pid| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            Owner { pid, name: read("comm").trim_end().to_owned(), wrapped: read("maps").contains(library::NAME) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_and_their_owner_is_this_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = socket.local_addr().expect("an address").port();
        let own = std::process::id();
        let listener = listeners(own).into_iter().find(|listener| listener.port == port).expect("listed");
        let owners = owners(listener);
        assert!(matches!(&owners[..], [Owner { pid, wrapped: false, .. }] if *pid == own), "{owners:?}");
    }

    #[test]
    fn a_line_is_said_where_something_is_wrong() {
        let ports: Ports = "5901".parse().expect("a port");
        let owner = |wrapped| Owner { pid: 7, name: "Xvnc".into(), wrapped };
        assert_eq!(lines(&ports, &[(5901, vec![owner(true), owner(false)])], &[]), [""; 0]);
        let twice = [(5901, vec![owner(false)]), (5901, vec![owner(false)])];
        assert!(matches!(&lines(&ports, &twice, &[])[..], [line] if line.contains("process 7 (Xvnc)")));
        assert!(matches!(&lines(&ports, &[(5901, vec![])], &[])[..], [line] if line.contains("may not look")));
        let other = Listening { port: 8080, inode: 1 };
        assert!(matches!(&lines(&ports, &[], &[&other])[..], [line] if line.contains("listens on 8080")));
    }
}
