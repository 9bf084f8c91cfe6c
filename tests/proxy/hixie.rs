//! Clients that this project has no part in.

use std::io::{Read, Write};
use std::process::Command;

use wstests::net::uninterrupted;
use wstests::{Mode, Server, script};

use crate::common::Rig;
use crate::pki::Pki;

/// Perl's Protocol::WebSocket speaks a hixie draft with `port`, which leads to the proxy, over TLS where `cafile` is given. It
/// checks the Location that the server tells, which is `wss` then.
pub fn chat(rig: &Rig, port: u16, version: &str, cafile: Option<&str>) {
    let port = port.to_string();
    let mut client = Server::spawn(
        Mode::Bare,
        Command::new("perl").arg(script("hixie_client.pl")).args([version, &port]).args(cafile),
    );
    assert_eq!(client.stdout_line(), "open");
    let mut target = rig.accept();
    for round in 0..3 {
        let line = format!("from the client, round {round}: {}\n", "a".repeat(round * 3000));
        client.write_stdin(line.as_bytes());
        let mut got = vec![0; line.len()];
        target.read_exact(&mut got).unwrap();
        assert!(got == line.as_bytes(), "round {round}");
        let line = format!("from the target, round {round}: {}\n", "b".repeat(round * 3000));
        target.write_all(line.as_bytes()).unwrap();
        assert_eq!(client.stdout_line() + "\n", line);
    }
    client.close_stdin();
    assert_eq!(uninterrupted(|| target.read(&mut [0])).unwrap(), 0);
    drop(target);
    assert_eq!(client.stdout_line(), "closed");
    assert!(client.wait().success());
}

#[test]
fn protocol_websocket_chats_in_both_hixie_drafts_over_plain_and_tls() {
    let pki = Pki::new();
    let rig = Rig::new(&["--cert", &pki.local("local")]);
    for version in ["draft-ietf-hybi-00", "draft-hixie-75"] {
        chat(&rig, rig.proxy.port(), version, None);
        chat(&rig, rig.proxy.port(), version, Some(&pki.file("ca.pem")));
    }
}
