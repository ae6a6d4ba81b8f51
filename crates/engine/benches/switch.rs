//! What a frame costs in the switch: `cargo bench -p adit-engine --bench switch`.
//!
//! Times are for a batch of 64 frames from the hand-over to the last one taken out of the outbox;
//! divan's items are frames.

use adit_engine::switch::{
    GuardConfig, IpPrefix, LoopGuardConfig, PortConfig, StormConfig, StormRate, Switch,
    SwitchConfig, VlanId, VlanMode,
};
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{
    Batch, EthernetHeader, Instant, Ipv4Header, MacAddr, PacketBuf, Pool, PoolConfig, ether_type,
    ip_protocol,
};
use divan::Bencher;
use divan::counter::ItemsCount;

const BATCH: usize = 64;

fn main() {
    divan::main();
}

fn mac(port: u16) -> MacAddr {
    let [a, b] = port.to_be_bytes();
    MacAddr([2, 0, 0, 0, a, b])
}

/// What users turn on for virtual machines.
fn guarded(port: u16) -> PortConfig {
    let [a, b] = port.to_be_bytes();
    let rate = StormRate { frames_per_second: 1000, burst: 1000 };
    PortConfig {
        vlan: VlanMode::Access(VlanId::new(10).expect("between 1 and 4094")),
        guard: GuardConfig {
            macs: vec![mac(port)],
            addresses: vec![IpPrefix::host([192, 0, a, b].into())],
            arp: true,
            nd: true,
            no_dhcp_server: true,
            no_router: true,
        },
        storm: StormConfig {
            broadcast: Some(rate),
            multicast: Some(rate),
            unknown_unicast: Some(rate),
        },
        ..PortConfig::default()
    }
}

struct Bench {
    switch: Switch,
    out: Outbox,
    batch: Batch,
    ports: u16,
}

impl Bench {
    fn new(ports: u16, config: fn(u16) -> PortConfig) -> Self {
        let loop_guard = LoopGuardConfig { enabled: false, ..LoopGuardConfig::default() };
        let config_of_all = SwitchConfig { loop_guard, ..SwitchConfig::default() };
        let mut switch = Switch::new(config_of_all).expect("all within its range");
        for port in 0..ports {
            switch.add_port(PortId(port), config(port)).expect("a new port");
        }
        let out = Outbox::new(Pool::new(PoolConfig::default()));
        let mut bench = Self { switch, out, batch: Batch::new(), ports };
        for port in 0..ports {
            let packet = bench.packet(port, MacAddr::BROADCAST);
            bench.give(port, packet);
            bench.take();
        }
        bench
    }

    /// A UDP packet of 64 bytes.
    fn packet(&mut self, port: u16, destination: MacAddr) -> PacketBuf {
        let [a, b] = port.to_be_bytes();
        let ethernet =
            EthernetHeader { destination, source: mac(port), ether_type: ether_type::IPV4 };
        let ip = Ipv4Header {
            tos: 0,
            total_len: 50,
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: ip_protocol::UDP,
            source: [192, 0, a, b].into(),
            destination: [192, 0, 2, 2].into(),
        };
        let mut packet = self.out.pool().take(64).expect("far from the limit");
        for bytes in [&ethernet.to_bytes()[..], &ip.to_bytes(), &[0x11; 30]] {
            packet.extend(bytes).expect("64 bytes");
        }
        packet
    }

    fn give(&mut self, port: u16, packet: PacketBuf) {
        self.switch.handle(Instant::ZERO, Endpoint::Port(PortId(port)), packet, &mut self.out);
    }

    fn take(&mut self) {
        while self.out.next_group(&mut self.batch).is_some() {
            self.batch.give_all(self.out.pool());
        }
    }

    /// A batch from each port in turn to the next one.
    fn run(mut self, bencher: Bencher<'_, '_>, frames_to_one: u16) {
        let ports = self.ports;
        let templates: Vec<_> =
            (0..ports).map(|port| self.packet(port, mac((port + 1) % ports))).collect();
        let mut next = 0_u16;
        bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
            for frame in 0..u16::try_from(BATCH).expect("64") {
                if frame % frames_to_one == 0 {
                    next = (next + 1) % ports;
                }
                let template = &templates[usize::from(next)];
                let copy = self.out.pool().copy_of(template).expect("far from the limit");
                self.give(next, copy);
            }
            self.take();
        });
    }
}

/// The work around the switch alone: copies from the pool, through an outbox, and back.
#[divan::bench]
fn no_switch(bencher: Bencher<'_, '_>) {
    let mut bench = Bench::new(2, |_| PortConfig::default());
    let template = bench.packet(0, mac(1));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let copy = bench.out.pool().copy_of(&template).expect("far from the limit");
            bench.out.send(Endpoint::Port(PortId(1)), copy);
        }
        bench.take();
    });
}

/// Batches of one flow, as they come from a queue.
#[divan::bench(args = [2, 8, 64])]
fn plain(bencher: Bencher<'_, '_>, ports: u16) {
    Bench::new(ports, |_| PortConfig::default()).run(bencher, 64);
}

/// Each frame from another port.
#[divan::bench(args = [2, 8, 64])]
fn plain_mixed(bencher: Bencher<'_, '_>, ports: u16) {
    Bench::new(ports, |_| PortConfig::default()).run(bencher, 1);
}

/// Batches of one flow, through access ports of a VLAN with every guard and limit.
#[divan::bench(args = [2, 8, 64])]
fn guarded_in_vlan(bencher: Bencher<'_, '_>, ports: u16) {
    Bench::new(ports, guarded).run(bencher, 64);
}

/// An attack: each frame from another address, which a full table does not learn, to a known host.
#[divan::bench]
fn unknown_sources(bencher: Bencher<'_, '_>) {
    let mut bench = Bench::new(16, |_| PortConfig::default());
    let template = bench.packet(0, mac(1));
    let mut number = 0_u32;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            number = number.wrapping_add(1);
            let mut copy = bench.out.pool().copy_of(&template).expect("far from the limit");
            if let Some(source) = copy.bytes_mut().get_mut(8..12) {
                source.copy_from_slice(&number.to_be_bytes());
            }
            let port = u16::try_from(number % 15).expect("below 15") + 1;
            bench.give(if port == 1 { 0 } else { port }, copy);
        }
        bench.take();
    });
}

/// A broadcast of 64 bytes to all other ports.
#[divan::bench(args = [2, 8, 64])]
fn flood(bencher: Bencher<'_, '_>, ports: u16) {
    let mut bench = Bench::new(ports, |_| PortConfig::default());
    let template = bench.packet(0, MacAddr::BROADCAST);
    bencher.bench_local(|| {
        let copy = bench.out.pool().copy_of(&template).expect("far from the limit");
        bench.give(0, copy);
        bench.take();
    });
}
