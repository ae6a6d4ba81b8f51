//! SipHash-1-3 over 64-bit words: without the key nobody can choose flows that collide.
//!
//! Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", with one round a word and
//! three at the end, as the hash tables of Rust's standard library use it.

/// The key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct SipKey(u64, u64);

impl SipKey {
    pub(super) const fn new(secret: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(secret);
        let mask = u64::MAX as u128;
        Self(low(bits & mask), low(bits >> 64))
    }

    /// The hash of some words.
    pub(super) fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        let mut state = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        let len = u64::try_from(N * 8).unwrap_or(0) << 56;
        for word in words.into_iter().chain([len]) {
            state[3] ^= word;
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        (0..3).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
const fn low(bits: u128) -> u64 {
    bits as u64
}

const fn round(state: &mut [u64; 4]) {
    let [mut v0, mut v1, mut v2, mut v3] = *state;
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    *state = [v0, v1, v2, v3];
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn it_is_the_hash_of_the_standard_library() {
        let key = SipKey::new(core::array::from_fn(|at| u8::try_from(at).unwrap()));
        for words in [[0, 0, 0], [1, 2, 3], [u64::MAX, 7, 1 << 63]] {
            // Its default hasher is SipHash-1-3 with a key of zero; SipHasher is SipHash-2-4.
            let mut std = std::collections::hash_map::DefaultHasher::new();
            words.iter().for_each(|&word| std.write_u64(word));
            assert_eq!(SipKey::new([0; 16]).hash(words), std.finish());
            assert_ne!(key.hash(words), std.finish());
        }
    }
}
