//! A tunnel whose state goes to another one.

use super::*;
use crate::{PostQuantum, STATE_VERSION, SuitePolicy};
use proptest::prelude::*;

impl Net {
    /// Another tunnel takes over from that of a side, if no packet waits in it.
    fn hand_over(&mut self, us: usize) {
        let side = &mut self.sides[us];
        if side.tunnel.held() > 0 {
            return;
        }
        let state = side.tunnel.state();
        let config = TunnelConfig {
            private_key: None,
            last_timestamp: None,
            ..side.tunnel.config().clone()
        };
        let no_random: Random = Box::new(|_| panic!("the random numbers are those of the other"));
        let random = core::mem::replace(&mut side.tunnel.shared.random, no_random);
        let clock = side.tunnel.shared.unix(self.now).unwrap();
        side.tunnel = Tunnel::restore(config, random, &state).unwrap();
        side.tunnel.set_wall_clock(self.now, clock);
        assert_eq!(*side.tunnel.state(), *state, "nothing is lost");
    }

    /// As [`Self::run`], with a handover of both sides before whatever happens.
    fn run_with_handovers(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            (0..self.sides.len()).for_each(|us| self.hand_over(us));
            let timers = self.sides.iter().filter_map(|side| side.tunnel.next_timeout());
            let wire = self.wire.iter().map(|datagram| datagram.due);
            let next = timers.chain(wire).min().map_or(end, |next| next.max(self.now).min(end));
            self.run(next.since(self.now));
            if next == end {
                break;
            }
        }
    }
}

/// Five minutes with traffic both ways, a lost datagram now and then, and renewed sessions.
fn trace(set: &dyn Fn(&mut PeerConfig), hands_over: bool) -> (Vec<Vec<u8>>, usize) {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        peer.extensions = true;
        set(peer);
    });
    let mut count = 0;
    net.rule = Box::new(move |_| {
        count += 1;
        if count % 29 == 0 { Fate::Drop } else { Fate::Deliver }
    });
    for round in 0..60 {
        for us in [0, 1] {
            net.send(us, &ipv4(us, 100 + round));
        }
        if hands_over {
            net.run_with_handovers(seconds(5));
        } else {
            net.run(seconds(5));
        }
    }
    let arrived = net.sides.iter().map(|side| side.arrived.len()).sum();
    (net.log.iter().map(|datagram| datagram.bytes.clone()).collect(), arrived)
}

#[test]
fn a_handover_before_each_event_changes_nothing() {
    type Set<'a> = &'a dyn Fn(&mut PeerConfig);
    let configs: [(&str, Set<'_>); 4] = [
        ("WireGuard", &|peer| peer.extensions = false),
        ("AES", &|peer| peer.suite = SuitePolicy::Aes256Gcm),
        ("post-quantum", &|peer| peer.post_quantum = PostQuantum::Require),
        ("keepalives and a preshared key", &|peer| {
            peer.persistent_keepalive = Some(seconds(7));
            peer.preshared_key = Some(PresharedKey::from_bytes([9; 32]));
            peer.pinned = Some(seconds(100));
        }),
    ];
    for (name, set) in configs {
        let (plain, arrived) = trace(set, false);
        assert!(arrived > 100, "{name}: {arrived}");
        let (handed_over, also) = trace(set, true);
        let differs = plain.iter().zip(&handed_over).position(|(one, other)| one != other);
        assert_eq!(differs, None, "{name}: the first datagram that differs, of {}", plain.len());
        assert_eq!((handed_over.len(), also), (plain.len(), arrived), "{name}");
    }
}

/// A state with all that there is: two peers, sessions, a handshake, a cookie.
fn rich() -> (Net, zeroize::Zeroizing<Vec<u8>>) {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        peer.extensions = true;
        peer.suite = SuitePolicy::Aes128Gcm;
        peer.persistent_keepalive = Some(seconds(25));
        peer.shape_out = Some(Shape { bits_per_second: 1_000_000, burst: 15_000 });
    });
    net.assert_passes(0);
    net.run(seconds(130));
    net.assert_passes(1);
    let mut other = PeerConfig::new(key(77).public_key());
    other.endpoint = Some(udp("[2001:db8::7]:9"));
    other.allowed_ips = vec!["10.7.0.0/16".parse().unwrap()];
    let (now, side) = (net.now, &mut net.sides[0]);
    side.tunnel.set_peer(now, other);
    side.tunnel.connect(now, &key(77).public_key(), &mut side.out);
    net.collect(0);
    let state = net.sides[0].tunnel.state();
    (net, state)
}

/// Whoever changes a struct of the state makes another format: the version must say so.
#[test]
fn the_format_of_the_state_has_a_version() {
    let (_, state) = rich();
    assert_eq!(state[..2], STATE_VERSION.to_le_bytes());
    let digest = crate::noise::hash(&[&state]);
    let digest: std::string::String =
        digest[..8].iter().map(|byte| std::format!("{byte:02x}")).collect();
    assert_eq!(
        (STATE_VERSION, state.len(), digest.as_str()),
        (2, 3335, "195adfff59fee924"),
        "the format has changed: increase STATE_VERSION"
    );
}

#[test]
fn packets_that_wait_count_as_dropped() {
    let mut net = Net::pair();
    net.rule = Box::new(|_| Fate::Drop);
    for _ in 0..3 {
        net.send(0, &ipv4(0, 100));
    }
    let side = &net.sides[0];
    let state = side.tunnel.state();
    let restored = Tunnel::restore(TunnelConfig::default(), random(0), &state).unwrap();
    let status = restored.status(net.now, &net.peer_of(0)).unwrap();
    assert_eq!((status.queued, status.drops.count(DropReason::HANDED_OVER)), (0, 3));
}

#[test]
fn a_cut_state_is_none() {
    let (_, state) = rich();
    let restore = |state: &[u8]| Tunnel::restore(TunnelConfig::default(), random(0), state);
    assert!(restore(&state).is_some());
    for len in 0..state.len() {
        assert!(restore(&state[..len]).is_none(), "{len}");
    }
    assert!(restore(&[&state[..], &[0]].concat()).is_none());
}

proptest! {
    /// Whatever is restored can be used: nothing panics, nothing takes memory without bound.
    #[test]
    fn any_changed_state_is_restored_or_none(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        static STATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut state = STATE.get_or_init(|| rich().1.to_vec()).clone();
        for (at, byte) in changes {
            let at = at.index(state.len());
            state[at] = byte;
        }
        let config = TunnelConfig { device: Some(DEVICE), ..TunnelConfig::default() };
        if let Some(tunnel) = Tunnel::restore(config, random(5), &state) {
            let mut net = Net::pair();
            net.sides[0].tunnel = tunnel;
            net.send(0, &ipv4(0, 100));
            net.send(1, &ipv4(1, 100));
            net.run(seconds(400));
        }
    }
}
