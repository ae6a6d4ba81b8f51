//! Datagrams of an engine as UDP packets.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_packet::{
    Headers, Ipv4Mut, Ipv6Mut, Layer, UdpHeader, UdpMut, checksum::Sum, ip_protocol,
};

use crate::ip::append_header;

/// A UDP packet from a port to an address, without a source address: the router sets it, see [`set_source`].
pub(crate) fn packet(from: u16, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(payload.len() + UdpHeader::LEN).ok()?;
    let mut packet = Vec::new();
    let source = match to.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let sum = append_header(&mut packet, (source, to.ip()), ip_protocol::UDP, len, false)?;
    let header = UdpHeader { source_port: from, destination_port: to.port(), len, checksum: 0 };
    let checksum = sum.add_bytes(&header.to_bytes()).add_bytes(payload).finish_udp();
    packet.extend(UdpHeader { checksum, ..header }.to_bytes());
    packet.extend(payload);
    Some(packet)
}

/// The sender and the payload of a UDP packet whose checksum is right.
pub(crate) fn parse(packet: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let headers: Headers = Layer::Packet.parse(packet).ok()?;
    let is_udp = headers.protocol()? == ip_protocol::UDP && headers.fragment().is_none();
    let (from, _) = headers.ports(packet).filter(|_| is_udp)?;
    let datagram = packet.get(headers.transport()?..headers.end())?;
    let len = u16::try_from(datagram.len()).ok()?;
    let (source, destination) = headers.addresses(packet)?;
    let sum = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Sum::pseudo_v4(from, to, ip_protocol::UDP, len),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Sum::pseudo_v6(from, to, ip_protocol::UDP, u32::from(len))
        }
        _ => return None,
    };
    let has_checksum = datagram.get(6..8)? != [0, 0];
    (!has_checksum || sum.add_bytes(datagram).finish() == 0).then_some(())?;
    Some((SocketAddr::new(source, from), packet.get(headers.payload()..headers.end())?))
}

/// Sets the source address of a UDP packet that has none yet.
pub(crate) fn set_source(packet: &mut [u8], source: IpAddr) {
    let Some(at) = Layer::Packet.parse(packet).ok().and_then(|headers| headers.transport()) else {
        return;
    };
    let Some(Ok(mut udp)) = packet.get_mut(at..).map(UdpMut::parse) else { return };
    match source {
        IpAddr::V4(source) => {
            udp.adjust32(0, source.to_bits());
            if let Ok(mut ip) = Ipv4Mut::parse(packet) {
                ip.set_source(source);
            }
        }
        IpAddr::V6(source) => {
            for word in source.octets().as_chunks::<4>().0 {
                udp.adjust32(0, u32::from_be_bytes(*word));
            }
            if let Ok(mut ip) = Ipv6Mut::parse(packet) {
                ip.set_source(source);
            }
        }
    }
}
