//! How fast frames are read and written, in payload bytes a second, medians of nine rounds:
//! `cargo run --release -p wsproto --example throughput`.

use std::hint::black_box;
use std::time::Instant;

use wsproto::{Dialect, Encoding, Receiver, Sender};

/// Payload of one round.
const TOTAL: usize = 64 << 20;
/// What the network brings at once.
const CHUNK: usize = 64 << 10;

fn main() {
    for len in [64, 1024, 65536] {
        let binary = frames(len, |payload| rfc6455(0x82, payload));
        receive(&format!("receive rfc6455 binary, frames of {len}"), Dialect::Rfc6455, Encoding::Binary, &binary);
        let text = frames(len, |payload| rfc6455(0x81, &base64(payload)));
        receive(&format!("receive rfc6455 base64, frames of {len}"), Dialect::Rfc6455, Encoding::Base64, &text);
        let hixie = frames(len, |payload| [&[0], &base64(payload)[..], &[0xff]].concat());
        receive(&format!("receive hixie-76, frames of {len}"), Dialect::Hixie76, Encoding::Base64, &hixie);
        send(&format!("send hixie-76, frames of {len}"), Dialect::Hixie76, len);
        send(&format!("send rfc6455 base64, frames of {len}"), Dialect::Rfc6455, len);
    }
    head();
}

/// Frames of `len` bytes of payload each, about a megabyte in all.
fn frames(len: usize, frame: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|place| ((place * 131) >> 3) as u8).collect();
    frame(&payload).repeat((1 << 20) / len)
}

/// A client's frame.
fn rfc6455(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
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
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The text of one frame, taken from the sending half.
fn base64(payload: &[u8]) -> Vec<u8> {
    let mut sender = Sender::new(Dialect::Hixie76, Encoding::Base64);
    let mut out = vec![0; 2 * payload.len() + 512];
    let filled = sender.transmit_encoded(payload, &mut out);
    out.into_iter().take(filled - 1).skip(1).collect()
}

fn receive(name: &str, dialect: Dialect, encoding: Encoding, stream: &[u8]) {
    let (mut scratch, mut out) = (vec![0; CHUNK], vec![0; CHUNK]);
    report(name, || {
        let mut receiver = Receiver::new(dialect, encoding);
        let (mut total, mut rest) = (0, stream);
        while total < TOTAL {
            let count = rest.len().min(CHUNK);
            let (chunk, tail) = rest.split_at(count);
            // The copy is the kernel's; it is what a reader without us pays as well.
            let input = scratch.split_at_mut(count).0;
            // In small pieces: one long copy is six times slower where both buffers lie at like places of their pages.
            for (to, from) in input.chunks_mut(1024).zip(chunk.chunks(1024)) {
                to.copy_from_slice(from);
            }
            total += receiver.receive(input, black_box(&mut out)).produced;
            rest = if tail.is_empty() { stream } else { tail };
        }
        total
    });
}

fn send(name: &str, dialect: Dialect, len: usize) {
    let mut sender = Sender::new(dialect, Encoding::Base64);
    let payload: Vec<u8> = (0..len).map(|place| ((place * 131) >> 3) as u8).collect();
    let mut out = vec![0; 2 * len + 512];
    report(name, || {
        let mut total = 0;
        while total < TOTAL {
            let filled = sender.transmit_encoded(black_box(&payload), &mut out);
            total += sender.transmitted_encoded(filled, black_box(&out));
        }
        total
    });
}

/// The cost of a head in front of payload that travels as it is.
fn head() {
    let mut sender = Sender::new(Dialect::Rfc6455, Encoding::Binary);
    let writes = 4 << 20;
    let start = Instant::now();
    for _ in 0..writes {
        let (head, count) = sender.transmit_head(black_box(64));
        let sent = black_box(head).as_slice().len() + count;
        sender.transmitted(sent);
    }
    println!("{:44} {:8.1} ns", "head of a binary frame", start.elapsed().as_secs_f64() * 1e9 / f64::from(writes));
}

/// Prints the median rate of nine rounds; `round` returns its bytes.
fn report(name: &str, mut round: impl FnMut() -> usize) {
    let mut rates: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            let total = round();
            total as f64 / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name:44} {:8.2} GB/s", rates.get(rates.len() / 2).copied().unwrap_or_default());
}
