//! What a bare program does with its listener and its connections, seen by strace(1) during the very conversations that the
//! wrapped program then has to hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The calls that a row of the table tells of.
const TRACED: &str = "trace=accept,accept4,epoll_ctl,poll,ppoll,select,pselect6,read,readv,recvfrom,recvmsg,recvmmsg,\
    write,writev,sendto,sendmsg,sendmmsg,sendfile,splice,clone,clone3,fork,vfork,execve,io_uring_setup";

/// Names of calls, and for epoll of the kind of registration.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// What it calls on the listener: `accept` or `accept4`, and what it waits with.
    pub listener: BTreeSet<String>,
    /// What it waits with for a connection; nothing if it blocks in reading and writing.
    pub waits: BTreeSet<String>,
    pub reads: BTreeSet<String>,
    pub writes: BTreeSet<String>,
    /// Whether it starts threads, processes, programs.
    pub starts: BTreeSet<String>,
}

/// The command under strace, which writes to `trace`. The process that is started is the program itself (`-D`), and only
/// the calls of interest stop it (`--seccomp-bpf`).
pub(crate) fn traced(command: &Command, trace: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "--seccomp-bpf", "-q", "-yy", "-s64", "-e", "signal=none", "-e", TRACED, "-o"]).arg(trace);
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    traced
}

/// Reads what strace wrote about a server on `port`.
///
/// # Panics
/// If it is not there.
pub(crate) fn read(trace: &Path, port: u16) -> Observed {
    let trace = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let mut observed = Observed::default();
    let mut programs = 0;
    for line in trace.lines() {
        // PID NAME(ARGUMENTS; the second half of an interrupted line (`<... NAME resumed>`) tells nothing more.
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let Some((name, arguments)) = call.split_once('(').filter(|(name, _)| !name.starts_with('<')) else {
            continue;
        };
        match name {
            "execve" => programs += 1,
            "clone" | "clone3" if arguments.contains("CLONE_THREAD") => observe(&mut observed.starts, "threads"),
            "clone" | "clone3" | "fork" | "vfork" => observe(&mut observed.starts, "processes"),
            "io_uring_setup" => observe(&mut observed.waits, "io_uring"),
            _ => observed.call(name, arguments, port),
        }
    }
    if programs > 1 {
        observe(&mut observed.starts, "programs");
    }
    observed
}

impl Observed {
    fn call(&mut self, name: &str, arguments: &str, port: u16) {
        for (place, is_listener) in sockets(arguments, port) {
            match name {
                "accept" | "accept4" if is_listener => observe(&mut self.listener, name),
                "accept" | "accept4" => {}
                "poll" | "ppoll" | "select" | "pselect6" => self.wait(is_listener, name.trim_end_matches('6')),
                "epoll_ctl" if arguments.contains("EPOLL_CTL_DEL") => {}
                "epoll_ctl" => self.wait(is_listener, &registration(arguments)),
                _ if is_listener => {}
                // The destination comes first, the source second; in splice(2) an offset lies between them.
                "sendfile" if place == 0 => observe(&mut self.writes, name),
                "splice" if place == 0 => observe(&mut self.reads, name),
                "splice" => observe(&mut self.writes, name),
                "read" | "readv" | "recvmsg" | "recvmmsg" => observe(&mut self.reads, name),
                "recvfrom" => observe(&mut self.reads, "recv"),
                "sendto" => observe(&mut self.writes, "send"),
                _ => observe(&mut self.writes, name),
            }
        }
    }

    fn wait(&mut self, is_listener: bool, name: &str) {
        observe(if is_listener { &mut self.listener } else { &mut self.waits }, name);
    }
}

fn observe(set: &mut BTreeSet<String>, name: &str) {
    if !set.contains(name) {
        set.insert(name.to_owned());
    }
}

/// `epoll` with what differs from level-triggered registrations that stay.
fn registration(arguments: &str) -> String {
    let mut text = "epoll".to_owned();
    for (flag, name) in [("EPOLLET", " edge"), ("EPOLLONESHOT", " one-shot"), ("EPOLLEXCLUSIVE", " exclusive")] {
        if arguments.contains(flag) {
            text.push_str(name);
        }
    }
    text
}

/// The sockets of a local port among a call's arguments: at which byte they stand (0 is the first argument, give or take
/// the digits of its number), and whether they listen. strace writes `3<TCP:[127.0.0.1:80]>` and `4<TCP:[local->peer]>`.
fn sockets(arguments: &str, port: u16) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    for (at, _) in arguments.match_indices("<TCP") {
        let Some((_, rest)) = arguments[at..].split_once('[') else { continue };
        let Some(end) = rest.find("]>") else { continue };
        let (local, is_listener) = match rest[..end].split_once("->") {
            Some((local, _)) => (local, false),
            None => (&rest[..end], true),
        };
        if local.ends_with(&format!(":{port}")) {
            let first = arguments[..at].bytes().all(|byte| byte.is_ascii_digit());
            found.push((usize::from(!first), is_listener));
        }
    }
    found
}
