//! TCP segments: what one from the inside says, and options of those to it.

use adit_packet::{Tcp, TcpFlags, TcpOption};

/// The largest window scale (RFC 7323, 2.3).
const SHIFT_MAX: u8 = 14;

/// The urgent pointer of a SYN, without URG, that the rules of its namespace lead to the runtime's listening socket
/// when it comes back ([`Config::splice`](crate::Config::splice)).
pub const SPLICE_TAG: u16 = 0xAD17;

/// SACK blocks of one segment.
const BLOCKS_MAX: usize = 4;

/// The header of a segment from the inside.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct Segment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) mss: Option<u16>,
    pub(super) scale: Option<u8>,
    pub(super) has_sack: bool,
    pub(super) timestamps: Option<(u32, u32)>,
    blocks: [(u32, u32); BLOCKS_MAX],
    block_count: usize,
    /// Offset and length of the payload in the packet.
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Segment {
    /// Reads the segment in `bytes`, whose TCP header is at `at` and which ends at `end`.
    pub(in crate::translate) fn parse(bytes: &[u8], at: usize, end: usize) -> Option<Self> {
        let tcp = Tcp::parse(bytes.get(at..end)?).ok()?;
        let mut segment = Self {
            seq: tcp.sequence(),
            ack: tcp.acknowledgment(),
            flags: tcp.flags(),
            window: tcp.window(),
            urgent: tcp.urgent(),
            mss: None,
            scale: None,
            has_sack: false,
            timestamps: None,
            blocks: [(0, 0); BLOCKS_MAX],
            block_count: 0,
            start: at + tcp.header_len(),
            len: tcp.payload().len(),
        };
        for option in tcp.options() {
            match option {
                TcpOption::MaxSegmentSize(mss) => segment.mss = Some(mss),
                TcpOption::WindowScale(shift) => segment.scale = Some(shift.min(SHIFT_MAX)),
                TcpOption::SackPermitted => segment.has_sack = true,
                TcpOption::Timestamps { value, echo } => segment.timestamps = Some((value, echo)),
                TcpOption::Sack(edges) => segment.read_blocks(edges),
                _ => {}
            }
        }
        Some(segment)
    }

    /// Whether it opens a connection.
    pub(in crate::translate) const fn is_syn(&self) -> bool {
        let kind = TcpFlags::SYN.with(TcpFlags::ACK).with(TcpFlags::RST).with(TcpFlags::FIN);
        self.flags.0 & kind.0 == TcpFlags::SYN.0
    }

    /// Whether it opens a connection that the runtime may take.
    pub(in crate::translate) const fn is_for_splice(&self) -> bool {
        self.is_syn() && self.urgent == SPLICE_TAG && !self.has(TcpFlags::URG)
    }

    pub(super) const fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.blocks.iter().copied().take(self.block_count)
    }

    /// Sequence and acknowledgment number of the RST that answers it where there is no connection (RFC 9293,
    /// 3.10.7.1); `None` if it is a RST itself.
    pub(in crate::translate) fn refusal(&self) -> Option<(u32, Option<u32>)> {
        if self.has(TcpFlags::RST) {
            return None;
        }
        if self.has(TcpFlags::ACK) {
            return Some((self.ack, None));
        }
        let controls = u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN));
        let len = u32::try_from(self.len).unwrap_or(0).wrapping_add(controls);
        Some((0, Some(self.seq.wrapping_add(len))))
    }

    fn read_blocks(&mut self, edges: &[u8]) {
        let (blocks, _) = edges.as_chunks::<8>();
        for (to, &[a, b, c, d, e, f, g, h]) in self.blocks.iter_mut().zip(blocks) {
            *to = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        }
        self.block_count = blocks.len().min(BLOCKS_MAX);
    }
}

/// TCP options to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    bytes: [u8; 40],
    len: usize,
}

impl Options {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; 40], len: 0 }
    }

    pub(super) fn mss(&mut self, mss: u16) {
        let [a, b] = mss.to_be_bytes();
        self.push(&[2, 4, a, b]);
    }

    pub(super) fn scale(&mut self, shift: u8) {
        self.push(&[1, 3, 3, shift]);
    }

    pub(super) fn sack_permitted(&mut self) {
        self.push(&[1, 1, 4, 2]);
    }

    pub(super) fn timestamps(&mut self, value: u32, echo: u32) {
        self.push(&[1, 1, 8, 10]);
        self.push(&value.to_be_bytes());
        self.push(&echo.to_be_bytes());
    }

    /// As many blocks as there is room for.
    pub(super) fn sack(&mut self, blocks: impl Iterator<Item = (u32, u32)>) {
        let room = (self.bytes.len() - self.len).saturating_sub(4) / 8;
        let at = self.len + 3;
        for (number, (start, end)) in (1_u8..).zip(blocks.take(room)) {
            if number == 1 {
                self.push(&[1, 1, 5, 0]);
            }
            self.push(&start.to_be_bytes());
            self.push(&end.to_be_bytes());
            if let Some(len) = self.bytes.get_mut(at) {
                *len = 2 + 8 * number;
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::TcpHeader;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn options_both_ways() {
        let mut options = Options::new();
        options.mss(1460);
        options.sack_permitted();
        options.timestamps(7, 9);
        options.scale(99);
        let header = TcpHeader {
            source_port: 1,
            destination_port: 2,
            sequence: 3,
            acknowledgment: 4,
            flags: TcpFlags::SYN,
            window: 5,
            checksum: 0,
            urgent: 0,
        };
        let len = u8::try_from(options.bytes().len()).unwrap();
        let bytes =
            [&[9; 4][..], &header.to_bytes(len), options.bytes(), b"data", &[0; 3]].concat();
        let segment = Segment::parse(&bytes, 4, bytes.len() - 3).unwrap();
        assert!(segment.is_syn() && segment.has_sack);
        assert_eq!((segment.mss, segment.scale), (Some(1460), Some(14)));
        assert_eq!(segment.timestamps, Some((7, 9)));
        assert_eq!((segment.start, segment.len), (4 + 20 + usize::from(len), 4));
        assert_eq!(segment.refusal(), Some((0, Some(3 + 4 + 1))));
    }

    #[test]
    fn sack_blocks_fill_what_room_there_is() {
        let blocks: Vec<_> = (0..9).map(|at| (at * 10, at * 10 + 5)).collect();
        for (with_timestamps, count) in [(true, 3), (false, 4)] {
            let mut options = Options::new();
            if with_timestamps {
                options.timestamps(1, 2);
            }
            options.sack(blocks.iter().copied());
            let mut bytes = vec![0; 20];
            bytes[12] = u8::try_from(5 + options.bytes().len() / 4).unwrap() << 4;
            bytes.extend(options.bytes());
            let segment = Segment::parse(&bytes, 0, bytes.len()).unwrap();
            assert_eq!(segment.blocks().collect::<Vec<_>>(), blocks[..count]);
        }
        let mut options = Options::new();
        options.sack([].into_iter());
        assert_eq!(options.bytes(), []);
    }
}
