//! Marks of congested routers, passed on (RFC 6040).

use super::frames::tcp_frame;
use super::*;
use adit_engine::DropReason;
use adit_packet::{Ecn, checksum};

const BRIDGE: PortId = PortId(3);
const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];

/// Two sides between which packets cross, or frames as they are or in VXLAN.
pub(super) fn net(vxlan: Option<bool>) -> Net {
    let mut us = 0;
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        match vxlan {
            None => {}
            Some(false) => {
                peer.mode = PeerMode::Frames(BRIDGE);
                peer.extensions = true;
            }
            Some(true) => {
                let (local, remote) = (inside(us).into(), inside(1 - us).into());
                let (vni, udp_port) = (7, Vxlan::UDP_PORT);
                peer.mode = PeerMode::Vxlan(Vxlan { port: BRIDGE, vni, local, remote, udp_port });
            }
        }
        us += 1;
    });
    let (bytes, vnet) = super_packet(vxlan.is_some(), Ecn::NotEct);
    net.send_from(0, port(vxlan), &bytes, vnet);
    net.run(seconds(10));
    net
}

pub(super) fn port(vxlan: Option<bool>) -> PortId {
    if vxlan.is_some() { BRIDGE } else { DEVICE }
}

/// Three segments whose headers have that codepoint.
pub(super) fn super_packet(is_frame: bool, ecn: Ecn) -> (Vec<u8>, VnetHeader) {
    let (mut bytes, vnet) = if is_frame {
        tcp_frame(3000, 1000, false)
    } else {
        tcp_super(inside(0), inside(1), 1, 3000, 1000)
    };
    let at = if is_frame { 14 } else { 0 };
    bytes[at + 10..at + 12].fill(0);
    ecn.write(&mut bytes[at..]);
    bytes[at + 10..at + 12].fill(0);
    let check = checksum::of(&bytes[at..at + 20]);
    bytes[at + 10..at + 12].copy_from_slice(&check.to_be_bytes());
    (bytes, vnet)
}

#[test]
fn marks_pass_through_as_rfc_6040_has_it() {
    for vxlan in [None, Some(false), Some(true)] {
        let layer = if vxlan.is_some() { Layer::Frame } else { Layer::Packet };
        let at = if vxlan.is_some() { 14 } else { 0 };
        for (inner, outer) in ALL.into_iter().flat_map(|inner| ALL.map(|outer| (inner, outer))) {
            let mut net = net(vxlan);
            net.sides[1].arrived.clear();
            net.rule = Box::new(move |train| {
                assert_eq!(train.ecn, inner, "the outer header has the inner one's");
                train.ecn = outer;
                Fate::Deliver
            });
            let (bytes, vnet) = super_packet(vxlan.is_some(), inner);
            net.send_from(0, port(vxlan), &bytes, vnet);
            net.rule = Box::new(|_| Fate::Deliver);
            net.run(millis(10));
            let drops = net.status(1).drops.count(DropReason::CONGESTED);
            let arrived = &net.sides[1].arrived;
            let Some(expected) = inner.decapsulated(outer) else {
                assert_eq!((drops, arrived.len()), (3, 0), "{vxlan:?}");
                continue;
            };
            assert_eq!((drops, arrived.len()), (0, 1), "{inner:?} {outer:?} {vxlan:?}");
            let segments = cut(&arrived[0].1, layer);
            assert_eq!(segments.len(), 3, "they stay one super-packet");
            for packet in segments {
                assert_eq!(Ecn::of(&packet[at..]), expected, "{inner:?} {outer:?} {vxlan:?}");
                assert_eq!(checksum::of(&packet[at..at + 20]), 0);
            }
        }
    }
}

#[test]
fn messages_of_our_own_take_no_marks() {
    let mut net = net(None);
    net.log.clear();
    net.run(seconds(200));
    assert!(net.log.iter().all(|train| train.ecn == Ecn::NotEct) && !net.log.is_empty());
    // A mark on a keepalive has no effect.
    net.rule = Box::new(|train| {
        train.ecn = Ecn::Ce;
        Fate::Deliver
    });
    net.run(seconds(200));
    assert_eq!(net.status(1).drops.count(DropReason::CONGESTED), 0);
}
