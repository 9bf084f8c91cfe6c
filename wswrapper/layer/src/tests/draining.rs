//! A connection that the program has closed while the kernel has bytes to send.

use std::sync::atomic::Ordering;
use std::time::Duration;

use libc::{POLLIN, pollfd};

use super::*;
use crate::slots::Slot;
use crate::sys::Sys;
use crate::wait::Limits;

/// A program with one connection, on which `unsent` bytes are under way, and its listener.
fn sending(unsent: usize) -> (Script, Layer<Script>, Fd, Fd) {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let fd = next(&script, &layer, listener, unsent);
    (script, layer, listener, fd)
}

/// A further one.
fn next(script: &Script, layer: &Layer<Script>, listener: Fd, unsent: usize) -> Fd {
    script.connect(listener, REQUEST.as_bytes());
    let (fd, _) = layer.accept(listener, 0).unwrap();
    script.with(fd, |file| (file.nonblocking, file.unsent) = (true, unsent));
    fd
}

/// The number under which the socket `fd` is open in the end.
fn kept(script: &Script, fd: Fd) -> Option<Fd> {
    script.state().files.iter().find(|(_, file)| file.copy_of == Some(fd)).map(|(number, _)| *number)
}

/// The program looks whether somebody connects.
fn look(layer: &Layer<Script>, listener: Fd) {
    let mut polls = [pollfd { fd: listener, events: POLLIN, revents: 0 }];
    layer.wait_concerns(listener);
    assert_eq!(layer.poll(&mut polls, Limits { timeout: Some(Duration::ZERO), mask: None }), Ok(0));
}

#[test]
fn what_a_client_sends_behind_a_close_does_not_take_back_what_is_under_way() {
    let (script, layer, listener, fd) = sending(1000);
    layer.close(fd).unwrap();
    assert!(!script.is_open(fd));
    let kept = kept(&script, fd).unwrap();
    for _ in 0..3 {
        script.arrive(kept, &frame(PING, b"ping"));
        look(&layer, listener);
        assert!(script.is_open(kept) && script.with(kept, |file| file.input.is_empty()));
    }
    script.with(kept, |file| file.fin = true);
    look(&layer, listener);
    assert!(!script.is_open(kept));
}

#[test]
fn who_sends_without_end_is_not_listened_to_for_ever() {
    let (script, layer, listener, fd) = sending(1000);
    layer.close(fd).unwrap();
    let kept = kept(&script, fd).unwrap();
    for _ in 0..2 {
        assert!(script.is_open(kept));
        script.arrive(kept, &[0; 600_000]);
        look(&layer, listener);
    }
    assert!(!script.is_open(kept));
}

#[test]
fn who_takes_nothing_is_waited_for_once_and_who_takes_some_once_more() {
    let (script, layer, listener, fd) = sending(1000);
    layer.close(fd).unwrap();
    let kept = kept(&script, fd).unwrap();
    let wait = |seconds| {
        script.state().now += Duration::from_secs(seconds);
        look(&layer, listener);
        script.is_open(kept)
    };
    assert!(wait(59));
    script.with(kept, |file| file.unsent = 500);
    assert!(wait(2) && wait(59));
    assert!(!wait(2));

    let (script, layer, listener, fd) = sending(1000);
    layer.close(fd).unwrap();
    let kept = self::kept(&script, fd).unwrap();
    script.with(kept, |file| file.unsent = 0);
    script.state().now += Duration::from_secs(61);
    look(&layer, listener);
    assert!(!script.is_open(kept), "all is sent");
}

#[test]
fn a_close_that_nothing_speaks_against_is_one() {
    // All is sent.
    let (script, layer, _, fd) = sending(0);
    layer.close(fd).unwrap();
    assert_eq!(kept(&script, fd), None);
    // The program has said how it is to be.
    let (script, layer, _, fd) = sending(1000);
    script.with(fd, |file| file.lingers = true);
    layer.close(fd).unwrap();
    assert_eq!(kept(&script, fd), None);
    // What the client has sent is not read, and it is to know.
    let (script, layer, _, fd) = sending(1000);
    script.arrive(fd, &frame(BINARY, b"unread"));
    layer.close(fd).unwrap();
    assert_eq!(kept(&script, fd), None);
    // Nobody waits for clients here.
    let (script, layer, listener, fd) = sending(1000);
    layer.close(listener).unwrap();
    layer.close(fd).unwrap();
    assert_eq!(kept(&script, fd), None);
}

#[test]
fn a_child_leaves_it_to_who_accepts() {
    for (exits, keeps_listener) in [(false, true), (false, false), (true, true), (true, false)] {
        let (script, layer, listener, fd) = sending(1000);
        let child = self::layer(&script, &[]);
        // What the child has of its parent: the queue's writing end, and the connection.
        drop(layer.before_fork());
        let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
        child.keep_one(std::iter::once(queue.write));
        let agreed = std::mem::take(&mut *layer.conn(fd).unwrap().receive.lock());
        let conn = child.conns.allocate().unwrap();
        *conn.receive.lock() = agreed;
        conn.fds.store(1, Ordering::Relaxed);
        child.slots().replace(fd, Slot::Conn(conn.keep()));
        child.note(fd);
        if keeps_listener {
            assert!(child.wait_concerns(listener));
        }
        if exits {
            child.at_exit();
            // As the kernel does then.
            script.close(fd).unwrap();
        } else {
            child.close(fd).unwrap();
        }
        assert!(!script.is_open(fd));
        look(&layer, listener);
        let kept =
            script.state().files.iter().find(|(_, file)| file.unsent == 1000).map(|(number, _)| *number).unwrap();
        script.arrive(kept, &frame(PING, b"ping"));
        look(&layer, listener);
        assert!(script.is_open(kept) && script.with(kept, |file| file.input.is_empty()));
        script.with(kept, |file| file.fin = true);
        look(&layer, listener);
        assert!(!script.is_open(kept));
    }
}

#[test]
fn who_exits_leaves_it_to_the_children() {
    let (script, layer, listener, _) = sending(0);
    drop(layer.before_fork());
    let fd = next(&script, &layer, listener, 1000);
    let queue = layer.listener(listener).unwrap().hub.lock().queue.unwrap();
    layer.at_exit();
    assert!(script.state().calls.contains(&("send_passing", queue.write)));
    assert!(script.is_open(fd));
}

#[test]
fn a_child_keeps_one_queue_that_still_has_a_listener() {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let [first, second, third] = [(); 3].map(|()| layer.sys.queue_pair().unwrap().1);
    layer.keep_one([first, second].into_iter());
    layer.keep_one([second, first].into_iter());
    layer.keep_one(std::iter::empty());
    assert!([first, second].iter().all(|end| script.is_open(*end)));
    layer.keep_one([second, third].into_iter());
    assert!(!script.is_open(first) && script.is_open(second) && script.is_open(third));
}

#[test]
fn handshakes_come_before_what_is_closed() {
    let (script, layer, listener, fd) = sending(1000);
    script.state().limit = 8;
    let asking = script.connect(listener, b"GET ");
    look(&layer, listener);
    layer.close(fd).unwrap();
    let kept = kept(&script, fd).unwrap();
    let next = script.connect(listener, b"GET ");
    look(&layer, listener);
    assert!(script.is_open(asking) && script.is_open(next) && !script.is_open(kept));
}
