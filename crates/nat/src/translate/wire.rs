//! IP headers of the packets that the NAT makes, and its ICMP errors.

use core::net::IpAddr;

use adit_packet::checksum::Sum;
use adit_packet::{
    Fragment, IcmpHeader, Ipv4Header, Ipv6Header, PacketBuf, VnetHeader, icmp, ip_protocol,
};

use adit_engine::Outbox;

/// The hop limit of packets to the inside, as Linux's own.
const HOP_LIMIT: u8 = 64;

/// The longest ICMP error: what every host takes (RFC 1812, 4.3.2.3; RFC 4443, 2.4 c).
const fn error_len_max(is_v4: bool) -> usize {
    if is_v4 { 576 } else { 1280 }
}

/// The length of the IP header of an address's family.
pub(super) const fn ip_header_len(family_of: IpAddr) -> usize {
    match family_of {
        IpAddr::V4(_) => Ipv4Header::LEN,
        IpAddr::V6(_) => Ipv6Header::LEN,
    }
}

/// Source, destination and protocol of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) protocol: u8,
}

impl Path {
    /// The sum of the pseudo header; `len` is transport header plus payload.
    pub(super) fn pseudo(self, len: usize) -> Sum {
        let short = u16::try_from(len).unwrap_or(u16::MAX);
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Sum::pseudo_v4(from, to, self.protocol, short),
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Sum::pseudo_v6(from, to, self.protocol, u32::from(short))
            }
            _ => Sum::ZERO,
        }
    }

    /// Puts the IP header before a packet. `false`: it is too long, or the buffer has no headroom.
    pub(super) fn prepend(self, packet: &mut PacketBuf, id: Option<u16>) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else { return false };
        let Some((head, head_len)) = self.header(len, id, None) else { return false };
        let Some(room) = packet.prepend(head_len) else { return false };
        room.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        true
    }

    /// The IP header for a payload of that length, and its own length. Without an `id` the packet must not
    /// be fragmented; only IPv4 has one.
    pub(super) fn header(
        self,
        len: u16,
        id: Option<u16>,
        fragment: Option<Fragment>,
    ) -> Option<([u8; Ipv6Header::LEN], usize)> {
        let mut bytes = [0; Ipv6Header::LEN];
        match (self.from, self.to) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    tos: 0,
                    total_len: len.checked_add(20)?,
                    id: id.unwrap_or(0),
                    dont_fragment: id.is_none(),
                    fragment,
                    ttl: HOP_LIMIT,
                    protocol: self.protocol,
                    source,
                    destination,
                };
                let header = header.to_bytes();
                bytes.iter_mut().zip(header).for_each(|(to, from)| *to = from);
                Some((bytes, Ipv4Header::LEN))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let next_header =
                    if fragment.is_some() { ip_protocol::FRAGMENT } else { self.protocol };
                let header = Ipv6Header {
                    class: 0,
                    flow_label: 0,
                    payload_len: len,
                    next_header,
                    hop_limit: HOP_LIMIT,
                    source,
                    destination,
                };
                Some((header.to_bytes(), Ipv6Header::LEN))
            }
            _ => None,
        }
    }

    /// The IP header of a packet with the first eight bytes of its payload, as an ICMP error quotes it, and
    /// their length.
    pub(super) fn quote(self, payload: &[u8; 8]) -> ([u8; 48], usize) {
        let (ip, len) = self.header(8, None, None).unwrap_or(([0; 40], 0));
        let mut quoted = [0; 48];
        let bytes = ip.iter().take(len).chain(payload);
        quoted.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        (quoted, len + payload.len())
    }

    /// The way back.
    pub(super) const fn reversed(self) -> Self {
        Self { from: self.to, to: self.from, protocol: self.protocol }
    }
}

/// The virtio-net header of a packet whose transport checksum, at `offset` in the header at `start`, is
/// left to be finished.
pub(super) fn partial_checksum(start: usize, offset: u16) -> VnetHeader {
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: u16::try_from(start).unwrap_or(0),
        csum_offset: offset,
        ..VnetHeader::default()
    }
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Error {
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) rest: [u8; 4],
}

impl Error {
    /// "Communication administratively prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1).
    pub(super) const fn prohibited(is_v4: bool) -> Self {
        Self::unreachable(is_v4, 13, 1)
    }

    /// "Host unreachable", "address unreachable".
    pub(super) const fn host_unreachable(is_v4: bool) -> Self {
        Self::unreachable(is_v4, icmp::v4::CODE_HOST, icmp::v6::CODE_ADDRESS)
    }

    /// "Net unreachable", "no route".
    pub(super) const fn net_unreachable(is_v4: bool) -> Self {
        Self::unreachable(is_v4, 0, 0)
    }

    /// "Port unreachable".
    pub(super) const fn port_unreachable(is_v4: bool) -> Self {
        Self::unreachable(is_v4, icmp::v4::CODE_PORT, icmp::v6::CODE_PORT)
    }

    /// "Time to live exceeded in transit".
    pub(super) const fn time_exceeded(is_v4: bool) -> Self {
        let kind = if is_v4 { icmp::v4::TIME_EXCEEDED } else { icmp::v6::TIME_EXCEEDED };
        Self { kind, code: 0, rest: [0; 4] }
    }

    /// "Fragmentation needed", "packet too big".
    pub(super) fn too_big(is_v4: bool, mtu: u16) -> Self {
        let header = if is_v4 {
            IcmpHeader::too_big_v4(mtu)
        } else {
            IcmpHeader::too_big_v6(u32::from(mtu))
        };
        Self { kind: header.kind, code: header.code, rest: header.rest }
    }

    const fn unreachable(is_v4: bool, code_v4: u8, code_v6: u8) -> Self {
        let (kind, code) =
            if is_v4 { (icmp::v4::UNREACHABLE, code_v4) } else { (icmp::v6::UNREACHABLE, code_v6) };
        Self { kind, code, rest: [0; 4] }
    }

    /// The packet that reports it about the packet that begins with `quoted`; `None` without a buffer.
    pub(super) fn packet(
        self,
        from: IpAddr,
        to: IpAddr,
        quoted: &[u8],
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let is_v4 = to.is_ipv4();
        let protocol = if is_v4 { ip_protocol::ICMP } else { ip_protocol::ICMP6 };
        let room = error_len_max(is_v4) - ip_header_len(to) - IcmpHeader::LEN;
        let quoted = quoted.get(..room).unwrap_or(quoted);
        let mut packet = out.make(IcmpHeader::LEN + quoted.len())?;
        let header = IcmpHeader { kind: self.kind, code: self.code, rest: self.rest };
        let written = packet.extend(&header.to_bytes()).and_then(|()| packet.extend(quoted));
        match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                icmp::fill_checksum_v6(from, to, packet.bytes_mut());
            }
            _ => icmp::fill_checksum_v4(packet.bytes_mut()),
        }
        let is_complete =
            written.is_ok() && Path { from, to, protocol }.prepend(&mut packet, Some(0));
        if !is_complete {
            out.absorb(packet);
            return None;
        }
        Some(packet)
    }
}
