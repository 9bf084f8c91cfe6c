//! select, poll and epoll with descriptors of ours.

use std::time::Duration;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLONESHOT, EPOLLOUT, POLLIN, epoll_event, pollfd};

use super::*;
use crate::poll::FdSets;
use crate::wait::Limits;

const AT_ONCE: Limits<'_> = Limits { timeout: Some(Duration::ZERO), mask: None };
const NEVER: Limits<'_> = Limits { timeout: None, mask: None };

fn event(events: i32, data: u64) -> Option<epoll_event> {
    Some(epoll_event { events: events as u32, u64: data })
}

fn wait(layer: &Layer<Script>, epoll: Fd, limits: Limits<'_>) -> Vec<(u32, u64)> {
    let mut events = [epoll_event { events: 0, u64: 0 }; 8];
    let n = layer.epoll_wait(epoll, &mut events, limits).unwrap();
    events[..n].iter().map(|event| (event.events, event.u64)).collect()
}

fn epoll(script: &Script, layer: &Layer<Script>) -> Fd {
    use crate::sys::Sys;
    let epoll = script.epoll_create().unwrap();
    layer.epoll_created(epoll);
    epoll
}

#[test]
fn epoll_gives_the_programs_data_and_drops_false_input() {
    let (script, layer, fd) = open(REQUEST);
    let epoll = epoll(&script, &layer);
    layer.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event(EPOLLIN, 0xabcd)).unwrap();
    script.arrive(fd, &frame(PING, b""));
    assert_eq!(wait(&layer, epoll, AT_ONCE), []);
    script.arrive(fd, &frame(BINARY, b"x"));
    assert_eq!(wait(&layer, epoll, NEVER), [(EPOLLIN as u32, 0xabcd)]);
    layer.epoll_ctl(epoll, EPOLL_CTL_MOD, fd, event(EPOLLOUT, 7)).unwrap();
    assert_eq!(wait(&layer, epoll, NEVER), [(EPOLLOUT as u32, 7)]);
    layer.epoll_ctl(epoll, EPOLL_CTL_DEL, fd, None).unwrap();
    script.arrive(fd, &frame(BINARY, b"x"));
    assert_eq!(wait(&layer, epoll, AT_ONCE), []);
}

#[test]
fn a_one_shot_is_spent_by_payload_and_by_nothing_else() {
    let (script, layer, fd) = open(REQUEST);
    let epoll = epoll(&script, &layer);
    layer.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event(EPOLLIN | EPOLLONESHOT, 1)).unwrap();
    for _ in 0..3 {
        script.arrive(fd, &frame(PING, b""));
        assert_eq!(wait(&layer, epoll, AT_ONCE), []);
    }
    script.arrive(fd, &frame(BINARY, b"x"));
    assert_eq!(wait(&layer, epoll, NEVER), [(EPOLLIN as u32, 1)]);
    assert_eq!(wait(&layer, epoll, AT_ONCE), []);
}

#[test]
fn a_listener_is_reported_when_accept_succeeds() {
    for oneshot in [0, EPOLLONESHOT] {
        let script = Script::new();
        let layer = layer(&script, &[]);
        let listener = script.listener(5901);
        let epoll = epoll(&script, &layer);
        assert!(layer.epoll_ctl_concerns(listener));
        layer.epoll_ctl(epoll, EPOLL_CTL_ADD, listener, event(EPOLLIN | oneshot, 5)).unwrap();
        let client = script.connect(listener, b"GET ");
        assert_eq!(wait(&layer, epoll, AT_ONCE), []);
        script.arrive(client, &REQUEST.as_bytes()[4..]);
        assert_eq!(wait(&layer, epoll, NEVER), [(EPOLLIN as u32, 5)]);
        let again = wait(&layer, epoll, AT_ONCE);
        assert_eq!(again, if oneshot == 0 { vec![(EPOLLIN as u32, 5)] } else { vec![] });
        assert_eq!(layer.accept(listener, 0).unwrap().0, client);
        assert_eq!(wait(&layer, epoll, AT_ONCE), []);
    }
}

#[test]
fn a_nested_instance_is_reported_when_it_has_an_event_to_give() {
    let (script, layer, fd) = open(REQUEST);
    let (inner, outer) = (epoll(&script, &layer), epoll(&script, &layer));
    layer.epoll_ctl(inner, EPOLL_CTL_ADD, fd, event(EPOLLIN, 1)).unwrap();
    layer.epoll_ctl(outer, EPOLL_CTL_ADD, inner, event(EPOLLIN, 2)).unwrap();
    script.arrive(fd, &frame(PING, b""));
    assert_eq!(wait(&layer, outer, AT_ONCE), []);
    script.arrive(fd, &frame(BINARY, b"x"));
    assert_eq!(wait(&layer, outer, NEVER), [(EPOLLIN as u32, 2)]);
    assert_eq!(wait(&layer, inner, NEVER), [(EPOLLIN as u32, 1)]);
}

