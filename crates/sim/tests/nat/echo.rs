//! Pings, and fragments.

use super::{SECOND, World};
use adit_engine::{DropReason, FlowError, Transport};
use adit_sim::Server;
use std::net::SocketAddr;

#[test]
fn pings_cross_the_nat_and_their_errors_come_back() {
    for v6 in [false, true] {
        let mut world = World::new(1, v6);
        let host = SocketAddr::new(world.server().ip(), 0);
        world.sim.outside_mut().listen(Transport::Echo, host, Server::ECHOES);
        let ping = world.sim.ping(world.host, host.ip());
        let gateway = if v6 { "fd00::2" } else { "10.0.2.2" }.parse().expect("an address");
        let own = world.sim.ping(world.host, gateway);
        world.sim.run_for(SECOND);
        assert!(world.sim.rtt(ping).is_some_and(|rtt| rtt.as_millis() == 1), "v6 {v6}");
        assert!(world.sim.rtt(own).is_some(), "the NAT answers for itself");
        let row = world.nat().flows().next().expect("a flow");
        assert_eq!((row.transport, row.sent_bytes, row.received_bytes), (Transport::Echo, 64, 64));
        let remote = world.sim.outside().flows(Transport::Echo, host).next().expect("a flow");
        world.sim.outside_mut().fail(remote, FlowError::HostUnreachable);
        world.sim.run_for(SECOND);
        let trace = world.sim.trace();
        let last = trace.lines().rfind(|line| line.contains("nat:0 > inside")).expect("an error");
        assert!(last.contains("icmp") || last.contains("protocol 58"), "{last}");
        world.sim.run_for(60 * SECOND);
        assert_eq!(world.nat().flow_count(), 0);
        // An identifier that nobody inside uses.
        assert_eq!(world.dropped(DropReason::UNSOLICITED), 0);
    }
}
