//! Every rule of receiving, each fed whole, byte by byte and at every split point.

use super::*;
use crate::Sender;
use crate::fuzzing::{Outcome, frames_hixie, frames_rfc6455, frames_rfc6455_base64, handed_over, receive_all};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame with the shortest header.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A header that announces `length` as it is given here.
fn header(first: u8, length: &[u8]) -> Vec<u8> {
    [&[first], length, &KEY].concat()
}

/// Feeds `stream` whole, in all the ways of the fuzz targets, and cut in two at every place.
fn feed(dialect: Dialect, encoding: Encoding, stream: &[u8]) -> Outcome {
    match (dialect, encoding) {
        (Dialect::Rfc6455, Encoding::Binary) => frames_rfc6455(stream),
        (Dialect::Rfc6455, Encoding::Base64) => frames_rfc6455_base64(stream),
        (Dialect::Hixie75 | Dialect::Hixie76, _) => frames_hixie(stream),
    }
    let whole = receive_all(dialect, encoding, stream);
    for cut in 0..=stream.len().min(500) {
        let mut receiver = Receiver::new(dialect, encoding);
        let mut payload = vec![0; stream.len()];
        let (front, back) = stream.split_at(cut);
        let first = receiver.receive(&mut front.to_vec(), &mut payload);
        // Half of it in another process.
        receiver = handed_over(&receiver, &Sender::new(dialect, encoding)).0;
        let second = receiver.receive(&mut back.to_vec(), &mut payload[first.produced..]);
        assert_eq!((first.consumed, second.consumed), (front.len(), back.len()));
        payload.truncate(first.produced + second.produced);
        let outcome = Outcome { payload, end: receiver.end().copied(), pong: receiver.take_pong() };
        assert_eq!(outcome, whole, "cut at {cut}");
    }
    whole
}

fn binary(stream: &[u8]) -> Outcome {
    feed(Dialect::Rfc6455, Encoding::Binary, stream)
}

fn text(stream: &[u8]) -> Outcome {
    feed(Dialect::Rfc6455, Encoding::Base64, stream)
}

fn hixie(stream: &[u8]) -> Outcome {
    feed(Dialect::Hixie76, Encoding::Base64, stream)
}

#[track_caller]
fn delivers(outcome: Outcome, payload: impl AsRef<[u8]>) {
    assert_eq!((outcome.payload.as_slice(), outcome.end), (payload.as_ref(), None));
}

#[track_caller]
fn fails(outcome: Outcome, payload: impl AsRef<[u8]>, violation: Violation, code: u16) {
    let end = End::Failed(violation);
    assert_eq!((outcome.payload.as_slice(), outcome.end), (payload.as_ref(), Some(end)));
    assert_eq!(end.reply_code(), code);
}

#[test]
fn the_examples_of_rfc_6455_section_5_7() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    delivers(binary(&hello), "Hello");
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    delivers(binary(&pong), "");
    // The fragmented and the unmasked text message of the section, as a client must send it.
    delivers(binary(&[frame(0x01, "Hel"), frame(0x80, "lo")].concat()), "Hello");
    let ping = binary(&frame(0x89, "Hello"));
    assert_eq!(ping.pong, Some(Pong::new(b"Hello")));
    let bytes: Vec<u8> = (0..=255).collect();
    delivers(binary(&frame(0x82, &bytes)), &bytes);
    assert_eq!(frame(0x82, &bytes)[..4], [0x82, 0xfe, 0x01, 0x00]);
    let long = vec![7; 65536];
    assert_eq!(frame(0x82, &long)[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    delivers(receive_all(Dialect::Rfc6455, Encoding::Binary, &frame(0x82, &long)), &long);
}

#[test]
fn every_form_of_length_delivers() {
    for len in [0, 1, 125, 126, 127, 65535, 65536] {
        let payload: Vec<u8> = (0..len).map(|place| (place % 251) as u8).collect();
        let stream = [frame(0x82, &payload), frame(0x82, "x")].concat();
        delivers(receive_all(Dialect::Rfc6455, Encoding::Binary, &stream), [&payload[..], b"x"].concat());
    }
}

#[test]
fn frames_that_break_the_header_rules_fail_with_1002() {
    for first in [0xc2, 0xa2, 0x92, 0xf0] {
        fails(binary(&frame(first, "x")), "", Violation::ReservedBits, 1002);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        fails(binary(&frame(0x80 | opcode, "x")), "", Violation::UnknownOpcode(opcode), 1002);
    }
    fails(binary(b"\x82\x05Hello"), "", Violation::Unmasked, 1002);
    fails(binary(&header(0x82, &[0xfe, 0, 125])), "", Violation::LengthNotMinimal, 1002);
    fails(binary(&header(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff])), "", Violation::LengthNotMinimal, 1002);
    fails(binary(&header(0x82, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0])), "", Violation::LengthTooLarge, 1002);
}

