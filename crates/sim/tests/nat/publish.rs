//! Ports of the host that lead to the inside.

use super::{SECOND, World, bytes};
use adit_engine::{DropReason, FlowError, PortId, Transport};
use adit_nat::{Publish, PublishError, PublishState};
use adit_sim::Server;
use std::net::SocketAddr;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn publish(
    world: &mut World,
    transport: Transport,
    local: &str,
) -> Result<adit_engine::FlowId, PublishError> {
    let inside = if world.v6 { at("[fd00::100]:80") } else { at("10.0.2.100:80") };
    let publish = Publish { transport, local: at(local), inside, port: PortId(0) };
    world.sim.call(world.nat, |nat, now, out| nat.publish(now, publish, out))
}

#[test]
fn a_client_reaches_the_inside_under_its_own_address() {
    for v6 in [false, true] {
        let mut world = World::new(1, v6);
        let (local, client) = if v6 {
            ("[::]:8080", "[2001:db8::9]:999")
        } else {
            ("0.0.0.0:8080", "203.0.113.9:999")
        };
        let flow = publish(&mut world, Transport::Tcp, local).expect("room");
        world.sim.run_for(SECOND);
        let published = world.nat().published().next().expect("it is there");
        assert_eq!((published.flow, published.state), (flow, PublishState::Open(at(local))));
        assert_eq!(publish(&mut world, Transport::Tcp, local), Err(PublishError::InUse));
        let stream = world.sim.tcp_listen(world.host, 80);
        let connect = |world: &mut World| {
            world
                .sim
                .outside_mut()
                .connect(at(client), at(local), Server::ACCEPTS)
                .expect("it listens")
        };
        let remote = connect(&mut world);
        world.sim.outside_mut().send(remote, &bytes(300_000));
        world.sim.outside_mut().finish(remote);
        world.sim.run_for(SECOND);
        assert!(world.sim.tcp_received(stream) == bytes(300_000), "v6 {v6}");
        assert_eq!(world.nat().flows().next().expect("a flow").remote, Some(at(client)));
        world.sim.tcp_send(stream, b"hello");
        world.sim.tcp_close(stream);
        world.sim.run_for(SECOND);
        assert_eq!(world.sim.outside().received(remote), b"hello");
        assert!(world.sim.outside().is_closed(remote));
        // Nobody listens inside any more: the client is reset.
        let remote = connect(&mut world);
        world.sim.run_for(SECOND);
        assert!(world.sim.outside().is_closed(remote));
        assert_eq!(world.nat().flows().count(), 0);
        assert!(world.sim.call(world.nat, |nat, _, out| nat.unpublish(flow, out)));
        world.sim.run_for(SECOND);
        assert_eq!(world.sim.outside_mut().connect(at(client), at(local), Server::ACCEPTS), None);
        assert_eq!((world.nat().flow_count(), world.nat().published().count()), (0, 0));
    }
}

#[test]
fn anybody_sends_to_a_published_udp_port_and_is_answered_from_it() {
    let mut world = World::new(2, false);
    publish(&mut world, Transport::Udp, "0.0.0.0:8080").expect("room");
    let socket = world.sim.udp_bind(world.host, 80);
    let (client, local) = (at("203.0.113.9:999"), at("127.0.0.1:4444"));
    world.sim.outside_mut().listen(Transport::Udp, client, Server::ACCEPTS);
    world.sim.outside_mut().listen(Transport::Udp, local, Server::ACCEPTS);
    for (from, seen) in [(client, client), (local, at("10.0.2.2:4444"))] {
        world.sim.outside_mut().send_to_bound(from, at("0.0.0.0:8080"), b"question");
        world.sim.run_for(SECOND);
        assert_eq!(world.sim.udp_recv(socket), Some((seen, b"question".to_vec())));
        assert!(world.sim.udp_send(socket, seen, b"answer"));
        world.sim.run_for(SECOND);
        let remote = world.sim.outside().flows(Transport::Udp, from).next().expect("a flow");
        assert_eq!(world.sim.outside().received(remote), b"answer");
    }
    // It has no end of its own.
    world.sim.run_for(SECOND * 10_000);
    assert_eq!(world.nat().flow_count(), 1);
    assert_eq!(world.dropped(DropReason::UNSOLICITED), 0);
}

#[test]
fn what_cannot_be_published_says_why() {
    let mut world = World::new(3, false);
    assert_eq!(publish(&mut world, Transport::Tcp, "[::]:80"), Err(PublishError::Families));
    assert_eq!(publish(&mut world, Transport::Echo, "0.0.0.0:0"), Err(PublishError::Transport));
    let flow = publish(&mut world, Transport::Tcp, "0.0.0.0:80").expect("room");
    world.sim.call(world.nat, |nat, now, out| {
        let event = adit_engine::FlowEvent::Failed(FlowError::Exhausted);
        adit_engine::Engine::handle_flow(nat, now, flow, event, out);
    });
    let state = world.nat().published().next().expect("it is listed").state;
    assert_eq!(state, PublishState::Failed(FlowError::Exhausted));
    assert_eq!(world.nat().flow_count(), 0);
}

#[test]
fn published_ports_are_none_of_the_flows_that_a_source_may_have() {
    let configure = |config: &mut adit_nat::Config| config.limits.flows_per_source = 1;
    let mut world = World::with(4, false, configure, |host| host.with_super_packets(), None);
    for local in ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"] {
        publish(&mut world, Transport::Tcp, local).expect("room");
    }
    world.listen(Transport::Tcp, Server::ECHOES);
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, b"hello");
    world.sim.run_for(SECOND);
    assert_eq!(world.sim.tcp_received(stream), b"hello");
}
