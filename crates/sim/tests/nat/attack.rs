//! What a hostile inside can do.

use super::{SECOND, World, bytes};
use adit_engine::{DropReason, Transport};
use adit_packet::{Ipv4Header, Meta, TcpFlags, TcpHeader, VnetHeader};
use adit_sim::{ProbeId, Server};
use std::time::Duration;

/// A SYN whose checksum is left to be finished.
fn syn(world: &mut World, probe: ProbeId, source: [u8; 4], port: u16, to: [u8; 4]) {
    let header = Ipv4Header {
        tos: 0,
        total_len: 40,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: 6,
        source: source.into(),
        destination: to.into(),
    };
    let tcp = TcpHeader {
        source_port: port,
        destination_port: 80,
        sequence: 7,
        acknowledgment: 0,
        flags: TcpFlags::SYN,
        window: 1000,
        checksum: 0,
        urgent: 0,
    };
    let mut meta = Meta::default();
    meta.vnet.flags = VnetHeader::NEEDS_CSUM;
    let packet = [&header.to_bytes()[..], &tcp.to_bytes(0)].concat();
    world.sim.send(probe, &packet, meta);
}

/// Each system sends some on a link of its own, from addresses of the link.
#[test]
fn multicast_stays_on_its_link_and_is_no_forgery() {
    let mut world = World::new(1, false);
    let probe = world.sim.probe("host");
    world.sim.wire(probe, world.nat.port(1));
    for source in [[10, 0, 2, 100], [169, 254, 1, 1], [0; 4]] {
        syn(&mut world, probe, source, 1024, [224, 0, 0, 22]);
    }
    world.sim.run_for(SECOND);
    assert_eq!(world.dropped(DropReason::MULTICAST), 3);
    assert_eq!(world.dropped(DropReason::FORGED_SOURCE), 0);
    assert!(world.sim.recv(probe).is_none(), "no error answers them");
}

#[test]
fn a_flood_of_syns_ends_no_open_connection() {
    flood(150, |low| [10, 0, 2, low | 1]);
}

#[test]
fn a_source_that_fills_the_table_alone_gives_up_its_own_oldest_attempts() {
    flood(200, |_| [10, 0, 2, 100]);
}

/// Opens connections from inside and forged sources, each of which may have so many, beside honest ones.
fn flood(flows_per_source: u32, source_of: impl Fn(u8) -> [u8; 4]) {
    let configure = |config: &mut adit_nat::Config| {
        config.limits.flows = 200;
        config.limits.flows_per_source = flows_per_source;
    };
    let mut world = World::with(1, false, configure, |host| host.with_super_packets(), None);
    world.listen(Transport::Tcp, Server::ECHOES);
    let probe = world.sim.probe("attacker");
    world.sim.wire(probe, world.nat.port(1));
    let stream = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(stream, &bytes(1000));
    world.sim.run_for(SECOND);
    assert_eq!(world.sim.tcp_received(stream).len(), 1000);
    // To hosts that never answer, each connect a socket; from sources of the inside, and forged ones.
    let silent = Server { delay: Duration::from_secs(100), ..Server::ACCEPTS };
    world.sim.outside_mut().listen(Transport::Tcp, "192.0.2.99:80".parse().expect("valid"), silent);
    for number in 0..20_000_u16 {
        let [high, low] = number.to_be_bytes();
        let source = if number % 2 == 0 { source_of(low) } else { [172, 16, high, low] };
        syn(&mut world, probe, source, 1024 + number, [192, 0, 2, 99]);
        if number % 500 == 0 {
            world.sim.run_for(Duration::from_millis(2));
            assert!(world.nat().flow_count() <= 200);
        }
    }
    world.sim.tcp_send(stream, &bytes(100_000)[1000..]);
    world.sim.tcp_close(stream);
    // A new connection of an honest host finds room as well.
    let late = world.sim.tcp_connect(world.host, world.server());
    world.sim.tcp_send(late, b"still here");
    world.sim.tcp_close(late);
    world.sim.run_for(20 * SECOND);
    assert!(world.sim.tcp_received(stream) == bytes(100_000));
    assert_eq!(world.sim.tcp_received(late), b"still here");
    assert_eq!(world.dropped(DropReason::FORGED_SOURCE), 10_000);
}
