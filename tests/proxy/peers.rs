//! The proxy among programs that others have written: a Python client, nginx in front and behind, redis.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};

use wstests::net::uninterrupted;
use wstests::{Mode, Server, Shim, Wire, script};

use crate::common::{Rig, start};
use crate::hixie;
use crate::nginx::nginx;
use crate::pki::Pki;
use crate::tools::finish;

/// The Python client: Debian's interpreter has the package.
fn python(url: &str, protocols: &str, what: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script("websockets_client.py")).args([url, protocols, what]);
    command
}

/// The subprotocol, what came, and the code of the Close.
#[track_caller]
fn told(output: Output) -> [String; 3] {
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{stdout}{stderr}");
    let (protocol, rest) = stdout.trim_end().split_once('\n').unwrap();
    let (text, code) = rest.rsplit_once('\n').unwrap_or(("", rest));
    [protocol, text, code].map(str::to_owned)
}

/// Sends back what comes, to its end.
fn echo(mut target: TcpStream) {
    let mut chunk = vec![0; 1 << 16];
    loop {
        match uninterrupted(|| target.read(&mut chunk)).unwrap() {
            0 => return,
            count => target.write_all(&chunk[..count]).unwrap(),
        }
    }
}

#[test]
fn the_websockets_of_python_talk_with_each_subprotocol_over_plain_and_tls() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    for scheme in ["ws", "wss"] {
        let url = format!("{scheme}://127.0.0.1:{}/any/path?at=all", rig.proxy.port());
        for (offered, chosen) in [
            ("-", "None"),
            ("binary", "binary"),
            ("base64", "base64"),
            ("base64,binary", "binary"),
            ("mqtt,base64,chat", "base64"),
            ("mqtt", "None"),
        ] {
            let mut command = python(&url, offered, "echo");
            command.env("SSL_CERT_FILE", pki.file("ca.pem"));
            let output = std::thread::scope(|scope| {
                let client = scope.spawn(|| finish(&command));
                echo(rig.accept());
                client.join().unwrap()
            });
            let [protocol, _, code] = told(output);
            assert_eq!((&protocol[..], &code[..]), (chosen, "4321"), "{scheme} {offered}");
        }
    }
}

#[test]
fn the_websockets_of_python_are_told_how_the_target_ended() {
    let mut rig = Rig::new(&["--drain", "0"]);
    let url = format!("ws://{}/", rig.proxy.addr());
    let started = |rig: &Rig, what: &str| {
        let client = Server::spawn(Mode::Bare, &mut python(&url, "binary", what));
        assert_eq!(client.stdout_line(), "binary");
        (client, rig.accept())
    };
    let ended = |mut client: Server, text: &str| {
        assert_eq!(String::from_utf8(client.stdout_to_end()).unwrap(), text);
        assert!(client.wait().success());
    };

    let (client, mut target) = started(&rig, "end");
    target.write_all(b"last words").unwrap();
    drop(target);
    ended(client, "last words\n1000\n");

    let (client, target) = started(&rig, "get");
    uninterrupted(|| target.peek(&mut [0])).unwrap();
    // Unread bytes make this a reset.
    drop(target);
    ended(client, "\n1011\n");

    let (client, _target) = started(&rig, "end");
    rig.proxy.signal(libc::SIGTERM);
    ended(client, "\n1001\n");
}

/// nginx that speaks TLS in front of a proxy at `port`, and tells it about clients.
fn front(pki: &Pki, port: u16) -> Server {
    let certificate = pki.local("front");
    nginx(
        pki.path(),
        "front",
        &format!(
            "listen 127.0.0.1:PORT ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}; \
             location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade; \
             proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}"
        ),
    )
}

#[test]
fn nginx_behind_sees_the_address_of_the_client_of_nginx_in_front() {
    let pki = Pki::new();
    let target = "listen 127.0.0.1:PORT proxy_protocol; location / { return 200 \"for $proxy_protocol_addr\"; }";
    let target = nginx(pki.path(), "target", target);
    let addr = target.addr().to_string();
    for version in ["v1", "v2"] {
        let options = ["--trust-proxy", "127.0.0.1", "--proxy-protocol", version];
        let proxy = start(&[&options[..], &["127.0.0.1:{port}", &addr]].concat());
        let front = front(&pki, proxy.port());
        let mut client = python(&format!("wss://{}/", front.addr()), "binary", "get");
        client.envs([("SSL_CERT_FILE", &pki.file("ca.pem")[..]), ("CLIENT_ADDRESS", "127.0.0.77")]);
        let [protocol, reply, code] = told(finish(&client));
        assert_eq!((&protocol[..], &code[..]), ("binary", "1000"));
        assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("\nfor 127.0.0.77"), "{reply}");
        proxy.stderr_until("peer=127.0.0.77:");
    }
}

/// The client checks the Location: it connects by TLS, the proxy is spoken to without.
#[test]
fn a_hixie_client_of_nginx_in_front_is_told_a_location_of_wss() {
    let pki = Pki::new();
    let rig = Rig::new(&["--trust-proxy", "127.0.0.1"]);
    let front = front(&pki, rig.proxy.port());
    // Not hixie-76, whose eight bytes behind the request nginx keeps until the reply.
    hixie::chat(&rig, front.port(), "draft-hixie-75", Some(&pki.file("ca.pem")));
}

#[test]
fn redis_is_a_target_in_every_dialect() {
    let mut redis = Command::new("redis-server");
    redis.args(["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let redis = Server::bare(&mut redis);
    let proxy = start(&["127.0.0.1:{port}", &redis.addr().to_string()]);
    for wire in Wire::WEBSOCKET {
        let shim = Shim::start(proxy.addr(), wire).unwrap();
        let port = shim.addr().port().to_string();
        let ask = |words: &[&str]| {
            let output = finish(Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(words));
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        let value = "v".repeat(100_000);
        assert_eq!(ask(&["set", "key", &value]), "OK", "{wire:?}");
        assert!(ask(&["get", "key"]) == value, "{wire:?}: another value");
        let mut load = Command::new("redis-benchmark");
        load.args(["-h", "127.0.0.1", "-p", &port, "-t", "set,get,mset", "-n", "5000", "-c", "50", "-P", "8", "--csv"]);
        let output = finish(&load);
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && table.lines().count() == 4, "{wire:?}: {output:?}");
        assert_eq!(ask(&["incr", &format!("count {wire:?}")]), "1");
    }
}
