//! Connections through the NAT.

use super::{SECOND, World, bytes};
use adit_engine::netem::{Delay, Jitter, Loss, Profile};
use adit_engine::{DropReason, FlowError, Transport};
use adit_sim::{Server, for_each_seed};
use std::time::Duration;

const TCP: Transport = Transport::Tcp;

#[test]
fn a_megabyte_goes_up_and_down_and_all_four_ends_close() {
    for v6 in [false, true] {
        let mut world = World::new(1, v6);
        world.listen(TCP, Server::ECHOES);
        let stream = world.sim.tcp_connect(world.host, world.server());
        world.sim.tcp_send(stream, &bytes(1 << 20));
        world.sim.tcp_close(stream);
        world.sim.run_for(20 * SECOND);
        let remote = world.remote(TCP);
        assert!(world.sim.outside().received(remote) == bytes(1 << 20), "v6 {v6}: up");
        assert!(world.sim.outside().is_finished(remote));
        assert!(world.sim.tcp_received(stream) == bytes(1 << 20), "v6 {v6}: down");
        assert!(world.sim.tcp_is_finished(stream));
        assert!(world.sim.outside().is_closed(remote));
        assert_eq!(world.nat().flow_count(), 0, "nothing is left");
        let dropped = world.sim.counts(world.nat).discarded();
        assert_eq!(dropped, 0, "{:?}", world.sim.losses());
    }
}

#[test]
fn a_slow_server_closes_the_window_and_no_byte_is_dropped() {
    let mut world = World::new(2, false);
    world.listen(TCP, Server { buffer: 20_000, reads: 1000, ..Server::ACCEPTS });
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, &bytes(300_000));
    world.sim.run_for(Duration::from_millis(100));
    let read = world.sim.outside().received(world.remote(TCP)).len();
    assert!((90_000..101_000).contains(&read), "a thousand a millisecond: {read}");
    world.sim.run_for(SECOND);
    assert!(world.sim.outside().received(world.remote(TCP)) == bytes(300_000));
    let (sent, dropped) = (world.sim.port_counts(world.host).sent, world.sim.counts(world.nat));
    assert_eq!(dropped.discarded(), 0);
    assert!(sent < 700, "no segment was sent twice: {sent}");
}

#[test]
fn an_inside_that_does_not_read_stops_the_server() {
    let mut world = World::with(3, false, |_| (), |host| host, None);
    world.listen(TCP, Server::ACCEPTS);
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.run_for(SECOND);
    let remote = world.remote(TCP);
    world.sim.outside_mut().send(remote, &bytes(2 << 20));
    world.sim.run_for(5 * SECOND);
    assert!(world.sim.tcp_received(stream) == bytes(2 << 20));
    let row = world.nat().flows().next().expect("a flow");
    assert_eq!((row.sent_bytes, row.received_bytes, row.state), (0, 2 << 20, "open"));
}

#[test]
fn the_inside_learns_why_nothing_answers() {
    for (server, expected) in [
        (None, "rst"),
        (Some(Server::fails(FlowError::HostUnreachable)), "icmp"),
        (Some(Server::fails(FlowError::Prohibited)), "icmp"),
        (Some(Server::fails(FlowError::TimedOut)), "nothing"),
    ] {
        let mut world = World::new(4, false);
        if let Some(server) = server {
            world.listen(TCP, server);
        }
        world.sim.tcp_connect(world.host, world.server());
        world.sim.run_for(Duration::from_millis(500));
        let trace = world.sim.trace();
        let answers: Vec<_> =
            trace.lines().filter(|line| line.contains("nat:0 > inside")).collect();
        let count = usize::from(expected != "nothing");
        assert_eq!(answers.len(), count, "{expected}: {trace}");
        assert!(
            answers.iter().all(|line| line.contains(&format!(" {expected}")) || expected == "rst")
        );
        assert_eq!(world.nat().flow_count(), 0);
    }
}