#[test]
fn frames_that_break_the_rules_of_control_and_messages_fail_with_1002() {
    for opcode in [8, 9, 10] {
        fails(binary(&frame(opcode, "x")), "", Violation::ControlFragmented, 1002);
        fails(binary(&frame(0x80 | opcode, [0; 126])), "", Violation::ControlTooLong, 1002);
    }
    fails(binary(&frame(0x80, "x")), "", Violation::NothingToContinue, 1002);
    fails(binary(&frame(0x00, "x")), "", Violation::NothingToContinue, 1002);
    let ended = [frame(0x02, "a"), frame(0x80, "b"), frame(0x80, "c")].concat();
    fails(binary(&ended), "ab", Violation::NothingToContinue, 1002);
    for second in [0x82, 0x81, 0x02, 0x01] {
        let stream = [frame(0x02, "a"), frame(0x89, "p"), frame(second, "b")].concat();
        fails(binary(&stream), "a", Violation::MessageInMessage, 1002);
    }
}

#[test]
fn a_frame_may_announce_any_length_and_costs_nothing() {
    let mut stream = header(0x82, &[0xff, 0x40, 0, 0, 0, 0, 0, 0, 0]);
    let beginning = stream.len();
    stream.extend([b'a' ^ KEY[0], b'b' ^ KEY[1]]);
    delivers(binary(&stream), "ab");
    let mut receiver = Receiver::new(Dialect::Rfc6455, Encoding::Binary);
    assert_eq!(receiver.receive(&mut stream[..beginning], &mut []).consumed, beginning);
    assert_eq!((receiver.verbatim(), receiver.frame_len(), receiver.overhead()), (1 << 62, 1 << 62, 0));
    assert!(size_of::<Receiver>() <= 300, "{}", size_of::<Receiver>());
}

#[test]
fn only_the_latest_ping_is_answered() {
    let pings: Vec<u8> = (0..200).flat_map(|number| frame(0x89, [number; 125])).collect();
    let mut receiver = Receiver::new(Dialect::Rfc6455, Encoding::Binary);
    assert_eq!(receiver.receive(&mut pings.clone(), &mut []).consumed, pings.len());
    assert_eq!(receiver.take_pong().unwrap().as_slice(), [199; 125]);
    assert_eq!(receiver.take_pong(), None);
    // A ping that has begun does not take the place of one that is complete.
    let mut stream = [frame(0x89, "one"), frame(0x89, "two")].concat();
    let len = stream.len() - 1;
    receiver.receive(&mut stream[..len], &mut []);
    assert_eq!(receiver.take_pong().unwrap().as_slice(), b"one");
}

#[test]
fn close_ends_the_stream_with_its_code() {
    for (payload, code, reply) in [
        (&b""[..], None, 1000),
        (b"\x03\xe8", Some(1000), 1000),
        (b"\x03\xe9going away \xc3\xa9", Some(1001), 1001),
        (b"\x0f\xa0", Some(4000), 4000),
    ] {
        let outcome = binary(&[frame(0x82, "bye"), frame(0x88, payload), frame(0x82, "late")].concat());
        let Some(end @ End::Closed(reason)) = outcome.end else { panic!("{outcome:?}") };
        assert_eq!((reason.code(), end.reply_code(), &outcome.payload[..]), (code, reply, &b"bye"[..]));
    }
    fails(binary(&frame(0x88, "x")), "", Violation::CloseTooShort, 1002);
    fails(binary(&frame(0x88, b"\x03\xe8\xff")), "", Violation::CloseReasonNotUtf8, 1007);
}

