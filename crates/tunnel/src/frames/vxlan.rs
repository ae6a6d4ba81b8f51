//! Frames to a peer that is not adit: VXLAN inside the tunnel (RFC 7348), as Linux has it.
//!
//! ```text
//! | IPv4 20 or IPv6 40 | UDP 8 | flags 1 | 0 3 | vni 3 | 0 | Ethernet frame |
//! ```

use core::net::IpAddr;

use adit_packet::checksum::Sum;
use adit_packet::{
    Ecn, Headers, Ipv4, Ipv4Header, Ipv6Header, Layer, PacketBuf, Tunnel as OuterIp, UdpHeader,
    VnetHeader, ip_protocol,
};

use crate::codec::codec;
use crate::inner::network;
use adit_engine::{DropReason, PortId};

/// The flag of a valid VNI.
const HAS_VNI: u8 = 0x08;
/// The VXLAN header's length, and with the UDP header.
const HEADER_LEN: usize = 8;
const UDP_AND_HEADER_LEN: usize = UdpHeader::LEN + HEADER_LEN;
/// The maximum length of the headers before a frame: over IPv6.
pub(crate) const OUTER_LEN_MAX: usize = Ipv6Header::LEN + UDP_AND_HEADER_LEN;

/// The VXLAN settings of a peer.
///
/// Later versions may add fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The port of the frames.
    pub port: PortId,
    /// The VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Our address inside the tunnel: the `remote` of the other side.
    pub local: IpAddr,
    /// The address of the peer inside the tunnel, of the same family, within its allowed IPs.
    pub remote: IpAddr,
    /// The UDP port, on both sides.
    pub udp_port: u16,
}

codec! { Vxlan { port, vni, local, remote, udp_port } }

/// The VXLAN contents of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame that starts at this offset.
    Frame(usize),
    /// An IPv4 fragment of the packet with that number, at offset `start`; its payload starts at `at`.
    Piece { number: u16, start: usize, last: bool, at: usize },
    /// Something else.
    Other,
}

impl Vxlan {
    /// The UDP port assigned by IANA.
    pub const UDP_PORT: u16 = 4789;

    /// The length of the headers before a frame.
    pub(crate) const fn outer_len(&self) -> usize {
        match self.local {
            IpAddr::V4(_) => Ipv4Header::LEN + UDP_AND_HEADER_LEN,
            IpAddr::V6(_) => Ipv6Header::LEN + UDP_AND_HEADER_LEN,
        }
    }

    /// Looks for a frame in an authenticated packet from the peer.
    pub(crate) fn find(&self, packet: &[u8]) -> Found {
        let Ok(headers) = Headers::parse_packet(packet) else { return Found::Other };
        if headers.addresses(packet) != Some((self.remote, self.local))
            || headers.protocol() != Some(ip_protocol::UDP)
        {
            return Found::Other;
        }
        if let (Some(fragment), Ok(ipv4)) = (headers.fragment(), Ipv4::parse(packet)) {
            return Found::Piece {
                number: ipv4.id(),
                start: usize::from(fragment.offset),
                last: !fragment.more,
                at: ipv4.header_len(),
            };
        }
        let at = headers.transport().filter(|_| headers.fragment().is_none());
        match at.and_then(|at| Some(at + self.frame_in(packet.get(at..)?)?)) {
            Some(frame) => Found::Frame(frame),
            None => Found::Other,
        }
    }

    /// The offset of the frame in a UDP datagram of this network.
    pub(crate) fn frame_in(&self, datagram: &[u8]) -> Option<usize> {
        let &[_, _, d0, d1, _, _, _, _, flags, _, _, _, v0, v1, v2, _] = datagram.first_chunk()?;
        let ours = u16::from_be_bytes([d0, d1]) == self.udp_port
            && flags & HAS_VNI != 0
            && u32::from_be_bytes([0, v0, v1, v2]) == self.vni;
        let long_enough = datagram.len() >= UDP_AND_HEADER_LEN + 14;
        (ours && long_enough).then_some(UDP_AND_HEADER_LEN)
    }

    /// Prepends the outer headers to a frame or super-packet.
    pub(crate) fn wrap(&self, frame: &mut PacketBuf) -> Result<(), DropReason> {
        let vnet = self.wrapped(frame)?;
        // As in Linux: ECN marks on the path to the peer pass both tunnels.
        let ecn = Ecn::of(network(Layer::Frame, frame.bytes())).bits();
        let udp_len = frame.len() + UDP_AND_HEADER_LEN;
        let len16 = |len: usize| u16::try_from(len).map_err(|_| DropReason::TOO_BIG);
        let mut udp = UdpHeader {
            source_port: self.udp_port,
            destination_port: self.udp_port,
            len: len16(udp_len)?,
            checksum: 0,
        };
        let [_, v0, v1, v2] = self.vni.to_be_bytes();
        let vxlan = [HAS_VNI, 0, 0, 0, v0, v1, v2, 0];
        let (mut ip, mut ip_len) = ([0; Ipv6Header::LEN], Ipv4Header::LEN);
        match (self.local, self.remote) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    tos: ecn,
                    total_len: len16(Ipv4Header::LEN + udp_len)?,
                    id: 0,
                    dont_fragment: false,
                    fragment: None,
                    ttl: 64,
                    protocol: ip_protocol::UDP,
                    source,
                    destination,
                };
                ip[..Ipv4Header::LEN].copy_from_slice(&header.to_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ip_len = Ipv6Header::LEN;
                let header = Ipv6Header {
                    class: ecn,
                    flow_label: 0,
                    payload_len: udp.len,
                    next_header: ip_protocol::UDP,
                    hop_limit: 64,
                    source,
                    destination,
                };
                ip = header.to_bytes();
                // The checksum is mandatory over IPv6 (RFC 8200, 8.1). Segments of a super-packet get their own.
                let pseudo =
                    Sum::pseudo_v6(source, destination, ip_protocol::UDP, u32::from(udp.len));
                let head = pseudo.add_bytes(&udp.to_bytes()).add_bytes(&vxlan);
                udp.checksum = head.add_bytes(frame.bytes()).finish_udp();
            }
            _ => return Err(DropReason::NO_DESTINATION),
        }
        let pieces: [&[u8]; 3] = [ip.get(..ip_len).unwrap_or_default(), &udp.to_bytes(), &vxlan];
        let outer = frame.prepend(self.outer_len()).ok_or(DropReason::NO_BUFFER)?;
        let from = pieces.into_iter().flatten();
        outer.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        frame.meta.vnet = vnet;
        Ok(())
    }

    /// The virtio-net header of a wrapped frame.
    fn wrapped(&self, frame: &PacketBuf) -> Result<VnetHeader, DropReason> {
        let vnet = frame.meta.vnet;
        if !vnet.is_super_packet() {
            return Ok(VnetHeader::default());
        }
        let inner = Headers::parse_frame(frame.bytes()).map_err(|_| DropReason::MALFORMED)?;
        let further = |offset: usize| {
            u16::try_from(offset + self.outer_len()).map_err(|_| DropReason::MALFORMED)
        };
        Ok(VnetHeader {
            hdr_len: further(vnet.hdr_len.into())?,
            csum_start: further(vnet.csum_start.into())?,
            tunnel: Some(if self.local.is_ipv4() { OuterIp::Ipv4 } else { OuterIp::Ipv6 }),
            outer_th_offset: further(0)?
                .saturating_sub(u16::try_from(UDP_AND_HEADER_LEN).unwrap_or_default()),
            inner_nh_offset: further(inner.network())?,
            ..vnet
        })
    }
}
