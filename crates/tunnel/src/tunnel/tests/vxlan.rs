//! Frames to a peer that is not adit.

use super::frames::{frame, frames, tcp_frame};
use super::*;
use adit_packet::{Headers, Ipv4, ip_protocol};

const BRIDGE: PortId = PortId(3);

/// Two sides with a network of that number, over IPv4 or IPv6 inside.
fn net(v4: bool) -> Net {
    let mut us = 0;
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        let address = |side: usize| -> IpAddr {
            if v4 {
                inside(side).into()
            } else {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::try_from(side + 1).unwrap()).into()
            }
        };
        peer.mode = PeerMode::Vxlan(Vxlan {
            port: BRIDGE,
            vni: 0x0001_0203,
            local: address(us),
            remote: address(1 - us),
            udp_port: Vxlan::UDP_PORT,
        });
        us += 1;
    });
    net.send_from(0, BRIDGE, &frame(60), VnetHeader::default());
    net.run(seconds(1));
    assert_eq!(frames(&net.sides[1]), [frame(60)]);
    for side in &mut net.sides {
        side.arrived.clear();
    }
    net
}

#[test]
fn frames_cross_in_both_directions() {
    for v4 in [true, false] {
        let mut net = net(v4);
        for len in [14, 60, 1000, 1364, if v4 { 1384 } else { 1364 }] {
            for us in [0, 1] {
                net.sides[1 - us].arrived.clear();
                net.send_from(us, BRIDGE, &frame(len), VnetHeader::default());
                net.run(millis(10));
                assert_eq!(frames(&net.sides[1 - us]), [frame(len)], "{len}");
            }
        }
    }
}

#[test]
fn full_frames_cross_in_fragments_over_ipv4() {
    let mut net = net(true);
    for len in [1385, 1514, 1518, 9014] {
        net.sides[1].arrived.clear();
        net.send_from(0, BRIDGE, &frame(len), VnetHeader::default());
        net.run(millis(10));
        assert_eq!(frames(&net.sides[1]), [frame(len)], "{len}");
    }
    assert!(net.log.iter().all(|datagram| datagram.bytes.len() <= 1452));
}

#[test]
fn super_packets_cross_as_such() {
    for (v4, tagged) in [(true, false), (true, true), (false, false)] {
        let mut net = net(v4);
        let start = net.log.len();
        let (bytes, vnet) = tcp_frame(40 * 1200, 1200, tagged);
        net.send_from(0, BRIDGE, &bytes, vnet);
        net.run(millis(10));
        assert_eq!(net.log.len() - start, 1, "one train");
        let (_, arrived) = net.sides[1].arrived.last().unwrap();
        assert_eq!((arrived.bytes(), arrived.meta.vnet), (&bytes[..], vnet));
    }
}

/// Each packet of a super-packet is one that a kernel takes: lengths, checksums, header.
#[test]
fn sent_frames_are_vxlan_as_the_kernel_has_it() {
    for v4 in [true, false] {
        let mut net = net(v4);
        let Some(peer) = &mut net.sides[1].tunnel.peers[0] else { panic!("it is there") };
        // The other side looks at the packets themselves.
        peer.config.mode = PeerMode::Packets;
        net.sides[1].tunnel.shared.config.join = false;
        let (bytes, vnet) = tcp_frame(10 * 1200 + 7, 1200, false);
        net.send_from(0, BRIDGE, &bytes, vnet);
        net.send_from(0, BRIDGE, &frame(100), VnetHeader::default());
        net.run(millis(10));
        let packets = net.sides[1].packets();
        assert_eq!(packets.len(), 12);
        for packet in packets {
            let headers = Headers::parse_packet(&packet).unwrap();
            let at = headers.transport().unwrap();
            assert_eq!((headers.protocol(), headers.end()), (Some(ip_protocol::UDP), packet.len()));
            assert_eq!(headers.ports(&packet), Some((4789, 4789)));
            assert_eq!(packet[at + 8..at + 16], [8, 0, 0, 0, 1, 2, 3, 0]);
            let len = u16::try_from(packet.len() - at).unwrap();
            match headers.addresses(&packet).unwrap() {
                (IpAddr::V4(_), _) => {
                    assert!(Ipv4::parse(&packet).unwrap().has_valid_checksum());
                    assert_eq!(packet[at + 6..at + 8], [0, 0], "none, as Linux by default");
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    let pseudo = Sum::pseudo_v6(source, destination, 17, len.into());
                    assert_eq!(pseudo.add_bytes(&packet[at..]).finish(), 0);
                }
                mixed => panic!("{mixed:?}"),
            }
        }
    }
}

#[test]
fn packets_cross_beside_frames() {
    let mut net = net(true);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 9 * 1000, 1000);
    for _ in 0..3 {
        net.send_from(0, DEVICE, &bytes, vnet);
        net.send_from(0, BRIDGE, &frame(500), VnetHeader::default());
        net.send_from(0, DEVICE, &ipv4(0, 100), VnetHeader::default());
    }
    net.run(millis(10));
    let ports: Vec<_> = net.sides[1].arrived.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [DEVICE, BRIDGE, DEVICE].repeat(3));
    assert_eq!(net.sides[1].arrived[0].1.bytes(), bytes);
}

/// Another network's number, another port, another address: not ours, so the device's.
#[test]
fn frames_of_another_network_are_packets() {
    let mut net = net(true);
    let key = net.peer_of(0);
    let side = &mut net.sides[0];
    let mut config = side.tunnel.peer_config(&key).unwrap();
    let PeerMode::Vxlan(vxlan) = config.mode else { panic!("it is VXLAN") };
    for other in [Vxlan { vni: 9, ..vxlan }, Vxlan { udp_port: 8472, ..vxlan }] {
        config.mode = PeerMode::Vxlan(other);
        net.sides[0].tunnel.set_peer(net.now, config.clone());
        net.sides[1].arrived.clear();
        net.send_from(0, BRIDGE, &frame(100), VnetHeader::default());
        net.run(millis(10));
        assert_eq!(net.sides[1].arrived[0].0, DEVICE);
    }
}
