//! One random network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use adit_engine::netem::{Direction, Netem};
use adit_engine::switch::Switch;
use adit_engine::{Hub, PortId};
use adit_packet::{Gso, Meta, PoolConfig, VnetHeader};
use adit_sim::{End, EngineId, Fault, HostConfig, HostId, ProbeId, Random, Sim, UdpId};

use crate::configs::{random_netem, random_port, random_profile, random_switch, tunnels};
use crate::engines::Moody;

/// How long a network is used: enough for some hundred packets.
const RUN: Duration = Duration::from_millis(20);
/// How long it is watched after that: all that was on the way has arrived then, at the slowest port.
const QUIET: Duration = Duration::from_secs(2);
/// Ports of each engine.
const PORTS: u16 = 4;

pub(crate) struct Scenario {
    pub(crate) sim: Sim,
    hosts: Vec<(HostId, Ipv4Addr)>,
    sockets: Vec<UdpId>,
    probes: Vec<ProbeId>,
    /// Where something may go wrong.
    ends: Vec<End>,
    switches: Vec<EngineId<Switch>>,
    netems: Vec<EngineId<Netem>>,
    /// Where the circle of engines is cut in the end.
    circle: Option<End>,
}

impl Scenario {
    pub(crate) fn new(seed: u64) -> Self {
        let mut scenario = Self {
            sim: Sim::new(seed),
            hosts: Vec::new(),
            sockets: Vec::new(),
            probes: Vec::new(),
            ends: Vec::new(),
            switches: Vec::new(),
            netems: Vec::new(),
            circle: None,
        };
        let mut free = scenario.add_engines();
        // What is attached: at least two, at most one a port.
        let count = 2 + scenario.random().below(free.len() - 1);
        for end in free.drain(..).take(count) {
            scenario.attach(end);
        }
        scenario
    }

    fn random(&mut self) -> &mut Random {
        self.sim.random()
    }

    /// One to three engines in a row, sometimes in a circle. Returns the ports that are free.
    fn add_engines(&mut self) -> Vec<End> {
        let count = 1 + self.random().below(3);
        let mut ports: Vec<[End; PORTS as usize]> = Vec::new();
        for number in 0..count {
            ports.push(self.add_engine(&format!("e{number}")));
        }
        for (left, right) in (0..count).zip(1..count) {
            self.wire(ports[left][3], ports[right][2]);
        }
        let mut free: Vec<End> = ports.iter().flat_map(|ports| [ports[0], ports[1]]).collect();
        if count > 1 && self.random().chance(20) {
            let (first, last) = (ports[0][2], ports[count - 1][3]);
            // What goes in circles goes slowly, or the scenario is nothing but that; no other fault
            // makes it faster.
            self.sim.wire(first, last);
            self.circle = Some(first);
            self.sim.fault(first, Fault::Slow(Duration::from_millis(1)));
            self.sim.fault(last, Fault::Slow(Duration::from_millis(1)));
        } else {
            free.extend([ports[0][2], ports[count - 1][3]]);
        }
        free
    }

    fn add_engine(&mut self, name: &str) -> [End; PORTS as usize] {
        let pool = match self.random().below(4) {
            0 => PoolConfig { small_limit: 8, large_limit: 1, ..PoolConfig::default() },
            1 => PoolConfig { large_limit: 0, ..PoolConfig::default() },
            _ => PoolConfig::default(),
        };
        match self.random().below(5) {
            0 => {
                let id = self.sim.engine_with(name, Hub::new(PORTS), pool);
                [0, 1, 2, 3].map(|port| id.port(port))
            }
            1 => {
                let id = self.sim.engine_with(name, Moody::new(PORTS), pool);
                [0, 1, 2, 3].map(|port| id.port(port))
            }
            _ => {
                let switch = random_switch(self.random(), PORTS);
                let id = self.sim.engine_with(name, switch, pool);
                self.switches.push(id);
                [0, 1, 2, 3].map(|port| id.port(port))
            }
        }
    }

    /// A wire of some kind: plain, emulated, or with an engine that emulates one in the middle.
    fn wire(&mut self, a: End, b: End) {
        match self.random().below(12) {
            0..=2 => {
                let profiles = [(); 2].map(|()| random_profile(self.random()));
                let [there, back] = &profiles;
                self.sim.wire_through(a, b, [there, back]);
            }
            3..=5 => {
                let netem = random_netem(self.random());
                let id = self.sim.engine(&format!("n{}", self.ends.len()), netem);
                self.sim.wire(a, id.port(0));
                self.sim.wire(id.port(1), b);
                self.ends.extend([0, 1].map(|port| id.port(port)));
                self.netems.push(id);
            }
            6 => self.wire_by_tunnel(a, b),
            _ => self.sim.wire(a, b),
        }
        self.ends.extend([a, b]);
    }

    /// A wire that is a tunnel over an emulated link.
    fn wire_by_tunnel(&mut self, a: End, b: End) {
        let addresses = [1, 2].map(|last| SocketAddr::from(([198, 51, 100, last], 51_820)));
        let [left, right] = tunnels(self.random(), addresses);
        let number = self.ends.len();
        let left = self.sim.engine(&format!("l{number}"), left);
        let right = self.sim.engine(&format!("r{number}"), right);
        self.sim.wire(a, left.port(0));
        self.sim.wire(b, right.port(0));
        let profiles = [(); 2].map(|()| random_profile(self.random()));
        let [there, back] = &profiles;
        let [there_at, back_at] = [left.peer(addresses[1]), right.peer(addresses[0])];
        self.sim.wire_through(there_at, back_at, [there, back]);
        self.ends.extend([left.port(0), right.port(0), there_at, back_at]);
    }

