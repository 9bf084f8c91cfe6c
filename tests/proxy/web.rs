//! The web side: which requests it takes, and what surrounds the files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use wstests::net::uninterrupted;
use wstests::{Client, Scratch, TIMEOUT, Wire};

use crate::common::Rig;
use crate::pki::{Pki, tunnel};
use crate::tools::refused;

/// A connection that is kept between requests.
struct Kept {
    stream: BufReader<TcpStream>,
}

impl Kept {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Kept { stream: BufReader::new(stream) }
    }

    fn send(&mut self, request: &str) {
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// The next reply: its status line and fields, and as much body as it says. Nothing more is read.
    fn reply(&mut self, head_only: bool) -> (Vec<String>, Vec<u8>) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "an end in {lines:?}");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let mut body = vec![0; if head_only { 0 } else { length.parse().unwrap() }];
        self.stream.read_exact(&mut body).unwrap();
        (lines, body)
    }

    fn ends(mut self) -> bool {
        uninterrupted(|| self.stream.read(&mut [0])).unwrap() == 0
    }
}

/// A directory with a page of two files, and a proxy that serves it.
fn site(options: &[&str]) -> (Scratch, Rig) {
    let site = Scratch::new();
    std::fs::write(site.join("index.html"), "<p>hello").unwrap();
    std::fs::write(site.join("app.js"), "hello()").unwrap();
    let rig = Rig::new(&[&["--web", site.path().to_str().unwrap()], options].concat());
    (site, rig)
}

const GET: &str = "GET /app.js HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_kept_connection_becomes_a_websocket_in_every_dialect() {
    let (_site, rig) = site(&[]);
    for wire in Wire::WEBSOCKET {
        let pending = Client::builder(wire).early(b"early ").begin(rig.proxy.addr()).unwrap();
        let mut kept = Kept::new(pending.stream().try_clone().unwrap());
        for _ in 0..3 {
            kept.send(GET);
            assert_eq!(kept.reply(false).1, b"hello()", "{wire:?}");
        }
        let mut client = pending.finish().unwrap();
        let mut target = rig.accept();
        client.send(b"and late");
        let mut got = [0; 14];
        target.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"early and late", "{wire:?}");
        target.write_all(b"answer").unwrap();
        assert_eq!(client.read_exact(6), b"answer", "{wire:?}");
    }
}

#[test]
fn an_upgrade_may_come_behind_requests_that_are_not_answered_yet() {
    let (_site, rig) = site(&[]);
    for wire in [Wire::Rfc6455, Wire::Hixie76] {
        let pending = Client::builder(wire).begin(rig.proxy.addr()).unwrap();
        let mut stream = pending.stream().try_clone().unwrap();
        stream.write_all(GET.repeat(3).as_bytes()).unwrap();
        // The replies stand in front of the one that `finish` wants, so all is sent before they are read.
        let mut pending = pending;
        pending.advance(pending.left()).unwrap();
        let mut kept = Unbuffered(stream);
        for _ in 0..3 {
            assert!(kept.reply().ends_with("hello()"), "{wire:?}");
        }
        let mut client = pending.finish().unwrap();
        rig.accept().write_all(b"answer").unwrap();
        assert_eq!(client.read_exact(6), b"answer", "{wire:?}");
    }
}

/// Reads replies and not a byte more.
struct Unbuffered(TcpStream);

impl Unbuffered {
    fn reply(&mut self) -> String {
        self.0.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"hello()") {
            self.0.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }
}

#[test]
fn a_bad_upgrade_on_a_kept_connection_is_refused_as_on_a_fresh_one() {
    let (_site, rig) = site(&[]);
    let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
    kept.send(GET);
    kept.reply(false);
    kept.send(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\n\r\n",
    );
    let (lines, _) = kept.reply(false);
    assert!(lines[0].contains("426") && lines.contains(&"sec-websocket-version: 13, 8, 7".to_owned()), "{lines:?}");
    assert!(kept.ends());
}

