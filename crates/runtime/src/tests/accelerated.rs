//! What the kernel forwards, the engine would have forwarded: random operations on a switch whose frames pass
//! by it where it allows that, and on one that handles each of them.

use crate::tests::support::{PATIENCE, enter};
use crate::{Event, Handler, Next, Runner};
use adit_device::netlink::{LinkChange, Netlink};
use adit_device::{Link, Netns, PacketSocket, PacketSocketOptions, VnetHeader};
use adit_engine::switch::{
    FdbFlush, FdbKind, GroupId, GuardConfig, Mirror, MirrorDirection, MirrorFilter, PortConfig,
    StormConfig, StormRate, Switch, SwitchConfig, Trunk, VlanId, VlanMode, VlanSet,
};
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_fastpath::Hook;
use adit_packet::{Batch, MacAddr, Pool, PoolConfig};
use std::collections::BTreeMap;

const PORTS: u16 = 4;

/// Numbers that a seed determines.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn port(&mut self) -> PortId {
        PortId(u16::try_from(self.below(usize::from(PORTS))).unwrap())
    }
}

struct Ignored;

impl Handler<Switch> for Ignored {
    fn event(&mut self, _: &mut Runner<Switch>, _: Event) -> Next {
        Next::Continue
    }
}

/// A switch at the ends of four veths, with a socket at each other end, and the same switch without any.
struct Twins {
    runner: Runner<Switch>,
    alone: Switch,
    out: Outbox,
    hosts: Vec<PacketSocket>,
    sent: u32,
}

fn config() -> SwitchConfig {
    let mut config = SwitchConfig { moves_per_second: u8::MAX, ..SwitchConfig::default() };
    config.loop_guard.enabled = false;
    config
}

impl Twins {
    fn new(hook: Hook) -> Self {
        enter();
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let mut netlink = Netlink::open().unwrap();
        let engine = || Switch::new(config()).unwrap();
        let pool = || Pool::new(PoolConfig::default());
        let mut runner = Runner::new(engine(), pool()).unwrap();
        runner.accelerate_by(hook);
        let (mut alone, mut hosts) = (engine(), Vec::new());
        let options = PacketSocketOptions {
            promiscuous: true,
            incoming_only: true,
            ..PacketSocketOptions::default()
        };
        for id in (0..PORTS).map(PortId) {
            let name = |letter| format!("{letter}{id}").parse().unwrap();
            let (port, host) = netlink.add_veth(&name("p"), &name("h")).unwrap();
            for index in [port, host] {
                netlink.set_link(index, &LinkChange::new().up(true)).unwrap();
            }
            hosts.push(PacketSocket::open(host, &options).unwrap());
            alone.add_port(id, PortConfig::default()).unwrap();
            runner.engine_mut().add_port(id, PortConfig::default()).unwrap();
            let link = Link::find(&name("p")).unwrap();
            let port =
                crate::port::kinds::interface::InterfacePort::new(link, Netns::current().unwrap());
            runner.attach(id, Box::new(port.unwrap())).unwrap();
        }
        let acceleration = runner.acceleration().unwrap();
        assert!(acceleration.failure.is_none(), "{acceleration:?}");
        assert_eq!(acceleration.ports.len(), usize::from(PORTS));
        Self { runner, alone, out: Outbox::new(pool()), hosts, sent: 0 }
    }

    /// Changes both; it holds for the next frame.
    fn change<T: PartialEq + std::fmt::Debug>(&mut self, change: impl Fn(&mut Switch) -> T) {
        let ours = change(self.runner.engine_mut());
        self.runner.flush();
        assert_eq!(ours, change(&mut self.alone));
    }

    /// Sends a frame to both, and compares what comes out.
    fn frame(&mut self, from: PortId, mut frame: Vec<u8>) {
        self.sent += 1;
        frame.extend(self.sent.to_be_bytes());
        frame.resize(64, 0);
        let mut packet = self.out.pool().take(frame.len()).unwrap();
        packet.extend(&frame).unwrap();
        self.alone.handle(self.runner.now(), Endpoint::Port(from), packet, &mut self.out);
        let mut expected: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
        let mut batch = Batch::new();
        while let Some(Endpoint::Port(to)) = self.out.next_group(&mut batch) {
            let frames = batch.as_slice().iter().map(|packet| packet.bytes().to_vec());
            expected.entry(to.0).or_default().extend(frames);
            batch.give_all(self.out.pool());
        }

        let host = &self.hosts[usize::from(from.0)];
        host.send_parts(&VnetHeader::default(), &frame, &[]).unwrap();
        let came = self.alone.counters(from).unwrap().ingress_frames;
        let count = expected.values().map(Vec::len).sum();
        let (mut got, start) = (BTreeMap::<u16, Vec<Vec<u8>>>::new(), crate::now());
        while self.runner.engine().counters(from).unwrap().ingress_frames < came
            || got.values().map(Vec::len).sum::<usize>() < count
        {
            assert!(crate::now() - start < PATIENCE, "{got:x?} of {expected:x?}");
            self.runner.turn(&mut Ignored).unwrap();
            self.runner.sync();
            self.collect(&mut got);
        }
        self.collect(&mut got);
        assert_eq!(got, expected);
    }

