//! Who may come in: names and passwords, origins, certificates.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wstests::{Client, Ports, Reply, Scratch, Server, TIMEOUT, Wire, http};

use crate::common::{Rig, refuses, talk};
use crate::pki::{Pki, tunnel};
use crate::tools::finish;

/// A request for a WebSocket with a further header field, or several.
fn request(fields: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// The field that shows a name and password.
fn basic(words: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(words))
}

/// A request with these fields is let in: the target is connected to.
#[track_caller]
fn let_in(rig: &Rig, fields: &str) {
    let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&request(fields)).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101", "{fields}");
    drop(rig.accept());
}

/// The reply to one that is not.
#[track_caller]
fn turned_away(proxy: &Server, fields: &str, status: u16) -> Reply {
    let reply = http(proxy.addr(), &request(fields)).unwrap();
    assert_eq!(reply.status, status, "{fields}: {reply}");
    reply
}

#[test]
fn a_name_and_password_are_asked_for() {
    let directory = Scratch::new();
    let source = directory.join("source");
    std::fs::write(&source, "ann:a:b\n").unwrap();
    let source = source.to_str().unwrap();
    let mut rig = Rig::new(&["--auth-plugin", "BasicHTTPAuth", "--auth-source-file", source]);
    let named = Rig::new(&["--auth-plugin", "websockify.auth_plugins.BasicHTTPAuth", "--auth-source", "ann:a:b"]);
    for rig in [&rig, &named] {
        let_in(rig, &basic("ann:a:b"));
        for fields in
            ["", &basic("ann:a"), &basic("bob:a:b"), &basic("ann:a:b").repeat(2), "Authorization: Basic x\r\n"]
        {
            let reply = turned_away(&rig.proxy, fields, 401);
            assert_eq!(reply.header("WWW-Authenticate"), Some("Basic realm=\"wsproxy\", charset=\"UTF-8\""));
        }
    }
    std::fs::write(source, "ann:new\n").unwrap();
    rig.proxy.signal(libc::SIGHUP);
    rig.proxy.stderr_until("SIGHUP: files read anew");
    turned_away(&rig.proxy, &basic("ann:a:b"), 401);
    let_in(&rig, &basic("ann:new"));
    // What cannot be used changes nothing.
    std::fs::write(source, "nobody\n").unwrap();
    rig.proxy.signal(libc::SIGHUP);
    rig.proxy.stderr_until("USER:PASSWORD is wanted");
    rig.proxy.stderr_until("SIGHUP: what could not be read stays as it was");
    let_in(&rig, &basic("ann:new"));
}

#[test]
fn a_file_of_htpasswd_says_who_may_come_in_to_the_web_as_well() {
    let directory = Scratch::new();
    std::fs::write(directory.join("index.html"), "welcome").unwrap();
    let htpasswd = |arguments: &[&str]| {
        let output = finish(Command::new("htpasswd").current_dir(directory.path()).args(arguments));
        assert!(output.status.success(), "{output:?}");
    };
    htpasswd(&["-cbB", "users", "ann", "secret"]);
    htpasswd(&["-b5", "users", "bob", "secret"]);
    let (users, root) = (directory.join("users"), directory.path().to_str().unwrap().to_owned());
    let users = users.to_str().unwrap();
    let open = Rig::new(&["--basic-auth-file", users, "--web", &root]);
    let mut closed = Rig::new(&["--basic-auth-file", users, "--web", &root, "--web-auth"]);
    let page = |rig: &Rig, fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        http(rig.proxy.addr(), request.as_bytes()).unwrap()
    };
    for rig in [&open, &closed] {
        for user in ["ann", "bob"] {
            let_in(rig, &basic(&format!("{user}:secret")));
            turned_away(&rig.proxy, &basic(&format!("{user}:wrong")), 401);
        }
        turned_away(&rig.proxy, "", 401);
        assert_eq!(page(rig, &basic("ann:secret")).text(), "welcome");
    }
    assert_eq!(page(&open, "").status, 200);
    for fields in ["", &basic("ann:wrong"), &basic("cyd:secret")] {
        let reply = page(&closed, fields);
        assert_eq!(reply.status, 401);
        assert!(reply.header("WWW-Authenticate").unwrap().starts_with("Basic realm="), "{reply}");
    }
    htpasswd(&["-D", "users", "bob"]);
    closed.proxy.signal(libc::SIGHUP);
    closed.proxy.stderr_until("SIGHUP");
    turned_away(&closed.proxy, &basic("bob:secret"), 401);
    let_in(&closed, &basic("ann:secret"));
}

/// Passwords are slow to check, which is no way to keep others out.
#[test]
fn whoever_tries_passwords_holds_up_nobody_else() {
    let directory = Scratch::new();
    let made =
        finish(Command::new("htpasswd").current_dir(directory.path()).args(["-cbBC10", "users", "ann", "secret"]));
    assert!(made.status.success(), "{made:?}");
    let users = directory.join("users");
    let ports = Ports::one();
    let metrics = ports.addr().to_string();
    let rig = Rig::new(
        &[
            &["--basic-auth-file", users.to_str().unwrap(), "--trust-proxy", "127.0.0.1"],
            &["--handshake-timeout", "4", "--metrics", &metrics][..],
        ]
        .concat(),
    );
    let wrong = request(&format!("X-Forwarded-For: 192.0.2.1\r\n{}", basic("ann:wrong")));
    let tries: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(rig.proxy.addr()).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            stream.write_all(&wrong).unwrap();
            stream
        })
        .collect();
    let_in(&rig, &format!("X-Forwarded-For: 192.0.2.2\r\n{}", basic("ann:secret")));
    let mut turned_away = 0;
    for mut stream in tries {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        turned_away += usize::from(&head == b"HTTP/1.1 429");
    }
    assert!(turned_away >= 200, "{turned_away}");
    let counted = http(&metrics, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap().text();
    assert!(counted.contains("reason=\"busy\"") && !counted.contains("reason=\"timeout\""), "{counted}");
    rig.proxy.stderr_until("Too many passwords from your address");
}

