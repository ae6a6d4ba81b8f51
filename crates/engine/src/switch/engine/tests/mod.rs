//! A switch and its surroundings, for tests.

mod flood;
mod guard;
mod learn;
mod loops;
mod mirror;
mod model;
mod storm;
mod vlan;

use super::*;
use crate::PortId;
use crate::switch::*;
use adit_packet::{Batch, EthernetHeader, Meta, Pool, PoolConfig, VnetHeader};
use core::time::Duration;
use std::vec;
use std::vec::Vec;

/// A switch with its outbox, whose time passes as told, and which checks the laws after each step.
pub(super) struct Net {
    pub(super) switch: Switch,
    out: Outbox,
    pub(super) now: Instant,
    received: u64,
}

/// A frame that left: by which port, its bytes and what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) port: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) meta: Meta,
}

impl Net {
    /// A switch with `ports` ports from 0 on that all are as the default, without probes.
    pub(super) fn new(ports: u16) -> Self {
        Self::with(quiet(), ports)
    }

    pub(super) fn with(config: SwitchConfig, ports: u16) -> Self {
        let mut switch = Switch::new(config).unwrap();
        for port in 0..ports {
            switch.add_port(PortId(port), PortConfig::default()).unwrap();
        }
        let now = Instant::ZERO + Duration::from_secs(1000);
        let mut net =
            Self { switch, out: Outbox::new(Pool::new(PoolConfig::default())), now, received: 0 };
        net.run();
        net
    }

    pub(super) fn set_port(&mut self, port: u16, config: PortConfig) {
        self.switch.set_port(PortId(port), config).unwrap();
    }

    /// Hands a frame over and returns what leaves, in the order of the ports.
    pub(super) fn give(&mut self, port: u16, bytes: &[u8]) -> Vec<Sent> {
        self.give_with(port, bytes, VnetHeader::default())
    }

    pub(super) fn give_with(&mut self, port: u16, bytes: &[u8], vnet: VnetHeader) -> Vec<Sent> {
        let mut packet = self.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        packet.meta.vnet = vnet;
        self.received += 1;
        self.switch.handle(self.now, Endpoint::Port(PortId(port)), packet, &mut self.out);
        self.take()
    }

    /// The ports by which that frame leaves.
    pub(super) fn ports(&mut self, port: u16, bytes: &[u8]) -> Vec<u16> {
        self.give(port, bytes).into_iter().map(|sent| sent.port).collect()
    }

    /// Hands over a frame that the switch must drop, and returns the reason.
    pub(super) fn dropped(&mut self, port: u16, bytes: &[u8]) -> Option<DropReason> {
        let before = self.drops(port);
        let sent = self.give(port, bytes);
        let after = self.drops(port);
        let new = after.into_iter().find(|row| !before.contains(row)).map(|(why, _)| why);
        assert!(new.is_none() || sent.is_empty(), "both sent and dropped");
        new
    }

    fn drops(&self, port: u16) -> Vec<(DropReason, u64)> {
        self.switch.counters(PortId(port)).unwrap().ingress_drops().collect()
    }

    /// Lets time pass, with all that is due in it, and returns what leaves.
    pub(super) fn pass(&mut self, duration: Duration) -> Vec<Sent> {
        let end = self.now + duration;
        let mut sent = Vec::new();
        while let Some(due) = self.switch.next_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            sent.extend(self.run());
        }
        self.now = end;
        sent
    }

    /// Does what is due now.
    pub(super) fn run(&mut self) -> Vec<Sent> {
        self.switch.handle_timeout(self.now, &mut self.out);
        self.take()
    }

    pub(super) fn events(&mut self) -> Vec<SwitchEvent> {
        core::iter::from_fn(|| self.switch.poll_event()).collect()
    }

    /// On which port an address is.
    pub(super) fn port_of(&self, vlan: u16, mac: MacAddr) -> Option<u16> {
        let vlan = VlanId::new(vlan);
        let mut entries = self.switch.fdb();
        entries.find(|entry| entry.vlan == vlan && entry.mac == mac).map(|entry| entry.port.0)
    }

    fn take(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            let Endpoint::Port(port) = to else { panic!("{to}") };
            sent.extend(batch.iter().map(|packet| Sent {
                port: port.0,
                bytes: packet.bytes().to_vec(),
                meta: packet.meta,
            }));
            batch.give_all(self.out.pool());
        }
        sent.sort_by_key(|sent| sent.port);
        assert!(self.out.counts().balance(self.received, self.switch.held()), "conservation");
        assert_eq!(self.out.pool().out(), (0, 0), "no buffer is lost");
        sent
    }
}

