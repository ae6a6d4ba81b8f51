//! The IPv6 header and its extension headers.

use core::net::Ipv6Addr;

use crate::{Malformed, ip_protocol};

/// The position of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The offset of its payload in the whole packet, in bytes; a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// The identification that all fragments of a packet share (16 bits in IPv4).
    pub id: u32,
}

/// An IPv6 packet with valid lengths.
///
/// ```text
///  0                               4             6             7           8        24            40
///  | 6 | class 8 | flow label 20   | payload len | next header | hop limit | source | destination | ...
/// ```
///
/// Source: RFC 8200, 3.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    head: &'a [u8; Ipv6Header::LEN],
    payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Parses the header. Bytes after the payload length, a frame's padding, are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::Ipv6Short`], [`Malformed::Ipv6Version`]; [`Malformed::Ipv6Len`] if the payload
    /// length exceeds the packet. Jumbograms (RFC 2675) are not supported: a TUN device sends none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest) = packet.split_first_chunk().ok_or(Malformed::Ipv6Short)?;
        let head: &[u8; Ipv6Header::LEN] = head;
        if head[0] >> 4 != 6 {
            return Err(Malformed::Ipv6Version);
        }
        let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
        Ok(Self { head, payload: rest.get(..len).ok_or(Malformed::Ipv6Len)? })
    }

    /// The fields of the header.
    #[must_use]
    pub fn header(&self) -> Ipv6Header {
        Ipv6Header {
            class: self.class(),
            flow_label: self.flow_label(),
            payload_len: self.payload_len(),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            source: self.source(),
            destination: self.destination(),
        }
    }

    /// Traffic class: differentiated services (6 bits) and ECN (2 bits).
    #[must_use]
    pub const fn class(&self) -> u8 {
        self.head[0] << 4 | self.head[1] >> 4
    }

    /// The flow label, 20 bits.
    #[must_use]
    pub const fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.head[1] & 15, self.head[2], self.head[3]])
    }

    /// The length in bytes of everything after the header.
    #[must_use]
    pub const fn payload_len(&self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// The type of the next header: an extension header or the upper layer.
    #[must_use]
    pub const fn next_header(&self) -> u8 {
        self.head[6]
    }

    /// The remaining hops.
    #[must_use]
    pub const fn hop_limit(&self) -> u8 {
        self.head[7]
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        address(self.head, 8).unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// The destination address in the header; a routing header may contain the final destination.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        address(self.head, 24).unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// Everything after the header, including extension headers, without padding.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Skips the extension headers.
    ///
    /// # Errors
    ///
    /// [`Malformed::Ipv6ExtensionShort`]; [`Malformed::Ipv6Extensions`] above
    /// [`UpperLayer::LIMIT`].
    pub fn upper_layer(&self) -> Result<UpperLayer<'a>, Malformed> {
        UpperLayer::find(self.next_header(), self.payload)
    }
}

/// The contents of an IPv6 packet after its extension headers.
#[derive(Clone, Copy, Debug)]
pub struct UpperLayer<'a> {
    /// Its protocol; in a later fragment, that of the whole packet.
    pub protocol: u8,
    /// Its bytes; in a later fragment, those of the fragment.
    pub payload: &'a [u8],
    /// The total length of the extension headers in bytes.
    pub extensions_len: usize,
    /// The fragment information; `None` for a whole packet.
    pub fragment: Option<Fragment>,
    /// The offset in [`Ipv6::payload`] of the first home address (destination option 201, RFC 6275, 6.3).
    pub home_address: Option<usize>,
    /// The number of home address options, invalid ones included; at most one is allowed.
    pub home_address_options: usize,
    /// The offset in [`Ipv6::payload`] of the address in a routing header of type 2 (RFC 6275,
    /// 6.4).
    pub routing_address: Option<usize>,
}

impl<'a> UpperLayer<'a> {
    /// The maximum number of extension headers: RFC 8200, 4.1 lists seven, each once.
    pub const LIMIT: usize = 8;

    fn find(first: u8, payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut upper = Self {
            protocol: first,
            payload,
            extensions_len: 0,
            fragment: None,
            home_address: None,
            home_address_options: 0,
            routing_address: None,
        };
        for _ in 0..=Self::LIMIT {
            let later = upper.fragment.is_some_and(|fragment| fragment.offset != 0);
            let Some(len) = extension_len(upper.protocol, upper.payload).filter(|_| !later) else {
                return Ok(upper);
            };
            let (extension, rest) =
                upper.payload.split_at_checked(len?).ok_or(Malformed::Ipv6ExtensionShort)?;
            upper.note(extension);
            upper.protocol = *extension.first().ok_or(Malformed::Ipv6ExtensionShort)?;
            upper.extensions_len += extension.len();
            upper.payload = rest;
        }
        Err(Malformed::Ipv6Extensions)
    }

