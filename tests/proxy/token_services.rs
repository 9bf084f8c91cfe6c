//! Targets by token: web services (nginx), Redis, and tokens that hold their target (made by jwcrypto).

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wstests::{Ports, Server, proxy, script, wait};

use crate::common::Target;
use crate::pki::Pki;
use crate::tokens::{by_token, denied, reaches, refusal};
use crate::tools::finish;

/// A web service whose answers are nginx `location`s.
fn service(pki: &Pki, locations: &str, tls: bool) -> Server {
    let here = pki.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};"))
        .concat();
    let listen = if tls {
        format!("listen 127.0.0.1:PORT ssl; ssl_certificate {here}/local.pem; ssl_certificate_key {here}/local.key;")
    } else {
        "listen 127.0.0.1:PORT;".into()
    };
    let text = format!(
        "daemon off; master_process off; pid {here}/nginx.pid; error_log stderr; events {{ }} \
         http {{ access_log off; {temporary} server {{ {listen} {locations} }} }}"
    );
    let file = pki.file("nginx.conf");
    std::fs::write(&file, text).unwrap();
    // The port is known to the command line alone.
    let script = format!("sed -i s/PORT/$1/ {file}; exec nginx -c {file}");
    Server::bare(Command::new("sh").args(["-c", &script, "sh", "{port}"]))
}

#[test]
fn a_web_service_tells_the_target() {
    let (pki, target) = (Pki::new(), Target::new());
    let addr = target.addr();
    // `$request_uri` is what was sent: what a token holds is encoded.
    let locations = format!(
        "location = /t/a {{ return 200 '{addr}\\n'; }} location = /t/bad {{ return 200 'nowhere'; }} \
         location = /t/moved {{ return 302 /t/a; }} location = /t/broken {{ return 500; }} \
         location /q {{ if ($request_uri = /q?t=x%2Fa%26b) {{ return 200 '{addr}'; }} return 404; }} \
         location /who {{ if ($http_authorization = 'Basic YW5uOmEgYg==') {{ return 200 '{addr}'; }} return 401; }}"
    );
    let service = service(&pki, &locations, false);
    let base = format!("http://127.0.0.1:{}", service.port());
    let proxy = by_token("BaseTokenAPI", &format!("{base}/t/%s"), &[]);
    reaches(&proxy, "/?token=a", &target);
    for (token, status) in [("b", 404), ("../t/a", 404), ("bad", 502), ("moved", 502), ("broken", 502)] {
        denied(&proxy, &format!("/?token={token}"), status);
    }
    proxy.stderr_until("the service answers 500");
    reaches(&by_token("BaseTokenAPI", &format!("{base}/q?t=%s"), &[]), "/?token=x/a%26b", &target);
    let base = base.replacen("127", "ann:a%%20b@127", 1);
    reaches(&by_token("BaseTokenAPI", &format!("{base}/who?%s"), &[]), "/?token=a", &target);
}

#[test]
fn a_web_service_tells_the_target_in_json_over_tls() {
    let (pki, target) = (Pki::new(), Target::new());
    pki.local("local");
    let (host, port) = target.addr().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let answers = [
        ("a", format!("{{\"host\": \"{host}\", \"port\": {port}}}")),
        ("b", format!("{{\"host\": \"{host}\", \"port\": \"{port}\", \"more\": []}}")),
        ("c", format!("{host}:{port}")),
        ("d", "{\"port\": 1}".to_owned()),
    ];
    let locations =
        answers.map(|(token, answer)| format!("location = /{token} {{ return 200 '{answer}'; }} ")).concat();
    let service = service(&pki, &locations, true);
    let source = format!("https://localhost:{}/%s", service.port());
    let start = |ca: &str| {
        let named = ["--token-plugin", "JSONTokenApi", "--token-source", &source, "127.0.0.1:{port}"];
        Server::bare(Command::new(proxy()).env("SSL_CERT_FILE", pki.file(ca)).args(named))
    };
    let proxy = start("ca.pem");
    for (path, status) in [("/a", None), ("/b", None), ("/c", Some(502)), ("/d", Some(502)), ("/e", Some(404))] {
        match status {
            None => reaches(&proxy, path, &target),
            Some(status) => denied(&proxy, path, status),
        }
    }
    // A service that is somebody else's is not believed.
    pki.authority("other");
    denied(&start("other.pem"), "/a", 502);
}

