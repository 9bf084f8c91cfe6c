//! Invariant 5: a connection that leaves the code we sit in is bridged, and nothing is lost on the way.

use libc::{EPOLL_CTL_ADD, EPOLLIN, epoll_event};
use wsproto::Handover;

use super::*;
use crate::bridge::Why;
use crate::slots::Slot;

/// More descriptors than there are.
const MANY: Fd = 100;

/// What the companion was given: its two descriptors, and the state in the pair.
fn companion(script: &Script) -> (Fd, Fd, Handover) {
    let (net, pair) = *script.state().companions.last().unwrap();
    // The program's end was made before.
    let state = script.state().sent_by_closed.get(&(pair - 1)).cloned().unwrap();
    (net, pair, Handover::decode(&state).unwrap())
}

/// Forks: this process is 10, its child is 11.
fn fork(script: &Script, layer: &Layer<Script>) {
    let guard = layer.before_fork();
    script.state().pid = 11;
    layer.in_child(guard);
    script.state().pid = 10;
    layer.pid.store(10, std::sync::atomic::Ordering::Relaxed);
}

fn passes(layer: &Layer<Script>, fd: Fd) {
    layer.before_passing(fd, Why::Passed);
}

#[test]
fn invariant_5_the_state_goes_along_and_the_rest_stays_in_the_queue() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &[frame(BINARY, b"hello"), frame(BINARY, b"world")].concat());
    assert_eq!(read(&layer, fd, 2, 0).unwrap(), b"he");
    passes(&layer, fd);
    let (net, _, mut handover) = companion(&script);
    assert_eq!((net, handover.received), (fd, 2));
    // The numbers of a copy are not tracked here: what is in the queue is read as the companion would.
    let mut input: Vec<u8> = script.state().closed_input(fd);
    let mut out = [0; 100];
    let received = handover.receiver.receive(&mut input, &mut out);
    assert_eq!(&out[..received.produced], b"lloworld");
    assert_eq!(layer.slots().get(fd), Slot::Unknown);
}

#[test]
fn invariant_5_a_header_that_was_looked_at_is_not_seen_twice() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"hello"));
    let waits = layer.payload_waits(&layer.conn(fd).unwrap(), fd, &mut layer.conn(fd).unwrap().receive.lock());
    assert_eq!(waits, Some(true));
    passes(&layer, fd);
    let (_, _, mut handover) = companion(&script);
    let mut out = [0; 100];
    let received = handover.receiver.receive(&mut script.state().closed_input(fd), &mut out);
    assert_eq!(&out[..received.produced], b"hello");
}

#[test]
fn invariant_3_an_open_frame_goes_along() {
    let (script, layer, fd) = open(REQUEST);
    script.with(fd, |file| file.room = 2 + 3);
    assert_eq!(write(&layer, fd, b"hello").unwrap(), 3);
    passes(&layer, fd);
    let (_, _, mut handover) = companion(&script);
    assert_eq!(handover.sent, 3);
    let (head, count) = handover.sender.transmit_head(10);
    assert_eq!((head.as_slice(), count), (&b""[..], 2));
}

#[test]
fn a_registration_is_made_again_with_the_program_s_own_data() {
    let (script, layer, fd) = open(REQUEST);
    let epoll = crate::sys::Sys::epoll_create(&script).unwrap();
    layer.epoll_created(epoll);
    layer.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, Some(epoll_event { events: EPOLLIN as u32, u64: 4711 })).unwrap();
    passes(&layer, fd);
    let mut events = [epoll_event { events: 0, u64: 0 }];
    script.arrive(fd, b"plain");
    let limits = crate::wait::Limits { timeout: Some(std::time::Duration::ZERO), mask: None };
    assert_eq!(layer.epoll_wait(epoll, &mut events, limits), Ok(1));
    assert_eq!({ events[0].u64 }, 4711);
}

#[test]
fn no_close_is_said_for_a_connection_that_was_handed_over() {
    let (script, layer, fd) = open(REQUEST);
    fork(&script, &layer);
    let conn = layer.conn(fd).unwrap();
    passes(&layer, fd);
    assert!(conn.send.lock().owners.is_none());
    script.state().calls.clear();
    layer.finish(&conn, fd);
    assert!(!script.state().calls.iter().any(|call| call.0 == "send"));
}

#[test]
fn an_exec_takes_the_standard_descriptors_and_what_nobody_shares() {
    for (shared, closes_on_exec, bridged) in
        [(false, false, true), (true, false, false), (false, true, false), (true, true, false)]
    {
        let (script, layer, fd) = open(REQUEST);
        if shared {
            fork(&script, &layer);
        }
        script.with(fd, |file| file.closes_on_exec = closes_on_exec);
        layer.before_exec(0);
        assert_eq!(script.state().companions.len(), usize::from(bridged), "{shared} {closes_on_exec}");
        let conn = layer.conn(fd);
        assert_eq!(conn.is_none(), bridged);
        if let (Some(conn), true) = (conn, shared) {
            // Whether the other process, 11, takes it for shared with this one.
            let owners = |pid| {
                script.state().pid = pid;
                let shared = conn.send.lock().owners.as_ref().unwrap().is_shared(&script);
                script.state().pid = 10;
                shared
            };
            assert!(!owners(11), "the new program does not speak for it");
            layer.after_failed_exec();
            assert!(owners(11), "this process uses it again");
        }
        // Those that the environment lists go along whoever shares them.
        if shared && !closes_on_exec {
            layer.before_exec(fd - 2);
            assert_eq!(script.state().companions.len(), 1);
        }
    }
}

