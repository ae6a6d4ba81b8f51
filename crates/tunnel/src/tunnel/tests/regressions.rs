//! What went wrong in other implementations, by the names under which it did.

use super::*;

#[test]
fn a_response_that_comes_250_ms_late_is_taken() {
    let mut net = Net::pair();
    net.rule =
        Box::new(
            |datagram| {
                if datagram.bytes[0] == 2 { Fate::Late(millis(250)) } else { Fate::Deliver }
            },
        );
    net.send(0, &ipv4(0, 100));
    net.run(millis(300));
    assert_eq!(net.sides[1].packets().len(), 1);
    assert_eq!(net.sent(0, 1), 1);
}

#[test]
fn a_changed_preshared_key_is_applied() {
    let mut net = Net::pair();
    net.assert_passes(0);
    for seed in [1, 2] {
        for us in [0, 1] {
            let key = net.peer_of(us);
            let side = &mut net.sides[us];
            let mut config = side.tunnel.peer_config(&key).unwrap();
            config.preshared_key = Some(PresharedKey::from_bytes([seed; 32]));
            side.tunnel.set_peer(net.now, config);
            assert!(!net.status(us).connected, "the old session is over");
        }
        net.run(seconds(6));
        net.assert_passes(0);
    }
    let key = net.peer_of(0);
    let side = &mut net.sides[0];
    let mut config = side.tunnel.peer_config(&key).unwrap();
    config.preshared_key = None;
    side.tunnel.set_peer(net.now, config);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(30));
    assert!(!net.status(0).connected, "and a wrong one keeps them apart");
}

#[test]
fn two_idle_peers_do_not_keep_each_other_awake() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.assert_passes(1);
    let start = net.log.len();
    net.run(seconds(100));
    let kept = net.log.len() - start;
    assert!(kept <= 2, "one keepalive each, and then silence: {kept}");
}

/// Who only sends hears a keepalive after 10 s, not after 10 s from the last packet.
#[test]
fn a_keepalive_is_timed_from_the_first_packet_that_was_not_answered() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let start = net.log.len();
    for _ in 0..40 {
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
    }
    let back = net.log[start..].iter().filter(|datagram| datagram.from == net.sides[1].at);
    let back = back.count();
    assert!((3..=4).contains(&back), "one in 10 s: {back}");
    assert_eq!(net.sent(start, 1), 0, "the sender knows that it is heard");
}

/// What is received does not put it off: NATs look at what is sent.
#[test]
fn a_persistent_keepalive_is_timed_from_the_last_sent() {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        peer.persistent_keepalive = peer.endpoint.map(|_| seconds(5));
    });
    net.assert_passes(0);
    let start = net.log.len();
    for _ in 0..60 {
        net.send(1, &ipv4(1, 100));
        net.run(seconds(1));
    }
    let kept = net.log[start..].iter().filter(|datagram| datagram.from == net.sides[0].at).count();
    assert!((11..=13).contains(&kept), "{kept}");
}

#[test]
fn retries_have_jitter() {
    let retry = |seed: u8| {
        let mut side = Side::new(seed, "192.0.2.1:1", TunnelConfig::default());
        let mut peer = PeerConfig::new(key(100).public_key());
        peer.endpoint = Some(udp("192.0.2.2:2"));
        side.tunnel.set_peer(Instant::ZERO, peer);
        side.tunnel.connect(Instant::ZERO, &key(100).public_key(), &mut side.out);
        side.tunnel.next_timeout().unwrap() - Instant::ZERO
    };
    let times: std::collections::BTreeSet<_> = (1..20).map(retry).collect();
    assert!(times.len() > 15, "{times:?}");
    assert!(times.iter().all(|time| (millis(5000)..=millis(5333)).contains(time)));
}

#[test]
fn a_cookie_reply_does_not_move_the_peer() {
    let mut net = Net::pair();
    net.send(0, &ipv4(0, 100));
    let initiation = net.wire.pop_back().unwrap();
    let us = net.sides[1].tunnel.shared.us.as_mut().unwrap();
    let sender = u32::from_le_bytes(initiation.bytes[4..8].try_into().unwrap());
    let reply =
        us.checker.reply(net.now, initiation.from, &initiation.bytes, sender, &mut random(1));
    net.inject(0, udp("203.0.113.66:6"), &reply.unwrap().to_bytes(), 0);
    assert_eq!(net.status(0).endpoint, Some(net.sides[1].at));
    net.run(millis(400));
    assert_eq!(net.sent(0, 1), 2, "but it brings the next initiation forward");
    assert_eq!(net.sides[1].packets().len(), 1);
}

