use core::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_packet_makes_a_session_and_crosses() {
    let mut net = Net::pair();
    let packet = ipv4(0, 1420);
    net.send(0, &packet);
    assert_eq!(net.status(0).queued, 1);
    net.run(millis(10));
    assert_eq!(net.sides[1].packets(), [packet]);
    let lens: Vec<_> = net.log.iter().map(|datagram| datagram.bytes.len()).collect();
    assert_eq!(lens, [148, 92, 1452], "one round trip, then data padded no further than the MTU");
    net.assert_passes(1);
    for us in [0, 1] {
        let status = net.status(us);
        assert!(status.connected);
        assert_eq!(status.endpoint, Some(net.sides[1 - us].at));
        let connected = |event: &&TunnelEvent| matches!(event, TunnelEvent::Connected { .. });
        assert_eq!(net.sides[us].events.iter().filter(connected).count(), 1);
    }
    assert_eq!(net.status(0).bytes_sent, net.status(1).bytes_received);
    assert_eq!(net.status(1).bytes_sent, net.status(0).bytes_received);
}

#[test]
fn a_loop_learns_from_authentic_messages_only() {
    let mut net = Net::pair();
    net.send(0, &ipv4(0, 100));
    let Endpoint::Udp(responder) = net.sides[1].at else { panic!("it is reached by UDP") };
    assert_eq!(net.sides[0].requests, [Request::Reroute(responder)], "a handshake begins");
    net.run(millis(1));
    assert_eq!(net.sides[1].handled, Handled::BEGAN, "an initiation");
    let forged = net.log[0].bytes.clone();
    net.run(millis(1));
    assert_eq!(net.sides[0].handled, Handled::AUTHENTICATED, "a response");
    net.run(millis(10));
    assert_eq!(net.sides[1].handled, Handled::AUTHENTICATED, "data");
    assert_eq!(net.sides[1].requests, [], "who answers begins nothing");
    net.inject(1, udp("198.51.100.1:1"), &forged, 0);
    assert_eq!(net.sides[1].handled, Handled::NOTHING, "a replay");
    net.send(0, &ipv4(0, 100));
    let mut broken = net.log.last().unwrap().bytes.clone();
    broken[40] ^= 1;
    net.inject(1, udp("198.51.100.1:1"), &broken, 0);
    assert_eq!(net.sides[1].handled, Handled::NOTHING, "a forgery");
}

#[test]
fn lengths_are_padded_to_sixteen() {
    let mut net = Net::pair();
    net.assert_passes(0);
    for len in [20, 31, 32, 33, 1408, 1409, 1417, 1420] {
        let start = net.log.len();
        net.send(0, &ipv4(0, len));
        net.run(millis(10));
        let data = net.log[start].bytes.len() - 32;
        assert_eq!(data, len.next_multiple_of(16).min(1420));
        assert_eq!(net.sides[1].packets().last(), Some(&ipv4(0, len)));
    }
}

#[test]
fn handshakes_are_tried_again_and_given_up() {
    let mut net = Net::pair();
    net.rule = Box::new(|_| Fate::Drop);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(200));
    let times: Vec<_> = net.log.iter().map(|datagram| datagram.due).collect();
    assert!((17..=19).contains(&times.len()), "90 s in steps of 5: {}", times.len());
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (seconds(5)..=seconds(5) + millis(333)).contains(gap)));
    assert!(gaps.windows(2).any(|pair| pair[0] != pair[1]), "with jitter");
    assert_eq!(net.status(0).queued, 0);
    assert_eq!(net.status(0).drops.count(DropReason::NO_SESSION), 1);
    let silent = |event: &&TunnelEvent| matches!(event, TunnelEvent::Silent { .. });
    let silent = net.sides[0].events.iter().filter(silent).count();
    assert!((4..=6).contains(&silent), "each 15 s or so: {silent}");

    net.rule = Box::new(|_| Fate::Deliver);
    net.assert_passes(0);
}

