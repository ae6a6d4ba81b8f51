//! What a NAT counts, for `/metrics`.

use crate::metrics::families::{
    NAT_FLOWS, NAT_LOG_LOST, NAT_PUBLISHED, NAT_SPLICED, NAT_SPLICED_BYTES,
};
use crate::metrics::ports::{
    Drops, LinkSample, PortSample, note_engine, write_drops, write_links, write_ports,
};
use crate::metrics::{Page, Snapshot};
use crate::nat::NatService;
use crate::nat::flow_log::FlowLog;
use crate::nat::publish::INSIDE;
use adit_nat::Gateway;
use adit_runtime::{Runner, SpliceCounts};
use std::fmt;

/// The counts of a NAT.
#[derive(Debug)]
struct Sample {
    flows: usize,
    published: usize,
    spliced: SpliceCounts,
    log_lost: Option<u64>,
    port: PortSample,
    /// Drops of the NAT itself.
    drops: Drops,
}

impl NatService {
    /// Copies the counters.
    pub(super) fn sample(&self, runner: &Runner<Gateway>) -> Box<dyn Snapshot> {
        let nat = runner.engine().nat();
        let mut drops = Drops::new();
        note_engine(&mut drops, runner.counts().by_reason());
        let (port, netem) = (runner.port(INSIDE), runner.netem(INSIDE));
        let lost = |log: &FlowLog| log.lost(nat);
        Box::new(Sample {
            flows: nat.flow_count(),
            published: nat.published().count(),
            spliced: runner.splice_counts(),
            log_lost: self.flow_log.as_ref().map(lost),
            port: PortSample::new(self.device(), port.is_some(), port, netem),
            drops,
        })
    }
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.one(&NAT_FLOWS, self.flows)?;
        page.one(&NAT_PUBLISHED, self.published)?;
        page.one(&NAT_SPLICED, self.spliced.connections)?;
        page.family(&NAT_SPLICED_BYTES, |samples| {
            samples.add(&[("direction", "egress")], self.spliced.sent)?;
            samples.add(&[("direction", "ingress")], self.spliced.received)
        })?;
        self.log_lost.map_or(Ok(()), |lost| page.one(&NAT_LOG_LOST, lost))?;
        let ports = std::slice::from_ref(&self.port);
        let links = LinkSample::of_ports(ports);
        write_ports(page, ports)?;
        write_links(page, &links)?;
        // The drops of its links are among its own: they pass the same outbox.
        write_drops(page, ports, &[], &self.drops)
    }
}
