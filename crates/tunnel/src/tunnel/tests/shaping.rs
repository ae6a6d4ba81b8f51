//! A peer's share of the line.

use super::*;

const RATE: u64 = 10_000_000;

fn shaped(out: bool) -> Net {
    let mut first = true;
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        let shape = Some(Shape { bits_per_second: RATE, burst: 3000 });
        if core::mem::take(&mut first) == out {
            (peer.shape_out, peer.shape_in) = if out { (shape, None) } else { (None, shape) };
        }
    });
    net.assert_passes(0);
    net
}

#[test]
fn the_rate_holds_in_either_direction() {
    for out in [true, false] {
        let mut net = shaped(out);
        let before: usize = net.sides[1].packets().iter().map(Vec::len).sum();
        for _ in 0..2000 {
            for _ in 0..3 {
                net.send(0, &ipv4(0, 1000));
            }
            net.run(millis(1));
        }
        let bytes: usize = net.sides[1].packets().iter().map(Vec::len).sum();
        let bits = u64::try_from((bytes - before) * 8).unwrap();
        assert!((RATE * 2 - RATE / 50..RATE * 2 + RATE / 50).contains(&bits), "{out}: {bits}");
        let drops = net.status(usize::from(!out)).drops;
        assert!(drops.count(DropReason::QUEUE_MANAGED) > 0, "{drops:?}");
        net.run(seconds(5));
        assert_eq!(net.sides[usize::from(!out)].tunnel.held(), 0);
    }
}

#[test]
fn super_packets_are_cut_up_where_they_would_block_the_line() {
    for out in [true, false] {
        let mut net = shaped(out);
        let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 30_000, 1300);
        net.send_from(0, DEVICE, &bytes, vnet);
        net.run(millis(1));
        net.send(0, &ipv4(0, 60));
        net.run(millis(5));
        let packets = net.sides[1].packets();
        assert!(packets.iter().any(|packet| packet.len() == 60), "another flow gets between");
        net.run(seconds(1));
        let packets = net.sides[1].packets();
        let payload: Vec<u8> = packets[1..]
            .iter()
            .filter(|packet| packet.len() > 60)
            .flat_map(|packet| packet[52..].to_vec())
            .collect();
        assert_eq!(payload, bytes[52..]);
    }
}

#[test]
fn queued_packets_go_with_the_peer_or_the_rate() {
    let mut net = shaped(true);
    for _ in 0..50 {
        net.send(0, &ipv4(0, 1000));
    }
    assert!(net.status(0).queued > 40);
    let key = net.peer_of(0);
    let side = &mut net.sides[0];
    let mut config = side.tunnel.peer_config(&key).unwrap();
    config.shape_out = None;
    side.tunnel.set_peer(net.now, config.clone());
    net.run(millis(10));
    assert_eq!(net.sides[1].packets().len(), 51);

    config.shape_out = Some(Shape { bits_per_second: 100_000, burst: 1000 });
    net.sides[0].tunnel.set_peer(net.now, config);
    for _ in 0..50 {
        net.send(0, &ipv4(0, 1000));
    }
    let side = &mut net.sides[0];
    side.tunnel.remove_peer(&key, &mut side.out);
    net.collect(0);
    assert_eq!(net.sides[0].tunnel.held(), 0);
}

#[test]
fn many_shapers_do_not_use_up_the_buffers() {
    let shape = Some(Shape { bits_per_second: 1_000_000_000, burst: 0 });
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| peer.shape_out = shape);
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 60_000, 1300);
    for _ in 0..300 {
        net.send_from(0, DEVICE, &bytes, vnet);
    }
    assert_eq!(net.sides[0].tunnel.held(), 64);
    net.run(seconds(1));
    assert_eq!(net.sides[0].tunnel.held(), 0);
}
