//! Datagrams through the NAT.

use super::{SECOND, World, bytes};
use adit_engine::{DropReason, FlowError, Transport};
use adit_nat::{UdpFiltering, timeout};
use adit_sim::Server;
use std::net::{Ipv4Addr, SocketAddr};

const UDP: Transport = Transport::Udp;

#[test]
fn datagrams_go_and_come_and_one_socket_serves_all_remotes() {
    for v6 in [false, true] {
        let mut world = World::new(1, v6);
        world.listen(UDP, Server::ECHOES);
        let other = SocketAddr::new(world.server().ip(), 81);
        world.sim.outside_mut().listen(UDP, other, Server::ECHOES);
        let socket = world.sim.udp_bind(world.host, 4000);
        for to in [world.server(), other] {
            for len in [0, 1, 1000] {
                assert!(world.sim.udp_send(socket, to, &bytes(len)));
                world.sim.run_for(SECOND);
                assert_eq!(world.sim.udp_recv(socket), Some((to, bytes(len))), "v6 {v6}");
            }
        }
        assert_eq!(world.nat().flow_count(), 1, "an endpoint-independent mapping");
    }
}

#[test]
fn what_was_not_asked_for_is_filtered_unless_filtering_is_off() {
    for filtering in [UdpFiltering::AddressAndPortDependent, UdpFiltering::EndpointIndependent] {
        let configure = |config: &mut adit_nat::Config| config.udp_filtering = filtering;
        let mut world = World::with(2, false, configure, |host| host, None);
        world.listen(UDP, Server::ACCEPTS);
        let socket = world.sim.udp_bind(world.host, 4000);
        assert!(world.sim.udp_send(socket, world.server(), b"hi"));
        world.sim.run_for(SECOND);
        let stranger = SocketAddr::from(([192, 0, 2, 99], 99));
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4000));
        world.sim.outside_mut().send_to_bound(stranger, local, b"knock");
        world.sim.run_for(SECOND);
        let is_open = filtering == UdpFiltering::EndpointIndependent;
        let got = world.sim.udp_recv(socket);
        assert_eq!(got, is_open.then(|| (stranger, b"knock".to_vec())));
        assert_eq!(world.dropped(DropReason::UNSOLICITED), u64::from(!is_open));
    }
}

#[test]
fn an_error_on_the_way_comes_back_as_icmp() {
    for v6 in [false, true] {
        let mut world = World::new(3, v6);
        let socket = world.sim.udp_bind(world.host, 4000);
        assert!(world.sim.udp_send(socket, world.server(), b"nobody listens"));
        world.sim.run_for(SECOND);
        let there = SocketAddr::new(world.server().ip(), 81);
        world.sim.outside_mut().listen(UDP, there, Server::ACCEPTS);
        assert!(world.sim.udp_send(socket, there, b"somebody does"));
        world.sim.run_for(SECOND);
        let icmp = |world: &World| {
            let trace = world.sim.trace();
            trace
                .lines()
                .filter(|line| {
                    line.contains("nat:0 > inside")
                        && (line.contains("icmp") || line.contains("protocol 58"))
                })
                .count()
        };
        assert_eq!(icmp(&world), 1, "{}", world.sim.trace());
        let remote = world.sim.outside().flows(UDP, there).last().expect("a flow");
        world.sim.outside_mut().fail(remote, FlowError::HostUnreachable);
        world.sim.run_for(SECOND);
        assert_eq!(icmp(&world), 2);
        assert_eq!(world.nat().flow_count(), 1, "the mapping lives on");
    }
}

#[test]
fn mappings_end_after_their_time() {
    let mut world = World::new(4, false);
    world.listen(UDP, Server::ACCEPTS);
    let socket = world.sim.udp_bind(world.host, 4000);
    assert!(world.sim.udp_send(socket, world.server(), b"x"));
    let dns = SocketAddr::new(world.server().ip(), 53);
    let resolver = world.sim.udp_bind(world.host, 4001);
    assert!(world.sim.udp_send(resolver, dns, b"name"));
    world.sim.run_for(SECOND);
    assert_eq!(world.nat().flow_count(), 2);
    world.sim.run_for(timeout::DNS);
    assert_eq!(world.nat().flow_count(), 1);
    world.sim.run_for(timeout::UDP - timeout::DNS - 2 * SECOND);
    assert_eq!(world.nat().flow_count(), 1);
    world.sim.run_for(2 * SECOND);
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn denied_destinations_are_answered_and_counted() {
    let mut world = World::new(5, false);
    let socket = world.sim.udp_bind(world.host, 4000);
    for to in ["127.0.0.1:53", "169.254.169.254:80", "10.0.2.2:53", "10.0.2.77:1"] {
        assert!(world.sim.udp_send(socket, to.parse().expect("an address"), b"x"));
        world.sim.run_for(SECOND);
    }
    // A loopback destination never leaves the host's own stack.
    let denied = world.dropped(DropReason::FILTERED);
    assert!(denied >= 3, "{:?}", world.sim.losses());
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn protocols_that_are_left_out_are_dropped_without_an_answer() {
    let configure = |config: &mut adit_nat::Config| config.without = vec![17, 58];
    for v6 in [false, true] {
        let mut world = World::with(7, v6, configure, |host| host, None);
        world.listen(UDP, Server::ECHOES);
        world.listen(Transport::Tcp, Server::ECHOES);
        let socket = world.sim.udp_bind(world.host, 4000);
        assert!(world.sim.udp_send(socket, world.server(), b"hi"));
        let ping = world.sim.ping(world.host, world.server().ip());
        let stream = world.sim.tcp_connect(world.host, world.server());
        world.sim.tcp_send(stream, b"hello");
        world.sim.run_for(SECOND);
        assert_eq!((world.sim.udp_recv(socket), world.sim.rtt(ping)), (None, None));
        assert_eq!(world.sim.tcp_received(stream), b"hello");
        let flows = world.nat().flows().filter(|row| row.transport == UDP).count();
        assert_eq!(flows, 0, "v6 {v6}");
        assert!(world.dropped(DropReason::NOT_TRANSLATED) >= 1);
    }
}