#[test]
fn requests_come_in_pieces_and_in_heaps() {
    let (_site, rig) = site(&[]);
    let stream = TcpStream::connect(rig.proxy.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut kept = Kept::new(stream);
    for byte in GET.chars() {
        kept.send(&byte.to_string());
    }
    assert_eq!(kept.reply(false).1, b"hello()");
    kept.send(&GET.repeat(200));
    for _ in 0..200 {
        assert_eq!(kept.reply(false).1, b"hello()");
    }
}

#[test]
fn other_methods_are_405_and_a_body_ends_the_connection() {
    let (_site, rig) = site(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
        kept.send(&format!("{method} /app.js HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (lines, _) = kept.reply(false);
        assert!(lines[0].contains("405") && lines.contains(&"allow: get, head".to_owned()), "{method}: {lines:?}");
        // The connection goes on.
        kept.send(GET);
        assert_eq!(kept.reply(false).1, b"hello()", "{method}");
    }
    for body in ["Content-Length: 60\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3c\r\n"] {
        let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
        // What looks like a request in it is none.
        kept.send(&format!("POST / HTTP/1.1\r\nHost: x\r\n{body}{GET}"));
        let (lines, _) = kept.reply(false);
        assert!(lines[0].contains("405") && lines.contains(&"connection: close".to_owned()), "{lines:?}");
        assert!(kept.ends(), "{body:?}");
    }
}

#[test]
fn http_1_0_is_answered_and_host_is_wanted_in_1_1() {
    let (_site, rig) = site(&[]);
    let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
    kept.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(kept.reply(false).1, b"<p>hello");
    assert!(kept.ends());
    for hosts in ["", "Host: x\r\nHost: y\r\n"] {
        let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
        kept.send(&format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
        assert!(kept.reply(false).0[0].contains("400"), "{hosts:?}");
    }
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_reply() {
    let (site, rig) = site(&[]);
    let large = vec![7; 3 << 20];
    std::fs::write(site.join("large"), &large).unwrap();
    let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
    kept.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    kept.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(kept.reply(false).1 == large);
    assert!(kept.ends());
}

#[test]
fn files_come_over_tls_on_the_same_port_too() {
    let pki = Pki::new();
    let (_site, rig) = site(&["--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, "verify=0");
    let pending = Client::builder(Wire::Rfc6455).begin(tunnel.addr()).unwrap();
    let mut kept = Kept::new(pending.stream().try_clone().unwrap());
    kept.send(GET);
    assert_eq!(kept.reply(false).1, b"hello()");
    let mut client = pending.finish().unwrap();
    rig.accept().write_all(b"answer").unwrap();
    assert_eq!(client.read_exact(6), b"answer");
}

#[test]
fn header_fields_are_added_and_replaced() {
    let added = ["--header", "Strict-Transport-Security: max-age=60", "--header", "cache-control:max-age=5"];
    let twice = ["--header", "Link: </a>", "--header", "link: </b>", "--header", "cache-control: no-store"];
    let (site, rig) = site(&[&added[..], &twice].concat());
    for path in ["/app.js", "/missing"] {
        let mut kept = Kept::new(TcpStream::connect(rig.proxy.addr()).unwrap());
        kept.send(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let (lines, _) = kept.reply(true);
        assert!(lines.contains(&"strict-transport-security: max-age=60".to_owned()), "{lines:?}");
        let caching: Vec<_> = lines.iter().filter(|line| line.starts_with("cache-control")).collect();
        assert_eq!(caching, ["cache-control: max-age=5", "cache-control: no-store"], "{path}");
        let links: Vec<_> = lines.iter().filter(|line| line.starts_with("link")).collect();
        assert_eq!(links, ["link: </a>", "link: </b>"], "{path}");
    }
    for (bad, why) in [
        ("no colon", "NAME:VALUE"),
        ("a b: c", "no name"),
        (": c", "no name"),
        ("a: b\nc: d", "no value"),
        ("content-length: 5", "server's own"),
        ("Transfer-Encoding: chunked", "server's own"),
    ] {
        let bare = bad.lines().next().unwrap();
        refused(site.path(), &["--web", ".", "--header", bad], 2, &["--header", bare, why]);
    }
    refused(site.path(), &["--header", "a: b"], 2, &["--header", "--web"]);
}

#[test]
fn a_bad_directory_is_told() {
    let site = Scratch::new();
    std::fs::write(site.join("file"), "").unwrap();
    refused(site.path(), &["--web", "none"], 1, &["--web none: No such file"]);
    refused(site.path(), &["--web", "file"], 1, &["--web file: Not a directory"]);
    refused(site.path(), &["--web-list"], 2, &["--web-list", "--web"]);
    refused(site.path(), &["--file-only"], 2, &["--file-only", "--web"]);
    refused(site.path(), &["--web-auth"], 2, &["--web-auth", "--web"]);
    refused(site.path(), &["--web", ".", "--web-list", "--file-only"], 2, &["--web-list", "--file-only"]);
}
