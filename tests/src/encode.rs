//! Frames as a client sends them. Contract: every stream made here is legal in its dialect, however odd.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Rng, Wire};

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Appends one message that carries `bytes`.
pub(crate) fn message(wire: Wire, bytes: &[u8], rng: &mut Rng, to: &mut Vec<u8>) {
    match wire {
        Wire::Plain => to.extend_from_slice(bytes),
        Wire::Hixie75 | Wire::Hixie76 => hixie_text(STANDARD.encode(bytes).as_bytes(), to),
        Wire::Rfc6455 => frame(true, BINARY, bytes, rng, to),
        Wire::Rfc6455Base64 => frame(true, TEXT, STANDARD.encode(bytes).as_bytes(), rng, to),
    }
}

/// Appends the client's end of the conversation, if the dialect has one: RFC 6455 section 5.5.1, hixie-76 `FF 00`.
pub(crate) fn close(wire: Wire, code: u16, rng: &mut Rng, to: &mut Vec<u8>) {
    match wire {
        // draft 75 knows no closing handshake: the end of the TCP stream is the end.
        Wire::Plain | Wire::Hixie75 => {}
        Wire::Hixie76 => to.extend_from_slice(&[0xFF, 0x00]),
        Wire::Rfc6455 | Wire::Rfc6455Base64 => {
            frame(true, CLOSE, &code.to_be_bytes(), rng, to);
        }
    }
}

/// Appends one masked frame (RFC 6455 section 5.2) with the shortest form of its length.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8], rng: &mut Rng, to: &mut Vec<u8>) {
    to.push(if fin { 0x80 | opcode } else { opcode });
    match payload.len() {
        len @ 0..=125 => to.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            to.push(0x80 | 126);
            to.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            to.push(0x80 | 127);
            to.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    // A key of zero is legal and hides mistakes in unmasking; it comes now and then.
    let key = if rng.one_in(16) { [0; 4] } else { (rng.bits() as u32).to_be_bytes() };
    to.extend_from_slice(&key);
    to.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends `bytes` as a random sequence of messages, with everything between and inside them that carries no payload.
/// The payloads of the pings are added to `pings`; each is another one.
pub(crate) fn split(wire: Wire, bytes: &[u8], rng: &mut Rng, pings: &mut Vec<Vec<u8>>, to: &mut Vec<u8>) {
    if wire == Wire::Plain {
        to.extend_from_slice(bytes);
        return;
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rng.length(rest.len()));
        rest = after;
        filler(wire, rng, pings, to);
        if wire.is_hixie() {
            message(wire, chunk, rng, to);
        } else {
            fragments(wire, chunk, rng, pings, to);
        }
    }
    filler(wire, rng, pings, to);
}

/// One message in one to five fragments, empty ones among them, with control frames between (RFC 6455 section 5.4).
fn fragments(wire: Wire, chunk: &[u8], rng: &mut Rng, pings: &mut Vec<Vec<u8>>, to: &mut Vec<u8>) {
    let (mut opcode, text);
    let mut rest = if wire == Wire::Rfc6455Base64 {
        opcode = TEXT;
        text = STANDARD.encode(chunk);
        text.as_bytes()
    } else {
        // Text from a client without the subprotocol `base64` carries its bytes as they are; it has to be UTF-8.
        opcode = if rng.one_in(2) && std::str::from_utf8(chunk).is_ok() { TEXT } else { BINARY };
        chunk
    };
    for _ in 0..[0, 0, 1, 2, 4][rng.between(0, 4)] {
        let (fragment, after) = rest.split_at(rng.between(0, rest.len()));
        rest = after;
        frame(false, opcode, fragment, rng, to);
        opcode = CONTINUATION;
        if rng.one_in(2) {
            control(rng, pings, to);
        }
    }
    frame(true, opcode, rest, rng, to);
}

/// At times some frames that carry nothing to the program.
fn filler(wire: Wire, rng: &mut Rng, pings: &mut Vec<Vec<u8>>, to: &mut Vec<u8>) {
    while rng.one_in(3) {
        match wire {
            Wire::Plain => {}
            Wire::Hixie75 | Wire::Hixie76 => {
                if rng.one_in(2) {
                    hixie_text(&[], to);
                } else {
                    hixie_sized(rng, to);
                }
            }
            Wire::Rfc6455 | Wire::Rfc6455Base64 => {
                if rng.one_in(2) {
                    control(rng, pings, to);
                } else {
                    message(wire, &[], rng, to);
                }
            }
        }
    }
}

/// A ping, or a pong that nobody asked for (RFC 6455 section 5.5.3 allows it).
fn control(rng: &mut Rng, pings: &mut Vec<Vec<u8>>, to: &mut Vec<u8>) {
    let longest = if rng.one_in(4) { 125 } else { 20 };
    let len = rng.between(0, longest - 8);
    let mut payload = (pings.len() as u64).to_be_bytes().to_vec();
    payload.extend_from_slice(&rng.bytes(len));
    if rng.one_in(4) {
        frame(true, PONG, &payload, rng, to);
    } else {
        frame(true, PING, &payload, rng, to);
        pings.push(payload);
    }
}

fn hixie_text(text: &[u8], to: &mut Vec<u8>) {
    to.push(0x00);
    to.extend_from_slice(text);
    to.push(0xFF);
}

/// A frame of a type with the top bit set: its length in base 128, high bit = more follows, then bytes that every server
/// skips. Type `FF` is left out: with length 0 it is the close of draft 76.
fn hixie_sized(rng: &mut Rng, to: &mut Vec<u8>) {
    let skipped = rng.between(0, 300);
    to.push(rng.between(0x80, 0xFE) as u8);
    if skipped >= 128 || rng.one_in(4) {
        to.push(0x80 | (skipped >> 7) as u8);
    }
    to.push((skipped & 0x7F) as u8);
    to.extend_from_slice(&rng.bytes(skipped));
}
