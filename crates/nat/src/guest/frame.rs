//! Frames that the gateway writes: headers put before a payload that is there.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use adit_packet::checksum::Sum;
use adit_packet::{
    EthernetHeader, Ipv4Header, Ipv6Header, MacAddr, NoRoom, PacketBuf, UdpHeader, ether_type,
    icmp, ip_protocol,
};

/// The hop limit of neighbour discovery: a router in between would have made it less (RFC 4861, 7.1).
pub(super) const ND_HOP_LIMIT: u8 = 255;
const HOP_LIMIT: u8 = 64;

fn put(packet: &mut PacketBuf, header: &[u8]) -> Result<(), NoRoom> {
    packet.prepend(header.len()).ok_or(NoRoom)?.copy_from_slice(header);
    Ok(())
}

fn len_of(packet: &PacketBuf, header: usize) -> Result<u16, NoRoom> {
    u16::try_from(packet.len() + header).map_err(|_| NoRoom)
}

/// Makes `packet` a frame from `source` to `destination`.
pub(super) fn ethernet(
    packet: &mut PacketBuf,
    destination: MacAddr,
    source: MacAddr,
    ether_type: u16,
) -> Result<(), NoRoom> {
    put(packet, &EthernetHeader { destination, source, ether_type }.to_bytes())
}

/// Makes the payload in `packet` a datagram of the addresses' family, which is one.
pub(crate) fn udp_header(
    packet: &mut PacketBuf,
    from: SocketAddr,
    to: SocketAddr,
) -> Result<(), NoRoom> {
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => udp_v4(packet, from, to),
        (SocketAddr::V6(from), SocketAddr::V6(to)) => udp_v6(packet, from, to),
        _ => Err(NoRoom),
    }
}

/// Makes the payload in `packet` a datagram over IPv4.
pub(super) fn udp_v4(
    packet: &mut PacketBuf,
    from: SocketAddrV4,
    to: SocketAddrV4,
) -> Result<(), NoRoom> {
    let len = len_of(packet, UdpHeader::LEN)?;
    let pseudo = Sum::pseudo_v4(*from.ip(), *to.ip(), ip_protocol::UDP, len);
    udp(packet, from.port(), to.port(), len, pseudo)?;
    ipv4(packet, ip_protocol::UDP, *from.ip(), *to.ip())
}

fn ipv4(
    packet: &mut PacketBuf,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Result<(), NoRoom> {
    let header = Ipv4Header {
        tos: 0,
        total_len: len_of(packet, Ipv4Header::LEN)?,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: HOP_LIMIT,
        protocol,
        source,
        destination,
    };
    put(packet, &header.to_bytes())
}

/// Makes the payload in `packet` a datagram over IPv6.
pub(super) fn udp_v6(
    packet: &mut PacketBuf,
    from: SocketAddrV6,
    to: SocketAddrV6,
) -> Result<(), NoRoom> {
    let len = len_of(packet, UdpHeader::LEN)?;
    let pseudo = Sum::pseudo_v6(*from.ip(), *to.ip(), ip_protocol::UDP, u32::from(len));
    udp(packet, from.port(), to.port(), len, pseudo)?;
    ipv6(packet, ip_protocol::UDP, HOP_LIMIT, *from.ip(), *to.ip())
}

fn udp(packet: &mut PacketBuf, from: u16, to: u16, len: u16, pseudo: Sum) -> Result<(), NoRoom> {
    let header = UdpHeader { source_port: from, destination_port: to, len, checksum: 0 };
    let sum = pseudo.add_bytes(&header.to_bytes()).add_bytes(packet.bytes());
    put(packet, &UdpHeader { checksum: sum.finish_udp(), ..header }.to_bytes())
}

/// Makes the message in `packet` a packet of neighbour discovery.
pub(super) fn neighbour_discovery(
    packet: &mut PacketBuf,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<(), NoRoom> {
    icmp::fill_checksum_v6(source, destination, packet.bytes_mut());
    ipv6(packet, ip_protocol::ICMP6, ND_HOP_LIMIT, source, destination)
}

fn ipv6(
    packet: &mut PacketBuf,
    next_header: u8,
    hop_limit: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<(), NoRoom> {
    let header = Ipv6Header {
        class: 0,
        flow_label: 0,
        payload_len: len_of(packet, 0)?,
        next_header,
        hop_limit,
        source,
        destination,
    };
    put(packet, &header.to_bytes())
}

/// The group MAC address of a group (RFC 2464, 7).
pub(super) const fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The type of a frame that carries this packet; `None` if it is not IP.
pub(super) fn ether_type_of(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(ether_type::IPV4),
        6 => Some(ether_type::IPV6),
        _ => None,
    }
}