#[test]
fn a_service_that_is_not_there_is_502_and_one_that_is_silent_504() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Ports::one();
    let limit = ["--handshake-timeout", "2"];
    for (addr, status) in [(silent.local_addr().unwrap(), 504), (nobody.addr(), 502)] {
        denied(&by_token("BaseTokenAPI", &format!("http://{addr}/%s"), &limit), "/a", status);
        denied(&by_token("TokenRedis", &addr.to_string(), &limit), "/a", status);
    }
}

/// A Redis server with a password, and what gives it a command for one of its databases.
fn redis() -> (Server, impl Fn(&str, &[&str])) {
    let options = ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--requirepass", "pa:ss"];
    let server = Server::bare(Command::new("redis-server").args(options));
    let port = server.port().to_string();
    let cli = move |db: &str, words: &[&str]| {
        let own = ["-e", "-p", &port, "--no-auth-warning", "-a", "pa:ss", "-n", db];
        let output = finish(Command::new("redis-cli").args(own).args(words));
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    (server, cli)
}

#[test]
fn redis_tells_the_target_plain_or_in_json_in_a_namespace() {
    let (target, (redis, cli)) = (Target::new(), redis());
    let (addr, port) = (target.addr(), redis.port());
    cli("0", &["set", "plain", &addr]);
    cli("0", &["set", "json", &format!("{{\"host\": \"{addr}\"}}")]);
    cli("0", &["set", "bad", "{}"]);
    cli("2", &["set", "a:b:spaced", &addr]);
    let proxy = by_token("TokenRedis", &format!("127.0.0.1:{port}::\"pa:ss\""), &[]);
    reaches(&proxy, "/?token=plain", &target);
    reaches(&proxy, "/json", &target);
    for (path, status) in [("/none", 404), ("/spaced", 404), ("/bad", 502)] {
        denied(&proxy, path, status);
    }
    let spaced = by_token("TokenRedis", &format!("127.0.0.1:{port}:2:\"pa:ss\":\"a:b\""), &[]);
    reaches(&spaced, "/spaced", &target);
    denied(&spaced, "/plain", 404);
    let stranger = by_token("TokenRedis", &format!("127.0.0.1:{port}:::"), &[]);
    denied(&stranger, "/plain", 502);
    stranger.stderr_until("tokens cannot be looked up");
    // The connection is kept, and made anew where it has ended.
    cli("0", &["client", "kill", "type", "normal"]);
    reaches(&proxy, "/plain", &target);
}

/// A lookup has the time that all lookups have.
#[test]
fn a_redis_that_takes_its_time_is_waited_for() {
    let target = Target::new();
    let (addr, door) = (target.addr(), TcpListener::bind("127.0.0.1:0").unwrap());
    let proxy = by_token("TokenRedis", &door.local_addr().unwrap().to_string(), &[]);
    // One connection for both lookups.
    let redis = std::thread::spawn(move || {
        let (mut stream, _) = door.accept().unwrap();
        let (mut bytes, mut asked) = ([0; 4096], 0);
        while asked < 2 {
            let count = stream.read(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..count]);
            if text.contains("GET") {
                asked += 1;
                // That is what is slow about it.
                assert_eq!(wait::within(Duration::from_millis(1500), || None::<()>), None);
                stream.write_all(format!("${}\r\n{addr}\r\n", addr.len()).as_bytes()).unwrap();
            } else {
                // What a client says of itself: arrays, of which each gets an answer.
                let commands = text.lines().filter(|line| line.starts_with('*')).count();
                stream.write_all("+OK\r\n".repeat(commands).as_bytes()).unwrap();
            }
        }
    });
    for _ in 0..2 {
        reaches(&proxy, "/a", &target);
    }
    redis.join().unwrap();
}

