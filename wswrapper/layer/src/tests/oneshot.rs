//! EPOLLONESHOT with several threads: a thread may still hold an event of the kernel's while another one arms anew.

use std::time::Duration;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLONESHOT, epoll_event};

use super::*;
use crate::sys::Sys;
use crate::wait::Limits;

const ARMED: epoll_event = epoll_event { events: (EPOLLIN | EPOLLONESHOT) as u32, u64: 7 };

/// A layer whose listener is registered once, and the epoll instance.
fn armed() -> (Script, Layer<Script>, Fd, Fd) {
    let script = Script::new();
    let layer = layer(&script, &[]);
    let listener = script.listener(5901);
    let epoll = script.epoll_create().unwrap();
    layer.epoll_created(epoll);
    layer.epoll_ctl(epoll, EPOLL_CTL_ADD, listener, Some(ARMED)).unwrap();
    (script, layer, listener, epoll)
}

/// A thread that waits has an event from the kernel, and has not looked at it yet.
fn event_of_the_kernel(script: &Script, epoll: Fd) -> epoll_event {
    let mut events = [epoll_event { events: 0, u64: 0 }];
    assert_eq!(script.epoll_wait(epoll, &mut events, Some(Duration::ZERO), None), Ok(1));
    events[0]
}

/// How many of the kernel's events the program gets.
fn given(layer: &Layer<Script>, epoll: Fd, event: epoll_event) -> usize {
    layer.translate(epoll, &layer.epoll(epoll).unwrap(), &mut [event])
}

fn wait(layer: &Layer<Script>, epoll: Fd) -> Result<usize> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 4];
    layer.epoll_wait(epoll, &mut events, Limits { timeout: Some(Duration::ZERO), mask: None })
}

#[test]
fn one_of_two_threads_gets_the_event_and_the_other_connection_is_told_of_later() {
    let (script, layer, listener, epoll) = armed();
    let first = script.connect(listener, REQUEST.as_bytes());
    let second = script.connect(listener, REQUEST.as_bytes());
    let event = event_of_the_kernel(&script, epoll);
    assert_eq!(given(&layer, epoll, event), 1);
    // The listener's and its hub's: one event each.
    assert_eq!(given(&layer, epoll, event), 0);
    assert_eq!(layer.accept(listener, 0).unwrap().0, first);
    assert_eq!(wait(&layer, epoll), Ok(0));
    layer.epoll_ctl(epoll, EPOLL_CTL_MOD, listener, Some(ARMED)).unwrap();
    assert_eq!(wait(&layer, epoll), Ok(1));
    assert_eq!(layer.accept(listener, 0).unwrap().0, second);
}
