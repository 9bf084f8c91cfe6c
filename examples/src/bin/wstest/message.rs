//! The messages of the load test, the same both ways: `^COUNT:LENGTH:CHECKSUM:DIGITS$`, where COUNT begins at 0 in each direction,
//! LENGTH is that of DIGITS, from 10 to 10000, and CHECKSUM their sum.

use std::fmt;

/// What DIGITS may have.
const SHORTEST: u64 = 10;
const LONGEST: u64 = 10_000;

/// More than any message has.
const TOO_MUCH: usize = 11_000;

/// Makes messages.
#[derive(Debug)]
pub struct Maker {
    count: u64,
    state: u64,
}

impl Maker {
    /// Whose digits depend on `seed` alone.
    pub fn seeded(seed: u64) -> Self {
        Maker { count: 0, state: seed }
    }

    /// How many there have been.
    pub fn made(&self) -> u64 {
        self.count
    }

    /// The next one.
    pub fn next(&mut self) -> Vec<u8> {
        let length = SHORTEST + self.random() % (LONGEST - SHORTEST + 1);
        let digits: Vec<u8> = (0..length).map(|_| b'0' + (self.random() % 10) as u8).collect();
        let sum: u64 = digits.iter().map(|digit| u64::from(digit - b'0')).sum();
        let head = format!("^{}:{length}:{sum}:", self.count);
        self.count += 1;
        [head.as_bytes(), &digits, b"$"].concat()
    }

    /// A step of SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with `^`.
    Start,
    /// It is not the next.
    Count { got: u64, expected: u64 },
    /// It has another length than it says, or no end.
    Length,
    /// There is something else than digits.
    Character,
    /// The digits are others.
    Checksum,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Start => f.write_str("wrong start"),
            Fault::Count { got, expected } => write!(f, "wrong count: {got}, not {expected}"),
            Fault::Length => f.write_str("wrong length"),
            Fault::Character => f.write_str("wrong character"),
            Fault::Checksum => f.write_str("wrong checksum"),
        }
    }
}

/// Checks messages, however they are cut. Displays its counts.
#[derive(Debug, Default)]
pub struct Checker {
    received: u64,
    errors: u64,
    expected: u64,
    pending: Vec<u8>,
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}, errors {}", self.received, self.errors)
    }
}

impl Checker {
    /// Takes what comes next: what is wrong with the messages that end in it.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Fault> {
        let mut faults = Vec::new();
        for &byte in bytes {
            self.pending.push(byte);
            if byte == b'$' {
                let message = std::mem::take(&mut self.pending);
                faults.extend(self.check(&message).err());
                self.received += 1;
            } else if self.pending.len() > TOO_MUCH {
                self.pending.clear();
                faults.push(Fault::Length);
            }
        }
        self.errors += faults.len() as u64;
        faults
    }

    fn check(&mut self, message: &[u8]) -> Result<(), Fault> {
        let inside = message.strip_prefix(b"^").and_then(|rest| rest.strip_suffix(b"$")).ok_or(Fault::Start)?;
        let mut parts = inside.splitn(4, |byte| *byte == b':');
        let mut number = || -> Option<u64> { std::str::from_utf8(parts.next()?).ok()?.parse().ok() };
        let (count, length, sum) = (number(), number(), number());
        let digits = parts.next().unwrap_or_default();
        let (Some(got), Some(length), Some(sum)) = (count, length, sum) else { return Err(Fault::Character) };
        let expected = std::mem::replace(&mut self.expected, got.wrapping_add(1));
        if got != expected {
            return Err(Fault::Count { got, expected });
        }
        if digits.len() as u64 != length || !(SHORTEST..=LONGEST).contains(&length) {
            return Err(Fault::Length);
        }
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Character);
        }
        if digits.iter().map(|digit| u64::from(digit - b'0')).sum::<u64>() != sum {
            return Err(Fault::Checksum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_right_however_it_is_cut() {
        let mut maker = Maker::seeded(1);
        let stream: Vec<u8> = (0..50).flat_map(|_| maker.next()).collect();
        for size in [1, 7, 4096, stream.len()] {
            let mut checker = Checker::default();
            assert!(stream.chunks(size).all(|piece| checker.take(piece).is_empty()));
            assert_eq!(checker.to_string(), "received 50, errors 0");
        }
    }

    #[test]
    fn each_fault_is_found() {
        let count = |got, expected| Fault::Count { got, expected };
        for (stream, faults) in [
            (&b"x0:10:45:0123456789$"[..], &[Fault::Start][..]),
            (b"^1:10:45:0123456789$^2:10:45:0123456789$", &[count(1, 0)]),
            (b"^0:10:45:0123456789$^0:10:45:0123456789$", &[count(0, 1)]),
            (b"^0:11:45:0123456789$", &[Fault::Length]),
            (b"^0:9:45:012345678$", &[Fault::Length]),
            (b"^0:10:45:01234x6789$", &[Fault::Character]),
            (b"^x:10:45:0123456789$", &[Fault::Character]),
            (b"^0:10:46:0123456789$", &[Fault::Checksum]),
        ] {
            let mut checker = Checker::default();
            assert_eq!(checker.take(stream), faults, "{}", String::from_utf8_lossy(stream));
        }
        assert_eq!(Checker::default().take(&[b'1'; TOO_MUCH + 1]), [Fault::Length]);
    }
}
