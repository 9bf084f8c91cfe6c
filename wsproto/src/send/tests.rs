//! Frames on the wire, and the rule of the module at each place where a kernel can cut.

use super::*;
use crate::Receiver;
use crate::fuzzing::{handed_over, peer};

fn binary() -> Sender {
    Sender::new(Dialect::Rfc6455, Encoding::Binary)
}

/// What a write of `payload` puts out, of which the kernel takes `room` bytes; and what the program is told.
fn write(sender: &mut Sender, payload: &[u8], room: usize) -> (Vec<u8>, usize) {
    let mut out = vec![0; 2 * payload.len() + 512];
    let filled = sender.transmit_encoded(payload, &mut out);
    let sent = filled.min(room);
    let told = sender.transmitted_encoded(sent, &out[..filled]);
    out.truncate(sent);
    // What follows is another process's.
    *sender = handed_over(&Receiver::new(Dialect::Rfc6455, Encoding::Binary), sender).1;
    (out, told)
}

/// What goes out without payload, all of it.
fn control(sender: &mut Sender) -> Vec<u8> {
    let head = sender.transmit_control();
    assert_eq!(sender.transmitted(head.as_slice().len()), 0);
    head.as_slice().to_vec()
}

#[test]
fn a_sender_is_small() {
    assert!(size_of::<Sender>() <= 464, "{}", size_of::<Sender>());
}

