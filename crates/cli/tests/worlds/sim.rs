//! The simulated world.

use std::net::IpAddr;
use std::time::Duration;

use adit_engine::PortId;
use adit_engine::netem::{Bitrate, Delay, Loss, Netem, NetemConfig, Profile, Rate};
use adit_engine::switch::{PortConfig, Switch, SwitchConfig, VlanId, VlanMode};
use adit_sim::{EngineId, HostConfig, HostId, Sim};

use crate::{LinkSpec, PortSpec, World, address};

/// Longer than any transfer takes.
const TIME_MAX: Duration = Duration::from_secs(600);

fn host(sim: &mut Sim, number: usize) -> HostId {
    let mut config = HostConfig::new(&format!("{}/24", address(number))).with_super_packets();
    // After a loss the kernel acknowledges each segment for a while: on a link that loses, always.
    config.tcp_ack_delay = None;
    sim.host(&format!("h{number}"), config)
}

/// A switch with a host at each of these ports, and `more` ports after them.
fn switch(sim: &mut Sim, ports: &[PortSpec], more: usize) -> EngineId<Switch> {
    let mut switch = Switch::new(SwitchConfig::default()).unwrap();
    let rest = std::iter::repeat_n(PortSpec::default(), more);
    for (port, spec) in (0..).zip(ports.iter().copied().chain(rest)) {
        let mut config = PortConfig { isolated: spec.isolated, ..PortConfig::default() };
        if let Some(vlan) = spec.vlan {
            config.vlan = VlanMode::Access(VlanId::new(vlan).unwrap());
        }
        switch.add_port(PortId(port), config).unwrap();
    }
    let hosts: Vec<_> = (0..ports.len()).map(|number| host(sim, number)).collect();
    let switch = sim.engine("switch", switch);
    for (port, host) in (0..).zip(hosts) {
        sim.wire(host, switch.port(port));
    }
    switch
}

impl World for Sim {
    const TRIES: usize = 1;

    fn switch(&mut self, ports: &[PortSpec]) {
        switch(self, ports, 0);
    }

    fn switch_with_loop(&mut self, ports: &[PortSpec]) {
        let switch = switch(self, ports, 2);
        let first = u16::try_from(ports.len()).unwrap();
        self.wire(switch.port(first), switch.port(first + 1));
    }

    fn link(&mut self, link: LinkSpec) {
        let profile = Profile {
            delay: Delay::constant(link.delay),
            loss: match link.loss_percent {
                0 => Loss::None,
                percent => Loss::Random { share: f64::from(percent) / 100.0 },
            },
            rate: link.rate_megabits.map_or(Rate::Unlimited, |megabits| {
                Rate::Fixed(Bitrate::from_bits_per_second(u64::from(megabits) * 1_000_000))
            }),
            ..Profile::default()
        };
        let config = NetemConfig {
            a_to_b: profile.clone(),
            b_to_a: profile,
            seed: link.seed,
            ..NetemConfig::default()
        };
        let [a, b] = [0, 1].map(|number| host(self, number));
        let netem = self.engine("netem", Netem::new(&config).unwrap());
        self.wire(a, netem.port(0));
        self.wire(b, netem.port(1));
    }

    fn ping(&mut self, from: usize, to: usize) -> Option<Duration> {
        let from = self.hosts()[from];
        let ping = Self::ping(self, from, IpAddr::V4(address(to)));
        let end = self.now() + Duration::from_secs(1);
        self.run_until(end, |sim| sim.rtt(ping).is_some());
        self.rtt(ping)
    }

    fn pass(&mut self, time: Duration) {
        self.run_for(time);
    }

    fn received(&mut self, host: usize) -> u64 {
        self.port_counts(self.hosts()[host]).received
    }

    fn transfer(&mut self, from: usize, to: usize, bytes: &[u8]) -> (Vec<u8>, Duration) {
        let (sender, receiver) = (self.hosts()[from], self.hosts()[to]);
        let server = self.tcp_listen(receiver, 7000);
        let client = self.tcp_connect(sender, (address(to), 7000).into());
        self.tcp_send(client, bytes);
        self.tcp_close(client);
        let end = self.now() + TIME_MAX;
        self.run_until(end, |sim| !sim.tcp_received(server).is_empty());
        let start = self.now();
        assert!(self.run_until(end, |sim| sim.tcp_is_finished(server)), "it does not end");
        (self.tcp_received(server).to_vec(), self.now() - start)
    }
}
