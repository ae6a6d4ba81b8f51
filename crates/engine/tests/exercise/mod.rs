//! A switch on any bytes: what must hold whatever they are. The property test and the fuzz target
//! call the same function.

use adit_engine::switch::{
    Accelerate, FrameMatch, GroupId, GuardConfig, IpPrefix, LoopGuardConfig, Mirror,
    MirrorDirection, MirrorFilter, PortConfig, PortState, StormConfig, StormRate, Switch,
    SwitchConfig, TagKind, Trunk, VlanId, VlanMode, VlanSet,
};
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{
    Batch, Endian, Instant, MacAddr, Pool, PoolConfig, VnetHeader, VnetLen, ether_type,
};
use std::time::Duration;

/// Ports that are added at first; a mirror may have a number beyond them.
const PORTS: u8 = 6;

/// The group of probes for loops.
const PROBES: &[u8; 6] = b"\x03adit\x01";

/// Configures a switch by the first bytes, and hands it frames made of the rest; how many were sent.
pub(crate) fn switch(bytes: &[u8]) -> u64 {
    let mut input = Input(bytes);
    let mut world = World::new(&mut input);
    while !input.0.is_empty() {
        world.step(&mut input);
    }
    world.out.counts().sent()
}

/// Bytes that are used up; zeros after their end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn is(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn port(&mut self) -> PortId {
        PortId(u16::from(self.below(PORTS + 1)))
    }

    fn vlan(&mut self) -> Option<VlanId> {
        VlanId::new(u16::from(self.below(4)))
    }

    fn vlans(&mut self) -> VlanSet {
        (0..3).filter_map(|_| self.vlan()).collect()
    }

    fn mac(&mut self) -> MacAddr {
        match self.below(12) {
            0 => MacAddr::BROADCAST,
            1 => MacAddr([1, 0x80, 0xc2, 0, 0, self.below(32)]),
            2 => MacAddr(*PROBES),
            3 => MacAddr([self.byte(), self.byte(), self.byte(), 0, 0, self.byte()]),
            host => MacAddr([2, 0, 0, 0, 0, host]),
        }
    }

    fn prefix(&mut self) -> Option<IpPrefix> {
        let [a, b, c, d] = [self.byte(), self.byte(), self.byte(), self.byte()];
        if self.is() {
            IpPrefix::new([a, b, c, d].into(), self.below(33)).ok()
        } else {
            let address = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            IpPrefix::new(address.into(), self.below(129)).ok()
        }
    }

    fn rate(&mut self) -> Option<StormRate> {
        let (frames_per_second, burst) = (u32::from(self.word()), u32::from(self.byte()) + 1);
        self.is().then_some(StormRate { frames_per_second, burst })
    }

    fn vlan_mode(&mut self) -> VlanMode {
        match (self.below(4), self.vlan()) {
            (1, Some(vlan)) => VlanMode::Access(vlan),
            (2, Some(vlan)) => VlanMode::Tunnel(vlan),
            (3, pvid) => {
                let tag = if self.is() { TagKind::Service } else { TagKind::Customer };
                let (tagged, untagged) = (self.vlans(), self.vlans());
                VlanMode::Trunk(Trunk { tagged, untagged, pvid, tag })
            }
            _ => VlanMode::Transparent,
        }
    }

    fn guard(&mut self) -> GuardConfig {
        let flags = self.byte();
        if flags & 1 == 0 {
            return GuardConfig::default();
        }
        GuardConfig {
            macs: (0..self.below(3)).map(|_| self.mac()).collect(),
            addresses: (0..self.below(3)).filter_map(|_| self.prefix()).collect(),
            arp: flags & 2 != 0,
            nd: flags & 4 != 0,
            no_dhcp_server: flags & 8 != 0,
            no_router: flags & 16 != 0,
        }
    }

    fn port_config(&mut self) -> PortConfig {
        let flags = self.byte();
        PortConfig {
            vlan: self.vlan_mode(),
            isolated: flags & 1 != 0,
            group: (flags & 2 != 0).then(|| GroupId(u16::from(self.below(2)))),
            sticky: flags & 4 != 0,
            forward_reserved: flags & 8 != 0,
            fdb_limit: usize::from(self.below(6)),
            guard: self.guard(),
            storm: StormConfig {
                broadcast: self.rate(),
                multicast: self.rate(),
                unknown_unicast: self.rate(),
            },
        }
    }

    fn mirror(&mut self) -> Mirror {
        let wanted = FrameMatch {
            vlan: self.vlan(),
            mac: self.is().then(|| self.mac()),
            ether_type: self.is().then_some(ether_type::IPV4),
            protocol: self.is().then_some(17),
            port: self.is().then_some(53),
        };
        Mirror {
            to: self.port(),
            ports: (0..self.below(3)).map(|_| self.port()).collect(),
            direction: match self.below(3) {
                0 => MirrorDirection::Ingress,
                1 => MirrorDirection::Egress,
                _ => MirrorDirection::Both,
            },
            filter: if self.is() { MirrorFilter::Match(wanted) } else { MirrorFilter::All },
            truncate: self.is().then(|| usize::from(self.byte())),
        }
    }

    fn switch_config(&mut self) -> SwitchConfig {
        SwitchConfig {
            ageing: Duration::from_secs(u64::from(self.byte()) + 1),
            fdb_limit: usize::from(self.below(16)) + 1,
            moves_per_second: self.below(8) + 1,
            accelerate: Accelerate::default(),
            loop_guard: LoopGuardConfig {
                enabled: self.is(),
                probe_interval: Duration::from_millis(u64::from(self.byte()) + 10),
                flaps_per_second: self.below(8) + 1,
                ..LoopGuardConfig::default()
            },
            mirrors: (0..self.below(3)).map(|_| self.mirror()).collect(),
            seed: u64::from(self.byte()),
        }
    }

    /// A frame: a length of a byte or two, then its bytes, or addresses and tags before them.
    fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        if !self.is() {
            frame.extend(self.mac().0);
            frame.extend(self.mac().0);
            for _ in 0..self.below(4) {
                let tpid: u16 = if self.is() { 0x8100 } else { 0x88a8 };
                frame.extend(tpid.to_be_bytes());
                frame.extend((self.word() & 0xf003).to_be_bytes());
            }
            let known = [0x0806_u16, 0x0800, 0x86dd, 0x88b5];
            let ether_type = known.get(usize::from(self.below(5))).copied();
            frame.extend(ether_type.unwrap_or_else(|| self.word()).to_be_bytes());
        }
        let len = if self.is() { usize::from(self.word()) } else { usize::from(self.byte()) };
        let end = frame.len() + len;
        frame.extend(self.bytes(len));
        frame.resize(end, 0);
        frame
    }
}

