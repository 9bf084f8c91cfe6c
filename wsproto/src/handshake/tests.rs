//! Every kind of request and of refusal, each fed whole, byte by byte and at every split point.

use super::*;

const RFC6455: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
const HIXIE76: &str = "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nSec-WebSocket-Protocol: sample\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n";
const HIXIE75: &str = "GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.com\r\n\
    Origin: http://example.com\r\nWebSocket-Protocol: sample\r\n\r\n";

/// Feeds `request` whole, in two pieces cut at every place, and byte by byte.
fn feed(request: impl AsRef<[u8]>, policy: &Policy) -> (usize, Progress, String) {
    let request = request.as_ref();
    let mut reply = Vec::new();
    let (taken, progress) = Handshake::new().receive(request, policy, &mut reply);
    for cut in 0..request.len().min(1000) {
        let pieces = [&request[..cut], &request[cut..]];
        assert_eq!(pieced(pieces, policy), (progress.clone(), reply.clone()), "cut at {cut}");
    }
    assert_eq!(pieced(request.chunks(1), policy), (progress.clone(), reply.clone()), "byte by byte");
    (taken, progress, String::from_utf8_lossy(&reply).into_owned())
}

fn pieced<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, policy: &Policy) -> (Progress, Vec<u8>) {
    let (mut handshake, mut reply) = (Handshake::new(), Vec::new());
    for piece in pieces {
        let (taken, progress) = handshake.receive(piece, policy, &mut reply);
        if progress != Progress::Incomplete {
            return (progress, reply);
        }
        assert_eq!((taken, reply.len()), (piece.len(), 0));
    }
    (Progress::Incomplete, reply)
}

