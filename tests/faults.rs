//! Errors of system calls, injected by strace(1): the program sees what it would see bare. Whatever call of the library
//! or of the program fails, no byte is lost or doubled, nobody waits for ever, and the program is told of no error that its
//! own call could not have.
//!
//! A fault is a set of system calls, the program's own and those that the library makes in their place, and the errors that
//! they have in turn. It is injected into every Nth of these calls, so that each of them meets it, wherever in a handshake, a
//! frame or a wait it stands. The bare program runs under the same faults: that it copes shows that a client may expect it.

use std::process::Command;
use std::thread;

use wstests::{Client, Mode, Rng, Server, Wire, app};

/// Injected into the first of these calls named here, then into every so many: strace's `when`. The steps are primes above the
/// number of calls that the library makes for one of the program's, or the same one might fail for ever.
const PHASES: [&str; 3] = ["1+5", "2+7", "4+11"];

/// Clients of one run; the server ends with the last of them.
const CLIENTS: usize = 3;

/// The bytes that each of them has echoed.
const BYTES: usize = 30_000;

/// The echo server under strace, with `inject` as in its option of that name.
fn server(mode: Mode, way: &str, inject: &str, clients: usize) -> Server {
    let mut command = Command::new("strace");
    let calls = inject.split(':').next().unwrap_or_default();
    command.args([
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={inject}"),
        "--",
    ]);
    command.arg(app("echo")).args([way, "{port}", &clients.to_string(), "8192"]);
    Server::start(mode, &mut command)
}

/// Everything comes back, whatever happens to the calls that bring it, and then the end.
fn converse(server: &Server, wire: Wire, seed: u64) {
    let client = Client::builder(wire).seed(seed).connect(server.addr());
    let mut client = client.unwrap_or_else(|error| panic!("{wire:?}: {error}"));
    let mut rng = Rng::new(seed);
    let sent = rng.bytes(BYTES);
    let got = client.exchange(&sent, &mut rng, sent.len());
    assert!(got == sent, "{wire:?}: not what was sent");
    client.close(1000);
    assert_eq!(client.read_to_end(), b"", "{wire:?}: more than was sent");
    client.assert_pongs();
}

/// Runs clients of `wire` against a server whose calls fail as `inject` says; returns what the program saw.
fn run(wire: Wire, way: &str, inject: &str) -> Vec<String> {
    eprintln!("{wire:?}, {way}, {inject}");
    let mut server = server(Mode::of(wire), way, inject, CLIENTS);
    thread::scope(|scope| {
        for seed in 1..=CLIENTS as u64 {
            let server = &server;
            scope.spawn(move || converse(server, wire, seed));
        }
    });
    let mut seen = Vec::new();
    loop {
        let line = server.stdout_line();
        if line == "done" {
            break;
        }
        seen.push(line);
    }
    server.close_stdin();
    assert!(server.wait().success());
    seen
}

/// `errors` in every Nth of `calls`: all clients are served, and the program sees no other errors than these, nor of any
/// other call than `own`.
fn transient(calls: &str, errors: &[&str], ways: &[&str], own: &[&str]) {
    let wires: Vec<Wire> = [Wire::Plain].into_iter().chain(Wire::selected()).collect();
    thread::scope(|scope| {
        for way in ways {
            let wires = &wires;
            scope.spawn(move || {
                for (error, phase) in errors.iter().flat_map(|error| PHASES.map(|phase| (error, phase))) {
                    for wire in wires {
                        let seen = run(*wire, way, &format!("{calls}:error={error}:when={phase}"));
                        for line in seen {
                            let known = own.iter().any(|own| line == format!("{own}: {error}"));
                            assert!(known, "{wire:?}, {way}, {calls}, {error}, {phase}: {line}");
                        }
                    }
                }
            });
        }
    });
}

const RECEIVES: &str = "recvfrom,recvmsg";
const SENDS: &str = "sendto,sendmsg";
const WAITS: &str = "epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll";
const WAYS: [&str; 4] = ["epoll", "poll", "threads", "turns"];

#[test]
fn invariant_2_receives_that_fail_for_a_moment_lose_and_double_nothing() {
    transient(RECEIVES, &["EINTR", "ENOMEM"], &WAYS, &["recv"]);
}

