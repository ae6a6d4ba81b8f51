//! Offsets in the packets and frames inside the tunnel, without a full parse.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_packet::{Ecn, Layer, ether_type};

/// The source address of a packet.
pub(crate) fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

/// The destination address of a packet.
pub(crate) fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

/// The address at offset `v4` or `v6`, by the version of the packet.
fn address(packet: &[u8], v4: usize, v6: usize) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 => {
            let octets: [u8; 4] = *packet.get(v4..)?.first_chunk()?;
            Some(Ipv4Addr::from(octets).into())
        }
        6 if packet.len() >= 40 => {
            let octets: [u8; 16] = *packet.get(v6..)?.first_chunk()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// The bytes of a packet or frame from its IP header on; empty without one.
pub(crate) fn network(layer: Layer, bytes: &[u8]) -> &[u8] {
    let at = match layer {
        Layer::Packet => Some(0),
        Layer::Frame => network_in_frame(bytes),
    };
    at.and_then(|at| bytes.get(at..)).unwrap_or_default()
}

/// As [`network`], to change it.
pub(crate) fn network_mut(layer: Layer, bytes: &mut [u8]) -> &mut [u8] {
    let at = bytes.len() - network(layer, bytes).len();
    bytes.get_mut(at..).unwrap_or_default()
}

/// Marks a packet or frame as congested. Returns `false` if it is not ECN-capable: then it must be dropped.
pub(crate) fn mark(layer: Layer, bytes: &mut [u8]) -> bool {
    let ip = network_mut(layer, bytes);
    let marked = Ecn::of(ip).decapsulated(Ecn::Ce);
    marked.inspect(|ecn| ecn.write(ip)).is_some()
}

/// The offset of the IP header in a frame with at most one tag; `None` if it is not IP.
pub(crate) fn network_in_frame(frame: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        frame.get(at..).and_then(<[u8]>::first_chunk).map(|&word| u16::from_be_bytes(word))
    };
    let (kind, network) = match word(12)? {
        ether_type::VLAN => (word(16)?, 18),
        kind => (kind, 14),
    };
    matches!(kind, ether_type::IPV4 | ether_type::IPV6).then_some(network)
}
