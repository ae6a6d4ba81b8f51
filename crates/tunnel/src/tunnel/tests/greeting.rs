//! Hellos between two of adit, whatever the network does to them.

use super::*;

/// The length of a datagram with a hello or an answer.
const SHORT: usize = 48;

fn ours() -> Net {
    Net::pair_with(TunnelConfig::default(), |peer| peer.extensions = true)
}

fn know_each_other(net: &Net) -> bool {
    net.status(0).extensions && net.status(1).extensions
}

/// The first few short messages are lost, each one alone and all before it.
#[test]
fn no_lost_hello_keeps_two_apart() {
    for lost in 0..4 {
        for from in [0, lost] {
            let (mut net, mut short) = (ours(), 0);
            net.rule = Box::new(move |datagram| {
                short += usize::from(datagram.bytes.len() == SHORT);
                let this = (from..=lost).contains(&(short.wrapping_sub(1)));
                if this && datagram.bytes.len() == SHORT { Fate::Drop } else { Fate::Deliver }
            });
            net.send(0, &ipv4(0, 100));
            net.run(seconds(16));
            assert!(know_each_other(&net), "{from}..={lost}");
        }
    }
}

/// Both initiate at once, so each sends in a session that is not the other's current one.
#[test]
fn crossing_handshakes_are_greeted_as_well() {
    let mut net = ours();
    let there = net.sides[0].at;
    let peer = net.peer_of(1);
    net.sides[1].tunnel.set_endpoint(&peer, there);
    net.send(0, &ipv4(0, 100));
    net.send(1, &ipv4(1, 100));
    net.run(seconds(1));
    assert!(know_each_other(&net));
    let greeted = |side: &Side| {
        side.tunnel.peers[0]
            .as_ref()
            .unwrap()
            .sessions
            .current
            .as_ref()
            .unwrap()
            .greeting
            .is_mutual()
    };
    assert!(greeted(&net.sides[0]) && greeted(&net.sides[1]));
}

#[test]
fn every_session_is_greeted_in_three_messages() {
    let mut net = ours();
    net.send(0, &ipv4(0, 100));
    net.run(seconds(30));
    for _ in 0..3 {
        net.run(seconds(125));
        let start = net.log.len();
        net.send(0, &ipv4(0, 100));
        net.run(seconds(5));
        let hellos = net.log[start..].iter().filter(|datagram| datagram.bytes.len() == SHORT);
        assert_eq!((net.sent(start, 1), hellos.count()), (1, 3 + 2), "with a probe and its answer");
    }
}
