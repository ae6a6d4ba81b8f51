//! The TCP header and its options.

use crate::ports::set_port;
use crate::{Malformed, checksum};

/// The flags of a TCP segment (RFC 9293, 3.1; RFC 3168).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN: no more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// SYN: synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// RST: reset the connection.
    pub const RST: Self = Self(0x04);
    /// PSH: push.
    pub const PSH: Self = Self(0x08);
    /// ACK: the acknowledgment number is valid.
    pub const ACK: Self = Self(0x10);
    /// URG: the urgent pointer is valid.
    pub const URG: Self = Self(0x20);
    /// ECE: ECN echo.
    pub const ECE: Self = Self(0x40);
    /// CWR: congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// The union with `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Without `flags`.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

/// Prints the names of the set flags, as `SYN|ACK`.
impl core::fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut first = true;
        for (bit, name) in names.into_iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                f.write_str(if first { "" } else { "|" })?;
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// A TCP segment with a valid header length.
///
/// ```text
///  0             2             4          8                12      13      14       16         18
///  | source port | destination | sequence | acknowledgment | words | flags | window | checksum | urgent
///  20
///  | options, 0 to 40 bytes | payload |
/// ```
///
/// Source: RFC 9293, 3.1.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    head: &'a [u8; TcpHeader::LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// Parses the header; everything after it is payload.
    ///
    /// # Errors
    ///
    /// [`Malformed::TcpShort`], [`Malformed::TcpHeaderLen`].
    pub fn parse(segment: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest) = segment.split_first_chunk().ok_or(Malformed::TcpShort)?;
        let head: &[u8; TcpHeader::LEN] = head;
        let options_len = (usize::from(head[12] >> 4) * 4)
            .checked_sub(TcpHeader::LEN)
            .ok_or(Malformed::TcpHeaderLen)?;
        let (options, payload) =
            rest.split_at_checked(options_len).ok_or(Malformed::TcpHeaderLen)?;
        Ok(Self { head, options, payload })
    }

    /// The fields of the fixed header.
    #[must_use]
    pub fn header(&self) -> TcpHeader {
        TcpHeader {
            source_port: self.source_port(),
            destination_port: self.destination_port(),
            sequence: self.sequence(),
            acknowledgment: self.acknowledgment(),
            flags: self.flags(),
            window: self.window(),
            checksum: self.checksum(),
            urgent: self.urgent(),
        }
    }

    /// The source port.
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// The destination port.
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// The sequence number of the first payload byte (of SYN itself).
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]])
    }

    /// The next sequence number that the sender expects.
    #[must_use]
    pub const fn acknowledgment(&self) -> u32 {
        u32::from_be_bytes([self.head[8], self.head[9], self.head[10], self.head[11]])
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> TcpFlags {
        TcpFlags(self.head[13])
    }

    /// The window, not scaled.
    #[must_use]
    pub const fn window(&self) -> u16 {
        u16::from_be_bytes([self.head[14], self.head[15]])
    }

    /// The checksum field.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[16], self.head[17]])
    }

    /// The urgent pointer.
    #[must_use]
    pub const fn urgent(&self) -> u16 {
        u16::from_be_bytes([self.head[18], self.head[19]])
    }

    /// The options as bytes.
    #[must_use]
    pub const fn options_bytes(&self) -> &'a [u8] {
        self.options
    }

    /// The options, up to the first malformed one.
    #[must_use]
    pub const fn options(&self) -> TcpOptions<'a> {
        TcpOptions { rest: self.options }
    }

    /// The length of header and options in bytes, 20 to 60.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        TcpHeader::LEN + self.options.len()
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A TCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// The maximum segment size that the sender accepts (kind 2).
    MaxSegmentSize(u16),
    /// The window scale (kind 3, RFC 7323).
    WindowScale(u8),
    /// Selective acknowledgments are permitted (kind 4, RFC 2018).
    SackPermitted,
    /// Selective acknowledgments: pairs of 32-bit edges (kind 5).
    Sack(&'a [u8]),
    /// Timestamps (kind 8, RFC 7323).
    Timestamps {
        /// The sender's timestamp.
        value: u32,
        /// The last timestamp received from the peer.
        echo: u32,
    },
    /// Any other option.
    Other {
        /// Its kind.
        kind: u8,
        /// Its bytes without kind and length.
        data: &'a [u8],
    },
}

/// The options of one segment. The iterator ends at the end-of-list option or the first malformed
/// one.
#[derive(Clone, Debug)]
pub struct TcpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        const END: u8 = 0;
        const NOP: u8 = 1;
        loop {
            match *self.rest {
                [NOP, ref rest @ ..] => self.rest = rest,
                [kind, len, ..] if kind != END => {
                    let (option, rest) = self.rest.split_at_checked(usize::from(len))?;
                    let data = option.get(2..)?;
                    self.rest = rest;
                    return Some(match (kind, data) {
                        (2, &[a, b]) => TcpOption::MaxSegmentSize(u16::from_be_bytes([a, b])),
                        (3, &[shift]) => TcpOption::WindowScale(shift),
                        (4, []) => TcpOption::SackPermitted,
                        (5, edges) => TcpOption::Sack(edges),
                        (8, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
                            value: u32::from_be_bytes([a, b, c, d]),
                            echo: u32::from_be_bytes([e, f, g, h]),
                        },
                        (kind, data) => TcpOption::Other { kind, data },
                    });
                }
                _ => return None,
            }
        }
    }
}

/// A TCP header without options, to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpHeader {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The sequence number of the first payload byte.
    pub sequence: u32,
    /// The next sequence number expected.
    pub acknowledgment: u32,
    /// The flags.
    pub flags: TcpFlags,
    /// The window, not scaled.
    pub window: u16,
    /// The checksum over pseudo header, header and payload; written unchanged.
    pub checksum: u16,
    /// The urgent pointer.
    pub urgent: u16,
}

