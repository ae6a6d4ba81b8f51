//! Loops of cables, and what is done about them.

use super::*;
use std::collections::BTreeMap;
use std::collections::VecDeque;

const HOP: Duration = Duration::from_micros(100);
const SECOND: Duration = Duration::from_secs(1);

/// One end of a cable: which switch, which port.
type End = (usize, u16);

/// Switches with cables between their ports, and hubs: what is sent there comes back.
struct Cables {
    nets: Vec<Net>,
    cables: BTreeMap<End, End>,
    under_way: VecDeque<(Instant, End, Sent)>,
    now: Instant,
    /// Frames that left for a host.
    delivered: u64,
    /// Frames that went through a cable.
    hops: u64,
    /// Frames with this text are lost in the cables: those of a group, for bridges that do not flood
    /// groups which they do not know.
    lost: Option<Vec<u8>>,
}

impl Cables {
    /// How many frames a cable holds; more are lost, as on a real one that is full.
    const CAPACITY: usize = 64;

    fn new(switches: usize, config: &SwitchConfig) -> Self {
        let nets: Vec<_> = (0..switches)
            .map(|at| {
                let seed = u64::try_from(at).unwrap() + config.seed;
                Net::with(SwitchConfig { seed, ..config.clone() }, 4)
            })
            .collect();
        let now = nets[0].now;
        let (cables, under_way) = (BTreeMap::new(), VecDeque::new());
        Self { nets, cables, under_way, now, delivered: 0, hops: 0, lost: None }
    }

    fn join(&mut self, a: End, b: End) {
        self.cables.insert(a, b);
        self.cables.insert(b, a);
    }

    fn part(&mut self, a: End) {
        if let Some(b) = self.cables.remove(&a) {
            self.cables.remove(&b);
        }
    }

    fn give(&mut self, (net, port): End, bytes: &[u8]) {
        self.nets[net].now = self.now;
        let sent = self.nets[net].give(port, bytes);
        self.put(net, sent);
    }

