//! The sum in NEON, which every 64-bit ARM processor with floating point has.
#![expect(unsafe_code, reason = "a processor's own instructions; see the contract of the crate")]

use core::arch::aarch64::{vaddq_u64, vaddvq_u64, vdupq_n_u64, vld1q_u32, vpadalq_u32};

/// The sum: one instruction adds the four words of a register in pairs to two lanes of 64 bits.
pub(crate) fn sum(chunks: &[[u8; 32]]) -> Option<u64> {
    // SAFETY: NEON is part of the target.
    Some(unsafe { sum_neon(chunks) })
}

#[target_feature(enable = "neon")]
fn sum_neon(chunks: &[[u8; 32]]) -> u64 {
    // Four: an addition need not wait for the one before.
    let mut lanes = [vdupq_n_u64(0); 4];
    let (blocks, rest) = chunks.as_chunks::<2>();
    let mut add = |pair: &mut [_], chunk: &[u8; 32]| {
        for (lane, words) in pair.iter_mut().zip(chunk.as_chunks::<16>().0) {
            // SAFETY: 16 bytes can be read; the load takes any alignment.
            let words = unsafe { vld1q_u32(words.as_ptr().cast()) };
            *lane = vpadalq_u32(*lane, words);
        }
    };
    for block in blocks {
        for (pair, chunk) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(block) {
            add(pair, chunk);
        }
    }
    for (pair, chunk) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(rest) {
        add(pair, chunk);
    }
    let [a, b, c, d] = lanes;
    vaddvq_u64(vaddq_u64(vaddq_u64(a, b), vaddq_u64(c, d)))
}
