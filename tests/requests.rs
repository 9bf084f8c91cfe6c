//! The opening handshake as clients see it: what is refused and how, which subprotocol, Origin and dialect is let in.

use std::process::Command;

use wstests::{Client, Reply, Server, Wire, app, http};

fn start(variables: &[(&str, &str)]) -> Server {
    let mut command = Command::new(app("accepts"));
    command.args(["poll", "4", "{port}"]).envs(variables.iter().copied());
    let server = Server::wrapped(&mut command);
    assert_eq!(server.stdout_line(), format!("listening {}", server.port()));
    server
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// A request with `line` in place of the header line that begins with the same name, or added to them.
fn request(lines: &[&str]) -> String {
    let mut all =
        vec!["Host: localhost", "Connection: Upgrade", "Upgrade: websocket", KEY, "Sec-WebSocket-Version: 13"];
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        all.retain(|old| !old.starts_with(&format!("{name}:")));
        if !value.is_empty() {
            all.push(line);
        }
    }
    format!("GET / HTTP/1.1\r\n{}\r\n\r\n", all.join("\r\n"))
}

fn hixie_request(key1: &str, key2: &str) -> String {
    let lines = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nOrigin: http://example.com";
    format!("GET / HTTP/1.1\r\n{lines}\r\n{key1}\r\n{key2}\r\n\r\n^n:ds[4U")
}

/// The form that every refusal has.
fn check_form(reply: &Reply, request: &str) {
    let text = reply.text();
    assert_eq!(reply.header("Content-Length"), Some(text.len().to_string().as_str()), "{request}");
    assert!(reply.header("Content-Type").unwrap_or_default().starts_with("text/plain"), "{request}");
    assert_eq!(reply.header("Connection"), Some("close"), "{request}");
    assert_eq!(text.lines().count(), 1, "not one line: {text:?}");
}