#[test]
fn headers_have_the_shortest_form() {
    for (len, expected) in [
        (1, &[0x82, 1][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65535, &[0x82, 126, 0xff, 0xff]),
        (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (1 << 30, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut sender = binary();
        let (head, count) = sender.transmit_head(len);
        assert_eq!((head.as_slice(), count), (expected, len.min(Sender::MAX_FRAME)));
    }
}

#[test]
fn a_short_frame_is_whole_and_nothing_goes_in_front_of_it() {
    let short =
        |sender: &Sender, payload: &[u8]| sender.short_frame(payload, &mut [0; 127]).map(|frame| frame.to_vec());
    assert_eq!(short(&binary(), b"ab"), Some(vec![0x82, 2, b'a', b'b']));
    assert_eq!(short(&binary(), &[7; 125]).map(|frame| frame.len()), Some(127));
    assert_eq!(binary().short_frame(&[7; 125], &mut [0; 126]), None);
    // No payload, or a longer header.
    assert_eq!((short(&binary(), b""), short(&binary(), &[7; 126])), (None, None));
    assert_eq!(short(&Sender::new(Dialect::Rfc6455, Encoding::Base64), b"ab"), None);
    assert_eq!(short(&Sender::new(Dialect::Hixie76, Encoding::Base64), b"ab"), None);
    // A pong or Close comes first, also where it was prepared and did not go out.
    let mut sender = binary();
    sender.queue_pong(&Pong::new(b"p"));
    assert_eq!(short(&sender, b"ab"), None);
    sender.transmit_head(2);
    assert_eq!(short(&sender, b"ab"), None);
    control(&mut sender);
    assert!(short(&sender, b"ab").is_some());
    sender.close(1000);
    assert_eq!(short(&sender, b"ab"), None);
    // An open frame is filled, and the rest of a header goes out, before the next begins.
    for sent in [1, 3] {
        let mut sender = binary();
        sender.transmit_head(5);
        sender.transmitted(sent);
        assert_eq!(short(&sender, b"ab"), None);
    }
}

#[test]
fn a_cut_frame_stays_open_and_takes_whatever_comes() {
    let mut sender = binary();
    sender.transmit_head(300);
    // The header is cut: no payload is told, its rest goes first, and the frame keeps its length.
    assert_eq!(sender.transmitted(3), 0);
    assert!(sender.wants_transmit());
    let (head, count) = sender.transmit_head(1000);
    assert_eq!((head.as_slice(), count), (&[300_u16.to_be_bytes()[1]][..], 300));
    assert_eq!(sender.transmitted(1 + 100), 100);
    // Pong and Close wait for the end of the frame.
    sender.queue_pong(&Pong::new(b"p"));
    sender.close(1000);
    assert!(!sender.wants_transmit() && control(&mut sender).is_empty());
    let (head, count) = sender.transmit_head(1000);
    assert_eq!((head.as_slice(), count), (&[][..], 200));
    assert_eq!(sender.transmitted(200), 200);
    assert!(sender.wants_transmit() && !sender.is_closed());
    assert_eq!(control(&mut sender), [0x8a, 1, b'p', 0x88, 2, 0x03, 0xe8]);
    assert!(sender.is_closed() && !sender.wants_transmit());
    assert_eq!(sender.transmit_head(5).1, 0);
}

#[test]
fn a_ping_goes_out_once_between_frames() {
    let mut sender = binary();
    sender.queue_ping();
    sender.queue_ping();
    // A preparation that is not sent takes nothing with it.
    sender.transmit_head(9);
    assert_eq!(sender.transmitted(0), 0);
    assert!(sender.wants_transmit());
    sender.transmit_control();
    assert_eq!(sender.transmitted(1), 0);
    assert_eq!(control(&mut sender), [0]);
    assert!(!sender.wants_transmit());
    let mut hixie = Sender::new(Dialect::Hixie76, Encoding::Base64);
    hixie.queue_ping();
    assert!(!hixie.wants_transmit());
}

#[test]
fn a_header_that_did_not_begin_is_forgotten() {
    let mut sender = binary();
    sender.transmit_head(300);
    assert_eq!(sender.transmitted(0), 0);
    assert!(!sender.wants_transmit());
    let (head, count) = sender.transmit_head(2);
    assert_eq!((head.as_slice(), count), (&[0x82, 2][..], 2));
}

#[test]
fn the_latest_pong_goes_out_and_a_cut_one_is_finished() {
    let mut sender = binary();
    sender.queue_pong(&Pong::new(b"one"));
    sender.queue_pong(&Pong::new(b"two"));
    let head = sender.transmit_head(4).0;
    assert_eq!(head.as_slice(), b"\x8a\x03two\x82\x04");
    // Nothing went out: the one that came meanwhile takes its place.
    sender.queue_pong(&Pong::new(b"three"));
    assert_eq!(sender.transmitted(0), 0);
    assert_eq!(sender.transmit_head(4).0.as_slice(), b"\x8a\x05three\x82\x04");
    // Cut in the pong: its rest goes out, and the next one behind it.
    assert_eq!(sender.transmitted(4), 0);
    sender.queue_pong(&Pong::new(b"four"));
    assert_eq!(sender.transmit_head(4).0.as_slice(), b"ree\x8a\x04four\x82\x04");
}

#[test]
fn close_is_idempotent_and_may_be_cut() {
    let mut sender = binary();
    sender.close(1001);
    sender.close(1000);
    assert!(sender.is_closing());
    assert_eq!(sender.transmit_control().as_slice(), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(sender.transmitted(1), 0);
    assert!(!sender.is_closed());
    sender.queue_pong(&Pong::new(b"late"));
    assert_eq!(control(&mut sender), [2, 0x03, 0xe9]);
    assert!(sender.is_closed());
}

#[test]
fn hixie_frames_and_close() {
    let mut sender = Sender::new(Dialect::Hixie76, Encoding::Binary);
    assert!(!sender.is_verbatim());
    assert_eq!(write(&mut sender, b"Hello", 999), (b"\0SGVsbG8=\xff".to_vec(), 5));
    sender.queue_pong(&Pong::new(b"none"));
    assert!(!sender.wants_transmit());
    sender.close(1000);
    assert_eq!(control(&mut sender), [0xff, 0x00]);
    assert!(sender.is_closed());
    let mut sender = Sender::new(Dialect::Hixie75, Encoding::Base64);
    sender.close(1000);
    assert!(sender.is_closed() && !sender.wants_transmit());
    assert_eq!(write(&mut sender, b"late", 999), (vec![], 0));
}

#[test]
fn a_cut_hixie_frame_ends_and_owes_a_byte() {
    // The wire is 00 SGVsbG8h FF; after so many bytes the program is told so much, and so much waits.
    for (room, told, tail) in [
        (0, 0, &b""[..]),
        (1, 0, b""),
        (2, 2, b"GVs\xff"),
        (3, 2, b"Vs\xff"),
        (4, 2, b"s\xff"),
        (5, 2, b"\xff"),
        (6, 5, b"G8h\xff"),
        (9, 5, b"\xff"),
        (10, 6, b""),
    ] {
        let mut sender = Sender::new(Dialect::Hixie76, Encoding::Base64);
        let (mut wire, count) = write(&mut sender, b"Hello!", room);
        assert_eq!((count, sender.wants_transmit()), (told, !tail.is_empty()), "room for {room}");
        // What is left begins with the byte owed; it goes out behind the tail, which goes out once.
        let rest = &b"Hello!"[told..];
        if !rest.is_empty() {
            let (more, count) = write(&mut sender, rest, 999);
            assert!(more.starts_with(tail) && count == rest.len());
            wire.extend(more);
        }
        let seen = peer::read(Dialect::Hixie76, Encoding::Base64, &wire);
        assert_eq!((&seen.payload[..], seen.at_boundary), (&b"Hello!"[..], true));
    }
}

#[test]
fn a_tail_that_went_out_by_itself_leaves_the_byte_to_be_told() {
    let mut sender = Sender::new(Dialect::Hixie76, Encoding::Base64);
    assert_eq!(write(&mut sender, b"foobar", 3).1, 2);
    assert_eq!(control(&mut sender), b"9v\xff");
    assert_eq!(write(&mut sender, b"o", 0), (vec![], 1));
    assert_eq!(write(&mut sender, b"bar", 999), (b"\0YmFy\xff".to_vec(), 3));
}

#[test]
fn a_single_byte_that_is_cut_is_told() {
    let mut sender = Sender::new(Dialect::Hixie76, Encoding::Base64);
    assert_eq!(write(&mut sender, b"f", 2), (b"\0Z".to_vec(), 1));
    assert_eq!(write(&mut sender, b"g", 999), (b"g==\xff\0Zw==\xff".to_vec(), 1));
}

#[test]
fn a_hixie_frame_of_which_only_the_type_is_out_is_empty_when_closed() {
    let mut sender = Sender::new(Dialect::Hixie76, Encoding::Base64);
    assert_eq!(write(&mut sender, b"foo", 1), (vec![0], 0));
    sender.close(1000);
    assert_eq!(control(&mut sender), [0xff, 0xff, 0x00]);
    assert!(sender.is_closed());
}

#[test]
fn base64_frames_stay_open_at_every_cut() {
    let payload = b"foobarba";
    let whole = b"\x81\x0cZm9vYmFyYmE=";
    for room in 0..=whole.len() {
        let mut sender = Sender::new(Dialect::Rfc6455, Encoding::Base64);
        let (mut wire, told) = write(&mut sender, payload, room);
        let chars = room.saturating_sub(2);
        let accepted = (chars * 6).div_ceil(8).min(8);
        // The byte that completes the frame is told with the frame's last character.
        let expected = if accepted == 8 && chars < 12 { 7 } else { accepted };
        assert_eq!(told, expected, "room for {room}");
        let mut done = told;
        while done < payload.len() {
            // A byte at a time, through the carried bits.
            let (more, told) = write(&mut sender, &payload[done..=done], 999);
            assert_eq!(told, 1);
            wire.extend(more);
            done += 1;
        }
        wire.extend(control(&mut sender));
        if room == 0 {
            assert_eq!(peer::read(Dialect::Rfc6455, Encoding::Base64, &wire).payload, payload);
        } else {
            assert_eq!(wire, whole, "room for {room}");
        }
    }
}

#[test]
fn a_long_encoded_write_is_split_where_a_frame_ends() {
    for dialect in [Dialect::Hixie75, Dialect::Hixie76, Dialect::Rfc6455] {
        let mut sender = Sender::new(dialect, Encoding::Base64);
        let payload = vec![0x5a; Sender::MAX_FRAME + 1];
        let (wire, told) = write(&mut sender, &payload, usize::MAX);
        assert_eq!(told, Sender::MAX_FRAME);
        assert_eq!(peer::read(dialect, Encoding::Base64, &wire).payload, payload[..told]);
        // The smallest buffer that is allowed.
        let mut out = [0; 512];
        let filled = sender.transmit_encoded(&payload, &mut out);
        assert!(filled > 450 && sender.transmitted_encoded(filled, &out) > 350);
    }
}