/// A configuration without probes, which would be among the frames that a test looks for.
pub(super) fn quiet() -> SwitchConfig {
    let loop_guard = LoopGuardConfig { enabled: false, ..LoopGuardConfig::default() };
    SwitchConfig { loop_guard, seed: 7, ..SwitchConfig::default() }
}

/// The address of a host.
pub(super) fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

/// An untagged frame with a payload of a type that nobody reads.
pub(super) fn frame(from: MacAddr, to: MacAddr) -> Vec<u8> {
    framed(from, to, 0x88b6, &[0xaa; 46])
}

/// A frame with that type and payload.
pub(super) fn framed(from: MacAddr, to: MacAddr, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let header = EthernetHeader { destination: to, source: from, ether_type };
    [&header.to_bytes(), payload].concat()
}

/// The same frame with a tag in front of those that it has.
pub(super) fn tagged(tpid: u16, tci: u16, frame: &[u8]) -> Vec<u8> {
    let tag = adit_packet::VlanTag { tpid, tci };
    [&frame[..12], &tag.to_bytes(), &frame[12..]].concat()
}

pub(super) fn vlan(number: u16) -> VlanId {
    VlanId::new(number).unwrap()
}

pub(super) fn vlans(numbers: &[u16]) -> VlanSet {
    numbers.iter().map(|&number| vlan(number)).collect()
}

#[test]
fn a_switch_with_two_ports_is_a_wire() {
    let mut net = Net::new(2);
    let bytes = frame(mac(1), mac(2));
    let sent = net.give(0, &bytes);
    assert_eq!(sent, vec![Sent { port: 1, bytes: bytes.clone(), meta: Meta::default() }]);
    let counters = net.switch.counters(PortId(0)).unwrap();
    assert_eq!((counters.ingress_frames, counters.ingress_bytes), (1, 60));
    let counters = net.switch.counters(PortId(1)).unwrap();
    assert_eq!((counters.egress_frames, counters.egress_bytes), (1, 60));
    assert_eq!(net.ports(1, &frame(mac(2), mac(1))), [0]);
    assert_eq!(net.ports(0, &bytes), [1]);
}

#[test]
fn an_invalid_frame_is_dropped() {
    let mut net = Net::new(2);
    for len in 0..14 {
        assert_eq!(net.dropped(0, &frame(mac(1), mac(2))[..len]), Some(DropReason::MALFORMED));
    }
    for source in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1]), MacAddr::default()] {
        assert_eq!(net.dropped(0, &frame(source, mac(2))), Some(DropReason::MALFORMED));
    }
    let cut = &tagged(0x8100, 5, &frame(mac(1), mac(2)))[..17];
    assert_eq!(net.dropped(0, cut), Some(DropReason::MALFORMED));
}

#[test]
fn a_frame_from_nowhere_is_discarded() {
    let mut net = Net::new(2);
    let from = Endpoint::Udp(([192, 0, 2, 1], 9).into());
    for from in [from, Endpoint::Port(PortId(2)), Endpoint::Port(PortId(u16::MAX))] {
        let mut packet = net.out.pool().take(60).unwrap();
        packet.extend(&frame(mac(1), mac(2))).unwrap();
        net.received += 1;
        net.switch.handle(net.now, from, packet, &mut net.out);
        assert_eq!(net.take(), []);
    }
    assert_eq!(net.out.counts().by_reason().collect::<Vec<_>>(), [(DropReason::PORT_DOWN, 3)]);
}

