//! Who may connect, and who the client is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use wstests::net::uninterrupted;
use wstests::{Client, Mode, Scratch, Server, TIMEOUT, Wire, http, wait};

use crate::common::{Rig, Target, refuses, start, talk};

/// A client whose connection begins with `front`.
fn client_behind(rig: &Rig, front: &[u8]) -> Client {
    let pending = Client::builder(Wire::Rfc6455).begin(rig.proxy.addr()).unwrap();
    pending.stream().write_all(front).unwrap();
    pending.finish().unwrap()
}

#[test]
fn the_proxy_protocol_of_a_trusted_proxy_is_believed() {
    let rig = Rig::new(&["--trust-proxy", "127.0.0.0/8", "--proxy-protocol", "v1"]);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x01\xc6\x33\x64\x02\x00\x05\x00\x50";
    for (front, expected) in [
        (&b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n"[..], "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n"),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 5 80\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 5 80\r\n"),
        (v2, "PROXY TCP4 198.51.100.1 198.51.100.2 5 80\r\n"),
    ] {
        let mut client = client_behind(&rig, front);
        let mut target = rig.accept();
        let mut line = vec![0; expected.len()];
        target.read_exact(&mut line).unwrap();
        assert_eq!(String::from_utf8_lossy(&line), expected);
        talk(&mut client, &target);
    }
    // Without a header it is the proxy's own connection.
    let mut client = client_behind(&rig, b"");
    let mut target = rig.accept();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.local_addr().port(), rig.proxy.port());
    let mut line = vec![0; expected.len()];
    target.read_exact(&mut line).unwrap();
    assert_eq!(String::from_utf8_lossy(&line), expected);
    talk(&mut client, &target);
    // A header that is broken is no client's.
    let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.1\r\n").unwrap();
    rig.proxy.stderr_until("malformed PROXY header");
}

#[test]
fn the_proxy_protocol_of_anybody_else_is_no_request() {
    let rig = Rig::new(&["--trust-proxy", "192.0.2.0/24"]);
    let reply = http(rig.proxy.addr(), b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(reply.status, 400);
    refuses(&["--trust-proxy", "10.0.0.0/33", "1", "a:1"], 2, &["--trust-proxy", "10.0.0.0/33"]);
}

/// A request of hixie-75 with `fields`.
fn chat(fields: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.org\r\n\
         Origin: http://example.org\r\n{fields}\r\n"
    )
}

