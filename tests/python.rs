//! Servers of Python's standard library: http.server, one thread and one process for each connection.

use std::process::Command;

use sha1::{Digest as _, Sha1};
use wstests::{Client, End, Rng, Scratch, Server, Wire, script, twin};

#[test]
fn http_server_delivers_a_file_of_some_megabytes() {
    let directory = Scratch::new();
    let content = Rng::new(8).bytes(5_000_003);
    std::fs::write(directory.join("file.bin"), &content).unwrap();
    let command = || {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"]);
        command.arg(directory.path()).arg("{port}");
        command
    };
    twin(command, |server, wire, rng| {
        let get = |path: &str, rng: &mut Rng| {
            let mut client = Client::connect(server.addr(), wire).unwrap();
            client.send_split(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(), rng);
            let reply = client.read_to_end();
            let orderly = matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _)));
            let head = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let status = reply.split(|&byte| byte == b'\r').next().unwrap();
            (orderly, String::from_utf8_lossy(status).into_owned(), reply[head..].to_vec())
        };
        let (orderly, status, body) = get("/file.bin", rng);
        assert!(body == content, "another file");
        let (_, missing, text) = get("/nothing", rng);
        (orderly, status, missing, text)
    });
}

/// One connection's worth of requests to `python_server.py`; the answers say whether every byte arrived.
fn converse(server: &Server, wire: Wire, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut client = Client::connect(server.addr(), wire).unwrap();
    let peer = String::from_utf8(client.read_until(b'\n')).unwrap();
    assert_eq!(peer, format!("peer 127.0.0.1 {}\n", client.local_addr().port()), "{wire:?}");
    for len in [1, 4096, 70_000, 300_000] {
        let body = rng.bytes(len);
        client.send_split(format!("{len}\n").as_bytes(), &mut rng);
        let answer = client.exchange(&body, &mut rng, 41 + len);
        let digest: String = Sha1::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8_lossy(&answer[..40]), digest, "{wire:?}, {len} bytes");
        assert!(answer[41..].iter().eq(body.iter().rev()), "{wire:?}: another body");
    }
    client.assert_pongs();
    client.close(1000);
    assert_eq!(client.read_to_end(), b"");
    assert!(matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _))), "{:?}", client.end());
}

/// Several clients of every dialect at the same time, each with its true address.
fn converse_side_by_side(kind: &str) {
    let command = || {
        let mut command = Command::new("python3");
        command.arg(script("python_server.py")).args([kind, "{port}"]);
        command
    };
    let side_by_side = |server: &Server, wires: &[Wire]| {
        std::thread::scope(|scope| {
            for (seed, &wire) in wires.iter().cycle().take(8).enumerate() {
                scope.spawn(move || converse(server, wire, seed as u64));
            }
        });
    };
    side_by_side(&Server::bare(&mut command()), &[Wire::Plain]);
    side_by_side(&Server::wrapped(&mut command()), &Wire::WEBSOCKET);
}

#[test]
fn a_threading_server_serves_clients_of_all_dialects_at_once() {
    converse_side_by_side("threads");
}

#[test]
fn a_forking_server_serves_clients_of_all_dialects_at_once() {
    converse_side_by_side("forks");
}