#[track_caller]
fn accepts(request: impl AsRef<[u8]>) -> (Accepted, String) {
    let (_, progress, reply) = feed(request, &Policy::default());
    match progress {
        Progress::Accepted(accepted) => (*accepted, reply),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses_by(policy: &Policy, request: impl AsRef<[u8]>, refusal: Refusal, status: u16) -> String {
    let (_, progress, reply) = feed(request, policy);
    assert_eq!(progress, Progress::Refused(refusal));
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    let body = format!("{refusal}\n");
    assert!(reply.ends_with(&format!("\r\n\r\n{body}")), "{reply}");
    for field in ["Content-Type: text/plain", &format!("Content-Length: {}", body.len()), "Connection: close"] {
        assert!(reply.contains(&format!("\r\n{field}\r\n")), "{reply}");
    }
    reply
}

#[track_caller]
fn refuses(request: impl AsRef<[u8]>, refusal: Refusal, status: u16) -> String {
    refuses_by(&Policy::default(), request, refusal, status)
}

#[test]
fn the_example_of_rfc_6455_section_1_3() {
    let (accepted, reply) = accepts(RFC6455);
    assert_eq!(
        reply,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    let expected = Accepted {
        dialect: Dialect::Rfc6455,
        encoding: Encoding::Binary,
        path: "/chat".to_owned(),
        host: "server.example.com".to_owned(),
        origin: Some("http://example.com".to_owned()),
        subprotocol: None,
    };
    assert_eq!(accepted, expected);
}

#[test]
fn the_vector_of_hixie_76() {
    let (accepted, reply) = accepts([HIXIE76, "^n:ds[4U"].concat());
    assert_eq!(
        reply,
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: http://example.com\r\nSec-WebSocket-Location: ws://example.com/demo\r\n\r\n\
         8jKS'y:G*Co,Wxa-"
    );
    assert_eq!((accepted.dialect, accepted.encoding), (Dialect::Hixie76, Encoding::Base64));
}

#[test]
fn a_reply_of_hixie_75() {
    let policy = Policy { secure: true, ..Policy::default() };
    let (_, progress, reply) = feed(HIXIE75.replace("sample", "base64"), &policy);
    assert!(matches!(progress, Progress::Accepted(accepted) if accepted.dialect == Dialect::Hixie75));
    assert_eq!(
        reply,
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         WebSocket-Origin: http://example.com\r\nWebSocket-Location: wss://example.com/demo\r\n\
         WebSocket-Protocol: base64\r\n\r\n"
    );
}

#[test]
fn frames_behind_the_request_stay_with_the_caller() {
    let key3 = [HIXIE76, "^n:ds[4U"].concat();
    for (request, frames) in [(RFC6455, &b"\x82\x80abcd"[..]), (HIXIE75, b"\0SGk=\xff"), (&key3, b"\0SGk=\xff")] {
        let whole = [request.as_bytes(), frames].concat();
        let (taken, progress, _) = feed(&whole, &Policy::default());
        assert!(matches!(progress, Progress::Accepted(_)));
        assert_eq!(taken, request.len());
    }
}

#[test]
fn names_values_and_lists_may_be_written_in_any_way() {
    let request = "\r\nGET ws://h.example:80/a?b=c HTTP/1.1\r\nsec-websocket-version:8 \r\nUPGRADE: h2c\r\n\
        connection: keep-alive , uPGRADE\r\nupgrade:\tfoo,  WebSocket\r\nhOST:   h.example:80\r\n\
        sec-websocket-protocol: ,foo,\r\nSec-WebSocket-Protocol:bar ,binary\r\nSec-WebSocket-Origin: null\r\n\
        sec-WEBSOCKET-key:  dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (accepted, reply) = accepts(request);
    assert_eq!((&accepted.path[..], &accepted.host[..]), ("/a?b=c", "h.example:80"));
    assert_eq!(accepted.origin.as_deref(), Some("null"));
    assert!(reply.contains("\r\nSec-WebSocket-Protocol: binary\r\n"));
    // Lines that end with LF alone.
    accepts(RFC6455.replace("\r\n", "\n"));
}

#[test]
fn the_subprotocol_is_one_that_was_offered() {
    for (offer, encoding, answer) in [
        ("binary", Encoding::Binary, Some("binary")),
        ("base64", Encoding::Base64, Some("base64")),
        ("base64, binary", Encoding::Binary, Some("binary")),
        ("foo, base64", Encoding::Base64, Some("base64")),
        ("foo", Encoding::Binary, None),
        ("binaryx, xbase64", Encoding::Binary, None),
        ("", Encoding::Binary, None),
    ] {
        let (accepted, reply) = accepts(RFC6455.replace("chat, superchat", offer));
        assert_eq!((accepted.encoding, accepted.subprotocol.as_deref()), (encoding, answer), "{offer}");
        assert_eq!(reply.contains("Sec-WebSocket-Protocol"), answer.is_some());
    }
    for (offer, answer) in
        [("binary base64", Some("base64")), ("binary", Some("binary")), ("x,base64", Some("base64")), ("x", None)]
    {
        for request in [HIXIE75.to_owned(), [HIXIE76, "12345678"].concat()] {
            let (accepted, _) = accepts(request.replace("sample", offer));
            assert_eq!((accepted.encoding, accepted.subprotocol.as_deref()), (Encoding::Base64, answer), "{offer}");
        }
    }
}

#[test]
fn versions_13_8_and_7_are_spoken_and_others_told_so() {
    for version in ["13", "8", "7"] {
        accepts(RFC6455.replace("Version: 13", &format!("Version: {version}")));
    }
    for version in ["14", "6", "0", "013", "13, 8", "x", ""] {
        let request = RFC6455.replace("Version: 13", &format!("Version: {version}"));
        let reply = refuses(request, Refusal::Version, 426);
        assert!(reply.contains("\r\nSec-WebSocket-Version: 13, 8, 7\r\n"), "{reply}");
    }
    // A key makes it RFC 6455, never hixie-75.
    refuses(RFC6455.replace("Sec-WebSocket-Version: 13\r\n", ""), Refusal::VersionMissing, 426);
}

#[test]
fn keys_of_rfc_6455_are_checked() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for wrong in ["dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZWE=", "****", ""] {
        refuses(RFC6455.replace(key, wrong), Refusal::Key, 400);
    }
    let missing = RFC6455.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    refuses(missing, Refusal::KeyMissing, 400);
    let twice = RFC6455.replace("Origin:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin:");
    refuses(twice, Refusal::Repeated("Sec-WebSocket-Key"), 400);
}

#[test]
fn a_request_of_rfc_6455_has_no_body() {
    let with = |line: &str| RFC6455.replace("Origin:", &format!("{line}\r\nOrigin:"));
    for line in ["Content-Length: 5", "content-length: +0", "Transfer-Encoding: chunked"] {
        refuses(with(line), Refusal::Body, 400);
    }
    refuses(with("Content-Length: 0\r\nContent-Length: 0"), Refusal::Repeated("Content-Length"), 400);
    accepts(with("Content-Length: 0"));
    // The eight bytes behind the head are a body to some who pass it on.
    accepts([&HIXIE76.replace("Origin:", "Content-Length: 8\r\nOrigin:"), "^n:ds[4U"].concat());
}

#[test]
fn keys_of_hixie_76_are_checked() {
    for (name, good) in [("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5"), ("Sec-WebSocket-Key2", "12998 5 Y3 1  .P00")] {
        for (key, fault) in [
            ("a b c", KeyFault::NoDigits),
            ("", KeyFault::NoDigits),
            ("12345", KeyFault::NoSpaces),
            ("1 2 3", KeyFault::NotDivisible),
            ("4294967296 x", KeyFault::TooLarge),
            ("99999999999999999999999 x", KeyFault::TooLarge),
        ] {
            let request = [&HIXIE76.replace(good, key), "^n:ds[4U"].concat();
            refuses(request, Refusal::HixieKey(name, fault), 400);
        }
        let missing = [&HIXIE76.replace(&format!("{name}: {good}\r\n"), ""), "^n:ds[4U"].concat();
        refuses(missing, Refusal::HixieKey(name, KeyFault::Missing), 400);
        accepts([&HIXIE76.replace(good, "42949672 95x"), "^n:ds[4U"].concat());
    }
}

#[test]
fn malformed_requests_are_told_what_is_wrong() {
    refuses("\x16\x03\x01", Refusal::Tls, 400);
    refuses("<policy-file-request/>\0", Refusal::RequestLine, 400);
    refuses(RFC6455.replace("GET /chat", "GET"), Refusal::RequestLine, 400);
    refuses(RFC6455.replace("/chat", "chat"), Refusal::Target, 400);
    refuses(RFC6455.replace("/chat", "/caf\u{e9}"), Refusal::Target, 400);
    refuses(RFC6455.replace("HTTP/1.1", "HTTP/1.0"), Refusal::HttpVersion, 400);
    refuses(RFC6455.replace("HTTP/1.1", "HTTP/2.0"), Refusal::HttpVersion, 400);
    refuses(RFC6455.replace("Origin:", "Ori gin:"), Refusal::FieldName, 400);
    refuses(RFC6455.replace("example.com\r\n", "exam\0ple.com\r\n"), Refusal::FieldValue, 400);
    refuses(RFC6455.replace("http://example.com", "http://ex\u{e4}mple.com"), Refusal::FieldValue, 400);
    refuses(RFC6455.replace("GET", "POST"), Refusal::Method, 405);
    refuses(RFC6455.replace("Upgrade: websocket", "Upgrade: h2c"), Refusal::NotWebSocket, 400);
    refuses(RFC6455.replace("Connection: Upgrade", "Connection: close"), Refusal::Connection, 400);
    refuses(RFC6455.replace("Host: server.example.com\r\n", ""), Refusal::Host, 400);
    refuses(RFC6455.replace("Host:", "Host: a\r\nHost:"), Refusal::Repeated("Host"), 400);
    let web = refuses("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::NotWebSocket, 400);
    assert!(web.ends_with("\r\n\r\nThis is a WebSocket port\n"));
}

#[test]
fn a_bad_request_line_is_told_before_the_head_is_complete() {
    refuses("RFB 003.008\n", Refusal::RequestLine, 400);
    refuses("SSH-2.0-OpenSSH\r\n", Refusal::RequestLine, 400);
}

#[test]
fn heads_are_limited() {
    let policy = Policy { head_limit: RFC6455.len(), ..Policy::default() };
    assert!(matches!(feed(RFC6455, &policy).1, Progress::Accepted(_)));
    let policy = Policy { head_limit: RFC6455.len() - 1, ..Policy::default() };
    refuses_by(&policy, RFC6455, Refusal::HeadTooLarge, 431);
    refuses(["GET /", &"a".repeat(10_000)].concat(), Refusal::HeadTooLarge, 431);
    // Empty lines in front are a part of it.
    let policy = Policy { head_limit: RFC6455.len() + 4, ..Policy::default() };
    assert!(matches!(feed(["\r\n\r\n", RFC6455].concat(), &policy).1, Progress::Accepted(_)));
    refuses_by(&policy, ["\r\n\r\n\n", RFC6455].concat(), Refusal::HeadTooLarge, 431);
    assert_eq!(feed("\r\n".repeat(4096), &Policy::default()).1, Progress::Incomplete);
    refuses("\n".repeat(8193), Refusal::HeadTooLarge, 431);
    let fields = |count| (0..count).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
    accepts(RFC6455.replace("Origin:", &format!("{}Origin:", fields(93))));
    refuses(RFC6455.replace("Origin:", &format!("{}Origin:", fields(94))), Refusal::TooManyFields, 431);
}

#[test]
fn origins_may_be_limited() {
    let origins = ["https://one.example", "HTTP://EXAMPLE.com"].map(|origin| origin.parse().unwrap()).to_vec();
    let policy = Policy { origins, ..Policy::default() };
    for request in [RFC6455.to_owned(), HIXIE75.to_owned(), [HIXIE76, "12345678"].concat()] {
        assert!(matches!(feed(&request, &policy).1, Progress::Accepted(_)));
        for other in ["http://example.com:81", "http://example.co", "null"] {
            refuses_by(&policy, request.replace("http://example.com", other), Refusal::Origin, 403);
        }
        refuses_by(&policy, request.replace("Origin: http://example.com\r\n", ""), Refusal::Origin, 403);
    }
}

#[test]
fn dialects_may_be_switched_off() {
    let requests = [(Dialect::Hixie75, HIXIE75), (Dialect::Hixie76, HIXIE76), (Dialect::Rfc6455, RFC6455)];
    for (only, _) in requests {
        let policy = Policy { dialects: [only].into_iter().collect(), ..Policy::default() };
        for (dialect, request) in requests {
            if dialect != only {
                let reply = refuses_by(&policy, request, Refusal::Dialect(dialect), 426);
                assert_eq!(reply.contains("Sec-WebSocket-Version: 13, 8, 7"), only == Dialect::Rfc6455);
            }
        }
    }
}

#[test]
fn nothing_is_taken_when_the_handshake_is_over() {
    let mut handshake = Handshake::new();
    handshake.receive(RFC6455.as_bytes(), &Policy::default(), &mut Vec::new());
    let mut reply = Vec::new();
    assert_eq!(handshake.receive(b"more", &Policy::default(), &mut reply), (0, Progress::Incomplete));
    assert!(reply.is_empty());
}
