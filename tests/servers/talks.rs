//! Conversations that several programs can hold, and what they need on the other side.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::thread;

use wstests::{Client, End, Rng};

use crate::program::{Site, Talk};

/// More than a megabyte, and no multiple of anything.
pub(crate) const MEGABYTE: usize = 1_100_003;

/// The bytes of the file `file` that web servers deliver.
pub(crate) fn content() -> Vec<u8> {
    Rng::new(9).bytes(MEGABYTE)
}

/// A directory to serve, which everybody may write to, with `file` in it.
pub(crate) fn document_root(site: &Site) -> String {
    let root = site.directory("www");
    std::fs::write(format!("{root}/file"), content()).unwrap();
    root
}

/// A megabyte goes up cut at random places and comes back the same; then the client ends the connection.
pub(crate) fn echo(talk: &Talk) -> String {
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    exchange_megabyte(&mut client, &mut rng);
    leave(client)
}

/// The same in turns, no more under way than pipes hold: for programs that stand in a circle of pipes, alone, and would wait
/// for themselves, bare as well.
pub(crate) fn echo_in_turns(talk: &Talk) -> String {
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    let mut left = MEGABYTE;
    while left > 0 {
        let len = rng.between(1, left.min(60_000));
        let sent = rng.bytes(len);
        let received = client.exchange(&sent, &mut rng, len);
        assert!(received == sent, "other bytes");
        left -= len;
    }
    client.assert_pongs();
    leave(client)
}

/// Both directions at once, with pings between.
#[track_caller]
pub(crate) fn exchange_megabyte(client: &mut Client, rng: &mut Rng) {
    let sent = rng.bytes(MEGABYTE);
    let received = client.exchange(&sent, rng, sent.len());
    assert!(received == sent, "another megabyte");
    client.assert_pongs();
}

/// The client says that it is done, and the server ends in an orderly way.
#[track_caller]
pub(crate) fn leave(mut client: Client) -> String {
    client.close(1000);
    let rest = client.read_to_end();
    assert!(is_orderly(&client), "{:?}", client.end());
    String::from_utf8_lossy(&rest).into_owned()
}

pub(crate) fn is_orderly(client: &Client) -> bool {
    matches!(client.end(), Some(End::Fin | End::Close(Some(1000) | None, _)))
}

/// curl fetches a file twice over one connection; a request that is cut at random places is answered as well.
pub(crate) fn download(talk: &Talk) -> String {
    download_by(talk, "file")
}

/// The same of a server that has it under another name.
pub(crate) fn download_by(talk: &Talk, name: &str) -> String {
    let url = &format!("http://127.0.0.1:{{port}}/{name}");
    let twice = talk.client(&["curl", "-sS", "--fail", url, url], b"");
    assert!(twice == [content(), content()].concat(), "another file: {} bytes", twice.len());
    let (mut client, mut rng) = (talk.connect(), talk.rng());
    let request = format!("GET /{name} HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\nConnection: close\r\n\r", "y".repeat(3000));
    client.send_split(request.as_bytes(), &mut rng);
    // Nothing may follow the end of the request, no ping either: the server is free to close then, and what it has not
    // read by that time resets the connection.
    client.send(b"\n");
    let reply = client.read_to_end();
    assert!(is_orderly(&client), "{:?}", client.end());
    assert!(reply.ends_with(&content()), "another file: {} bytes", reply.len());
    String::from_utf8_lossy(reply.split(|&byte| byte == b'\r').next().unwrap()).into_owned()
}

/// curl sends a file to a name of its own and fetches it from there.
pub(crate) fn put_and_get(talk: &Talk) -> String {
    let sent = talk.rng().bytes(MEGABYTE);
    let url = format!("http://127.0.0.1:{{port}}/put-{}", talk.number);
    let status =
        talk.client(&["curl", "-sS", "--fail", "-w", "%{http_code}", "-o", "/dev/null", "-T", "-", &url], &sent);
    let back = talk.client(&["curl", "-sS", "--fail", &url], b"");
    assert!(back == sent, "another file: {} bytes", back.len());
    String::from_utf8(status).unwrap()
}

/// curl posts a megabyte, in chunks and with a length, and gets it back.
pub(crate) fn post_echo(talk: &Talk, path: &str) {
    let sent = talk.rng().bytes(MEGABYTE);
    let url = format!("http://127.0.0.1:{{port}}{path}");
    for header in ["X-Nothing: 0", "Transfer-Encoding: chunked"] {
        let back = talk.client(&["curl", "-sS", "--fail", "-H", header, "--data-binary", "@-", &url], &sent);
        assert!(back == sent, "another body: {} bytes", back.len());
    }
}

/// An echo service for programs that lead to another server, in a thread of this process.
pub(crate) fn echo_backend() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut bytes = [0; 50_000];
                    while let Ok(n @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..n]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        port
    })
}
