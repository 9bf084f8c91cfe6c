//! The log: where it goes, what it says, and what it never touches.

use std::path::PathBuf;
use std::process::Command;

use wstests::{Client, End, Scratch, Server, Wire, app, http, wait};

/// A log file that goes with the test.
struct LogFile {
    _directory: Scratch,
    path: PathBuf,
}

impl LogFile {
    fn new() -> Self {
        let directory = Scratch::new();
        let path = directory.join("log");
        Self { _directory: directory, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Its lines once there are `n` of them.
    fn lines(&self, n: usize) -> Vec<String> {
        wait::until(&format!("{n} lines in the log"), || {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= n && text.ends_with('\n')).then_some(lines)
        })
    }
}

fn start(variables: &[(&str, &str)]) -> Server {
    let mut command = Command::new(app("accepts"));
    command.args(["poll", "4", "{port}"]).envs(variables.iter().copied());
    let server = Server::wrapped(&mut command);
    assert_eq!(server.stdout_line(), format!("listening {}", server.port()));
    server
}

/// One echo of five bytes, ended by the client; returns its port.
fn converse(server: &Server, wire: Wire) -> u16 {
    let mut client = Client::builder(wire).path("/some/path").connect(server.addr()).unwrap();
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
    client.close(1000);
    assert_eq!(client.read_to_end(), b"");
    assert!(server.stdout_line().starts_with("accepted "));
    assert_eq!(server.stdout_line(), "ended");
    client.local_addr().port()
}

#[test]
fn without_a_log_nothing_is_written() {
    let mut server = start(&[]);
    converse(&server, Wire::Rfc6455);
    assert_eq!(server.kill_for_stderr(), "");
}

#[test]
fn the_log_has_one_line_for_a_port_and_no_more() {
    let mut server = start(&[("WSWRAP_LOG", "stderr")]);
    converse(&server, Wire::Rfc6455);
    converse(&server, Wire::Hixie76);
    let log = server.kill_for_stderr();
    assert!(log.contains(&format!("port {} ", server.port())), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_verbose_log_has_a_line_for_each_connection_end_and_refusal() {
    let file = LogFile::new();
    let mut server = start(&[("WSWRAP_LOG", file.path()), ("WSWRAP_VERBOSE", "1")]);
    for (wire, dialect, subprotocol) in [
        (Wire::Hixie75, "hixie-75", None),
        (Wire::Hixie76, "hixie-76", None),
        (Wire::Rfc6455, "rfc6455", None),
        (Wire::Rfc6455Base64, "rfc6455", Some("base64")),
    ] {
        let before = file.lines(1).len();
        let port = converse(&server, wire);
        let lines = file.lines(before + 2);
        let [opened, ended] = &lines[before..] else {
            panic!("more than two lines: {:?}", &lines[before..]);
        };
        for part in [&format!("127.0.0.1:{port}"), dialect, "/some/path", subprotocol.unwrap_or("none")] {
            assert!(opened.contains(part), "no {part} in {opened}");
        }
        let code = if wire.is_rfc6455() { "1000" } else { "" };
        for part in [&format!("127.0.0.1:{port}"), "5 bytes in", "5 bytes out", code] {
            assert!(ended.contains(part), "no {part} in {ended}");
        }
    }
    let before = file.lines(1).len();
    let reply = http(server.addr(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let lines = file.lines(before + 1);
    assert!(lines[before].contains(reply.text().trim_end()), "{lines:?}");
    assert_eq!(server.kill_for_stderr(), "");
}

/// A client cannot write lines of its own into the log.
#[test]
fn a_request_cannot_forge_a_line() {
    let file = LogFile::new();
    let server = start(&[("WSWRAP_LOG", file.path()), ("WSWRAP_VERBOSE", "1")]);
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";
    for path in ["/a\nwswrap[1]: forged", "/a\x1b[2Jforged", "/a\rforged"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n");
        let reply = http(server.addr(), request.as_bytes()).unwrap();
        assert_eq!(reply.status, 400, "{path:?}");
    }
    let lines = file.lines(4);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("forged")), "{lines:?}");
}

/// The program closes its standard error, and each connection gets that number: not a byte of the log goes there.
#[test]
fn the_log_is_never_written_into_a_descriptor_that_the_program_reuses() {
    let server = start(&[("WSWRAP_LOG", "stderr"), ("WSWRAP_VERBOSE", "1"), ("CLOSE_STDERR", "1")]);
    for _ in 0..3 {
        for wire in Wire::WEBSOCKET {
            // The client checks every byte of the stream.
            converse(&server, wire);
            let mut client = Client::connect(server.addr(), wire).unwrap();
            assert!(server.stdout_line().starts_with("accepted "));
            client.close(1000);
            assert_eq!(client.read_to_end(), b"");
            assert!(matches!(client.end(), Some(End::Fin | End::Close(..))), "{:?}", client.end());
            assert_eq!(server.stdout_line(), "ended");
        }
    }
}

/// The parent of a forking server closes its copy of each connection at once, and reads nothing of it.
#[test]
fn the_parents_copy_of_a_connection_is_no_end() {
    let log = LogFile::new();
    let mut command = Command::new("socat");
    command
        .args(["TCP-LISTEN:{port},fork,reuseaddr", "PIPE"])
        .envs([("WSWRAP_LOG", log.path()), ("WSWRAP_VERBOSE", "1")]);
    let server = Server::wrapped(&mut command);
    let mut client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    client.send(b"hello");
    assert_eq!(client.read_exact(5), b"hello");
    client.close(1000);
    assert_eq!(client.read_to_end(), b"");
    let lines = log.lines(3);
    assert!(lines[1].contains(" open: "), "{lines:?}");
    assert!(lines[2].ends_with(" end: closed by the client (1000), 5 bytes in, 5 bytes out"), "{lines:?}");
}