#[test]
fn a_lost_response_costs_one_retry() {
    let mut net = Net::pair();
    let mut lost = false;
    net.rule = Box::new(move |datagram| {
        if datagram.bytes[0] == 2 && !core::mem::replace(&mut lost, true) {
            return Fate::Drop;
        }
        Fate::Deliver
    });
    net.send(0, &ipv4(0, 100));
    net.run(seconds(6));
    assert_eq!(net.sides[1].packets().len(), 1);
}

#[test]
fn sessions_are_renewed_in_time_by_the_initiator() {
    let mut net = Net::pair();
    for _ in 0..400 {
        net.send(0, &ipv4(0, 100));
        net.send(1, &ipv4(1, 100));
        net.run(seconds(1));
    }
    assert_eq!(net.sides[0].packets().len(), 399, "the first one had nowhere to go");
    assert_eq!(net.sides[1].packets().len(), 400, "none was lost");
    assert_eq!(net.sent(0, 1), 4, "at 0, 120, 240 and 360 s");
    assert!(net.log.iter().filter(|d| d.bytes[0] == 1).all(|d| d.from == net.sides[0].at));
}

#[test]
fn a_receiver_renews_its_session_late() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let start = net.log.len();
    for _ in 0..170 {
        net.send(1, &ipv4(1, 100));
        net.run(seconds(1));
    }
    assert_eq!(net.sent(start, 1), 1);
    let initiation = net.log[start..].iter().find(|datagram| datagram.bytes[0] == 1).unwrap();
    let age = initiation.due - (Instant::ZERO + seconds(100));
    // Its keepalives count as sending: at 120 s it renews for that reason.
    assert!((seconds(115)..seconds(135)).contains(&age), "{age:?}");
    assert_eq!(net.sides[0].packets().len(), 170);
}

#[test]
fn sessions_are_renewed_by_count() {
    let timing = Timing { rekey_after_messages: 50, ..Timing::STANDARD };
    let mut net = Net::pair_with(TunnelConfig { timing, ..TunnelConfig::default() }, |_| {});
    for _ in 0..120 {
        net.send(0, &ipv4(0, 100));
        net.run(millis(200));
    }
    assert_eq!(net.sides[1].packets().len(), 120);
    assert_eq!(net.sent(0, 1), 3);
}

#[test]
fn nothing_is_sent_past_the_last_counter() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let limit = Timing::STANDARD.reject_after_messages;
    let peer = net.sides[0].tunnel.peers[0].as_ref().unwrap();
    peer.sessions.current.as_ref().unwrap().set_counter(limit - 1);
    net.rule = Box::new(|datagram| if datagram.bytes[0] == 4 { Fate::Deliver } else { Fate::Drop });
    net.assert_passes(0);
    let start = net.log.len();
    for _ in 0..5 {
        net.send(0, &ipv4(0, 100));
    }
    net.run(seconds(1));
    assert_eq!(net.sent(start, 4), 0);
    assert_eq!(net.status(0).queued, 5);
    net.rule = Box::new(|_| Fate::Deliver);
    net.run(seconds(6));
    assert_eq!(net.sides[1].packets().len(), 2 + 5, "a new session took them");
}

/// 2^64 - 2^13 - 1 and greater ones are refused also when they are received.
#[test]
fn a_counter_past_the_limit_is_refused() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let limit = Timing::STANDARD.reject_after_messages;
    let peer = net.sides[0].tunnel.peers[0].as_ref().unwrap();
    let send = Arc::clone(&peer.sessions.current.as_ref().unwrap().send);
    for (counter, arrives) in [(limit, false), (limit + 8192, false), (limit - 1, true)] {
        let before = net.sides[1].packets().len();
        let mut message = [&[0; 16][..], &ipv4(0, 48), &[0; 16]].concat();
        send.seal(counter, &mut message);
        let from = net.sides[0].at;
        net.inject(1, from, &message, 0);
        assert_eq!(net.sides[1].packets().len() - before, usize::from(arrives), "{counter}");
    }
}