#[test]
fn poll_reports_listeners_and_connections_by_the_same_rules() {
    let (script, layer, fd) = open(REQUEST);
    let listener = script.listener(5902);
    let poll = |expected: [i16; 2]| {
        let mut fds = [fd, listener].map(|fd| pollfd { fd, events: POLLIN, revents: 0 });
        assert!(layer.wait_concerns(listener));
        let n = layer.poll(&mut fds, AT_ONCE).unwrap();
        assert_eq!(fds.map(|poll| poll.revents), expected);
        assert_eq!(n, expected.iter().filter(|revents| **revents != 0).count());
    };
    let client = script.connect(listener, b"GET ");
    script.arrive(fd, &frame(PING, b""));
    poll([0, 0]);
    script.arrive(client, &REQUEST.as_bytes()[4..]);
    poll([0, POLLIN]);
    script.arrive(fd, &frame(BINARY, b"x"));
    poll([POLLIN, POLLIN]);
    layer.accept(listener, 0).unwrap();
    poll([POLLIN, 0]);
}

#[test]
fn select_counts_bits_and_clears_the_others() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"x"));
    let (mut read, mut write) = ([1_u64 << fd], [1_u64 << fd]);
    let sets = FdSets { read: Some(&mut read), write: Some(&mut write), except: None };
    let (result, left) = layer.select(64, sets, AT_ONCE);
    assert_eq!((result, left), (Ok(2), Some(Duration::ZERO)));
    assert_eq!((read[0], write[0]), (1 << fd, 1 << fd));
    read_all(&layer, fd);
    let sets = FdSets { read: Some(&mut read), write: None, except: None };
    assert_eq!(layer.select(64, sets, AT_ONCE).0, Ok(0));
    assert_eq!(read[0], 0);
    let mut bad = [1_u64 << 60];
    let sets = FdSets { read: Some(&mut bad), write: None, except: None };
    assert_eq!(layer.select(64, sets, AT_ONCE).0, Err(crate::sys::Errno(libc::EBADF)));
}

fn read_all(layer: &Layer<Script>, fd: Fd) {
    while read(layer, fd, 100, 0).is_ok() {}
}

/// More pings than one call passes over.
fn flood(script: &Script, fd: Fd) -> usize {
    let pings = frame(PING, &[0; 125]).repeat(60_000);
    script.arrive(fd, &pings);
    pings.len()
}

/// Who is told that there is something blocks in reading it.
#[test]
fn invariant_2_a_flood_of_pings_is_nothing_to_be_read() {
    let (script, layer, fd) = open(REQUEST);
    let epoll = epoll(&script, &layer);
    layer.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event(EPOLLIN, 1)).unwrap();
    flood(&script, fd);
    while script.with(fd, |file| !file.input.is_empty()) {
        let mut polls = [pollfd { fd, events: POLLIN, revents: 0 }];
        assert_eq!(layer.poll(&mut polls, AT_ONCE), Ok(0));
        assert_eq!(wait(&layer, epoll, AT_ONCE), []);
    }
    script.arrive(fd, &frame(BINARY, b"x"));
    assert_eq!(wait(&layer, epoll, NEVER), [(EPOLLIN as u32, 1)]);
}

#[test]
fn a_read_that_does_not_wait_gives_others_their_turn_in_a_flood() {
    for flags in [libc::MSG_DONTWAIT, libc::MSG_DONTWAIT | libc::MSG_PEEK, 0] {
        let (script, layer, fd) = open(REQUEST);
        script.with(fd, |file| file.nonblocking = flags == 0);
        let sent = flood(&script, fd);
        assert_eq!(read(&layer, fd, 9, flags), Err(AGAIN));
        let left = script.with(fd, |file| file.input.len());
        assert!(left > 0 && left < sent, "{left} of {sent}");
    }
}

#[test]
fn a_nested_instance_is_looked_into_for_so_long() {
    let (script, layer, fd) = open(REQUEST);
    let (inner, outer) = (epoll(&script, &layer), epoll(&script, &layer));
    layer.epoll_ctl(inner, EPOLL_CTL_ADD, fd, event(EPOLLIN, 1)).unwrap();
    layer.epoll_ctl(outer, EPOLL_CTL_ADD, inner, event(EPOLLIN, 2)).unwrap();
    for _ in 0..4 {
        flood(&script, fd);
    }
    let _ = wait(&layer, outer, AT_ONCE);
    assert!(script.with(fd, |file| !file.input.is_empty()));
}
