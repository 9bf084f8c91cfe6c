//! Each attack on each kind of server, with a good client beside it.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wstests::{Process, Rng, Server, Wire, app, net};

use crate::attacks::{ATTACKS, Episode};
use crate::good;

/// How long one attack goes on.
const SPAN: Duration = Duration::from_millis(400);

/// Attackers at a time.
const ATTACKERS: u64 = 3;

/// What a good client may have to wait for. The machine is busy with the attackers; it is not their patience (0.1 s for
/// each thing that the server does not take), nor a timeout of the server's.
const IN_TIME: Duration = Duration::from_secs(5);

/// How much more memory the server may have behind an attack than before all of them.
const MEMORY: usize = 8 << 20;

fn start(way: &str) -> Server {
    net::raise_descriptor_limit();
    let mut command = Command::new(app("echo"));
    command.args([way, "{port}"]).env("WSWRAP_HANDSHAKE_TIMEOUT", "1");
    Server::wrapped(&mut command)
}

/// Runs `attack` against `server` for some time; returns what a good client waited for at most.
fn under(server: &Server, attack: Episode) -> Duration {
    let stop = AtomicBool::new(false);
    let addr = server.addr();
    thread::scope(|scope| {
        for seed in 1..=ATTACKERS {
            let stop = &stop;
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    attack(addr, &mut rng);
                }
            });
        }
        let good = scope.spawn(|| {
            let (begun, mut rng) = (Instant::now(), Rng::new(99));
            let mut longest = Duration::ZERO;
            while begun.elapsed() < SPAN {
                let wire = Wire::WEBSOCKET[rng.between(0, 3)];
                longest = longest.max(good::quick(addr, wire, &mut rng));
            }
            longest
        });
        // The attackers end also when this has failed.
        let longest = good.join();
        stop.store(true, Ordering::Relaxed);
        longest.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn attacks(way: &str, of: impl Fn(&str) -> bool) {
    let server = start(way);
    let process = Process::new(server.pid());
    let (descriptors, memory) = (good::first(&server), process.memory());
    for (name, attack) in ATTACKS {
        if !of(name) {
            continue;
        }
        let longest = under(&server, attack);
        let grown = process.memory().saturating_sub(memory);
        eprintln!("{way}, {name}: a good client waits {longest:?}, {} KiB more", grown / 1024);
        assert!(longest < IN_TIME, "{way}, {name}: a good client has to wait {longest:?}");
        assert!(grown < MEMORY, "{way}, {name}: {grown} bytes more");
    }
    process.await_descriptors(descriptors);
    process.await_rest();
}

#[test]
fn an_epoll_server_under_attack() {
    attacks("epoll", |_| true);
}

#[test]
fn worker_threads_under_attack() {
    attacks("oneshot", |_| true);
}

#[test]
fn a_server_with_a_thread_for_each_connection_under_attack() {
    attacks("threads", |_| true);
}

/// One that serves one client at a time is held up by whoever is served, bare as well; but not by those who are not.
#[test]
fn invariant_1_a_server_of_one_client_at_a_time_under_attack() {
    let before_accept = [
        "silent",
        "slow handshakes",
        "endless header",
        "endless line",
        "talking on when refused",
        "reset in the request",
        "nonsense",
    ];
    attacks("turns", |name| before_accept.contains(&name));
}
