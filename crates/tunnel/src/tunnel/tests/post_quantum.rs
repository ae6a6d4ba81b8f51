//! Post-quantum keys between two of adit: exchanges under loss, reordering and restarts, and what is refused.

use super::*;
use crate::post_quantum::NOT_POST_QUANTUM;
use crate::{PostQuantum, PostQuantumStatus};

const BOTH: [usize; 2] = [0, 1];

fn set_mode(net: &mut Net, us: usize, mode: PostQuantum) {
    let peer = net.peer_of(us);
    let mut config = net.sides[us].tunnel.peer_config(&peer).unwrap();
    (config.extensions, config.post_quantum) = (true, mode);
    let now = net.now;
    net.sides[us].tunnel.set_peer(now, config);
}

/// Two of adit that know where the other is.
fn pair(mode: PostQuantum) -> Net {
    pair_with(TunnelConfig::default(), mode)
}

fn pair_with(config: TunnelConfig, mode: PostQuantum) -> Net {
    let mut net = Net::pair_with(config, |peer| {
        peer.extensions = true;
        peer.post_quantum = mode;
    });
    let (at, peer) = (net.sides[0].at, net.peer_of(1));
    net.sides[1].tunnel.set_endpoint(&peer, at);
    net
}

fn is_active(net: &Net) -> bool {
    BOTH.iter().all(|&us| {
        let status = net.status(us);
        status.post_quantum == PostQuantumStatus::Active && status.connected
    })
}

/// Lets both send until packets of both cross in a session with a post-quantum key; how long that took, at most
/// `limit`.
fn time_to_connect(net: &mut Net, limit: Duration) -> Option<Duration> {
    let (start, step) = (net.now, millis(100));
    while net.now.since(start) < limit {
        let before = BOTH.map(|us| net.sides[us].arrived.len());
        BOTH.iter().for_each(|&us| net.send(us, &ipv4(us, 100)));
        net.run(step);
        let both = BOTH.iter().all(|&us| net.sides[us].arrived.len() > before[us]);
        if both && is_active(net) {
            return Some(net.now.since(start));
        }
    }
    None
}

/// One end starts again, and knows of the other what the disk has.
fn restart(net: &mut Net, us: usize, seed: u64) {
    let peer = net.peer_of(us);
    let side = &mut net.sides[us];
    let old = &side.tunnel;
    let (config, had) = (old.peer_config(&peer).unwrap(), old.had_post_quantum(&peer));
    let now = net.now;
    let mut tunnel = Tunnel::new(old.config().clone(), random(1000 + seed));
    tunnel.set_wall_clock(now, seconds(1_700_000_000) + now.since_origin());
    tunnel.set_peer(now, config);
    if had {
        tunnel.remember_post_quantum(&peer);
    }
    side.fed -= u64::try_from(side.tunnel.held()).unwrap();
    side.tunnel = tunnel;
    // A process is not back at once: later than the 20 ms in which a responder takes one initiation, and the delays of
    // these tests.
    net.run(millis(100));
}

/// As those of adit-sim: `ADIT_SEEDS=10000` runs so many, `ADIT_SEED=17` that one alone.
fn seeds(count: u64) -> core::ops::Range<u64> {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match variable("ADIT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("ADIT_SEEDS").unwrap_or(count),
    }
}

/// The lengths of all messages so far.
fn lens(net: &Net) -> Vec<usize> {
    net.log.iter().map(|datagram| datagram.bytes.len()).collect()
}

fn refusals(net: &Net, us: usize) -> usize {
    let is_one = |event: &&TunnelEvent| matches!(event, TunnelEvent::NotPostQuantum { .. });
    net.sides[us].events.iter().filter(is_one).count()
}

#[test]
fn the_first_data_waits_for_nothing_and_the_second_session_has_a_key() {
    let mut net = pair(PostQuantum::Prefer);
    let packet = ipv4(0, 100);
    net.send(0, &packet);
    net.run(millis(3));
    assert_eq!(net.sides[1].packets(), [packet], "one round trip");
    net.run(millis(50));
    assert!(is_active(&net));
    assert_eq!((net.sent(0, 1), net.sent(0, 2)), (2, 2), "two handshakes");
    let long = |len: &&usize| [1220, 1124].contains(*len);
    assert_eq!(lens(&net).iter().filter(long).count(), 2, "one exchange");
    net.assert_passes(0);
    net.assert_passes(1);
}