/// A peer answers each initiation with a cookie: the second one comes at once, and the others at their time.
#[test]
fn a_cookie_brings_one_initiation_forward() {
    let mut net = Net::pair();
    net.rule = Box::new(|_| Fate::Drop);
    net.send(0, &ipv4(0, 100));
    let mut at = Vec::new();
    for _ in 0..2000 {
        let start = net.log.len();
        net.run(millis(10));
        let first = if at.is_empty() { 0 } else { start };
        let initiation = net.log[first..].iter().find(|datagram| datagram.bytes[0] == 1).cloned();
        let Some(initiation) = initiation else { continue };
        at.push(net.now);
        let us = net.sides[1].tunnel.shared.us.as_mut().unwrap();
        let sender = u32::from_le_bytes(initiation.bytes[4..8].try_into().unwrap());
        let reply =
            us.checker.reply(net.now, initiation.from, &initiation.bytes, sender, &mut random(1));
        net.inject(0, initiation.to, &reply.unwrap().to_bytes(), 0);
    }
    let gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] <= millis(350), "{gaps:?}");
    assert!(gaps.len() >= 4 && gaps[1..].iter().all(|gap| *gap >= millis(4980)), "{gaps:?}");
}

#[test]
fn every_message_that_authenticates_moves_the_peer() {
    // An initiation, a response, a keepalive, a packet.
    let mut net = Net::pair();
    net.send(0, &ipv4(0, 100));
    let mut message = net.wire.pop_back().unwrap();
    for (count, kind) in [1, 2, 4, 4].into_iter().enumerate() {
        assert_eq!(message.bytes[0], kind);
        let to = 1 - count % 2;
        let elsewhere = udp(&std::format!("198.51.100.{}:{count}", count + 1));
        net.inject(to, elsewhere, &message.bytes, 0);
        assert_eq!(net.status(to).endpoint, Some(elsewhere), "{kind}");
        message = match net.wire.pop_back() {
            Some(message) => message,
            None => {
                let (peer, shared) = net.sides[to].tunnel.peer_mut(0).unwrap();
                let _ = (peer, shared);
                let side = &mut net.sides[to];
                let (peer, shared) = side.tunnel.peer_mut(0).unwrap();
                peer.send_keepalive(shared, net.now, &mut side.out);
                net.collect(to);
                net.wire.pop_back().unwrap()
            }
        };
    }
    assert_eq!(message.bytes.len(), 32, "the last answer was a keepalive");
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let ahead = net.now;
    // The wall clock by ten years, and then the other one by a minute.
    for side in &mut net.sides {
        side.tunnel.set_wall_clock(ahead, seconds(1_300_000_000));
    }
    net.now = Instant::ZERO + seconds(40);
    net.assert_passes(0);
    net.now = ahead + seconds(200);
    net.assert_passes(0);
    assert!(net.sent(0, 2) >= 2, "a second handshake was answered");
    let last = net.sides[0].tunnel.last_timestamp().unwrap();
    assert!(last > Tai64n::from_unix(seconds(1_700_000_000)));
    // 1970, and a timestamp that was kept over the restart.
    let config = TunnelConfig { last_timestamp: Some(last), ..TunnelConfig::default() };
    let (key, at) = (net.sides[1].key(), net.sides[1].at);
    let mut again = Side::new(1, "192.0.2.1:1000", config);
    again.tunnel.set_wall_clock(net.now, seconds(3));
    let mut peer = PeerConfig::new(key);
    peer.endpoint = Some(at);
    peer.allowed_ips = vec![format_prefix(1)];
    again.tunnel.set_peer(net.now, peer);
    net.sides[0] = again;
    net.assert_passes(0);
}