#[test]
fn without_a_companion_the_stream_ends_for_both() {
    let (script, layer, fd) = open(REQUEST);
    script.state().no_companion = true;
    script.arrive(fd, &frame(BINARY, b"frames that nobody must read as payload"));
    passes(&layer, fd);
    assert_eq!(script.take_output(fd), [0x88, 2, 0x03, 0xf3]);
    script.with(fd, |file| assert!(file.input.is_empty() && file.shut_read && file.shut_write));
    // A sandbox, or a child that may have no use for it, is no reason to end it.
    let (script, layer, fd) = open(REQUEST);
    script.state().no_companion = true;
    layer.before_sandbox();
    assert_eq!(write(&layer, fd, b"on").unwrap(), 2);
}

#[test]
fn calls_under_way_go_on_with_the_socket_that_took_its_place() {
    let (script, layer, fd) = open(REQUEST);
    let conn = layer.conn(fd).unwrap();
    passes(&layer, fd);
    // The number is looked up before the hand-over, the lock taken behind it.
    layer.slots().replace(fd, Slot::Conn(conn.index()));
    script.arrive(fd, b"plain");
    assert_eq!(read(&layer, fd, 10, 0).unwrap(), b"plain");
    layer.slots().replace(fd, Slot::Conn(conn.index()));
    assert_eq!(write(&layer, fd, b"plain").unwrap(), 5);
    assert_eq!(script.take_output(fd), b"plain");
}

#[test]
fn a_sandbox_sees_no_call_of_ours_in_a_wait() {
    let (script, layer, _) = open(REQUEST);
    let (known, fresh) = (script.listener(5901), script.listener(5901));
    layer.before_sandbox();
    layer.forget(fresh);
    script.state().calls.clear();
    assert!(layer.wait_concerns(known) && !layer.wait_concerns(fresh));
    assert_eq!(script.state().calls, []);
    assert!(layer.accepts(fresh), "accept tells that it listens");
}

#[test]
fn a_sandbox_sees_no_call_at_an_accept_or_a_close_that_the_bare_ones_have_no_part_in() {
    for (blocks, of_an_accept) in [(false, vec![]), (true, vec!["poll"])] {
        let script = Script::new();
        let layer = layer(&script, &[]);
        let listener = script.listener(5901);
        script.with(listener, |file| file.nonblocking = !blocks);
        script.connect(listener, REQUEST.as_bytes());
        layer.before_sandbox();
        script.state().calls.clear();
        let (fd, _) = layer.accept(listener, libc::SOCK_CLOEXEC).unwrap();
        let calls: Vec<&str> = script.state().calls.iter().map(|call| call.0).collect();
        assert_eq!(calls, [of_an_accept, vec!["accept", "recv", "discard", "send"]].concat());
        script.with(fd, |file| (file.nonblocking, file.unsent) = (true, 1000));
        script.state().calls.clear();
        layer.close(fd).unwrap();
        let calls: Vec<&str> = script.state().calls.iter().map(|call| call.0).collect();
        assert_eq!(calls, ["recv", "send", "close"]);
    }
}

#[test]
fn invariant_4_a_number_that_became_another_file_is_not_bridged() {
    for leaves in [
        |layer: &Layer<Script>, _| layer.before_exec(MANY),
        |layer: &Layer<Script>, fd| passes(layer, fd),
        |layer: &Layer<Script>, _| layer.before_sandbox(),
    ] {
        let (script, layer, fd) = open(REQUEST);
        fork(&script, &layer);
        // As login_tty(3) does it: no hook is called.
        let terminal = script.add(kernel::File::default());
        crate::sys::Sys::dup_to(&script, terminal, fd, None).unwrap();
        let conn = layer.conn(fd).unwrap();
        leaves(&layer, fd);
        assert_eq!(script.state().companions, []);
        assert_eq!(layer.slots().get(fd), Slot::Unknown);
        assert!(conn.send.lock().owners.is_none(), "this process does not use it any more");
    }
}

#[test]
fn invariant_5_a_connection_that_becomes_a_standard_descriptor_is_bridged_where_that_can_be() {
    let becomes = |layer: &Layer<Script>, fd, new| {
        layer.dup_to(fd, new, None).unwrap();
        [fd, new].map(|fd| layer.conn(fd).is_some())
    };
    for (new, bridged) in [(0, true), (1, true), (2, true), (100, false)] {
        let (script, layer, fd) = open(REQUEST);
        assert_eq!(becomes(&layer, fd, new), [!bridged; 2], "{new}");
        assert_eq!(script.state().companions.len(), usize::from(bridged), "{new}");
        // No more than once.
        layer.before_exec(MANY);
        assert_eq!(script.state().companions.len(), 1);
    }
    let (script, layer, fd) = open(REQUEST);
    script.state().no_companion = true;
    assert_eq!(becomes(&layer, fd, 0), [true; 2]);
    assert_eq!(write(&layer, 0, b"on").unwrap(), 2);
    // It has the number already.
    let asked = script.state().companions.len();
    layer.dup_to(fd, 0, None).unwrap();
    assert_eq!(script.state().companions.len(), asked);
    let (script, layer, fd) = open(REQUEST);
    layer.before_sandbox();
    let asked = script.state().companions.len();
    becomes(&layer, fd, 0);
    assert_eq!(script.state().companions.len(), asked);
    // The parent goes on with its own.
    let (script, layer, fd) = open(REQUEST);
    script.state().pid = 11;
    layer.dup_to(fd, 0, None).unwrap();
    assert_eq!((script.state().companions.len(), layer.conn(fd).is_some()), (0, true));
}
