//! The stable run of every fuzz target: its seeds, and mutations of them that are the same in every run.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Dialect, Encoding};

/// Mutations of each seed.
const MUTATIONS: usize = 200;

/// A target's seeds, by name.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no seed of {target}");
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A small generator (xorshift), so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Changes, drops, doubles and joins parts of seeds.
fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let place = random.below(data.len() + 1);
        let end = (place + random.below(12)).min(data.len());
        match random.below(6) {
            0 => data.truncate(place.max(1)),
            1 => drop(data.drain(place..end)),
            2 => {
                let copy = data[place..end].to_vec();
                data.splice(place..place, copy);
            }
            3 => {
                let from = random.below(other.len());
                data.splice(place..end, other[from..].iter().copied());
            }
            _ => {
                let value = [0, 1, 0x7f, 0x80, 0xff, 0x81, b'=', b'\n', random.below(256) as u8][random.below(9)];
                data.splice(place..end.min(place + 1), [value]);
            }
        }
    }
    data.truncate(8192);
}

fn smoke(target: &str, run: impl Fn(&[u8])) {
    let seeds = seeds(target);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for seed in &seeds {
        run(seed);
        for _ in 0..MUTATIONS {
            let mut data = seed.clone();
            mutate(&mut data, &seeds[random.below(seeds.len())], &mut random);
            if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&data))) {
                eprintln!("{target} fails with {data:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn request_head_smoke() {
    smoke("request_head", request_head);
}

#[test]
fn frames_rfc6455_smoke() {
    smoke("frames_rfc6455", frames_rfc6455);
}

#[test]
fn frames_rfc6455_base64_smoke() {
    smoke("frames_rfc6455_base64", frames_rfc6455_base64);
}

#[test]
fn frames_hixie_smoke() {
    smoke("frames_hixie", frames_hixie);
}

#[test]
fn receiver_ops_smoke() {
    smoke("receiver_ops", receiver_ops);
}

#[test]
fn sender_ops_smoke() {
    smoke("sender_ops", sender_ops);
}

/// A client's frames for `payload`, cut where `cuts` say, with what carries nothing between them.
fn encode(dialect: Dialect, encoding: Encoding, payload: &[u8], cuts: &[(usize, u8)], key: [u8; 4]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = payload;
    let mut open = false;
    let cuts = cuts.iter().copied().chain([(usize::MAX, 0)]);
    for (len, between) in cuts {
        let (piece, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        let mut text = vec![0; 2 * piece.len() + 4];
        let chars = crate::base64::encode(piece, &mut text);
        text.truncate(chars);
        let content = if encoding == Encoding::Base64 { &text[..] } else { piece };
        if dialect == Dialect::Rfc6455 {
            // Every second frame goes on with the message of the one before; the last one ends it.
            let fin = between & 1 == 0 || len == usize::MAX;
            let opcode = [if encoding == Encoding::Base64 { 1 } else { 2 }, 0][usize::from(open)];
            wire.extend(client_frame(u8::from(fin) << 7 | opcode, content, key));
            open = !fin;
            if between & 2 != 0 {
                wire.extend(client_frame([0x89, 0x8a][usize::from(between >> 2 & 1)], b"between", key));
            }
        } else {
            wire.extend([&[0], content, &[0xff]].concat());
            match between & 3 {
                1 => wire.extend(b"\x80\x02\0\xff"),
                2 => wire.extend(b"\x7f nothing \xff"),
                _ => {}
            }
        }
    }
    wire
}

fn client_frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_client_sends_is_what_is_delivered(
        payload in vec(any::<u8>(), 0..3000),
        cuts in vec((0_usize..400, any::<u8>()), 0..12),
        key in any::<[u8; 4]>(),
        ops in vec(any::<u8>(), 0..200),
    ) {
        for (number, dialect, encoding) in [
            (0, Dialect::Rfc6455, Encoding::Binary),
            (1, Dialect::Rfc6455, Encoding::Base64),
            (2, Dialect::Hixie75, Encoding::Base64),
        ] {
            let wire = encode(dialect, encoding, &payload, &cuts, key);
            let outcome = receive_all(dialect, encoding, &wire);
            prop_assert_eq!((&outcome.payload, outcome.end), (&payload, None));
            // The same wire, in any pieces, by any calls.
            receiver_ops(&[&[number, ops.len() as u8], &ops[..], &wire[..]].concat());
        }
    }

    #[test]
    fn whatever_a_kernel_takes_the_client_has_it_once(ops in vec(any::<u8>(), 0..300)) {
        for dialect in 0..4 {
            sender_ops(&[&[dialect], &ops[..]].concat());
        }
    }
}