#[test]
fn nothing_crosses_before_where_it_is_required() {
    let mut net = pair(PostQuantum::Require);
    let packet = ipv4(0, 100);
    net.send(0, &packet);
    net.run(millis(4));
    assert_eq!(net.status(0).post_quantum, PostQuantumStatus::Inactive);
    assert!(!net.status(0).connected && net.sides[1].packets().is_empty());
    net.run(millis(50));
    assert!(is_active(&net));
    assert_eq!(net.sides[1].packets(), [packet]);
    let connected = |event: &&TunnelEvent| matches!(event, TunnelEvent::Connected { .. });
    for side in &net.sides {
        assert_eq!(side.events.iter().filter(connected).count(), 1, "once data can cross");
    }
    net.assert_passes(1);
}

/// Before `off` on one side the same messages cross; the difference is what an exchange costs.
#[test]
fn an_exchange_costs_its_two_messages_and_a_handshake() {
    let bytes = [PostQuantum::Off, PostQuantum::Prefer].map(|mode| {
        let mut net = pair(mode);
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
        // Probes of the path are the same, but may come later.
        lens(&net).iter().filter(|len| **len != 1452).sum::<usize>()
    });
    let hellos = 3 * 48;
    assert_eq!(bytes[1] - bytes[0], 1220 + 1124 + 148 + 92 + 32 + hellos);
}

#[test]
fn no_datagram_is_longer_than_a_path_of_1280_carries() {
    let config = TunnelConfig { mtu: 1200, ..TunnelConfig::default() };
    let mut net = pair_with(config, PostQuantum::Require);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(1));
    assert!(is_active(&net));
    assert!(lens(&net).iter().all(|len| len + 48 <= 1280), "{:?}", lens(&net));
    let is_long = |datagram: &&Datagram| [1220, 1124].contains(&datagram.bytes.len());
    assert!(net.log.iter().filter(is_long).all(|datagram| datagram.may_fragment));
}

/// Other implementations see the same messages as before.
#[test]
fn a_peer_that_is_not_adit_sees_plain_wireguard() {
    for mode in [PostQuantum::Off, PostQuantum::Prefer] {
        let mut net = pair(mode);
        let peer = net.peer_of(1);
        let mut plain = net.sides[1].tunnel.peer_config(&peer).unwrap();
        plain.extensions = false;
        let now = net.now;
        net.sides[1].tunnel.set_peer(now, plain);
        net.send(0, &ipv4(0, 100));
        net.run(seconds(60));
        assert_eq!(lens(&net), [148, 92, 144, 48, 48, 32], "hellos, and a keepalive for them");
        assert_eq!(
            net.status(0).post_quantum,
            match mode {
                PostQuantum::Off => PostQuantumStatus::Off,
                _ => PostQuantumStatus::Inactive,
            }
        );
        assert_eq!(refusals(&net, 0), 0);
    }
}

#[test]
fn the_loss_of_any_message_costs_less_than_five_seconds() {
    for mode in [PostQuantum::Prefer, PostQuantum::Require] {
        // The first two are WireGuard's own, which it repeats after Rekey-Timeout.
        for lost in 0..24 {
            let mut net = pair(mode);
            let mut count = 0;
            net.rule = Box::new(move |_| {
                count += 1;
                if count == lost + 1 { Fate::Drop } else { Fate::Deliver }
            });
            net.send(0, &ipv4(0, 100));
            let limit = if lost < 2 { seconds(5) + millis(400) } else { seconds(5) };
            // Only one side sends until the other can.
            net.run(millis(20));
            let time = time_to_connect(&mut net, limit);
            assert!(time.is_some(), "{mode:?} {lost}: {:?}", lens(&net));
        }
    }
}

#[test]
fn a_restart_at_any_step_costs_less_than_five_seconds() {
    for mode in [PostQuantum::Prefer, PostQuantum::Require] {
        for us in BOTH {
            for step in 0..24 {
                let mut net = pair(mode);
                net.send(0, &ipv4(0, 100));
                while net.log.len() < step + 1 && net.now.since_origin() < seconds(101) {
                    net.run(Duration::from_micros(100));
                }
                restart(&mut net, us, u64::try_from(step).unwrap());
                let time = time_to_connect(&mut net, seconds(5));
                assert!(time.is_some(), "{mode:?} {us} {step}: {:?}", lens(&net));
            }
        }
    }
}

