//! Invariant 1: the program sees only WebSockets. Whatever else connects is neither seen by the program, nor makes its
//! `accept` fail, nor delays a client that opens a WebSocket, however the program waits for its listener.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use wstests::net::uninterrupted;
use wstests::{Client, Rng, Server, TIMEOUT, Wire, app, net};

/// The ways in which `accepts` waits for its listener.
const WAYS: [&str; 6] = ["block", "nonblock", "poll", "select", "epoll", "edge"];

/// What a client sends that never becomes a WebSocket: nothing, parts of requests, other protocols, nonsense.
const BAD: [&[u8]; 9] = [
    b"",
    b"G",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgr",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"RFB 003.008\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n\r\n\r\n\r\n",
    b"\x00\xff\x00\xff\x82\x85abcd",
];

/// The time for a handshake, if the program's environment says nothing.
const DEFAULT: Duration = Duration::from_secs(10);

/// The program, with a handshake timeout that is far above [`TIMEOUT`]: a client that waits for another one's is a failure.
fn accepts(way: &str, family: &str) -> Command {
    let mut command = Command::new(app("accepts"));
    command.args([way, family, "{port}"]).env("WSWRAP_HANDSHAKE_TIMEOUT", "600");
    command
}

/// Starts `accepts` and reads what it says first.
fn start(command: &mut Command) -> Server {
    let server = Server::wrapped(command);
    assert_eq!(server.stdout_line(), format!("listening {}", server.port()));
    server
}

fn raw(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// A whole conversation of a good client, which the program reports with the client's true address and nothing else
/// before it.
fn converse(server: &Server, mut client: Client, rng: &mut Rng) {
    let peer = client.local_addr();
    assert_eq!(server.stdout_line(), format!("accepted {} {}", peer.ip(), peer.port()));
    let sent = rng.bytes(3000);
    client.send_split(&sent, rng);
    assert_eq!(client.read_exact(sent.len()), sent);
    client.close(1000);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(server.stdout_line(), "ended");
}

#[test]
fn invariant_1_bad_clients_neither_reach_the_program_nor_delay_a_good_one() {
    let mut rng = Rng::new(11);
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        // They stay connected: their fate must not matter to anybody.
        let mut bad: Vec<TcpStream> = Vec::new();
        for wire in Wire::WEBSOCKET {
            bad.extend(BAD.iter().map(|bytes| raw(server.addr(), bytes)));
            let client = Client::connect(server.addr(), wire).unwrap();
            converse(&server, client, &mut rng);
        }
    }
}

#[test]
fn invariant_1_port_scans_do_not_reach_the_program() {
    let mut rng = Rng::new(12);
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        for round in 0..20 {
            // Some end in order, some with a reset, some after a part of a request.
            drop(raw(server.addr(), BAD[round % BAD.len()]));
            Client::connect(server.addr(), Wire::Plain).unwrap().abort();
        }
        let client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
        converse(&server, client, &mut rng);
    }
}

#[test]
fn invariant_1_fifty_slow_handshakes_proceed_side_by_side() {
    let mut rng = Rng::new(13);
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        let mut slow: Vec<_> = (0..50)
            .map(|number| {
                let wire = Wire::WEBSOCKET[number % 4];
                Client::builder(wire).seed(number as u64).begin(server.addr()).unwrap()
            })
            .collect();
        // Each stops somewhere in its request, after many small pieces in turn with the others'.
        for _ in 0..10 {
            for pending in &mut slow {
                let piece = rng.between(1, 9).min(pending.left() - 1);
                pending.advance(piece).unwrap();
            }
        }
        // A client that is quick overtakes them all.
        let client = Client::connect(server.addr(), Wire::Hixie76).unwrap();
        converse(&server, client, &mut rng);
        // They finish in another order than they came in.
        slow.reverse();
        for pending in slow {
            converse(&server, pending.finish().unwrap(), &mut rng);
        }
    }
}

