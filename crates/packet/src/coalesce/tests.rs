use super::*;
use crate::Ipv4;
use crate::segment::tests::{Shape, any_shape, cut};
use crate::{Fragment, Ipv4Header, Tcp};
use proptest::prelude::*;
use std::vec;

const TCP: Shape = Shape {
    gso: Gso::Tcp4,
    v6: false,
    tags: 0,
    layer: Layer::Packet,
    flags: TcpFlags::ACK,
    id: 0xfffe,
    sequence: u32::MAX - 100,
    size: 100,
    len: 500,
};
const UDP: Shape = Shape { gso: Gso::UdpL4, ..TCP };

/// The packet indices of each train.
fn trains(layer: Layer, packets: &[PacketBuf]) -> Vec<Vec<usize>> {
    let mut coalescer = Coalescer::new(layer);
    let trains = coalescer.join(packets);
    assert_eq!(trains.iter().map(|train| train.count()).sum::<usize>(), packets.len());
    trains.iter().map(|train| train.members().collect()).collect()
}

fn segments(shape: Shape) -> Vec<PacketBuf> {
    let (bytes, vnet) = shape.make();
    cut(&bytes, &vnet, shape.layer)
}

/// Changes one packet and makes its checksums right again.
fn change(packet: &mut PacketBuf, edit: impl FnOnce(&mut [u8])) {
    edit(packet.bytes_mut());
    let bytes = packet.bytes_mut();
    finish_ipv4(bytes, 0);
    let field = if bytes[9] == ip_protocol::TCP { 16 } else { 6 };
    put(bytes, 20 + field, 0);
    let len = len16(bytes.len() - 20);
    let sum = pseudo_sum(bytes, IpVersion::V4, 0, bytes[9], len).add_bytes(&bytes[20..]);
    let check = sum.finish_udp();
    put(bytes, 20 + field, check);
}

proptest! {
    #[test]
    fn segments_are_joined_again(shape in any_shape()) {
        let (bytes, vnet) = shape.make();
        let packets = cut(&bytes, &vnet, shape.layer);
        prop_assume!(packets.len() <= Coalescer::COUNT_MAX);
        let mut coalescer = Coalescer::new(shape.layer);
        let trains = coalescer.join(&packets);
        prop_assert_eq!(trains.len(), 1);
        let train = trains.iter().next().unwrap();
        prop_assert_eq!(train.len(), bytes.len());
        prop_assert_eq!(train.pieces().flatten().copied().collect::<Vec<_>>(), bytes);
        prop_assert_eq!(train.vnet(), vnet);
    }

    #[test]
    fn flows_that_mix_stay_in_order(shapes in prop::collection::vec(any_shape(), 1..4), order in prop::collection::vec(0..4_usize, 200)) {
        // Each shape is a flow of its own by its VLAN-less ports: give it one.
        let mut flows: Vec<std::collections::VecDeque<PacketBuf>> = shapes
            .iter()
            .enumerate()
            .map(|(number, shape)| {
                let shape = Shape { layer: Layer::Packet, v6: false, gso: if shape.gso == Gso::UdpL4 { Gso::UdpL4 } else { Gso::Tcp4 }, ..*shape };
                let mut packets = segments(Shape { len: shape.len.min(20_000), ..shape });
                packets.iter_mut().for_each(|packet| change(packet, |bytes| bytes[21] = u8::try_from(number).unwrap()));
                packets.into()
            })
            .collect();
        let mut packets = Vec::new();
        for pick in order {
            if let Some(packet) = flows.get_mut(pick).and_then(std::collections::VecDeque::pop_front) {
                packets.push(packet);
            }
        }
        let flow = |at: &usize| Headers::parse_packet(packets[*at].bytes()).unwrap().flow(packets[*at].bytes()).unwrap();
        let sent: Vec<usize> = trains(Layer::Packet, &packets).into_iter().flatten().collect();
        let came: Vec<usize> = (0..packets.len()).collect();
        for key in came.iter().map(flow) {
            let of = |list: &[usize]| list.iter().copied().filter(|at| flow(at) == key).collect::<Vec<_>>();
            prop_assert_eq!(of(&sent), of(&came));
        }
    }

    #[test]
    fn any_packets_stay_whole(strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20)) {
        let packets: Vec<PacketBuf> = strings.iter().map(|bytes| {
            let mut packet = PacketBuf::new(0, bytes.len());
            packet.extend(bytes).unwrap();
            packet
        }).collect();
        for layer in [Layer::Frame, Layer::Packet] {
            prop_assert_eq!(trains(layer, &packets).into_iter().flatten().count(), packets.len());
        }
    }
}

