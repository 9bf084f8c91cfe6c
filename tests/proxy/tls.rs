//! TLS towards clients: one port for all, and the options that say who may come in and how.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::thread;

use wstests::net::uninterrupted;
use wstests::{Client, End, Rng, Wire, http, proxy};

use crate::common::Rig;
use crate::pki::{Pki, s_client, subject, tunnel};
use crate::tools::refused;

const MIB: usize = 1 << 20;

/// What a client checks of a proxy with `local` of a [`Pki`].
fn checked(pki: &Pki) -> String {
    format!("cafile={},commonname=localhost", pki.file("ca.pem"))
}

#[test]
fn bytes_go_both_ways_with_tls_and_without_on_one_port() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, &checked(&pki));
    for wire in [Wire::Rfc6455, Wire::Rfc6455Base64] {
        for addr in [tunnel.addr(), rig.proxy.addr()] {
            let mut client = Client::connect(addr, wire).unwrap();
            let mut target = rig.accept();
            let (up, down) = (Rng::new(1).bytes(3 * MIB), Rng::new(2).bytes(3 * MIB));
            thread::scope(|scope| {
                let (mut writer, down) = (target.try_clone().unwrap(), &down);
                scope.spawn(move || writer.write_all(down).unwrap());
                let reader = scope.spawn(|| {
                    let mut got = vec![0; up.len()];
                    target.read_exact(&mut got).unwrap();
                    got
                });
                let got = client.exchange(&up, &mut Rng::new(3), down.len());
                assert!(&got == down, "{wire:?}: the client got something else");
                assert!(reader.join().unwrap() == up, "{wire:?}: the target got something else");
            });
        }
    }
}

#[test]
fn the_last_words_of_a_target_and_the_close_arrive_over_tls() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, &checked(&pki));
    let mut client = Client::connect(tunnel.addr(), Wire::Rfc6455).unwrap();
    let mut target = rig.accept();
    let words = Rng::new(7).bytes(MIB);
    target.write_all(&words).unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    assert!(client.read_to_end() == words);
    assert_eq!(client.end(), Some(&End::Close(Some(1000), String::new())));
}

#[test]
fn a_client_that_leaves_without_a_word_of_tls_is_one_that_leaves() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, &checked(&pki));
    let mut client = Client::connect(tunnel.addr(), Wire::Rfc6455).unwrap();
    let mut target = rig.accept();
    client.send(b"bye");
    let mut got = [0; 3];
    target.read_exact(&mut got).unwrap();
    // Killed, it closes its sockets without more ado.
    drop(tunnel);
    assert_eq!(uninterrupted(|| target.read(&mut got)).unwrap(), 0);
    drop(target);
    rig.proxy.stderr_until("the client left without a Close");
}

#[test]
fn a_session_is_of_the_latest_version_and_of_http_1_1() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    let checked = ["-CAfile", &pki.file("ca.pem"), "-verify_return_error", "-verify_ip", "127.0.0.1"];
    let (good, told) = s_client(&rig.proxy, &[&checked[..], &["-alpn", "h2,http/1.1"]].concat());
    assert!(good && told.contains("Verify return code: 0 (ok)"), "{told}");
    assert!(told.contains("New, TLSv1.3") && told.contains("ALPN protocol: http/1.1"), "{told}");
    let (good, told) = s_client(&rig.proxy, &["-tls1_2"]);
    assert!(good && told.contains("New, TLSv1.2"), "{told}");
    let (good, told) = s_client(&rig.proxy, &["-alpn", "h2"]);
    assert!(!good && told.contains("no application protocol"), "{told}");
}

#[test]
fn self_pem_is_used_where_it_is_there() {
    let pki = Pki::new();
    std::fs::rename(pki.local("local"), pki.file("self.pem")).unwrap();
    let rig = Rig::started(Command::new(proxy()).current_dir(pki.path()));
    let (good, told) = s_client(&rig.proxy, &["-CAfile", &pki.file("ca.pem"), "-verify_return_error"]);
    assert!(good, "{told}");
    drop(rig);
    // Its key may stand elsewhere.
    pki.issue("ca", "self", "/CN=alone", "DNS:localhost");
    let rig = Rig::started(Command::new(proxy()).current_dir(pki.path()).args(["--key", "self.key"]));
    assert_eq!(subject(&rig.proxy, None), "CN=alone");
    std::fs::write(pki.file("self.pem"), "nothing of this kind").unwrap();
    refused(pki.path(), &[], 1, &["--cert self.pem: there is no certificate in it"]);
}

#[test]
fn ssl_only_turns_away_who_does_not_speak_tls() {
    let pki = Pki::new();
    let rig = Rig::new(&["--ssl-only", "--cert", &pki.local("local")]);
    let tunnel = tunnel(&rig.proxy, &checked(&pki));
    let mut client = Client::connect(tunnel.addr(), Wire::Rfc6455).unwrap();
    rig.accept().write_all(b"welcome").unwrap();
    assert_eq!(client.read_exact(7), b"welcome");
    for request in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"<policy-file-request/>\0", b"\0"] {
        let reply = http(rig.proxy.addr(), request).unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (400, "This port speaks TLS only\n"));
    }
    refused(pki.path(), &["--ssl-only"], 1, &["--ssl-only: there is no certificate", "--cert FILE", "self.pem"]);
}