    fn collect(&self, got: &mut BTreeMap<u16, Vec<Vec<u8>>>) {
        let mut buf = [0; 2048];
        for (at, host) in (0..PORTS).zip(&self.hosts) {
            while let Ok(received) = host.recv(&mut buf) {
                got.entry(at).or_default().push(buf[..received.len].to_vec());
            }
        }
    }

    /// Compares all that the two know.
    fn compare(&mut self) {
        self.runner.sync();
        for id in (0..PORTS).map(PortId) {
            assert_eq!(self.runner.engine().counters(id), self.alone.counters(id), "port {id}");
            assert_eq!(self.runner.engine().learned(id), self.alone.learned(id), "port {id}");
        }
        let table = |switch: &Switch| -> BTreeMap<_, (PortId, FdbKind)> {
            let entries = switch.fdb();
            entries.map(|e| ((e.vlan.map(VlanId::number), e.mac.0), (e.port, e.kind))).collect()
        };
        assert_eq!(table(self.runner.engine()), table(&self.alone));
    }
}

fn mac(number: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, u8::try_from(number).unwrap()])
}

fn vlan(number: u16) -> VlanId {
    VlanId::new(number).unwrap()
}

fn any_port_config(random: &mut Random) -> PortConfig {
    let trunk = |native| {
        let both: VlanSet = [vlan(10), vlan(20)].into_iter().collect();
        VlanMode::Trunk(Trunk::new(both, native))
    };
    let vlan = match random.below(12) {
        0..=5 => VlanMode::Transparent,
        6 | 7 => VlanMode::Access(vlan(10)),
        8 => VlanMode::Access(vlan(20)),
        9 => trunk(None),
        10 => trunk(Some(vlan(10))),
        _ => VlanMode::Tunnel(vlan(10)),
    };
    let mut config = PortConfig { vlan, ..PortConfig::default() };
    config.isolated = random.one_in(2);
    config.group = random.one_in(3).then_some(GroupId(1));
    config.sticky = random.one_in(10);
    if random.one_in(6) {
        config.guard.macs = (0..3).map(|_| mac(1 + random.below(6))).collect();
    }
    if random.one_in(10) {
        config.guard = GuardConfig { no_dhcp_server: true, ..config.guard };
    }
    if random.one_in(8) {
        let none = Some(StormRate { frames_per_second: 0, burst: 1 });
        config.storm = StormConfig { unknown_unicast: none, ..StormConfig::default() };
    }
    config
}

fn any_change(random: &mut Random, twins: &mut Twins) {
    let (id, key) = (random.port(), (random.pick(&[None, Some(10), Some(20)]), random.below(7)));
    let key = (key.0.map(vlan), mac(key.1));
    match random.below(15) {
        0..=3 => {
            for id in (0..PORTS).map(PortId).filter(|_| random.one_in(2)).collect::<Vec<_>>() {
                let config = any_port_config(random);
                twins.change(|switch| switch.set_port(id, config.clone()));
            }
        }
        4 | 5 => {
            let up = !random.one_in(8);
            twins.change(|switch| switch.set_link(id, up));
        }
        6 => twins.change(|switch| switch.fdb_add(key.0, key.1, id)),
        7 => twins.change(|switch| switch.fdb_del(key.0, key.1)),
        8 => {
            let flush = FdbFlush { port: Some(id), vlan: None, with_static: random.one_in(2) };
            twins.change(|switch| switch.fdb_flush(flush));
        }
        // All as in the beginning.
        9..=12 => {
            twins.change(|switch| switch.set(config()));
            twins.change(|switch| {
                switch.fdb_flush(FdbFlush { with_static: true, ..FdbFlush::default() })
            });
            for id in (0..PORTS).map(PortId) {
                twins.change(|switch| switch.set_port(id, PortConfig::default()));
                twins.change(|switch| switch.set_link(id, true));
            }
        }
        _ => {
            let mirror = Mirror {
                to: id,
                ports: vec![random.port()],
                direction: random.pick(&[MirrorDirection::Both, MirrorDirection::Egress]),
                filter: MirrorFilter::All,
                truncate: None,
            };
            let mirrors: Vec<_> = random.one_in(4).then_some(mirror).into_iter().collect();
            twins
                .change(|switch| switch.set(SwitchConfig { mirrors: mirrors.clone(), ..config() }));
        }
    }
}