/// The same, and the reply's head.
fn hixie(rig: &Rig, fields: &str) -> String {
    let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(chat(fields).as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn forwarded_fields_of_a_trusted_proxy_are_believed() {
    let rig = Rig::new(&["--trust-proxy", "10.0.0.0/8", "--trust-proxy", "127.0.0.1"]);
    let reply = hixie(&rig, "X-Forwarded-For: 203.0.113.9, 192.0.2.7, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n");
    assert!(reply.contains("wss://example.org/chat\r\n"), "{reply}");
    rig.proxy.stderr_until("peer=192.0.2.7:0 ");
    let stranger = Rig::new(&[]);
    let reply = hixie(&stranger, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n");
    assert!(reply.contains("ws://example.org/chat\r\n"), "{reply}");
    stranger.proxy.stderr_until("peer=127.0.0.1:");
}

#[test]
fn a_client_that_is_named_on_a_unix_socket_is_named_to_the_target() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let socket = scratch.join("socket");
    let listen = ["--unix-listen", socket.to_str().unwrap(), &target.addr()];
    let _proxy = start(&[&["--trust-proxy", "unix", "--proxy-protocol", "v1"], &listen[..]].concat());
    for (fields, expected) in [
        ("X-Forwarded-For: 192.0.2.7\r\n", "PROXY TCP4 192.0.2.7 0.0.0.0 0 0\r\n"),
        ("X-Forwarded-For: 2001:db8::7\r\n", "PROXY TCP6 2001:db8::7 :: 0 0\r\n"),
        ("", "PROXY UNKNOWN\r\n"),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(chat(fields).as_bytes()).unwrap();
        let mut line = vec![0; expected.len()];
        target.accept().0.read_exact(&mut line).unwrap();
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }
}

#[test]
fn haproxy_in_front_tells_who_the_client_is() {
    let (scratch, target) = (Scratch::new(), Target::new());
    let proxy = start(&["--trust-proxy", "127.0.0.1", "127.0.0.1:{port}", &target.addr()]);
    for send in ["send-proxy", "send-proxy-v2"] {
        let config = scratch.join(send);
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             listen front\n  bind 127.0.0.1:{{port}}\n  server wsproxy {} {send}\n",
            proxy.addr()
        );
        let mut haproxy = Command::new("sh");
        // The port is known when the program starts.
        haproxy.args(["-c", "printf %s \"$0\" > \"$1\" && exec haproxy -db -f \"$1\"", &text]).arg(&config);
        let haproxy = Server::start(Mode::Bare, &mut haproxy);
        let mut client = Client::connect(haproxy.addr(), Wire::Rfc6455).unwrap();
        talk(&mut client, &target.accept().0);
        proxy.stderr_until(&format!("peer={} ", client.local_addr()));
    }
}

#[test]
fn there_are_at_most_so_many_connections() {
    let rig = Rig::new(&["--max-connections", "2"]);
    let (mut first, target) = rig.connect(Wire::Rfc6455);
    let _second = rig.connect(Wire::Hixie76);
    for wire in Wire::WEBSOCKET {
        let refusal = Client::connect(rig.proxy.addr(), wire).unwrap_err().to_string();
        assert!(refusal.contains("503") && refusal.contains("Too many connections"), "{wire:?}: {refusal}");
    }
    talk(&mut first, &target);
    drop((first, target));
    // The place is free when the connection has ended.
    let _third = wait::until("a place", || Client::connect(rig.proxy.addr(), Wire::Rfc6455).ok());
    refuses(&["--max-connections", "0", "1", "a:1"], 2, &["--max-connections", "0"]);
}

#[test]
fn a_client_has_at_most_so_many_connections() {
    let rig = Rig::new(&["--max-per-ip", "1", "--trust-proxy", "127.0.0.1"]);
    let held = ["192.0.2.1", "192.0.2.2"].map(|ip| {
        let client = client_behind(&rig, format!("PROXY TCP4 {ip} 192.0.2.9 5 80\r\n").as_bytes());
        (client, rig.accept())
    });
    let pending = Client::builder(Wire::Rfc6455).begin(rig.proxy.addr()).unwrap();
    pending.stream().write_all(b"PROXY TCP4 192.0.2.1 192.0.2.9 6 80\r\n").unwrap();
    let refusal = pending.finish().unwrap_err().to_string();
    assert!(refusal.contains("429"), "{refusal}");
    drop(held);
    refuses(&["--max-per-ip", "x", "1", "a:1"], 2, &["--max-per-ip", "'x'"]);
}

#[test]
fn a_client_that_sends_nothing_is_dropped() {
    let rig = Rig::new(&["--handshake-timeout", "1"]);
    let silent = TcpStream::connect(rig.proxy.addr()).unwrap();
    silent.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut slow = TcpStream::connect(rig.proxy.addr()).unwrap();
    slow.set_read_timeout(Some(TIMEOUT)).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Neither delays another.
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    assert_eq!(uninterrupted(|| (&silent).read(&mut [0])).unwrap(), 0);
    assert_eq!(uninterrupted(|| slow.read(&mut [0])).unwrap(), 0);
    talk(&mut client, &target);
    refuses(&["--handshake-timeout", "soon", "1", "a:1"], 2, &["--handshake-timeout", "soon"]);
}

#[test]
fn a_probe_is_not_logged() {
    for (options, told) in [(&[][..], 0), (&["-v"], 3), (&["--verbose"], 3)] {
        let mut rig = Rig::new(options);
        drop(TcpStream::connect(rig.proxy.addr()).unwrap());
        Client::connect(rig.proxy.addr(), Wire::Plain).unwrap().abort();
        let mut polite = TcpStream::connect(rig.proxy.addr()).unwrap();
        polite.shutdown(std::net::Shutdown::Write).unwrap();
        polite.set_read_timeout(Some(TIMEOUT)).unwrap();
        assert_eq!(uninterrupted(|| polite.read(&mut [0])).unwrap(), 0);
        let mut log = String::new();
        for _ in 0..told {
            log.push_str(&rig.proxy.stderr_until("no request"));
        }
        let (mut client, target) = rig.connect(Wire::Rfc6455);
        talk(&mut client, &target);
        drop((client, target));
        log.push_str(&rig.proxy.stderr_until(" end "));
        log.push_str(&rig.proxy.kill_for_stderr());
        // The one that opened: listening, open, end.
        assert_eq!(log.lines().count(), 3 + told, "{log}");
    }
}

#[test]
fn both_sides_are_probed_by_the_kernel() {
    let rig = Rig::new(&[]);
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    talk(&mut client, &target);
    let behind = target.peer_addr().unwrap().port();
    for (local, remote) in
        [(rig.proxy.port(), client.local_addr().port()), (behind, target.local_addr().unwrap().port())]
    {
        // proc(5): the timer of the socket, 02 for the keepalive.
        wait::until("a keepalive timer", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let end = |port: u16| format!(":{port:04X}");
            let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line = lines.find(|words| words[1].ends_with(&end(local)) && words[2].ends_with(&end(remote)))?;
            line[5].starts_with("02:").then_some(())
        });
    }
}
