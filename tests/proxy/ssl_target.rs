//! TLS towards the target, which is nginx.

use std::process::Command;

use wstests::{Client, End, Server, Wire, proxy};

use crate::nginx::nginx;
use crate::pki::Pki;
use crate::tools::refused;

/// nginx with the certificate `NAME.pem` of a [`Pki`]; it answers with the name that it was asked for.
fn secured(pki: &Pki, name: &str) -> Server {
    let [certificate, key] = ["pem", "key"].map(|kind| pki.file(&format!("{name}.{kind}")));
    let server = format!(
        "listen 127.0.0.1:PORT ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; \
         location / {{ return 200 \"asked for [$ssl_server_name]\"; }}"
    );
    nginx(pki.path(), name, &server)
}

/// What a client gets through a proxy that is started with `options` towards `host` at the port of `target`.
#[track_caller]
fn asked(target: &Server, host: &str, options: &[&str], environment: &[(&str, &str)]) -> Result<String, End> {
    let target = format!("{host}:{}", target.port());
    let mut command = Command::new(proxy());
    command.args(options).args(["127.0.0.1:{port}", &target]).envs(environment.iter().copied());
    let proxy = Server::bare(&mut command);
    let mut client = Client::connect(proxy.addr(), Wire::Rfc6455).unwrap();
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    let text = String::from_utf8(client.read_to_end()).unwrap();
    match client.end() {
        Some(End::Close(Some(1000), _)) => Ok(text.rsplit("\r\n").next().unwrap().to_owned()),
        Some(end) => Err(end.clone()),
        None => panic!("no end: {text}"),
    }
}

#[test]
fn a_target_is_believed_if_its_certificate_is_for_its_name_and_of_an_authority_that_is_trusted() {
    let pki = Pki::new();
    pki.authority("other");
    pki.issue("ca", "target", "/CN=target", "DNS:localhost,IP:127.0.0.1");
    pki.issue("ca", "stranger", "/CN=stranger", "DNS:stranger.example");
    let (target, stranger) = (secured(&pki, "target"), secured(&pki, "stranger"));
    let (ca, other) = (pki.file("ca.pem"), pki.file("other.pem"));
    let own = ["--ssl-target", "--ssl-target-ca", &ca];
    let failed = || Err(End::Close(Some(1011), String::new()));
    let told = |name: &str| Ok(format!("asked for [{name}]"));

    assert_eq!(asked(&target, "localhost", &own, &[]), told("localhost"));
    // An address is no name to ask for, and certificates can be for it all the same.
    assert_eq!(asked(&target, "127.0.0.1", &own, &[]), told(""));
    assert_eq!(asked(&stranger, "localhost", &own, &[]), failed());
    assert_eq!(asked(&target, "localhost", &["--ssl-target", "--ssl-target-ca", &other], &[]), failed());
    assert_eq!(asked(&target, "localhost", &["--ssl-target"], &[("SSL_CERT_FILE", &ca)]), told("localhost"));
    assert_eq!(asked(&target, "localhost", &["--ssl-target"], &[("SSL_CERT_FILE", &other)]), failed());
    assert_eq!(asked(&stranger, "localhost", &["--ssl-target", "--ssl-target-insecure"], &[]), told("localhost"));
}

#[test]
fn what_is_wrong_with_the_options_is_said() {
    let pki = Pki::new();
    let here = pki.path();
    refused(here, &["--ssl-target", "--ssl-target-ca", "none"], 1, &["--ssl-target-ca none: No such file"]);
    refused(
        here,
        &["--ssl-target", "--ssl-target-ca", "ca.key"],
        1,
        &["--ssl-target-ca ca.key: there is no certificate"],
    );
    refused(here, &["--ssl-target-ca", "ca.pem"], 2, &["--ssl-target-ca", "--ssl-target"]);
    refused(here, &["--ssl-target-insecure"], 2, &["--ssl-target-insecure", "--ssl-target"]);
    let both = ["--ssl-target", "--ssl-target-ca", "ca.pem", "--ssl-target-insecure"];
    refused(here, &both, 2, &["--ssl-target-ca", "--ssl-target-insecure"]);
}