#[test]
fn a_session_is_renewed_with_a_new_key() {
    for mode in [PostQuantum::Prefer, PostQuantum::Require] {
        let mut net = pair(mode);
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
        let mut start = net.log.len();
        for _ in 0..3 {
            for _ in 0..122 {
                BOTH.iter().for_each(|&us| net.send(us, &ipv4(us, 100)));
                net.run(seconds(1));
            }
            let offers = net.log[start..].iter().filter(|it| it.bytes.len() == 1220).count();
            assert_eq!((offers, net.sent(start, 1), net.sent(start, 2)), (1, 1, 1));
            start = net.log.len();
            assert!(is_active(&net));
        }
        assert_eq!(net.sides[0].packets().len(), 3 * 122, "none was lost");
        assert_eq!(net.sides[1].packets().len(), 3 * 122 + 1);
    }
}

#[test]
fn both_may_begin_and_renew_at_once() {
    for mode in [PostQuantum::Prefer, PostQuantum::Require] {
        let timing = Timing { rekey_after_messages: 40, ..Timing::STANDARD };
        let mut net = pair_with(TunnelConfig { timing, ..TunnelConfig::default() }, mode);
        for _ in 0..300 {
            BOTH.iter().for_each(|&us| net.send(us, &ipv4(us, 100)));
            net.run(millis(50));
        }
        assert!(is_active(&net));
        assert!(time_to_connect(&mut net, seconds(1)).is_some());
        let lost = BOTH.map(|us| 301 - net.sides[us].packets().len().min(301));
        assert!(lost.iter().all(|lost| *lost <= 2), "{mode:?}: {lost:?}");
    }
}

#[test]
fn a_peer_may_move_while_keys_are_exchanged() {
    for step in 1..12 {
        let mut net = pair(PostQuantum::Require);
        net.send(0, &ipv4(0, 100));
        while net.log.len() < step {
            net.run(Duration::from_micros(100));
        }
        net.sides[0].at = udp("198.51.100.7:9");
        // The first response is WireGuard's own.
        let limit = if step < 3 { seconds(5) + millis(400) } else { seconds(5) };
        assert!(time_to_connect(&mut net, limit).is_some(), "{step}: {:?}", lens(&net));
        assert_eq!(net.status(1).endpoint, Some(net.sides[0].at));
    }
}

/// The preshared key of the configuration is part of the post-quantum one.
#[test]
fn it_combines_with_a_configured_key() {
    let mut net = pair(PostQuantum::Require);
    let now = net.now;
    let set = |net: &mut Net, us: usize, byte: u8| {
        let peer = net.peer_of(us);
        let mut config = net.sides[us].tunnel.peer_config(&peer).unwrap();
        config.preshared_key = Some(PresharedKey::from_bytes([byte; KEY_LEN]));
        net.sides[us].tunnel.set_peer(now, config);
    };
    set(&mut net, 0, 9);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(1));
    assert!(!net.status(0).connected, "the other side does not have it");
    set(&mut net, 1, 9);
    assert!(time_to_connect(&mut net, seconds(6)).is_some());
}

#[test]
fn what_a_peer_had_it_must_have_again() {
    let mut net = pair(PostQuantum::Prefer);
    assert!(time_to_connect(&mut net, seconds(1)).is_some());
    let peer = net.peer_of(0);
    assert!(net.sides[0].tunnel.had_post_quantum(&peer));

    set_mode(&mut net, 1, PostQuantum::Off);
    restart(&mut net, 1, 1);
    restart(&mut net, 0, 2);
    let arrived = BOTH.map(|us| net.sides[us].packets().len());
    for _ in 0..60 {
        BOTH.iter().for_each(|&us| net.send(us, &ipv4(us, 100)));
        net.run(seconds(1));
    }
    assert_eq!(BOTH.map(|us| net.sides[us].packets().len()), arrived, "no data crosses");
    assert_eq!(refusals(&net, 0), 1, "reported once");
    let status = net.status(0);
    assert_eq!((status.post_quantum, status.connected), (PostQuantumStatus::Refused, false));
    assert!(status.drops.count(NOT_POST_QUANTUM) > 20, "{:?}", status.drops);

    set_mode(&mut net, 1, PostQuantum::Prefer);
    assert!(time_to_connect(&mut net, seconds(20)).is_some());
    set_mode(&mut net, 1, PostQuantum::Off);
    set_mode(&mut net, 0, PostQuantum::Off);
    assert!(!net.sides[0].tunnel.had_post_quantum(&peer), "the administrator has decided");
    restart(&mut net, 1, 3);
    net.run(seconds(20));
    net.assert_passes(1);
}

