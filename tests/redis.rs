//! redis: an epoll server with non-blocking sockets, reached by its own clients through the shim.

use std::process::{Command, Stdio};

use wstests::{Client, Mode, Server, Shim, Wire, twin};

fn redis() -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command
}

/// Runs redis-cli with `input` and returns what it prints.
fn redis_cli(port: u16, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "redis-cli {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn redis_cli_gets_the_same_answers() {
    twin(redis, |server, wire, rng| {
        let shim = Shim::start(server.addr(), wire).unwrap();
        let port = shim.addr().port();
        // Printable, so that redis-cli shows it as it is.
        let value: String = rng.bytes(1 << 20).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        let mut answers = vec![
            redis_cli(port, &["ping"], b""),
            redis_cli(port, &["-x", "set", "big"], value.as_bytes()),
            redis_cli(port, &["strlen", "big"], b""),
            redis_cli(port, &["incr", "big"], b""),
        ];
        let back = redis_cli(port, &["get", "big"], b"");
        assert!(back.trim_end() == value, "another value");
        let script: String = (0..500).map(|n| format!("rpush list {n}\n")).collect();
        answers.push(redis_cli(port, &[], script.as_bytes()));
        answers.push(redis_cli(port, &["lrange", "list", "0", "-1"], b""));
        answers
    });
}

/// Commands and replies are cut at random places; the protocol of redis would notice one lost byte.
#[test]
fn pipelined_commands_cut_at_random_places_are_answered_in_order() {
    twin(redis, |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        let (mut commands, mut replies) = (Vec::new(), Vec::new());
        for number in 0..2000 {
            let echo = format!("{number}:{}", "v".repeat(rng.between(0, 900)));
            let bulk = format!("${}\r\n{echo}\r\n", echo.len());
            commands.extend_from_slice(format!("*2\r\n$4\r\nECHO\r\n{bulk}").as_bytes());
            replies.extend_from_slice(bulk.as_bytes());
        }
        let received = client.exchange(&commands, rng, replies.len());
        assert!(received == replies, "other replies");
        client.assert_pongs();
    });
}

#[test]
fn redis_benchmark_with_pipelines_of_16_runs_through_every_dialect() {
    let mut wires = vec![Wire::Plain];
    wires.extend(Wire::selected());
    for wire in wires {
        let server = Server::start(Mode::of(wire), &mut redis());
        let shim = Shim::start(server.addr(), wire).unwrap();
        let port = shim.addr().port().to_string();
        let output = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", &port, "-P", "16", "-c", "20", "-n", "20000"])
            .args(["-d", "200", "-r", "1000", "-t", "set,get,lpush", "--csv"])
            .output()
            .unwrap();
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{wire:?}: {output:?}");
        for test in ["SET", "GET", "LPUSH"] {
            assert!(table.contains(&format!("\"{test}\"")), "{wire:?}: no {test} in {table}");
        }
        // The server has counted what it was asked.
        let length = redis_cli(shim.addr().port(), &["llen", "mylist"], b"");
        assert_eq!(length.trim(), "20000", "{wire:?}");
    }
}
