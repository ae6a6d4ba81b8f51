use super::*;
use crate::{
    EthernetHeader, Ipv4, Ipv4Header, Ipv6, Ipv6Header, MacAddr, Tcp, TcpHeader, Tunnel, Udp,
    UdpHeader, VlanTag, ether_type,
};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// One way to make a super-packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) gso: Gso,
    pub(crate) v6: bool,
    pub(crate) tags: usize,
    pub(crate) layer: Layer,
    pub(crate) flags: TcpFlags,
    pub(crate) id: u16,
    pub(crate) sequence: u32,
    pub(crate) size: u16,
    pub(crate) len: usize,
}

fn ip(v6: bool, protocol: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let header: Vec<u8> = if v6 {
        let header = Ipv6Header {
            class: 0x28,
            flow_label: 0xabcde,
            payload_len: len16(payload.len()),
            next_header: protocol,
            hop_limit: 63,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        };
        header.to_bytes().to_vec()
    } else {
        let header = Ipv4Header {
            tos: 0x28,
            total_len: len16(20 + payload.len()),
            id,
            dont_fragment: true,
            fragment: None,
            ttl: 63,
            protocol,
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
        };
        header.to_bytes().to_vec()
    };
    [&header, payload].concat()
}

fn udp(payload: &[u8], checksum: u16) -> Vec<u8> {
    let len = len16(8 + payload.len());
    let header = UdpHeader { source_port: 4000, destination_port: 4789, len, checksum };
    [&header.to_bytes(), payload].concat()
}

impl Shape {
    /// The super-packet with its virtio-net header, checksum left to be finished, as Linux makes it.
    pub(crate) fn make(&self) -> (Vec<u8>, VnetHeader) {
        let payload: Vec<u8> =
            (0..self.len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect();
        let (protocol, csum_offset, segment) = if self.gso == Gso::UdpL4 {
            (ip_protocol::UDP, 6, udp(&payload, 0))
        } else {
            let header = TcpHeader {
                source_port: 443,
                destination_port: 50_000,
                sequence: self.sequence,
                acknowledgment: 77,
                flags: self.flags,
                window: 502,
                checksum: 0,
                urgent: 0,
            };
            let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
            (ip_protocol::TCP, 16, [&header.to_bytes(12)[..], &options, &payload].concat())
        };
        let mut bytes = self.link_header();
        let network = bytes.len();
        bytes.extend(ip(self.v6, protocol, self.id, &segment));
        let transport = network + if self.v6 { 40 } else { 20 };
        let version = if self.v6 { IpVersion::V6 } else { IpVersion::V4 };
        let pseudo = pseudo_sum(&bytes, version, network, protocol, len16(segment.len()));
        put(&mut bytes, transport + usize::from(csum_offset), pseudo.fold());
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso: self.gso,
            ecn: self.gso != Gso::UdpL4 && self.flags.contains(TcpFlags::CWR),
            hdr_len: len16(bytes.len() - self.len),
            gso_size: self.size,
            csum_start: len16(transport),
            csum_offset,
            ..VnetHeader::default()
        };
        (bytes, vnet)
    }

    fn link_header(&self) -> Vec<u8> {
        if self.layer == Layer::Packet {
            return Vec::new();
        }
        let (source, destination) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let inner = if self.v6 { ether_type::IPV6 } else { ether_type::IPV4 };
        let header = EthernetHeader { destination, source, ether_type: inner }.to_bytes();
        let mut bytes = header[..12].to_vec();
        for tag in 0..self.tags {
            bytes.extend(VlanTag { tpid: ether_type::VLAN, tci: len16(tag + 5) }.to_bytes());
        }
        bytes.extend(inner.to_be_bytes());
        bytes
    }
}

/// Any super-packet of more than one segment.
pub(crate) fn any_shape() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![
        Just((Gso::Tcp4, false)),
        Just((Gso::Tcp6, true)),
        Just((Gso::UdpL4, false)),
        Just((Gso::UdpL4, true))
    ];
    let flags = prop::sample::select(vec![0x10, 0x18, 0x11, 0x19, 0x90, 0x98, 0xd0, 0x50]);
    (
        kind,
        0..3_usize,
        any::<bool>(),
        flags,
        any::<u16>(),
        any::<u32>(),
        1..3000_u16,
        0..64_usize,
        0..3000_usize,
    )
        .prop_map(|((gso, v6), tags, frame, flags, id, sequence, size, more, rest)| {
            let layer = if frame { Layer::Frame } else { Layer::Packet };
            let size = size.max(8);
            let len = usize::from(size) * (more + 1) + 1 + rest % usize::from(size);
            let len = len.min(65_000).max(usize::from(size) + 1);
            Shape { gso, v6, tags, layer, flags: TcpFlags(flags), id, sequence, size, len }
        })
}

