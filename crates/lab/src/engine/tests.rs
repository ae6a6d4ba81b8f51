use super::*;
use adit_engine::netem::{Delay, Loss, Profile};
use adit_packet::{Batch, Pool, PoolConfig};
use adit_sim::{EngineId, HostId, Sim};
use core::time::Duration;

/// A lab in the simulator: hosts behind ports 0, 1, ...
struct World {
    sim: Sim,
    lab: EngineId<LabEngine>,
    hosts: Vec<HostId>,
}

fn port() -> Box<PortConfig> {
    Box::default()
}

/// `build` joins `hosts` ports that are numbered from 0.
fn world(hosts: u16, build: impl FnOnce(&mut LabEngine, &[PortId])) -> World {
    let mut engine = LabEngine::new();
    let ports: Vec<PortId> = (0..hosts).map(|_| engine.number().unwrap()).collect();
    build(&mut engine, &ports);
    let mut sim = Sim::new(5);
    let lab = sim.engine("lab", engine);
    let hosts = (0..hosts).map(|n| {
        let host = sim.host(&format!("h{n}"), format!("192.0.2.{}/24", n + 1).as_str());
        sim.wire(host, lab.port(n));
        host
    });
    let hosts = hosts.collect();
    World { sim, lab, hosts }
}

impl World {
    /// The time in milliseconds of a ping after one that resolved the address.
    fn ping(&mut self, from: usize, to: u8) -> Option<u128> {
        let address = [192, 0, 2, to + 1].into();
        let first = self.sim.ping(self.hosts[from], address);
        self.sim.run_for(Duration::from_secs(5));
        self.sim.rtt(first)?;
        let second = self.sim.ping(self.hosts[from], address);
        self.sim.run_for(Duration::from_secs(1));
        Some(self.sim.rtt(second)?.as_millis())
    }

    fn call(&mut self, work: impl FnOnce(&mut LabEngine, Instant, &mut Outbox)) {
        self.sim.call(self.lab, work);
    }
}

fn switches<const N: usize>(engine: &mut LabEngine) -> [SwitchId; N] {
    [(); N].map(|()| engine.add_switch(SwitchConfig::default()).unwrap())
}

fn slow(ms: u64) -> Profiles {
    let delay = Delay::constant(Duration::from_millis(ms));
    let profile = Profile { delay, ..Profile::default() };
    Profiles { a_to_b: profile.clone(), b_to_a: profile }
}

#[test]
fn a_wire_joins_two_ports_until_it_fails() {
    let mut wire = None;
    let mut world = world(3, |lab, ports| {
        wire = Some(lab.join([Joint::Port(ports[0]), Joint::Port(ports[2])]).unwrap());
    });
    let wire = wire.unwrap();
    assert_eq!(world.ping(0, 2), Some(0));
    assert_eq!(world.ping(1, 2), None, "port 1 has no cable");
    world.call(|lab, _, _| lab.set_failed(wire, true));
    assert_eq!(world.ping(0, 2), None);
    assert!(world.sim.counts(world.lab).discarded_for(LINK_FAILED) > 0);
    world.call(|lab, _, _| lab.set_failed(wire, false));
    assert_eq!(world.ping(2, 0), Some(0));
    world.call(|lab, now, out| lab.part(wire, now, out));
    assert_eq!(world.ping(0, 2), None);
}

