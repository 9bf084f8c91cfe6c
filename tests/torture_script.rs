//! The client of the torture servers: does what the server asks for on its standard output, and keeps the transcript.
//!
//! A line `> VERB ARGUMENTS` is a request, any other line belongs to the transcript as it is; what the client finds out
//! goes into a list of its own, since the two sides do not wait for each other at every step. `> N VERB` speaks of the
//! client with the number N, in the order of their `connect`.
//!
//! | request | the client |
//! |---|---|
//! | `connect` | opens the next connection, its handshake included |
//! | `knock` | opens a WebSocket connection and sends a part of the request, no more; plain: does nothing |
//! | `tell` | writes a line to the server's standard input: all it was asked for is done |
//! | `crowd N BYTES` | opens N connections at once, each sends BYTES and expects them back |
//! | `send BYTES` | sends the next bytes of the pattern, cut and mixed with noise in every way |
//! | `whole BYTES` | sends them in one frame |
//! | `noise` | until the server says something, sends pieces of frames that carry no payload |
//! | `tease BYTES` | sends some of that, then as `send` |
//! | `ping`, `half`, `rest` | one frame without payload; the first part of one; its rest |
//! | `expect BYTES`, `slow BYTES` | reads that much of the pattern; in small portions |
//! | `until BYTE` | reads any number of `a`, then "the end" and that byte |
//! | `echo BYTES` | sends and expects, a portion at a time |
//! | `duplex BYTES` | sends and expects at the same time |
//! | `records WRITERS COUNT BYTES` | expects whole records of several writers, each writer's in their order |
//! | `close`, `fin`, `rst`, `drop`, `leave` | ends as the dialect does; with a FIN alone; with a reset; closes all; closes all once the other side has answered |
//! | `end`, `gone` | expects the dialect's orderly end; any end but a reset; nothing before it |
//!
//! Contract: two runs of one scenario give the same transcript whenever the server sees the same; timing, sizes of
//! buffers and the cutting of the stream do not show in it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use wstests::{Client, End, Pending, Rng, Server, TIMEOUT, Wire};

use crate::torture_peer::Peer;

/// How long the server's next line is waited for between two pieces of noise.
const PACE: Duration = Duration::from_millis(5);

/// What both sides observed.
#[derive(Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The server's lines, without requests.
    pub server: Vec<String>,
    /// The client's findings.
    pub client: Vec<String>,
}

/// Serves the requests of `server` until it says `done`, and lets it end.
///
/// # Panics
/// If a connection fails or breaks a rule of the dialect, if the server ends without that line or finds something `WRONG`.
pub fn play(server: &mut Server, wire: Wire, rng: &mut Rng) -> Transcript {
    let transcript = thread::scope(|scope| {
        let (sender, lines) = channel();
        let server: &Server = server;
        scope.spawn(move || {
            // Each line is awaited with a deadline of its own; the server's death is a panic that names it.
            loop {
                let line = server.stdout_line();
                let last = line == "done";
                // The other side stops listening only when it has failed itself.
                if sender.send(line).is_err() || last {
                    return;
                }
            }
        });
        let script = Script {
            server,
            wire,
            lines: Lines { lines, next: None },
            peers: Vec::new(),
            knocks: Vec::new(),
            found: Vec::new(),
        };
        script.run(rng)
    });
    server.close_stdin();
    let status = server.wait();
    assert!(status.success(), "{status} after {transcript:#?}");
    transcript
}

/// The server's lines, the next of which can be waited for without being taken.
struct Lines {
    lines: Receiver<String>,
    next: Option<String>,
}

impl Lines {
    fn comes_within(&mut self, limit: Duration) -> bool {
        if self.next.is_none() {
            match self.lines.recv_timeout(limit) {
                Ok(line) => self.next = Some(line),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => panic!("the server has said its last line"),
            }
        }
        true
    }

    fn take(&mut self) -> String {
        assert!(self.comes_within(TIMEOUT), "no line of the server in time");
        self.next.take().unwrap_or_default()
    }
}

struct Script<'a> {
    server: &'a Server,
    wire: Wire,
    lines: Lines,
    peers: Vec<Option<Peer>>,
    knocks: Vec<Pending>,
    found: Vec<String>,
}