#[test]
fn redis_tells_the_target_over_tls() {
    let (pki, target) = (Pki::new(), Target::new());
    pki.issue("ca", "redis", "/CN=redis", "DNS:localhost,IP:127.0.0.1");
    pki.authority("other");
    let [ca, certificate, key] = ["ca.pem", "redis.pem", "redis.key"].map(|name| pki.file(name));
    let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let rights = ["--user", "ann", "on", ">pa:ss@", "~*", "+@all"];
    let plain =
        ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--bind", "127.0.0.1", "--save", ""];
    let redis = Server::bare(Command::new("redis-server").args(plain).args(tls).args(rights));
    let port = redis.port().to_string();
    let cli = |words: &[&str]| {
        let own = ["-e", "--tls", "--cacert", &ca, "-h", "localhost", "-p", &port, "-n", "2"];
        let output = finish(Command::new("redis-cli").args(own).args(words));
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    cli(&["set", "a", &target.addr()]);
    cli(&["set", "n:s:b", &target.addr()]);
    cli(&["config", "set", "requirepass", "secret"]);
    let start = |source: &str, authority: &str| {
        // A command line is no place for a password.
        std::fs::write(pki.file("source"), source).unwrap();
        let named = ["--token-plugin", "TokenRedis", "--token-source-file", &pki.file("source"), "127.0.0.1:{port}"];
        Server::bare(Command::new(proxy()).env("SSL_CERT_FILE", pki.file(authority)).args(named))
    };
    let proxy = start(&format!("rediss://ann:pa%3Ass%40@localhost:{port}/2"), "ca.pem");
    reaches(&proxy, "/a", &target);
    reaches(&proxy, "/?token=a", &target);
    denied(&proxy, "/b", 404);
    let spaced = start(&format!("rediss://:secret@127.0.0.1:{port}/2?namespace=n:s"), "ca.pem");
    reaches(&spaced, "/b", &target);
    denied(&spaced, "/a", 404);
    // A wrong password, a server without TLS, which this is not, and one that is somebody else's.
    denied(&start(&format!("rediss://ann:pa@localhost:{port}/2"), "ca.pem"), "/a", 502);
    denied(&start(&format!("redis://ann:pa%3Ass%40@localhost:{port}/2"), "ca.pem"), "/a", 502);
    let stranger = start(&format!("rediss://ann:pa%3Ass%40@localhost:{port}/2"), "other.pem");
    denied(&stranger, "/a", 502);
    let log = stranger.stderr_until("tokens cannot be looked up");
    assert!(log.contains("certificate") && !log.contains("pa%3A") && !log.contains("pa:ss"), "{log}");
    let bad = ["--token-plugin", "TokenRedis", "--token-source", "rediss://ann:pa@localhost:x", "127.0.0.1:0"];
    let output = finish(Command::new(wstests::proxy()).args(bad));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("--token-source (hidden)"), "{told}");
}

/// Tokens for the key in `file`.
struct Issuer<'a> {
    key: &'a str,
    target: &'a Target,
}

