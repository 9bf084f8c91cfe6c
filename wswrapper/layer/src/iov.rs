//! Positions in the program's buffers.

use std::io::{IoSlice, IoSliceMut};

/// How many pieces one of our own system calls takes: the program's buffers and what we put around them.
pub const PIECES: usize = 32;

/// The program's buffers for reading, and how far they are filled.
pub struct Cursor<'a, 'b> {
    bufs: &'a mut [IoSliceMut<'b>],
    /// The first buffer with room.
    index: usize,
    /// Bytes filled of it.
    offset: usize,
    left: usize,
    whole: usize,
}

impl<'a, 'b> Cursor<'a, 'b> {
    /// At the start of `bufs`.
    pub fn new(bufs: &'a mut [IoSliceMut<'b>]) -> Self {
        let left = bufs.iter().map(|buf| buf.len()).fold(0, usize::saturating_add);
        Cursor { bufs, index: 0, offset: 0, left, whole: left }
    }

    /// Bytes filled.
    pub fn filled(&self) -> usize {
        self.whole - self.left
    }

    /// Back to the start.
    pub fn rewind(&mut self) {
        (self.index, self.offset, self.left) = (0, 0, self.whole);
    }

    /// Bytes of room.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The contiguous room at the position; empty only when there is none at all.
    pub fn room(&mut self) -> &mut [u8] {
        while let Some(buf) = self.bufs.get(self.index) {
            if self.offset < buf.len() {
                break;
            }
            self.index += 1;
            self.offset = 0;
        }
        match self.bufs.get_mut(self.index) {
            Some(buf) => buf.get_mut(self.offset..).unwrap_or_default(),
            None => &mut [],
        }
    }

    /// `n` bytes of [`Cursor::room`] are filled.
    pub fn advance(&mut self, n: usize) {
        self.offset += n;
        self.left = self.left.saturating_sub(n);
    }

    /// The room at the position and behind it as at most `pieces.len()` pieces of together at most `limit` bytes.
    /// Returns how many pieces and bytes.
    pub fn pieces<'s>(&'s mut self, limit: usize, pieces: &mut [IoSliceMut<'s>]) -> (usize, usize) {
        self.room();
        let (mut count, mut bytes, mut offset) = (0, 0, self.offset);
        for (buf, piece) in self.bufs.iter_mut().skip(self.index).zip(pieces) {
            if bytes == limit {
                break;
            }
            let room = buf.get_mut(offset..).unwrap_or_default();
            let len = room.len().min(limit - bytes);
            *piece = IoSliceMut::new(room.get_mut(..len).unwrap_or_default());
            (count, bytes, offset) = (count + 1, bytes + len, 0);
        }
        (count, bytes)
    }
}

/// The bytes of `bufs` behind the first `skip`, at most `limit` of them, as at most `pieces.len()` pieces. Returns how many
/// pieces and bytes.
pub fn tail<'a>(bufs: &'a [IoSlice<'_>], mut skip: usize, limit: usize, pieces: &mut [IoSlice<'a>]) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    for buf in bufs {
        if skip >= buf.len() {
            skip -= buf.len();
            continue;
        }
        let Some(piece) = pieces.get_mut(count) else {
            break;
        };
        let rest = buf.get(skip..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(limit - bytes)).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        *piece = IoSlice::new(rest);
        (count, bytes, skip) = (count + 1, bytes + rest.len(), 0);
    }
    (count, bytes)
}

/// All bytes in `bufs`.
pub fn total(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().map(|buf| buf.len()).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_walks_over_empty_buffers() {
        let (mut a, mut b, mut c) = ([0; 2], [], [0; 3]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
        let mut cursor = Cursor::new(&mut bufs);
        assert_eq!(cursor.left(), 5);
        cursor.room()[0] = 1;
        cursor.advance(1);
        let mut pieces: [IoSliceMut<'_>; 4] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        assert_eq!(cursor.pieces(3, &mut pieces), (3, 3));
        cursor.room()[0] = 2;
        cursor.advance(1);
        cursor.room().fill(3);
        cursor.advance(3);
        assert_eq!((cursor.left(), cursor.room().len()), (0, 0));
        assert_eq!((a, c), ([1, 2], [3, 3, 3]));
    }

    #[test]
    fn a_tail_skips_and_stops_anywhere() {
        let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        let whole = b"abcde";
        for skip in 0..=5 {
            for limit in 0..=5 {
                let mut pieces = [IoSlice::new(&[]); 3];
                let (count, bytes) = tail(&bufs, skip, limit, &mut pieces);
                let got: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
                let end = (skip + limit).min(5);
                assert_eq!(got, whole[skip..end], "{skip} {limit}");
                assert_eq!(bytes, end - skip);
            }
        }
    }
}
