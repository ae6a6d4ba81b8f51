//! Frames on a byte stream, as QEMU's `-netdev stream` has them: pure, no input or output.
//!
//! ```text
//!  0            4                length + 4
//!  | length, BE | frame           | length, BE | frame ...
//! ```
//!
//! Source: QEMU `net/stream.c`, `net_socket_rs_init` in `net/net.c`.

/// The longest frame: what IP can name, with its Ethernet header and two tags.
pub(crate) const FRAME_LEN_MAX: usize = 65_535 + 14 + 8;

/// The shortest frame: an Ethernet header.
pub(crate) const FRAME_LEN_MIN: usize = 14;

/// How many bytes stand before each frame.
const LENGTH_LEN: usize = 4;

/// The longest frame with its length, and as much again, so that a read is never short of room.
const DECODER_LEN: usize = 2 * (FRAME_LEN_MAX + LENGTH_LEN);

/// What comes next in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// Something too short for a frame; it is skipped.
    Runt,
    /// Nothing until more bytes come.
    More,
    /// A length that no frame has: the stream is lost, for nobody knows where the next one begins.
    TooLong,
}

/// Takes frames out of a stream that comes in pieces. Its memory does not grow.
#[derive(Debug)]
pub(crate) struct Decoder {
    buf: Box<[u8]>,
    /// What came and was not taken out: `start <= end <= buf.len()`.
    start: usize,
    end: usize,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { buf: vec![0; DECODER_LEN].into(), start: 0, end: 0 }
    }

    /// Room for what comes next, never empty after [`Self::next_frame`] said `More`.
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buf.len() - self.end < DECODER_LEN / 2 {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buf[self.end..]
    }

    /// So many bytes were put into the spare room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buf.len());
    }

    /// The next frame.
    pub(crate) fn next_frame(&mut self) -> Next<'_> {
        let Some((length, rest)) = self.buf[self.start..self.end].split_first_chunk() else {
            return Next::More;
        };
        let Ok(length) = usize::try_from(u32::from_be_bytes(*length)) else { return Next::TooLong };
        if length > FRAME_LEN_MAX {
            return Next::TooLong;
        }
        if rest.len() < length {
            return Next::More;
        }
        let from = self.start + LENGTH_LEN;
        self.start = from + length;
        if length < FRAME_LEN_MIN {
            Next::Runt
        } else {
            Next::Frame(&self.buf[from..from + length])
        }
    }

    /// Whether [`Self::next_frame`] would say anything but `More`.
    pub(crate) fn has_next(&self) -> bool {
        let Some((length, rest)) = self.buf[self.start..self.end].split_first_chunk() else {
            return false;
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        length > FRAME_LEN_MAX || rest.len() >= length
    }
}

/// How many bytes may wait for a stream's reader: 8 super-packets cut up, or 4 ms at 1 Gbit/s.
const ENCODER_LEN: usize = 512 << 10;

