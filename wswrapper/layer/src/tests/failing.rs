//! System calls of the library's own that fail: nothing is lost, doubled or told twice.

use std::time::Duration;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLONESHOT, epoll_event};

use super::*;
use crate::sys::{Errno, Sys};
use crate::wait::Limits;

/// More often than any call is tried again.
const OFTEN: usize = 20;

fn fail(script: &Script, call: &'static str, error: i32, times: usize) {
    script.state().failing = Some(Failing { call, error, after: 0, times });
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

/// Whichever call it is: the program makes its own again, and of the others it knows nothing.
#[test]
fn a_registration_that_fails_for_a_moment_loses_no_wake_up() {
    for (kind, error) in [EPOLLIN, EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLET]
        .into_iter()
        .flat_map(|kind| [libc::ENOMEM, libc::ENOSPC].map(|error| (kind, error)))
    {
        let mut after = 0;
        while meets_a_failure(kind as u32, error, after) {
            after += 1;
        }
        assert!(after > 2, "only {after} calls");
    }
}

/// A client sends its request in two pieces to a program that waits for it with `kind` of registration, while the call of
/// epoll_ctl(2) behind `after` others fails. Returns whether there was such a call.
fn meets_a_failure(kind: u32, error: i32, after: usize) -> bool {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let epoll = script.epoll_create().unwrap();
    layer.epoll_created(epoll);
    script.state().failing = Some(Failing { call: "epoll_ctl", error, after, times: 1 });
    let register = |op| {
        let event = epoll_event { events: kind, u64: 7 };
        while let Err(seen) = layer.epoll_ctl(epoll, op, listener, Some(event)) {
            assert_eq!(seen, Errno(error));
        }
    };
    let wait = || {
        let mut events = [epoll_event { events: 0, u64: 0 }; 4];
        layer.epoll_wait(epoll, &mut events, Limits { timeout: Some(Duration::ZERO), mask: None })
    };
    assert!(layer.epoll_ctl_concerns(listener));
    register(EPOLL_CTL_ADD);
    let (head, tail) = REQUEST.split_at(50);
    for _ in 0..2 {
        let client = script.connect(listener, head.as_bytes());
        assert_eq!(wait(), Ok(0), "{kind:x}, {after}");
        script.arrive(client, tail.as_bytes());
        assert_eq!(wait(), Ok(1), "{kind:x}, {after}");
        assert_eq!(layer.accept(listener, 0).map(|(fd, _)| fd), Ok(client));
        if kind & EPOLLONESHOT as u32 != 0 {
            register(EPOLL_CTL_MOD);
        }
    }
    let failing = script.state().failing.take();
    failing.is_some_and(|failing| failing.times == 0)
}

#[test]
fn a_hub_that_cannot_be_made_leaves_no_descriptor_behind() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let before = script.state().files.len();
    script.connect(listener, b"GET");
    fail(&script, "epoll_ctl", libc::ENOSPC, OFTEN);
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    assert_eq!(script.state().files.len(), before);
}