/// The segments, each in a buffer of its own.
pub(crate) fn cut(bytes: &[u8], vnet: &VnetHeader, layer: Layer) -> Vec<PacketBuf> {
    let whole = SuperPacket::parse(bytes, vnet, layer).unwrap();
    let make = |segment: Segment<'_>| {
        let mut packet = PacketBuf::new(16, segment.len());
        segment.append_to(&mut packet).unwrap();
        packet
    };
    whole.segments().map(make).collect()
}

/// Whether the IP header at the front of `packet` and the transport behind it have right checksums.
fn has_valid_checksums(packet: &[u8]) -> bool {
    let headers = Headers::parse_packet(packet).unwrap();
    let (at, protocol) = (headers.transport().unwrap(), headers.protocol().unwrap());
    let version = headers.version().unwrap();
    let len = len16(packet.len() - at);
    let sum = pseudo_sum(packet, version, 0, protocol, len).add_bytes(&packet[at..]).finish();
    sum == 0 && (version == IpVersion::V6 || Ipv4::parse(packet).unwrap().has_valid_checksum())
}

proptest! {
    #[test]
    fn segments_carry_the_payload_in_order_with_right_headers(shape in any_shape()) {
        let (bytes, vnet) = shape.make();
        let segments = cut(&bytes, &vnet, shape.layer);
        prop_assert_eq!(segments.len(), shape.len.div_ceil(usize::from(shape.size)));
        let mut payload: Vec<u8> = Vec::new();
        for (number, packet) in segments.iter().enumerate() {
            let headers = shape.layer.parse(packet.bytes()).unwrap();
            prop_assert_eq!(headers.end(), packet.len());
            let (network, at) = (headers.network(), headers.transport().unwrap());
            prop_assert!(has_valid_checksums(&packet.bytes()[network..]));
            prop_assert_eq!(&packet.bytes()[..network], &bytes[..network]);
            if let Ok(ipv4) = Ipv4::parse(&packet.bytes()[network..]) {
                prop_assert_eq!(ipv4.id(), shape.id.wrapping_add(len16(number)));
            }
            if shape.gso == Gso::UdpL4 {
                prop_assert!(Udp::parse(&packet.bytes()[at..]).unwrap().checksum() != 0);
            } else {
                let tcp = Tcp::parse(&packet.bytes()[at..]).unwrap();
                let passed = u32::try_from(payload.len()).unwrap();
                prop_assert_eq!(tcp.sequence(), shape.sequence.wrapping_add(passed));
                let last = number + 1 == segments.len();
                let gone = if last { TcpFlags::default() } else { TcpFlags::FIN.with(TcpFlags::PSH) };
                let gone = if number == 0 { gone } else { gone.with(TcpFlags::CWR) };
                prop_assert_eq!(tcp.flags(), shape.flags.without(gone));
                prop_assert_eq!(tcp.options_bytes().len(), 12);
            }
            payload.extend(&packet.bytes()[headers.payload()..]);
        }
        prop_assert_eq!(&payload[..], &bytes[bytes.len() - shape.len..]);
    }

    #[test]
    fn any_bytes_and_any_header(bytes in prop::collection::vec(any::<u8>(), 0..200), gso_size: u16, offsets: [u8; 2]) {
        for gso in [Gso::Tcp4, Gso::Tcp6, Gso::UdpL4, Gso::Udp, Gso::None] {
            for tunnel in [None, Some(Tunnel::Ipv4)] {
                let [outer_th_offset, inner_nh_offset] = offsets.map(u16::from);
                let vnet = VnetHeader { gso, gso_size, tunnel, outer_th_offset, inner_nh_offset, ..VnetHeader::default() };
                if let Ok(whole) = SuperPacket::parse(&bytes, &vnet, Layer::Packet) {
                    prop_assert!(whole.segments().all(|segment| segment.len() <= bytes.len()));
                }
            }
        }
    }
}

