//! What travels beside the payload: pings, the close of either side, and streams that break a rule. The program sees bytes
//! and an end, nothing of this.

use std::process::Command;

use wstests::{Client, End, Rng, Server, Wire, app};

/// An echo that blocks in `read`; it never looks at the connection unless payload or the end is there.
fn echo() -> Server {
    let server = Server::wrapped(Command::new(app("accepts")).args(["block", "4", "{port}"]));
    assert_eq!(server.stdout_line(), format!("listening {}", server.port()));
    server
}

/// A client that the program is serving.
fn served(server: &Server, wire: Wire) -> Client {
    let mut client = Client::connect(server.addr(), wire).unwrap();
    assert!(server.stdout_line().starts_with("accepted "));
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
    client
}

#[test]
fn a_ping_is_answered_while_the_program_waits_for_payload() {
    let mut rng = Rng::new(21);
    let server = echo();
    for wire in [Wire::Rfc6455, Wire::Rfc6455Base64] {
        let mut client = served(&server, wire);
        for len in [0, 1, 124, 125] {
            let payload = rng.bytes(len);
            client.ping(&payload);
            assert_eq!(client.expect_pong(), payload, "{wire:?}");
        }
        // In the middle of a message, whose first half the program gets all the same.
        let (first, second): (&[u8], &[u8]) = match wire {
            Wire::Rfc6455 => (b"abc", b"defgh"),
            _ => (b"YWJj", b"ZGVmZ2g="),
        };
        let opcode = if wire == Wire::Rfc6455 { 0x2 } else { 0x1 };
        client.writer().frame(false, opcode, first);
        client.ping(b"amid");
        assert_eq!(client.read_exact(3), b"abc");
        assert_eq!(client.expect_pong(), b"amid");
        client.writer().frame(true, 0x0, second);
        assert_eq!(client.read_exact(5), b"defgh");
        client.close(1000);
        client.expect_fin();
        assert_eq!(server.stdout_line(), "ended");
    }
}

/// RFC 6455 section 5.5.3: it is enough to answer the latest. Nothing else of the stream suffers.
#[test]
fn a_flood_of_pings_that_nobody_reads_answers_for_costs_no_payload() {
    let mut rng = Rng::new(22);
    let server = echo();
    let mut client = served(&server, Wire::Rfc6455);
    for _ in 0..50_000 {
        client.ping(&rng.bytes(100));
    }
    let last = rng.bytes(50);
    client.ping(&last);
    client.send(b"after the flood");
    assert_eq!(client.read_exact(15), b"after the flood");
    while client.pongs().last() != Some(&last) {
        client.expect_pong();
    }
    client.assert_pongs();
}

#[test]
fn the_close_of_the_client_is_answered_and_the_program_sees_the_end() {
    let server = echo();
    for wire in [Wire::Rfc6455, Wire::Rfc6455Base64, Wire::Hixie76] {
        for code in [1000, 1001, 3000, 4999] {
            let mut client = served(&server, wire);
            client.close(code);
            client.expect_fin();
            // Section 5.5.1: the answer echoes the status code.
            let answer = wire.is_rfc6455().then_some(code);
            assert_eq!(client.end(), Some(&End::Close(answer, String::new())), "{wire:?}");
            assert_eq!(server.stdout_line(), "ended");
        }
    }
    let mut client = served(&server, Wire::Rfc6455);
    client.writer().frame(true, 0x8, b"");
    client.expect_fin();
    assert!(matches!(client.end(), Some(End::Close(None | Some(1000), _))), "{:?}", client.end());
    assert_eq!(server.stdout_line(), "ended");
}

/// A netcat, which shows what a program gets that never answers; and a client of it.
fn netcat(wire: Wire) -> (Server, Client) {
    let server = Server::wrapped(Command::new("nc.traditional").args(["-l", "-p", "{port}"]));
    let client = Client::connect(server.addr(), wire).unwrap();
    (server, client)
}

