//! Certificates and keys: where they may stand, which one a client gets, and when they are read.

use std::io::{Read, Write};
use std::process::Command;

use wstests::{Client, Wire};

use crate::common::Rig;
use crate::pki::{Pki, s_client, subject, tunnel};
use crate::tools::refused;

#[test]
fn a_key_may_stand_in_a_file_of_its_own() {
    let pki = Pki::new();
    pki.issue("ca", "a", "/CN=a", "DNS:a.example");
    let rig = Rig::new(&["--cert", &pki.file("a.pem"), "--key", &pki.file("a.key")]);
    assert_eq!(subject(&rig.proxy, None), "CN=a");
}

#[test]
fn what_is_wrong_with_certificates_and_keys_is_said_in_one_line() {
    let pki = Pki::new();
    pki.issue("ca", "a", "/CN=a", "DNS:a.example");
    pki.issue("ca", "b", "/CN=b", "DNS:b.example");
    pki.openssl(&["ecparam", "-genkey", "-name", "secp521r1", "-noout", "-out", "odd.key"]);
    std::fs::write(pki.file("broken.pem"), "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").unwrap();
    std::fs::write(pki.file("torn.pem"), "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
    let here = pki.path();
    let said = |options: &[&str], words: &[&str]| refused(here, options, 1, words);
    said(&["--cert", "none.pem"], &["--cert none.pem: No such file"]);
    said(&["--cert", "a.key"], &["--cert a.key: there is no certificate in it"]);
    said(&["--cert", "torn.pem"], &["--cert torn.pem: not PEM"]);
    said(&["--cert", "broken.pem"], &["--cert broken.pem: "]);
    said(&["--cert", "a.pem"], &["--cert a.pem: there is no private key in it"]);
    said(&["--cert", "a.pem", "--key", "none.key"], &["--key none.key: No such file"]);
    said(&["--cert", "a.pem", "--key", "b.pem"], &["--key b.pem: there is no private key in it"]);
    said(&["--cert", "a.pem", "--key", "b.key"], &["--key b.key: this key fits none of the certificates"]);
    said(&["--cert", "a.pem", "--key", "a.key", "--key", "b.key"], &["--key b.key: this key fits none"]);
    said(&["--cert", "a.pem", "--cert", "b.pem", "--key", "a.key"], &["--cert b.pem: ", "a.key"]);
    said(&["--cert", "a.pem", "--key", "odd.key"], &["--key odd.key: "]);
    said(&["--key", "a.key"], &["--key: there is no certificate", "--cert FILE", "self.pem"]);
}

#[test]
fn encrypted_keys_are_opened_with_the_password_of_a_file() {
    let pki = Pki::new();
    pki.issue("ca", "a", "/CN=a", "DNS:a.example");
    std::fs::write(pki.file("password"), "open sesame\n").unwrap();
    std::fs::write(pki.file("wrong"), "open barley\n").unwrap();
    pki.openssl(&["pkcs8", "-topk8", "-in", "a.key", "-passout", "file:password", "-out", "locked.key"]);
    pki.openssl(&["ec", "-aes128", "-in", "a.key", "-passout", "file:password", "-out", "old.key"]);
    // As `openssl req -passout` of OpenSSL 3 does it.
    pki.openssl(&["pkcs8", "-topk8", "-v2", "des3", "-in", "a.key", "-passout", "file:password", "-out", "triple.key"]);
    for key in ["locked.key", "triple.key"] {
        let (cert, key) = (pki.file("a.pem"), pki.file(key));
        let rig = Rig::new(&["--cert", &cert, "--key", &key, "--key-password-file", &pki.file("password")]);
        assert_eq!(subject(&rig.proxy, None), "CN=a");
    }

    // Through a pipe it comes once, and what is read again later does not wait for another.
    let pipe = pki.file("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (cert, key) = (pki.file("a.pem"), pki.file("locked.key"));
    let mut rig = std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&pipe, "open sesame\n").unwrap());
        Rig::new(&["--cert", &cert, "--key", &key, "--key-password-file", &pipe])
    });
    for _ in 0..2 {
        rig.proxy.signal(libc::SIGHUP);
        rig.proxy.stderr_until("SIGHUP: files read anew");
    }
    assert_eq!(subject(&rig.proxy, None), "CN=a");

    let said = |options: &[&str], words: &[&str]| {
        refused(pki.path(), &[&["--cert", "a.pem", "--key", "locked.key"], options].concat(), 1, words)
    };
    said(&[], &["--key locked.key: the key is encrypted", "--key-password-file"]);
    said(&["--key-password-file", "wrong"], &["--key-password-file wrong: the password does not open", "locked.key"]);
    said(&["--key-password-file", "none"], &["--key-password-file none: No such file"]);
    let old = ["--cert", "a.pem", "--key", "old.key", "--key-password-file", "password"];
    refused(pki.path(), &old, 1, &["--key old.key: ", "openssl pkcs8"]);
    refused(pki.path(), &["--key-password-file", "password"], 1, &["--key-password-file: there is no certificate"]);
}

