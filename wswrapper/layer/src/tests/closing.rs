//! Invariant 5: a wrapped connection stays wrapped wherever it goes, and ends once.

use super::*;
use crate::slots::Slot;
use crate::sys::Errno;

const CLOSE_1000: [u8; 4] = [0x88, 0x02, 0x03, 0xe8];

#[test]
fn invariant_5_the_last_close_sends_close() {
    let (script, layer, fd) = open(REQUEST);
    let copy = script.connect(script.listener(1), b"");
    layer.duplicated(fd, copy);
    let output = || script.with(fd, |file| file.output.clone());
    layer.close(copy).unwrap();
    assert_eq!(output(), b"");
    assert!(layer.slots().is_conn(fd) && !layer.slots().is_conn(copy));
    script.with(fd, |file| file.room = usize::MAX);
    let before = script.state().calls.len();
    layer.close(fd).unwrap();
    let calls: Vec<&str> = script.state().calls[before..].iter().map(|call| call.0).collect();
    assert_eq!(calls, ["recv", "send", "unsent", "close"]);
    assert!(!layer.slots().is_conn(fd));
}

/// Forks: this process is 10, its child is 11, and the layer is shared, since both would do the same with its own copy.
fn fork(script: &Script, layer: &Layer<Script>, fd: Fd) {
    let guard = layer.before_fork();
    script.state().pid = 11;
    layer.in_child(guard);
    script.state().pid = 10;
    layer.conn(fd).unwrap().fds.store(1, std::sync::atomic::Ordering::Relaxed);
}

fn sent(script: &Script) -> bool {
    script.state().calls.iter().any(|call| call.0 == "send")
}

#[test]
fn invariant_5_a_close_with_another_process_left_says_nothing() {
    for closer in [10, 11] {
        let (script, layer, fd) = open(REQUEST);
        fork(&script, &layer, fd);
        script.state().pid = closer;
        layer.finish(&layer.conn(fd).unwrap(), fd);
        assert!(!sent(&script));
    }
}

#[test]
fn invariant_5_the_last_process_sends_close_whoever_it_is_and_however_the_other_went() {
    for (last, other_is_killed) in [(10, false), (11, false), (10, true), (11, true)] {
        let (script, layer, fd) = open(REQUEST);
        fork(&script, &layer, fd);
        let conn = layer.conn(fd).unwrap();
        if other_is_killed {
            script.state().processes = vec![last];
        } else {
            script.state().pid = 21 - last;
            assert!(!conn.send.lock().owners.as_ref().unwrap().leave(&script));
        }
        script.state().pid = last;
        layer.finish(&conn, fd);
        assert_eq!(script.take_output(fd), CLOSE_1000);
    }
}

#[test]
fn shutdown_sends_close_and_the_client_is_still_heard() {
    let (script, layer, fd) = open(REQUEST);
    layer.shutdown(fd, libc::SHUT_WR).unwrap();
    assert_eq!(script.take_output(fd), CLOSE_1000);
    assert!(script.with(fd, |file| file.shut_write && !file.shut_read));
    script.arrive(fd, &frame(BINARY, b"more"));
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"more");
    assert_eq!(write(&layer, fd, b"x"), Err(Errno(libc::EPIPE)));
    script.arrive(fd, &frame(CLOSE, &[]));
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"");
}

#[test]
fn a_full_queue_does_not_keep_close_back() {
    for closes in [true, false] {
        let (script, layer, fd) = open(REQUEST);
        write(&layer, fd, b"last words").unwrap();
        script.take_output(fd);
        script.with(fd, |file| file.room = 0);
        if closes {
            layer.finish(&layer.conn(fd).unwrap(), fd);
        } else {
            layer.shutdown(fd, libc::SHUT_WR).unwrap();
        }
        assert_eq!(script.take_output(fd), CLOSE_1000);
    }
}

#[test]
fn a_shutdown_that_the_kernel_refuses_says_nothing() {
    let (script, layer, fd) = open(REQUEST);
    script.take_output(fd);
    let _ = layer.shutdown(fd, 9);
    assert_eq!(script.take_output(fd), b"");
}

#[test]
fn exit_closes_what_is_open() {
    let (script, layer, fd) = open(REQUEST);
    layer.at_exit();
    assert_eq!(script.take_output(fd), CLOSE_1000);
}

#[test]
fn a_close_takes_what_is_no_payload_off_the_queue() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(PING, b"last"));
    script.arrive(fd, &frame(CLOSE, &[0x03, 0xe8]));
    layer.finish(&layer.conn(fd).unwrap(), fd);
    assert!(script.with(fd, |file| file.input.is_empty()));
    let wire = script.take_output(fd);
    assert!(wire.ends_with(&CLOSE_1000), "{wire:?}");
}

#[test]
fn the_librarys_own_descriptors_are_not_the_programs_to_close() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let pending = script.connect(listener, b"GET");
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    for fd in 0..script.state().files.len() as Fd + 3 {
        if layer.slots().get(fd) == Slot::Private {
            assert_eq!(layer.close(fd), Err(Errno(libc::EBADF)));
            assert_eq!(layer.dup_above(fd, libc::F_DUPFD, 0), Err(Errno(libc::EBADF)));
            assert_eq!(layer.dup_to(fd, 100, None), Err(Errno(libc::EBADF)));
        }
    }
    assert!(script.is_open(pending));
    // They go with the listener.
    layer.close(listener).unwrap();
    assert!(script.state().files.is_empty());
}

#[test]
fn a_child_forgets_the_handshakes_of_its_parent() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let pending = script.connect(listener, b"GET");
    assert_eq!(layer.accept(listener, 0), Err(AGAIN));
    let guard = layer.before_fork();
    layer.in_child(guard);
    assert!(!script.is_open(pending) && script.is_open(listener));
    let next = script.connect(listener, REQUEST.as_bytes());
    assert_eq!(layer.accept(listener, 0).unwrap().0, next);
}