struct World {
    switch: Switch,
    out: Outbox,
    now: Instant,
    received: u64,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut switch = Switch::new(input.switch_config()).expect("all within its range");
        for port in 0..PORTS {
            switch.add_port(PortId(u16::from(port)), input.port_config()).expect("a new port");
        }
        // So small that it is used up at times.
        let pool = PoolConfig { small_limit: 8, large_limit: 3, ..PoolConfig::default() };
        let out = Outbox::with_limit(Pool::new(pool), 8);
        Self { switch, out, now: Instant::ZERO, received: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let mut from = None;
        match input.below(16) {
            0 => self.now += Duration::from_millis(u64::from(input.word())),
            1 => drop(self.switch.set_link(input.port(), input.is())),
            2 => drop(self.switch.set_port(input.port(), input.port_config())),
            3 => drop(self.switch.remove_port(input.port())),
            4 => drop(self.switch.add_port(input.port(), input.port_config())),
            5 => drop(self.switch.fdb_add(input.vlan(), input.mac(), input.port())),
            6 => drop(self.switch.fdb_del(input.vlan(), input.mac())),
            7 => self.switch.set(input.switch_config()).expect("all within its range"),
            _ => from = self.give(input),
        }
        self.now += Duration::from_micros(u64::from(input.byte()));
        if self.switch.next_timeout().is_some_and(|due| due <= self.now) {
            self.switch.handle_timeout(self.now, &mut self.out);
            from = None;
        }
        self.take(from);
        self.check();
    }

    fn give(&mut self, input: &mut Input<'_>) -> Option<PortId> {
        let (from, bytes) = (input.port(), input.frame());
        let vnet = input.bytes(VnetLen::Tunnel.bytes());
        let mut packet = self.out.pool().take(bytes.len())?;
        packet.extend(&bytes).expect("taken with that room");
        packet.meta.vnet =
            VnetHeader::decode(vnet, VnetLen::Tunnel, Endian::Little).unwrap_or_default();
        self.received += 1;
        self.switch.handle(self.now, Endpoint::Port(from), packet, &mut self.out);
        Some(from)
    }

    /// Takes out what was sent: nothing that is no frame, nothing to a port that is closed, nothing
    /// back but by a mirror.
    fn take(&mut self, from: Option<PortId>) {
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            let Endpoint::Port(port) = to else { panic!("sent to {to}") };
            let state = self.switch.port_state(port);
            let mirrors = &self.switch.config().mirrors;
            if !mirrors.iter().any(|mirror| mirror.to == port) {
                // A blocked port that is tried again sends probes.
                let is_probe = batch.iter().all(|packet| packet.bytes().starts_with(PROBES));
                let is_tried = is_probe && matches!(state, Some(PortState::Blocked { .. }));
                assert!(is_tried || state == Some(PortState::Forwarding), "{port} is {state:?}");
                assert!(
                    batch.iter().all(|packet| packet.len() >= 14 && packet.meta.truncated == 0)
                );
                assert_ne!(Some(port), from, "sent back");
            }
            batch.give_all(self.out.pool());
        }
    }

    fn check(&mut self) {
        assert!(self.out.counts().balance(self.received, self.switch.held()));
        assert_eq!(self.out.pool().out(), (0, 0), "a buffer is lost");
        let (switch, limit) = (&self.switch, self.switch.config().fdb_limit);
        assert!(switch.fdb_len() <= limit && switch.fdb().count() <= limit);
        let learned = switch.ports().filter_map(|port| switch.learned(port)).sum::<usize>();
        assert!(learned <= switch.fdb_len());
        while self.switch.poll_event().is_some_and(|event| !event.to_string().is_empty()) {}
    }
}