#[test]
fn psh_ends_a_train_and_so_does_a_short_packet() {
    let mut packets = segments(TCP);
    change(&mut packets[1], |bytes| bytes[33] |= TcpFlags::PSH.0);
    assert_eq!(trains(Layer::Packet, &packets), [vec![0, 1], vec![2, 3, 4]]);
    let mut coalescer = Coalescer::new(Layer::Packet);
    let first = coalescer.join(&packets).iter().next().unwrap();
    let headers = first.pieces().next().unwrap();
    assert!(Tcp::parse(&headers[20..]).unwrap().flags().contains(TcpFlags::PSH));

    let short = segments(Shape { len: 250, ..UDP });
    let mut packets = short;
    packets.extend(segments(Shape { len: 200, id: 1, ..UDP }));
    assert_eq!(trains(Layer::Packet, &packets), [vec![0, 1, 2], vec![3, 4]]);
}

#[test]
fn different_packets_are_not_joined() {
    type Edit = fn(&mut [u8]);
    let cases: [(&str, Edit); 12] = [
        ("tos", |bytes| bytes[1] ^= 3),
        ("identification", |bytes| bytes[5] ^= 0x40),
        ("don't fragment", |bytes| bytes[6] ^= 0x40),
        ("ttl", |bytes| bytes[8] -= 1),
        ("source", |bytes| bytes[15] ^= 9),
        ("port", |bytes| bytes[23] ^= 1),
        ("sequence", |bytes| bytes[27] ^= 1),
        ("acknowledgment", |bytes| bytes[31] ^= 1),
        ("syn", |bytes| bytes[33] |= 2),
        ("cwr", |bytes| bytes[33] |= 0x80),
        ("window", |bytes| bytes[35] ^= 1),
        ("timestamp", |bytes| bytes[47] ^= 1),
    ];
    for (what, edit) in cases {
        let mut packets = segments(Shape { len: 300, ..TCP });
        assert_eq!(trains(Layer::Packet, &packets).len(), 1);
        change(&mut packets[1], edit);
        assert!(
            trains(Layer::Packet, &packets).iter().all(|train| !train.starts_with(&[0, 1])),
            "{what}"
        );
    }
}

#[test]
fn a_wrong_checksum_is_passed_on_alone() {
    for at in [11, 36, 60] {
        let mut packets = segments(Shape { len: 300, ..TCP });
        packets[1].bytes_mut()[at] ^= 1;
        assert_eq!(trains(Layer::Packet, &packets), [vec![0], vec![1], vec![2]], "byte {at}");
        // Only the IP checksum counts where the transport's is known to be right.
        packets[1].meta.vnet.flags = VnetHeader::DATA_VALID;
        assert_eq!(trains(Layer::Packet, &packets).len() == 1, at != 11, "byte {at}");
    }
    let mut packets = segments(Shape { len: 300, ..UDP });
    put(packets[1].bytes_mut(), 26, 0);
    assert_eq!(trains(Layer::Packet, &packets).len(), 3, "UDP without a checksum");
}