/// One would wait for a writer, at the start or later.
#[test]
fn a_pipe_in_place_of_a_file_is_told_and_not_waited_for() {
    let pki = Pki::new();
    let place = pki.local("local");
    let pipe = |name: &str| assert!(Command::new("mkfifo").arg(pki.file(name)).status().unwrap().success());
    pipe("pipe");
    let token = ["--token-plugin", "JWTTokenApi", "--token-source"];
    for options in [
        &["--cert"][..],
        &["--cert", "ca.pem", "--key"],
        &["--cert", "local.pem", "--verify-client", "--cafile"],
        &["--ssl-target", "--ssl-target-ca"],
        &["--basic-auth-file"],
        &token,
    ] {
        let told = format!("{} pipe: there is something that is no regular file", options.last().unwrap());
        refused(pki.path(), &[options, &["pipe"]].concat(), 1, &[&told]);
    }
    let rig = Rig::new(&["--cert", &place]);
    std::fs::remove_file(&place).unwrap();
    pipe("local.pem");
    rig.proxy.stderr_until("no regular file");
    assert_eq!(subject(&rig.proxy, None), "CN=local");
}

#[test]
fn each_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let pki = Pki::new();
    pki.issue("ca", "a", "/CN=a", "DNS:a.example");
    pki.issue("ca", "b", "/CN=b", "DNS:b.example,DNS:*.b.example");
    // Keys in any order, one of them in the certificate's own file.
    let (a, b, b_key) = (pki.join("a"), pki.file("b.pem"), pki.file("b.key"));
    let rig = Rig::new(&["--key", &b_key, "--cert", &a, "--cert", &b]);
    for (name, gets) in [
        (Some("a.example"), "CN=a"),
        (Some("b.example"), "CN=b"),
        (Some("deep.b.example"), "CN=b"),
        (Some("too.deep.b.example"), "CN=a"),
        (Some("elsewhere.example"), "CN=a"),
        (None, "CN=a"),
    ] {
        assert_eq!(subject(&rig.proxy, name), gets, "{name:?}");
    }
}

#[test]
fn old_clients_get_the_rsa_certificate_of_a_name_that_has_both() {
    let pki = Pki::new();
    pki.issue("ca", "ec", "/CN=ec", "DNS:a.example");
    pki.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=rsa",
        "-keyout",
        "rsa.key",
        "-out",
        "rsa.pem",
        "-addext",
        "subjectAltName=DNS:a.example",
    ]);
    let (ec, rsa) = (pki.join("ec"), pki.join("rsa"));
    let rig = Rig::new(&["--cert", &ec, "--cert", &rsa]);
    for (signatures, gets) in [("RSA-PSS+SHA256:ECDSA+SHA256", "CN = ec"), ("RSA-PSS+SHA256", "CN = rsa")] {
        let (good, told) = s_client(&rig.proxy, &["-servername", "a.example", "-sigalgs", signatures]);
        assert!(good && told.contains(&format!("subject={gets}")), "{signatures}: {told}");
    }
}

