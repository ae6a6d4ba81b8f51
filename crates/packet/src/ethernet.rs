//! Ethernet II frames with up to two VLAN tags.

use crate::{MacAddr, Malformed};

/// `EtherType` numbers (IEEE 802 Numbers, IANA).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A VLAN tag (802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// The outer tag of two (802.1ad, "`QinQ`").
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// The outer tag of two before 802.1ad was standardized.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;

    /// Whether the type is that of a VLAN tag.
    #[must_use]
    pub const fn is_tag(ether_type: u16) -> bool {
        matches!(ether_type, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
    }
}

const TAGS_MAX: usize = 2;

/// One VLAN tag.
///
/// ```text
///  0        2                       4
///  | tpid   | pcp 3 | dei 1 | vid 12 |
/// ```
///
/// Source: IEEE 802.1Q, clause 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// [`ether_type::VLAN`] or one of the service tags.
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN.
    pub tci: u16,
}

impl VlanTag {
    /// The length of a tag in bytes.
    pub const LEN: usize = 4;

    /// The VLAN id, 0 to 4095; 0 is a priority tag.
    #[must_use]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// The priority, 0 to 7.
    #[must_use]
    pub const fn priority(self) -> u8 {
        self.tci.to_be_bytes()[0] >> 5
    }

    /// Whether it may be dropped first.
    #[must_use]
    pub const fn is_drop_eligible(self) -> bool {
        self.tci & 0x1000 != 0
    }

    /// The tag as bytes, to insert after the two MAC addresses.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [t0, t1] = self.tpid.to_be_bytes();
        let [c0, c1] = self.tci.to_be_bytes();
        [t0, t1, c0, c1]
    }
}

/// A frame with a complete header and at most two tags.
///
/// ```text
///  0             6        12   [tag 4] [tag 4]   +2
///  | destination | source |                 type | payload
/// ```
///
/// A third tag is payload: its `ether_type` is that tag's. Source: IEEE 802.3, 3.2; 802.1ad.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    head: &'a [u8; EthernetHeader::LEN],
    tags: [Option<VlanTag>; TAGS_MAX],
    ether_type: u16,
    payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// The maximum number of tags parsed: 802.1ad has a service and a customer tag.
    pub const TAGS_MAX: usize = TAGS_MAX;

    /// Parses the header.
    ///
    /// # Errors
    ///
    /// [`Malformed::EthernetShort`], [`Malformed::VlanShort`].
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (head, mut payload): (&[u8; EthernetHeader::LEN], _) =
            frame.split_first_chunk().ok_or(Malformed::EthernetShort)?;
        let &[.., t0, t1] = head;
        let mut ether_type = u16::from_be_bytes([t0, t1]);
        let mut tags = [None; TAGS_MAX];
        for tag in &mut tags {
            if !ether_type::is_tag(ether_type) {
                break;
            }
            let (&[c0, c1, n0, n1], rest) =
                payload.split_first_chunk().ok_or(Malformed::VlanShort)?;
            *tag = Some(VlanTag { tpid: ether_type, tci: u16::from_be_bytes([c0, c1]) });
            ether_type = u16::from_be_bytes([n0, n1]);
            payload = rest;
        }
        Ok(Self { head, tags, ether_type, payload })
    }

    /// The destination address.
    #[must_use]
    pub const fn destination(&self) -> MacAddr {
        let &[a, b, c, d, e, f, ..] = self.head;
        MacAddr([a, b, c, d, e, f])
    }

    /// The source address.
    #[must_use]
    pub const fn source(&self) -> MacAddr {
        let &[_, _, _, _, _, _, a, b, c, d, e, f, _, _] = self.head;
        MacAddr([a, b, c, d, e, f])
    }

    /// The tags, the outer one first.
    pub fn tags(&self) -> impl Iterator<Item = VlanTag> + use<> {
        self.tags.into_iter().flatten()
    }

    /// The type of the payload, after the tags.
    #[must_use]
    pub const fn ether_type(&self) -> u16 {
        self.ether_type
    }

    /// The bytes after header and tags, including padding.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The length of header and tags in bytes.
    #[must_use]
    pub fn header_len(&self) -> usize {
        EthernetHeader::LEN + VlanTag::LEN * self.tags().count()
    }
}

/// An untagged Ethernet header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EthernetHeader {
    /// The destination address.
    pub destination: MacAddr,
    /// The source address.
    pub source: MacAddr,
    /// The type of the payload; a tag's `tpid` if a tag follows.
    pub ether_type: u16,
}

impl EthernetHeader {
    /// Its length in bytes.
    pub const LEN: usize = 14;

    /// The header as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d, e, f] = self.destination.0;
        let [g, h, i, j, k, l] = self.source.0;
        let [t0, t1] = self.ether_type.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, t0, t1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const HEADER: EthernetHeader = EthernetHeader {
        destination: MacAddr::BROADCAST,
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        ether_type: ether_type::ARP,
    };
    const BYTES: [u8; 14] = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6];

    fn tagged(tags: &[VlanTag]) -> Vec<u8> {
        let mut frame = BYTES[..12].to_vec();
        tags.iter().for_each(|tag| frame.extend(tag.to_bytes()));
        frame.extend([0x08, 0x00, 0xaa]);
        frame
    }

    #[test]
    fn an_untagged_frame_both_ways() {
        assert_eq!(HEADER.to_bytes(), BYTES);
        let view = Ethernet::parse(&BYTES).unwrap();
        assert_eq!((view.destination(), view.source()), (HEADER.destination, HEADER.source));
        assert_eq!((view.ether_type(), view.header_len()), (ether_type::ARP, 14));
        assert!(view.payload().is_empty());
        assert_eq!(view.tags().count(), 0);
    }

    #[test]
    fn one_and_two_tags_both_ways() {
        let outer = VlanTag { tpid: ether_type::SERVICE_VLAN, tci: 0xb00a };
        let inner = VlanTag { tpid: ether_type::VLAN, tci: 0x0fff };
        assert_eq!(outer.to_bytes(), [0x88, 0xa8, 0xb0, 0x0a]);
        assert_eq!((outer.vid(), outer.priority(), outer.is_drop_eligible()), (10, 5, true));
        for tags in [&[inner][..], &[outer, inner]] {
            let frame = tagged(tags);
            let view = Ethernet::parse(&frame).unwrap();
            assert_eq!(view.tags().collect::<Vec<_>>(), tags);
            assert_eq!((view.ether_type(), view.payload()), (ether_type::IPV4, &[0xaa][..]));
            assert_eq!(view.header_len(), 14 + 4 * tags.len());
        }
    }

    #[test]
    fn a_third_tag_is_payload() {
        let tag = VlanTag { tpid: ether_type::OLD_SERVICE_VLAN, tci: 1 };
        let frame = tagged(&[tag; 3]);
        let view = Ethernet::parse(&frame).unwrap();
        assert_eq!((view.tags().count(), view.ether_type()), (2, ether_type::OLD_SERVICE_VLAN));
    }

    #[test]
    fn short_frames_are_refused() {
        assert_eq!(Ethernet::parse(&BYTES[..13]).unwrap_err(), Malformed::EthernetShort);
        let frame = tagged(&[VlanTag { tpid: ether_type::VLAN, tci: 1 }]);
        assert_eq!(Ethernet::parse(&frame[..17]).unwrap_err(), Malformed::VlanShort);
    }
}
