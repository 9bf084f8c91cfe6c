//! The netcats: a chat, a megabyte each way at once, and the end from either side, the same over WebSockets as over TCP.

use std::process::Command;

use wstests::{Client, End, Mode, Rng, Server, Wire, twin};

const MEGABYTE: usize = 1 << 20;

/// What a program does when its standard input or the connection ends differs from one netcat to the next; the bare run
/// tells, the wrapped one has to do the same.
fn command(line: &str) -> impl Fn() -> Command {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    move || {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// Lines in turn.
fn chat(line: &str) {
    twin(command(line), |server, wire, _| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        for round in 0..5 {
            let question = format!("question {round}\n");
            client.send(question.as_bytes());
            assert_eq!(server.stdout_line() + "\n", question);
            let answer = format!("answer {round}: {}\n", "x".repeat(round * 100));
            server.write_stdin(answer.as_bytes());
            assert_eq!(client.read_exact(answer.len()), answer.as_bytes());
        }
    });
}

/// A megabyte each way at the same time, the client's cut at random places.
fn megabytes(line: &str) {
    twin(command(line), |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let (up, down) = (rng.bytes(MEGABYTE), rng.bytes(MEGABYTE));
        server.write_stdin(&down);
        let received = client.exchange(&up, rng, MEGABYTE);
        // Compared by hand: a failure must not print megabytes.
        assert!(received == down, "the client received something else");
        assert!(server.read_stdout(MEGABYTE) == up, "the program received something else");
        client.assert_pongs();
    });
}

/// The client ends the conversation: the program has all that was sent, sees the end and exits as it does without us.
fn client_ends(line: &str) {
    twin(command(line), |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let sent = rng.bytes(100_000);
        client.send_split(&sent, rng);
        client.close(1000);
        let received = server.read_stdout(sent.len());
        assert!(received == sent, "the program received something else");
        // Some wait for the end of their own input as well.
        server.close_stdin();
        let rest = client.read_to_end();
        (server.stdout_to_end(), rest, ended(&client), server.wait())
    });
}

/// The program's input ends: the client has all that was sent, then sees the end.
fn server_ends(line: &str) {
    twin(command(line), |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let line = b"the program writes only to somebody who is there\n";
        client.send(line);
        assert_eq!(server.read_stdout(line.len()), line);
        let sent = rng.bytes(300_000);
        server.write_stdin(&sent);
        server.close_stdin();
        let received = client.read_to_end();
        assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
        let end = ended(&client);
        drop(client);
        (end, server.wait())
    });
}

/// Whether the connection ended in an orderly way; a WebSocket may do so with a Close or with the end of the stream.
fn ended(client: &Client) -> bool {
    matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _)))
}

macro_rules! netcat {
    ($module:ident, $line:literal, ends by itself with $ending:literal) => {
        mod $module {
            #[test]
            fn chats() {
                super::chat($line);
            }

            #[test]
            fn carries_a_megabyte_each_way_at_once() {
                super::megabytes($line);
            }

            #[test]
            fn sees_the_end_of_the_client_as_it_does_bare() {
                super::client_ends($line);
            }

            #[test]
            fn ends_with_all_bytes_delivered() {
                super::server_ends($ending);
            }
        }
    };
}

netcat!(traditional, "nc.traditional -l -p {port}", ends by itself with "nc.traditional -q 0 -l -p {port}");
netcat!(openbsd, "nc.openbsd -l {port}", ends by itself with "nc.openbsd -N -l {port}");
netcat!(ncat, "ncat -l {port}", ends by itself with "ncat -l {port}");

/// The sentence of the README: a chat over netcat, started by the launcher.
#[test]
fn launched_by_wswrap_a_netcat_chats_in_every_dialect() {
    for wire in Wire::selected() {
        let server = Server::start(Mode::Launched, Command::new("nc.traditional").args(["-l", "-p", "{port}"]));
        let mut client = Client::connect(server.addr(), wire).unwrap();
        client.send(b"hello\n");
        assert_eq!(server.stdout_line(), "hello");
        server.write_stdin(b"hi\n");
        assert_eq!(client.read_exact(3), b"hi\n", "{wire:?}");
    }
}

/// One program, clients of all dialects one after the other and side by side: what the program writes goes to each.
#[test]
fn ncat_keep_open_serves_clients_of_all_dialects_at_once() {
    let mut rng = Rng::new(3);
    let server = Server::wrapped(Command::new("ncat").args(["-l", "-k", "{port}"]));
    let mut clients: Vec<Client> =
        Wire::WEBSOCKET.iter().map(|&wire| Client::connect(server.addr(), wire).unwrap()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let line = format!("client {number}\n");
        client.send_split(line.as_bytes(), &mut rng);
        assert_eq!(server.stdout_line() + "\n", line);
    }
    let down = rng.bytes(MEGABYTE);
    server.write_stdin(&down);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| assert!(client.read_exact(MEGABYTE) == down, "another megabyte"));
        }
    });
    let up = rng.bytes(MEGABYTE);
    for mut client in clients {
        client.send_split(&up, &mut rng);
        assert!(server.read_stdout(MEGABYTE) == up, "another megabyte");
        client.close(1000);
    }
    // The listener is as good as on the first day.
    let mut late = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    late.send(b"late\n");
    assert_eq!(server.stdout_line(), "late");
}