#[test]
fn an_old_session_is_of_no_use() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.send(0, &ipv4(0, 60));
    let recorded = net.wire.pop_back().unwrap();
    net.now += seconds(181);
    net.inject(1, recorded.from, &recorded.bytes, 0);
    assert_eq!(net.sides[1].packets().len(), 1);
    assert_eq!(net.status(1).drops.count(DropReason::NO_SESSION), 1);
    assert!(!net.status(0).connected);
    net.assert_passes(0);
}

#[test]
fn sessions_are_forgotten_after_three_lifetimes() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.run(seconds(539));
    assert_eq!(net.sides[0].tunnel.shared.indices().count(), 1);
    net.run(seconds(2));
    for side in &net.sides {
        assert_eq!(side.tunnel.shared.indices().count(), 0);
        assert_eq!(side.tunnel.next_timeout(), None, "nothing is left to wait for");
    }
}

#[test]
fn both_may_start_at_once() {
    let mut net = Net::pair_with(TunnelConfig::default(), |_| {});
    let (at, key) = (net.sides[0].at, net.peer_of(1));
    net.sides[1].tunnel.set_endpoint(&key, at);
    net.send(0, &ipv4(0, 100));
    net.send(1, &ipv4(1, 100));
    net.run(millis(100));
    assert_eq!((net.sides[0].packets().len(), net.sides[1].packets().len()), (1, 1));
    let start = net.log.len();
    for _ in 0..200 {
        net.assert_passes(0);
        net.assert_passes(1);
    }
    assert_eq!(net.sent(start, 1), 0, "neither tries on");
}

#[test]
fn a_preshared_key_must_be_the_same() {
    let with = |seed: Option<u8>| seed.map(|seed| PresharedKey::from_bytes([seed; KEY_LEN]));
    for (ours, theirs, agree) in
        [(Some(1), Some(1), true), (Some(1), Some(2), false), (Some(1), None, false)]
    {
        let mut sides = [ours, theirs].into_iter();
        let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
            peer.preshared_key = with(sides.next().flatten());
        });
        net.send(0, &ipv4(0, 100));
        net.run(seconds(30));
        assert_eq!(net.sides[1].packets().len(), usize::from(agree), "{ours:?} {theirs:?}");
    }
}

#[test]
fn a_peer_is_where_it_was_last_heard() {
    let mut net = Net::pair();
    net.assert_passes(0);
    for (count, at) in ["192.0.2.9:1000", "[2001:db8::9]:5", "192.0.2.9:7"].into_iter().enumerate()
    {
        net.sides[0].at = udp(at);
        net.assert_passes(0);
        assert_eq!(net.status(1).endpoint, Some(udp(at)));
        net.assert_passes(1);
        let moved = |event: &&TunnelEvent| matches!(event, TunnelEvent::Moved { .. });
        assert_eq!(net.sides[1].events.iter().filter(moved).count(), count + 2);
    }
}

#[test]
fn a_stream_is_an_endpoint_as_well() {
    let mut net = Net::pair();
    net.assert_passes(0);
    net.sides[0].at = Endpoint::Port(PortId(77));
    net.send(0, &ipv4(0, 200));
    let datagram = net.wire.pop_back().unwrap();
    net.inject(1, Endpoint::Port(PortId(77)), &datagram.bytes, 0);
    assert_eq!(net.status(1).endpoint, Some(Endpoint::Port(PortId(77))));
    net.send(1, &ipv4(1, 100));
    assert_eq!(net.sides[1].arrived.last().map(|(port, _)| *port), Some(PortId(77)));
    let before = net.sides[1].arrived.len();
    let (bytes, vnet) = tcp_super(inside(1), inside(0), 1, 5 * 1000, 1000);
    net.send_from(1, DEVICE, &bytes, vnet);
    let messages = &net.sides[1].arrived[before..];
    assert_eq!(messages.len(), 5, "one message in each buffer");
    assert!(
        messages
            .iter()
            .all(|(_, message)| message.len() == 1088 && !message.meta.vnet.is_super_packet())
    );
    net.sides[1].tunnel.forget_endpoint(Endpoint::Port(PortId(77)));
    net.sides[0].at = udp("192.0.2.1:1000");
    assert_eq!(net.status(1).endpoint, Some(net.sides[0].at), "where it was by UDP");
    net.assert_passes(1);
}