#[test]
fn pages_of_other_origins_stay_outside() {
    let (one, two) = ("https://one.example", "http://two.example:8080");
    let plugin = Rig::new(&["--auth-plugin", "ExpectOrigin", "--auth-source", &format!("{one} {two}")]);
    let plain = Rig::new(&["--origin", one, "--origin", two]);
    for rig in [&plugin, &plain] {
        for origin in [one, two] {
            let mut client = Client::builder(Wire::Rfc6455).origin(origin).connect(rig.proxy.addr()).unwrap();
            talk(&mut client, &rig.accept());
        }
        let old = Client::builder(Wire::Rfc6455).version(8).origin(one).connect(rig.proxy.addr());
        talk(&mut old.unwrap(), &rig.accept());
        for fields in ["", "Origin: null\r\n", "Origin: https://one.example.org\r\n", "Origin: http://one.example\r\n"]
        {
            turned_away(&rig.proxy, fields, 403);
        }
    }
}

#[test]
fn certificates_are_for_those_who_may_come_in() {
    let pki = Pki::new();
    for name in ["ann", "bob"] {
        pki.issue("ca", name, &format!("/O=Example/CN={name}"), &format!("email:{name}@example.com"));
    }
    let (cert, ca) = (pki.local("local"), pki.file("ca.pem"));
    let tls = ["--cert", &cert, "--verify-client", "--cafile", &ca];
    let plugin = ["--auth-plugin", "ClientCertCNAuth", "--auth-source", "cyd ann"];
    let rig = Rig::new(&[&tls[..], &plugin].concat());
    let through = |name: &str| {
        let (file, key) = (pki.file(&format!("{name}.pem")), pki.file(&format!("{name}.key")));
        tunnel(&rig.proxy, &format!("cafile={ca},commonname=localhost,cert={file},key={key}"))
    };
    let ann = through("ann");
    talk(&mut Client::connect(ann.addr(), Wire::Rfc6455).unwrap(), &rig.accept());
    turned_away(&through("bob"), "", 403);
    // A client without TLS has no certificate.
    turned_away(&rig.proxy, "", 400);
}

#[test]
fn whoever_is_not_let_in_is_no_reason_to_ask_for_a_token() {
    // Nobody answers there.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("http://{}/%s", silent.local_addr().unwrap());
    let auth = ["--auth-plugin", "BasicHTTPAuth", "--auth-source", "ann:secret"];
    let proxy = crate::tokens::by_token("BaseTokenAPI", &source, &auth);
    turned_away(&proxy, "", 401);
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn bad_options_are_told() {
    let directory = Scratch::new();
    let weak = directory.join("weak");
    std::fs::write(&weak, "ann:secret\n").unwrap();
    let (weak, none) = (weak.to_str().unwrap(), directory.join("none"));
    let none = none.to_str().unwrap();
    let addresses = ["127.0.0.1:0", "127.0.0.1:9"];
    let told = |options: &[&str], status, words: &[&str]| refuses(&[options, &addresses].concat(), status, words);
    told(&["--auth-plugin", "Door", "--auth-source", "x"], 2, &["--auth-plugin", "Door", "ClientCertCNAuth"]);
    told(&["--auth-plugin", "ExpectOrigin"], 2, &["--auth-plugin", "--auth-source"]);
    told(&["--auth-source", "x"], 2, &["--auth-source", "--auth-plugin"]);
    told(&["--auth-source-file", "x"], 2, &["--auth-source-file", "--auth-plugin"]);
    told(&["--auth-plugin", "ExpectOrigin", "--auth-source", "  "], 2, &["--auth-source", "origins are wanted"]);
    told(&["--auth-plugin", "ClientCertCNAuth", "--auth-source", "ann"], 2, &["--auth-plugin", "--verify-client"]);
    told(&["--auth-plugin", "BasicHTTPAuth", "--auth-source", "ann"], 2, &["--auth-source", "USER:PASSWORD"]);
    let file = ["--auth-plugin", "BasicHTTPAuth", "--auth-source-file"];
    told(&[&file[..], &[none]].concat(), 1, &["--auth-source-file", none, "No such file"]);
    told(&["--basic-auth-file", none], 1, &["--basic-auth-file", none, "No such file"]);
    told(&["--basic-auth-file", weak], 1, &["--basic-auth-file", weak, "line 1", "htpasswd -B"]);
    told(&["--basic-auth-file", ""], 2, &["--basic-auth-file"]);
    told(&["--origin", "a b"], 2, &["--origin", "a b", "SCHEME://HOST"]);
    told(&["--origin", "https://a.example/"], 2, &["--origin", "https://a.example/", "leave out"]);
    let pages = ["--auth-plugin", "ExpectOrigin", "--auth-source"];
    told(&[&pages[..], &["http://a a.example"]].concat(), 2, &["--auth-source", "\"a.example\"", "SCHEME://HOST"]);
    told(&["--web", ".", "--web-auth"], 2, &["--web-auth", "--basic-auth-file", "--auth-plugin"]);
}
