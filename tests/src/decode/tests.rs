//! Legal streams, and one broken rule each.

use super::*;

/// Feeds `stream` whole and byte by byte; both must say the same.
fn decode(wire: Wire, stream: &[u8]) -> Result<(Vec<u8>, Option<End>, bool), String> {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = Decoder::new(wire);
        for piece in pieces {
            decoder.receive(piece)?;
        }
        Ok((decoder.out.clone(), decoder.close.clone(), decoder.at_boundary()))
    };
    let whole: Result<_, String> = run(&mut std::iter::once(stream));
    let bytes: Result<_, String> = run(&mut stream.chunks(1));
    assert_eq!(whole.is_ok(), bytes.is_ok(), "{whole:?} and {bytes:?}");
    if whole.is_ok() {
        assert_eq!(whole, bytes);
    }
    whole
}

#[test]
fn legal_streams_are_decoded() {
    let close = |code| Some(End::Close(code, String::new()));
    // Stream, payload, end, whether the stream may end here.
    type Case = (Wire, &'static [u8], &'static [u8], Option<End>, bool);
    let cases: [Case; 8] = [
        (Wire::Plain, b"\x00\xFF", b"\x00\xFF", None, true),
        (Wire::Hixie75, b"\x00aGVsbG8=\xFF\x00\xFF\x00aGk=\xFF", b"hellohi", None, true),
        (Wire::Hixie76, b"\x00aGVsbG8=\xFF\xFF\x00", b"hello", close(None), true),
        (Wire::Hixie76, b"\x00aGVs", b"hel", None, false),
        (Wire::Rfc6455, b"\x82\x05Hello\x88\x02\x03\xE8", b"Hello", close(Some(1000)), true),
        (Wire::Rfc6455, b"\x02\x03Hel\x89\x00\x80\x02lo\x88\x00", b"Hello", close(None), true),
        (Wire::Rfc6455, b"\x82\x05He", b"He", None, false),
        (Wire::Rfc6455Base64, b"\x01\x05aGVsb\x80\x03G8=", b"hello", None, true),
    ];
    for (wire, stream, payload, end, boundary) in cases {
        assert_eq!(decode(wire, stream), Ok((payload.to_vec(), end, boundary)), "{stream:02x?}");
    }
}

#[test]
fn streams_that_break_a_rule_are_refused() {
    let long = [b"\x82\x7E\x00\x7D".as_slice(), &[0; 125]].concat();
    let cases: [(Wire, &[u8]); 20] = [
        (Wire::Rfc6455, b"\x82\x85\x00\x00\x00\x00Hello"),
        (Wire::Rfc6455, b"\xC2\x01a"),
        (Wire::Rfc6455, b"\x81\x01a"),
        (Wire::Rfc6455, b"\x80\x01a"),
        (Wire::Rfc6455, b"\x02\x01a\x82\x01b"),
        (Wire::Rfc6455, b"\x83\x00"),
        (Wire::Rfc6455, b"\x8B\x00"),
        (Wire::Rfc6455, b"\x09\x00"),
        (Wire::Rfc6455, b"\x88\x01a"),
        (Wire::Rfc6455, b"\x88\x02\x03\xED"),
        (Wire::Rfc6455, b"\x88\x00\x82\x00"),
        (Wire::Rfc6455, b"\x82\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF"),
        (Wire::Rfc6455, &long),
        (Wire::Rfc6455Base64, b"\x82\x04aGVs"),
        (Wire::Rfc6455Base64, b"\x81\x03aGV"),
        (Wire::Rfc6455Base64, b"\x01\x04aGk=\x80\x04aGVs"),
        (Wire::Hixie75, b"\x00aGk\xFF"),
        (Wire::Hixie75, b"\x00a!k=\xFF"),
        (Wire::Hixie75, b"\xFF\x00"),
        (Wire::Hixie76, b"\xFF\x00\x00"),
    ];
    for (wire, stream) in cases {
        assert!(decode(wire, stream).is_err(), "{wire:?} {stream:02x?}");
    }
}
