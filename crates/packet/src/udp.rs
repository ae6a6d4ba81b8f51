//! The UDP header.

use crate::ports::set_port;
use crate::{Malformed, checksum};

/// A UDP datagram with a valid length.
///
/// ```text
///  0             2             4        6          8
///  | source port | destination | length | checksum | payload up to length |
/// ```
///
/// Source: RFC 768.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    head: &'a [u8; UdpHeader::LEN],
    payload: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Parses the header. Bytes after the length are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::UdpShort`]; [`Malformed::UdpLen`] if the length is less than the header or
    /// exceeds the packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let head: &[u8; UdpHeader::LEN] = datagram.first_chunk().ok_or(Malformed::UdpShort)?;
        let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let payload = datagram.get(UdpHeader::LEN..len).ok_or(Malformed::UdpLen)?;
        Ok(Self { head, payload })
    }

    /// The fields of the header.
    #[must_use]
    pub fn header(&self) -> UdpHeader {
        UdpHeader {
            source_port: self.source_port(),
            destination_port: self.destination_port(),
            len: self.len(),
            checksum: self.checksum(),
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

    /// The length of header and payload in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the header's field, at least 8")]
    pub const fn len(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// The checksum field; 0 means none.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }

    /// The payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A UDP header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpHeader {
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// The length of header and payload in bytes.
    pub len: u16,
    /// The checksum over pseudo header, header and payload; written unchanged.
    pub checksum: u16,
}

impl UdpHeader {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// The header as bytes.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.destination_port.to_be_bytes();
        let [l0, l1] = self.len.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }
}

/// A UDP header for editing in place. Edits keep a complete checksum valid, and none stays none.
///
/// A partial checksum (`NEEDS_CSUM`) covers the addresses only: use [`Self::head_mut`] then, and
/// update nothing.
#[derive(Debug)]
pub struct UdpMut<'a> {
    head: &'a mut [u8; UdpHeader::LEN],
}

impl<'a> UdpMut<'a> {
    /// Takes a datagram that [`Udp::parse`] accepts.
    ///
    /// # Errors
    ///
    /// As [`Udp::parse`].
    pub fn parse(datagram: &'a mut [u8]) -> Result<Self, Malformed> {
        Udp::parse(datagram)?;
        Ok(Self { head: datagram.first_chunk_mut().ok_or(Malformed::UdpShort)? })
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

    /// Sets the checksum; 0 means none.
    pub fn set_checksum(&mut self, checksum: u16) {
        [self.head[6], self.head[7]] = checksum.to_be_bytes();
    }

    /// Updates the checksum for a 16-bit word that changed, such as a port.
    pub fn adjust16(&mut self, old: u16, new: u16) {
        self.adjust(|check| checksum::update16(check, old, new));
    }

    /// Updates the checksum for a 32-bit word that changed, such as an IPv4 address.
    pub fn adjust32(&mut self, old: u32, new: u32) {
        self.adjust(|check| checksum::update32(check, old, new));
    }

    /// The header as bytes.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut [u8; UdpHeader::LEN] {
        self.head
    }

    fn adjust(&mut self, update: impl FnOnce(u16) -> u16) {
        match u16::from_be_bytes([self.head[6], self.head[7]]) {
            0 => {}
            check => self.set_checksum(match update(check) {
                0 => 0xffff,
                check => check,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 10] = [0, 53, 0xc0, 0, 0, 9, 0x12, 0x34, b'x', 0xee];
    const HEADER: UdpHeader =
        UdpHeader { source_port: 53, destination_port: 0xc000, len: 9, checksum: 0x1234 };

    #[test]
    fn bytes_both_ways() {
        assert_eq!(HEADER.to_bytes(), BYTES[..8]);
        let view = Udp::parse(&BYTES).unwrap();
        assert_eq!((view.header(), view.payload()), (HEADER, &b"x"[..]));
    }

    #[test]
    fn edits_keep_the_checksum_and_none_stays_none() {
        let mut bytes = BYTES;
        let sum = checksum::of(&bytes);
        let mut edit = UdpMut::parse(&mut bytes).unwrap();
        edit.set_source_port(54);
        edit.set_destination_port(7);
        assert_eq!(checksum::of(&bytes), sum);
        bytes[6..8].fill(0);
        UdpMut::parse(&mut bytes).unwrap().set_source_port(55);
        assert_eq!(Udp::parse(&bytes).unwrap().checksum(), 0);
    }

    #[test]
    fn a_checksum_never_becomes_none() {
        let mut bytes = [0, 1, 0, 0, 0, 8, 0xff, 0xfe];
        UdpMut::parse(&mut bytes).unwrap().set_destination_port(0xfffe);
        assert_eq!(Udp::parse(&bytes).unwrap().checksum(), 0xffff);
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(Udp::parse(&BYTES[..7]).unwrap_err(), Malformed::UdpShort);
        assert_eq!(Udp::parse(&BYTES[..8]).unwrap_err(), Malformed::UdpLen);
        let mut bytes = BYTES;
        bytes[5] = 7;
        assert_eq!(Udp::parse(&bytes).unwrap_err(), Malformed::UdpLen);
    }
}
