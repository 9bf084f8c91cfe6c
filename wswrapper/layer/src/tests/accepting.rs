//! Invariant 1: the program sees only WebSockets.

use std::time::Duration;

use super::*;
use crate::hub::MAX_PENDING;
use crate::slots::Slot;
use crate::sys::Errno;

#[test]
fn invariant_1_a_connection_is_handed_out_when_its_handshake_is_done() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    let (head, tail) = REQUEST.split_at(50);
    let slow = script.connect(listener, head.as_bytes());
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    let quick = script.connect(listener, REQUEST.as_bytes());
    let (fd, peer) = layer.accept(listener, 0).unwrap();
    assert_eq!((fd, peer.to_string()), (quick, "127.0.0.1:12345".to_owned()));
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    script.arrive(slow, tail.as_bytes());
    assert_eq!(layer.accept(listener, 0).unwrap().0, slow);
    assert!(script.take_output(slow).starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn invariant_1_who_asks_for_no_websocket_is_never_seen() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let silent = script.connect(listener, b"");
    let gone = script.connect(listener, b"");
    script.with(gone, |file| file.fin = true);
    let reset = script.connect(listener, b"");
    script.with(reset, |file| file.error = Some(libc::ECONNRESET));
    let web = script.connect(listener, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let garbage = script.connect(listener, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    assert!(!script.is_open(gone) && !script.is_open(reset));
    for refused in [web, garbage] {
        let reply = String::from_utf8(script.take_output(refused)).unwrap();
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        assert!(script.with(refused, |file| file.shut_write));
    }
    script.with(web, |file| file.fin = true);
    // Their time runs out, and nobody else's.
    script.state().now += Duration::from_secs(9);
    let quick = script.connect(listener, REQUEST.as_bytes());
    assert_eq!(layer.accept(listener, 0).unwrap().0, quick);
    assert!(script.is_open(silent) && !script.is_open(web) && !script.is_open(garbage));
    script.state().now += Duration::from_secs(1);
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    assert!(!script.is_open(silent) && script.is_open(quick));
}

#[test]
fn pending_connections_are_bounded_and_the_oldest_goes_first() {
    let script = Script::new();
    let words: &'static [AtomicU32] = Vec::from_iter((0..4096).map(|_| AtomicU32::new(0))).leak();
    let layer = Layer::new(script.clone(), Slots::new(words), Config::from_env(|_| None).unwrap());
    let listener = script.listener(5901);
    let clients: Vec<Fd> = (0..MAX_PENDING + 10).map(|_| script.connect(listener, b"GET")).collect();
    while script.with(listener, |file| !file.backlog.as_ref().unwrap().is_empty()) {
        assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    }
    let open: Vec<bool> = clients.iter().map(|fd| script.is_open(*fd)).collect();
    assert_eq!(open, [vec![false; 10], vec![true; MAX_PENDING]].concat());
}

#[test]
fn pending_connections_leave_descriptors_to_the_program() {
    let script = Script::new();
    script.state().limit = 64;
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let clients: Vec<Fd> = (0..20).map(|_| script.connect(listener, b"GET")).collect();
    while script.with(listener, |file| !file.backlog.as_ref().unwrap().is_empty()) {
        assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    }
    assert_eq!(clients.iter().filter(|fd| script.is_open(**fd)).count(), 16);
}

#[test]
fn an_error_of_the_listener_is_the_programs() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    layer.accepts(listener);
    script.state().files.remove(&listener);
    assert_eq!(layer.accept(listener, 0), Err(Errno(libc::EBADF)));
}

#[test]
fn a_port_that_is_not_ours_is_left_alone() {
    let script = Script::new();
    let layer = layer(&script, &[("WSWRAP_PORT", "5901,7000-7001")]);
    let (ours, other) = (script.listener(7001), script.listener(5902));
    assert!(layer.accepts(ours) && !layer.accepts(other));
    assert_eq!(layer.slots().get(other), Slot::OtherListener);
    let file = script.connect(ours, b"");
    assert!(!layer.accepts(file));
}

#[test]
fn bytes_behind_the_request_are_the_first_payload() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    script.connect(listener, &[REQUEST.as_bytes(), &frame(BINARY, b"early")].concat());
    let (fd, _) = layer.accept(listener, 0).unwrap();
    assert_eq!(read(&layer, fd, 99, 0).unwrap(), b"early");
}