/// Frames on their way into a stream, one after the other, so that one write takes many. Its memory
/// does not grow.
#[derive(Debug)]
pub(crate) struct Encoder {
    buf: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { buf: vec![0; ENCODER_LEN].into(), start: 0, end: 0 }
    }

    /// Appends a frame given in two parts; `false` if there is no room, and then nothing is appended.
    #[must_use]
    pub(crate) fn push(&mut self, head: &[u8], tail: &[u8]) -> bool {
        let length = head.len() + tail.len();
        let total = length + LENGTH_LEN;
        if self.buf.len() - self.end < total {
            if self.buf.len() - (self.end - self.start) < total {
                return false;
            }
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let Ok(length) = u32::try_from(length) else { return false };
        for part in [&length.to_be_bytes()[..], head, tail] {
            self.buf[self.end..self.end + part.len()].copy_from_slice(part);
            self.end += part.len();
        }
        true
    }

    /// What waits, first byte first.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// So many bytes of [`Self::bytes`] were written.
    pub(crate) fn written(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// What must hold whatever the bytes of a stream are, and however they are cut into pieces: the
/// frames are those that a look at the whole stream finds. The first byte says how it is cut.
///
/// # Panics
/// If it does not hold.
pub(crate) fn exercise(bytes: &[u8]) {
    let Some((&step, stream)) = bytes.split_first() else { return };
    let (mut decoder, mut frames, mut broken) = (Decoder::new(), Vec::new(), false);
    let mut rest = stream;
    while !broken {
        match decoder.next_frame() {
            Next::Frame(frame) => frames.push(frame.to_vec()),
            Next::Runt => {}
            Next::TooLong => broken = true,
            Next::More => {
                assert!(!decoder.has_next());
                let spare = decoder.spare_mut();
                assert!(!spare.is_empty(), "there is room for more");
                let count = rest.len().min(usize::from(step) + 1).min(spare.len());
                if count == 0 {
                    break;
                }
                let (now, later) = rest.split_at(count);
                spare[..count].copy_from_slice(now);
                decoder.filled(count);
                rest = later;
            }
        }
    }
    let mut encoder = Encoder::new();
    let (mut at, mut found) = (stream, frames.iter());
    while let Some((length, rest)) = at.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("64 bits");
        if length > FRAME_LEN_MAX {
            assert!(broken);
            break;
        }
        let Some((frame, rest)) = rest.split_at_checked(length) else { break };
        if length >= FRAME_LEN_MIN {
            let found = found.next().expect("each frame is found");
            assert_eq!(found, frame);
            let (head, tail) = frame.split_at(length / 3);
            if encoder.push(head, tail) {
                assert_eq!(encoder.bytes()[LENGTH_LEN..], *frame);
                encoder.written(usize::MAX);
            }
        }
        at = rest;
    }
    assert!(found.next().is_none(), "no frame is made up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(frames: &[Vec<u8>]) -> Vec<u8> {
        let prefix = |frame: &Vec<u8>| u32::try_from(frame.len()).unwrap().to_be_bytes();
        frames.iter().flat_map(|frame| [&prefix(frame)[..], frame].concat()).collect()
    }

    #[test]
    fn lengths_at_the_limits() {
        for (length, is_frame) in [(0, false), (13, false), (14, true), (FRAME_LEN_MAX, true)] {
            let mut stream = vec![255];
            stream.extend(encoded(&[vec![7; length], vec![8; 14]]));
            exercise(&stream);
            let mut decoder = Decoder::new();
            let spare = decoder.spare_mut();
            spare[..stream.len() - 1].copy_from_slice(&stream[1..]);
            decoder.filled(stream.len() - 1);
            let next = decoder.next_frame();
            assert_eq!(matches!(next, Next::Frame(_)), is_frame, "{length}");
            assert_eq!(decoder.next_frame(), Next::Frame(&[8; 14]));
            assert_eq!(decoder.next_frame(), Next::More);
        }
        for length in [FRAME_LEN_MAX + 1, 1 << 31, 0xffff_ffff] {
            let length = u32::try_from(length).unwrap().to_be_bytes();
            let mut decoder = Decoder::new();
            decoder.spare_mut()[..4].copy_from_slice(&length);
            decoder.filled(4);
            assert!(decoder.has_next());
            assert_eq!(decoder.next_frame(), Next::TooLong);
            assert_eq!(decoder.next_frame(), Next::TooLong, "and it stays so");
        }
    }

    #[test]
    fn a_full_encoder_refuses_whole_frames() {
        let mut encoder = Encoder::new();
        let frame = vec![1; 60_000];
        let mut count = 0;
        while encoder.push(&frame, &[]) {
            count += 1;
        }
        assert_eq!(count, ENCODER_LEN / 60_004);
        let len = encoder.bytes().len();
        assert_eq!(len, count * 60_004);
        encoder.written(60_004);
        assert!(encoder.push(&frame[..14], &frame[14..]), "room at the front is used");
        assert_eq!(encoder.bytes().len(), len);
        encoder.written(len);
        assert!(encoder.is_empty());
    }

    proptest! {
        #[test]
        fn any_stream_is_cut_right(
            step in any::<u8>(),
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            garbage in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut stream = vec![step];
            stream.extend(encoded(&frames));
            stream.extend(garbage);
            exercise(&stream);
        }

        #[test]
        fn any_bytes_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            exercise(&bytes);
        }
    }
}
