//! A listener that several processes have: who waits for it and who accepts from it.

use std::sync::atomic::Ordering;

use libc::{POLLIN, pollfd};

use super::*;
use crate::given::Given;
use crate::slots::Slot;
use crate::sys::{Errno, Sys};
use crate::wait::Limits;

/// A request that goes on with a first frame, in one piece.
fn early(request: &str, frame: &[u8]) -> Vec<u8> {
    [request.as_bytes(), frame].concat()
}

/// What poll(2) says of the listener, at once.
fn told(layer: &Layer<Script>, listener: Fd) -> bool {
    let mut polls = [pollfd { fd: listener, events: POLLIN, revents: 0 }];
    let limits = Limits { timeout: Some(std::time::Duration::ZERO), mask: None };
    layer.wait_concerns(listener);
    layer.poll(&mut polls, limits).unwrap() == 1
}

/// A program that has opened its listener.
fn program() -> (Script, Layer<Script>, Fd) {
    let script = Script::new();
    let layer = layer(&script, &[("WSWRAP_VERBOSE", "1")]);
    let listener = script.listener(5901);
    assert!(!told(&layer, listener));
    (script, layer, listener)
}

/// The same once it has forked; the child is of no further interest.
fn parent() -> (Script, Layer<Script>, Fd) {
    let (script, layer, listener) = program();
    drop(layer.before_fork());
    (script, layer, listener)
}

/// The program becomes its child.
fn forked(script: &Script, layer: &Layer<Script>) {
    let guard = layer.before_fork();
    script.state().pid = 11;
    layer.in_child(guard);
}

/// The program that is started with what was given: another process, with the descriptors that are not close-on-exec.
fn started(script: &Script, given: &Given) -> Layer<Script> {
    let layer = layer(script, &[("WSWRAP_VERBOSE", "1")]);
    let assignment = given.assignment().unwrap();
    layer.adopt_queues(assignment.as_c_str().to_str().unwrap().strip_prefix("WSWRAP_QUEUES=").unwrap());
    layer
}

/// How many connections are in the listener's queue, if it has one.
fn queued(script: &Script, layer: &Layer<Script>, listener: Fd) -> Option<usize> {
    let queue = layer.listener(listener).unwrap().hub.lock().queue?;
    script.with(queue.read, |file| file.messages.as_ref().map(std::collections::VecDeque::len))
}

#[test]
fn a_child_accepts_what_its_parent_was_told_of() {
    for (request, frame) in [(REQUEST, frame(BINARY, b"early")), (HIXIE_REQUEST, b"\0ZWFybHk=\xff".to_vec())] {
        let (script, layer, listener) = program();
        let client = script.connect(listener, &early(request, &frame));
        assert!(told(&layer, listener));
        assert_eq!(queued(&script, &layer, listener), None, "nobody to share it with");
        forked(&script, &layer);
        assert!(!script.is_open(client), "it is in the queue");
        assert!(told(&layer, listener));
        let (fd, peer) = layer.accept(listener, libc::SOCK_NONBLOCK).unwrap();
        assert_eq!(peer.to_string(), "127.0.0.1:12345");
        assert_eq!(read(&layer, fd, 99, 0).unwrap(), b"early");
        assert!(script.with(fd, |file| file.nonblocking) && script.take_output(fd).starts_with(b"HTTP/1.1 101 "));
        assert_eq!(layer.ready.load(Ordering::Relaxed), 0);
        assert_eq!(layer.accept(listener, 0), Err(AGAIN));
        assert!(!told(&layer, listener));
    }
}

#[test]
fn invariant_1_a_request_that_is_not_complete_is_shared_with_nobody() {
    let (script, layer, listener) = program();
    let client = script.connect(listener, b"GET ");
    assert!(!told(&layer, listener));
    drop(layer.before_fork());
    assert!(!told(&layer, listener) && script.is_open(client));
    assert_eq!(queued(&script, &layer, listener), Some(0));
    script.arrive(client, &REQUEST.as_bytes()[4..]);
    assert!(told(&layer, listener));
    assert_eq!(queued(&script, &layer, listener), Some(1));
}

#[test]
fn who_only_waits_leaves_it_to_others_at_once() {
    let (script, layer, listener) = parent();
    script.connect(listener, REQUEST.as_bytes());
    script.connect(listener, REQUEST.as_bytes());
    for _ in 0..3 {
        assert!(told(&layer, listener));
        assert_eq!(queued(&script, &layer, listener), Some(1), "the kernel keeps what nobody asks for");
    }
    // It may still be the one who accepts.
    assert!(layer.accept(listener, 0).is_ok() && layer.accept(listener, 0).is_ok());
    assert!(!told(&layer, listener));
}