impl Script<'_> {
    fn run(mut self, rng: &mut Rng) -> Transcript {
        let mut said = Vec::new();
        loop {
            let line = self.lines.take();
            eprintln!("{line}");
            match line.strip_prefix("> ") {
                Some(request) => self.request(&request.split(' ').collect::<Vec<_>>(), rng),
                None => {
                    assert!(!line.contains("WRONG"), "the server finds: {line}");
                    let last = line == "done";
                    said.push(line);
                    if last {
                        return Transcript { server: said, client: self.found };
                    }
                }
            }
        }
    }

    fn request(&mut self, words: &[&str], rng: &mut Rng) {
        let number = |word: &str| word.parse::<usize>().unwrap_or_else(|_| panic!("no number: {words:?}"));
        match words {
            ["connect"] => {
                let seed = self.peers.len() as u64 + 1;
                self.peers.push(Some(Peer::connect(self.server, self.wire, seed)));
            }
            ["knock"] => self.knock(rng),
            ["enter"] => self.enter(),
            // All requests before this one are done, and what they sent is with the server's kernel.
            ["tell"] => self.server.write_stdin(b"\n"),
            ["crowd", clients, bytes] => self.crowd(number(clients), number(bytes)),
            [index, verb, arguments @ ..] => {
                let numbers: Vec<usize> = arguments.iter().map(|word| number(word)).collect();
                self.one(number(index), verb, &numbers, rng);
            }
            _ => panic!("no such request: {words:?}"),
        }
    }

    fn knock(&mut self, rng: &mut Rng) {
        if self.wire == Wire::Plain {
            return;
        }
        let mut pending =
            Client::builder(self.wire).begin(self.server.addr()).unwrap_or_else(|error| panic!("knock: {error}"));
        let part = rng.between(0, pending.left() - 1);
        pending.advance(part).unwrap_or_else(|error| panic!("knock: {error}"));
        self.knocks.push(pending);
    }

    /// Who knocked first completes the handshake.
    fn enter(&mut self) {
        let peer = match self.wire {
            Wire::Plain => Peer::connect(self.server, self.wire, 1),
            _ => Peer::enter(self.knocks.remove(0), self.wire),
        };
        self.peers.push(Some(peer));
    }

    fn crowd(&mut self, clients: usize, bytes: usize) {
        let (server, wire) = (self.server, self.wire);
        thread::scope(|scope| {
            for seed in 1..=clients as u64 {
                scope.spawn(move || {
                    let (mut peer, mut rng) = (Peer::connect(server, wire, seed), Rng::new(seed));
                    peer.echo(bytes, &mut rng);
                    peer.client.close(1000);
                    peer.end();
                    peer.client.assert_pongs();
                });
            }
        });
        self.found.push(format!("{clients} clients: echoed"));
    }

    fn one(&mut self, index: usize, verb: &str, numbers: &[usize], rng: &mut Rng) {
        let slot = self.peers.get_mut(index).unwrap_or_else(|| panic!("no client {index}"));
        let mut peer = slot.take().unwrap_or_else(|| panic!("client {index} is gone"));
        let mut finding = None;
        match (verb, numbers) {
            ("send", &[length]) => peer.send(length, rng),
            ("whole", &[length]) => peer.whole(length),
            ("noise", []) => peer.noise(rng, || !self.lines.comes_within(PACE)),
            ("tease", &[length]) => {
                let mut left = 5;
                peer.noise(rng, || {
                    left -= 1;
                    left > 0 && !self.lines.comes_within(PACE)
                });
                peer.send(length, rng);
            }
            ("ping", []) => peer.ping(),
            ("half", []) => peer.half(rng),
            ("rest", []) => peer.rest(),
            ("expect", &[length]) => {
                peer.expect(length);
                finding = Some("expected bytes");
            }
            ("slow", &[length]) => {
                peer.slow(length, rng);
                finding = Some("expected bytes");
            }
            ("until", &[last]) => {
                peer.until(last as u8);
                finding = Some("the end");
            }
            ("echo", &[length]) => {
                peer.echo(length, rng);
                finding = Some("echo");
            }
            ("duplex", &[length]) => {
                peer.duplex(length, rng);
                finding = Some("both directions");
            }
            ("records", &[writers, count, length]) => {
                peer.records(writers, count, length);
                finding = Some("records");
            }
            ("close", []) => peer.client.close(1000),
            ("fin", []) => peer.client.shutdown_write(),
            ("rst", []) => return peer.client.abort(),
            ("drop", []) => return peer.client.close(1000),
            ("leave", []) => {
                peer.client.close(1000);
                // An answer that nobody reads would make a reset of the end.
                if !matches!(self.wire, Wire::Plain | Wire::Hixie75) {
                    peer.end();
                }
                return;
            }
            ("end", []) => {
                let orderly = match self.wire {
                    Wire::Plain | Wire::Hixie75 => End::Fin,
                    Wire::Hixie76 => End::Close(None, String::new()),
                    Wire::Rfc6455 | Wire::Rfc6455Base64 => End::Close(Some(1000), String::new()),
                };
                assert_eq!(peer.end(), orderly, "the end that client {index} sees");
                finding = Some("orderly end");
            }
            ("gone", []) => {
                let end = peer.end();
                assert!(end != End::Reset, "client {index}: {end:?}");
                finding = Some("gone");
            }
            _ => panic!("no such request: {verb} {numbers:?}"),
        }
        if let Some(finding) = finding {
            self.found.push(format!("client {index}: {finding}"));
        }
        self.peers[index] = Some(peer);
    }
}