#[test]
fn switches_are_reached_directly_and_by_patch_cables() {
    let (mut cable, mut leaf) = (None, None);
    let mut world = world(3, |lab, ports| {
        let [one, two] = switches(lab);
        for (port, switch) in [(ports[0], one), (ports[1], one), (ports[2], two)] {
            let id = lab.join([Joint::Port(port), Joint::Switch(switch, self::port())]).unwrap();
            leaf = Some(id);
        }
        cable = Some((one, two));
    });
    let (one, two) = cable.unwrap();
    assert_eq!(world.ping(0, 1), Some(0));
    assert_eq!(world.ping(0, 2), None, "another switch");
    let mut patch = None;
    world.call(|lab, _, _| {
        let ends = [one, two].map(|switch| Joint::Switch(switch, port()));
        patch = Some(lab.join(ends).unwrap());
    });
    let patch = patch.unwrap();
    assert_eq!(world.ping(0, 2), Some(0));

    // The cable becomes a slow one, without a packet lost, and plain again.
    world.call(|lab, now, out| lab.set_netem(patch, Some(&slow(30)), 7, now, out).unwrap());
    assert_eq!(world.ping(0, 2), Some(60));
    assert_eq!(world.ping(0, 1), Some(0));
    world.call(|lab, now, out| lab.set_netem(patch, Some(&slow(5)), 7, now, out).unwrap());
    assert_eq!(world.ping(2, 1), Some(10));
    let lab = world.sim.get(world.lab);
    let netem = lab.netem(patch).unwrap();
    assert!(netem.report(Direction::AToB).counts.received > 0);
    world.call(|lab, now, out| lab.set_netem(patch, None, 7, now, out).unwrap());
    assert_eq!(world.ping(2, 0), Some(0));

    world.call(|lab, _, _| lab.set_failed(patch, true));
    assert_eq!(world.ping(0, 2), None);
    world.call(|lab, _, _| lab.set_failed(patch, false));
    assert_eq!(world.ping(0, 2), Some(0));
    let leaf = leaf.unwrap();
    world.call(|lab, _, _| lab.set_failed(leaf, true));
    assert_eq!(world.ping(0, 2), None);
    world.call(|lab, _, _| lab.set_failed(leaf, false));
    assert_eq!(world.ping(0, 2), Some(0));

    // Without the cable the first switch is reached directly again.
    world.call(|lab, now, out| lab.part(patch, now, out));
    assert_eq!(world.ping(0, 2), None);
    assert_eq!(world.ping(1, 0), Some(0));
    let lab = world.sim.get(world.lab);
    assert_eq!(lab.switch(one).unwrap().ports().count(), 2);
}

#[test]
fn a_loop_of_switches_is_cut_by_the_loop_guard() {
    // Probes leave at timeouts: also those of a switch without patch cables must reach its ports.
    let mut world = world(2, |lab, ports| {
        let [one, two, three] = switches(lab);
        for (a, b) in [(one, two), (two, three), (three, one)] {
            lab.join([a, b].map(|switch| Joint::Switch(switch, port()))).unwrap();
        }
        lab.join([Joint::Port(ports[0]), Joint::Switch(one, port())]).unwrap();
        lab.join([Joint::Port(ports[1]), Joint::Switch(three, port())]).unwrap();
    });
    world.sim.run_for(Duration::from_secs(3));
    assert_eq!(world.ping(0, 1), Some(0));
}