impl Issuer<'_> {
    /// A token made in this way, with more claims than the target.
    #[track_caller]
    fn token(&self, algorithms: &str, more: &str) -> String {
        let addr = self.target.addr();
        let (host, port) = addr.rsplit_once(':').unwrap();
        let claims = format!("{{\"host\": \"{host}\", \"port\": {port}{more}}}");
        // Debian's Python, which has Debian's jwcrypto.
        let script = script("jwt.py");
        let output = finish(Command::new("/usr/bin/python3").arg(script).args([self.key, algorithms, &claims]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        format!("/?token={}", String::from_utf8(output.stdout).unwrap().trim())
    }
}

/// Seconds since 1970, and so many more.
fn time(more: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + more
}

#[test]
fn signed_tokens_hold_their_target() {
    let (pki, target) = (Pki::new(), Target::new());
    pki.openssl(&["genrsa", "-out", "rsa.key", "2048"]);
    pki.openssl(&["rsa", "-in", "rsa.key", "-pubout", "-out", "rsa.pub"]);
    pki.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "ed.key"]);
    pki.openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "p384.key"]);
    pki.issue("ca", "p256", "/CN=issuer", "DNS:issuer");
    std::fs::write(pki.file("secret"), "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I\n").unwrap();
    for (private, reads, algorithms) in [
        ("secret", "secret", &["HS256", "HS512"][..]),
        ("rsa.key", "rsa.pub", &["RS256", "PS256", "RS512"]),
        ("rsa.key", "rsa.key", &["RS384"]),
        ("p256.key", "p256.pem", &["ES256"]),
        ("p384.key", "p384.key", &["ES384"]),
        ("ed.key", "ed.key", &["EdDSA"]),
    ] {
        let proxy = by_token("JWTTokenApi", &pki.file(reads), &[]);
        let issuer = Issuer { key: &pki.file(private), target: &target };
        for algorithm in algorithms {
            reaches(&proxy, &issuer.token(algorithm, ""), &target);
        }
        // Signed with the public key, which everybody has, as if it were a secret.
        let forger = Issuer { key: &pki.file("secret"), target: &target };
        if private != "secret" {
            denied(&proxy, &forger.token("HS256", ""), 403);
        }
    }
    let proxy = by_token("JWTTokenApi", &pki.file("secret"), &[]);
    let issuer = Issuer { key: &pki.file("secret"), target: &target };
    let token = issuer.token("HS256", &format!(", \"nbf\": {}, \"exp\": {}", time(-10), time(600)));
    reaches(&proxy, &token, &target);
    for (more, why) in [
        (format!(", \"exp\": {}", time(-1)), "it has expired"),
        (format!(", \"nbf\": {}", time(600)), "it is not valid yet"),
    ] {
        let told = refusal(&proxy, &issuer.token("HS256", &more));
        assert!(told.starts_with("403") && told.contains(why), "{told}");
    }
    denied(&proxy, &token[..token.len() - 2], 403);
    denied(&proxy, "/?token=a.b.c", 403);
}

#[test]
fn encrypted_tokens_hold_their_target() {
    let (pki, target) = (Pki::new(), Target::new());
    pki.openssl(&["genrsa", "-traditional", "-out", "rsa.key", "2048"]);
    pki.openssl(&["rsa", "-in", "rsa.key", "-pubout", "-out", "rsa.pub"]);
    for (name, key) in [
        ("k128", "MDEyMzQ1Njc4OWFiY2RlZg"),
        ("k256", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"),
        ("k512", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg"),
    ] {
        std::fs::write(pki.file(name), key).unwrap();
    }
    for (key, algorithms) in [
        ("k128", &["A128KW,A128GCM", "dir,A128GCM"][..]),
        ("k256", &["A256KW,A256GCM", "A256KW,A192GCM", "A256KW,A128CBC-HS256", "A256KW,A192CBC-HS384"]),
        ("k256", &["dir,A256GCM", "HS256+dir,A256GCM", "dir,A128CBC-HS256"]),
        ("k512", &["dir,A256CBC-HS512"]),
        ("rsa.key", &["RS256+RSA-OAEP,A256GCM", "RS256+RSA-OAEP-256,A256CBC-HS512"]),
    ] {
        let file = pki.file(key);
        let (proxy, issuer) = (by_token("JWTTokenApi", &file, &[]), Issuer { key: &file, target: &target });
        for algorithm in algorithms {
            let token = issuer.token(algorithm, "");
            reaches(&proxy, &token, &target);
            // One bit of the tag, which is the last part.
            let (front, tag) = token.rsplit_once('.').unwrap();
            let first = if tag.starts_with('A') { "B" } else { "A" };
            denied(&proxy, &format!("{front}.{first}{}", &tag[1..]), 403);
            denied(&proxy, &issuer.token(algorithm, &format!(", \"exp\": {}", time(-1))), 403);
        }
    }
    // Everybody can encrypt to a public key.
    let issuer = Issuer { key: &pki.file("rsa.pub"), target: &target };
    let told = refusal(&by_token("JWTTokenApi", &pki.file("rsa.key"), &[]), &issuer.token("RSA-OAEP,A256GCM", ""));
    assert!(told.starts_with("403") && told.contains("it is not signed"), "{told}");
    denied(&by_token("JWTTokenApi", &pki.file("rsa.pub"), &[]), &issuer.token("RSA-OAEP,A256GCM", ""), 403);
}
