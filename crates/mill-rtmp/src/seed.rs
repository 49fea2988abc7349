//! Filler for the handshake: a stream of bytes from a seed.
//!
//! The handshake sends random bytes that protect nothing, so a small generator is enough and the crate
//! needs no source of randomness. Not for secrets. SplitMix64 (Steele, Lea, Flood 2014), one word of state.

/// A generator; the same seed gives the same bytes.
#[derive(Debug, Clone)]
pub(crate) struct Filler(u64);

impl Filler {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^= word >> 31;
            piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
        }
    }
}