/// A handshake is tried elsewhere: who answers is there, and who does not stays where it was.
#[test]
fn a_way_is_tried_beside_the_one_in_use() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (peer, stream, elsewhere) = (net.peer_of(0), Endpoint::Port(PortId(77)), net.sides[1].at);
    let probe = |net: &mut Net| {
        let side = &mut net.sides[0];
        side.tunnel.probe(net.now, &peer, elsewhere, &mut side.out);
        net.collect(0);
    };
    net.sides[0].tunnel.set_endpoint(&peer, stream);
    net.rule = Box::new(|_| Fate::Drop);
    net.run(seconds(10));
    probe(&mut net);
    let before = net.sides[0].arrived.len();
    net.run(seconds(2));
    assert_eq!(net.status(0).endpoint, Some(stream));
    assert_eq!(net.sides[0].arrived[before].1.bytes()[0], 1, "the next goes where the peer is");
    let unanswered = |event: &&TunnelEvent| matches!(event, TunnelEvent::Unanswered { .. });
    net.run(seconds(11));
    assert_eq!(net.sides[0].events.iter().filter(unanswered).count(), 3);
    assert!(matches!(net.sides[0].events.last(), Some(TunnelEvent::Unanswered { count: 3, .. })));

    let mut net = Net::pair();
    net.assert_passes(0);
    net.sides[0].tunnel.set_endpoint(&peer, stream);
    probe(&mut net);
    net.run(seconds(1));
    assert_eq!(net.status(0).endpoint, Some(elsewhere));
    net.assert_passes(0);
    net.assert_passes(1);
}

#[test]
fn a_persistent_keepalive_keeps_the_way_open() {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        peer.persistent_keepalive = peer.endpoint.map(|_| seconds(25));
    });
    net.run(seconds(600));
    let keepalives = net.log.iter().filter(|d| d.bytes.len() == 32 && d.from == net.sides[0].at);
    let count = keepalives.count();
    assert!((20..=30).contains(&count), "{count}");
    assert!(net.status(0).connected && net.status(1).connected);
    net.assert_passes(1);
}

#[test]
fn without_a_key_nothing_happens() {
    let mut net = Net::pair();
    let side = &mut net.sides[1];
    side.tunnel.set_private_key(None, &mut side.out);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(20));
    assert!(net.log.iter().all(|datagram| datagram.from == net.sides[0].at));
    let side = &mut net.sides[1];
    side.tunnel.set_private_key(Some(key(2)), &mut side.out);
    net.run(seconds(20));
    assert_eq!(net.sides[1].packets().len(), 1);
}

#[test]
fn a_changed_peer_keeps_its_session_and_the_others_theirs() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let start = net.log.len();
    let side = &mut net.sides[0];
    let mut config = side.tunnel.peer_config(&key(2).public_key()).unwrap();
    config.allowed_ips.push("10.9.0.0/16".parse().unwrap());
    config.persistent_keepalive = Some(seconds(7));
    side.tunnel.set_peer(net.now, config);
    side.tunnel.set_peer(net.now, PeerConfig::new(key(3).public_key()));
    net.assert_passes(0);
    net.assert_passes(1);
    let side = &mut net.sides[0];
    assert!(side.tunnel.remove_peer(&key(3).public_key(), &mut side.out));
    assert!(!side.tunnel.remove_peer(&key(3).public_key(), &mut side.out));
    net.assert_passes(0);
    assert_eq!(net.sent(start, 1), 0, "no new handshake");
    assert_eq!(net.sides[0].tunnel.peers().len(), 1);
}

