//! Reassembly of fragmented frames.

use alloc::vec;
use alloc::vec::Vec;

/// The longest frame that is fragmented: a jumbo frame with two tags.
pub(crate) const FRAME_LEN_MAX: usize = 9216;
/// The flag of the last fragment, in its offset.
pub(crate) const LAST: u16 = 1 << 15;

/// The number of frames in reassembly: a network rarely reorders more.
const FRAMES_MAX: usize = 4;

/// The reassembly buffers of one peer: at most 36 KiB, allocated with the first fragment.
///
/// Fragments usually arrive in order. Out of order they are accepted as well. Overlapping fragments discard
/// the frame: no valid sender makes them.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    frames: Vec<Frame>,
    /// The buffer that is reused next, in turn.
    oldest: usize,
    sent: u16,
}

#[derive(Debug)]
struct Frame {
    number: u16,
    bytes: Vec<u8>,
    /// The number of bytes received, and the length of the frame once it is known.
    received: usize,
    total: Option<usize>,
    /// The start and end of each fragment.
    ranges: Vec<(usize, usize)>,
}

impl Frame {
    /// Fragments of one frame: of the shortest path that there is (a datagram of 576 bytes).
    const RANGES_MAX: usize = 32;

    fn new(number: u16) -> Self {
        let ranges = Vec::with_capacity(Self::RANGES_MAX);
        Self { number, bytes: vec![0; FRAME_LEN_MAX], received: 0, total: None, ranges }
    }

    fn restart(&mut self, number: u16) {
        self.number = number;
        (self.received, self.total) = (0, None);
        self.ranges.clear();
    }

    /// Adds a fragment; `None` if it contradicts the others.
    fn take(&mut self, start: usize, last: bool, piece: &[u8]) -> Option<()> {
        let end = start + piece.len();
        let overlaps = self.ranges.iter().any(|&(from, to)| start < to && from < end);
        let past = self.total.is_some_and(|total| end > total || last);
        let short = last && self.ranges.iter().any(|&(_, to)| to > end);
        if overlaps || past || short || self.ranges.len() >= Self::RANGES_MAX {
            return None;
        }
        self.bytes.get_mut(start..end)?.copy_from_slice(piece);
        self.ranges.push((start, end));
        self.received += piece.len();
        if last {
            self.total = Some(end);
        }
        Some(())
    }
}

impl Reassembly {
    /// The number of the next frame that we fragment.
    pub(crate) const fn next_number(&mut self) -> u16 {
        self.sent = self.sent.wrapping_add(1);
        self.sent
    }

    /// The number of the last frame that we fragmented.
    pub(crate) const fn sent(&self) -> u16 {
        self.sent
    }

    /// Continues the numbers of frames after that one.
    pub(crate) const fn restore(&mut self, sent: u16) {
        self.sent = sent;
    }

    /// Adds a fragment (the message after its first byte, without padding); returns the frame once it is complete.
    pub(crate) fn take(&mut self, fragment: &[u8]) -> Option<&[u8]> {
        let (&[n0, n1, o0, o1], piece) = fragment.split_first_chunk()?;
        let (number, offset) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([o0, o1]));
        self.take_piece(number, usize::from(offset & !LAST), offset & LAST != 0, piece)
    }

    /// Adds bytes from offset `start` of the frame with that number; returns the frame once it is complete.
    pub(crate) fn take_piece(
        &mut self,
        number: u16,
        start: usize,
        last: bool,
        piece: &[u8],
    ) -> Option<&[u8]> {
        let at = self.place_of(number);
        let frame = self.frames.get_mut(at)?;
        if piece.is_empty() || frame.take(start, last, piece).is_none() {
            frame.restart(number);
            return None;
        }
        let total = frame.total.filter(|&total| total == frame.received)?;
        frame.restart(number);
        frame.bytes.get(..total)
    }

    fn place_of(&mut self, number: u16) -> usize {
        if let Some(at) = self.frames.iter().position(|frame| frame.number == number) {
            return at;
        }
        if self.frames.len() < FRAMES_MAX {
            self.frames.push(Frame::new(number));
            return self.frames.len() - 1;
        }
        let at = self.oldest;
        self.oldest = (at + 1) % FRAMES_MAX;
        if let Some(frame) = self.frames.get_mut(at) {
            frame.restart(number);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(number: u16, start: usize, last: bool, piece: &[u8]) -> Vec<u8> {
        let offset = u16::try_from(start).unwrap() | if last { LAST } else { 0 };
        [&number.to_be_bytes()[..], &offset.to_be_bytes(), piece].concat()
    }

    fn cut(number: u16, frame: &[u8], size: usize) -> Vec<Vec<u8>> {
        (0..frame.len())
            .step_by(size)
            .map(|at| {
                let end = frame.len().min(at + size);
                fragment(number, at, end == frame.len(), &frame[at..end])
            })
            .collect()
    }

    #[test]
    fn frames_in_any_order_and_mixed() {
        let first: Vec<u8> = (0..=255).cycle().take(1514).collect();
        let second: Vec<u8> = first.iter().map(|byte| !byte).collect();
        let mut reassembly = Reassembly::default();
        let (a, b) = (cut(1, &first, 600), cut(2, &second, 900));
        for piece in [&a[2], &b[1], &a[0]] {
            assert!(reassembly.take(piece).is_none());
        }
        assert_eq!(reassembly.take(&a[1]), Some(&first[..]));
        assert_eq!(reassembly.take(&b[0]), Some(&second[..]));
    }

    #[test]
    fn contradicting_fragments_end_a_datagram() {
        let mut reassembly = Reassembly::default();
        assert!(reassembly.take(&fragment(1, 0, false, &[1; 100])).is_none());
        assert!(reassembly.take(&fragment(1, 50, true, &[2; 100])).is_none(), "overlaps");
        assert!(reassembly.take(&fragment(1, 100, true, &[2; 100])).is_none(), "is forgotten");
        for start in [9000, 9216, 20_000, 32_767] {
            assert!(reassembly.take(&fragment(3, start, true, &[0; 300])).is_none());
        }
        assert!(reassembly.take(&fragment(4, 0, true, &[])).is_none());
        assert!(reassembly.take(&[0; 3]).is_none());
    }

    proptest! {
        #[test]
        fn memory_has_a_bound_whatever_comes(
            pieces in prop::collection::vec(
                (any::<u16>(), 0_usize..10_000, any::<bool>(), 0_usize..1500), 0..200),
        ) {
            let mut reassembly = Reassembly::default();
            for (number, start, last, len) in pieces {
                let start = start & 0x7fff;
                if let Some(frame) = reassembly.take(&fragment(number % 8, start, last, &[7; 1500][..len])) {
                    prop_assert!(frame.len() <= FRAME_LEN_MAX);
                }
                let held: usize = reassembly.frames.iter().map(|frame| frame.bytes.len()).sum();
                prop_assert!(held <= FRAMES_MAX * FRAME_LEN_MAX);
            }
        }
    }
}
