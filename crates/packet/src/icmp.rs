//! ICMP for IPv4 and IPv6: echo, errors, and neighbour discovery.
//!
//! The two protocols share a header and differ in numbers and in the checksum, which covers a
//! pseudo header in IPv6 only: [`fill_checksum_v4`], [`fill_checksum_v6`].

use core::net::Ipv6Addr;

use crate::checksum::{self, Sum};
use crate::{MacAddr, Malformed, ip_protocol, ipv6};

/// Types and codes of ICMP for IPv4 (RFC 792, RFC 1191).
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded: the hop limit reached 0.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Code of [`UNREACHABLE`]: host unreachable.
    pub const CODE_HOST: u8 = 1;
    /// Code of [`UNREACHABLE`]: port unreachable.
    pub const CODE_PORT: u8 = 3;
    /// Code of [`UNREACHABLE`]: fragmentation needed, but not allowed.
    pub const CODE_TOO_BIG: u8 = 4;
}

/// Types of ICMP for IPv6 (RFC 4443, RFC 4861).
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big for the next link; the MTU is in the header.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded: the hop limit reached 0.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbor solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbor advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Code of [`UNREACHABLE`]: address unreachable.
    pub const CODE_ADDRESS: u8 = 3;
    /// Code of [`UNREACHABLE`]: port unreachable.
    pub const CODE_PORT: u8 = 4;
}

/// An ICMP message, for IPv4 or IPv6.
///
/// ```text
///  0      1      2          4                 8
///  | type | code | checksum | rest of header  | body |
/// ```
///
/// Source: RFC 792; RFC 4443, 2.1.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    head: &'a [u8; IcmpHeader::LEN],
    body: &'a [u8],
}

impl<'a> Icmp<'a> {
    /// Parses the header.
    ///
    /// # Errors
    ///
    /// [`Malformed::IcmpShort`].
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (head, body) = message.split_first_chunk().ok_or(Malformed::IcmpShort)?;
        Ok(Self { head, body })
    }

    /// The header without its checksum.
    #[must_use]
    pub const fn header(&self) -> IcmpHeader {
        let &[kind, code, _, _, a, b, c, d] = self.head;
        IcmpHeader { kind, code, rest: [a, b, c, d] }
    }

    /// The type: see [`v4`] and [`v6`].
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.head[0]
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.head[1]
    }

    /// The checksum field.
    #[must_use]
    pub const fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Identifier and sequence number of an echo message.
    #[must_use]
    pub const fn echo(&self) -> (u16, u16) {
        let &[_, _, _, _, a, b, c, d] = self.head;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// The bytes after the header: the data of an echo, or the packet that an error is about.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// An ICMP header to write; compute the checksum when the body is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpHeader {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// Bytes 4 to 7, which depend on the type.
    pub rest: [u8; 4],
}

impl IcmpHeader {
    /// Its length in bytes.
    pub const LEN: usize = 8;

    /// An echo message of type `kind`.
    #[must_use]
    pub const fn echo(kind: u8, identifier: u16, sequence: u16) -> Self {
        let [a, b] = identifier.to_be_bytes();
        let [c, d] = sequence.to_be_bytes();
        Self { kind, code: 0, rest: [a, b, c, d] }
    }

    /// IPv4: the packet exceeds the MTU of a link and must not be fragmented (RFC 1191).
    #[must_use]
    pub const fn too_big_v4(mtu: u16) -> Self {
        let [a, b] = mtu.to_be_bytes();
        Self { kind: v4::UNREACHABLE, code: v4::CODE_TOO_BIG, rest: [0, 0, a, b] }
    }

    /// IPv6: the packet exceeds the MTU of a link (RFC 4443, 3.2).
    #[must_use]
    pub const fn too_big_v6(mtu: u32) -> Self {
        Self { kind: v6::TOO_BIG, code: 0, rest: mtu.to_be_bytes() }
    }

    /// The MTU of an IPv4 "fragmentation needed" message; `None` for other messages.
    #[must_use]
    pub const fn mtu_v4(&self) -> Option<u16> {
        match (self.kind, self.code, self.rest) {
            (v4::UNREACHABLE, v4::CODE_TOO_BIG, [_, _, a, b]) => Some(u16::from_be_bytes([a, b])),
            _ => None,
        }
    }

    /// The MTU of an IPv6 "packet too big" message; `None` for other messages.
    #[must_use]
    pub const fn mtu_v6(&self) -> Option<u32> {
        match self.kind {
            v6::TOO_BIG => Some(u32::from_be_bytes(self.rest)),
            _ => None,
        }
    }

    /// The header as bytes, with a checksum of 0.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.rest;
        [self.kind, self.code, 0, 0, a, b, c, d]
    }
}