/// Payload in front of the violation reaches the program; behind it nothing does.
#[test]
fn a_stream_that_breaks_a_rule_ends_with_the_right_close_code() {
    let masked = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
    let cases = [
        ("not masked", 1002, b"\x82\x03abc".to_vec()),
        ("a reserved bit", 1002, masked(b"\xC2\x83", b"abc")),
        ("an unknown opcode", 1002, masked(b"\x83\x83", b"abc")),
        ("an unknown control opcode", 1002, masked(b"\x8B\x80", b"")),
        ("a fragmented ping", 1002, masked(b"\x09\x80", b"")),
        ("a ping of 126 bytes", 1002, masked(b"\x89\xFE\x00\x7E", &[0; 126])),
        ("a continuation of nothing", 1002, masked(b"\x80\x83", b"abc")),
        ("a length of 3 in two bytes", 1002, masked(b"\x82\xFE\x00\x03", b"abc")),
        ("a length of 300 in eight bytes", 1002, masked(b"\x82\xFF\0\0\0\0\0\0\x01\x2C", b"abc")),
        ("a length above 63 bits", 1002, masked(b"\x82\xFF\x80\0\0\0\0\0\0\x01", b"abc")),
        ("a Close of one byte", 1002, masked(b"\x88\x81", b"\x03")),
        ("a Close with 1005", 1002, masked(b"\x88\x82", b"\x03\xED")),
        ("a reason that is not UTF-8", 1007, masked(b"\x88\x84", b"\x03\xE8\xC3\x28")),
        ("text that is not UTF-8", 1007, masked(b"\x81\x82", b"\xFFa")),
    ];
    for (what, code, bytes) in cases {
        let (server, mut client) = netcat(Wire::Rfc6455);
        let mut wire = masked(b"\x82\x86", b"before");
        wire.extend_from_slice(&bytes);
        wire.extend_from_slice(&masked(b"\x82\x85", b"after"));
        client.raw(&wire);
        assert_eq!(server.stdout_to_end(), b"before", "{what}");
        assert_eq!(client.read_to_end(), b"", "{what}");
        let Some(End::Close(Some(sent), _)) = client.end() else {
            panic!("{what}: {:?}", client.end());
        };
        assert_eq!(*sent, code, "{what}");
    }
}

#[test]
fn base64_that_is_none_ends_the_connection() {
    for (wire, text) in [
        (Wire::Hixie75, b"\x00YWJj\xFF\x00a!Jj\xFF\x00YWJj\xFF".as_slice()),
        (Wire::Hixie76, b"\x00YWJj\xFF\x00YW=j\xFF\x00YWJj\xFF"),
        (Wire::Hixie76, b"\x00YWJj\xFF\x00YWJ\xFF\x00YWJj\xFF"),
        (Wire::Rfc6455Base64, b"\x81\x84\0\0\0\0YWJj\x81\x84\0\0\0\0a-_j\x81\x84\0\0\0\0YWJj"),
        (Wire::Rfc6455Base64, b"\x81\x84\0\0\0\0YWJj\x81\x83\0\0\0\0YWJ\x81\x84\0\0\0\0YWJj"),
    ] {
        let (server, mut client) = netcat(wire);
        client.raw(text);
        let received = server.stdout_to_end();
        // What an unfinished quantum had decided already may have been delivered.
        assert!(received.starts_with(b"abc") && received.len() <= 5, "{wire:?}: {received:?}");
        assert_eq!(client.read_to_end(), b"", "{wire:?}");
        if let Some(End::Close(Some(code), _)) = client.end() {
            assert_eq!(*code, 1007, "{wire:?}");
        }
    }
}

/// A frame announces its length and nothing is reserved for it.
#[test]
fn a_frame_of_2_to_the_62_bytes_costs_nothing() {
    let server = echo();
    let mut client = served(&server, Wire::Rfc6455);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = resident();
    client.raw(b"\x82\xFF\x40\0\0\0\0\0\0\0\0\0\0\0");
    for _ in 0..100 {
        client.raw(&[b'x'; 10_000]);
        assert_eq!(client.read_exact(10_000), [b'x'; 10_000]);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB more");
}