#[test]
fn a_fixed_identification_is_joined_only_with_dont_fragment() {
    for (flag, expected) in [(0x40, 1), (0, 3)] {
        let mut packets = segments(Shape { len: 300, ..TCP });
        for packet in &mut packets {
            change(packet, |bytes| (bytes[4], bytes[5], bytes[6]) = (0, 0, flag));
        }
        assert_eq!(trains(Layer::Packet, &packets).len(), expected);
    }
}

#[test]
fn a_packet_that_is_not_joined_ends_its_flow() {
    let mut packets = segments(TCP);
    let mut ack = PacketBuf::new(0, 52);
    ack.extend(&packets[0].bytes()[..52]).unwrap();
    change(&mut ack, |bytes| bytes[3] = 52);
    packets.insert(2, ack);
    assert_eq!(trains(Layer::Packet, &packets), [vec![0, 1], vec![2], vec![3, 4, 5]]);
}

#[test]
fn a_fragment_ends_all() {
    let mut packets = segments(UDP);
    let header = Ipv4::parse(packets[0].bytes()).unwrap().header();
    let fragment = Some(Fragment { offset: 8, more: false, id: 7 });
    let header = Ipv4Header { fragment, total_len: 28, id: 7, ..header };
    let mut packet = PacketBuf::new(0, 28);
    packet.extend(&header.to_bytes()).unwrap();
    packet.extend(&[0; 8]).unwrap();
    packets.insert(2, packet);
    assert_eq!(trains(Layer::Packet, &packets), [vec![0, 1], vec![2], vec![3, 4, 5]]);
}

#[test]
fn a_super_packet_goes_alone_with_its_own_header() {
    let mut packets = segments(Shape { len: 300, ..TCP });
    let (bytes, vnet) = Shape { len: 300, sequence: TCP.sequence.wrapping_add(300), ..TCP }.make();
    let mut whole = PacketBuf::new(0, bytes.len());
    whole.extend(&bytes).unwrap();
    whole.meta.vnet = vnet;
    packets.push(whole);
    let mut coalescer = Coalescer::new(Layer::Packet);
    let trains = coalescer.join(&packets);
    let last = trains.iter().last().unwrap();
    assert_eq!((trains.len(), last.vnet(), last.len()), (2, vnet, bytes.len()));
}

#[test]
fn a_checksum_inside_a_tunnel_is_not_taken_for_the_outer_one() {
    let mut packets = segments(UDP);
    for (csum_start, expected) in [(20, 1), (60, 5)] {
        for packet in &mut packets {
            packet.meta.vnet = VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                csum_start,
                csum_offset: 6,
                ..VnetHeader::default()
            };
        }
        assert_eq!(trains(Layer::Packet, &packets).len(), expected);
    }
}

#[test]
fn the_lengths_and_counts_have_limits() {
    let many = segments(Shape { size: 10, len: 1000, ..TCP });
    let counts: Vec<usize> = trains(Layer::Packet, &many).iter().map(Vec::len).collect();
    assert_eq!(counts, [Coalescer::COUNT_MAX, 100 - Coalescer::COUNT_MAX]);
    let mut long = segments(Shape { size: 32_000, len: 64_000, ..TCP });
    let more = Shape {
        size: 32_000,
        len: 64_000,
        id: 0,
        sequence: TCP.sequence.wrapping_add(64_000),
        ..TCP
    };
    long.extend(segments(more));
    assert_eq!(trains(Layer::Packet, &long), [vec![0, 1], vec![2, 3]]);
}

#[test]
fn memory_is_kept_from_batch_to_batch() {
    let packets = segments(TCP);
    let mut coalescer = Coalescer::new(Layer::Packet);
    assert_eq!(coalescer.join(&packets).len(), 1);
    let capacity = (coalescer.trains.capacity(), coalescer.members.capacity());
    assert!(coalescer.join(&[]).is_empty());
    assert_eq!(coalescer.join(&packets).len(), 1);
    assert_eq!((coalescer.trains.capacity(), coalescer.members.capacity()), capacity);
}