#[test]
fn reserved_addresses_go_nowhere() {
    let mut net = Net::new(3);
    for last in 0..=255 {
        let destination = MacAddr([0x01, 0x80, 0xc2, 0, 0, last]);
        for bytes in [frame(mac(1), destination), tagged(0x8100, 3, &frame(mac(1), destination))] {
            let expected = (last < 16).then_some(DropReason::RESERVED_ADDRESS);
            assert_eq!(net.dropped(0, &bytes), expected, "{destination}");
        }
    }
    assert_eq!(net.port_of(3, mac(1)), Some(0));
}

#[test]
fn reserved_addresses_pass_between_ports_that_forward_them() {
    let mut net = Net::new(3);
    for port in [0, 1] {
        let config = PortConfig { forward_reserved: true, ..PortConfig::default() };
        net.switch.set_port(PortId(port), config).unwrap();
    }
    for last in 0..16 {
        let destination = MacAddr([0x01, 0x80, 0xc2, 0, 0, last]);
        let bytes = frame(mac(1), destination);
        if last == 1 {
            assert_eq!(net.dropped(0, &bytes), Some(DropReason::RESERVED_ADDRESS), "a pause frame");
            continue;
        }
        assert_eq!(net.ports(0, &bytes), [1], "{destination}");
        assert_eq!(net.dropped(2, &bytes), Some(DropReason::RESERVED_ADDRESS));
    }
}

#[test]
fn limits_out_of_range_are_refused() {
    use ConfigError as E;
    let second = Duration::from_secs(1);
    let change = |change: &dyn Fn(&mut SwitchConfig)| {
        let mut config = SwitchConfig::default();
        change(&mut config);
        let made = Switch::new(config.clone()).map(drop);
        assert_eq!(Net::new(0).switch.set(config), made);
        made.unwrap_err()
    };
    assert_eq!(change(&|config| config.fdb_limit = 0), E::FdbLimit);
    assert_eq!(change(&|config| config.fdb_limit = SwitchConfig::FDB_LIMIT_MAX + 1), E::FdbLimit);
    assert_eq!(change(&|config| config.ageing = second / 2), E::Ageing);
    assert_eq!(change(&|config| config.loop_guard.probe_interval = second / 200), E::ProbeInterval);
    assert_eq!(change(&|config| config.loop_guard.hold = second / 2), E::Hold);
    assert_eq!(change(&|config| config.loop_guard.hold_max = second), E::Hold);
    assert_eq!(change(&|config| config.loop_guard.flaps_per_second = 0), E::PerSecond);
    assert_eq!(change(&|config| config.moves_per_second = 0), E::PerSecond);
    let mirror = Mirror {
        to: PortId(9),
        ports: Vec::new(),
        direction: MirrorDirection::Both,
        filter: MirrorFilter::All,
        truncate: None,
    };
    assert_eq!(change(&|config| config.mirrors = vec![mirror.clone(); 33]), E::TooManyMirrors);

    let mut switch = Net::new(1).switch;
    let guard = GuardConfig { macs: vec![mac(1); 65], ..GuardConfig::default() };
    let config = PortConfig { guard, ..PortConfig::default() };
    assert_eq!(switch.add_port(PortId(1), config.clone()), Err(E::GuardList));
    assert_eq!(switch.set_port(PortId(0), config), Err(E::GuardList));
    let rate = StormRate { frames_per_second: 1, burst: 0 };
    let storm = StormConfig { broadcast: Some(rate), ..StormConfig::default() };
    let config = PortConfig { storm, ..PortConfig::default() };
    assert_eq!(switch.set_port(PortId(0), config), Err(E::Burst));
    assert_eq!(switch.add_port(PortId(0), PortConfig::default()), Err(E::PortExists(PortId(0))));
    assert_eq!(switch.set_port(PortId(7), PortConfig::default()), Err(E::NoPort(PortId(7))));
    for port in 1..1024 {
        switch.add_port(PortId(port * 60), PortConfig::default()).unwrap();
    }
    assert_eq!(switch.add_port(PortId(1), PortConfig::default()), Err(E::TooManyPorts));
    assert_eq!(switch.ports().count(), 1024);
    assert!(!switch.remove_port(PortId(1)) && switch.remove_port(PortId(60)));
}
