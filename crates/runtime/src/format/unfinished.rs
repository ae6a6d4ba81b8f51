//! What the kernel has left undone in a frame that came to a socket inside a datagram.
//!
//! A frame that a neighbour on this machine put into VXLAN (another namespace, a container) has met
//! no network card: its checksum holds the pseudo header's sum only, and it may stand for many
//! packets. With the frame itself the kernel would say so; with a datagram it cannot.

use adit_packet::checksum::Sum;
use adit_packet::{Gso, Headers, IpVersion, VnetHeader, ip_protocol};
use std::net::IpAddr;

/// The IP MTU that is taken for such a sender's own: a smaller segment than its MTU does no harm.
const MTU: usize = 1500;

/// A segment is no shorter, whatever the headers before it (RFC 9293, 3.7.1: the default MSS).
const SEGMENT_LEN_MIN: usize = 536;

/// What is left to be done for a frame; nothing if it is as it would be on a wire.
///
/// A finished checksum that happens to be the pseudo header's sum is taken for an open one, which
/// does no harm either: finishing it gives the same.
pub(crate) fn offloads(frame: &[u8]) -> VnetHeader {
    find(frame).unwrap_or_default()
}

fn find(frame: &[u8]) -> Option<VnetHeader> {
    let headers = Headers::parse_frame(frame).ok()?;
    let (transport, protocol) = (headers.transport()?, headers.protocol()?);
    let offset = match protocol {
        ip_protocol::TCP => 16,
        ip_protocol::UDP => 6,
        _ => return None,
    };
    let field = frame.get(transport + offset..)?.first_chunk()?;
    let len = headers.end().checked_sub(transport)?;
    let is_open = headers.fragment().is_none()
        && u16::from_be_bytes(*field) == pseudo(&headers, frame, protocol, len)?;
    if !is_open {
        return None;
    }
    let mut vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: u16::try_from(transport).ok()?,
        csum_offset: u16::try_from(offset).ok()?,
        ..VnetHeader::default()
    };
    let headers_len = headers.payload();
    let size = MTU.checked_sub(headers_len - headers.network());
    if protocol == ip_protocol::TCP
        && headers.end() > headers.network() + MTU
        && let Some(size) = size.filter(|&size| size >= SEGMENT_LEN_MIN)
    {
        vnet.gso = match headers.version()? {
            IpVersion::V4 => Gso::Tcp4,
            IpVersion::V6 => Gso::Tcp6,
        };
        vnet.hdr_len = u16::try_from(headers_len).ok()?;
        vnet.gso_size = u16::try_from(size).ok()?;
    }
    Some(vnet)
}

fn pseudo(headers: &Headers, frame: &[u8], protocol: u8, len: usize) -> Option<u16> {
    let sum = match headers.addresses(frame)? {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Sum::pseudo_v4(from, to, protocol, u16::try_from(len).ok()?)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Sum::pseudo_v6(from, to, protocol, u32::try_from(len).ok()?)
        }
        _ => return None,
    };
    Some(sum.fold())
}

/// What must hold for any frame: its open offloads can be completed.
///
/// # Panics
/// If it does not hold.
pub(crate) fn exercise(frame: &[u8]) {
    let vnet = offloads(frame);
    if !vnet.needs_csum() {
        assert_eq!(vnet, VnetHeader::default());
        return;
    }
    assert!(usize::from(vnet.csum_start) + usize::from(vnet.csum_offset) + 2 <= frame.len());
    if vnet.is_super_packet() {
        adit_packet::SuperPacket::parse(frame, &vnet, adit_packet::Layer::Frame)
            .expect("what is cut up can be");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Layer, PacketBuf, SuperPacket, finish_checksum};
    use proptest::prelude::*;

    /// A frame of TCP over IPv4 with so many bytes of payload and an open checksum.
    fn tcp(payload: usize) -> Vec<u8> {
        let len = u16::try_from(40 + payload).unwrap().to_be_bytes();
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        frame.resize(54 + payload, 9);
        let length = u16::try_from(20 + payload).unwrap();
        let (from, to) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let sum = Sum::pseudo_v4(from, to, 6, length).fold();
        frame[50..52].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    #[test]
    fn an_open_checksum_is_found_and_a_finished_one_is_not() {
        let frame = tcp(100);
        let vnet = offloads(&frame);
        assert_eq!((vnet.csum_start, vnet.csum_offset, vnet.gso), (34, 16, Gso::None));
        let mut packet = PacketBuf::new(0, 200);
        packet.extend(&frame).unwrap();
        packet.meta.vnet = vnet;
        finish_checksum(&mut packet).unwrap();
        assert_eq!(offloads(packet.bytes()), VnetHeader::default());
        assert_eq!(offloads(&frame[..40]), VnetHeader::default());
    }

    #[test]
    fn a_super_packet_is_cut_for_an_mtu_of_1500() {
        assert_eq!(offloads(&tcp(1460)).gso, Gso::None);
        let frame = tcp(10_000);
        let vnet = offloads(&frame);
        assert_eq!((vnet.gso, vnet.gso_size, vnet.hdr_len), (Gso::Tcp4, 1460, 54));
        assert_eq!(SuperPacket::parse(&frame, &vnet, Layer::Frame).unwrap().count(), 7);
        exercise(&frame);
    }

    proptest! {
        #[test]
        fn any_frame(bytes in prop::collection::vec(any::<u8>(), 0..200), payload in 0..3000_usize) {
            exercise(&bytes);
            let mut frame = tcp(payload);
            for (at, byte) in bytes.iter().enumerate() {
                let place = at * 7 % frame.len();
                frame[place] ^= byte & 1;
            }
            exercise(&frame);
        }
    }
}
