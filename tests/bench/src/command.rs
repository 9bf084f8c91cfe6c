//! The commands that `apps/blocking.c` obeys.

/// What the server is to do, and how much of it.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Send that many bytes of [`pattern`], in writes of 64 KiB.
    Source(u64),
    /// Take that many bytes, then answer with the number, 8 bytes.
    Sink(u64),
    /// Take that many bytes, then answer with their [`hash`], 8 bytes.
    Check(u64),
    /// Send back that many bytes.
    Echo(u64),
    /// Read that many single bytes from /dev/zero, then answer with the nanoseconds that took, 8 bytes.
    Zero(u64),
    /// As `Source`, with [`HEADER`] bytes in front of each 64 KiB.
    Headed(u64),
}

/// The size of the server's reads and writes, in bytes.
pub const CHUNK: usize = 64 * 1024;

/// The length of the header of a frame of that size, RFC 6455 section 5.2.
pub const HEADER: usize = 10;

impl Command {
    /// The command as payload: two numbers in the machine's byte order.
    pub fn bytes(self) -> Vec<u8> {
        let (what, count): (u64, u64) = match self {
            Self::Source(count) => (1, count),
            Self::Sink(count) => (2, count),
            Self::Check(count) => (3, count),
            Self::Echo(count) => (4, count),
            Self::Zero(count) => (5, count),
            Self::Headed(count) => (6, count),
        };
        [what.to_ne_bytes(), count.to_ne_bytes()].concat()
    }
}

/// What the server sends in each write of 64 KiB.
pub fn pattern() -> Vec<u8> {
    (0..CHUNK).map(|i| (i.wrapping_mul(167).wrapping_add(i >> 8) & 0xff) as u8).collect()
}

/// The 64-bit FNV-1a hash.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(super::hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