    fn put(&mut self, net: usize, sent: Vec<Sent>) {
        let lost = self.lost.clone();
        let is_lost = |sent: &Sent| {
            let lost = lost.as_deref();
            lost.is_some_and(|text| sent.bytes.windows(text.len()).any(|window| window == text))
        };
        for sent in sent.into_iter().filter(|sent| !is_lost(sent)) {
            match self.cables.get(&(net, sent.port)) {
                Some(&to) if self.under_way.len() < Self::CAPACITY => {
                    self.under_way.push_back((self.now + HOP, to, sent));
                }
                Some(_) => {}
                None => self.delivered += 1,
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let frame = self.under_way.front().map(|&(due, ..)| due);
            let timers = self.nets.iter().filter_map(|net| net.switch.next_timeout());
            let Some(due) = timers.chain(frame).min().filter(|&due| due <= end) else { break };
            self.now = self.now.max(due);
            while let Some((_, (net, port), sent)) =
                self.under_way.pop_front_if(|(due, ..)| *due <= self.now)
            {
                self.hops += 1;
                self.give((net, port), &sent.bytes);
            }
            for net in 0..self.nets.len() {
                if self.nets[net].switch.next_timeout().is_some_and(|due| due <= self.now) {
                    self.nets[net].now = self.now;
                    let sent = self.nets[net].run();
                    self.put(net, sent);
                }
            }
        }
        self.now = end;
    }

    /// Whether nothing goes around: what was under way ends within a few hops.
    fn is_quiet(&mut self) -> bool {
        let before = self.hops;
        self.pass(SECOND / 10);
        self.hops - before < 50
    }

    fn blocked(&self) -> Vec<End> {
        let mut blocked = Vec::new();
        for (at, net) in self.nets.iter().enumerate() {
            for port in net.switch.ports() {
                if let Some(PortState::Blocked { .. }) = net.switch.port_state(port) {
                    blocked.push((at, port.0));
                }
            }
        }
        blocked
    }
}

fn guarded() -> SwitchConfig {
    SwitchConfig { seed: 5, ..SwitchConfig::default() }
}

fn by_probe(port: u16, other: u16) -> SwitchEvent {
    let cause = LoopCause::Probe { other: PortId(other) };
    SwitchEvent::PortBlocked { port: PortId(port), cause }
}

#[test]
fn a_cable_between_two_ports_is_found_before_there_is_traffic() {
    let mut world = Cables::new(1, &guarded());
    world.join((0, 1), (0, 2));
    world.pass(SECOND);
    assert_eq!(world.blocked(), [(0, 2)]);
    assert_eq!(world.nets[0].events(), [by_probe(2, 1)], "one event");
    world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
    assert!(world.is_quiet());
}

#[test]
fn a_storm_is_ended_within_a_second() {
    let mut world = Cables::new(1, &guarded());
    world.pass(SECOND / 4);
    world.join((0, 1), (0, 2));
    world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
    world.pass(SECOND);
    assert_eq!(world.blocked().len(), 1);
    assert!(world.is_quiet());
    assert_eq!(world.nets[0].port_of(0, mac(1)), Some(0), "the host is where it was");
    let events = world.nets[0].events();
    let blocked = events.iter().filter(|event| matches!(event, SwitchEvent::PortBlocked { .. }));
    assert_eq!(blocked.count(), 1, "{events:?}");
    let state = world.nets[0].switch.port_state(PortId(world.blocked()[0].1));
    let Some(PortState::Blocked { until, .. }) = state else { panic!("{state:?}") };
    assert!(until > world.now);
}

#[test]
fn a_loop_that_drops_the_group_of_probes_is_found_by_flapping() {
    let mut world = Cables::new(1, &guarded());
    world.lost = Some(loop_guard::GROUP.0.to_vec());
    world.pass(SECOND);
    world.join((0, 1), (0, 2));
    world.give((0, 0), &tagged(0x8100, 20, &frame(mac(1), MacAddr::BROADCAST)));
    world.pass(SECOND);
    assert_eq!(world.blocked(), [(0, 2)]);
    assert!(world.is_quiet());
    assert_eq!(world.nets[0].port_of(20, mac(1)), Some(0));
    assert!(world.nets[0].events().contains(&by_probe(2, 1)));
}

#[test]
fn a_loop_that_drops_every_probe_is_no_storm_for_long() {
    let mut world = Cables::new(1, &guarded());
    world.lost = Some(b"adit-lp1".to_vec());
    world.pass(SECOND);
    world.join((0, 1), (0, 2));
    world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
    world.pass(SECOND);
    assert!(world.is_quiet());
    assert_eq!(world.blocked(), []);
    assert_eq!(world.nets[0].port_of(0, mac(1)), Some(0));
}

#[test]
fn a_loop_behind_one_port_blocks_it() {
    let mut world = Cables::new(1, &guarded());
    world.cables.insert((0, 3), (0, 3)); // a hub with a loop: everything comes back
    world.pass(SECOND);
    assert_eq!(world.blocked(), [(0, 3)]);
    assert_eq!(world.nets[0].events(), [by_probe(3, 3)]);
}

#[test]
fn two_switches_with_two_cables_keep_one() {
    for seed in 0..20 {
        let mut world = Cables::new(2, &SwitchConfig { seed, ..guarded() });
        world.pass(Duration::from_millis(seed * 37));
        world.join((0, 1), (1, 2));
        world.join((0, 2), (1, 1));
        world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
        world.give((1, 0), &frame(mac(2), MacAddr::BROADCAST));
        world.pass(SECOND * 2);
        assert!(world.is_quiet(), "seed {seed}");
        // The one that is left works.
        for round in 0..10 {
            let before = world.delivered;
            world.give((0, 0), &frame(mac(1), mac(2)));
            world.give((1, 0), &frame(mac(2), mac(1)));
            world.pass(SECOND / 100);
            assert!(
                world.delivered >= before + 2,
                "seed {seed} round {round} {:?}",
                world.blocked()
            );
        }
    }
}

#[test]
fn without_probes_two_switches_keep_one_cable_as_well() {
    for seed in 0..20 {
        let mut world = Cables::new(2, &SwitchConfig { seed: seed * 2, ..guarded() });
        world.lost = Some(loop_guard::GROUP.0.to_vec());
        world.join((0, 1), (1, 2));
        world.join((0, 2), (1, 1));
        world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
        world.pass(SECOND);
        assert!(world.is_quiet(), "seed {seed}");
        let before = world.delivered;
        world.give((0, 0), &frame(mac(1), MacAddr::BROADCAST));
        world.pass(SECOND / 100);
        assert_eq!(world.delivered, before + 3, "seed {seed}: port 3 here, ports 0 and 3 there");
    }
}

#[test]
fn a_switch_ends_its_own_loop_before_its_neighbour_cuts_it_off() {
    for seed in 0..20 {
        let mut world = Cables::new(2, &SwitchConfig { seed, ..guarded() });
        world.join((0, 3), (1, 3));
        world.pass(SECOND);
        world.join((1, 1), (1, 2));
        world.pass(SECOND);
        assert_eq!(world.blocked(), [(1, 2)], "seed {seed}");
        assert!(world.is_quiet());
    }
}

#[test]
fn a_blocked_port_is_tried_again_and_opened_when_the_loop_is_gone() {
    let mut world = Cables::new(1, &guarded());
    world.join((0, 1), (0, 2));
    world.pass(SECOND);
    world.nets[0].events();
    // Tried after 10 s and 20 s more, without one frame let through.
    world.pass(SECOND * 32);
    assert_eq!(world.blocked(), [(0, 2)]);
    assert_eq!(world.nets[0].events(), []);
    let frames = world.nets[0].switch.counters(PortId(2)).unwrap().egress_frames;
    assert!(frames < 20, "{frames} probes");
    world.part((0, 1));
    world.pass(SECOND * 45);
    assert_eq!(world.blocked(), []);
    assert_eq!(world.nets[0].events(), [SwitchEvent::PortUnblocked { port: PortId(2) }]);
    assert_eq!(world.nets[0].switch.port_state(PortId(2)), Some(PortState::Forwarding));
}

#[test]
fn a_link_that_goes_down_and_up_is_not_blocked_any_more() {
    let mut world = Cables::new(1, &guarded());
    world.join((0, 1), (0, 2));
    world.pass(SECOND);
    world.part((0, 1));
    world.nets[0].switch.set_link(PortId(2), false);
    assert_eq!(world.nets[0].switch.port_state(PortId(2)), Some(PortState::Down));
    world.nets[0].switch.set_link(PortId(2), true);
    world.pass(SECOND);
    assert_eq!(world.blocked(), []);
    world.join((0, 1), (0, 2));
    world.pass(SECOND);
    assert_eq!(world.blocked(), [(0, 2)]);
    world.nets[0].switch.set(quiet()).unwrap();
    assert_eq!(world.blocked(), [], "without the guard no port is blocked");
    assert_eq!(world.nets[0].switch.next_timeout(), None);
}

#[test]
fn nobody_outside_a_loop_can_have_another_port_blocked() {
    let mut net = Net::with(guarded(), 3);
    let probes = net.pass(SECOND);
    let of = |port| probes.iter().rfind(|sent| sent.port == port).unwrap().bytes.clone();
    // With the number of another port in a probe of its own, or a token that it cannot know.
    let mut forged = of(1);
    forged[38..40].copy_from_slice(&2_u16.to_be_bytes());
    let mut guessed = of(1);
    guessed[40] ^= 1;
    for _ in 0..5 {
        net.give(1, &forged);
        net.give(1, &guessed);
        net.pass(SECOND);
    }
    assert_eq!(blocked(&net), []);
}

fn blocked(net: &Net) -> Vec<PortId> {
    let is_blocked =
        |&port: &PortId| matches!(net.switch.port_state(port), Some(PortState::Blocked { .. }));
    net.switch.ports().filter(is_blocked).collect()
}

/// Both ports send a broadcast from one address 50 times a second, for four seconds.
fn flap(net: &mut Net, ports: [u16; 2]) {
    for _ in 0..200 {
        for port in ports {
            net.give(port, &frame(mac(2), MacAddr::BROADCAST));
        }
        assert_eq!(blocked(net), []);
        net.pass(SECOND / 50);
    }
}

#[test]
fn flapping_blocks_no_port_and_a_forged_source_is_refused() {
    let mut net = Net::with(guarded(), 3);
    net.give(2, &frame(mac(2), MacAddr::BROADCAST));
    net.pass(SECOND);
    flap(&mut net, [1, 2]);
    assert_eq!(net.port_of(0, mac(2)), Some(2));
    let forged = frame(mac(2), MacAddr::BROADCAST);
    assert_eq!(net.dropped(1, &forged), Some(DropReason::MAC_GUARD));
    assert_eq!(net.ports(2, &forged), [0, 1], "the host itself may send");
    assert_eq!(net.ports(1, &frame(mac(1), MacAddr::BROADCAST)), [0, 2], "so may its neighbours");
    let refused =
        SwitchEvent::MacRefused { vlan: None, mac: mac(2), owner: PortId(2), port: PortId(1) };
    assert!(net.events().contains(&refused));
    // The host may move there once the flapping has ended.
    net.pass(SECOND * 4);
    net.give(1, &forged);
    assert_eq!(net.port_of(0, mac(2)), Some(1));
}

#[test]
fn one_forged_frame_and_silence_do_not_take_an_address_from_its_port() {
    let mut net = Net::with(guarded(), 3);
    net.give(2, &frame(mac(2), MacAddr::BROADCAST));
    net.pass(SECOND * 31);
    net.give(1, &frame(mac(2), MacAddr::BROADCAST));
    net.pass(SECOND * 31);
    flap(&mut net, [1, 2]);
    assert_eq!(net.port_of(0, mac(2)), Some(2));
    assert_eq!(net.dropped(1, &frame(mac(2), MacAddr::BROADCAST)), Some(DropReason::MAC_GUARD));
}

#[test]
fn cloned_machines_block_no_port() {
    let mut net = Net::with(guarded(), 3);
    for _ in 0..40 {
        net.give(1, &frame(mac(2), MacAddr::BROADCAST));
        net.pass(SECOND);
    }
    flap(&mut net, [2, 1]);
    assert_eq!(net.ports(1, &frame(mac(11), MacAddr::BROADCAST)), [0, 2]);
    assert_eq!(net.ports(2, &frame(mac(12), MacAddr::BROADCAST)), [0, 1]);
    assert_eq!(net.port_of(0, mac(2)), Some(1), "the first of them works");
}

#[test]
fn old_probes_are_no_loop_and_others_probes_pass() {
    let mut net = Net::with(guarded(), 3);
    let old = net.pass(SECOND / 2)[0].clone();
    net.pass(SECOND * 4);
    assert_eq!(net.give(1, &old.bytes).len(), 2, "it is flooded as any frame");
    let mut theirs = Net::with(SwitchConfig { seed: 6, ..guarded() }, 1);
    let probe = theirs.pass(SECOND)[0].bytes.clone();
    let passed = net.give(1, &probe);
    assert_eq!(passed.iter().map(|sent| sent.port).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(passed[0].bytes[..30], probe[..30]);
    let lowest = |bytes: &[u8]| u64::from_be_bytes(bytes[30..38].try_into().unwrap());
    assert!(lowest(&passed[0].bytes) <= lowest(&probe));
}

#[test]
fn a_probe_has_the_tag_that_its_port_needs() {
    let mut net = Net::with(guarded(), 3);
    let trunk = |native| VlanMode::Trunk(Trunk::new(vlans(&[20, 30]), native));
    net.set_port(0, PortConfig { vlan: trunk(None), ..PortConfig::default() });
    net.set_port(1, PortConfig { vlan: trunk(Some(vlan(10))), ..PortConfig::default() });
    let none = VlanMode::Trunk(Trunk::default());
    net.set_port(2, PortConfig { vlan: none, ..PortConfig::default() });
    let probes = net.pass(SECOND / 2);
    let types: Vec<_> =
        probes.iter().map(|sent| (sent.port, sent.bytes[12..16].to_vec())).collect();
    assert_eq!(types[0], (0, vec![0x81, 0, 0, 20]));
    assert_eq!(types[1].1[..2], [0x88, 0xb5]);
    assert!(probes.iter().all(|sent| sent.port != 2));
}
