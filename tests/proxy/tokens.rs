//! Targets by token: files and directories of them, and where a token stands in a request.

use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wstests::{Client, Process, Scratch, Server, TIMEOUT, Wire, proxy};

use crate::common::{Target, refuses, run, talk};

/// A proxy that finds targets by tokens.
#[track_caller]
pub fn by_token(plugin: &str, source: &str, options: &[&str]) -> Server {
    let named = ["--token-plugin", plugin, "--token-source", source];
    Server::bare(Command::new(proxy()).args(named).args(options).arg("127.0.0.1:{port}"))
}

/// A client with this path gets through to the target.
#[track_caller]
pub fn reaches(proxy: &Server, path: &str, target: &Target) {
    let mut client = Client::builder(Wire::Rfc6455).path(path).connect(proxy.addr()).unwrap();
    talk(&mut client, &target.accept().0);
}

/// What a client with this path is told in place of a WebSocket.
#[track_caller]
pub fn refusal(proxy: &Server, path: &str) -> String {
    let refused = Client::builder(Wire::Rfc6455).path(path).connect(proxy.addr());
    refused.err().unwrap_or_else(|| panic!("{path} was let in")).to_string()
}

/// A client with this path is refused with this status.
#[track_caller]
pub fn denied(proxy: &Server, path: &str, status: u16) {
    let told = refusal(proxy, path);
    assert!(told.starts_with(&status.to_string()), "{path}: {told}");
}

