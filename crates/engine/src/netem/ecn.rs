//! Explicit congestion notification (RFC 3168): which packets understand it, and the mark.

use adit_packet::{
    Ethernet, IpVersion, Ipv4, Ipv4Mut, Ipv6, Ipv6Mut, Layer, PacketBuf, ether_type,
};

/// The two bits of ECN; both: congestion experienced.
const MASK: u8 = 3;

/// Whether the packet says that its ends understand ECN (or is marked already).
pub(super) fn is_capable(packet: &PacketBuf, layer: Layer) -> bool {
    let Some((version, at)) = network(packet.bytes(), layer) else { return false };
    let bytes = packet.bytes().get(at..).unwrap_or_default();
    let class = match version {
        IpVersion::V4 => Ipv4::parse(bytes).map(|packet| packet.tos()),
        IpVersion::V6 => Ipv6::parse(bytes).map(|packet| packet.class()),
    };
    class.is_ok_and(|class| class & MASK != 0)
}

/// Marks a packet that [`is_capable`]; the IPv4 header's checksum stays right.
pub(super) fn mark(packet: &mut PacketBuf, layer: Layer) {
    let Some((version, at)) = network(packet.bytes(), layer) else { return };
    let bytes = packet.bytes_mut().get_mut(at..).unwrap_or_default();
    match version {
        IpVersion::V4 => {
            let tos = Ipv4::parse(bytes).map_or(0, |packet| packet.tos());
            if let Ok(mut packet) = Ipv4Mut::parse(bytes) {
                packet.set_tos(tos | MASK);
            }
        }
        IpVersion::V6 => {
            let class = Ipv6::parse(bytes).map_or(0, |packet| packet.class());
            if let Ok(mut packet) = Ipv6Mut::parse(bytes) {
                packet.set_class(class | MASK);
            }
        }
    }
}

/// Which IP header there is, and where.
fn network(bytes: &[u8], layer: Layer) -> Option<(IpVersion, usize)> {
    match layer {
        Layer::Frame => {
            let frame = Ethernet::parse(bytes).ok()?;
            match frame.ether_type() {
                ether_type::IPV4 => Some((IpVersion::V4, frame.header_len())),
                ether_type::IPV6 => Some((IpVersion::V6, frame.header_len())),
                _ => None,
            }
        }
        Layer::Packet => match bytes.first()? >> 4 {
            4 => Some((IpVersion::V4, 0)),
            6 => Some((IpVersion::V6, 0)),
            _ => None,
        },
    }
}
