//! System calls of the library's own that fail: nothing is lost, doubled or told twice.

use super::*;

/// More often than any call is tried again.
const OFTEN: usize = 20;

fn fail(script: &Script, call: &'static str, error: i32, times: usize) {
    script.state().failing = Some((call, error, times));
}

#[test]
fn invariant_1_a_handshake_outlives_calls_that_fail_for_a_moment() {
    for call in ["recv", "discard", "send", "epoll_wait"] {
        for error in [libc::EINTR, libc::ENOMEM, libc::ENOBUFS] {
            let script = Script::new();
            let layer = layer(&script, &[]);
            let listener = script.listener(5901);
            let (head, tail) = REQUEST.split_at(50);
            let client = script.connect(listener, head.as_bytes());
            fail(&script, call, error, 2);
            assert_eq!(layer.accept(listener, 0), Err(AGAIN), "{call}");
            script.arrive(client, tail.as_bytes());
            fail(&script, call, error, 2);
            assert_eq!(layer.accept(listener, 0).map(|(fd, _)| fd), Ok(client), "{call}");
            assert!(script.take_output(client).starts_with(b"HTTP/1.1 101 "), "{call}");
        }
    }
}

/// On edges nobody would look again.
#[test]
fn an_accept_that_is_interrupted_does_not_say_that_there_is_nobody() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let client = script.connect(listener, REQUEST.as_bytes());
    fail(&script, "accept", libc::EINTR, 2);
    assert_eq!(layer.accept(listener, 0).map(|(fd, _)| fd), Ok(client));
}

#[test]
fn invariant_2_bytes_that_cannot_be_dropped_are_not_read_twice() {
    let payload: Vec<u8> = (0..3000_u32).map(|i| (i * 7 + 3) as u8).collect();
    for pieces in [1, 7, 100, 1500] {
        for size in [1, 10, 600, 5000] {
            for times in [1, OFTEN] {
                let (script, layer, fd) = open(REQUEST);
                let mut got = Vec::new();
                for piece in payload.chunks(payload.len() / pieces) {
                    script.arrive(fd, &frame(PING, b"between"));
                    script.arrive(fd, &frame(BINARY, piece));
                    fail(&script, "discard", libc::EAGAIN, times);
                    // A look, as of a wait that goes before the read.
                    layer.filter_fd(fd, libc::EPOLLIN as u32);
                    while let Ok(bytes) = read(&layer, fd, size, 0) {
                        got.extend(bytes);
                    }
                }
                assert!(got == payload, "{pieces} pieces, buffers of {size}, failing {times} times");
            }
        }
    }
}

#[test]
fn a_pong_that_cannot_be_sent_for_a_moment_is_no_error_of_a_read() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(PING, b"here"));
    fail(&script, "send", libc::ENOBUFS, OFTEN);
    assert_eq!(read(&layer, fd, 10, 0), Err(AGAIN));
    assert_eq!(script.take_output(fd), b"");
    script.state().failing = None;
    layer.filter_fd(fd, libc::EPOLLIN as u32);
    assert_eq!(script.take_output(fd), b"\x8a\x04here");
}

#[test]
fn a_hub_that_cannot_be_made_leaves_no_descriptor_behind() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let before = script.state().files.len();
    script.connect(listener, b"GET");
    fail(&script, "epoll_ctl", libc::ENOSPC, 1);
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    assert_eq!(script.state().files.len(), before);
}
