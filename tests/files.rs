//! Servers that let the kernel move the bytes: sendfile and splice.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use wstests::{Client, End, Rng, Scratch, Server, Wire, script, twin};

/// Odd, and more than the buffers on the way hold.
const SIZE: usize = 5_000_003;

/// A server whose configuration is a file: `PORT` in it becomes the port, `DIR` the directory.
fn configured(directory: &Path, text: &str, run: &str) -> Command {
    let draft = directory.join("draft");
    std::fs::write(&draft, text.replace("DIR", &directory.display().to_string())).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("sed s/PORT/$1/ \"$0\" > \"$0.$1\" && exec {run} \"$0.$1\"")]);
    command.arg(draft).arg("{port}").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn orderly(client: &Client) -> bool {
    matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _)))
}

/// GET over HTTP/1.1, the connection kept: the body, and then the answer to a second request, which closes it.
fn downloads(server: &Server, wire: Wire, rng: &mut Rng, content: &[u8]) -> (bool, String) {
    let mut client = Client::connect(server.addr(), wire).unwrap();
    client.send_split(b"GET /file.bin HTTP/1.1\r\nHost: h\r\n\r\n", rng);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_until(b'\n'));
    }
    assert!(client.read_exact(SIZE) == content, "{wire:?}: another file");
    client.send_split(b"GET /file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=4000000-\r\nConnection: close\r\n", rng);
    // Nothing comes behind the end of the last request: the server may have closed by then.
    client.send(b"\r\n");
    let rest = client.read_to_end();
    assert!(rest.ends_with(&content[4_000_000..]), "{wire:?}: another part");
    client.assert_pongs();
    let status = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    (orderly(&client), String::from_utf8_lossy(status).into_owned())
}

fn with_file(text: &str, run: &str) {
    let directory = Scratch::new();
    let content = Rng::new(5).bytes(SIZE);
    std::fs::write(directory.join("file.bin"), &content).unwrap();
    let command = || configured(directory.path(), text, run);
    twin(command, |server, wire, rng| downloads(server, wire, rng, &content));
}

#[test]
fn nginx_with_sendfile_delivers_a_file_of_5_megabytes() {
    with_file(
        "daemon off; worker_processes 2; user root; pid DIR/pid.PORT; error_log stderr error;
        events { }
        http {
            access_log off; sendfile on; tcp_nopush on;
            client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
            uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
            server { listen 127.0.0.1:PORT; root DIR; }
        }",
        "nginx -e stderr -c",
    );
}

#[test]
fn lighttpd_with_sendfile_delivers_a_file_of_5_megabytes() {
    with_file(
        "server.document-root = \"DIR\"
        server.bind = \"127.0.0.1\"
        server.port = PORT
        server.network-backend = \"sendfile\"",
        "lighttpd -D -f",
    );
}

#[test]
fn python_sends_parts_of_a_file_with_sendfile() {
    let directory = Scratch::new();
    let content = Rng::new(6).bytes(SIZE);
    let path = directory.join("file.bin");
    std::fs::write(&path, &content).unwrap();
    let command = || {
        let mut command = Command::new("python3");
        command.arg(script("python_sendfile.py")).arg(&path).arg("{port}");
        command
    };
    twin(command, |server, wire, rng| {
        let mut client = Client::connect(server.addr(), wire).unwrap();
        for (offset, count) in [(0, SIZE), (1, 1), (4999, 70_000), (SIZE - 5, 5)] {
            client.send_split(format!("{offset} {count}\n").as_bytes(), rng);
            assert!(client.read_exact(count) == content[offset..offset + count], "{wire:?}: {count} from {offset}");
        }
        client.send(b"\n");
        let rest = client.read_to_end();
        (rest, orderly(&client))
    });
}

/// haproxy moves what its server says with splice, through a pipe; what its client says it has to read.
#[test]
fn haproxy_with_splice_passes_both_directions_on() {
    let directory = Scratch::new();
    let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = behind.local_addr().unwrap().port();
    let (up, down) = (Rng::new(7).bytes(1_000_001), Rng::new(8).bytes(SIZE));
    let text = format!(
        "defaults\n mode tcp\n timeout connect 9s\n timeout client 20s\n timeout server 20s
 option splice-auto\n option splice-request\n option splice-response\nlisten it\n bind 127.0.0.1:PORT\n server s 127.0.0.1:{port}\n"
    );
    let (sent, answer) = (up.clone(), down.clone());
    std::thread::spawn(move || {
        for stream in behind.incoming() {
            let mut stream = stream.unwrap();
            let mut got = vec![0; sent.len()];
            stream.read_exact(&mut got).unwrap();
            assert!(got == sent, "other bytes");
            stream.write_all(&answer).unwrap();
        }
    });
    twin(
        || configured(directory.path(), &text, "haproxy -db -f"),
        |server, wire, rng| {
            let mut client = Client::connect(server.addr(), wire).unwrap();
            client.send_split(&up, rng);
            assert!(client.read_to_end() == down, "{wire:?}: other bytes");
            orderly(&client)
        },
    );
}