/// A file of tokens; its path.
fn file(directory: &Scratch, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_token_stands_in_the_query_or_is_the_path() {
    let (directory, one, two) = (Scratch::new(), Target::new(), Target::new());
    let text = format!("# targets\n\none: {}\n  two:three:\t{}\n", one.addr(), two.addr());
    let proxy = by_token("TokenFile", &file(&directory, "tokens", &text), &[]);
    for (path, target) in [
        ("/?token=one", &one),
        ("/one", &one),
        ("/two:three", &two),
        ("/one?token=two%3Athree", &two),
        ("/websockify?a=b&token=one", &one),
    ] {
        reaches(&proxy, path, target);
    }
    for (path, status) in [("/", 403), ("/?token=", 403), ("/three", 404), ("/?token=ONE", 404), ("/websockify", 404)] {
        denied(&proxy, path, status);
    }
    for wire in [Wire::Hixie75, Wire::Hixie76] {
        let mut client = Client::builder(wire).path("/?token=one").connect(proxy.addr()).unwrap();
        talk(&mut client, &one.accept().0);
    }
    // A token is as good as a password, and the log is read by others.
    let log = proxy.stderr_until("token in the request");
    assert!(!log.contains("token=one"), "{log}");
}

#[test]
fn the_old_name_and_the_class_path_are_understood() {
    let (directory, target) = (Scratch::new(), Target::new());
    let tokens = file(&directory, "tokens", &format!("a: {}", target.addr()));
    let old = Server::bare(Command::new(proxy()).args(["--target-config", &tokens, "127.0.0.1:{port}"]));
    reaches(&old, "/?token=a", &target);
    reaches(&by_token("websockify.token_plugins.ReadOnlyTokenFile", &tokens, &[]), "/?token=a", &target);
    let source = file(&directory, "source", &format!("{tokens}\nanother line"));
    let named = ["--token-plugin", "TokenFile", "--token-source-file", &source, "127.0.0.1:{port}"];
    reaches(&Server::bare(Command::new(proxy()).args(named)), "/?token=a", &target);
}

#[test]
fn the_token_is_the_host_if_it_is_to_be() {
    let (directory, target) = (Scratch::new(), Target::new());
    let tokens = file(&directory, "tokens", &format!("127.0.0.1: {0}\nvnc.example: {0}", target.addr()));
    let proxy = by_token("TokenFile", &tokens, &["--host-token"]);
    reaches(&proxy, "/?token=other", &target);
    let key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (host, status) in [("VNC.example:80", 101), ("vnc.example", 101), ("[::1]:80", 404), ("other", 404)] {
        let mut stream = std::net::TcpStream::connect(proxy.addr()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n{key}").unwrap();
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut head).unwrap();
        assert_eq!(head, *format!("HTTP/1.1 {status}").as_bytes(), "{host}");
    }
}

#[test]
fn a_file_is_read_again_when_it_changes_unless_it_is_to_be_read_once() {
    let (directory, one, two) = (Scratch::new(), Target::new(), Target::new());
    let first = format!("a: {}\n", one.addr());
    let tokens = file(&directory, "tokens", &first);
    let (follows, once) = (by_token("TokenFile", &tokens, &[]), by_token("ReadOnlyTokenFile", &tokens, &[]));
    let mut once = once;
    // Each change counts at once, however soon it follows the one before, and be the size of the file the same.
    for _ in 0..20 {
        for (target, other) in [(&two, "b"), (&one, "c")] {
            file(&directory, "tokens", &format!("a: {}\n{other}: {}\n", target.addr(), one.addr()));
            reaches(&follows, "/a", target);
            reaches(&follows, &format!("/{other}"), &one);
            reaches(&once, "/a", &one);
        }
    }
    denied(&once, "/b", 404);
    // What cannot be used changes nothing; nor does a file that has gone, or what would wait for a writer.
    file(&directory, "tokens", "a: nowhere\n");
    reaches(&follows, "/a", &one);
    follows.stderr_until("not read anew");
    std::fs::remove_file(&tokens).unwrap();
    reaches(&follows, "/a", &one);
    assert!(Command::new("mkfifo").arg(&tokens).status().unwrap().success());
    reaches(&follows, "/a", &one);
    follows.stderr_until("no regular file");
    file(&directory, "new", &format!("a: {}\n", two.addr()));
    std::fs::rename(directory.join("new"), &tokens).unwrap();
    reaches(&follows, "/a", &two);
    once.signal(libc::SIGHUP);
    once.stderr_until("SIGHUP");
    reaches(&once, "/a", &two);
}

#[test]
fn the_files_of_a_directory_are_one_table() {
    let (directory, one, two) = (Scratch::new(), Target::new(), Target::new());
    file(&directory, "1", &format!("a: {0}\nb: {0}", one.addr()));
    file(&directory, ".hidden", "not a line");
    std::fs::create_dir(directory.join("sub")).unwrap();
    let proxy = by_token("TokenFile", directory.path().to_str().unwrap(), &[]);
    reaches(&proxy, "/b", &one);
    denied(&proxy, "/c", 404);
    file(&directory, "2", &format!("b: {0}\nc: {0}", two.addr()));
    for (path, target) in [("/a", &one), ("/b", &two), ("/c", &two)] {
        reaches(&proxy, path, target);
    }
    std::fs::remove_file(directory.join("2")).unwrap();
    reaches(&proxy, "/b", &one);
    denied(&proxy, "/c", 404);
}

#[test]
fn file_names_are_tokens() {
    let (directory, target) = (Scratch::new(), Target::new());
    std::fs::create_dir(directory.join("d")).unwrap();
    file(&directory, "d/a", &format!("{}\n", target.addr()));
    file(&directory, "d/bad", "nowhere");
    file(&directory, "outside", &target.addr());
    let proxy = by_token("TokenFileName", directory.join("d").to_str().unwrap(), &[]);
    reaches(&proxy, "/?token=a", &target);
    for path in ["/b", "/?token=../outside", "/?token=.", "/?token=..", "/?token=d%2Fa", "/?token=a%00b"] {
        denied(&proxy, path, 404);
    }
    denied(&proxy, "/bad", 502);
    proxy.stderr_until("no target");
    file(&directory, "d/b", &target.addr());
    reaches(&proxy, "/b", &target);
}

#[test]
fn unix_sockets_of_a_directory_are_tokens() {
    let directory = Scratch::new();
    std::fs::create_dir_all(directory.join("d/sub")).unwrap();
    let listen = |name: &str| UnixListener::bind(directory.join(name)).unwrap();
    let (a, b, _outside) = (listen("d/a"), listen("d/sub/b"), listen("d2"));
    file(&directory, "d/file", "");
    let proxy = by_token("UnixDomainSocketDirectory", directory.join("d").to_str().unwrap(), &[]);
    for (path, listener) in [("/a", &a), ("/?token=sub/b", &b), ("/sub/b", &b)] {
        let mut client = Client::builder(Wire::Rfc6455).path(path).connect(proxy.addr()).unwrap();
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
        assert_eq!(client.read_exact(5), b"hello", "{path}");
    }
    for path in ["/c", "/file", "/sub", "/?token=../d2", "/?token=/etc/passwd", "/sub/../../d2"] {
        denied(&proxy, path, 404);
    }
}

#[test]
fn a_hundred_thousand_tokens_are_as_quick_as_ten() {
    let (directory, target) = (Scratch::new(), Target::new());
    let table = |count: usize| -> String { (0..count).map(|n| format!("token{n}: {}\n", target.addr())).collect() };
    let few = by_token("TokenFile", &file(&directory, "few", &table(10)), &[]);
    let many = by_token("TokenFile", &file(&directory, "many", &table(100_000)), &[]);
    // The proxy's own time: what the machine does besides does not count.
    let time = |proxy: &Server| {
        let before = Process::new(proxy.pid()).time();
        for _ in 0..300 {
            denied(proxy, "/unknown", 404);
        }
        Process::new(proxy.pid()).time() - before
    };
    reaches(&few, "/token9", &target);
    reaches(&many, "/token99999", &target);
    // The file is read once more at most, for it was young when it was read first; and reading it is most of what the start took.
    let start = Process::new(many.pid()).time();
    let (few_time, many_time) = (time(&few), time(&many));
    println!("300 connections: {few_time:?} with 10 tokens, {many_time:?} with 100,000, whose start took {start:?}");
    // Reading the file for each would take a hundred times as long. The kernel's clock has steps of 10 ms.
    assert!(many_time < few_time * 3 + start + Duration::from_millis(50), "{few_time:?}, {many_time:?}, {start:?}");
}

#[test]
fn bad_options_are_told() {
    let directory = Scratch::new();
    let bad = file(&directory, "bad", "a: h:1\nb nowhere\n");
    let here = |path: &Path| path.to_str().unwrap().to_owned();
    let none = here(&directory.join("none"));
    let port = "127.0.0.1:0";
    let wrong = |plugin: &str, source: &str, status, words: &[&str]| {
        let words = [&["--token-source", source], words].concat();
        refuses(&["--token-plugin", plugin, "--token-source", source, port], status, &words);
    };
    for plugin in ["TokenFile", "ReadOnlyTokenFile", "TokenFileName", "UnixDomainSocketDirectory", "JWTTokenApi"] {
        wrong(plugin, &none, 1, &["No such file"]);
        wrong(plugin, "", 2, &["a path is wanted"]);
    }
    wrong("TokenFile", &bad, 1, &["line 2"]);
    wrong("TokenFileName", &bad, 1, &["Not a directory"]);
    wrong("UnixDomainSocketDirectory", &bad, 1, &["Not a directory"]);
    wrong("JWTTokenApi", &bad, 1, &["there is no key in it"]);
    for plugin in ["BaseTokenAPI", "JSONTokenApi"] {
        wrong(plugin, "http://localhost/", 2, &["%s"]);
        wrong(plugin, "ftp://localhost/%s", 2, &["http://"]);
    }
    wrong("TokenRedis", "localhost:port", 2, &["port"]);
    // What may hold a password is not told on.
    for (plugin, source) in [("TokenRedis", "localhost:port:0:secret"), ("BaseTokenAPI", "ftp://ann:secret@host/%s")] {
        let output = run(&["--token-plugin", plugin, "--token-source", source, port]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains("--token-source (hidden): "), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
    refuses(
        &["--token-plugin", "my.Plugin", "--token-source", "x", port],
        2,
        &["--token-plugin", "my.Plugin", "TokenRedis"],
    );
    refuses(&["--target-config", &none, port], 1, &["--target-config", &none, "No such file"]);
    let file = ["--token-plugin", "TokenFile", "--token-source-file", &none, port];
    refuses(&file, 1, &["--token-source-file", &none, "No such file"]);
    for (options, words) in [
        (&["--token-plugin", "TokenFile"][..], ["--token-plugin", "--token-source"]),
        (&["--token-source", "x"], ["--token-source", "--token-plugin"]),
        (&["--token-source-file", "x"], ["--token-source-file", "--token-plugin"]),
        (&["--host-token"], ["--host-token", "--token-plugin"]),
        (&["--target-config", "x", "--token-plugin", "TokenFile"], ["--target-config", "--token-plugin"]),
        (&["--target-config", "x", "--unix-target", "y"], ["--unix-target", "tokens"]),
    ] {
        refuses(&[options, &[port, "127.0.0.1:9"]].concat(), 2, &words);
    }
}
