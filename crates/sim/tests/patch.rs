//! A patch of two switches in a simulated network: a loop of cables ends, and is counted.

use adit_engine::patch::{Jack, Patch};
use adit_engine::switch::{LoopGuardConfig, PortConfig, Switch, SwitchConfig};
use adit_engine::{DropReason, PortId};
use adit_sim::Sim;
use std::time::Duration;

/// A switch with port 0 for a host, and 1 and 2 for cables.
fn switch(seed: u64) -> Switch {
    let loop_guard = LoopGuardConfig { enabled: false, ..LoopGuardConfig::default() };
    let mut switch = Switch::new(SwitchConfig { seed, loop_guard, ..SwitchConfig::default() })
        .expect("a valid configuration");
    for port in 0..3 {
        switch.add_port(PortId(port), PortConfig::default()).expect("a new port");
    }
    switch
}

#[test]
fn switches_that_are_patched_twice_do_not_hang_and_the_loop_is_counted() {
    let mut patch = Patch::new((switch(1), switch(2)));
    let second = Jack::new(1, PortId(2));
    patch.bay_mut().join(Jack::new(0, PortId(1)), Jack::new(1, PortId(1)));
    patch.bay_mut().join(Jack::new(0, PortId(2)), second);
    patch.bay_mut().expose(PortId(1), Jack::new(1, PortId(0)));

    let mut sim = Sim::new(7);
    let patch = sim.engine("patch", patch);
    let (a, b) = (sim.host("a", "192.0.2.1/24"), sim.host("b", "192.0.2.2/24"));
    sim.wire(a, patch.port(0));
    sim.wire(b, patch.port(1));

    // The request for b's address goes round.
    sim.ping(a, [192, 0, 2, 2].into());
    sim.run_for(Duration::from_secs(1));
    let looped = sim.get(patch).bay().counters().looped;
    assert!(looped > 0);
    assert_eq!(sim.counts(patch).discarded_for(DropReason::PATCH_LOOP), looped);

    sim.call(patch, |patch, _, _| patch.bay_mut().part(second));
    let before = sim.get(patch).bay().counters().looped;
    // The switches learn the addresses again.
    sim.run_for(Duration::from_secs(400));
    let ping = sim.ping(a, [192, 0, 2, 2].into());
    sim.run_for(Duration::from_secs(1));
    assert!(sim.rtt(ping).is_some());
    assert_eq!(sim.get(patch).bay().counters().looped, before);
}
