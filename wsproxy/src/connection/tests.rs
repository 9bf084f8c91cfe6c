//! What needs a clock that can be moved, or a handler of its own: whole connections in memory.

use std::path::PathBuf;

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::handler::{Request, WebRequest};
use crate::limits::Limits;
use crate::tls::{Ciphers, Identity, Tls, Version};
use crate::web::Web;

/// Lets in who has the word; a WebSocket ends at once.
struct Doorman;

impl Handler for Doorman {
    async fn admit_web(&self, request: &WebRequest) -> Result<(), Denial> {
        match request.head.headers.get("authorization") {
            Some(word) if word == "sesame" => Ok(()),
            _ => Err(Denial::new("401 Unauthorized", "Who are you?")),
        }
    }

    async fn serve(&self, _request: Request, _socket: WebSocket<Stream>) {}
}

/// All that a port can speak. The files are those of this crate.
fn settings(auth: bool) -> Settings {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let web = Web::new(web::Settings { directory, auth, ..web::Settings::default() }).unwrap();
    let tls = Tls::new(crate::tls::Settings {
        identity: Identity::SelfSigned,
        minimum: Version::default(),
        ciphers: Ciphers::default(),
        clients: None,
        only: false,
    });
    Settings { tls: Some(tls.unwrap()), web: Some(Arc::new(web)), ..Settings::default() }
}

/// A connection: the client's end of it, and what it will have come to.
fn connect(settings: &Settings) -> (DuplexStream, JoinHandle<Result<(), Refused>>) {
    connect_to(Doorman, settings)
}

fn connect_to(handler: impl Handler, settings: &Settings) -> (DuplexStream, JoinHandle<Result<(), Refused>>) {
    let (client, server) = duplex(1 << 16);
    let settings = settings.clone();
    let served = tokio::spawn(async move {
        let origin = Origin { peer: Peer::Unix, local: None, id: 1, tls: None };
        serve(Box::new(server), origin, &settings, &handler).await
    });
    (client, served)
}

/// The next reply of a connection that is kept: its head, and its body.
async fn reply(client: &mut DuplexStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const GET: &[u8] = b"GET /Cargo.toml HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn files_are_asked_for_as_the_handler_wants_if_the_web_side_is_to_ask_it() {
    for (auth, word, status) in [(true, "barley", "401"), (true, "sesame", "200"), (false, "barley", "200")] {
        let (mut client, _served) = connect(&settings(auth));
        let request = format!("GET /Cargo.toml HTTP/1.1\r\nHost: x\r\nAuthorization: {word}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (head, body) = reply(&mut client).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{auth} {word}: {head}");
        assert_eq!(body == "Who are you?\n", status == "401", "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_begun_has_the_time_of_one_handshake() {
    let settings = settings(false);
    for (begun, label) in [
        (&b""[..], PROBE),
        (&[0x16], "timeout"),
        (&[0x16, 3, 1, 2, 0, 1, 0], "timeout"),
        (b"<policy-file-", "timeout"),
        (b"GET / HT", "timeout"),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", "timeout"),
    ] {
        let start = Deadline::now();
        let (mut client, served) = connect(&settings);
        client.write_all(begun).await.unwrap();
        let refused = served.await.unwrap().unwrap_err();
        assert_eq!(refused.label, label, "{begun:02x?}");
        assert_eq!(start.elapsed().as_secs(), settings.handshake_timeout.as_secs(), "{begun:02x?}");
    }
}

/// One that trickles does not gain time by it.
#[tokio::test(start_paused = true)]
async fn a_trickle_has_no_more_time_than_a_silence() {
    let settings = settings(false);
    let start = Deadline::now();
    let (mut client, served) = connect(&settings);
    tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if client.write_u8(*byte).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(served.await.unwrap().unwrap_err().label, "timeout");
    assert_eq!(start.elapsed().as_secs(), settings.handshake_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_web_connection_is_kept_for_as_long_and_ends_with_the_server() {
    let settings = settings(false);
    let half = settings.handshake_timeout / 2;
    let (mut client, served) = connect(&settings);
    for _ in 0..5 {
        tokio::time::sleep(half).await;
        client.write_all(GET).await.unwrap();
        assert!(reply(&mut client).await.1.contains("wsproxy"));
    }
    let start = Deadline::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), settings.handshake_timeout.as_secs());
    drop(client);
    served.await.unwrap().unwrap();

    let (mut client, served) = connect(&settings);
    client.write_all(GET).await.unwrap();
    reply(&mut client).await;
    let start = Deadline::now();
    settings.lifecycle.drain();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), 0);
    drop(client);
    served.await.unwrap().unwrap();
}

/// A client that takes nothing of a file does not keep its connection for ever.
#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_reads_is_given_up() {
    let settings = settings(false);
    let (client, server) = duplex(64);
    let mut client = client;
    let copy = settings.clone();
    let served = tokio::spawn(async move {
        let origin = Origin { peer: Peer::Unix, local: None, id: 1, tls: None };
        serve(Box::new(server), origin, &copy, &Doorman).await
    });
    client.write_all(GET).await.unwrap();
    let start = Deadline::now();
    served.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 60);
}

/// It is answered, and the log does not say that it was incomplete.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_judged_in_time_is_told_so() {
    struct Hesitant;

    impl Handler for Hesitant {
        async fn admit(&self, _request: &mut Request) -> Result<(), Denial> {
            std::future::pending().await
        }

        async fn serve(&self, _request: Request, _socket: WebSocket<Stream>) {}
    }

    let settings = Settings::default();
    let start = Deadline::now();
    let (mut client, served) = connect_to(Hesitant, &settings);
    client.write_all(UPGRADE).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(start.elapsed().as_secs(), settings.handshake_timeout.as_secs());
    drop(client);
    let refused = served.await.unwrap().unwrap_err();
    assert_eq!((refused.label, refused.reason.contains("in time")), ("busy", true), "{refused:?}");
}

/// It loses its own connection, and takes nobody's place.
#[tokio::test]
async fn a_handler_that_panics_leaves_nothing_open() {
    struct Clumsy;

    impl Handler for Clumsy {
        async fn serve(&self, _request: Request, _socket: WebSocket<Stream>) {
            panic!("clumsy");
        }
    }

    let settings = Settings { limits: Limits::new(Some(1), None), ..Settings::default() };
    for count in 1..3 {
        let (mut client, served) = connect_to(Clumsy, &settings);
        client.write_all(UPGRADE).await.unwrap();
        assert!(served.await.unwrap_err().is_panic());
        let text = settings.metrics.text().unwrap();
        assert!(text.contains("wsproxy_open 0\n") && text.contains(&format!("rfc6455\"}} {count}\n")), "{text}");
    }
}