#[test]
fn loss_and_disorder_are_borne() {
    let mut net = Net::pair();
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    net.rule = Box::new(move |_| match rng.next_u32() % 10 {
        0 => Fate::Drop,
        1..4 => Fate::Late(millis(u64::from(rng.next_u32() % 50))),
        _ => Fate::Deliver,
    });
    for _ in 0..3000 {
        net.send(0, &ipv4(0, 100));
        net.run(millis(100));
    }
    let arrived = net.sides[1].packets().len();
    assert!((2600..=2800).contains(&arrived), "{arrived}");
    let status = net.status(1);
    assert_eq!(status.drops.iter().count(), 0, "{:?}", status.drops);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = Net::pair();
        for _ in 0..200 {
            net.send(0, &ipv4(0, 100));
            net.run(seconds(1));
        }
        net.log.into_iter().map(|datagram| (datagram.due, datagram.bytes)).collect::<Vec<_>>()
    };
    assert!(run() == run());
}

/// The owner learns where the keys of a handshake and of a session are: an ephemeral key, a key for each
/// direction.
#[test]
fn the_memory_of_keys_is_reported() {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let mut net = Net::pair();
    net.sides[0].tunnel.shared.config.key_memory = |memory| {
        assert!(memory.len() >= KEY_LEN);
        REPORTS.fetch_add(1, Ordering::Relaxed);
    };
    net.assert_passes(0);
    assert_eq!(REPORTS.load(Ordering::Relaxed), 3);
    let mut config = net.sides[0].tunnel.peer_config(&net.peer_of(0)).unwrap();
    config.preshared_key = Some(PresharedKey::from_bytes([3; KEY_LEN]));
    net.sides[0].tunnel.set_peer(net.now, config);
    assert_eq!(REPORTS.load(Ordering::Relaxed), 5, "as configured, and as used");
}

/// Packets that keep coming do not hide that nobody answers, and a new address is tried at once.
#[test]
fn a_silent_peer_is_reported_while_packets_keep_coming() {
    let mut net = Net::pair();
    net.rule = Box::new(|_| Fate::Drop);
    for _ in 0..2000 {
        net.send(0, &ipv4(0, 100));
        net.run(millis(100));
    }
    let silent = |event: &&TunnelEvent| matches!(event, TunnelEvent::Silent { .. });
    let silent = net.sides[0].events.iter().filter(silent).count();
    assert!((9..=13).contains(&silent), "each 15 s or a little more, in 200 s: {silent}");
    let tried = net.sent(0, 1);
    assert!((37..=40).contains(&tried), "and it is not given up: {tried}");

    net.rule = Box::new(|_| Fate::Deliver);
    net.sides[1].at = udp("192.0.2.77:7");
    let (key, start) = (net.peer_of(0), net.log.len());
    // Endpoints that are set again and again are no reason for more initiations.
    for port in 0..100 {
        net.sides[0].tunnel.set_endpoint(&key, udp(&std::format!("192.0.2.66:{port}")));
        net.sides[0].tunnel.set_endpoint(&key, udp("192.0.2.77:7"));
        net.run(millis(15));
    }
    assert_eq!((net.sent(start, 1) <= 2, net.sent(start, 2)), (true, 1));
    net.assert_passes(0);
}

/// An initiation that was recorded is worth nothing after a restart of who remembers, and who
/// remembers what it sent goes on from there, also with a clock that went back.
#[test]
fn timestamps_outlive_a_restart() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (ours, theirs) = (net.sides[0].key(), net.sides[1].key());
    let recorded = net.log[0].clone();
    let sent = net.sides[0].tunnel.last_timestamp().unwrap();
    assert_eq!(net.sides[1].tunnel.timestamp_of(&ours), Some(sent));
    let restart = |seed, at, last_timestamp, peer: PublicKey, timestamp: Option<Tai64n>| {
        let mut side = Side::new(seed, at, TunnelConfig { last_timestamp, ..Default::default() });
        // The initiator's clock is ten years back.
        let unix = if seed == 1 { 1_400_000_000 } else { 1_700_000_000 };
        side.tunnel.set_wall_clock(Instant::ZERO, seconds(unix));
        let mut config = PeerConfig::new(peer);
        let other = usize::from(seed == 1);
        config.allowed_ips = vec![format_prefix(other)];
        config.endpoint = Some(udp("192.0.2.2:2000")).filter(|_| seed == 1);
        side.tunnel.set_peer(Instant::ZERO, config);
        if let Some(timestamp) = timestamp {
            side.tunnel.raise_timestamp(Instant::ZERO, &peer, timestamp);
        }
        side
    };
    for remembers in [false, true] {
        net.sides[1] = restart(2, "192.0.2.2:2000", None, ours, remembers.then_some(sent));
        let start = net.log.len();
        net.inject(1, recorded.from, &recorded.bytes, 0);
        assert_eq!(net.sent(start, 2), usize::from(!remembers), "responses");
    }
    for remembers in [false, true] {
        let last = remembers.then_some(sent);
        net.sides[0] = restart(1, "192.0.2.1:1000", last, theirs, None);
        net.send(0, &ipv4(0, 100));
        net.run(millis(100));
        assert_eq!(net.sides[1].packets().len(), usize::from(remembers));
        net.run(seconds(1));
    }
}

