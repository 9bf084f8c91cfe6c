//! Client-to-server masking of RFC 6455 section 5.3, eight bytes at a time at any phase of the key.

use crate::state::fields;

/// A masking key turned to the phase that the next byte needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask(u32);

fields!(Mask(turned));

impl Mask {
    pub(crate) fn new(key: [u8; 4]) -> Self {
        // The byte that is applied next is the lowest one.
        Mask(u32::from_le_bytes(key))
    }

    /// The key turned by `count` bytes of payload.
    pub(crate) fn turned(self, count: usize) -> Self {
        Mask(self.0.rotate_right(8 * (count % 4) as u32))
    }

    /// The key's byte for the payload byte at `offset` from here.
    pub(crate) fn byte(self, offset: usize) -> u8 {
        self.turned(offset).0 as u8
    }

    fn wide(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }

    /// Unmasks `data`, the next bytes of the payload, in place.
    pub(crate) fn apply(&mut self, data: &mut [u8]) {
        let wide = self.wide();
        let mut words = data.chunks_exact_mut(8);
        for word in &mut words {
            xor(word, wide);
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(wide.to_le_bytes()) {
            *byte ^= key;
        }
        *self = self.turned(data.len());
    }

    /// Unmasks the next bytes of the payload from `from` into `to`, which is as long.
    pub(crate) fn copy(&mut self, from: &[u8], to: &mut [u8]) {
        debug_assert_eq!(from.len(), to.len());
        let wide = self.wide();
        let mut sources = from.chunks_exact(8);
        let mut targets = to.chunks_exact_mut(8);
        for (source, target) in (&mut sources).zip(&mut targets) {
            target.copy_from_slice(source);
            xor(target, wide);
        }
        for ((target, source), key) in
            targets.into_remainder().iter_mut().zip(sources.remainder()).zip(wide.to_le_bytes())
        {
            *target = source ^ key;
        }
        *self = self.turned(from.len());
    }
}

/// XORs eight bytes.
fn xor(word: &mut [u8], wide: u64) {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(word);
    word.copy_from_slice(&(u64::from_le_bytes(bytes) ^ wide).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_length_agrees_with_the_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = (0..100).map(|i| (i * 7) as u8).collect();
        let expected: Vec<u8> = data.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        for cut in 0..data.len() {
            for end in cut..data.len() {
                let (mut in_place, mut copied) = (data.clone(), vec![0; end]);
                let (mut mask, mut twin) = (Mask::new(key), Mask::new(key));
                assert_eq!(mask.byte(cut), key[cut % 4]);
                mask.apply(&mut in_place[..cut]);
                mask.apply(&mut in_place[cut..end]);
                twin.copy(&data[..cut], &mut copied[..cut]);
                twin.copy(&data[cut..end], &mut copied[cut..]);
                assert_eq!(in_place[..end], expected[..end]);
                assert_eq!(copied, expected[..end]);
            }
        }
    }
}