    /// Puts a host or a probe at a free port.
    fn attach(&mut self, to: End) {
        let number = self.hosts.len() + self.probes.len() + 1;
        let end = if self.random().chance(70) {
            let address = Ipv4Addr::new(192, 0, 2, u8::try_from(number).unwrap());
            let mut config = HostConfig::new(&format!("{address}/24"));
            config.tcp_buffer = 20_000;
            config.super_packets = self.random().chance(50);
            let host = self.sim.host(&format!("h{number}"), config);
            self.sockets.push(self.sim.udp_bind(host, 1000));
            self.hosts.push((host, address));
            End::from(host)
        } else {
            let probe = self.sim.probe(&format!("p{number}"));
            self.probes.push(probe);
            End::from(probe)
        };
        self.wire(end, to);
    }

    /// Traffic and faults, then some time without.
    pub(crate) fn run(&mut self) {
        if let [(from, _), .., (to, address)] = self.hosts[..] {
            let len = self.random().below(60_000);
            self.sim.tcp_listen(to, 80);
            let stream = self.sim.tcp_connect(from, SocketAddr::from((address, 80)));
            self.sim.tcp_send(stream, &vec![7; len]);
        }
        for _ in 0..self.random().below(4) {
            self.plan_fault();
        }
        for _ in 0..10 {
            for _ in 0..1 + self.random().below(3) {
                self.send_something();
            }
            if self.random().chance(20) {
                self.change_something();
            }
            self.sim.run_for(RUN / 10);
        }
    }

    fn plan_fault(&mut self) {
        let ends = self.ends.clone();
        let random = self.sim.random();
        let end = random.pick(&ends);
        let millis =
            |random: &mut Random| Duration::from_millis(u64::try_from(random.below(20)).unwrap());
        let (at, time) = (millis(random), millis(random));
        let fault = match random.below(4) {
            0 => Fault::Down,
            1 => Fault::Gone,
            2 => Fault::Full(time),
            _ => Fault::Slow(time / 20),
        };
        let at = self.sim.now() + at;
        self.sim.fault_at(at, end, fault);
        if fault == Fault::Down {
            self.sim.fault_at(at + time, end, Fault::Up);
        }
    }

    /// What an operator does while packets are under way.
    fn change_something(&mut self) {
        let (switches, netems) = (self.switches.clone(), self.netems.clone());
        let random = self.sim.random();
        if let (true, [_, ..]) = (random.chance(30), &netems[..]) {
            let id = random.pick(&netems);
            let (direction, profile) = (random.pick(&Direction::BOTH), random_profile(random));
            return self.sim.call(id, |netem, now, _| netem.set(now, direction, &profile).unwrap());
        }
        if switches.is_empty() {
            return;
        }
        let (id, port) = (random.pick(&switches), PortId(random.pick(&[0, 1, 2, 3])));
        let (kind, config) = (random.below(5), random_port(random));
        self.sim.call(id, |switch, _, _| {
            // A port that was removed before is not there: then nothing happens.
            let _ = match kind {
                0 => switch.remove_port(port),
                1 => switch.add_port(port, config).is_ok(),
                2 => switch.set_port(port, config).is_ok(),
                3 => switch.set_link(port, false),
                _ => switch.set_link(port, true),
            };
        });
    }

    fn send_something(&mut self) {
        let (hosts, sockets) = (self.hosts.clone(), self.sockets.clone());
        if self.random().chance(40) || hosts.is_empty() {
            return self.send_random_frame();
        }
        let random = self.sim.random();
        let (&(from, _), &(_, to)) = (&random.pick(&hosts), &random.pick(&hosts));
        if random.chance(50) {
            self.sim.ping(from, IpAddr::V4(to));
        } else {
            let (socket, len) = (random.pick(&sockets), random.below(1400));
            self.sim.udp_send(socket, SocketAddr::from((to, 1000)), &vec![9; len]);
        }
    }

    /// A frame of any bytes and any virtio-net header.
    fn send_random_frame(&mut self) {
        let Some(&probe) = self.probes.first() else { return };
        let random = self.sim.random();
        let len = if random.chance(90) { random.below(200) } else { random.below(65_536) };
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        if let Some(destination) = bytes.first_chunk_mut::<6>() {
            let number = u8::try_from(random.below(4)).unwrap();
            *destination = random.pick(&[[0xff; 6], [2, 0, 0x5e, 0x10, 0, number], *destination]);
        }
        let mut short = || u16::try_from(random.below(1 << 16)).unwrap();
        let vnet = VnetHeader {
            csum_start: short(),
            csum_offset: short(),
            gso_size: short(),
            ..VnetHeader::default()
        };
        let vnet = match random.below(3) {
            0 => VnetHeader::default(),
            1 => VnetHeader { flags: VnetHeader::NEEDS_CSUM, ..vnet },
            _ => VnetHeader {
                gso: random.pick(&[Gso::Tcp4, Gso::Tcp6, Gso::UdpL4, Gso::Udp]),
                ..vnet
            },
        };
        self.sim.send(probe, &bytes, Meta { vnet, ..Meta::default() });
    }

    /// What must hold when it is over.
    pub(crate) fn check_end(&mut self) {
        if let Some(end) = self.circle {
            self.sim.fault(end, Fault::Down);
        }
        let end = self.sim.now() + QUIET;
        assert!(!self.sim.run_until(end, |_| false));
    }
}
