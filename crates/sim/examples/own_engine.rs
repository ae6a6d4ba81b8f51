//! An engine of your own between two simulated hosts, in virtual time.
//!
//! The engine joins two ports and lets ARP and ICMP pass, nothing else. The hosts ping each other and
//! try a TCP connection, on 20 networks with different losses; each run takes milliseconds, and a
//! failing one prints its seed. Run it: `cargo run -p adit-sim --example own_engine`.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use adit_engine::netem::{Delay, Loss, Profile};
use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId, Reason};
use adit_packet::{Headers, Instant, PacketBuf, ether_type, ip_protocol};
use adit_sim::{Sim, for_each_seed};
use std::time::Duration;

/// A reason of our own: it is counted and shown like those of the library.
const NOT_PING: DropReason =
    DropReason::new(&Reason::new("not ping", "Only ARP and ICMP pass this engine."));

/// Two ports, and a filter between them.
struct PingOnly {
    passed: u64,
}

impl Engine for PingOnly {
    fn handle(
        &mut self,
        _now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let other = if from == Endpoint::Port(PortId(0)) { PortId(1) } else { PortId(0) };
        let headers = Headers::parse_frame(packet.bytes());
        let passes = headers.is_ok_and(|headers| {
            headers.ether_type() == ether_type::ARP || headers.protocol() == Some(ip_protocol::ICMP)
        });
        // Every packet leaves by one of the two doors; the simulator checks that none is lost.
        if passes {
            self.passed += 1;
            out.send(Endpoint::Port(other), packet);
        } else {
            out.discard(packet, NOT_PING);
        }
        Handled::NOTHING
    }
}

pub(crate) fn main() {
    for_each_seed(20, |seed| {
        let mut sim = Sim::new(seed);
        let filter = sim.engine("filter", PingOnly { passed: 0 });
        let a = sim.host("a", "192.0.2.1/24");
        let b = sim.host("b", "192.0.2.2/24");
        sim.wire(a, filter.port(0));
        // The wire to `b` loses 5 % of the packets and takes 10 ms, in both directions.
        let profile = Profile {
            delay: Delay::constant(Duration::from_millis(10)),
            loss: Loss::Random { share: 0.05 },
            ..Profile::default()
        };
        sim.wire_through(filter.port(1), b, [&profile, &profile]);

        let pings: Vec<_> = (0..20)
            .map(|_| {
                let ping = sim.ping(a, [192, 0, 2, 2].into());
                sim.run_for(Duration::from_secs(1));
                ping
            })
            .collect();
        let answered = pings.iter().filter(|ping| sim.rtt(**ping).is_some()).count();
        assert!(answered >= 10, "{answered} of 20 pings answered");

        sim.tcp_listen(b, 80);
        let client = sim.tcp_connect(a, ([192, 0, 2, 2], 80).into());
        sim.tcp_send(client, b"GET / HTTP/1.0\r\n\r\n");
        sim.run_for(Duration::from_secs(10));
        let dropped = sim.counts(filter).discarded_for(NOT_PING);
        assert!(dropped > 0, "TCP does not pass");
        println!(
            "seed {seed}: {answered} of 20 pings answered, {} packets passed, {dropped} dropped",
            sim.get(filter).passed
        );
    });
}
