//! Invariant 2: the kernel tells the truth about reading.

use super::*;
use crate::sys::Errno;

/// Payload, with all that a client may put between.
fn stream() -> (Vec<u8>, Vec<u8>) {
    let payload: Vec<u8> = (0..2000_u32).map(|i| (i * 7 + 3) as u8).collect();
    let mut wire = Vec::new();
    wire.extend(frame(BINARY, &payload[..1]));
    wire.extend(frame(PING, b"are you there"));
    wire.extend(frame(0x02, &payload[1..200]));
    wire.extend(frame(PING, b""));
    wire.extend(frame(0x00, b""));
    wire.extend(frame(0x80, &payload[200..330]));
    wire.extend(frame(0x8a, b"unasked"));
    wire.extend(frame(BINARY, &payload[330..]));
    (wire, payload)
}

#[test]
fn invariant_2_every_split_of_the_stream_reads_the_same() {
    let (wire, payload) = stream();
    for split in 0..=wire.len() {
        let (script, layer, fd) = open(REQUEST);
        let mut got = Vec::new();
        for part in [&wire[..split], &wire[split..]] {
            script.arrive(fd, part);
            loop {
                match read(&layer, fd, 700, 0) {
                    Ok(bytes) => got.extend(bytes),
                    Err(error) => {
                        assert_eq!(error, AGAIN);
                        break;
                    }
                }
            }
        }
        assert!(got == payload, "split at {split}");
    }
}

#[test]
fn invariant_2_any_buffer_size_reads_the_same() {
    let (wire, payload) = stream();
    for size in [1, 2, 3, 5, 64, 125, 126, 127, 199, 1999, 2000, 2001, 70_000] {
        let (script, layer, fd) = open(REQUEST);
        script.arrive(fd, &wire);
        let mut got = Vec::new();
        while let Ok(bytes) = read(&layer, fd, size, 0) {
            assert!(bytes.len() == size || got.len() + bytes.len() == payload.len(), "a short read in mid-stream");
            got.extend(bytes);
        }
        assert!(got == payload, "buffers of {size}");
    }
}

#[test]
fn invariant_2_payload_that_is_not_read_stays_in_the_kernel() {
    for request in [REQUEST, HIXIE_REQUEST] {
        let (script, layer, fd) = open(request);
        let hixie = b"\x00QUJDREVGR0hJSg==\xff".to_vec();
        script.arrive(fd, if request == REQUEST { frame(BINARY, b"ABCDEFGHIJ") } else { hixie }.as_slice());
        for expected in b"ABCDEFGHIJ" {
            assert!(!script.with(fd, |file| file.input.is_empty()), "nothing left, but {expected} was not read");
            assert_eq!(layer.filter_fd(fd, libc::EPOLLIN as u32), libc::EPOLLIN as u32);
            assert_eq!(read(&layer, fd, 1, 0).unwrap(), [*expected]);
        }
        assert_eq!(layer.filter_fd(fd, libc::EPOLLIN as u32), 0);
        assert!(script.with(fd, |file| file.input.is_empty()));
    }
}

#[test]
fn invariant_2_what_is_no_payload_does_not_stay_to_be_reported_again() {
    for junk in [frame(PING, b"x"), frame(BINARY, b""), frame(BINARY, b"x")[..5].to_vec(), vec![0x82]] {
        let (script, layer, fd) = open(REQUEST);
        script.arrive(fd, &junk);
        assert_eq!(layer.filter_fd(fd, (libc::EPOLLIN | libc::EPOLLOUT) as u32), libc::EPOLLOUT as u32);
        assert!(script.with(fd, |file| file.input.is_empty()), "{junk:?}");
        assert_eq!(read(&layer, fd, 9, 0), Err(AGAIN));
    }
}

#[test]
fn a_message_that_was_looked_at_takes_one_call_to_read() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"hello"));
    layer.filter_fd(fd, libc::EPOLLIN as u32);
    script.state().calls.clear();
    assert_eq!(read(&layer, fd, 100, 0).unwrap(), b"hello");
    assert_eq!(script.state().calls, [("recv", fd)]);
}

#[test]
fn a_read_behind_a_look_takes_all_that_fits() {
    for size in [3, 4, 5, 7, 8, 11, 12, 100] {
        let (script, layer, fd) = open(REQUEST);
        for part in [b"abcd", b"efgh"] {
            script.arrive(fd, &frame(BINARY, part));
        }
        script.arrive(fd, &frame(PING, b"?"));
        script.arrive(fd, &frame(BINARY, b"ijkl"));
        layer.filter_fd(fd, libc::EPOLLIN as u32);
        let whole = b"abcdefghijkl";
        assert_eq!(read(&layer, fd, size, 0).unwrap(), whole[..size.min(12)], "{size} bytes");
        let rest = &whole[size.min(12)..];
        assert_eq!(read(&layer, fd, 100, 0).unwrap_or_default(), rest, "behind {size} bytes");
    }
}

#[test]
fn an_error_behind_a_look_is_told_once() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"lost"));
    layer.filter_fd(fd, libc::EPOLLIN as u32);
    script.with(fd, |file| (file.error, file.fin) = (Some(libc::ECONNRESET), true));
    script.with(fd, |file| file.input.clear());
    assert_eq!(read(&layer, fd, 9, 0), Err(Errno(libc::ECONNRESET)));
    assert_eq!(read(&layer, fd, 9, 0), Ok(vec![]));
}

