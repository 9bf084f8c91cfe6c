//! A client that this project has no part in: Perl's Protocol::WebSocket speaks the two hixie drafts with a netcat.

use std::process::Command;

use wstests::{Mode, Server, script};

fn chat(version: &str) {
    let mut netcat = Server::wrapped(Command::new("nc.traditional").args(["-l", "-p", "{port}"]));
    let mut client = Server::spawn(
        Mode::Bare,
        Command::new("perl").arg(script("hixie_client.pl")).args([version, &netcat.port().to_string()]),
    );
    assert_eq!(client.stdout_line(), "open");
    for round in 0..5 {
        let line = format!("from the client, round {round}: {}\n", "a".repeat(round * 300));
        client.write_stdin(line.as_bytes());
        assert_eq!(netcat.stdout_line() + "\n", line);
        let line = format!("from the server, round {round}: \u{1F980} {}\n", "b".repeat(round * 300));
        netcat.write_stdin(line.as_bytes());
        assert_eq!(client.stdout_line() + "\n", line);
    }
    client.close_stdin();
    assert!(netcat.wait().success());
    assert_eq!(client.stdout_line(), "closed");
    assert!(client.wait().success());
}

#[test]
fn protocol_websocket_chats_with_netcat_in_hixie_76() {
    chat("draft-ietf-hybi-00");
}

#[test]
fn protocol_websocket_chats_with_netcat_in_hixie_75() {
    chat("draft-hixie-75");
}
