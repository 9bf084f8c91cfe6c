//! socat with `fork`: each connection is served by a child, the parent closes its copy and goes on accepting.

use std::process::Command;

use wstests::{Client, End, Rng, Scratch, Server, Wire, twin};

/// `PIPE` without a name echoes: what comes from the connection goes into an unnamed pipe and back.
fn echo() -> Command {
    let mut command = Command::new("socat");
    command.args(["TCP-LISTEN:{port},fork,reuseaddr", "PIPE"]);
    command
}

#[test]
fn a_child_echoes_a_megabyte_cut_at_random_places() {
    twin(echo, |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let sent = rng.bytes(1 << 20);
        let received = client.exchange(&sent, rng, sent.len());
        assert!(received == sent, "another megabyte");
        client.assert_pongs();
    });
}

/// The parent's close of its copy is not the end of the connection; the child's is.
#[test]
fn children_serve_clients_of_all_dialects_side_by_side() {
    let mut rng = Rng::new(5);
    let server = Server::wrapped(&mut echo());
    let mut clients: Vec<Client> =
        Wire::WEBSOCKET.iter().cycle().take(12).map(|&wire| Client::connect(server.addr(), wire).unwrap()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            let sent = rng.bytes(5000);
            client.send_split(&sent, &mut rng);
            assert_eq!(client.read_exact(sent.len()), sent);
        }
    }
    assert!(clients.iter().all(|client| client.end().is_none()));
}

/// The client's end reaches the child, which has everything flushed and ends the connection.
#[test]
fn the_end_of_the_client_ends_the_child_and_loses_nothing() {
    twin(echo, |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let sent = rng.bytes(20_000);
        client.send_split(&sent, rng);
        assert_eq!(client.read_exact(sent.len()), sent);
        client.close(1000);
        let rest = client.read_to_end();
        let orderly = matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _)));
        (rest, orderly)
    });
}

/// A file is sent to whoever connects, and the connection ends behind its last byte.
#[test]
fn a_file_arrives_whole_before_the_end() {
    let mut rng = Rng::new(6);
    let content = rng.bytes(700_001);
    let directory = Scratch::new();
    let file = directory.join("file");
    std::fs::write(&file, &content).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let command = || {
        let mut command = Command::new("socat");
        command.args(["-u", &format!("OPEN:{path},rdonly"), "TCP-LISTEN:{port},reuseaddr"]);
        command
    };
    twin(command, |server, wire, _| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let received = client.read_to_end();
        assert!(received == content, "{} of {} bytes", received.len(), content.len());
        server.wait()
    });
}
