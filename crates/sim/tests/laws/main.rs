//! Laws that hold in any network: random topologies, traffic and faults, each from one seed.
//!
//! The simulator checks after every step that no packet and no buffer is lost; what is here makes the
//! networks in which that is to hold, and checks what must hold at their end.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod configs;
mod engines;
mod scenario;

use std::collections::BTreeSet;

use adit_engine::DropReason;
use adit_sim::for_each_seed;
use scenario::Scenario;

/// `ADIT_SEEDS` sets another number, `ADIT_SEED` runs one seed alone.
const SEEDS: u64 = 10_000;

#[test]
fn no_packet_and_no_buffer_is_lost_in_a_random_network() {
    for_each_seed(SEEDS, |seed| {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        scenario.check_end();
    });
}

#[test]
fn a_random_network_is_the_same_each_time() {
    for_each_seed(SEEDS / 100, |seed| {
        let [first, second] = [(); 2].map(|()| {
            let mut scenario = Scenario::new(seed);
            scenario.run();
            scenario.sim.trace_hash()
        });
        assert_eq!(first, second);
    });
}

/// The networks are as bad as they are meant to be: whatever can happen to a packet happens in a few of
/// them.
#[test]
fn random_networks_lose_packets_in_every_way() {
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let mut scenario = Scenario::new(seed);
        scenario.run();
        seen.extend(scenario.sim.losses().into_keys());
    }
    let expected = [
        DropReason::MALFORMED,
        DropReason::NO_BUFFER,
        DropReason::QUEUE_FULL,
        DropReason::NO_DESTINATION,
        DropReason::TOO_BIG,
        DropReason::FILTERED,
        DropReason::PORT_DOWN,
        DropReason::PORT_BLOCKED,
        DropReason::SAME_PORT,
        DropReason::ISOLATED,
        DropReason::VLAN_FILTERED,
        DropReason::IP_GUARD,
        DropReason::ARP_GUARD,
        DropReason::STORM,
        DropReason::LOSS,
        DropReason::OUTAGE,
        DropReason::QUEUE_MANAGED,
    ];
    let missing: Vec<_> = expected.into_iter().filter(|why| !seen.contains(why)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {seen:?}");
}