#[test]
fn a_certificate_that_changes_is_read_again_and_live_sessions_go_on() {
    let pki = Pki::new();
    pki.local("first");
    pki.local("second");
    let place = pki.file("place.pem");
    std::fs::copy(pki.file("first.pem"), &place).unwrap();
    let rig = Rig::new(&["--cert", &place]);
    assert_eq!(subject(&rig.proxy, None), "CN=first");
    let tunnel = tunnel(&rig.proxy, "verify=0");
    let mut client = Client::connect(tunnel.addr(), Wire::Rfc6455).unwrap();
    let mut target = rig.accept();

    // What cannot be used leaves what was there in force.
    std::fs::write(&place, "half a fi").unwrap();
    rig.proxy.stderr_until("certificates not reloaded");
    assert_eq!(subject(&rig.proxy, None), "CN=first");

    // Replaced as certificate managers do it.
    std::fs::rename(pki.file("second.pem"), &place).unwrap();
    rig.proxy.stderr_until("certificates reloaded");
    assert_eq!(subject(&rig.proxy, None), "CN=second");
    client.send(b"still");
    let mut got = [0; 5];
    target.read_exact(&mut got).unwrap();
    target.write_all(b"here").unwrap();
    assert_eq!((&got, client.read_exact(4).as_slice()), (b"still", &b"here"[..]));
}

#[test]
fn sighup_reads_certificates_at_once() {
    let pki = Pki::new();
    pki.local("first");
    pki.local("second");
    let place = pki.file("place.pem");
    std::fs::copy(pki.file("first.pem"), &place).unwrap();
    let mut rig = Rig::new(&["--cert", &place]);
    assert_eq!(subject(&rig.proxy, None), "CN=first");
    std::fs::rename(pki.file("second.pem"), &place).unwrap();
    rig.proxy.signal(libc::SIGHUP);
    rig.proxy.stderr_until("SIGHUP: files read anew");
    assert_eq!(subject(&rig.proxy, None), "CN=second");
    std::fs::write(&place, "half a fi").unwrap();
    rig.proxy.signal(libc::SIGHUP);
    rig.proxy.stderr_until("there is no certificate in it");
    assert_eq!(subject(&rig.proxy, None), "CN=second");
}

#[test]
fn authorities_that_change_are_read_again_whatever_the_certificate_is() {
    let pki = Pki::new();
    pki.authority("other");
    pki.issue("ca", "ann", "/CN=ann", "email:ann@example.com");
    pki.issue("other", "eve", "/CN=eve", "email:eve@example.com");
    let [place, other] = ["place.pem", "other.pem"].map(|name| pki.file(name));
    let certificate = pki.local("local");
    for options in [vec!["--self-signed"], vec!["--cert", &certificate]] {
        std::fs::copy(pki.file("ca.pem"), &place).unwrap();
        let rig = Rig::new(&[&options[..], &["--verify-client", "--cafile", &place]].concat());
        let comes_in = |name: &str| {
            let own = ["pem", "key"].map(|kind| pki.file(&format!("{name}.{kind}")));
            let tunnel = tunnel(&rig.proxy, &format!("verify=0,cert={},key={}", own[0], own[1]));
            Client::connect(tunnel.addr(), Wire::Rfc6455).is_ok()
        };
        assert_eq!((comes_in("ann"), comes_in("eve")), (true, false));
        std::fs::copy(&other, &place).unwrap();
        rig.proxy.stderr_until("certificates reloaded");
        assert_eq!((comes_in("ann"), comes_in("eve")), (false, true));
    }
}