#[test]
fn close_codes_that_must_not_be_sent_fail() {
    for code in 0..=u16::MAX {
        let outcome = receive_all(Dialect::Rfc6455, Encoding::Binary, &frame(0x88, code.to_be_bytes()));
        let refused = matches!(code, 0..=999 | 1004..=1006 | 1015..=2999 | 5000..);
        assert_eq!(outcome.end == Some(End::Failed(Violation::CloseCode(code))), refused, "{code}");
    }
}

#[test]
fn text_is_checked_over_fragments() {
    let whole = "grün €, 😀";
    for cut in 0..whole.len() {
        let (front, back) = whole.as_bytes().split_at(cut);
        let stream = [frame(0x01, front), frame(0x89, "p"), frame(0x00, ""), frame(0x80, back)].concat();
        delivers(receive_all(Dialect::Rfc6455, Encoding::Binary, &stream), whole);
    }
    fails(binary(&frame(0x81, b"ok\xe2\x28\xa1")), b"ok\xe2", Violation::TextNotUtf8, 1007);
    fails(binary(&frame(0x81, b"ok\xe2\x82")), b"ok\xe2\x82", Violation::TextNotUtf8, 1007);
    let ended_by_empty = [frame(0x01, b"\xf0\x9f"), frame(0x80, "")].concat();
    fails(binary(&ended_by_empty), b"\xf0\x9f", Violation::TextNotUtf8, 1007);
    delivers(binary(&frame(0x82, b"\xff\xfe")), b"\xff\xfe");
}

#[test]
fn base64_travels_in_text_frames() {
    delivers(text(&[frame(0x81, "SGVsbG8="), frame(0x81, ""), frame(0x81, "IQ==")].concat()), "Hello!");
    // A quantum over fragments; padding where a fragment ends.
    let over = [frame(0x01, "SG"), frame(0x89, "p"), frame(0x00, "V"), frame(0x80, "sbG8=")].concat();
    delivers(text(&over), "Hello");
    delivers(text(&[frame(0x01, "SA=="), frame(0x00, "ZWw="), frame(0x80, "bG8=")].concat()), "Hello");
    fails(text(&frame(0x81, "SGVsSG")), "Hel", Violation::Base64Cut, 1007);
    fails(text(&[frame(0x01, "SGV"), frame(0x80, "")].concat()), "", Violation::Base64Cut, 1007);
    fails(text(&frame(0x82, "SGVs")), "", Violation::BinaryInBase64, 1003);
}

/// Texts that are no base64, and what they deliver before that shows.
const NOT_BASE64: [(&str, &str); 9] = [
    ("SGVs*G8=", "Hel"),
    ("SGVsbG-8", "Hel"),
    ("Zg==Zg==", "f"),
    ("Zh==", ""),
    ("Zm9=", ""),
    ("====", ""),
    ("Z===", ""),
    ("Zg=v", ""),
    ("Zm9v Zm9v", "foo"),
];

#[test]
fn what_is_not_base64_fails() {
    for (wrong, good) in NOT_BASE64 {
        fails(text(&frame(0x81, wrong)), good, Violation::NotBase64, 1007);
        let stream = [b"\0", wrong.as_bytes(), b"\xff"].concat();
        fails(hixie(&stream), good, Violation::NotBase64, 1007);
    }
}