#[test]
fn a_reply_that_does_not_fit_is_sent_before_the_connection_is_handed_out() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let client = script.connect(listener, REQUEST.as_bytes());
    script.with(client, |file| file.room = 20);
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    script.with(client, |file| file.room = usize::MAX);
    assert_eq!(layer.accept(listener, 0).unwrap().0, client);
    let reply = script.take_output(client);
    assert!(reply.starts_with(b"HTTP/1.1 101 ") && reply.ends_with(b"\r\n\r\n"));
}

#[test]
fn the_log_names_port_peer_dialect_and_end() {
    let script = Script::new();
    let layer = layer(&script, &[("WSWRAP_VERBOSE", "1")]);
    let listener = script.listener(5901);
    script.connect(listener, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let client = script.connect(listener, REQUEST.as_bytes());
    layer.accept(listener, 0).unwrap();
    layer.close(client).unwrap();
    let log = String::from_utf8(script.state().log.clone()).unwrap();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(lines[0], "port 5901 speaks WebSocket (hixie-75,hixie-76,rfc6455)");
    assert!(lines[1].starts_with("127.0.0.1:12345 refused: "), "{log}");
    assert_eq!(lines[2], "127.0.0.1:12345 open: rfc6455, path /chat, subprotocol none");
    assert_eq!(lines[3], "127.0.0.1:12345 end: closed by the program, 0 bytes in, 0 bytes out");
}

#[test]
fn early_payload_is_known_to_be_there_and_read_in_one_call() {
    for early in [frame(BINARY, b"early"), [frame(PING, b""), frame(BINARY, b"early")].concat()] {
        let script = Script::new();
        let layer = layer(&script, &[]);
        let listener = script.listener(5901);
        script.connect(listener, &[REQUEST.as_bytes(), &early].concat());
        let (fd, _) = layer.accept(listener, 0).unwrap();
        script.state().calls.clear();
        assert_ne!(layer.filter_fd(fd, libc::EPOLLIN as u32), 0);
        assert_eq!(script.state().calls, []);
        assert_eq!(read(&layer, fd, 99, 0).unwrap(), b"early");
        assert_eq!(script.state().calls[0], ("recv", fd));
        assert!(script.with(fd, |file| file.input.is_empty()));
    }
}

#[test]
fn early_bytes_that_are_no_payload_promise_none() {
    for early in [frame(PING, b"p"), frame(BINARY, b"x")[..3].to_vec(), frame(CLOSE, &[])] {
        let script = Script::new();
        let layer = layer(&script, &[]);
        let listener = script.listener(5901);
        script.connect(listener, &[REQUEST.as_bytes(), &early].concat());
        let (fd, _) = layer.accept(listener, 0).unwrap();
        let closes = early[0] == CLOSE;
        assert_eq!(layer.filter_fd(fd, libc::EPOLLIN as u32) != 0, closes, "{early:?}");
        assert_eq!(read(&layer, fd, 9, libc::MSG_DONTWAIT), if closes { Ok(Vec::new()) } else { Err(AGAIN) });
    }
}

#[test]
fn whoever_waits_is_woken_for_the_connections_that_one_accept_leaves() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let slow = [script.connect(listener, b"GET "), script.connect(listener, b"GET ")];
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    slow.iter().for_each(|fd| script.arrive(*fd, &REQUEST.as_bytes()[4..]));
    let hub = layer.hub_fd(&layer.listener(listener).unwrap()).unwrap();
    layer.accept(listener, 0).unwrap();
    assert!(layer.is_readable(hub), "another thread would sleep on");
    layer.accept(listener, 0).unwrap();
    assert!(!layer.is_readable(hub), "another thread would spin");
}

#[test]
fn the_library_is_handed_on_until_the_last_port_is_open() {
    let script = Script::new();
    let vars = [("WSWRAP_PORT", "5901,6000-6010"), ("WSWRAP_NO_INHERIT", "1")];
    let opened = |layer: &Layer<Script>, port| {
        layer.listening(script.listener(port));
        script.state().disinherited
    };
    let layer = self::layer(&script, &vars);
    assert!(!opened(&layer, 5901));
    assert!(!opened(&layer, 80));
    // In a vfork child, whose environment is its parent's.
    script.state().pid = 11;
    assert!(!opened(&layer, 6001));
    script.state().pid = 10;
    assert!(opened(&layer, 6007));

    script.state().disinherited = false;
    let layer = self::layer(&script, &vars[..1]);
    assert!(!opened(&layer, 5901) && !opened(&layer, 6000), "nobody asked for it");
}