#[test]
fn ssl_version_is_the_oldest_that_is_spoken() {
    let pki = Pki::new();
    let cert = pki.local("local");
    let rig = Rig::new(&["--cert", &cert, "--ssl-version", "tlsv1_3"]);
    let (good, told) = s_client(&rig.proxy, &["-tls1_2"]);
    assert!(!good && told.contains("protocol version"), "{told}");
    let (good, told) = s_client(&rig.proxy, &["-tls1_3"]);
    assert!(good, "{told}");
    refused(pki.path(), &["--ssl-version", "tlsv1_1"], 2, &["--ssl-version", "tlsv1_1", "too old"]);
    refused(pki.path(), &["--ssl-version", "latest"], 2, &["--ssl-version", "latest", "tlsv1_3"]);
}

#[test]
fn ssl_ciphers_are_those_that_are_spoken_by_either_name() {
    let pki = Pki::new();
    let cert = pki.local("local");
    let list = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:ECDHE-ECDSA-CHACHA20-POLY1305";
    let rig = Rig::new(&["--cert", &cert, "--ssl-ciphers", list]);
    for cipher in ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        let (good, told) = s_client(&rig.proxy, &["-tls1_2", "-cipher", cipher]);
        assert!(good && told.contains(&format!("Cipher is {cipher}")), "{told}");
    }
    let (good, told) = s_client(&rig.proxy, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    assert!(!good && told.contains("handshake failure"), "{told}");
    // None of version 1.3 is named.
    let (good, told) = s_client(&rig.proxy, &["-tls1_3"]);
    assert!(!good, "{told}");

    refused(
        pki.path(),
        &["--ssl-ciphers", "HIGH:!aNULL"],
        2,
        &["--ssl-ciphers", "HIGH", "ECDHE-RSA-AES128-GCM-SHA256"],
    );
    let nothing = ["--cert", &cert, "--ssl-version", "tlsv1_3", "--ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"];
    refused(pki.path(), &nothing, 1, &["--ssl-ciphers ECDHE-RSA-AES128-GCM-SHA256", "tlsv1_3"]);
    let misfit = ["--cert", &cert, "--ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"];
    refused(pki.path(), &misfit, 1, &["--ssl-ciphers ECDHE-RSA-AES128-GCM-SHA256", "ECDSA"]);
}

#[test]
fn verify_client_lets_in_who_has_a_certificate_of_the_authority() {
    let pki = Pki::new();
    pki.issue("ca", "ann", "/O=Example/CN=ann", "email:ann@example.com");
    pki.authority("other");
    pki.issue("other", "eve", "/CN=eve", "email:eve@example.com");
    let (cert, ca) = (pki.local("local"), pki.file("ca.pem"));
    let (mut system, mut named) = (Command::new(proxy()), Command::new(proxy()));
    system.env("SSL_CERT_FILE", &ca).args(["--cert", &cert, "--verify-client"]);
    named.args(["--cert", &cert, "--verify-client", "--cafile", &ca]);
    for mut command in [named, system] {
        let rig = Rig::started(&mut command);
        let own =
            |name: &str| format!(",cert={},key={}", pki.file(&format!("{name}.pem")), pki.file(&format!("{name}.key")));
        let ann = tunnel(&rig.proxy, &(checked(&pki) + &own("ann")));
        let mut client = Client::connect(ann.addr(), Wire::Rfc6455).unwrap();
        rig.accept().write_all(b"ann").unwrap();
        assert_eq!(client.read_exact(3), b"ann");
        for who in ["", &own("eve")] {
            let stranger = tunnel(&rig.proxy, &(checked(&pki) + who));
            assert!(Client::connect(stranger.addr(), Wire::Rfc6455).is_err(), "{who:?}");
        }
        // Who speaks without TLS shows no certificate either.
        for wire in Wire::WEBSOCKET {
            let refusal = Client::connect(rig.proxy.addr(), wire).unwrap_err().to_string();
            assert!(refusal.contains("400"), "{wire:?}: {refusal}");
        }
    }
    let here = pki.path();
    refused(here, &["--cert", &cert, "--cafile", &ca], 2, &["--cafile", "--verify-client"]);
    refused(here, &["--cert", &cert, "--verify-client", "--cafile", "none"], 1, &["--cafile none: No such file"]);
    refused(
        here,
        &["--cert", &cert, "--verify-client", "--cafile", "ca.key"],
        1,
        &["--cafile ca.key: there is no certificate"],
    );
    refused(here, &["--verify-client"], 1, &["--verify-client: there is no certificate"]);
    refused(here, &["--ssl-version", "tlsv1_3"], 1, &["--ssl-version: there is no certificate"]);
}

#[test]
fn self_signed_prints_the_fingerprint_of_what_clients_get() {
    let pki = Pki::new();
    let rig = Rig::new(&["--self-signed"]);
    let line = rig.proxy.stdout_line();
    let (_, told) = s_client(&rig.proxy, &["-showcerts"]);
    std::fs::write(pki.file("got.txt"), &told).unwrap();
    pki.openssl(&["x509", "-in", "got.txt", "-out", "got.pem"]);
    pki.openssl(&["x509", "-in", "got.pem", "-noout", "-fingerprint", "-sha256", "-out", "got.fp"]);
    let own = std::fs::read_to_string(pki.file("got.fp")).unwrap();
    let own = own.trim().rsplit('=').next().unwrap();
    assert!(own.len() == 95 && line.ends_with(own), "{line:?}, not {own:?}");
    // A client that has been given the certificate believes it, under each of its names.
    for options in [&["-verify_hostname", "localhost"], &["-verify_ip", "127.0.0.1"], &["-verify_ip", "::1"]] {
        let (good, told) =
            s_client(&rig.proxy, &[&["-CAfile", &pki.file("got.pem"), "-verify_return_error"], &options[..]].concat());
        assert!(good, "{told}");
    }
    refused(pki.path(), &["--self-signed", "--cert", "ca.pem"], 2, &["--self-signed", "--cert"]);
}