#[test]
fn inside_a_tunnel_both_sets_of_headers_are_rewritten() {
    let shape = Shape {
        gso: Gso::Tcp4,
        v6: false,
        tags: 0,
        layer: Layer::Packet,
        flags: TcpFlags::ACK.with(TcpFlags::PSH),
        id: 9,
        sequence: 1,
        size: 1000,
        len: 2500,
    };
    let (inner, vnet) = shape.make();
    let mac = Shape { layer: Layer::Frame, ..shape }.link_header();
    let vxlan = [8, 0, 0, 0, 0, 0, 5, 0];
    for (v6, checksum, junk) in [(false, 0, 0), (false, 1, 0), (true, 1, 0), (false, 1, 1)] {
        // `junk`: an odd number of bytes before the inner packet, so that sums are at odd offsets.
        let frame = [&vxlan[..], &mac, &vec![0; junk], &inner].concat();
        let bytes = ip(v6, ip_protocol::UDP, 100, &udp(&frame, checksum));
        let outer_th = if v6 { 40 } else { 20 };
        let vnet = VnetHeader {
            tunnel: Some(if v6 { Tunnel::Ipv6 } else { Tunnel::Ipv4 }),
            outer_th_offset: outer_th,
            inner_nh_offset: outer_th + 8 + 8 + 14 + len16(junk),
            ..vnet
        };
        let segments = cut(&bytes, &vnet, Layer::Packet);
        assert_eq!(segments.len(), 3);
        for (number, packet) in segments.iter().enumerate() {
            let outer = &packet.bytes()[usize::from(outer_th)..];
            let datagram = Udp::parse(outer).unwrap();
            if checksum == 0 {
                assert_eq!(datagram.checksum(), 0);
            } else {
                assert!(has_valid_checksums(packet.bytes()), "segment {number}");
            }
            if let Ok(outer) = Ipv4::parse(packet.bytes()) {
                assert_eq!(outer.id(), 100 + len16(number));
            } else {
                Ipv6::parse(packet.bytes()).unwrap();
            }
            let inner = &packet.bytes()[usize::from(vnet.inner_nh_offset)..];
            assert!(has_valid_checksums(inner), "segment {number}");
            assert_eq!(Ipv4::parse(inner).unwrap().id(), 9 + len16(number));
        }
    }
}

#[test]
fn contradicting_lengths_are_refused() {
    let shape = Shape {
        gso: Gso::Tcp4,
        v6: false,
        tags: 0,
        layer: Layer::Packet,
        flags: TcpFlags::ACK,
        id: 0,
        sequence: 0,
        size: 100,
        len: 250,
    };
    let (bytes, vnet) = shape.make();
    let refused = |vnet: VnetHeader| SuperPacket::parse(&bytes, &vnet, Layer::Packet).unwrap_err();
    for gso in [Gso::None, Gso::Tcp6, Gso::UdpL4, Gso::Udp] {
        assert_eq!(refused(VnetHeader { gso, ..vnet }), Malformed::SuperPacket);
    }
    assert_eq!(refused(VnetHeader { gso_size: 0, ..vnet }), Malformed::SuperPacket);
    let tunnel = Some(Tunnel::Ipv4);
    assert_eq!(refused(VnetHeader { tunnel, ..vnet }), Malformed::SuperPacket);
}

#[test]
fn a_partial_checksum_is_finished() {
    let bytes = ip(false, ip_protocol::UDP, 0, &udp(b"hello", 0));
    let mut packet = PacketBuf::new(0, 100);
    packet.extend(&bytes).unwrap();
    let pseudo = pseudo_sum(&bytes, IpVersion::V4, 0, ip_protocol::UDP, 13).fold();
    put(packet.bytes_mut(), 26, pseudo);
    packet.meta.vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: 20,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    finish_checksum(&mut packet).unwrap();
    assert!(has_valid_checksums(packet.bytes()));
    assert_eq!(packet.meta.vnet, VnetHeader::default());
    packet.meta.vnet =
        VnetHeader { flags: VnetHeader::NEEDS_CSUM, csum_start: 32, ..VnetHeader::default() };
    assert_eq!(finish_checksum(&mut packet), Err(Malformed::VnetChecksum));
}
