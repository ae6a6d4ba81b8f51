use super::*;
use crate::Hub;
use crate::switch::{PortConfig, Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use core::ops::Range;
use std::vec::Vec;

fn hub(ports: Range<u16>) -> Hub {
    Hub { ports: ports.map(PortId).collect() }
}

fn outbox() -> Outbox {
    Outbox::new(Pool::new(PoolConfig::default()))
}

fn broadcast(out: &mut Outbox) -> PacketBuf {
    let mut frame = out.pool().take(60).unwrap();
    frame.extend(&[0xff; 6]).unwrap();
    frame.extend(&[2; 54]).unwrap();
    frame
}

fn sent(out: &mut Outbox) -> Vec<Endpoint> {
    let (mut batch, mut sent) = (Batch::new(), Vec::new());
    while let Some(to) = out.next_group(&mut batch) {
        sent.extend(batch.iter().map(|_| to));
        batch.give_all(out.pool());
    }
    sent
}

fn switch(ports: &[u16]) -> Switch {
    let mut switch = Switch::new(SwitchConfig::default()).unwrap();
    for &port in ports {
        switch.add_port(PortId(port), PortConfig::default()).unwrap();
    }
    switch
}

#[test]
fn a_packet_crosses_a_chain_of_engines_in_one_call() {
    let mut members: Vec<Box<dyn Engine>> = Vec::new();
    for _ in 0..5 {
        members.push(Box::new(switch(&[0, 1, 2])));
    }
    let mut patch = Patch::new(members);
    for member in 0..4 {
        patch.bay_mut().join(Jack::new(member, PortId(1)), Jack::new(member + 1, PortId(2)));
    }
    for member in 1..5_u16 {
        let jack = Jack::new(usize::from(member), PortId(0));
        patch.bay_mut().expose(PortId(100 + member), jack);
    }
    let mut out = outbox();
    let packet = broadcast(&mut out);
    patch.handle(Instant::ZERO, Endpoint::Port(PortId(0)), packet, &mut out);
    assert!(out.counts().balance(1, patch.held()));
    let mut all = sent(&mut out);
    all.sort();
    // Port 2 of the main member is a port of the patch as it is.
    let expected: Vec<_> = [2, 101, 102, 103, 104].map(|n| Endpoint::Port(PortId(n))).into();
    // The last switch has a port without a cable, whose frames go nowhere.
    assert_eq!(all, expected);
    assert_eq!(out.counts().discarded_for(DropReason::NO_DESTINATION), 1);
    assert_eq!(patch.bay().counters(), PatchCounters { crossed: 4, looped: 0 });
    assert_eq!(out.pool().out(), (0, 0));
}

#[test]
fn a_loop_ends_and_is_counted() {
    // Two hubs with three cables between them: each broadcast doubles at each crossing.
    let mut patch = Patch::new((hub(0..4), hub(1..4)));
    for port in 1..4 {
        patch.bay_mut().join(Jack::new(0, PortId(port)), Jack::new(1, PortId(port)));
    }
    let mut out = Outbox::with_limit(Pool::new(PoolConfig::default()), 100_000);
    let packet = broadcast(&mut out);
    patch.handle(Instant::ZERO, Endpoint::Port(PortId(0)), packet, &mut out);
    let counters = patch.bay().counters();
    assert!(counters.crossed <= PatchBay::CROSSINGS_MAX as u64 && counters.looped > 0);
    assert_eq!(out.counts().discarded_for(DropReason::PATCH_LOOP), counters.looped);
    assert!(out.counts().balance(1, 0));
    sent(&mut out);
    assert_eq!(out.pool().out(), (0, 0));

    // Two cables: a packet goes round in each direction until it has crossed sixteen times.
    let mut patch = Patch::new((hub(1..3), hub(1..3)));
    for port in 1..3 {
        patch.bay_mut().join(Jack::new(0, PortId(port)), Jack::new(1, PortId(port)));
    }
    let packet = broadcast(&mut out);
    patch.handle(Instant::ZERO, Endpoint::Port(PortId(0)), packet, &mut out);
    let hops = u64::from(PatchBay::HOPS_MAX);
    assert_eq!(patch.bay().counters(), PatchCounters { crossed: 2 * hops, looped: 2 });
}

#[test]
fn a_port_has_one_cable() {
    let mut bay = PatchBay::new();
    let jacks = [0, 1, 2].map(|member| Jack::new(member, PortId(7)));
    bay.join(jacks[0], jacks[1]);
    bay.join(jacks[1], jacks[2]);
    assert_eq!(bay.route(jacks[0]), Route::None);
    assert_eq!(bay.route(jacks[2]), Route::Joined(jacks[1]));
    bay.expose(PortId(3), jacks[1]);
    assert_eq!(bay.route(jacks[2]), Route::None);
    assert_eq!(bay.exposed_at(PortId(3)), Some(jacks[1]));
    bay.expose(PortId(3), jacks[2]);
    assert_eq!(bay.route(jacks[1]), Route::None);
    bay.part(jacks[2]);
    assert_eq!(bay.exposed_at(PortId(3)), None);
}

#[test]
fn inner_ports_cannot_be_reached_from_outside() {
    let mut patch = Patch::new((hub(0..2), hub(1..2)));
    patch.bay_mut().join(Jack::new(0, PortId(1)), Jack::new(1, PortId(1)));
    let mut out = outbox();
    let packet = broadcast(&mut out);
    patch.handle(Instant::ZERO, Endpoint::Port(PortId(1)), packet, &mut out);
    assert_eq!(out.counts().discarded_for(DropReason::NO_DESTINATION), 1);
    assert_eq!(sent(&mut out), []);
}
