//! Hosts behind a NAT in a simulated network, with servers outside.

mod attack;
mod echo;
mod publish;
mod seeds;
mod tcp;
mod udp;

use adit_engine::netem::Profile;
use adit_engine::{DropReason, Transport};
use adit_nat::{Config, Nat};
use adit_sim::{EngineId, HostConfig, HostId, RemoteId, Server, Sim};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The server outside, by family.
fn server(v6: bool) -> SocketAddr {
    if v6 { "[2001:db8::80]:80" } else { "192.0.2.80:80" }.parse().expect("an address")
}

/// A host behind a NAT, by IPv4 or IPv6.
struct World {
    sim: Sim,
    nat: EngineId<Nat>,
    host: HostId,
    v6: bool,
}

impl World {
    fn new(seed: u64, v6: bool) -> Self {
        Self::with(seed, v6, |_| (), |host| host.with_super_packets(), None)
    }

    fn with(
        seed: u64,
        v6: bool,
        configure: impl FnOnce(&mut Config),
        host: impl FnOnce(HostConfig) -> HostConfig,
        links: Option<[&Profile; 2]>,
    ) -> Self {
        let mut sim = Sim::new(seed);
        let mut config = Config::new([u8::try_from(seed % 251).expect("a byte"); 16]);
        config.inside =
            ["10.0.2.0/24", "fd00::/64"].map(|prefix| prefix.parse().expect("valid")).into();
        config.gateway_v4 = Some([10, 0, 2, 2].into());
        config.gateway_v6 = Some("fd00::2".parse().expect("an address"));
        configure(&mut config);
        let nat = sim.engine("nat", Nat::new(config));
        let address = if v6 { "fd00::100/64" } else { "10.0.2.100/24" };
        let mut inside = host(HostConfig::new(address).without_ethernet());
        let gateway = if v6 { "fd00::2" } else { "10.0.2.2" };
        inside.gateway = Some(gateway.parse().expect("an address"));
        let host = sim.host("inside", inside);
        match links {
            None => sim.wire(host, nat.port(0)),
            Some(profiles) => sim.wire_through(host, nat.port(0), profiles),
        }
        Self { sim, nat, host, v6 }
    }

    fn listen(&mut self, transport: Transport, server: Server) {
        let at = self.server();
        self.sim.outside_mut().listen(transport, at, server);
    }

    fn server(&self) -> SocketAddr {
        server(self.v6)
    }

    /// The first flow that reached the server.
    fn remote(&self, transport: Transport) -> RemoteId {
        let mut flows = self.sim.outside().flows(transport, self.server());
        flows.next().expect("a flow reached the server")
    }

    fn nat(&self) -> &Nat {
        self.sim.get(self.nat)
    }

    fn dropped(&self, why: DropReason) -> u64 {
        self.sim.counts(self.nat).discarded_for(why)
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
}
