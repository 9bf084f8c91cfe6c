//! sendfile(2) and splice(2): what leaves the file or the pipe is what is reported, and what the client gets.

use wsproto::{Dialect, Encoding, Receiver};

use super::writing::payload;
use super::*;
use crate::sys::Errno;

/// Longer than two frames, and no multiple of one.
fn content() -> Vec<u8> {
    (0..150_001_u32).map(|i| (i % 251) as u8).collect()
}

/// What a hixie client makes of `wire`.
fn decoded(mut wire: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0; wire.len()];
    let received = Receiver::new(Dialect::Hixie75, Encoding::Base64).receive(&mut wire, &mut out);
    assert_eq!(received.consumed, wire.len());
    out.truncate(received.produced);
    out
}

#[test]
fn whole_frames_of_a_file_are_moved_by_the_kernel_and_the_rest_is_copied() {
    let (script, layer, fd) = open(REQUEST);
    let file = script.regular(&content());
    assert_eq!(layer.send_file(fd, file, None, 1 << 20), Ok(150_001));
    assert_eq!(payload(&script.take_output(fd)), (content(), true));
    let calls = &script.state().calls;
    assert_eq!(calls.iter().filter(|call| **call == ("sendfile", fd)).count(), 2);
    assert_eq!(calls.iter().filter(|call| call.0 == "pread" && call.1 == file).count(), 2 + 2);
}

#[test]
fn the_position_or_the_offset_moves_on_and_not_the_other() {
    for request in [REQUEST, HIXIE_REQUEST] {
        let (script, layer, fd) = open(request);
        let file = script.regular(&content());
        script.with(file, |file| file.position = 7);
        let mut offset = 100_000;
        assert_eq!(layer.send_file(fd, file, Some(&mut offset), 1000), Ok(1000));
        assert_eq!((offset, script.with(file, |file| file.position)), (101_000, 7));
        assert_eq!(layer.send_file(fd, file, None, 1000), Ok(1000));
        assert_eq!(script.with(file, |file| file.position), 1007);
        let sent = script.take_output(fd);
        let sent = if request == REQUEST { payload(&sent).0 } else { decoded(sent) };
        assert_eq!(sent, [&content()[100_000..101_000], &content()[7..1007]].concat());
    }
}

#[test]
fn at_the_end_of_the_file_there_is_nothing() {
    let (script, layer, fd) = open(REQUEST);
    let file = script.regular(b"short");
    for start in [5, 6, 1 << 40] {
        let mut offset = start;
        assert_eq!(layer.send_file(fd, file, Some(&mut offset), 1 << 20), Ok(0));
        assert_eq!(offset, start);
    }
    assert_eq!(script.take_output(fd), b"");
}

#[test]
fn what_is_no_file_is_refused_by_the_kernel() {
    let (script, layer, fd) = open(REQUEST);
    assert_eq!(layer.send_file(fd, fd, None, 5), Err(Errno(libc::EINVAL)));
    assert_eq!(layer.send_file(fd, 99, None, 5), Err(Errno(libc::EBADF)));
    assert_eq!(script.take_output(fd), b"");
}

#[test]
fn invariant_3_a_file_is_sent_as_far_as_it_is_reported_at_any_cut() {
    for room in (0..40).chain([65_000, 65_545, 65_546, 65_547, 65_556, 65_560, 131_000, 131_090, 131_100]) {
        let (script, layer, fd) = open(REQUEST);
        let file = script.regular(&content());
        script.with(fd, |file| file.room = room);
        let mut done = 0;
        while done < 150_001 {
            match layer.send_file(fd, file, None, 1 << 20) {
                Ok(n) => done += n,
                Err(error) => assert_eq!(error, AGAIN, "cut at {room}"),
            }
            assert_eq!(script.with(file, |file| file.position), done as i64, "cut at {room}");
            script.with(fd, |file| file.room = room.max(40_000));
        }
        assert!(payload(&script.take_output(fd)) == (content(), true), "cut at {room}");
    }
}

#[test]
fn invariant_3_hixie_sends_a_file_as_far_as_it_is_reported() {
    for limit in [3000, 70_000, 300_000] {
        let (script, layer, fd) = open(HIXIE_REQUEST);
        let file = script.regular(&content());
        let (mut done, mut wire) = (0, Vec::new());
        while done < 150_001 {
            // As much room as the kernel says, which makes up for what the client has taken.
            script.with(fd, |file| (file.queue, file.room) = ((0, limit), limit));
            done += layer.send_file(fd, file, None, 1 << 20).unwrap();
            wire.extend(script.take_output(fd));
        }
        assert!(decoded(wire) == content(), "room for {limit}");
    }
}

#[test]
fn invariant_3_a_pipe_keeps_what_is_not_reported() {
    for request in [REQUEST, HIXIE_REQUEST] {
        for limit in [700, 3000, 70_000] {
            let (script, layer, fd) = open(request);
            let pipe = script.pipe(&content());
            let (mut done, mut wire) = (0, Vec::new());
            while done < 150_001 {
                script.with(fd, |file| (file.queue, file.room) = ((0, limit), limit));
                done += layer.send_pipe(fd, pipe, 1 << 30, 0).unwrap();
                assert_eq!(script.with(pipe, |file| file.input.len()), 150_001 - done);
                wire.extend(script.take_output(fd));
            }
            let sent = if request == REQUEST { payload(&wire).0 } else { decoded(wire) };
            assert!(sent == content(), "room for {limit}");
        }
    }
}

#[test]
fn an_empty_pipe_is_waited_for_or_not() {
    let (script, layer, fd) = open(REQUEST);
    let pipe = script.pipe(b"");
    assert_eq!(layer.send_pipe(fd, pipe, 10, libc::SPLICE_F_NONBLOCK), Err(AGAIN));
    assert_eq!(layer.send_pipe(fd, pipe, 0, 0), Ok(0));
    assert_eq!(layer.send_pipe(fd, pipe, 10, 1 << 30), Err(Errno(libc::EINVAL)));
    assert_eq!(layer.send_pipe(fd, fd, 10, 0), Err(Errno(libc::EINVAL)));
    assert_eq!(script.take_output(fd), b"");
}
