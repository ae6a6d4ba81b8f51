//! A tunnel allocates nothing for a packet, once it has a session.

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;

use adit_engine::switch::IpPrefix;
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{Batch, Gso, Instant, Pool, PoolConfig, VnetHeader};
use adit_tunnel::{PeerConfig, PeerMode, PrivateKey, Suite, Tunnel, TunnelConfig};
use std::time::Duration;

/// Carries what one side sent to the other; returns how many buffers came out at its port.
fn carry(now: Instant, sides: &mut [(Tunnel, Outbox); 2], from: usize, batch: &mut Batch) -> usize {
    let [first, second] = sides;
    let ((_, out), (tunnel, into)) = if from == 0 { (first, second) } else { (second, first) };
    let mut came = 0;
    while let Some(to) = out.next_group(batch) {
        for packet in batch.drain(..) {
            if let Endpoint::Udp(_) = to {
                let copy = into.pool().copy_of(&packet).expect("far from the limit");
                tunnel.handle(now, Endpoint::Udp(([192, 0, 2, 9], 1).into()), copy, into);
            } else {
                came += 1;
            }
            out.pool().give(packet);
        }
    }
    came
}

fn tunnels(mode: PeerMode, aes_is_faster: bool) -> [(Tunnel, Outbox); 2] {
    let keys = [1, 2].map(|seed| PrivateKey::from_bytes([seed; 32]));
    [0, 1].map(|us| {
        let config = TunnelConfig {
            private_key: Some(keys[us].clone()),
            device: Some(PortId(0)),
            aes_is_faster,
            ..TunnelConfig::default()
        };
        let mut next = 1 + u32::try_from(us).expect("0 or 1");
        let random = Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = next.to_be_bytes()[0];
            }
        });
        let mut tunnel = Tunnel::new(config, random);
        let mut peer = PeerConfig::new(keys[1 - us].public_key());
        peer.endpoint = Some(Endpoint::Udp(([192, 0, 2, 9], 1).into()));
        peer.mode = mode;
        peer.allowed_ips.push(IpPrefix::ALL_V4);
        tunnel.set_peer(Instant::ZERO, peer);
        (tunnel, Outbox::new(Pool::new(PoolConfig::default())))
    })
}

/// Packets, super-packets and frames that are fragmented, both ways, with the timers running.
#[test]
fn packets_in_a_tunnel_allocate_nothing() {
    for (mode, port, link, aes) in [
        (PeerMode::Packets, 0, 0, false),
        (PeerMode::Frames(PortId(1)), 1, 14, true),
        (PeerMode::Packets, 0, 0, true),
    ] {
        let mut sides = tunnels(mode, aes);
        let (mut batch, mut before, mut came) = (Batch::new(), 0, 0);
        for round in 0..3000_u64 {
            let now = Instant::ZERO + Duration::from_millis(500_000 + 10 * round);
            if round == 1500 {
                (before, came) = (counting::allocations(), 0);
            }
            let from = usize::from(round % 2 == 1);
            let (tunnel, out) = &mut sides[from];
            let total = [1400_u16, 30_040, 40][usize::try_from(round % 3).expect("0 to 2")];
            let len = link + usize::from(total);
            let mut packet = out.pool().take(len).expect("far from the limit");
            if link != 0 {
                packet.extend(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]).expect("room");
            }
            packet.extend(&[0x45, 0]).expect("room");
            packet.extend(&total.to_be_bytes()).expect("room");
            packet.extend(&[0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1]).expect("room");
            packet.extend(&[0, 80, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10]).expect("room");
            packet.set_len(len).expect("room");
            if total == 30_040 {
                let vnet = VnetHeader { gso: Gso::Tcp4, gso_size: 1300, ..VnetHeader::default() };
                packet.meta.vnet = vnet;
            }
            tunnel.handle(now, Endpoint::Port(PortId(port)), packet, out);
            for side in [0, 1, 0, 1, 0, 1] {
                came += carry(now, &mut sides, side, &mut batch);
            }
            for (tunnel, out) in &mut sides {
                tunnel.handle_timeout(now, out);
                while round < 1500 && tunnel.poll_event().is_some() {}
            }
        }
        assert_eq!(counting::allocations() - before, 0, "{mode:?}");
        assert!(came >= 1500, "{came}");
        let (tunnel, now) = (&sides[0].0, Instant::ZERO + Duration::from_millis(530_000));
        let peer = tunnel.peers().next().expect("it has one");
        let suite = if aes { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 };
        assert_eq!(tunnel.status(now, &peer).expect("it is there").suite, Some(suite));
    }
}
