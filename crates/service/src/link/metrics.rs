//! What an emulated link counts, for `/metrics`.

use crate::link::{LinkService, PORTS};
use crate::metrics::ports::{
    Drops, LinkSample, PortSample, note_one, write_drops, write_links, write_ports,
};
use crate::metrics::{Page, Snapshot};
use adit_engine::DropReason;
use adit_engine::netem::{Direction, Netem};
use adit_runtime::Runner;
use std::fmt;

/// The counts of a link.
#[derive(Debug)]
struct Sample {
    ports: Vec<PortSample>,
    links: Vec<LinkSample>,
    /// Drops at no port and in no direction.
    drops: Drops,
}

impl LinkService {
    /// Copies the counters.
    pub(super) fn sample(&self, runner: &Runner<Netem>) -> Box<dyn Snapshot> {
        let port = |id| {
            let found = runner.port(id);
            PortSample::new(self.name_of(id), found.is_some(), found, None)
        };
        let ways = [(Direction::AToB, "a_to_b"), (Direction::BToA, "b_to_a")];
        let link = |(direction, word)| LinkSample {
            of: None,
            direction: word,
            counts: runner.engine().counts(direction),
        };
        let mut drops = Drops::new();
        let lost = runner.counts().discarded_for(DropReason::NO_DESTINATION);
        note_one(&mut drops, DropReason::NO_DESTINATION.as_str().into(), lost);
        note_one(&mut drops, "port removed".into(), runner.misrouted());
        Box::new(Sample { ports: PORTS.map(port).to_vec(), links: ways.map(link).to_vec(), drops })
    }
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        write_ports(page, &self.ports)?;
        write_links(page, &self.links)?;
        write_drops(page, &self.ports, &self.links, &self.drops)
    }
}
