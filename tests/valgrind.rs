//! A wrapped program under valgrind: nothing is found that is not found in the bare one, which is nothing.

use std::path::Path;
use std::process::Command;
use std::thread;

use wstests::{Client, Mode, Rng, Server, Wire, app};

/// What a client does; the server ends with the last of them.
const CLIENTS: u64 = 8;
const BYTES: usize = 20_000;

/// Runs the echo server under a tool of valgrind with some clients, good and bad.
///
/// # Panics
/// If the tool finds an error: it then ends with status 9 and says what it is on standard error.
fn clean(mode: Mode, tool: &[&str], way: &str) {
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=9", "--fair-sched=yes"]).args(tool).arg("--").arg(app("echo"));
    command.args([way, "{port}", &CLIENTS.to_string()]);
    let mut server = Server::start(mode, &mut command);
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let server = &server;
            let wire = if mode == Mode::Bare { Wire::Plain } else { Wire::WEBSOCKET[seed as usize % 4] };
            scope.spawn(move || converse(server, wire, seed));
        }
    });
    while server.stdout_line() != "done" {}
    server.close_stdin();
    let status = server.wait();
    assert!(status.success(), "{mode:?}, {tool:?}, {way}: {status}");
}

fn converse(server: &Server, wire: Wire, seed: u64) {
    let mut rng = Rng::new(seed + 1);
    // Not everybody who comes asks for a WebSocket. (Bare, they would be among those that are counted.)
    if wire != Wire::Plain {
        let mut pending = Client::builder(wire).begin(server.addr()).unwrap();
        pending.advance(20).unwrap();
    }
    let mut client = Client::builder(wire).seed(seed).connect(server.addr()).unwrap();
    let sent = rng.bytes(BYTES);
    let got = client.exchange(&sent, &mut rng, sent.len());
    assert!(got == sent, "{wire:?}: not what was sent");
    match seed {
        0..2 => client.abort(),
        2..4 => drop(client),
        _ => {
            client.close(1000);
            assert_eq!(client.read_to_end(), b"");
        }
    }
}

/// Unaddressable memory, uninitialised memory, and at the end no memory that is lost.
#[test]
fn memcheck_finds_nothing() {
    let tool = ["--tool=memcheck", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect"];
    for way in ["epoll", "poll", "turns"] {
        clean(Mode::Bare, &tool, way);
        clean(Mode::Wrapped, &tool, way);
    }
}

#[test]
fn helgrind_finds_nothing() {
    let suppressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("helgrind.supp");
    let suppressions = format!("--suppressions={}", suppressions.display());
    clean(Mode::Bare, &["--tool=helgrind"], "threads");
    clean(Mode::Wrapped, &["--tool=helgrind", &suppressions], "threads");
}