#[test]
fn each_bad_request_is_refused_with_its_status_and_a_text_of_its_own() {
    let key1 = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5";
    let key2 = "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00";
    let long = format!("X: {}", "a".repeat(9000));
    let many: Vec<String> = (0..101).map(|number| format!("X{number}: a")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let http10 = request(&[]).replace("HTTP/1.1", "HTTP/1.0");
    let post = request(&[]).replace("GET", "POST");
    let cases = [
        (400, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (400, "nonsense\r\n\r\n".to_owned()),
        (400, http10),
        (400, request(&["Host:"])),
        (400, request(&["Connection: keep-alive"])),
        (400, request(&["Sec-WebSocket-Key:"])),
        (400, request(&["Content-Length: 5"])),
        (400, request(&["Sec-WebSocket-Key: c2hvcnQ="])),
        (400, request(&["Bad Name: a"])),
        (405, post),
        (426, request(&["Sec-WebSocket-Version:"])),
        (426, request(&["Sec-WebSocket-Version: 99"])),
        (431, request(&[&long])),
        (431, request(&many)),
        (400, hixie_request("X: a", key2)),
        (400, hixie_request(key1, "X: a")),
        (400, hixie_request("Sec-WebSocket-Key1: 123x", key2)),
        (400, hixie_request("Sec-WebSocket-Key1: a b c", key2)),
        (400, hixie_request("Sec-WebSocket-Key1: 8589934592 x1", key2)),
        (400, hixie_request("Sec-WebSocket-Key1: 1 0x 1", key2)),
    ];
    let server = start(&[]);
    let mut texts = Vec::new();
    for (status, request) in &cases {
        let reply = http(server.addr(), request.as_bytes()).unwrap_or_else(|error| panic!("{error}: {request}"));
        assert_eq!(reply.status, *status, "{reply}\n{request}");
        check_form(&reply, request);
        if *status == 426 {
            assert_eq!(reply.header("Sec-WebSocket-Version"), Some("13, 8, 7"), "{request}");
        }
        let text = reply.text();
        assert!(!texts.contains(&text), "the text of another refusal: {text:?}\n{request}");
        texts.push(text);
    }
    assert_eq!(texts[0].trim_end(), "This is a WebSocket port");
    // None of them has reached the program.
    let client = Client::connect(server.addr(), Wire::Rfc6455).unwrap();
    let port = client.local_addr().port();
    assert_eq!(server.stdout_line(), format!("accepted 127.0.0.1 {port}"));
}

/// RFC 6455 section 1.3 and the example of draft 76.
#[test]
fn the_examples_of_the_specifications_are_answered_as_they_say() {
    let server = start(&[]);
    let mut client = Client::builder(Wire::Plain).begin(server.addr()).unwrap().finish().unwrap();
    client.raw(request(&[]).as_bytes());
    let mut reply = String::new();
    while !reply.ends_with("\r\n\r\n") {
        reply.push_str(&String::from_utf8(client.read_until(b'\n')).unwrap());
    }
    assert!(reply.starts_with("HTTP/1.1 101 "), "{reply}");
    assert!(reply.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{reply}");
    drop(client);

    let mut client = Client::connect(server.addr(), Wire::Plain).unwrap();
    let keys = ["Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5", "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00"];
    client.raw(hixie_request(keys[0], keys[1]).as_bytes());
    let mut reply = String::new();
    while !reply.ends_with("\r\n\r\n") {
        reply.push_str(&String::from_utf8(client.read_until(b'\n')).unwrap());
    }
    assert_eq!(client.read_exact(16), b"8jKS'y:G*Co,Wxa-");
    assert!(reply.contains("\r\nSec-WebSocket-Origin: http://example.com\r\n"), "{reply}");
}

/// Names in any case and order, token lists, several lines of one name.
#[test]
fn headers_are_taken_in_every_form_that_http_allows() {
    let server = start(&[]);
    let forms = [
        request(&[]).to_uppercase().replace("SEC-WEBSOCKET-KEY: DGHLIHNHBXBSZSBUB25JZQ==", KEY),
        request(&["Connection: keep-alive, Upgrade"]),
        request(&["Connection: keep-alive\r\nConnection:\tuPGRADE , x"]),
        request(&["Upgrade: h2c, WebSocket"]),
        request(&["Upgrade:websocket"]),
        request(&["Host: a\r\nX-Other:"]),
    ];
    for form in &forms {
        let mut client = Client::connect(server.addr(), Wire::Plain).unwrap();
        client.raw(form.as_bytes());
        let status = String::from_utf8(client.read_until(b'\n')).unwrap();
        assert!(status.starts_with("HTTP/1.1 101 "), "{status} for {form}");
    }
}

#[test]
fn subprotocols_are_chosen_from_the_offer_alone() {
    let server = start(&[]);
    // The client itself checks that what is answered was offered.
    let choose = |wire: Wire, offer: &str| {
        let client = Client::builder(wire).protocols(offer).connect(server.addr()).unwrap();
        client.protocol().map(str::to_owned)
    };
    for (offer, chosen) in [
        ("binary", Some("binary")),
        ("base64, binary", Some("binary")),
        ("foo,binary", Some("binary")),
        ("foo , binary ,bar", Some("binary")),
        ("foo", None),
    ] {
        assert_eq!(choose(Wire::Rfc6455, offer).as_deref(), chosen, "{offer}");
    }
    for offer in ["base64", "foo, base64", "base64 ,foo"] {
        assert_eq!(choose(Wire::Rfc6455Base64, offer).as_deref(), Some("base64"), "{offer}");
    }
    for wire in [Wire::Hixie75, Wire::Hixie76] {
        assert_eq!(choose(wire, "base64").as_deref(), Some("base64"), "{wire:?}");
        assert_eq!(choose(wire, "foo"), None, "{wire:?}");
    }
}

#[test]
fn versions_13_8_and_7_are_served() {
    for version in [13, 8, 7] {
        let server = start(&[]);
        let mut client = Client::builder(Wire::Rfc6455)
            .version(version)
            .origin("http://example.com")
            .path("/a/path?with=query")
            .connect(server.addr())
            .unwrap();
        client.send(b"hello");
        assert_eq!(client.read_exact(5), b"hello", "version {version}");
    }
}

#[test]
fn only_the_given_origins_are_let_in() {
    let server = start(&[("WSWRAP_ORIGINS", "http://a.example https://b.example:8443")]);
    for wire in Wire::WEBSOCKET {
        for (origin, let_in) in [
            ("http://a.example", true),
            ("https://b.example:8443", true),
            ("https://a.example", false),
            ("http://a.example.evil", false),
            ("http://b.example:8443", false),
            ("null", false),
        ] {
            let result = Client::builder(wire).origin(origin).connect(server.addr());
            match result {
                Ok(_) => assert!(let_in, "{wire:?} from {origin} was let in"),
                Err(error) => {
                    assert!(!let_in, "{wire:?} from {origin}: {error}");
                    assert!(error.to_string().starts_with("403 "), "{wire:?} from {origin}: {error}");
                }
            }
        }
    }
    // Versions 8 and 7 name the header otherwise; a client that names no Origin is not one of those.
    let old = Client::builder(Wire::Rfc6455).version(8);
    assert!(old.clone().origin("http://a.example").connect(server.addr()).is_ok());
    assert!(old.origin("http://c.example").connect(server.addr()).is_err());
    let nobody = Client::connect(server.addr(), Wire::Rfc6455).unwrap_err();
    assert!(nobody.to_string().starts_with("403 "), "{nobody}");
}

#[test]
fn only_the_given_dialects_are_spoken() {
    let name = |wire: Wire| match wire {
        Wire::Plain => "plain",
        Wire::Hixie75 => "hixie-75",
        Wire::Hixie76 => "hixie-76",
        Wire::Rfc6455 | Wire::Rfc6455Base64 => "rfc6455",
    };
    for list in ["hixie-75", "hixie-76", "rfc6455", "hixie-76,rfc6455", "hixie-75,hixie-76,rfc6455"] {
        let server = start(&[("WSWRAP_DIALECTS", list)]);
        for wire in Wire::WEBSOCKET {
            let spoken = list.split(',').any(|dialect| dialect == name(wire));
            let result = Client::connect(server.addr(), wire);
            assert_eq!(result.is_ok(), spoken, "{wire:?} with {list}: {result:?}");
        }
    }
}
