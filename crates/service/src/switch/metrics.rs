//! What a switch counts, for `/metrics`.

use crate::metrics::families::{
    MIRROR_FRAMES, MIRROR_MISSED, SWITCH_ADDRESSES, SWITCH_ADDRESSES_MAX, SWITCH_KERNEL_FRAMES,
};
use crate::metrics::ports::{
    Drops, LinkSample, PortSample, note_engine, note_one, write_drops, write_links, write_ports,
};
use crate::metrics::{Page, Snapshot};
use crate::switch::state::{Running, RunningMirror, SwitchService};
use adit_engine::switch::{PortCounters, PortState, Switch};
use adit_runtime::Runner;
use std::fmt;

/// The counts of a switch.
#[derive(Debug)]
struct Sample {
    addresses: usize,
    addresses_max: usize,
    /// Frames that the kernel forwarded, unless that is off.
    kernel: Option<u64>,
    ports: Vec<PortSample>,
    /// Drops at no port.
    drops: Drops,
    /// Where copies go, how many went and how many were lost.
    mirrors: Vec<(String, u64, u64)>,
}

impl SwitchService {
    /// Copies the counters. Those of the kernel must have been read.
    pub(super) fn sample(&self, runner: &Runner<Switch>) -> Box<dyn Snapshot> {
        let engine = runner.engine();
        let mut drops = Drops::new();
        note_one(&mut drops, "unknown sender".into(), runner.refused_by_hubs());
        note_one(&mut drops, "port removed".into(), runner.misrouted());
        let copies = |mirror: &RunningMirror| {
            let (frames, missed) = self.copies(runner, mirror);
            (mirror.wanted.to.to_string(), frames, missed)
        };
        Box::new(Sample {
            addresses: engine.fdb_len(),
            addresses_max: engine.config().fdb_limit,
            kernel: runner.acceleration().map(|state| state.frames),
            ports: self.ports.iter().flat_map(|port| sample_ports(runner, port)).collect(),
            drops,
            mirrors: self.mirrors.iter().map(copies).collect(),
        })
    }
}

/// A port; of one with several ends, each.
fn sample_ports(runner: &Runner<Switch>, running: &Running) -> Vec<PortSample> {
    if running.gone.is_some() {
        let mut port = PortSample { name: running.wanted.name.clone(), ..PortSample::default() };
        if let Some((of_engine, of_loop)) = &running.last {
            port.note_loop(of_loop);
            note_switch(&mut port, of_engine);
        }
        return vec![port];
    }
    let engine = runner.engine();
    let end = |(id, name): &(_, String)| {
        let is_up = matches!(engine.port_state(*id), Some(PortState::Forwarding));
        let mut port = PortSample::new(name.clone(), is_up, runner.port(*id), runner.netem(*id));
        engine.counters(*id).iter().for_each(|counters| note_switch(&mut port, counters));
        port
    };
    running.ends.iter().map(end).collect()
}

/// Takes what the switch counts of a port: its frames are those that `show` has.
fn note_switch(port: &mut PortSample, counters: &PortCounters) {
    let [ingress, egress] = &mut port.ways;
    (ingress.frames, ingress.bytes) = (counters.ingress_frames, counters.ingress_bytes);
    (egress.frames, egress.bytes) = (counters.egress_frames, counters.egress_bytes);
    note_engine(&mut ingress.drops, counters.ingress_drops());
    note_engine(&mut egress.drops, counters.egress_drops());
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.one(&SWITCH_ADDRESSES, self.addresses)?;
        page.one(&SWITCH_ADDRESSES_MAX, self.addresses_max)?;
        self.kernel.map_or(Ok(()), |frames| page.one(&SWITCH_KERNEL_FRAMES, frames))?;
        let links = LinkSample::of_ports(&self.ports);
        write_ports(page, &self.ports)?;
        write_links(page, &links)?;
        write_drops(page, &self.ports, &links, &self.drops)?;
        page.family(&MIRROR_FRAMES, |samples| {
            let mut mirrors = self.mirrors.iter();
            mirrors.try_for_each(|(to, frames, _)| samples.add(&[("to", to)], *frames))
        })?;
        page.family(&MIRROR_MISSED, |samples| {
            let mut mirrors = self.mirrors.iter();
            mirrors.try_for_each(|(to, _, missed)| samples.add(&[("to", to)], *missed))
        })
    }
}
