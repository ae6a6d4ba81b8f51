//! The bytes of a stream that an engine may want again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What the engine keeps of a stream's way to it: see [`FlowRequest::Keep`].
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) piece_max: usize,
    /// Delivered at least once and not released; the first byte is at `start` in the stream.
    pub(super) bytes: VecDeque<u8>,
    pub(super) start: u64,
}

impl Kept {
    pub(super) fn end(&self) -> u64 {
        self.start + count(self.bytes.len())
    }

    /// What is delivered again from a position on.
    pub(super) fn again(&self, position: u64, most: usize) -> Vec<u8> {
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        self.bytes.iter().skip(from).take(most).copied().collect()
    }
}

pub(super) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
