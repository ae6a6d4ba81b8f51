//! The IPv4 header, with options.

use core::net::Ipv4Addr;

use crate::checksum::{self, Sum};
use crate::{Fragment, Malformed};

pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// An IPv4 packet with valid lengths. Its checksum is checked by [`Self::has_valid_checksum`] only.
///
/// ```text
///  0           1     2           4    6                  8     9          10         12       16
///  | 4 | words | tos | total len | id | flags | fragment | ttl | protocol | checksum | source | dest.
///  20
///  | options, 0 to 40 bytes | payload up to total len |
/// ```
///
/// Source: RFC 791, 3.1.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    head: &'a [u8; Ipv4Header::LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Parses the header. Bytes after the total length, a frame's padding, are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::Ipv4Short`], [`Malformed::Ipv4Version`], [`Malformed::Ipv4HeaderLen`];
    /// [`Malformed::Ipv4Len`] if the total length is less than the header or exceeds the packet.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let head: &[u8; Ipv4Header::LEN] = packet.first_chunk().ok_or(Malformed::Ipv4Short)?;
        if head[0] >> 4 != 4 {
            return Err(Malformed::Ipv4Version);
        }
        let header_len = usize::from(head[0] & 15) * 4;
        let total_len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let options = packet.get(Ipv4Header::LEN..header_len).ok_or(Malformed::Ipv4HeaderLen)?;
        let payload = packet.get(header_len..total_len).ok_or(Malformed::Ipv4Len)?;
        Ok(Self { head, options, payload })
    }

    /// The fields of the fixed header.
    #[must_use]
    pub fn header(&self) -> Ipv4Header {
        Ipv4Header {
            tos: self.head[1],
            total_len: self.total_len(),
            id: self.id(),
            dont_fragment: self.dont_fragment(),
            fragment: self.fragment(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            source: self.source(),
            destination: self.destination(),
        }
    }

    /// Differentiated services (6 bits) and ECN (2 bits).
    #[must_use]
    pub const fn tos(&self) -> u8 {
        self.head[1]
    }

    /// The length of header, options and payload in bytes.
    #[must_use]
    pub const fn total_len(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// The identification.
    #[must_use]
    pub const fn id(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Whether routers must not fragment it.
    #[must_use]
    pub const fn dont_fragment(&self) -> bool {
        self.flags() & DONT_FRAGMENT != 0
    }

    /// The fragment information; `None` for a whole packet.
    #[must_use]
    pub fn fragment(&self) -> Option<Fragment> {
        let fragment = Fragment {
            offset: (self.flags() & 0x1fff) << 3,
            more: self.flags() & MORE_FRAGMENTS != 0,
            id: u32::from(self.id()),
        };
        (fragment.more || fragment.offset != 0).then_some(fragment)
    }

    /// The remaining hops.
    #[must_use]
    pub const fn ttl(&self) -> u8 {
        self.head[8]
    }

    /// The protocol of the payload: [`ip_protocol`](crate::ip_protocol).
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.head[9]
    }

    /// The header checksum field.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[10], self.head[11]])
    }

    /// Whether the header checksum is valid.
    #[must_use]
    pub fn has_valid_checksum(&self) -> bool {
        Sum::ZERO.add_bytes(self.head).add_bytes(self.options).finish() == 0
    }

    /// The source address.
    #[must_use]
    pub const fn source(&self) -> Ipv4Addr {
        let &[.., a, b, c, d, _, _, _, _] = self.head;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The destination address.
    #[must_use]
    pub const fn destination(&self) -> Ipv4Addr {
        let &[.., a, b, c, d] = self.head;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The options, 0 to 40 bytes, not parsed.
    #[must_use]
    pub const fn options(&self) -> &'a [u8] {
        self.options
    }

    /// The length of header and options in bytes, 20 to 60.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        Ipv4Header::LEN + self.options.len()
    }

    /// The payload without a frame's padding.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    const fn flags(&self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]])
    }
}

/// An IPv4 header without options, to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Header {
    /// Differentiated services and ECN.
    pub tos: u8,
    /// The length of header and payload in bytes.
    pub total_len: u16,
    /// The identification.
    pub id: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// The fragment information; its `id` is not used here.
    pub fragment: Option<Fragment>,
    /// The remaining hops.
    pub ttl: u8,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Its length in bytes, without options.
    pub const LEN: usize = 20;

    /// The header as bytes, with a valid checksum.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        if let Some(fragment) = self.fragment {
            flags |= fragment.offset >> 3 | if fragment.more { MORE_FRAGMENTS } else { 0 };
        }
        let [l0, l1] = self.total_len.to_be_bytes();
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = flags.to_be_bytes();
        let [s0, s1, s2, s3] = self.source.octets();
        let [d0, d1, d2, d3] = self.destination.octets();
        let mut bytes = [
            0x45,
            self.tos,
            l0,
            l1,
            i0,
            i1,
            f0,
            f1,
            self.ttl,
            self.protocol,
            0,
            0, // checksum
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ];
        [bytes[10], bytes[11]] = checksum::of(&bytes).to_be_bytes();
        bytes
    }
}

/// The fixed part of an IPv4 header, for editing in place. Every change keeps the checksum valid.
#[derive(Debug)]
pub struct Ipv4Mut<'a> {
    head: &'a mut [u8; Ipv4Header::LEN],
}