    /// Records the findings in one extension header.
    fn note(&mut self, extension: &[u8]) {
        match self.protocol {
            ip_protocol::FRAGMENT => {
                if let Some(&[_, _, o0, o1, i0, i1, i2, i3]) = extension.first_chunk() {
                    self.fragment = Some(Fragment {
                        offset: u16::from_be_bytes([o0, o1]) & !7,
                        more: o1 & 1 != 0,
                        id: u32::from_be_bytes([i0, i1, i2, i3]),
                    });
                }
            }
            ip_protocol::ROUTING if extension.len() == 24 && extension.get(2) == Some(&2) => {
                self.routing_address = Some(self.extensions_len + 8);
            }
            ip_protocol::DESTINATION_OPTIONS => {
                self.note_home_addresses(extension);
            }
            _ => {}
        }
    }
}

impl UpperLayer<'_> {
    /// Records the home addresses in a destination options header.
    fn note_home_addresses(&mut self, extension: &[u8]) {
        const PAD1: u8 = 0;
        const HOME_ADDRESS: u8 = 201;
        let mut at = 2;
        while let Some(&kind) = extension.get(at) {
            if kind == PAD1 {
                at += 1;
                continue;
            }
            let len = extension.get(at + 1).map_or(0, |&len| usize::from(len));
            if kind == HOME_ADDRESS {
                self.home_address_options += 1;
                let is_valid = len == 16 && extension.len() >= at + 18;
                let found = is_valid.then_some(self.extensions_len + at + 2);
                self.home_address = self.home_address.or(found);
            }
            at += 2 + len;
        }
    }
}

/// The length in bytes of the extension header of kind `protocol` at the start of `bytes`; `None`
/// if that is not an extension header.
fn extension_len(protocol: u8, bytes: &[u8]) -> Option<Result<usize, Malformed>> {
    let words = bytes.get(1).map(|&words| usize::from(words)).ok_or(Malformed::Ipv6ExtensionShort);
    match protocol {
        ip_protocol::FRAGMENT => Some(Ok(8)),
        ip_protocol::AUTHENTICATION => Some(words.map(|words| (words + 2) * 4)),
        ip_protocol::HOP_BY_HOP
        | ip_protocol::ROUTING
        | ip_protocol::DESTINATION_OPTIONS
        | ip_protocol::MOBILITY => Some(words.map(|words| (words + 1) * 8)),
        _ => None,
    }
}

/// The address at offset `at`.
pub(crate) fn address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|&octets| octets.into())
}

/// An IPv6 header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Header {
    /// Traffic class.
    pub class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// The length in bytes of everything after the header.
    pub payload_len: u16,
    /// The type of the next header.
    pub next_header: u8,
    /// The remaining hops.
    pub hop_limit: u8,
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Its length in bytes.
    pub const LEN: usize = 40;

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let first = 6 << 28 | u32::from(self.class) << 20 | self.flow_label & 0x000f_ffff;
        let [l0, l1] = self.payload_len.to_be_bytes();
        let pieces: [&[u8]; 4] = [
            &first.to_be_bytes(),
            &[l0, l1, self.next_header, self.hop_limit],
            &self.source.octets(),
            &self.destination.octets(),
        ];
        let mut bytes = [0; Self::LEN];
        let from = pieces.into_iter().flatten();
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// An IPv6 header for editing in place. The transport checksum covers the addresses: update it too.
#[derive(Debug)]
pub struct Ipv6Mut<'a> {
    head: &'a mut [u8; Ipv6Header::LEN],
}

impl<'a> Ipv6Mut<'a> {
    /// Takes a packet that [`Ipv6::parse`] accepts.
    ///
    /// # Errors
    ///
    /// As [`Ipv6::parse`].
    pub fn parse(packet: &'a mut [u8]) -> Result<Self, Malformed> {
        Ipv6::parse(packet)?;
        Ok(Self { head: packet.first_chunk_mut().ok_or(Malformed::Ipv6Short)? })
    }

    /// Sets the source address.
    pub fn set_source(&mut self, source: Ipv6Addr) {
        self.set(8, &source.octets());
    }

    /// Sets the destination address.
    pub fn set_destination(&mut self, destination: Ipv6Addr) {
        self.set(24, &destination.octets());
    }

