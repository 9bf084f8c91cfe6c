//! What hostile clients do, an episode at a time.
//!
//! Contract: an episode takes some tenths of a second at most, leaves no connection behind, and does not care what becomes of
//! what it sends: the server may end the connection at any byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use wstests::net::reset_on_close;
use wstests::{Client, Rng, Wire};

/// What one client does to the server at `addr`.
pub type Episode = fn(addr: SocketAddr, rng: &mut Rng);

/// All of them, by name.
pub const ATTACKS: [(&str, Episode); 16] = [
    ("silent", silent),
    ("slow handshakes", slow_handshakes),
    ("endless header", endless_header),
    ("endless line", endless_line),
    ("talking on when refused", talking_on),
    ("reset in the request", reset_in_request),
    ("nonsense", nonsense),
    ("pings", pings),
    ("frames without payload", empty_frames),
    ("data behind the Close", data_behind_close),
    ("reset in a frame", reset_in_frame),
    ("a frame of 2^62 bytes", huge_frame),
    ("broken frames", broken_frames),
    ("broken base64", broken_base64),
    ("never reading", never_reading),
    ("byte by byte", byte_by_byte),
];

/// How long an attacker waits for the server to take or give something.
const PATIENCE: Duration = Duration::from_millis(100);

fn tcp(addr: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(addr).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

fn websocket(addr: SocketAddr, wire: Wire, rng: &mut Rng) -> Option<Client> {
    let client = Client::builder(wire).seed(rng.bits()).connect(addr).ok()?;
    client.stream().set_write_timeout(Some(PATIENCE)).ok()?;
    Some(client)
}

/// A WebSocket of any dialect.
fn any(addr: SocketAddr, rng: &mut Rng) -> Option<(Client, Wire)> {
    let wire = Wire::WEBSOCKET[rng.between(0, 3)];
    Some((websocket(addr, wire, rng)?, wire))
}

/// Sends `bytes` until they are out, or the server takes no more.
fn put(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Sends `bytes` over and over.
fn flood(stream: &TcpStream, bytes: &[u8], times: usize) {
    let block = bytes.repeat(times.min(65_536 / bytes.len() + 1));
    let mut left = bytes.len() * times;
    while left > 0 && put(stream, &block[..block.len().min(left)]) {
        left = left.saturating_sub(block.len());
    }
}

fn silent(addr: SocketAddr, _: &mut Rng) {
    let _streams: Vec<_> = (0..30).map_while(|_| tcp(addr)).collect();
}

/// Many requests a byte at a time, in turn, none of which is ever complete.
fn slow_handshakes(addr: SocketAddr, rng: &mut Rng) {
    let mut pending: Vec<_> = (0..300)
        .map_while(|seed| Client::builder(Wire::WEBSOCKET[seed as usize % 4]).seed(seed).begin(addr).ok())
        .collect();
    for _ in 0..20 {
        for pending in &mut pending {
            if pending.left() > 1 {
                let _ = pending.advance(1);
            }
        }
    }
    for pending in &pending {
        if rng.one_in(2) {
            reset_on_close(pending.stream());
        }
    }
}

fn endless_header(addr: SocketAddr, _: &mut Rng) {
    if let Some(stream) = tcp(addr)
        && put(&stream, b"GET / HTTP/1.1\r\nHost: h\r\n")
    {
        flood(&stream, b"X-Header: and its value\r\n", 100_000);
    }
}

fn endless_line(addr: SocketAddr, _: &mut Rng) {
    if let Some(stream) = tcp(addr) {
        flood(&stream, b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50_000);
    }
}

fn talking_on(addr: SocketAddr, _: &mut Rng) {
    if let Some(mut stream) = tcp(addr)
        && put(&stream, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    {
        flood(&stream, &[b'a'; 1000], 4000);
        let _ = stream.read(&mut [0; 1000]);
    }
}

fn reset_in_request(addr: SocketAddr, rng: &mut Rng) {
    for wire in Wire::WEBSOCKET {
        if let Ok(mut pending) = Client::builder(wire).begin(addr) {
            let part = rng.between(0, pending.left());
            let _ = pending.advance(part);
            reset_on_close(pending.stream());
        }
    }
}

fn nonsense(addr: SocketAddr, rng: &mut Rng) {
    for _ in 0..10 {
        let len = rng.length(100_000);
        let bytes = rng.bytes(len);
        if let Some(stream) = tcp(addr) {
            put(&stream, &bytes);
        }
    }
}

/// Pings as fast as they go, and never a look at the pongs.
fn pings(addr: SocketAddr, rng: &mut Rng) {
    let wire = [Wire::Rfc6455, Wire::Rfc6455Base64][rng.between(0, 1)];
    let Some(client) = websocket(addr, wire, rng) else { return };
    let long = [&[0x89, 0xFD, 1, 2, 3, 4][..], &[b'p'; 125]].concat();
    flood(client.stream(), if rng.one_in(2) { &long } else { &[0x89, 0x80, 0, 0, 0, 0] }, 100_000);
}

fn empty_frames(addr: SocketAddr, rng: &mut Rng) {
    let Some((client, wire)) = any(addr, rng) else { return };
    let frame: &[u8] = if wire.is_hixie() {
        [&[0x00, 0xFF][..], &[0x80, 0x00], &[0x81, 0x02, b'x', b'y']][rng.between(0, 2)]
    } else {
        [&[0x81, 0x80, 0, 0, 0, 0][..], &[0x8A, 0x80, 0, 0, 0, 0]][rng.between(0, 1)]
    };
    flood(client.stream(), frame, 200_000);
}

fn data_behind_close(addr: SocketAddr, rng: &mut Rng) {
    let Some((mut client, wire)) = any(addr, rng) else { return };
    if client.writer().try_close(1000).is_ok() && wire != Wire::Hixie75 {
        flood(client.stream(), &[0x82, 0x81, 0, 0, 0, 0, b'x'], 100_000);
    }
}

fn reset_in_frame(addr: SocketAddr, rng: &mut Rng) {
    let Some((client, wire)) = any(addr, rng) else { return };
    put(client.stream(), if wire.is_hixie() { b"\0QUJDREVGR0h" } else { &[0x81, 0xFE, 4, 0, 1, 2, 3, 4, 5, 6] });
    reset_on_close(client.stream());
}

/// A frame longer than anything, and some of it. RFC 6455 section 5.2 allows 2^63 - 1 bytes.
fn huge_frame(addr: SocketAddr, rng: &mut Rng) {
    let Some((client, wire)) = any(addr, rng) else { return };
    if wire.is_hixie() {
        put(client.stream(), b"\x80\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F");
    } else {
        let top = if rng.one_in(3) { 0x80 } else { 0x40 };
        put(client.stream(), &[0x82, 0xFF, top, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    flood(client.stream(), b"AAAAAAAA", 50_000);
}

fn broken_frames(addr: SocketAddr, rng: &mut Rng) {
    const BROKEN: [&[u8]; 11] = [
        &[0x82, 0x05, b'h', b'e', b'l', b'l', b'o'],
        &[0xC2, 0x80, 0, 0, 0, 0],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0x8B, 0x80, 0, 0, 0, 0],
        &[0x09, 0x80, 0, 0, 0, 0],
        &[0x89, 0xFE, 0, 126, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
        &[0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0],
        &[0x88, 0x81, 0, 0, 0, 0, 1],
        &[0x88, 0x82, 0, 0, 0, 0, 0, 1],
        &[0xFF, 0x01, 0x02],
    ];
    for bytes in BROKEN {
        let Some((client, _)) = any(addr, rng) else { return };
        put(client.stream(), bytes);
        let len = rng.between(0, 3000);
        put(client.stream(), &rng.bytes(len));
    }
}

fn broken_base64(addr: SocketAddr, rng: &mut Rng) {
    const BROKEN: [&[u8]; 6] = [b"!!!!", b"A", b"AB==CD", b"A===", b"QUJD\nQUJD", b"\xC3\xA9\xC3\xA9"];
    for text in BROKEN {
        let wire = [Wire::Hixie75, Wire::Hixie76, Wire::Rfc6455Base64][rng.between(0, 2)];
        let Some(client) = websocket(addr, wire, rng) else { return };
        let frame = if wire.is_hixie() {
            [&[0][..], text, &[0xFF]].concat()
        } else {
            [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text].concat()
        };
        put(client.stream(), &frame);
    }
}

/// Sends and sends, and never takes what comes back.
fn never_reading(addr: SocketAddr, rng: &mut Rng) {
    let Some((client, wire)) = any(addr, rng) else { return };
    let frame = if wire.is_hixie() {
        [&[0][..], &b"QUJD".repeat(1000), &[0xFF]].concat()
    } else {
        [&[0x81, 0xFE, 0x0F, 0xA0, 0, 0, 0, 0][..], &b"QUJD".repeat(1000)].concat()
    };
    flood(client.stream(), &frame, 5000);
    if rng.one_in(2) {
        reset_on_close(client.stream());
    }
}

/// Each byte of a stream of frames in a segment of its own.
fn byte_by_byte(addr: SocketAddr, rng: &mut Rng) {
    let Some((client, wire)) = any(addr, rng) else { return };
    let frame: &[u8] = if wire.is_hixie() { b"\0QUJD\xFF" } else { &[0x81, 0x84, 0, 0, 0, 0, b'Q', b'U', b'J', b'D'] };
    for byte in frame.repeat(50) {
        if !put(client.stream(), &[byte]) {
            return;
        }
    }
}