fn any_frame(random: &mut Random, twins: &mut Twins) {
    // Most frames come from where their sender is.
    let source = 1 + random.below(6);
    let home = PortId(u16::try_from(source).unwrap() % PORTS);
    let from = if random.one_in(12) { random.port() } else { home };
    let destination = if random.one_in(12) { [0xff; 6] } else { mac(1 + random.below(7)).0 };
    let tag: &[u8] = match random.below(12) {
        0..=6 => &[],
        7 | 8 => &[0x81, 0, 0, 10],
        9 => &[0x81, 0, 0xe0, 20],
        10 => random.pick(&[&[0x81, 0, 0x20, 0], &[0x88, 0xa8, 0, 10], &[0x91, 0, 0, 10]]),
        _ => random.pick(&[&[0x81, 0, 0, 10, 0x81, 0, 0, 20], &[0x81, 0, 0x0f, 0xff]]),
    };
    let ether_type: &[u8] = &[0x88, 0xb6];
    twins.frame(from, [&destination[..], &mac(source).0, tag, ether_type].concat());
}

/// Runs `work` as the only one in a namespace of its own.
fn alone(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work).join().unwrap();
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_random_frames_and_changes_give_what_the_engine_alone_gives() {
    // The last one as on a kernel before 6.6.
    let seeds = [(1, Hook::Any), (2, Hook::Any), (3, Hook::Any), (4, Hook::Any), (5, Hook::Filter)];
    for (seed, hook) in seeds {
        alone(move || {
            let (mut random, mut twins) = (Random(seed << 32 | 0x9e37_79b9), Twins::new(hook));
            for step in 0..3000 {
                if random.one_in(60) {
                    any_change(&mut random, &mut twins);
                } else {
                    any_frame(&mut random, &mut twins);
                }
                if step % 50 == 0 {
                    twins.compare();
                }
            }
            twins.compare();
            let passed = twins.runner.acceleration().unwrap().frames;
            assert!(passed > 150, "seed {seed}: {passed} of {} frames passed by", twins.sent);
        });
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_an_mtu_that_is_changed_holds_in_the_kernel_too() {
    alone(|| {
        let mut twins = Twins::new(Hook::Any);
        let (from, to) = (PortId(0), PortId(1));
        let (a, b) = (mac(4), mac(1));
        // Both are learned, and declared.
        for _ in 0..3 {
            twins.frame(from, [&b.0[..], &a.0, &[0x88, 0xb6]].concat());
            twins.frame(to, [&a.0[..], &b.0, &[0x88, 0xb6]].concat());
        }
        let link = Link::find(&"p1".parse().unwrap()).unwrap();
        for (mtu, passes) in [(1000, false), (1500, true)] {
            link.set_mtu(mtu).unwrap();
            let start = crate::now();
            while twins.runner.mtu(to) != Some(mtu) {
                assert!(crate::now() - start < PATIENCE);
                twins.runner.turn(&mut Ignored).unwrap();
            }
            // Once more declared.
            for _ in 0..2 {
                twins.frame(from, [&b.0[..], &a.0, &[0x88, 0xb6]].concat());
                twins.frame(to, [&a.0[..], &b.0, &[0x88, 0xb6]].concat());
            }
            let counts = |twins: &mut Twins| {
                twins.runner.sync();
                let frames = twins.runner.acceleration().unwrap().frames;
                (frames, twins.runner.port(to).unwrap().1.too_big)
            };
            let before = counts(&mut twins);
            let mut frame = [&b.0[..], &a.0, &[0x88, 0xb6]].concat();
            frame.resize(1200, 0);
            twins.hosts[0].send_parts(&VnetHeader::default(), &frame, &[]).unwrap();
            let start = crate::now();
            let wanted = if passes { (before.0 + 1, before.1) } else { (before.0, before.1 + 1) };
            while counts(&mut twins) != wanted {
                assert!(crate::now() - start < PATIENCE, "{:?}, {wanted:?}", counts(&mut twins));
                twins.runner.turn(&mut Ignored).unwrap();
            }
            let mut got = BTreeMap::new();
            twins.collect(&mut got);
            assert_eq!(got.get(&to.0).map_or(0, Vec::len), usize::from(passes), "mtu {mtu}");
        }
    });
}