#[test]
fn invariant_2_a_receive_that_says_there_is_nothing_is_believed() {
    transient(RECEIVES, &["EAGAIN"], &WAYS, &[]);
}

#[test]
fn invariant_3_sends_that_fail_for_a_moment_lose_and_double_nothing() {
    transient(SENDS, &["EINTR", "ENOBUFS"], &WAYS, &["send"]);
}

#[test]
fn invariant_3_a_send_that_says_there_is_no_room_is_believed() {
    transient(SENDS, &["EAGAIN"], &WAYS, &[]);
}

#[test]
fn waits_that_fail_lose_no_event() {
    transient(WAITS, &["EINTR"], &["epoll", "edge", "poll", "oneshot"], &["epoll_wait", "poll"]);
    transient(WAITS, &["EINTR", "ENOMEM"], &["poll"], &["poll"]);
}

#[test]
fn invariant_1_accepts_that_fail_lose_no_client() {
    let errors = ["EINTR", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM"];
    transient("accept4", &errors, &["epoll", "turns"], &["accept"]);
    transient("accept4", &["EINTR"], &["edge", "poll", "threads"], &["accept"]);
}

/// The blocking ways wait for the listener in a poll of the library's own.
#[test]
fn an_accept_that_waits_may_be_interrupted() {
    transient(WAITS, &["EINTR"], &["threads", "turns"], &["accept", "recv", "send"]);
}

#[test]
fn registrations_that_fail_for_a_moment_are_made_again() {
    transient("epoll_ctl", &["ENOMEM", "ENOSPC"], &["epoll", "edge", "oneshot"], &["epoll_ctl"]);
}

/// What the library makes for itself is not there: a client less is served at worst.
#[test]
fn descriptors_of_the_librarys_own_that_cannot_be_made_do_not_stop_the_program() {
    for call in ["timerfd_create", "timerfd_settime", "epoll_create1", "epoll_ctl", "getsockopt", "shutdown"] {
        for way in ["turns", "poll"] {
            for when in 1..4 {
                survives(way, &format!("{call}:error=ENOMEM:when={when}"));
            }
        }
    }
}

/// An accept that fails for want of descriptors may cost a handshake that is under way, and no more.
#[test]
fn accepts_without_a_descriptor_do_not_stop_the_program() {
    for way in ["epoll", "poll", "turns"] {
        for when in 1..5 {
            for error in ["EMFILE", "ENFILE"] {
                survives(way, &format!("accept4:error={error}:when={when}"));
            }
        }
    }
}

/// An error that ends a connection ends no other.
#[test]
fn a_connection_that_fails_takes_no_other_along() {
    let faults = [
        ("recvfrom", ["ECONNRESET", "ETIMEDOUT"]),
        ("recvmsg", ["ECONNRESET", "ETIMEDOUT"]),
        ("sendto", ["ECONNRESET", "EPIPE"]),
        ("sendmsg", ["ECONNRESET", "EPIPE"]),
    ];
    thread::scope(|scope| {
        for way in ["epoll", "poll", "turns"] {
            scope.spawn(move || {
                for (call, errors) in faults {
                    for when in [1, 2, 3, 5, 8] {
                        for error in errors {
                            survives(way, &format!("{call}:error={error}:when={when}"));
                        }
                    }
                }
            });
        }
    });
}

/// One fault. It may cost one client its connection, but never what it gets; all others are served.
fn survives(way: &str, inject: &str) {
    for wire in [Wire::Plain].into_iter().chain(Wire::selected()) {
        eprintln!("{wire:?}, {way}, {inject}");
        let server = server(Mode::of(wire), way, inject, 0);
        let sent = Rng::new(7).bytes(3000);
        let served = (0..4).filter(|_| {
            let Ok(mut client) = Client::connect(server.addr(), wire) else { return false };
            let mut got = Vec::new();
            let mut open = client.try_send(&sent).is_ok();
            while open && got.len() < sent.len() {
                let some = client.read_some().unwrap_or_default();
                open = !some.is_empty();
                got.extend(some);
            }
            // What comes after the contents is no matter here.
            let _ = client.writer().try_close(1000);
            assert!(sent.starts_with(&got), "{wire:?}, {way}, {inject}: not what was sent");
            got == sent
        });
        assert!(served.count() >= 3, "{wire:?}, {way}, {inject}: more than one connection has failed");
    }
}
