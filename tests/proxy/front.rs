//! One port for every kind of client, told apart by what they send.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use wstests::net::uninterrupted;
use wstests::{Client, TIMEOUT, Wire, http};

use crate::common::Rig;
use crate::pki::{Pki, s_client, tunnel};

/// What a Flash player is told.
const POLICY: &[u8] = b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\n";

#[test]
fn a_flash_player_gets_its_policy_over_plain_and_tls_however_it_is_cut() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, "verify=0");
    let request = b"<policy-file-request/>\0";
    for addr in [rig.proxy.addr(), tunnel.addr()] {
        for cut in [1, 5, 22, request.len()] {
            let mut client = Client::connect(addr, Wire::Plain).unwrap();
            for piece in [&request[..cut], &request[cut..]] {
                client.raw(piece);
            }
            assert_eq!(client.read_to_end(), POLICY, "cut at {cut}");
        }
    }
    let reply = http(rig.proxy.addr(), b"<policy-file-requesX").unwrap();
    assert_eq!(reply.status, 400);
}

#[test]
fn without_web_a_web_request_is_told_what_this_port_is() {
    let rig = Rig::new(&[]);
    let reply = http(rig.proxy.addr(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (400, "This is a WebSocket port\n"));
}

#[test]
fn empty_lines_in_front_of_a_request_are_limited() {
    let pki = Pki::new();
    let (plain, web) = (Rig::new(&[]), Rig::new(&["--web", pki.path().to_str().unwrap()]));
    let page = b"GET /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n";
    for (rig, before) in [(&plain, &b""[..]), (&web, b""), (&web, page)] {
        let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(before).unwrap();
        stream.write_all(&b"\r\n".repeat(4097)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("HTTP/1.1 431 "), "{answer}");
    }
    let mut few = b"\r\n".repeat(100);
    few.extend_from_slice(page);
    assert_eq!(http(web.proxy.addr(), &few).unwrap().status, 200);
}

#[test]
fn without_a_certificate_tls_is_refused() {
    let rig = Rig::new(&[]);
    let reply = http(rig.proxy.addr(), &[0x16, 3, 1, 0, 1, 1]).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (400, "This port does not speak TLS\n"));
}

#[test]
fn clients_that_dawdle_do_not_hold_up_others() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local"), "--web", pki.path().to_str().unwrap()]);
    let starts: [&[u8]; 6] =
        [b"", &[0x16], &[0x16, 3, 1, 2], b"<policy", b"GET /ca.pem HT", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n"];
    let slow: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
            stream.write_all(starts[number % starts.len()]).unwrap();
            stream
        })
        .collect();
    let tunnel = tunnel(&rig.proxy, "verify=0");
    for addr in [rig.proxy.addr(), tunnel.addr()] {
        let mut client = Client::connect(addr, Wire::Rfc6455).unwrap();
        rig.accept().write_all(b"at once").unwrap();
        assert_eq!(client.read_exact(7), b"at once");
    }
    drop(slow);
}

#[test]
fn a_client_that_breaks_off_its_tls_handshake_leaves_the_port_as_it_was() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    for bytes in [&[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5][..], &[0x80, 46, 1, 3, 1], &[0x16; 3000]] {
        let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // An alert at the most.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.len() < 64 && answer.first().is_none_or(|kind| *kind == 0x15), "{answer:02x?}");
    }
    let (mut client, mut target) = rig.connect(Wire::Rfc6455);
    target.write_all(b"fine").unwrap();
    assert_eq!(client.read_exact(4), b"fine");
}

/// A client of `addr` that has sent `bytes` and got `len` bytes of an answer.
fn begun(addr: SocketAddr, bytes: &[u8], len: usize) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.read_exact(&mut vec![0; len]).unwrap();
    stream
}

#[test]
fn a_client_that_falls_silent_is_dropped_wherever_it_stands() {
    let pki = Pki::new();
    let options = ["--handshake-timeout", "1", "--trust-proxy", "127.0.0.1", "--web", pki.path().to_str().unwrap()];
    let rig = Rig::new(&[&options[..], &["--cert", &pki.local("local")]].concat());
    let tunnel = tunnel(&rig.proxy, "verify=0");
    let request = b"HEAD /ca.pem HTTP/1.1\r\nHost: x\r\n\r\n";
    for addr in [rig.proxy.addr(), tunnel.addr()] {
        let starts: [(&[u8], usize); 8] = [
            (b"", 0),
            (&[0x16, 3], 0),
            (&[0x80], 0),
            (b"PROXY TCP4 192", 0),
            (b"<policy-file", 0),
            (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", 0),
            (b"GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key1: 1 2\r\n", 0),
            // After a reply there is as much time again, and not for ever.
            (request, b"HTTP/1.1 200 OK\r\n".len()),
        ];
        let clients = starts.map(|(bytes, len)| (bytes, begun(addr, bytes, len)));
        for (bytes, mut client) in clients {
            // What it is told meanwhile, if anything, is not the point here.
            let ended = client.read_to_end(&mut Vec::new());
            assert!(ended.is_ok(), "{}: {ended:?}", bytes.escape_ascii());
        }
    }
}

#[test]
fn a_probe_by_tls_or_with_a_proxy_header_is_not_logged() {
    let pki = Pki::new();
    let mut rig = Rig::new(&["--trust-proxy", "127.0.0.1", "--cert", &pki.local("local")]);
    // As load balancers look whether a server is there.
    let (done, told) = s_client(&rig.proxy, &[]);
    assert!(done, "{told}");
    for header in [&b""[..], b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"] {
        let mut stream = begun(rig.proxy.addr(), header, 0);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(uninterrupted(|| stream.read(&mut [0])).unwrap(), 0);
    }
    let (client, target) = rig.connect(Wire::Rfc6455);
    drop((client, target));
    let mut log = rig.proxy.stderr_until(" end ");
    log.push_str(&rig.proxy.kill_for_stderr());
    // The one that opened: listening, open, end.
    assert_eq!(log.lines().count(), 3, "{log}");
}
