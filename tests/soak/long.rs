//! Everything at once, for as long as one likes: `scripts/soak`.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use wstests::{Process, Rng, Server, Wire, app, net};

use crate::attacks::ATTACKS;
use crate::good;

/// How long a run is, unless `SOAK_SECONDS` says.
const SECONDS: u64 = 8;

/// Clients at a time, half of them good.
const CLIENTS: u64 = 12;

/// How much more memory than behind the first quarter there may be at the end.
const MEMORY: usize = 1 << 20;

fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap_or_else(|e| panic!("SOAK_SECONDS: {e}")))
}

/// Good and bad clients for `span`, each doing one thing after another.
fn turmoil(server: &Server, span: Duration, seed: u64) {
    let (begun, addr) = (Instant::now(), server.addr());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut rng = Rng::new(seed * CLIENTS + client);
                while begun.elapsed() < span {
                    let wire = Wire::WEBSOCKET[rng.between(0, 3)];
                    match client {
                        0..2 => drop(good::quick(addr, wire, &mut rng)),
                        2..6 => good::thorough(addr, wire, &mut rng),
                        _ => ATTACKS[rng.between(0, ATTACKS.len() - 1)].1(addr, &mut rng),
                    }
                }
            });
        }
    });
}

fn soak(way: &str) {
    net::raise_descriptor_limit();
    let mut command = Command::new(app("echo"));
    // Time for a crowd to be there at once.
    command.args([way, "{port}"]).env("WSWRAP_HANDSHAKE_TIMEOUT", "3");
    let server = Server::wrapped(&mut command);
    let process = Process::new(server.pid());
    let descriptors = good::first(&server);
    let span = Duration::from_secs(seconds()) / 4;
    // The first part brings what is made once for that many clients, and for their handshakes.
    good::crowd(&server, &mut Rng::new(0));
    turmoil(&server, span, 1);
    process.await_descriptors(descriptors);
    let memory = process.memory();
    turmoil(&server, span * 3, 2);
    process.await_descriptors(descriptors);
    let grown = process.memory().saturating_sub(memory);
    eprintln!("{way}: {} KiB, and {} KiB more at the end", memory / 1024, grown / 1024);
    assert!(grown < MEMORY, "{way}: {grown} bytes more");
    process.await_rest();
}

#[test]
fn an_epoll_server_is_as_before_after_a_long_run() {
    soak("epoll");
}

#[test]
fn worker_threads_are_as_before_after_a_long_run() {
    soak("oneshot");
}

#[test]
fn a_server_with_a_thread_for_each_connection_is_as_before_after_a_long_run() {
    soak("threads");
}