impl<'a> Ipv4Mut<'a> {
    /// Takes a packet that [`Ipv4::parse`] accepts.
    ///
    /// # Errors
    ///
    /// As [`Ipv4::parse`].
    pub fn parse(packet: &'a mut [u8]) -> Result<Self, Malformed> {
        Ipv4::parse(packet)?;
        Ok(Self { head: packet.first_chunk_mut().ok_or(Malformed::Ipv4Short)? })
    }

    /// Sets the source address. Update the transport checksum too: [`checksum::update32`].
    pub fn set_source(&mut self, source: Ipv4Addr) {
        self.set_word(12, source.octets());
    }

    /// Sets the destination address. Update the transport checksum too: [`checksum::update32`].
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        self.set_word(16, destination.octets());
    }

    /// Sets the remaining hops.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.set_word(8, [ttl, self.head[9], self.head[10], self.head[11]]);
    }

    /// Sets differentiated services and ECN.
    pub fn set_tos(&mut self, tos: u8) {
        self.set_word(0, [self.head[0], tos, self.head[2], self.head[3]]);
    }

    /// Sets the length of header, options and payload in bytes.
    pub fn set_total_len(&mut self, len: u16) {
        let [l0, l1] = len.to_be_bytes();
        self.set_word(0, [self.head[0], self.head[1], l0, l1]);
    }

    /// Sets the identification.
    pub fn set_id(&mut self, id: u16) {
        let [i0, i1] = id.to_be_bytes();
        self.set_word(4, [i0, i1, self.head[6], self.head[7]]);
    }

    /// Writes an aligned word and updates the checksum. The word that contains the checksum (8)
    /// must be given with the current checksum.
    fn set_word(&mut self, at: usize, new: [u8; 4]) {
        let Some(word) = self.head.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<4>())
        else {
            return;
        };
        let old = core::mem::replace(word, new);
        let check = u16::from_be_bytes([self.head[10], self.head[11]]);
        let check = checksum::update32(check, u32::from_be_bytes(old), u32::from_be_bytes(new));
        [self.head[10], self.head[11]] = check.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header whose checksum, b861, was computed by others.
    const BYTES: [u8; 20] = [
        0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
        0xc7,
    ];
    const HEADER: Ipv4Header = Ipv4Header {
        tos: 0,
        total_len: 0x73,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: crate::ip_protocol::UDP,
        source: Ipv4Addr::new(192, 168, 0, 1),
        destination: Ipv4Addr::new(192, 168, 0, 199),
    };

    fn packet() -> [u8; 0x73 + 5] {
        let mut packet = [0xaa; 0x73 + 5];
        packet[..20].copy_from_slice(&BYTES);
        packet
    }

    #[test]
    fn bytes_both_ways() {
        assert_eq!(HEADER.to_bytes(), BYTES);
        let packet = packet();
        let view = Ipv4::parse(&packet).unwrap();
        assert_eq!(view.header(), HEADER);
        assert!(view.has_valid_checksum());
        assert_eq!((view.header_len(), view.payload().len()), (20, 0x73 - 20));
    }

    #[test]
    fn options_and_fragments() {
        let fragment = Fragment { offset: 1480, more: true, id: 7 };
        let header = Ipv4Header { fragment: Some(fragment), id: 7, total_len: 30, ..HEADER };
        let mut packet = [0; 30];
        packet[..20].copy_from_slice(&header.to_bytes());
        assert_eq!(Ipv4::parse(&packet).unwrap().fragment(), Some(fragment));
        packet[0] = 0x46;
        packet[20..24].copy_from_slice(&[0x94, 4, 0, 0]);
        let view = Ipv4::parse(&packet).unwrap();
        assert_eq!((view.options(), view.payload().len()), (&[0x94, 4, 0, 0][..], 6));
        assert!(!view.has_valid_checksum());
    }

    #[test]
    fn edits_keep_the_checksum() {
        let mut packet = packet();
        let mut edit = Ipv4Mut::parse(&mut packet).unwrap();
        edit.set_ttl(63);
        edit.set_tos(3);
        edit.set_id(0xbeef);
        edit.set_total_len(0x70);
        edit.set_source(Ipv4Addr::new(10, 0, 0, 1));
        edit.set_destination(Ipv4Addr::new(203, 0, 113, 255));
        let view = Ipv4::parse(&packet).unwrap();
        assert!(view.has_valid_checksum());
        assert_eq!((view.ttl(), view.tos(), view.id(), view.total_len()), (63, 3, 0xbeef, 0x70));
        assert_eq!(view.source(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(view.destination(), Ipv4Addr::new(203, 0, 113, 255));
    }

    #[test]
    fn each_fault_has_its_name() {
        let fault = |change: fn(&mut [u8; 120])| {
            let mut packet = packet();
            change(&mut packet);
            Ipv4::parse(&packet).unwrap_err()
        };
        assert_eq!(Ipv4::parse(&BYTES[..19]).unwrap_err(), Malformed::Ipv4Short);
        assert_eq!(fault(|packet| packet[0] = 0x65), Malformed::Ipv4Version);
        assert_eq!(fault(|packet| packet[0] = 0x44), Malformed::Ipv4HeaderLen);
        assert_eq!(fault(|packet| packet[3] = 19), Malformed::Ipv4Len);
        assert_eq!(fault(|packet| packet[3] = 121), Malformed::Ipv4Len);
    }
}