/// A peer that may not move: a second host with its key is refused as long as the first is heard.
#[test]
fn a_pinned_peer_stays_where_it_is() {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| peer.pinned = Some(seconds(60)));
    net.assert_passes(0);
    let first = net.status(1).endpoint;
    let (peer, refused) = (net.peer_of(1), udp("192.0.2.66:6"));
    // The same key, the same session even, from elsewhere.
    net.sides[0].at = refused;
    net.send(0, &ipv4(0, 200));
    net.run(seconds(40));
    assert_eq!(net.status(1).endpoint, first);
    assert!(net.status(1).drops.count(DropReason::ELSEWHERE) >= 1);
    let event = TunnelEvent::Refused { peer, from: refused };
    net.run(seconds(15));
    assert!(net.sides[1].events.contains(&event), "{:?}", net.sides[1].events);
    // It was silent for long enough.
    net.sides[1].tunnel.await_peer(&peer);
    net.run(seconds(10));
    net.send(0, &ipv4(0, 200));
    net.run(seconds(30));
    assert_eq!(net.status(1).endpoint, Some(refused));
    net.assert_passes(1);
    let heard = |event: &&TunnelEvent| matches!(event, TunnelEvent::Heard { .. });
    assert_eq!(net.sides[1].events.iter().filter(heard).count(), 1);
}

/// One handshake with a clock 15 years ahead; then the peer starts again with the right clock.
#[test]
fn a_clock_that_was_ahead_locks_nobody_out() {
    const FUTURE: u64 = 2_170_000_000;
    let restart = |net: &mut Net, unix| {
        let (theirs, now) = (net.sides[1].key(), net.now);
        let mut side = Side::new(1, "192.0.2.1:1000", TunnelConfig::default());
        side.tunnel.set_wall_clock(Instant::ZERO, seconds(unix));
        let mut peer = PeerConfig::new(theirs);
        peer.allowed_ips = vec![format_prefix(1)];
        peer.endpoint = Some(net.sides[1].at);
        side.tunnel.set_peer(now, peer);
        net.sides[0] = side;
        let start = net.log.len();
        net.assert_passes(0);
        net.run(seconds(10));
        net.log[start].clone()
    };
    let mut net = Net::pair();
    let ahead = restart(&mut net, FUTURE);
    let peer = net.peer_of(1);
    assert!(net.sides[1].tunnel.timestamp_of(&peer).is_none(), "it limits no right clock");
    let kept = net.sides[1].tunnel.timestamp_ahead_of(&peer).unwrap();
    let right = restart(&mut net, 1_700_000_000);
    let events = |net: &Net| {
        let is_news = |event: &&TunnelEvent| matches!(event, TunnelEvent::ClockAhead { .. });
        net.sides[1].events.iter().filter(is_news).count()
    };
    assert_eq!(events(&net), 1, "{:?}", net.sides[1].events);
    // Neither handshake is accepted again, also after a restart of the responder.
    let latest = net.sides[1].tunnel.timestamp_of(&peer).unwrap();
    for restarted in [false, true] {
        if restarted {
            let now = net.now;
            net.sides[1] = Side::new(2, "192.0.2.2:2000", TunnelConfig::default());
            net.sides[1].tunnel.set_peer(now, PeerConfig::new(peer));
            for timestamp in [kept, latest] {
                net.sides[1].tunnel.raise_timestamp(now, &peer, timestamp);
            }
        }
        let (start, before) = (net.log.len(), net.status(1).drops.count(DropReason::REPLAYED));
        for recorded in [&ahead, &right] {
            assert_eq!(recorded.bytes[0], 1);
            net.inject(1, udp("198.51.100.1:1"), &recorded.bytes, 0);
            net.run(seconds(1));
        }
        assert_eq!(net.sent(start, 2), 0, "responses");
        assert_eq!(net.status(1).drops.count(DropReason::REPLAYED), before + 2);
    }
}