#[test]
fn large_frames_take_two_calls_each() {
    let (script, layer, fd) = open(REQUEST);
    let payload = vec![5; 65536];
    for _ in 0..4 {
        script.arrive(fd, &frame(BINARY, &payload));
    }
    assert!(read(&layer, fd, 65536, 0).unwrap() == payload);
    script.state().calls.clear();
    assert!(read(&layer, fd, 65536, 0).unwrap() == payload);
    assert!(script.state().calls.len() <= 2, "{:?}", script.state().calls);
}

#[test]
fn peek_shows_what_read_gives_and_takes_nothing() {
    for size in [1, 3, 10, 50] {
        let (script, layer, fd) = open(REQUEST);
        script.arrive(fd, &frame(PING, b"p"));
        script.arrive(fd, &frame(BINARY, b"abcde"));
        script.arrive(fd, &frame(BINARY, b"fgh"));
        let expected = &b"abcdefgh"[..size.min(8)];
        assert_eq!(read(&layer, fd, size, libc::MSG_PEEK).unwrap(), expected);
        assert_eq!(read(&layer, fd, size, libc::MSG_PEEK).unwrap(), expected);
        assert_eq!(layer.readable_bytes(fd), Ok(8));
        assert_eq!(read(&layer, fd, size, 0).unwrap(), expected);
    }
}

/// nginx reads as many bytes as it was told of, then waits for an edge.
#[test]
fn however_much_waits_is_counted() {
    for request in [REQUEST, HIXIE_REQUEST] {
        let (script, layer, fd) = open(request);
        let piece = if request == REQUEST {
            frame(BINARY, &[7; 9000])
        } else {
            [b"\x00".as_slice(), "QUJD".repeat(3000).as_bytes(), b"\xff"].concat()
        };
        for _ in 0..100 {
            script.arrive(fd, &piece);
        }
        for left in (0..=100).rev() {
            assert_eq!(layer.readable_bytes(fd), Ok(left * 9000));
            assert_eq!(
                read(&layer, fd, 9000, 0).map(|bytes| bytes.len()),
                if left > 0 { Ok(9000) } else { Err(AGAIN) }
            );
        }
    }
}

#[test]
fn trunc_drops_payload_and_oob_is_refused() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, &[1; 3000]));
    script.arrive(fd, &frame(BINARY, b"kept"));
    assert_eq!(layer.drop_payload(fd, 3000, libc::MSG_TRUNC), Ok(3000));
    assert_eq!(read(&layer, fd, 9, libc::MSG_OOB), Err(Errno(libc::EINVAL)));
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"kept");
}

#[test]
fn a_broken_rule_ends_the_stream_with_its_code() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"good"));
    script.arrive(fd, &[0xf2, 0x81, 0, 0, 0, 0, 1]);
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"good");
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"");
    assert_eq!(script.take_output(fd)[..4], [0x88, 0x02, 0x03, 0xea]);
    assert!(script.with(fd, |file| file.shut_read && file.shut_write));
}

#[test]
fn an_error_of_the_socket_is_told_once_and_not_lost() {
    let (script, layer, fd) = open(REQUEST);
    script.with(fd, |file| file.error = Some(libc::ECONNRESET));
    // A readiness call meets it first.
    assert_ne!(layer.filter_fd(fd, libc::EPOLLIN as u32), 0);
    assert_eq!(read(&layer, fd, 9, 0), Err(Errno(libc::ECONNRESET)));
}

#[test]
fn a_number_that_became_a_file_behind_our_back_is_read_as_one() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, b"text");
    script.with(fd, |file| file.error = Some(libc::ENOTSOCK));
    assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"text");
    assert!(!layer.slots().is_conn(fd));
}

#[test]
fn invariant_2_the_end_of_the_stream_behind_what_is_no_payload_is_seen_in_the_same_look() {
    for (request, noise) in [(REQUEST, frame(PING, b"")), (REQUEST, vec![0x82]), (HIXIE_REQUEST, b"\x00\xff".to_vec())]
    {
        let (script, layer, fd) = open(request);
        script.arrive(fd, &noise);
        script.with(fd, |file| file.fin = true);
        // An edge-triggered wait tells of both once.
        assert_ne!(layer.filter_fd(fd, libc::EPOLLIN as u32), 0);
        assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"");
        let (script, layer, fd) = open(request);
        script.arrive(fd, &noise);
        script.with(fd, |file| file.fin = true);
        assert_eq!(read(&layer, fd, 9, 0).unwrap(), b"", "a read that finds both must not say EAGAIN");
    }
}

#[test]
fn waitall_returns_when_the_buffer_is_full_and_what_there_is_when_it_must_not_wait() {
    let (script, layer, fd) = open(REQUEST);
    script.arrive(fd, &frame(BINARY, b"abc"));
    assert_eq!(read(&layer, fd, 3, libc::MSG_WAITALL).unwrap(), b"abc");
    script.arrive(fd, &frame(BINARY, b"de"));
    assert_eq!(read(&layer, fd, 3, libc::MSG_WAITALL | libc::MSG_DONTWAIT).unwrap(), b"de");
}

#[test]
fn a_flood_of_pings_does_not_hold_up_the_look() {
    let (script, layer, fd) = open(REQUEST);
    for _ in 0..100_000 {
        script.arrive(fd, &frame(PING, b""));
    }
    assert_eq!(layer.filter_fd(fd, libc::EPOLLIN as u32), 0);
    assert!(script.state().calls.len() < 1000);
}