/// Writes the checksum of a whole ICMP message for IPv4 (bytes 2 and 3).
pub fn fill_checksum_v4(message: &mut [u8]) {
    fill_checksum(message, Sum::ZERO);
}

/// Writes the checksum of a whole ICMP message for IPv6 (bytes 2 and 3).
pub fn fill_checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, message: &mut [u8]) {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let pseudo = Sum::pseudo_v6(source, destination, ip_protocol::ICMP6, len);
    fill_checksum(message, pseudo);
}

fn fill_checksum(message: &mut [u8], pseudo: Sum) {
    if let Some([_, _, check @ ..]) = message.first_chunk_mut::<4>() {
        *check = [0; 2];
        let check = pseudo.add_bytes(message).finish().to_be_bytes();
        if let Some([_, _, field @ ..]) = message.first_chunk_mut::<4>() {
            *field = check;
        }
    }
}

/// Whether the checksum of an ICMP message for IPv4 is valid.
#[must_use]
pub fn has_valid_checksum_v4(message: &[u8]) -> bool {
    checksum::of(message) == 0
}

/// Whether the checksum of an ICMP message for IPv6 is valid.
#[must_use]
pub fn has_valid_checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> bool {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Sum::pseudo_v6(source, destination, ip_protocol::ICMP6, len).add_bytes(message).finish() == 0
}

/// A neighbor solicitation or advertisement.
///
/// ```text
///  0      1   2          4              8        24
///  | type | 0 | checksum | flags 3 | 0  | target | options |
/// ```
///
/// Source: RFC 4861, 4.3 and 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Solicitation or advertisement.
    pub kind: NeighbourKind,
    /// The target address.
    pub target: Ipv6Addr,
    /// The link-layer address option: the sender's in a solicitation, the target's in an
    /// advertisement.
    pub link_address: Option<MacAddr>,
}

/// The kind of a neighbor discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighbourKind {
    /// Neighbor solicitation.
    Solicitation,
    /// Neighbor advertisement.
    Advertisement {
        /// Flag R: the sender is a router.
        router: bool,
        /// Flag S: the answer to a solicitation.
        solicited: bool,
        /// Flag O: overrides the cached entry.
        override_cached: bool,
    },
}

impl Neighbour {
    /// Its length in bytes with one link-layer address option.
    pub const LEN: usize = 32;
    const SOURCE_LINK_ADDRESS: u8 = 1;
    const TARGET_LINK_ADDRESS: u8 = 2;

