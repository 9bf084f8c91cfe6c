//! Many connections on one wrapped epoll server: all of them are served, and what they need is bounded and comes back.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use wstests::net::uninterrupted;
use wstests::{Client, Pending, Process, Rng, Server, Wire, app, net};

const IDLE: usize = 10_000;
const BUSY: usize = 1_000;
const THREADS: usize = 4;

/// Messages of each busy connection.
const ROUNDS: usize = 10;

/// How long all of it may take: many times what it does, and far from what a loop over all connections for each event would.
const IN_TIME: Duration = Duration::from_secs(60);

/// What a connection may cost the program, its own memory for it included.
const EACH: usize = 2048;

fn start() -> Server {
    let mut command = std::process::Command::new(app("echo"));
    command.args(["epoll", "{port}"]);
    Server::wrapped(&mut command)
}

/// A connection that does nothing once it is open. One descriptor each: a [`Client`] has two.
fn idle(server: &Server, seed: u64) -> Pending {
    let mut pending = Client::builder(Wire::Rfc6455).seed(seed).begin(server.addr()).unwrap();
    pending.advance(pending.left()).unwrap();
    let (mut stream, mut head) = (pending.stream(), [0; 1024]);
    let mut got = 0;
    while !head[..got].ends_with(b"\r\n\r\n") {
        let n = uninterrupted(|| stream.read(&mut head[got..])).unwrap();
        assert!(n > 0, "the connection has ended: {}", String::from_utf8_lossy(&head[..got]));
        got += n;
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head[..got]));
    pending
}

/// `count` connections, opened by several threads at once.
fn open<T: Send>(count: usize, open: impl Fn(u64) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let share = count / THREADS;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let open = &open;
                scope.spawn(move || (0..share).map(|i| open((thread * share + i) as u64)).collect::<Vec<T>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// All of them at once, message after message; each reply is checked.
fn exchange(clients: &mut [(Client, Rng)]) {
    thread::scope(|scope| {
        for clients in clients.chunks_mut(BUSY / THREADS) {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let sent: Vec<Vec<u8>> = clients
                        .iter_mut()
                        .map(|(client, rng)| {
                            let len = rng.between(1, 1000);
                            let bytes = rng.bytes(len);
                            client.send(&bytes);
                            bytes
                        })
                        .collect();
                    for ((client, _), sent) in clients.iter_mut().zip(sent) {
                        assert!(client.read_exact(sent.len()) == sent, "not what was sent");
                    }
                }
            });
        }
    });
}

#[test]
fn ten_thousand_idle_and_a_thousand_busy_connections() {
    net::raise_descriptor_limit();
    let server = start();
    let process = Process::new(server.pid());
    // The first connection brings what is made once.
    let first = idle(&server, 0);
    let (descriptors, memory) = (process.descriptors() - 1, process.memory());
    drop(first);
    process.await_descriptors(descriptors);
    let mut high = 0;
    for round in 0..2 {
        let begun = Instant::now();
        let sleepers = open(IDLE, |seed| idle(&server, seed));
        let opened = begun.elapsed();
        assert_eq!(process.descriptors(), descriptors + IDLE);
        process.await_rest();
        let mut clients = open(BUSY, |seed| {
            let wire = Wire::WEBSOCKET[seed as usize % 4];
            (Client::builder(wire).seed(seed).connect(server.addr()).unwrap(), Rng::new(seed))
        });
        let begun_messages = Instant::now();
        exchange(&mut clients);
        let (talked, grown) = (begun_messages.elapsed(), process.memory() - memory);
        eprintln!("round {round}: opened in {opened:?}, messages in {talked:?}, {grown} bytes more");
        assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
        assert!(grown < (IDLE + BUSY) * EACH, "{grown} bytes for {} connections", IDLE + BUSY);
        // Objects are kept for the next connections, and serve them.
        assert!(round == 0 || grown <= high + (1 << 20), "{grown} bytes, and {high} the first time");
        high = grown;
        for (client, _) in &mut clients {
            client.close(1000);
            assert_eq!(client.read_to_end(), b"");
        }
        drop((sleepers, clients));
        process.await_descriptors(descriptors);
        process.await_rest();
    }
}
