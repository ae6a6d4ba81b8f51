//! Which cipher two of adit use, whatever the network and the other end do.

use super::*;
use crate::session::Session;
use crate::{PostQuantum, PostQuantumStatus, Suite, SuitePolicy};
use SuitePolicy::{Aes128Gcm, Aes256Gcm, Auto, WireGuard};

fn config(aes_is_faster: bool) -> TunnelConfig {
    TunnelConfig { aes_is_faster, ..TunnelConfig::default() }
}

/// Two sides with their policies, whose machines are faster with AES.
fn pair(policies: [SuitePolicy; 2]) -> Net {
    pair_with(config(true), policies)
}

fn pair_with(config: TunnelConfig, policies: [SuitePolicy; 2]) -> Net {
    let mut policies = policies.into_iter();
    Net::pair_with(config, |peer| {
        peer.extensions = true;
        peer.post_quantum = PostQuantum::Off;
        peer.suite = policies.next().unwrap();
    })
}

fn suites(net: &Net) -> [Option<Suite>; 2] {
    [0, 1].map(|us| net.status(us).suite)
}

fn session(net: &mut Net, us: usize) -> &mut Session {
    net.sides[us].tunnel.peers[0].as_mut().unwrap().sessions.current.as_mut().unwrap()
}

const CHACHA: Option<Suite> = Some(Suite::ChaCha20Poly1305);
const AES256: Option<Suite> = Some(Suite::Aes256Gcm);

#[test]
fn both_ends_change_within_two_round_trips() {
    for (policies, both) in [
        ([Auto, Auto], AES256),
        ([Aes128Gcm, Auto], Some(Suite::Aes128Gcm)),
        ([Aes256Gcm, Aes128Gcm], CHACHA),
        ([Auto, WireGuard], CHACHA),
    ] {
        let mut net = pair(policies);
        assert_eq!(suites(&net), [None, None]);
        net.assert_passes(0);
        assert_eq!(suites(&net), [both, both], "{policies:?}");
        for us in [0, 1] {
            net.assert_passes(us);
            let (bytes, vnet) = tcp_super(inside(us), inside(1 - us), 1, 30_000, 1368);
            let before = net.sides[1 - us].packets().len();
            net.send_from(us, DEVICE, &bytes, vnet);
            net.run(millis(10));
            let packets = &net.sides[1 - us].packets()[before..];
            let payload: Vec<u8> =
                packets.iter().flat_map(|packet| packet[52..].to_vec()).collect();
            assert_eq!(payload, bytes[52..]);
        }
    }
    let mut net = pair_with(config(false), [Auto, Aes256Gcm]);
    net.assert_passes(0);
    assert_eq!(suites(&net), [CHACHA; 2], "one of the two is slower with AES");
}

/// Keys are exchanged and a suite is agreed on in the same sessions.
#[test]
fn a_suite_and_a_post_quantum_key_go_together() {
    for policy in [PostQuantum::Prefer, PostQuantum::Require] {
        let mut net = Net::pair_with(config(true), |peer| {
            peer.extensions = true;
            peer.post_quantum = policy;
        });
        for renewal in 0..3 {
            net.assert_passes(0);
            net.run(seconds(1));
            net.assert_passes(1);
            assert_eq!(suites(&net), [AES256; 2], "{policy:?} {renewal}");
            let keys = [0, 1].map(|us| net.status(us).post_quantum);
            assert_eq!(keys, [PostQuantumStatus::Active; 2], "{policy:?} {renewal}");
            net.run(seconds(125));
        }
    }
}

/// What is on the wire are messages of WireGuard, also for those who look for other lengths and types.
#[test]
fn all_that_is_sent_has_the_form_of_wireguard() {
    let mut net = pair([Auto, Auto]);
    net.assert_passes(0);
    net.assert_passes(1);
    let mut counters: [Vec<u64>; 2] = Default::default();
    for datagram in &net.log {
        let message = message::Message::parse(&datagram.bytes).unwrap();
        if let Some(header) = message::DataHeader::parse(&datagram.bytes)
            && matches!(message, message::Message::Data)
        {
            let from = usize::from(datagram.from == net.sides[1].at);
            counters[from].push(header.counter);
            assert!(datagram.bytes.len().is_multiple_of(16) || datagram.bytes.len() == 1452);
        }
    }
    for counters in &counters {
        assert!(counters.len() >= 3);
        assert!(
            counters.iter().copied().eq((0..).take(counters.len())),
            "the counters continue: {counters:?}"
        );
    }
    // Both indices of both sides end with the session.
    let peer = net.peer_of(0);
    let side = &mut net.sides[0];
    assert_eq!(side.tunnel.shared.indices().count(), 2);
    side.tunnel.remove_peer(&peer, &mut side.out);
    assert_eq!(side.tunnel.shared.indices().count(), 0);
}

