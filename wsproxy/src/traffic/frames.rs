//! Where frames end. Nothing is checked or decoded here: a stream that breaks the rules ends elsewhere.

use wsproto::Dialect;

/// Counts the frames of one direction.
#[derive(Debug)]
pub struct Frames {
    dialect: Dialect,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Between two frames.
    Between,
    /// RFC 6455 section 5.2: behind the first byte; then so many bytes of a length, as far as it has come, and of a mask.
    Second,
    Length {
        bytes: u8,
        length: u64,
        mask: u8,
    },
    Mask {
        bytes: u8,
        length: u64,
    },
    /// So many bytes of payload are missing.
    Payload(u64),
    /// Hixie: in text, which ends with FF.
    Text,
    /// Hixie: in the length of a frame that is skipped, seven bits a byte.
    Septets(u64),
}

impl Frames {
    /// At the beginning of a stream of this dialect.
    pub fn new(dialect: Dialect) -> Self {
        Frames { dialect, at: At::Between }
    }

    /// How many frames end in `bytes`, which come next.
    pub fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.at {
                At::Payload(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.payload(left - count as u64);
                    bytes.get(count..).unwrap_or_default()
                }
                At::Text => {
                    let end = bytes.iter().position(|&byte| byte == 0xFF);
                    if end.is_some() {
                        self.at = At::Between;
                    }
                    end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
                }
                At::Between | At::Second | At::Length { .. } | At::Mask { .. } | At::Septets(_) => {
                    self.head(byte);
                    rest
                }
            };
            ended += usize::from(matches!(self.at, At::Between));
        }
        ended
    }

    /// Whether a frame has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !matches!(self.at, At::Between)
    }

    fn payload(&mut self, left: u64) {
        self.at = if left > 0 { At::Payload(left) } else { At::Between };
    }

    /// Takes a byte of a head.
    fn head(&mut self, byte: u8) {
        match self.at {
            At::Between => {
                self.at = match (self.dialect, byte & 0x80) {
                    (Dialect::Rfc6455, _) => At::Second,
                    (Dialect::Hixie75 | Dialect::Hixie76, 0) => At::Text,
                    (Dialect::Hixie75 | Dialect::Hixie76, _) => At::Septets(0),
                }
            }
            At::Second => {
                let mask = if byte & 0x80 == 0 { 0 } else { 4 };
                match byte & 0x7F {
                    126 => self.at = At::Length { bytes: 2, length: 0, mask },
                    127 => self.at = At::Length { bytes: 8, length: 0, mask },
                    length => self.mask(mask, length.into()),
                }
            }
            At::Length { bytes, length, mask } => match (bytes, length << 8 | u64::from(byte)) {
                (1, length) => self.mask(mask, length),
                (bytes, length) => self.at = At::Length { bytes: bytes - 1, length, mask },
            },
            At::Mask { bytes, length } => self.mask(bytes - 1, length),
            At::Septets(length) => {
                let length = length.wrapping_shl(7) | u64::from(byte & 0x7F);
                if byte & 0x80 == 0 {
                    self.payload(length);
                } else {
                    self.at = At::Septets(length);
                }
            }
            At::Payload(_) | At::Text => {}
        }
    }

    fn mask(&mut self, bytes: u8, length: u64) {
        match bytes {
            0 => self.payload(length),
            bytes => self.at = At::Mask { bytes, length },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream whole, byte by byte and in two pieces: the same number of frames, and none begun at its end.
    fn check(dialect: Dialect, stream: &[u8], frames: usize) {
        for cut in 0..=stream.len() {
            let mut counter = Frames::new(dialect);
            let (first, second) = stream.split_at(cut);
            assert_eq!(counter.pass(first) + counter.pass(second), frames, "cut at {cut}");
            assert!(!counter.is_inside());
        }
        let mut counter = Frames::new(dialect);
        let single: usize = stream.iter().map(|byte| counter.pass(&[*byte])).sum();
        assert_eq!(single, frames);
        assert!(Frames::new(dialect).pass(&stream[..stream.len() - 1]) == frames - 1);
    }

    #[test]
    fn frames_end_where_their_heads_say() {
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let longest = [&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[7; 65536]].concat();
        let stream = [&[0x89, 0x80, 1, 2, 3, 4, 0x82, 0x81, 1, 2, 3, 4, 5, 0x8A, 0][..], &long, &[0x81, 1, 9]].concat();
        check(Dialect::Rfc6455, &stream, 5);
        let mut counter = Frames::new(Dialect::Rfc6455);
        assert_eq!((counter.pass(&longest), counter.is_inside()), (1, false));
        check(Dialect::Hixie76, b"\0QUJD\xFF\0\xFF\x80\x03abc\xFF\x00", 4);
    }
}