#[test]
fn a_reset_crosses_in_both_directions() {
    let mut world = World::new(5, false);
    world.listen(TCP, Server::ACCEPTS);
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, b"hello");
    world.sim.run_for(SECOND);
    let remote = world.remote(TCP);
    world.sim.outside_mut().fail(remote, FlowError::Reset);
    world.sim.run_for(SECOND);
    assert!(world.sim.tcp_is_finished(stream), "reset, not waiting");
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn a_half_closed_connection_goes_on() {
    let mut world = World::new(6, true);
    world.listen(TCP, Server::ACCEPTS);
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, b"question");
    world.sim.tcp_close(stream);
    world.sim.run_for(SECOND);
    let remote = world.remote(TCP);
    assert!(world.sim.outside().is_finished(remote));
    assert_eq!(world.nat().flows().next().expect("a flow").state, "inside finished");
    world.sim.outside_mut().send(remote, &bytes(100_000));
    world.sim.run_for(SECOND);
    assert!(world.sim.tcp_received(stream) == bytes(100_000));
    world.sim.outside_mut().finish(remote);
    world.sim.run_for(SECOND);
    assert!(world.sim.tcp_is_finished(stream));
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn streams_survive_loss_and_reordering_inside() {
    for_each_seed(40, |seed| {
        let profile = Profile {
            delay: Delay {
                jitter: Jitter::Normal { deviation: Duration::from_millis(seed % 4) },
                keep_order: false,
                ..Delay::constant(Duration::from_millis(5))
            },
            loss: Loss::Random {
                share: [0.0, 0.01, 0.05, 0.1][usize::try_from(seed % 4).expect("small")],
            },
            ..Profile::default()
        };
        let super_packets = seed % 2 == 0;
        let mut world = World::with(
            seed,
            seed % 3 == 0,
            |_| (),
            |host| if super_packets { host.with_super_packets() } else { host },
            Some([&profile, &profile]),
        );
        world.listen(TCP, Server::ECHOES);
        let stream = world.sim.tcp_connect(world.host, world.server());
        world.sim.tcp_send(stream, &bytes(200_000));
        world.sim.tcp_close(stream);
        let end = adit_packet::Instant::ZERO + 600 * SECOND;
        let is_done = world.sim.run_until(end, |sim| sim.tcp_is_finished(stream));
        assert!(is_done, "after {}", world.sim.now());
        let remote = world.remote(TCP);
        assert!(world.sim.outside().received(remote) == bytes(200_000));
        let got = world.sim.tcp_received(stream);
        let good = got.iter().zip(bytes(200_000)).take_while(|(got, sent)| **got == *sent).count();
        assert_eq!((good, got.len()), (200_000, 200_000));
        // The inside's last acknowledgment may be lost: the NAT sends its FIN again.
        world.sim.run_for(300 * SECOND);
        assert_eq!(world.nat().flow_count(), 0);
    });
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    let mut world = World::new(8, false);
    world.listen(TCP, Server::ECHOES);
    let streams: Vec<_> = (0..200_u8)
        .map(|number| {
            let stream = world.sim.tcp_connect(world.host, world.server());
            world.sim.tcp_send(stream, &vec![number; 5000]);
            world.sim.tcp_close(stream);
            stream
        })
        .collect();
    world.sim.run_for(30 * SECOND);
    for (number, stream) in (0..).zip(streams) {
        assert_eq!(world.sim.tcp_received(stream), vec![number; 5000]);
    }
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn an_address_has_a_rate_in_each_direction() {
    let limit = |config: &mut adit_nat::Config| {
        config.limits.source_rate = Some("8mbit".parse().expect("a rate"));
    };
    let mut world = World::with(9, false, limit, |host| host.with_super_packets(), None);
    world.listen(TCP, Server::ECHOES);
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, &bytes(3 << 20));
    world.sim.tcp_close(stream);
    // A megabyte a second, a quarter of it at once.
    world.sim.run_for(2 * SECOND);
    let half = world.sim.outside().received(world.remote(TCP)).len();
    assert!(half < 2_500_000, "{half}");
    let end = adit_packet::Instant::ZERO + 60 * SECOND;
    let is_done = world.sim.run_until(end, |sim| sim.tcp_is_finished(stream));
    assert!(is_done, "after {}", world.sim.now());
    let took = world.sim.now().since_origin();
    assert!(took > Duration::from_millis(2700), "{took:?}");
    assert!(world.sim.outside().received(world.remote(TCP)) == bytes(3 << 20), "up");
    assert!(world.sim.tcp_received(stream) == bytes(3 << 20), "down");
    assert!(world.dropped(DropReason::SOURCE_RATE) > 0);
}
