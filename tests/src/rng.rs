//! Deterministic pseudo-random numbers: a failing test is repeated by running it again.

/// An xorshift64* generator. Prints its seed when the test that owns it fails.
#[derive(Debug)]
pub struct Rng {
    seed: u64,
    state: u64,
    told: bool,
}

impl Rng {
    /// A generator whose numbers follow from `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // A zero state would stay zero; the odd constant spreads small seeds over all bits.
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D;
        Self { seed, state: state.max(1), told: true }
    }

    /// The same without a word when a test fails: for what no test chooses, such as masks.
    pub(crate) fn silent(seed: u64) -> Self {
        let mut rng = Self::new(seed);
        rng.told = false;
        rng
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// If `low` is above `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        assert!(low <= high, "no number between {low} and {high}");
        let span = (high - low) as u64 + 1;
        low + (self.bits() % span) as usize
    }

    /// True once in `n` times on average.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.between(1, n) == 1
    }

    /// `len` bytes of every value.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// A length that is often tiny, often at a border of the RFC 6455 length forms, at times large; at most `limit`.
    pub fn length(&mut self, limit: usize) -> usize {
        let wish = match self.between(0, 7) {
            0..=2 => self.between(1, 9),
            3 => self.between(124, 128),
            4 | 5 => self.between(10, 4096),
            6 => self.between(65_533, 65_538),
            _ => self.between(4097, 150_000),
        };
        wish.min(limit)
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        if self.told && std::thread::panicking() {
            eprintln!("random numbers of this test: seed {}", self.seed);
        }
    }
}
