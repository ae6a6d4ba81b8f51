//! The IP header of a packet that the simulator makes.

use alloc::vec::Vec;
use core::net::IpAddr;

use adit_packet::{Ipv4Header, Ipv6Header, checksum::Sum};

const HOP_LIMIT: u8 = 64;

/// Appends the header of a packet with `len` bytes after it. Returns the sum of its pseudo-header; `None` if the addresses are
/// of two families or the packet is too long.
pub(crate) fn append_header(
    packet: &mut Vec<u8>,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    len: u16,
    dont_fragment: bool,
) -> Option<Sum> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total_len = len.checked_add(20)?;
            let ip = Ipv4Header {
                tos: 0,
                total_len,
                id: 0,
                dont_fragment,
                fragment: None,
                ttl: HOP_LIMIT,
                protocol,
                source,
                destination,
            };
            packet.extend(ip.to_bytes());
            Some(Sum::pseudo_v4(source, destination, protocol, len))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6Header {
                class: 0,
                flow_label: 0,
                payload_len: len,
                next_header: protocol,
                hop_limit: HOP_LIMIT,
                source,
                destination,
            };
            packet.extend(ip.to_bytes());
            Some(Sum::pseudo_v6(source, destination, protocol, u32::from(len)))
        }
        _ => None,
    }
}
