//! A short run of bytes held in place, for what waits in a struct without heap.

use std::fmt;
use std::ops::Range;

/// Up to `N` bytes (`N` below 65536). What does not fit is not taken; every use is sized so that all fits.
#[derive(Clone)]
pub(crate) struct Inline<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> Inline<N> {
    pub(crate) const fn new() -> Self {
        Inline { len: 0, bytes: [0; N] }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// Appends `bytes`. Returns their number.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> u16 {
        let start = self.len();
        debug_assert!(start + bytes.len() <= N, "{} bytes more in {start} of {N}", bytes.len());
        let room = self.bytes.get_mut(start..).unwrap_or_default();
        let mut taken = 0_u16;
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
            taken += 1;
        }
        self.len += taken;
        taken
    }

    /// Keeps only the bytes of `range`, which move to the front.
    pub(crate) fn keep(&mut self, range: Range<usize>) {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        if start < end {
            self.bytes.copy_within(start..end, 0);
        }
        self.len = u16::try_from(end - start).unwrap_or_default();
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl<const N: usize> PartialEq for Inline<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Inline<N> {}
