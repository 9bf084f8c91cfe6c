//! The stable run of every fuzz target: its seeds, and mutations of them that are the same in every run.

use std::path::Path;

use super::*;

/// Mutations of each seed.
const MUTATIONS: usize = 200;

/// A target's seeds, by name.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no seed of {target}");
    files
        .into_iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
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
                let value = [
                    0,
                    1,
                    0x7f,
                    0x80,
                    0xff,
                    0x81,
                    b'=',
                    b'\n',
                    random.below(256) as u8,
                ][random.below(9)];
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
            if let Err(panic) =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&data)))
            {
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
