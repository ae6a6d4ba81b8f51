//! The sum in AVX2, on x86 and x86-64.
#![expect(unsafe_code, reason = "a processor's own instructions; see the contract of the crate")]

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

use arch::{
    __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_sub_epi64,
};

// Asks the processor once, and whether the system saves the registers. The standard library, which can
// do so as well, is not at hand without `std`.
cpufeatures::new!(avx2, "avx2");

/// The sum, or `None` if the processor lacks AVX2.
#[inline]
pub(crate) fn sum(chunks: &[[u8; 32]]) -> Option<u64> {
    if !avx2::get() {
        return None;
    }
    // SAFETY: the processor has AVX2.
    Some(unsafe { sum_avx2(chunks) })
}

/// Sums 64-bit words, modulo 2^64, and their high halves, exactly. The low halves are the difference: two
/// additions and one shift for eight words of 32 bits.
#[target_feature(enable = "avx2")]
fn sum_avx2(chunks: &[[u8; 32]]) -> u64 {
    let zero = _mm256_setzero_si256();
    // Four of each: an addition need not wait for the one before.
    let (mut all, mut high) = ([zero; 4], [zero; 4]);
    let add = |all: &mut __m256i, high: &mut __m256i, chunk: &[u8; 32]| {
        // SAFETY: 32 bytes can be read; the load takes any alignment.
        let words = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
        *all = _mm256_add_epi64(*all, words);
        *high = _mm256_add_epi64(*high, _mm256_srli_epi64::<32>(words));
    };
    let (blocks, rest) = chunks.as_chunks::<4>();
    for block in blocks {
        for ((all, high), chunk) in all.iter_mut().zip(&mut high).zip(block) {
            add(all, high, chunk);
        }
    }
    for ((all, high), chunk) in all.iter_mut().zip(&mut high).zip(rest) {
        add(all, high, chunk);
    }
    let [all, high] = [all, high]
        .map(|[a, b, c, d]| _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
    let low = _mm256_sub_epi64(all, _mm256_slli_epi64::<32>(high));
    let sum = _mm256_add_epi64(low, high);
    let mut lanes = [0_u64; 4];
    // SAFETY: 32 bytes can be written; the store takes any alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
    lanes.into_iter().sum()
}
