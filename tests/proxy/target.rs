//! Where connections go.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use wstests::{Client, End, Scratch, TIMEOUT, Wire};

use crate::common::{Rig, Target, refuses, start, talk};

#[test]
fn a_unix_socket_is_a_target() {
    let scratch = Scratch::new();
    let path = scratch.join("target.sock");
    let door = UnixListener::bind(&path).unwrap();
    let proxy = start(&["--unix-target", path.to_str().unwrap(), "127.0.0.1:{port}"]);
    for wire in Wire::WEBSOCKET {
        let mut client = Client::connect(proxy.addr(), wire).unwrap();
        let (mut target, _) = door.accept().unwrap();
        target.set_read_timeout(Some(TIMEOUT)).unwrap();
        client.send(b"question");
        let mut got = [0; 8];
        target.read_exact(&mut got).unwrap();
        target.write_all(b"answer").unwrap();
        assert_eq!((&got, &client.read_exact(6)[..]), (b"question", &b"answer"[..]));
    }
    drop(door);
    std::fs::remove_file(&path).unwrap();
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1011), String::new())));
    refuses(&["--unix-target", "", "1"], 2, &["--unix-target"]);
}

/// connect(2) waits for room there only if it may block.
#[test]
fn a_unix_socket_whose_queue_is_full_is_waited_for() {
    let scratch = Scratch::new();
    let path = scratch.join("target.sock");
    let (door, waiting) = full_unix(&path);
    let options = ["--unix-target", path.to_str().unwrap(), "127.0.0.1:{port}"];
    let proxy = start(&[&["--connect-timeout", "1"], &options[..]].concat());
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1013), String::new())));
    let proxy = start(&options);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    client.send(b"question");
    drop((waiting, door.accept().unwrap()));
    let (mut target, _) = door.accept().unwrap();
    target.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut got = [0; 8];
    target.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"question");
}

/// A listener whose queue is full.
pub fn full_unix(path: &Path) -> (UnixListener, UnixStream) {
    let door = UnixListener::bind(path).unwrap();
    // SAFETY: plain system call on an open socket; listening again changes the length of the queue (listen(2)).
    assert_eq!(unsafe { libc::listen(door.as_raw_fd(), 0) }, 0);
    (door, UnixStream::connect(path).unwrap())
}

#[test]
fn connections_come_from_the_source_address() {
    let target = Target::new();
    let proxy = start(&["--source-addr", "127.0.0.9", "127.0.0.1:{port}", &target.addr()]);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    let (stream, from) = target.accept();
    talk(&mut client, &stream);
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    refuses(&["--source-addr", "localhost", "1", "a:1"], 2, &["--source-addr", "localhost"]);
}

#[test]
fn a_target_without_an_address_of_the_sources_family_is_told() {
    // Only a token knows what the target is.
    let scratch = Scratch::new();
    let tokens = scratch.join("tokens");
    std::fs::write(&tokens, "a: 127.0.0.1:1\n").unwrap();
    let tokens = ["--target-config", tokens.to_str().unwrap()];
    let proxy = start(&[&tokens[..], &["--source-addr", "::1", "127.0.0.1:{port}"]].concat());
    let mut client = Client::builder(Wire::Rfc6455).path("/a").connect(proxy.addr()).unwrap();
    assert_eq!(client.read_to_end(), b"");
    proxy.stderr_until("no address of the family of the source");
    for target in ["127.0.0.1:1", "[::1]:1"] {
        let source = if target.starts_with('[') { "127.0.0.9" } else { "::1" };
        refuses(&["--source-addr", source, "1", target], 2, &["--source-addr", source, "family"]);
    }
}

#[test]
fn a_unix_socket_is_connected_to_from_no_address() {
    let source = ["--source-addr", "127.0.0.9"];
    for target in
        [&["--unix-target", "/run/x"][..], &["--token-plugin", "UnixDomainSocketDirectory", "--token-source", "/"]]
    {
        refuses(&[&source, target, &["1"]].concat(), 2, &["--source-addr 127.0.0.9", "Unix socket"]);
    }
}

#[test]
fn the_target_learns_the_clients_address_by_version_1() {
    let rig = Rig::new(&["--proxy-protocol", "v1"]);
    let (mut client, target) = rig.connect(Wire::Rfc6455);
    let mut line = String::new();
    // One byte at a time: what follows is payload.
    BufReader::with_capacity(1, &target).read_line(&mut line).unwrap();
    let (from, port) = (client.local_addr(), rig.proxy.port());
    assert_eq!(line, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", from.port()));
    talk(&mut client, &target);
}

#[test]
fn the_target_learns_the_clients_address_by_version_2() {
    let target = Target::new();
    let proxy = start(&["--proxy-protocol", "v2", "[::1]:{port}", &target.addr()]);
    let mut client = Client::connect(("::1", proxy.port()), Wire::Hixie76).unwrap();
    let (mut stream, _) = target.accept();
    let mut header = [0; 52];
    stream.read_exact(&mut header).unwrap();
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
    for _ in 0..2 {
        expected.extend_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
    }
    expected.extend_from_slice(&client.local_addr().port().to_be_bytes());
    expected.extend_from_slice(&proxy.port().to_be_bytes());
    assert_eq!(header, expected[..]);
    talk(&mut client, &stream);
    refuses(&["--proxy-protocol", "v3", "1", "a:1"], 2, &["--proxy-protocol", "v3"]);
}

#[test]
fn a_target_that_does_not_answer_is_a_close_1013() {
    // Connections that nobody accepts fill the queue, and the kernel answers no more.
    let (door, waiting) = full();
    let addr = door.local_addr().unwrap().to_string();
    let proxy = start(&["--connect-timeout", "1", "127.0.0.1:{port}", &addr]);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(client.end(), Some(&End::Close(Some(1013), String::new())));
    proxy.stderr_until("no answer");
    drop(waiting);
    refuses(&["--connect-timeout", "0", "1", "a:1"], 2, &["--connect-timeout", "0"]);
}

/// A listener whose queue is full.
pub fn full() -> (TcpListener, Vec<std::net::TcpStream>) {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: plain system call on an open socket; listening again changes the length of the queue (listen(2)).
    assert_eq!(unsafe { libc::listen(door.as_raw_fd(), 0) }, 0);
    let addr = door.local_addr().unwrap();
    let patience = std::time::Duration::from_millis(200);
    let waiting = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&addr, patience).ok()).collect();
    (door, waiting)
}