/// A packet under the first suite that is late is accepted, and one that is sent after the change is not.
#[test]
fn the_first_suite_ends_with_the_first_message_under_the_second() {
    let mut net = pair([Auto, Auto]);
    let mut count = 0;
    net.rule = Box::new(move |datagram| {
        // The second packet, before the hello.
        count += usize::from(datagram.bytes.len() == 144);
        if datagram.bytes.len() == 144 && count == 2 {
            Fate::Late(seconds(1))
        } else {
            Fate::Deliver
        }
    });
    net.send(0, &ipv4(0, 100));
    let late = ipv4(0, 99);
    net.send(0, &late);
    net.run(millis(2));
    assert_eq!(suites(&net)[0], CHACHA);
    let first = Arc::clone(&session(&mut net, 0).send);
    net.run(millis(500));
    assert_eq!(suites(&net), [AES256; 2]);
    net.send(0, &ipv4(0, 101));
    net.run(millis(100));
    assert_eq!(net.sides[1].packets().len(), 2);
    net.run(seconds(1));
    assert_eq!(net.sides[1].packets().last(), Some(&late), "it was sent before");

    // With the first key, a counter after the change is worth nothing.
    let mut message = [0; 132];
    message[16..116].copy_from_slice(&ipv4(0, 100));
    first.seal(100, &mut message);
    let (drops, from) = (net.status(1).drops.count(DropReason::NOT_AUTHENTIC), net.sides[0].at);
    net.inject(1, from, &message, 0);
    assert_eq!(net.status(1).drops.count(DropReason::NOT_AUTHENTIC), drops + 1);
    assert_eq!(net.sides[1].packets().len(), 3);
}

/// A peer of an earlier version says hello without features.
#[test]
fn a_hello_without_features_keeps_the_first_suite() {
    let mut net = pair([Auto, Auto]);
    net.sides[1].tunnel.shared.config.aes_is_faster = false;
    net.assert_passes(0);
    assert_eq!(suites(&net), [CHACHA; 2]);
    assert!(net.status(0).extensions && net.status(1).extensions);
    // The next session is agreed on its own.
    net.sides[1].tunnel.shared.config.aes_is_faster = true;
    net.run(seconds(130));
    net.assert_passes(0);
    assert_eq!(suites(&net), [AES256; 2]);
}

/// The owner learns of each change, also of one back to the first suite.
#[test]
fn a_change_of_the_suite_is_reported() {
    let mut net = pair([Auto, Auto]);
    net.assert_passes(0);
    let reported = |net: &mut Net| -> Vec<Suite> {
        let events = net.sides[0].events.drain(..);
        let suite = |event| match event {
            TunnelEvent::Cipher { suite, .. } => Some(suite),
            _ => None,
        };
        events.filter_map(suite).collect()
    };
    assert_eq!(reported(&mut net), [Suite::Aes256Gcm]);
    net.run(seconds(130));
    net.assert_passes(0);
    assert_eq!(reported(&mut net), [], "as before");
    // Someone between the two drops all short messages of a session: that is not silent.
    net.rule = Box::new(|datagram| match datagram.bytes.len() {
        48 => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.run(seconds(130));
    for _ in 0..40 {
        net.assert_passes(0);
        net.run(seconds(1));
    }
    assert_eq!(reported(&mut net), [Suite::ChaCha20Poly1305]);
}

/// The limits of a key of AES-GCM are in bytes; a new session begins in time.
#[test]
fn a_session_is_renewed_by_volume() {
    let timing =
        Timing { rekey_after_bytes: 1 << 20, reject_after_bytes: 1 << 21, ..Timing::STANDARD };
    for (policy, renewed) in [(Auto, true), (WireGuard, false)] {
        let mut net = pair_with(TunnelConfig { timing, ..config(true) }, [policy, Auto]);
        net.assert_passes(0);
        net.run(seconds(6));
        let (start, first) = (net.log.len(), session(&mut net, 0).index);
        let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 60_000, 1368);
        for _ in 0..60 {
            net.send_from(0, DEVICE, &bytes, vnet);
            net.run(millis(300));
        }
        assert_eq!(net.sent(start, 1), if renewed { 3 } else { 0 }, "initiations");
        assert_eq!(session(&mut net, 0).index != first, renewed);
        net.assert_passes(0);
        assert_eq!(suites(&net)[0] == AES256, renewed);
    }
    // Without a new session, nothing is sent past the limit.
    let mut net = pair_with(TunnelConfig { timing, ..config(true) }, [Auto, Auto]);
    net.assert_passes(0);
    net.rule = Box::new(|datagram| if datagram.bytes[0] == 4 { Fate::Deliver } else { Fate::Drop });
    let start = net.log.len();
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 60_000, 1368);
    for _ in 0..100 {
        net.send_from(0, DEVICE, &bytes, vnet);
        net.run(millis(1));
    }
    let data = net.log[start..].iter().filter(|datagram| datagram.from == net.sides[0].at);
    let sent: usize = data.map(|datagram| datagram.bytes.len()).sum();
    assert!(((1 << 21)..(1 << 21) + 70_000).contains(&sent), "{sent}");
    assert!(!net.status(0).connected);
}