    /// Sets the remaining hops.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.head[7] = hop_limit;
    }

    /// Sets the traffic class.
    pub fn set_class(&mut self, class: u8) {
        self.head[0] = 0x60 | class >> 4;
        self.head[1] = class << 4 | self.head[1] & 15;
    }

    /// Sets the length in bytes of everything after the header.
    pub fn set_payload_len(&mut self, len: u16) {
        self.set(4, &len.to_be_bytes());
    }

    fn set(&mut self, at: usize, new: &[u8]) {
        if let Some(field) = self.head.get_mut(at..at + new.len()) {
            field.copy_from_slice(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn header(next_header: u8, payload_len: usize) -> Ipv6Header {
        Ipv6Header {
            class: 0xab,
            flow_label: 0x000c_def0,
            payload_len: payload_len.try_into().unwrap(),
            next_header,
            hop_limit: 64,
            source: "2001:db8::1".parse().unwrap(),
            destination: "ff02::1".parse().unwrap(),
        }
    }

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = header(next_header, payload.len()).to_bytes().to_vec();
        packet.extend(payload);
        packet
    }

    #[test]
    fn bytes_both_ways() {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&[0x6a, 0xbc, 0xde, 0xf0, 0, 0, 59, 64]);
        bytes[8..12].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        bytes[23] = 1;
        bytes[24..26].copy_from_slice(&[0xff, 2]);
        bytes[39] = 1;
        assert_eq!(header(59, 0).to_bytes(), bytes);
        assert_eq!(Ipv6::parse(&bytes).unwrap().header(), header(59, 0));
    }

    #[test]
    fn edits_change_only_their_field() {
        let mut bytes = packet(17, &[1, 2, 3]);
        let mut edit = Ipv6Mut::parse(&mut bytes).unwrap();
        edit.set_class(0x12);
        edit.set_hop_limit(1);
        edit.set_payload_len(2);
        edit.set_source(Ipv6Addr::LOCALHOST);
        edit.set_destination("2001:db8::2".parse().unwrap());
        let expected = Ipv6Header {
            class: 0x12,
            hop_limit: 1,
            payload_len: 2,
            source: Ipv6Addr::LOCALHOST,
            destination: "2001:db8::2".parse().unwrap(),
            ..header(17, 3)
        };
        assert_eq!(Ipv6::parse(&bytes).unwrap().header(), expected);
    }

    #[test]
    fn extension_headers_are_walked_over() {
        let mut payload = Vec::new();
        payload.extend([43, 0, 5, 2, 0, 0, 1, 0]); // hop-by-hop: router alert, PadN
        payload.extend([60, 2, 2, 1, 0, 0, 0, 0]); // routing type 2
        payload.extend([0x22; 16]);
        payload.extend([51, 2, 1, 2, 0, 0, 201, 16]); // destination options: PadN, home address
        payload.extend([0x33; 16]);
        payload.extend([135, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]); // authentication: 12 bytes
        payload.extend([44, 0, 0, 0, 0, 0, 0, 0]); // mobility
        payload.extend([17, 0, 0, 1, 0, 0, 0, 9]); // fragment, the first
        payload.extend(b"upper");
        let packet = packet(0, &payload);
        let upper = Ipv6::parse(&packet).unwrap().upper_layer().unwrap();
        assert_eq!((upper.protocol, upper.payload), (17, &b"upper"[..]));
        assert_eq!(upper.extensions_len, payload.len() - 5);
        assert_eq!(upper.fragment, Some(Fragment { offset: 0, more: true, id: 9 }));
        let at = |at: Option<usize>| address(&payload, at.unwrap()).unwrap().octets()[0];
        assert_eq!((at(upper.routing_address), at(upper.home_address)), (0x22, 0x33));
    }

    #[test]
    fn a_later_fragment_ends_the_walk() {
        let packet = packet(44, &[60, 0, 0x05, 0xa8, 0, 0, 0, 9, 1, 2]);
        let upper = Ipv6::parse(&packet).unwrap().upper_layer().unwrap();
        assert_eq!((upper.protocol, upper.payload), (60, &[1, 2][..]));
        assert_eq!(upper.fragment, Some(Fragment { offset: 1448, more: false, id: 9 }));
    }

    #[test]
    fn each_fault_has_its_name() {
        let whole = packet(17, b"x");
        let parse = |packet: &[u8]| Ipv6::parse(packet).map(drop).unwrap_err();
        assert_eq!(parse(&whole[..39]), Malformed::Ipv6Short);
        assert_eq!(parse(&whole[..40]), Malformed::Ipv6Len);
        assert_eq!(parse(&[0x45; 60]), Malformed::Ipv6Version);
        let upper = |packet: &[u8]| Ipv6::parse(packet).unwrap().upper_layer().map(drop);
        assert_eq!(upper(&packet(0, &[])), Err(Malformed::Ipv6ExtensionShort));
        assert_eq!(
            upper(&packet(60, &[17, 1, 0, 0, 0, 0, 0, 0])),
            Err(Malformed::Ipv6ExtensionShort)
        );
        let chain = |count: usize| packet(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(count));
        assert_eq!(upper(&chain(9)), Err(Malformed::Ipv6Extensions));
        let mut eight = chain(8);
        let last = eight.len() - 8;
        eight[last] = 59;
        assert_eq!(upper(&eight), Ok(()));
    }
}