impl TcpHeader {
    /// Its length in bytes, without options.
    pub const LEN: usize = 20;

    /// The fixed header as bytes, for `options_len` bytes of options after it (a multiple of 4, at
    /// most 40).
    #[must_use]
    pub fn to_bytes(&self, options_len: u8) -> [u8; Self::LEN] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [n0, n1, n2, n3] = self.sequence.to_be_bytes();
        let [a0, a1, a2, a3] = self.acknowledgment.to_be_bytes();
        let [w0, w1] = self.window.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        let [u0, u1] = self.urgent.to_be_bytes();
        let words = (5 + options_len.min(40) / 4) << 4;
        [
            s0,
            s1,
            d0,
            d1,
            n0,
            n1,
            n2,
            n3,
            a0,
            a1,
            a2,
            a3,
            words,
            self.flags.0,
            w0,
            w1,
            c0,
            c1,
            u0,
            u1,
        ]
    }
}

/// The fixed part of a TCP header, for editing in place.
///
/// Edits keep a complete checksum valid. A partial checksum (`NEEDS_CSUM`) covers the addresses
/// only: use [`Self::head_mut`] then, and update nothing.
#[derive(Debug)]
pub struct TcpMut<'a> {
    head: &'a mut [u8; TcpHeader::LEN],
}

impl<'a> TcpMut<'a> {
    /// Takes a segment that [`Tcp::parse`] accepts.
    ///
    /// # Errors
    ///
    /// As [`Tcp::parse`].
    pub fn parse(segment: &'a mut [u8]) -> Result<Self, Malformed> {
        Tcp::parse(segment)?;
        Ok(Self { head: segment.first_chunk_mut().ok_or(Malformed::TcpShort)? })
    }

    /// Sets the source port and updates the checksum.
    pub fn set_source_port(&mut self, port: u16) {
        let [high, low, ..] = self.head;
        let old = set_port([high, low], port);
        self.adjust16(old, port);
    }

    /// Sets the destination port and updates the checksum.
    pub fn set_destination_port(&mut self, port: u16) {
        let [_, _, high, low, ..] = self.head;
        let old = set_port([high, low], port);
        self.adjust16(old, port);
    }

    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        [self.head[16], self.head[17]] = checksum.to_be_bytes();
    }

    /// Updates the checksum for a 16-bit word that changed, such as a port.
    pub fn adjust16(&mut self, old: u16, new: u16) {
        self.set_checksum(checksum::update16(self.checksum(), old, new));
    }

    /// Updates the checksum for a 32-bit word that changed, such as an IPv4 address.
    pub fn adjust32(&mut self, old: u32, new: u32) {
        self.set_checksum(checksum::update32(self.checksum(), old, new));
    }

    /// The fixed header as bytes.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut [u8; TcpHeader::LEN] {
        self.head
    }

    fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[16], self.head[17]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    const BYTES: [u8; 20] =
        [0, 80, 0xc0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x12, 0xff, 0xfe, 0xab, 0xcd, 0, 9];
    const HEADER: TcpHeader = TcpHeader {
        source_port: 80,
        destination_port: 0xc001,
        sequence: 0x0102_0304,
        acknowledgment: 0x0506_0708,
        flags: TcpFlags(0x12),
        window: 0xfffe,
        checksum: 0xabcd,
        urgent: 9,
    };

    #[test]
    fn bytes_both_ways() {
        assert_eq!(HEADER.to_bytes(0), BYTES);
        assert_eq!(Tcp::parse(&BYTES).unwrap().header(), HEADER);
        assert_eq!(format!("{:?} {:?}", HEADER.flags, TcpFlags(0)), "SYN|ACK none");
        assert!(HEADER.flags.contains(TcpFlags::SYN.with(TcpFlags::ACK)));
    }

    #[test]
    fn options_are_read_up_to_the_end() {
        let options = [
            2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7, 253, 3, 9, 0, 99, 99,
            0, 0,
        ];
        let mut segment = HEADER.to_bytes(28).to_vec();
        segment.extend(options);
        segment.extend(b"payload");
        let view = Tcp::parse(&segment).unwrap();
        assert_eq!((view.header_len(), view.payload()), (48, &b"payload"[..]));
        let expected = [
            TcpOption::MaxSegmentSize(1460),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: 1, echo: 2 },
            TcpOption::WindowScale(7),
            TcpOption::Other { kind: 253, data: &[9] },
        ];
        assert_eq!(view.options().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_malformed_option_ends_the_list() {
        for options in [[2, 0, 0, 0], [2, 1, 0, 0], [8, 10, 0, 0], [1, 1, 1, 5]] {
            let list = TcpOptions { rest: &options };
            assert_eq!(list.count(), 0, "{options:?}");
        }
    }

    #[test]
    fn edits_keep_the_checksum() {
        let mut bytes = BYTES;
        let sum = checksum::of(&bytes);
        let mut edit = TcpMut::parse(&mut bytes).unwrap();
        edit.set_source_port(8080);
        edit.set_destination_port(1);
        assert_eq!(checksum::of(&bytes), sum);
        assert_eq!(Tcp::parse(&bytes).unwrap().source_port(), 8080);
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(Tcp::parse(&BYTES[..19]).unwrap_err(), Malformed::TcpShort);
        for words in [0x40, 0x60] {
            let mut bytes = BYTES;
            bytes[12] = words;
            assert_eq!(Tcp::parse(&bytes).unwrap_err(), Malformed::TcpHeaderLen);
        }
    }
}