#[test]
fn hixie_frames_deliver_and_others_are_skipped() {
    delivers(hixie(b"\0SGVsbG8=\xff\0\xff\0IQ==\xff"), "Hello!");
    delivers(hixie(b"\0SA==\xff\x80\x03abc\0aQ==\xff"), "Hi");
    let long = [&b"\x81\x81\x00"[..], &[0xff; 128], b"\0SGk=\xff"].concat();
    delivers(hixie(&long), "Hi");
    delivers(hixie(b"\x05what\0ever\xff\0SGk=\xff"), "Hi");
    delivers(hixie(b"\xff\x01x\x80\x00\0SGk=\xff"), "Hi");
    fails(hixie(b"\0SGV\xff"), "", Violation::Base64Cut, 1007);
    fails(hixie(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "", Violation::LengthTooLarge, 1002);
}

#[test]
fn hixie_close_ends_the_stream() {
    let outcome = hixie(b"\0SGk=\xff\xff\x00\0SGk=\xff");
    assert_eq!((&outcome.payload[..], outcome.end), (&b"Hi"[..], Some(End::Closed(CloseReason::NONE))));
    assert!(matches!(hixie(b"\xff\x80\x00").end, Some(End::Closed(_))), "length 0 in two bytes");
}

#[test]
fn a_quantum_without_room_leaves_its_last_character() {
    let mut receiver = Receiver::new(Dialect::Hixie76, Encoding::Base64);
    let mut input = *b"\0Zm9v\xff";
    assert_eq!(receiver.receive(&mut input, &mut []), Received { consumed: 4, produced: 0 });
    let mut out = [0; 1];
    for (consumed, byte) in [(0, b'f'), (0, b'o'), (2, b'o')] {
        assert_eq!(receiver.receive(&mut input[4..], &mut out), Received { consumed, produced: 1 });
        assert_eq!(out, [byte]);
    }
}

#[test]
fn short_messages_are_delivered_in_their_order_whatever_stands_between_them() {
    let parts: [(u8, &[u8]); 14] = [
        (0x82, b"a"),
        (0x82, b""),
        (0x82, &[b'b'; 125]),
        (0x82, &[b'c'; 126]),
        (0x89, b"ping"),
        (0x82, b"d"),
        (0x02, b"e"),
        (0x00, b"f"),
        (0x80, b"g"),
        (0x82, b"h"),
        (0x81, "\u{e9}".as_bytes()),
        (0x82, b"\xff"),
        (0x8a, b""),
        (0x82, b"last"),
    ];
    let stream = parts.iter().flat_map(|(first, payload)| frame(*first, payload)).collect::<Vec<_>>();
    let carried = parts.iter().filter(|(first, _)| first & 8 == 0).flat_map(|(_, payload)| payload.to_vec());
    let expected = carried.collect::<Vec<_>>();
    delivers(binary(&stream), &expected);
    for room in 1..=expected.len() {
        let mut receiver = Receiver::new(Dialect::Rfc6455, Encoding::Binary);
        let (mut used, mut delivered) = (0, Vec::new());
        while used < stream.len() {
            let (mut input, mut out) = (stream[used..].to_vec(), vec![0; room]);
            let step = receiver.receive(&mut input, &mut out);
            assert!(step.produced == room || used + step.consumed == stream.len(), "room for {room}");
            delivered.extend(&out[..step.produced]);
            used += step.consumed;
        }
        assert_eq!((delivered, receiver.frame_len()), (expected.clone(), 4), "room for {room}");
    }
    fails(binary(&[frame(0x02, "begun"), frame(0x82, "x")].concat()), "begun", Violation::MessageInMessage, 1002);
    let unmasked = [frame(0x82, "ok"), vec![0x82, 0x01, b'x', 0, 0, 0, 0, 0]].concat();
    fails(binary(&unmasked), "ok", Violation::Unmasked, 1002);
}

#[test]
fn overhead_is_exact_as_it_is_told() {
    let mut receiver = Receiver::new(Dialect::Rfc6455, Encoding::Binary);
    let mut stream = [frame(0x89, "ping"), frame(0x82, [5; 200])].concat();
    let mut expected = vec![6, 5, 4, 3, 2, 1, 4, 3, 2, 1, 6, 5, 6, 5, 4, 3, 2, 1];
    expected.extend([0; 200]);
    for (place, overhead) in expected.into_iter().enumerate() {
        assert_eq!(receiver.overhead(), overhead, "in front of byte {place}");
        receiver.receive(&mut stream[place..=place], &mut [0]);
    }
    assert_eq!(receiver.overhead(), 6);
    let mut receiver = Receiver::new(Dialect::Hixie76, Encoding::Base64);
    for (byte, overhead) in b"\0Zm9vZg==\xff".iter().zip([4, 3, 2, 1, 0, 3, 2, 1, 0, 3]) {
        assert_eq!(receiver.overhead(), overhead);
        receiver.receive(&mut [*byte], &mut [0; 3]);
    }
    assert_eq!(receiver.overhead(), 4);
}