#[test]
fn invariant_1_a_request_may_come_byte_by_byte() {
    let mut rng = Rng::new(14);
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        for wire in Wire::WEBSOCKET {
            let mut pending = Client::builder(wire).early(b"early").begin(server.addr()).unwrap();
            while pending.left() > 0 {
                pending.advance(1).unwrap();
            }
            let mut client = pending.finish().unwrap();
            assert_eq!(client.read_exact(5), b"early", "{way}, {wire:?}");
            converse(&server, client, &mut rng);
        }
    }
}

#[test]
fn early_data_right_behind_the_request_reaches_the_program() {
    let mut rng = Rng::new(15);
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        for wire in Wire::WEBSOCKET {
            let early = rng.bytes(2500);
            let mut client = Client::builder(wire).early(&early).connect(server.addr()).unwrap();
            assert_eq!(client.read_exact(early.len()), early, "{way}, {wire:?}");
            converse(&server, client, &mut rng);
        }
    }
}

/// A client that goes away right after its request was a WebSocket: the program sees it come, speak and end.
#[test]
fn a_client_that_sends_everything_at_once_and_ends_is_served() {
    for way in WAYS {
        let server = start(&mut accepts(way, "4"));
        for wire in Wire::WEBSOCKET {
            let mut pending = Client::builder(wire).early(b"last words").begin(server.addr()).unwrap();
            pending.advance(usize::MAX / 2).unwrap();
            pending.stream().shutdown(std::net::Shutdown::Write).unwrap();
            let mut client = pending.finish().unwrap();
            assert_eq!(client.read_to_end(), b"last words", "{way}, {wire:?}");
            let port = client.local_addr().port();
            assert_eq!(server.stdout_line(), format!("accepted 127.0.0.1 {port}"));
            assert_eq!(server.stdout_line(), "ended");
        }
    }
}

/// The time of each client counts from its own connect, while the program does nothing but wait.
#[test]
fn a_handshake_that_is_not_complete_in_time_is_given_up() {
    std::thread::scope(|scope| {
        for way in WAYS {
            scope.spawn(move || give_up(way));
        }
    });
}

fn give_up(way: &str) {
    let server = start(accepts(way, "4").env("WSWRAP_HANDSHAKE_TIMEOUT", "1"));
    let begun = Instant::now();
    let silent = raw(server.addr(), b"");
    let mut half = Client::builder(Wire::Hixie76).begin(server.addr()).unwrap();
    half.advance(half.left() - 1).unwrap();
    for mut stream in [&silent, half.stream()] {
        // A reply before the end is allowed.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(900), "{way}: after {elapsed:?}");
    assert!(elapsed < DEFAULT, "{way}: after {elapsed:?}");
    let client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    converse(&server, client, &mut Rng::new(16));
}

/// More clients in mid-handshake than are kept (1024): the oldest make room, the others may go on.
#[test]
fn pending_connections_are_bounded_and_the_oldest_make_room() {
    let mut rng = Rng::new(17);
    net::raise_descriptor_limit();
    let server = start(&mut accepts("poll", "4"));
    let mut pending = Vec::new();
    for _ in 0..22 {
        // Fewer at a time than the listener's queue holds; who is served afterwards shows that the queue is empty.
        for _ in 0..50 {
            // Who has said something is with the library; who is silent may still be the kernel's (TCP_DEFER_ACCEPT).
            let mut client = Client::builder(Wire::Rfc6455).begin(server.addr()).unwrap();
            client.advance(1).unwrap();
            pending.push(client);
        }
        converse(&server, Client::connect(server.addr(), Wire::Rfc6455).unwrap(), &mut rng);
    }
    // 1100 were too many by 76; the last of these may have had to go for the quick client.
    for oldest in pending.drain(..70) {
        match uninterrupted(|| oldest.stream().read(&mut [0; 100])) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("one of the oldest is still there: {other:?}"),
        }
    }
    for place in [pending.len() - 1, pending.len() / 2, 100] {
        converse(&server, pending.remove(place).finish().unwrap(), &mut rng);
    }
}
