//! Counting the payload of hixie frames without decoding it, fast enough for a client that only drains.

use std::io;

/// Where the stream is.
#[derive(Debug, Default)]
pub struct Counter {
    /// Within a frame, how much of its text was seen, and the last two bytes of that.
    frame: Option<(u64, [u8; 2])>,
}

impl Counter {
    /// Takes the next bytes of the stream and returns how many bytes of payload the frames carry that end in
    /// them. Each frame is base64 of its own (draft-ietf-hybi-thewebsocketprotocol-00 frames it in 00 and FF);
    /// another type of frame is `InvalidData`.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<u64> {
        let mut payload = 0;
        while let Some((&first, rest)) = bytes.split_first() {
            let Some((text, last)) = self.frame.take() else {
                if first != 0x00 {
                    let what = format!("a frame of type {first:02x}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                self.frame = Some((0, [0; 2]));
                bytes = rest;
                continue;
            };
            let end = crate::sys::find(bytes, 0xff);
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let text = text + part.len() as u64;
            let last = match (part, last) {
                ([.., a, b], _) => [*a, *b],
                ([b], [_, a]) => [a, *b],
                ([], last) => last,
            };
            if end.is_some() {
                let padding = last.iter().filter(|&&byte| byte == b'=').count() as u64;
                payload += text / 4 * 3 - padding;
            } else {
                self.frame = Some((text, last));
            }
            bytes = rest.get(1..).unwrap_or(&[]);
        }
        Ok(payload)
    }

    /// Whether a frame has begun and not ended.
    pub fn within_frame(&self) -> bool {
        self.frame.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn counts_the_same_wherever_the_stream_is_cut() {
        let stream = b"\x00SGVsbA==\xff\x00bw==\xff\x00\xff\x00SGVs\xff\x00SGU=\xff";
        for cut in 0..=stream.len() {
            let mut counter = Counter::default();
            let (head, tail) = stream.split_at(cut);
            assert_eq!(counter.feed(head).unwrap() + counter.feed(tail).unwrap(), 10, "cut at {cut}");
            assert!(!counter.within_frame());
        }
        let mut counter = Counter::default();
        assert_eq!(stream.iter().map(|&byte| counter.feed(&[byte]).unwrap()).sum::<u64>(), 10);
    }

    #[test]
    fn what_is_no_text_frame_is_refused() {
        assert!(Counter::default().feed(b"\x00\xff\xff\x00").is_err());
    }
}
