//! Invariant 3: a write that is reported is a write that is sent.

use super::*;
use crate::sys::Errno;

/// The payload of the unmasked frames in `wire`, and whether the last is complete.
pub(super) fn payload(mut wire: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    while !wire.is_empty() {
        let (len, head) = match wire.get(1) {
            Some(126) if wire.len() >= 4 => (usize::from(u16::from_be_bytes([wire[2], wire[3]])), 4),
            Some(127) if wire.len() >= 10 => (u64::from_be_bytes(wire[2..10].try_into().unwrap()) as usize, 10),
            Some(len @ 0..126) => (usize::from(*len), 2),
            _ => return (out, false),
        };
        if wire[0] == BINARY {
            out.extend(&wire[head..wire.len().min(head + len)]);
        }
        if wire.len() < head + len {
            return (out, false);
        }
        wire = &wire[head + len..];
    }
    (out, true)
}

#[test]
fn a_write_is_one_frame() {
    let (script, layer, fd) = open(REQUEST);
    assert_eq!(layer.send(fd, &[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")], 0), Ok(3));
    assert_eq!(script.take_output(fd), b"\x82\x03abc");
    assert_eq!(script.state().calls, [("send", fd)]);
}

#[test]
fn a_large_write_is_frames_of_64_kib() {
    let (script, layer, fd) = open(REQUEST);
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(write(&layer, fd, &bytes), Ok(bytes.len()));
    let wire = script.take_output(fd);
    assert_eq!(payload(&wire), (bytes, true));
    assert_eq!(wire[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn invariant_3_the_report_is_what_the_kernel_took_at_every_cut() {
    for (len, header) in [(1, 2), (100, 2), (125, 2), (126, 4), (300, 4)] {
        let bytes: Vec<u8> = (0..len as u32).map(|i| i as u8).collect();
        for cut in 0..=len + header {
            let (script, layer, fd) = open(REQUEST);
            script.with(fd, |file| file.room = cut);
            let first = write(&layer, fd, &bytes);
            let reported = match first {
                Err(error) => {
                    assert_eq!(error, AGAIN);
                    0
                }
                Ok(n) => n,
            };
            assert_eq!(reported, cut.saturating_sub(header), "{len} bytes, cut at {cut}");
            // The program changes its mind: what it writes next fills the frame, in two calls.
            script.with(fd, |file| file.room = usize::MAX);
            let rest = vec![0xee; len - reported];
            for half in [&rest[..rest.len() / 2], &rest[rest.len() / 2..]] {
                assert_eq!(write(&layer, fd, half), Ok(half.len()));
            }
            let (got, whole) = payload(&script.take_output(fd));
            assert!(whole && got == [&bytes[..reported], &rest].concat(), "{len} bytes, cut at {cut}");
        }
    }
}

#[test]
fn invariant_3_a_blocking_write_waits_for_the_rest_of_a_short_frame() {
    for cut in 0..=102 {
        let (script, layer, fd) = open(REQUEST);
        let bytes = [7; 100];
        script.with(fd, |file| {
            file.nonblocking = false;
            // What the attempt takes, and what the wait brings.
            (file.room, file.more) = (cut, usize::MAX);
        });
        assert_eq!(write(&layer, fd, &bytes), Ok(100), "cut at {cut}");
        assert_eq!(script.take_output(fd), [&[0x82, 100][..], &bytes].concat(), "cut at {cut}");
    }
}

#[test]
fn an_error_of_a_short_write_is_told_once_and_nothing_is_sent_again() {
    let (script, layer, fd) = open(REQUEST);
    script.state().failing = Some(Failing { call: "send", error: libc::ECONNRESET, after: 0, times: 1 });
    assert_eq!(write(&layer, fd, b"ab"), Err(Errno(libc::ECONNRESET)));
    assert_eq!(script.state().calls, [("send", fd)]);
    assert_eq!(write(&layer, fd, b"cd"), Ok(2));
    assert_eq!(script.take_output(fd), b"\x82\x02cd");
}

#[test]
fn invariant_3_hixie_loses_and_repeats_nothing_at_any_cut() {
    use wsproto::{Dialect, Encoding, Receiver};
    let bytes: Vec<u8> = (0..40).collect();
    for cut in 0..=60 {
        let (script, layer, fd) = open(HIXIE_REQUEST);
        script.with(fd, |file| file.room = cut);
        let mut done = 0;
        for room in [0, usize::MAX, usize::MAX, usize::MAX] {
            match write(&layer, fd, &bytes[done..]) {
                Ok(n) => done += n,
                Err(error) => assert_eq!(error, AGAIN),
            }
            script.with(fd, |file| file.room = file.room.max(room));
        }
        assert_eq!(done, bytes.len(), "cut at {cut}");
        let (mut wire, mut out) = (script.take_output(fd), [0; 80]);
        let received = Receiver::new(Dialect::Hixie75, Encoding::Base64).receive(&mut wire, &mut out);
        assert_eq!((received.consumed, &out[..received.produced]), (wire.len(), &bytes[..]), "cut at {cut}");
    }
}

#[test]
fn a_pong_waits_for_the_end_of_an_open_frame() {
    let (script, layer, fd) = open(REQUEST);
    script.with(fd, |file| file.room = 5);
    assert_eq!(write(&layer, fd, b"abcdef"), Ok(3));
    script.with(fd, |file| file.room = usize::MAX);
    script.arrive(fd, &frame(PING, b"now"));
    assert_eq!(read(&layer, fd, 9, 0), Err(AGAIN));
    assert_eq!(script.take_output(fd), b"\x82\x06abc");
    assert_eq!(write(&layer, fd, b"def"), Ok(3));
    assert_eq!(script.take_output(fd), b"def\x8a\x03now");
}

#[test]
fn a_flood_of_pings_is_answered_by_the_latest_pong() {
    let (script, layer, fd) = open(REQUEST);
    script.with(fd, |file| file.room = 0);
    for i in 0..1000 {
        script.arrive(fd, &frame(PING, format!("{i}").as_bytes()));
        assert_eq!(read(&layer, fd, 9, 0), Err(AGAIN));
    }
    script.with(fd, |file| file.room = usize::MAX);
    layer.filter_fd(fd, libc::EPOLLIN as u32);
    let wire = script.take_output(fd);
    assert!(wire.ends_with(b"\x8a\x03999"), "{wire:?}");
    assert!(wire.len() <= 12, "{wire:?}");
}

#[test]
fn a_write_after_the_clients_close_is_a_broken_pipe() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(CLOSE, &[0x03, 0xe8]));
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"");
    assert_eq!(script.take_output(fd), [0x88, 0x02, 0x03, 0xe8]);
    assert_eq!(write(&layer, fd, b"x"), Err(Errno(libc::EPIPE)));
    assert_eq!(script.take_output(fd), b"");
}

#[test]
fn flags_that_no_websocket_carries_are_refused() {
    let (_script, layer, fd) = open(REQUEST);
    assert_eq!(layer.send(fd, &[IoSlice::new(b"x")], libc::MSG_OOB), Err(Errno(libc::EINVAL)));
    assert_eq!(layer.send(fd, &[IoSlice::new(b"x")], libc::MSG_ZEROCOPY), Err(Errno(libc::ENOBUFS)));
}

#[test]
fn invariant_3_no_base64_frame_is_begun_that_the_kernel_might_cut() {
    let (script, layer, fd) = open(HIXIE_REQUEST);
    let bytes = [7; 100_000];
    // A third is free: writable, and half of that is surely taken.
    script.with(fd, |file| file.queue = (200_000, 300_000));
    let wrote = write(&layer, fd, &bytes);
    assert!(matches!(wrote, Ok(37_000..=38_000)), "{wrote:?}");
    let wire = script.take_output(fd);
    assert!(wire.len() <= 50_000 && wire.ends_with(&[0xff]));
    // Less is free: the kernel calls the socket full, and so do we.
    script.with(fd, |file| (file.queue, file.room) = ((250_000, 300_000), 0));
    assert_eq!(write(&layer, fd, &bytes), Err(AGAIN));
    assert_eq!(script.take_output(fd), b"");
}
