//! Counting the payload of RFC 6455 frames without copying it, for a client that only drains.

use std::io;

/// Where the stream is.
#[derive(Debug, Default)]
pub struct Counter {
    payload: u64,
    /// Payload of the current frame that is to come.
    left: u64,
    /// The current header, as far as it has come.
    header: Vec<u8>,
}

impl Counter {
    /// Payload that has come.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Whether a frame has begun and not ended.
    pub fn within_frame(&self) -> bool {
        self.left > 0 || !self.header.is_empty()
    }

    /// Takes the next bytes of the stream. Anything but binary frames without a mask is `InvalidData`.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = self.left.min(bytes.len() as u64);
                self.left -= count;
                self.payload += count;
                bytes = bytes.split_at(count as usize).1;
                continue;
            }
            self.header.push(first);
            bytes = rest;
            let len = match *self.header {
                [first, ..] if first & 0x7f > 2 => None,
                [_, short @ ..=125] => Some(u64::from(short)),
                [_, 126, a, b] => Some(u64::from(u16::from_be_bytes([a, b]))),
                [_, 127, a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
                [_] | [_, 126 | 127, ..] => continue,
                _ => None,
            };
            let Some(len) = len else {
                let what = format!("a header of {:02x?}", self.header);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            };
            self.left = len;
            self.header.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn counts_the_same_wherever_the_stream_is_cut() {
        let mut stream = vec![0x82, 3, 1, 2, 3, 0x02, 126, 0, 126];
        stream.extend([7; 126]);
        stream.extend([0x80, 0]);
        for cut in 0..=stream.len() {
            let mut counter = Counter::default();
            counter.feed(&stream[..cut]).unwrap();
            counter.feed(&stream[cut..]).unwrap();
            assert_eq!((counter.payload(), counter.within_frame()), (129, false));
        }
        assert!(Counter::default().feed(&[0x82, 0x81]).is_err());
        assert!(Counter::default().feed(&[0x88]).is_err());
    }
}