#[test]
fn who_accepts_leaves_it_to_others_when_it_waits_again() {
    let (script, layer, listener) = parent();
    script.connect(listener, REQUEST.as_bytes());
    assert!(layer.accept(listener, 0).is_ok());
    let client = script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    assert_eq!((queued(&script, &layer, listener), script.is_open(client)), (Some(0), true));
    script.state().calls.clear();
    assert_eq!(layer.accept(listener, 0).unwrap().0, client);
    assert!(!script.state().calls.iter().any(|(call, _)| *call == "receive_passed"), "by way of nothing");
    script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    assert_eq!(queued(&script, &layer, listener), Some(0));
    // Whatever else of ours it waits for.
    let other = script.listener(5902);
    assert!(!told(&layer, other));
    assert_eq!(queued(&script, &layer, listener), Some(1));
    assert!(layer.accept(listener, 0).is_ok());
}

#[test]
fn who_ends_or_closes_the_listener_leaves_it_to_others() {
    for ends in [true, false] {
        let (script, layer, listener) = parent();
        script.connect(listener, REQUEST.as_bytes());
        assert!(layer.accept(listener, 0).is_ok());
        script.connect(listener, REQUEST.as_bytes());
        assert!(told(&layer, listener));
        let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
        script.state().calls.clear();
        if ends {
            layer.at_exit();
        } else {
            layer.close(listener).unwrap();
            assert!(!script.is_open(queue.read) && !script.is_open(queue.write));
        }
        assert!(script.state().calls.contains(&("send_passing", queue.write)));
        assert_eq!(layer.ready.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn what_does_not_fit_stays() {
    for (call, error) in [("queue_pair", libc::EMFILE), ("epoll_ctl", libc::EPERM), ("send_passing", libc::EAGAIN)] {
        let (script, layer, listener) = program();
        let client = script.connect(listener, &early(REQUEST, &frame(BINARY, b"early")));
        assert!(told(&layer, listener));
        let open = script.state().files.len();
        script.state().failing = Some(Failing { call, error, after: 0, times: 9 });
        drop(layer.before_fork());
        script.state().failing = None;
        let made = queued(&script, &layer, listener).is_some();
        assert_eq!((made, script.state().files.len() > open), (call == "send_passing", call != "epoll_ctl"), "{call}");
        assert_eq!(layer.accept(listener, 0).unwrap().0, client);
        assert_eq!(read(&layer, client, 99, 0).unwrap(), b"early");
    }
}

#[test]
fn without_a_number_for_it_a_connection_stays_in_the_queue() {
    let (script, layer, listener) = parent();
    script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    script.state().failing = Some(Failing { call: "dup", error: libc::EMFILE, after: 0, times: 1 });
    assert_eq!(layer.accept(listener, 0), Err(Errno(libc::EMFILE)));
    assert!(told(&layer, listener) && layer.accept(listener, 0).is_ok());
}

#[test]
fn a_message_of_another_build_is_passed_over() {
    let (script, layer, listener) = parent();
    let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
    for bytes in [&b""[..], b"\0\x09another", b"\0"] {
        let other = script.regular(b"");
        script.send_passing(queue.write, bytes, other).unwrap();
    }
    script.connect(listener, REQUEST.as_bytes());
    assert!(layer.accept(listener, 0).is_ok(), "what the kernel has");
    assert_eq!(queued(&script, &layer, listener), Some(0));
}

#[test]
fn a_new_program_accepts_what_the_one_before_was_told_of() {
    let (script, layer, listener) = program();
    let request = REQUEST.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: binary\r\n\r\n");
    script.connect(listener, &early(&request, &frame(BINARY, b"early")));
    assert!(told(&layer, listener));
    let given = layer.give_exec(0);
    let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
    let closes = |script: &Script| [queue.read, queue.write].map(|fd| script.with(fd, |file| file.closes_on_exec));
    assert_eq!((given.has_listener(), closes(&script)), (true, [false; 2]));
    script.state().log.clear();
    let next = started(&script, &given);
    assert_eq!(closes(&script), [true; 2]);
    assert_eq!([queue.read, queue.write].map(|fd| next.slots().get(fd)), [Slot::Private; 2]);
    assert!(told(&next, listener));
    let (fd, _) = next.accept(listener, 0).unwrap();
    assert_eq!(read(&next, fd, 99, 0).unwrap(), b"early");
    let log = String::from_utf8(script.state().log.clone()).unwrap();
    assert!(log.ends_with("127.0.0.1:12345 open: rfc6455, path /chat, subprotocol binary\n"), "{log}");
    assert_eq!(log.lines().count(), 1, "of the port the one before has told: {log}");
    assert!(!told(&next, listener));
}

#[test]
fn an_exec_that_fails_leaves_all_as_it_was() {
    let (script, layer, listener) = program();
    assert!(layer.give_exec(0).assignment().is_none(), "there is nothing to tell of");
    script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    for _ in 0..2 {
        let given = layer.give_exec(0);
        let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
        layer.after_giving(&given);
        assert!(script.with(queue.read, |file| file.closes_on_exec));
        assert!(script.with(queue.write, |file| file.closes_on_exec));
    }
    assert!(told(&layer, listener) && layer.accept(listener, 0).is_ok());
}

#[test]
fn a_variable_that_is_not_true_changes_nothing() {
    let (script, layer, listener) = parent();
    let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
    let next = self::layer(&script, &[]);
    let plain = script.regular(b"");
    for text in [
        format!("{listener:x}:{}:{:x}:{}:{:x}", queue.read, queue.read + 1, queue.write, queue.write),
        format!("{listener:x}:{plain}:{plain:x}:{}:{:x}", queue.write, queue.write),
        format!("{listener:x}:99:63:{}:{:x}", queue.write, queue.write),
        "5901".to_owned(),
    ] {
        next.adopt_queues(&text);
        assert_eq!([queue.read, queue.write, plain].map(|fd| next.slots().get(fd)), [Slot::Unknown; 3], "{text}");
    }
    assert_eq!(queued(&script, &next, listener), None);
    // The queue of a listener that has not come along is nobody's.
    let given = layer.give_exec(0);
    script.state().files.remove(&listener);
    started(&script, &given);
    assert!(!script.is_open(queue.read) && !script.is_open(queue.write));
}

#[test]
fn a_vfork_child_takes_along_what_its_parent_has_made() {
    let (script, layer, listener) = program();
    script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    script.state().pid = 11;
    assert!(layer.give_exec(0).assignment().is_none(), "made by the child it would be lost to the parent");
    layer.before_vfork();
    assert_eq!(queued(&script, &layer, listener), None);
    script.state().pid = 10;
    layer.before_vfork();
    assert_eq!(queued(&script, &layer, listener), Some(1));
    script.state().pid = 11;
    let given = layer.give_exec(0);
    let next = started(&script, &given);
    assert!(next.accept(listener, 0).is_ok());
}

#[test]
fn a_new_program_gets_what_does_not_close() {
    let (script, layer, listener) = program();
    let other = self::layer(&script, &[("WSWRAP_PORT", "80")]);
    let gives = |layer: &Layer<Script>| {
        let (exec, spawn) = (layer.give_exec(0), layer.give_spawn());
        layer.after_giving(&spawn);
        (exec.has_listener(), spawn.has_listener())
    };
    assert!(!other.wait_concerns(listener));
    assert_eq!((gives(&layer), gives(&other)), ((true, true), (false, false)));
    // A number that the environment tells of may be a vfork(2) child's own.
    let listed = script.listener(5901);
    assert!(layer.give_exec(listed - 2).has_listener());
    for fd in [listener, listed] {
        script.with(fd, |file| file.closes_on_exec = true);
    }
    assert_eq!(gives(&layer), (false, false));
    assert!(!layer.give_exec(listed - 2).has_listener());
    layer.meant_for_child(listener);
    assert_eq!(gives(&layer), (false, true));
    assert_eq!(queued(&script, &layer, listener), Some(0), "what comes later may be for the child");
}

#[test]
fn in_a_sandbox_nothing_is_shared() {
    let (script, layer, listener) = program();
    script.connect(listener, REQUEST.as_bytes());
    assert!(told(&layer, listener));
    layer.before_sandbox();
    script.state().calls.clear();
    drop(layer.before_fork());
    layer.before_vfork();
    assert!(!layer.give_exec(0).has_listener());
    assert_eq!(script.state().calls.iter().filter(|(call, _)| *call != "fcntl").count(), 0, "no call of ours");
}