#[test]
fn every_cable_can_be_captured() {
    // Ports 3, 4 and 5 get copies of a wire, of a cable to a switch, and of an emulated one between switches.
    let (mut cables, mut two) = (Vec::new(), None);
    let mut world = world(8, |lab, ports| {
        let [one, other] = switches(lab);
        two = Some(other);
        cables.push(lab.join([Joint::Port(ports[6]), Joint::Port(ports[7])]).unwrap());
        for (number, switch) in [(0, one), (1, one), (2, other)] {
            let ends = [Joint::Port(ports[number]), Joint::Switch(switch, port())];
            cables.push(lab.join(ends).unwrap());
        }
        cables.push(lab.join([one, other].map(|switch| Joint::Switch(switch, port()))).unwrap());
    });
    let patch = cables[4];
    world.call(|lab, now, out| lab.set_netem(patch, Some(&slow(30)), 7, now, out).unwrap());
    let taken = [(cables[0], 3), (cables[1], 4), (patch, 5)];
    for (cable, to) in taken {
        world.call(|lab, _, _| assert!(lab.add_tee(cable, PortId(to))));
    }
    let copies = |world: &World| [3, 4, 5].map(|at| world.sim.port_counts(world.lab.port(at)).sent);
    assert_eq!(
        (world.ping(6, 7), world.ping(0, 1), world.ping(0, 2)),
        (Some(0), Some(0), Some(60))
    );
    let before = copies(&world);
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    // What it does not see: the cable of host 1. What it loses: nothing.
    assert_eq!(world.ping(1, 2), Some(60));
    let after = copies(&world);
    assert_eq!(after[0], before[0]);
    assert!(after[2] >= before[2] + 4, "{before:?} {after:?}");
    let full = (0..LabEngine::TEES_MAX).map(|_| PortId(5)).collect::<Vec<_>>();
    world.call(|lab, _, _| {
        let added = full.iter().filter(|to| lab.add_tee(cables[3], **to)).count();
        assert_eq!(added, LabEngine::TEES_MAX);
        assert!(!lab.add_tee(cables[3], PortId(5)));
        full.iter().for_each(|to| lab.drop_tee(cables[3], *to));
    });
    for (cable, to) in taken {
        world.call(|lab, _, _| lab.drop_tee(cable, PortId(to)));
    }
    let before = copies(&world);
    assert_eq!(
        (world.ping(6, 7), world.ping(0, 1), world.ping(0, 2)),
        (Some(0), Some(0), Some(60))
    );
    assert_eq!(copies(&world), before);
    // A cable goes with what copies it.
    for cable in cables {
        world.call(|lab, now, out| {
            assert!(lab.add_tee(cable, PortId(4)));
            lab.part(cable, now, out);
        });
    }
    assert_eq!((world.ping(6, 7), world.ping(0, 1)), (None, None));
}

#[test]
fn a_switch_alone_probes_its_ports() {
    let mut engine = LabEngine::new();
    let port = engine.number().unwrap();
    let [switch] = switches(&mut engine);
    engine.join([Joint::Port(port), Joint::Switch(switch, Box::default())]).unwrap();
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    let at = Instant::from_nanos(1_000_000_000);
    engine.handle_timeout(at, &mut out);
    let mut batch = Batch::new();
    assert_eq!(out.next_group(&mut batch), Some(Endpoint::Port(port)));
    assert!(engine.next_timeout() > Some(at));
    batch.give_all(out.pool());
}

#[test]
fn what_is_in_a_patch_cable_is_discarded_with_it() {
    let mut engine = LabEngine::new();
    let ports = [engine.number().unwrap(), engine.number().unwrap()];
    let [one, two] = switches(&mut engine);
    for (port, switch) in [(ports[0], one), (ports[1], two)] {
        engine.join([Joint::Port(port), Joint::Switch(switch, Box::default())]).unwrap();
    }
    let ends = [one, two].map(|switch| Joint::Switch(switch, Box::default()));
    let cable = engine.join(ends).unwrap();
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    let now = Instant::from_nanos(1);
    engine.set_netem(cable, Some(&slow(50)), 1, now, &mut out).unwrap();
    let mut wrong = slow(1);
    wrong.a_to_b.loss = Loss::Random { share: 2.0 };
    assert!(engine.set_netem(cable, Some(&wrong), 1, now, &mut out).is_err());
    let mut frame = out.pool().take(60).unwrap();
    frame.extend(&[0xff; 6]).unwrap();
    frame.extend(&[2; 54]).unwrap();
    engine.handle(now, Endpoint::Port(ports[0]), frame, &mut out);
    assert_eq!(engine.held(), 1);
    assert_eq!(engine.next_timeout(), Some(Instant::ZERO), "all members are looked at once");
    engine.part(cable, now, &mut out);
    assert_eq!(engine.held(), 0);
    assert!(out.counts().balance(1, 0));
    assert_eq!(out.pool().out(), (0, 0));
    // Its numbers are free again.
    let free = engine.number().unwrap();
    assert_eq!(free, PortId(2));
}