/// The key of our initiation is erased when the handshake of the other side wins, and with the last session.
#[test]
fn the_ephemeral_key_is_erased_in_time() {
    let initiated = |net: &Net| {
        let peer = net.sides[0].tunnel.peer(&net.peer_of(0)).unwrap();
        peer.initiated.is_some()
    };
    let mut net = Net::pair();
    net.assert_passes(0);
    assert!(!initiated(&net));
    net.run(seconds(10));
    // Our initiations are lost; the other side's handshake succeeds.
    let from = net.sides[0].at;
    net.rule = Box::new(move |datagram| {
        if datagram.from == from && datagram.bytes[0] == 1 { Fate::Drop } else { Fate::Deliver }
    });
    let (now, keys) = (net.now, [net.peer_of(0), net.peer_of(1)]);
    for (us, key) in keys.iter().enumerate() {
        let side = &mut net.sides[us];
        side.tunnel.connect(now, key, &mut side.out);
        net.collect(us);
    }
    assert!(initiated(&net));
    net.run(seconds(1));
    assert!(!initiated(&net), "the other side's handshake has won");
    // A handshake that is under way when the keys are forgotten.
    net.rule = Box::new(|_| Fate::Drop);
    let state = |net: &Net| {
        let peer = net.sides[0].tunnel.peer(&keys[0]).unwrap();
        (peer.timers.forget, peer.initiated.as_ref().map(|initiated| initiated.index))
    };
    let mut before = state(&net);
    while before.0.is_some() {
        assert!(net.now < now + seconds(600), "forgotten after 540 s");
        net.send(0, &ipv4(0, 100));
        net.run(millis(100));
        let after = state(&net);
        assert!(after.0.is_some() || before.1.is_some() && after.1 != before.1, "{before:?}");
        before = after;
    }
}

/// A peer owes an answer from the first data or initiation on that it does not answer, until it is heard again or
/// nothing was sent to it for minutes.
#[test]
fn a_silent_peer_shows_since_when() {
    let mut net = Net::pair();
    net.send(0, &ipv4(0, 100));
    net.run(seconds(1));
    let status = net.status(0);
    assert!(status.round_trip.is_some_and(|time| time > Duration::ZERO && time < millis(100)));
    assert_eq!(net.status(1).round_trip, None, "it has initiated nothing");
    net.run(seconds(20));
    assert_eq!(net.status(0).unanswered, None, "a keepalive answered the data");
    net.rule = Box::new(|_| Fate::Drop);
    net.send(0, &ipv4(0, 100));
    let silent = net.now;
    // Through attempts that are given up, and others that follow.
    for _ in 0..30 {
        net.run(seconds(10));
        net.send(0, &ipv4(0, 100));
        assert_eq!(net.status(0).unanswered, Some(silent));
    }
    net.rule = Box::new(|_| Fate::Deliver);
    net.run(seconds(20));
    assert_eq!(net.status(0).unanswered, None, "it is heard again");
    net.rule = Box::new(|_| Fate::Drop);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(60));
    assert!(net.status(0).unanswered.is_some());
    net.run(seconds(900));
    assert_eq!(net.status(0).unanswered, None, "nobody sends to it any more");
}