/// A plain peer that only sends is refused and reported as well.
#[test]
fn a_plain_peer_is_refused_where_a_key_is_required() {
    let mut net = pair(PostQuantum::Require);
    let peer = net.peer_of(1);
    let mut plain = net.sides[1].tunnel.peer_config(&peer).unwrap();
    plain.extensions = false;
    let now = net.now;
    net.sides[1].tunnel.set_peer(now, plain);
    for _ in 0..20 {
        net.send(1, &ipv4(1, 100));
        net.run(seconds(1));
    }
    assert_eq!(net.sides[0].packets().len(), 0);
    assert_eq!(refusals(&net, 0), 1);
    assert!(net.status(0).drops.count(NOT_POST_QUANTUM) >= 15);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(30));
    assert_eq!(net.sides[1].packets().len(), 0);
    assert_eq!(net.status(0).queued, 0, "what cannot go is dropped and counted");
}

#[test]
fn a_required_key_ends_a_session_without() {
    let mut net = pair(PostQuantum::Off);
    net.assert_passes(0);
    BOTH.iter().for_each(|&us| set_mode(&mut net, us, PostQuantum::Require));
    assert!(time_to_connect(&mut net, seconds(6)).is_some());
}

/// One fault in a network that delays and reorders, from a seed: a lost message, or the restart of one end.
#[test]
fn after_one_fault_the_two_connect_within_five_seconds() {
    for seed in seeds(300) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut below = |limit: u32| rng.next_u32() % limit;
        let mode = if below(2) == 0 { PostQuantum::Prefer } else { PostQuantum::Require };
        let mut net = pair(mode);
        net.latency = millis(below(60).into());
        let (jitter, step, is_loss) = (below(60) + 1, below(30), below(2) == 0);
        let (mut fate, mut count) = (ChaCha20Rng::seed_from_u64(seed ^ 0xaaaa), 0);
        net.rule = Box::new(move |_| {
            count += 1;
            let is_lost = is_loss && count == step + 1;
            if is_lost { Fate::Drop } else { Fate::Late(millis((fate.next_u32() % jitter).into())) }
        });
        let us = usize::try_from(below(2)).unwrap();
        net.send(us, &ipv4(us, 100));
        if below(3) == 0 {
            net.run(millis(below(100).into()));
            net.send(1 - us, &ipv4(1 - us, 100));
        }
        if !is_loss {
            let end = net.now + millis(2000);
            while net.log.len() <= usize::try_from(step).unwrap() && net.now < end {
                net.run(millis(1));
            }
            let us = usize::try_from(below(2)).unwrap();
            restart(&mut net, us, seed);
        }
        // WireGuard repeats its first two messages after Rekey-Timeout, up to 5.33 s, and two of adit do not know
        // each other before.
        let limit = if is_loss && step < 4 { seconds(6) } else { seconds(5) };
        let time = time_to_connect(&mut net, limit);
        assert!(time.is_some(), "seed {seed}: {mode:?}, {is_loss}, {step}: {:?}", lens(&net));
    }
}

/// All that the network may do, and restarts, from a seed: the two connect again after Rekey-Timeout and an exchange.
#[test]
fn any_network_and_restarts() {
    for seed in seeds(100) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mode = if seed % 2 == 0 { PostQuantum::Prefer } else { PostQuantum::Require };
        let timing = Timing { rekey_after_messages: 60, ..Timing::STANDARD };
        let mut net = pair_with(TunnelConfig { timing, ..TunnelConfig::default() }, mode);
        let mut fate = ChaCha20Rng::seed_from_u64(seed ^ 0xaaaa);
        let lossy = u32::try_from(seed % 5).unwrap() * 10;
        net.rule = Box::new(move |_| match fate.next_u32() % 100 {
            number if number < lossy => Fate::Drop,
            number if number < 60 => Fate::Late(millis(u64::from(fate.next_u32() % 200))),
            _ => Fate::Deliver,
        });
        for _ in 0..rng.next_u32() % 60 {
            let us = usize::try_from(rng.next_u32() % 2).unwrap();
            match rng.next_u32() % 20 {
                0 => restart(&mut net, us, seed),
                1 => {
                    net.sides[us].at =
                        udp(&std::format!("198.51.100.{us}:{}", rng.next_u32() % 9 + 1))
                }
                _ => net.send(us, &ipv4(us, 100)),
            }
            net.run(millis(u64::from(rng.next_u32() % 400)));
        }
        // Both know again where the other is.
        for us in BOTH {
            let (peer, at) = (net.peer_of(us), net.sides[1 - us].at);
            net.sides[us].tunnel.set_endpoint(&peer, at);
        }
        net.rule = Box::new(|_| Fate::Deliver);
        let time = time_to_connect(&mut net, seconds(60));
        assert!(time.is_some_and(|time| time <= millis(6500)), "seed {seed}: {time:?}");
        assert!(net.sides.iter().all(|side| side.tunnel.shared.indices().count() <= 5));
    }
}