    /// Parses a whole ICMP message. Unknown options are skipped.
    ///
    /// # Errors
    ///
    /// [`Malformed::IcmpShort`]; [`Malformed::NeighbourKind`] for another type or code;
    /// [`Malformed::NeighbourOption`] for an option of length 0 or past the end.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let icmp = Icmp::parse(message)?;
        let target = ipv6::address(message, 8).ok_or(Malformed::IcmpShort)?;
        let [flags, ..] = icmp.header().rest;
        let (kind, option) = match (icmp.kind(), icmp.code()) {
            (v6::NEIGHBOUR_SOLICITATION, 0) => {
                (NeighbourKind::Solicitation, Self::SOURCE_LINK_ADDRESS)
            }
            (v6::NEIGHBOUR_ADVERTISEMENT, 0) => {
                let kind = NeighbourKind::Advertisement {
                    router: flags & 0x80 != 0,
                    solicited: flags & 0x40 != 0,
                    override_cached: flags & 0x20 != 0,
                };
                (kind, Self::TARGET_LINK_ADDRESS)
            }
            _ => return Err(Malformed::NeighbourKind),
        };
        let mut options = message.get(24..).unwrap_or_default();
        let mut link_address = None;
        while let [kind, words, ..] = *options {
            let (this, rest) = options
                .split_at_checked(usize::from(words) * 8)
                .filter(|_| words != 0)
                .ok_or(Malformed::NeighbourOption)?;
            if let ([_, _, a, b, c, d, e, f], true) = (this, kind == option) {
                link_address = Some(MacAddr([*a, *b, *c, *d, *e, *f]));
            }
            options = rest;
        }
        if options.is_empty() {
            Ok(Self { kind, target, link_address })
        } else {
            Err(Malformed::NeighbourOption)
        }
    }

    /// The message as bytes, with a checksum of 0, and its length in bytes (24 or 32).
    #[must_use]
    pub fn to_bytes(&self) -> ([u8; Self::LEN], usize) {
        let (kind, flags, option) = match self.kind {
            NeighbourKind::Solicitation => {
                (v6::NEIGHBOUR_SOLICITATION, 0, Self::SOURCE_LINK_ADDRESS)
            }
            NeighbourKind::Advertisement { router, solicited, override_cached } => {
                let flags = [(router, 0x80), (solicited, 0x40), (override_cached, 0x20)];
                let flags = flags.into_iter().filter(|flag| flag.0).map(|flag| flag.1).sum();
                (v6::NEIGHBOUR_ADVERTISEMENT, flags, Self::TARGET_LINK_ADDRESS)
            }
        };
        let header = IcmpHeader { kind, code: 0, rest: [flags, 0, 0, 0] }.to_bytes();
        let target = self.target.octets();
        let pieces: [&[u8]; 4] =
            [&header, &target, &[option, 1], &self.link_address.unwrap_or_default().0];
        let mut bytes = [0; Self::LEN];
        let from = pieces.into_iter().flatten();
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        (bytes, if self.link_address.is_some() { Self::LEN } else { 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_both_ways() {
        let header = IcmpHeader::echo(v4::ECHO_REQUEST, 7, 0x0102);
        let mut message = [0; 10];
        message[..8].copy_from_slice(&header.to_bytes());
        message[8..].copy_from_slice(b"hi");
        fill_checksum_v4(&mut message);
        assert_eq!(message, [8, 0, 0x8e, 0x8d, 0, 7, 1, 2, b'h', b'i']);
        assert!(has_valid_checksum_v4(&message));
        let view = Icmp::parse(&message).unwrap();
        assert_eq!((view.header(), view.echo(), view.body()), (header, (7, 0x0102), &b"hi"[..]));
        assert_eq!(Icmp::parse(&message[..7]).unwrap_err(), Malformed::IcmpShort);
    }

    #[test]
    fn too_big_carries_the_mtu() {
        let four = IcmpHeader::too_big_v4(1400);
        assert_eq!(four.to_bytes(), [3, 4, 0, 0, 0, 0, 5, 0x78]);
        assert_eq!((four.mtu_v4(), four.mtu_v6()), (Some(1400), None));
        let six = IcmpHeader::too_big_v6(1280);
        assert_eq!(six.to_bytes(), [2, 0, 0, 0, 0, 0, 5, 0]);
        assert_eq!((six.mtu_v6(), six.mtu_v4()), (Some(1280), None));
    }

    #[test]
    fn neighbours_both_ways() {
        let target: Ipv6Addr = "fe80::1".parse().unwrap();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let answer =
            NeighbourKind::Advertisement { router: false, solicited: true, override_cached: true };
        for (kind, first, option) in
            [(NeighbourKind::Solicitation, [135, 0, 0], 1), (answer, [136, 0, 0x60], 2)]
        {
            for link_address in [None, Some(mac)] {
                let message = Neighbour { kind, target, link_address };
                let (bytes, len) = message.to_bytes();
                assert_eq!([bytes[0], bytes[1], bytes[4]], first);
                assert_eq!(bytes[8..24], target.octets());
                if link_address.is_some() {
                    assert_eq!(bytes[24..], [option, 1, 2, 0, 0, 0, 0, 1]);
                }
                assert_eq!(Neighbour::parse(&bytes[..len]), Ok(message));
            }
        }
    }

    #[test]
    fn an_icmp6_checksum_covers_the_addresses() {
        // ping -6 to ::1, identifier 1, sequence 1, no data.
        let mut message = IcmpHeader::echo(v6::ECHO_REQUEST, 1, 1).to_bytes();
        fill_checksum_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &mut message);
        assert_eq!(message[2..4], [0x7f, 0xb9]);
        assert!(has_valid_checksum_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &message));
        assert!(!has_valid_checksum_v6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, &message));
    }

    #[test]
    fn each_fault_has_its_name() {
        let (bytes, _) = Neighbour {
            kind: NeighbourKind::Solicitation,
            target: Ipv6Addr::LOCALHOST,
            link_address: Some(MacAddr::BROADCAST),
        }
        .to_bytes();
        let fault = |at: usize, value: u8| {
            let mut bytes = bytes;
            bytes[at] = value;
            Neighbour::parse(&bytes).unwrap_err()
        };
        assert_eq!(Neighbour::parse(&bytes[..23]).unwrap_err(), Malformed::IcmpShort);
        assert_eq!(Neighbour::parse(&bytes[..25]).unwrap_err(), Malformed::NeighbourOption);
        assert_eq!(fault(0, 134), Malformed::NeighbourKind);
        assert_eq!(fault(1, 1), Malformed::NeighbourKind);
        assert_eq!(fault(25, 0), Malformed::NeighbourOption);
        assert_eq!(fault(25, 2), Malformed::NeighbourOption);
    }
}