#[test]
fn mtus_of_all_kinds() {
    for mtu in [0, 1, 15, 16, 68, 576, 1280, 9000, 65_535] {
        let mut net = Net::pair_with(TunnelConfig { mtu, ..TunnelConfig::default() }, |_| {});
        let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 5000, 1368);
        for len in [20, 100, 1400, 9000, 60_000, 65_535] {
            net.send(0, &ipv4(0, len));
        }
        net.send_from(0, DEVICE, &bytes, vnet);
        net.run(seconds(1));
        let longest = net.sides[1].packets().iter().map(Vec::len).max().unwrap_or_default();
        assert!(longest <= usize::from(mtu), "{mtu} {longest}");
        assert_eq!(longest > 0, mtu >= 68, "{mtu}");
    }
}

#[test]
fn peers_that_were_cleared_can_come_back() {
    let mut net = Net::pair();
    for _ in 0..3 {
        net.run(seconds(6));
        net.assert_passes(0);
        let key = net.peer_of(0);
        let side = &mut net.sides[0];
        let config = side.tunnel.peer_config(&key).unwrap();
        net.send(0, &ipv4(0, 100));
        let side = &mut net.sides[0];
        assert!(side.tunnel.remove_peer(&key, &mut side.out));
        assert_eq!(side.tunnel.shared.indices().count(), 0);
        net.send(0, &ipv4(0, 100));
        net.run(millis(50));
        net.sides[0].tunnel.set_peer(net.now, config);
        assert_eq!(net.status(0).bytes_sent, 0, "it is a new one");
    }
}

#[test]
fn a_device_that_went_is_replaced() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.sides[1].tunnel.set_device(None);
    net.send(0, &ipv4(0, 100));
    net.run(millis(10));
    assert_eq!(net.status(1).drops.count(DropReason::NO_DESTINATION), 1);
    net.sides[1].tunnel.set_device(Some(PortId(8)));
    net.send(0, &ipv4(0, 100));
    net.run(millis(10));
    assert_eq!(net.sides[1].arrived.last().unwrap().0, PortId(8));
}

/// The daemon is killed and started: it has lost all keys.
#[test]
fn a_restarted_peer_is_back_soon() {
    for knows in [true, false] {
        let mut net = Net::pair();
        net.assert_passes(0);
        net.run(seconds(7));
        let (key, at) = (net.sides[0].key(), net.sides[0].at);
        let mut again = Side::new(2, "192.0.2.2:2000", TunnelConfig::default());
        again.tunnel.set_wall_clock(net.now, seconds(1_700_000_100));
        let mut peer = PeerConfig::new(key);
        peer.endpoint = knows.then_some(at);
        peer.allowed_ips = vec![format_prefix(0)];
        again.tunnel.set_peer(net.now, peer);
        again.tunnel.connect(net.now, &key, &mut again.out);
        net.sides[1] = again;
        net.collect(1);
        let limit = if knows { 20 } else { 160 };
        let back = (0..limit).find(|_| {
            net.send(0, &ipv4(0, 100));
            net.run(millis(100));
            !net.sides[1].packets().is_empty()
        });
        assert!(back.is_some(), "2 s if it knows where we are, 16 s otherwise: {knows}");
    }
}

#[test]
fn after_a_suspend_the_first_packet_makes_a_session() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.now += seconds(300);
    net.send(0, &ipv4(0, 100));
    net.run(millis(10));
    assert_eq!(net.sides[1].packets().len(), 2);
}

/// An interval of 0, as `wg set peer .. persistent-keepalive 0`, is none.
#[test]
fn a_keepalive_of_no_time_is_none() {
    for interval in [Duration::ZERO, Duration::from_nanos(1)] {
        let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
            peer.persistent_keepalive = peer.endpoint.map(|_| interval);
        });
        net.run(seconds(1));
        let limit = if interval.is_zero() { 0 } else { 110 };
        assert!(net.log.len() <= limit, "{}", net.log.len());
    }
}

/// Memory for each peer, when its sessions are there and nothing waits.
#[test]
fn a_peer_takes_little_memory() {
    // Each session may have a second key to receive with.
    let peer = size_of::<Peer>() + 3 * 3 * size_of::<session::SendKey>();
    assert!(peer < 11 * 1024, "{peer}");
}
