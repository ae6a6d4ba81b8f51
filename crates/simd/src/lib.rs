#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use aarch64::sum as own;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use x86::sum as own;

/// No instructions of its own.
#[cfg(not(any(
    target_arch = "x86",
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon")
)))]
fn own(_: &[[u8; 32]]) -> Option<u64> {
    None
}

/// Sums the 32-bit words of `chunks`, each in the byte order of the processor.
///
/// The sum is exact below 2^32 words (16 GiB).
#[must_use]
#[inline]
pub fn sum(chunks: &[[u8; 32]]) -> u64 {
    own(chunks).unwrap_or_else(|| plain(chunks))
}

/// Sums in eight lanes, which the compiler turns into additions of vectors. Not inlined: where registers are
/// short, the compiler does not do so, and it takes twice as long.
#[inline(never)]
fn plain(chunks: &[[u8; 32]]) -> u64 {
    let mut lanes = [0_u64; 8];
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word by word.
    fn slow(bytes: &[u8]) -> u64 {
        bytes.chunks(4).map(|word| u64::from(u32::from_ne_bytes(word.try_into().unwrap()))).sum()
    }

    proptest! {
        /// Every length and every alignment in memory.
        #[test]
        fn every_way_gives_the_sum_of_the_words(
            bytes in prop::collection::vec(any::<u8>(), 0..3000), skip in 0..64_usize,
        ) {
            let (chunks, _) = bytes.get(skip..).unwrap_or_default().as_chunks::<32>();
            let expected = slow(chunks.as_flattened());
            prop_assert_eq!(plain(chunks), expected);
            prop_assert_eq!(sum(chunks), expected);
        }
    }

    #[test]
    fn the_largest_words_do_not_overflow() {
        let chunks = [[0xff; 32]; 2048];
        assert_eq!(sum(&chunks), 2048 * 8 * u64::from(u32::MAX));
        assert_eq!(sum(&[]), 0);
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    #[test]
    fn a_processor_with_avx2_uses_it() {
        extern crate std;
        let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
        assert_eq!(own(&[[1; 32]]), has_avx2.then_some(8 * 0x0101_0101));
    }
}
