//! Samples that several services have: of ports, and of emulated links.

use crate::metrics::families::{
    DROPS, PORT_BYTES, PORT_FRAMES, PORT_QUEUED, PORT_UP, of_link, reason_of_link,
};
use crate::metrics::page::{Page, Samples};
use adit_engine::netem::Counts;
use adit_engine::{Counter, DropReason};
use adit_runtime::{Port, PortCounters, PortNetem};
use std::borrow::Cow;
use std::fmt;

/// Packets dropped, by reason.
pub type Drops = Vec<(Cow<'static, str>, u64)>;

/// The counts of a port.
#[derive(Clone, Debug, Default)]
pub struct PortSample {
    /// Its name.
    pub name: String,
    /// Whether it forwards.
    pub is_up: bool,
    /// Frames in its queue, if it has one.
    pub queued: Option<usize>,
    /// From the port, and to it.
    pub ways: [Way; 2],
}

/// The counts of one direction of a port.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Frames or packets.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were dropped.
    pub drops: Drops,
    /// What the emulated link of this direction did.
    pub link: Option<Counts>,
}

/// The words for the directions of a port.
const DIRECTIONS: [&str; 2] = ["ingress", "egress"];

impl PortSample {
    /// What the loop counts of a port.
    #[must_use]
    pub fn new(
        name: String,
        is_up: bool,
        port: Option<(&dyn Port, &PortCounters)>,
        netem: Option<&PortNetem>,
    ) -> Self {
        let mut sample = Self { name, is_up, ..Self::default() };
        if let Some((port, counters)) = port {
            sample.note_loop(counters);
            sample.queued = port.queued();
            let [_, egress] = &mut sample.ways;
            port.inner_drops(&mut |why, count| {
                note_one(&mut egress.drops, Cow::Owned(why.to_owned()), count);
            });
        }
        let [ingress, egress] = &mut sample.ways;
        if let Some(netem) = netem {
            let counts =
                |link: &Option<Box<adit_engine::netem::Link>>| Some(link.as_ref()?.counts());
            (ingress.link, egress.link) = (counts(&netem.ingress), counts(&netem.egress));
        }
        sample
    }

    /// Takes the counters of the loop.
    pub fn note_loop(&mut self, counters: &PortCounters) {
        let [ingress, egress] = &mut self.ways;
        (ingress.frames, ingress.bytes) = (counters.received, counters.received_bytes);
        (egress.frames, egress.bytes) = (counters.sent, counters.sent_bytes);
        note(&mut ingress.drops, counters.ingress_drops());
        note(&mut egress.drops, counters.egress_drops());
    }

    /// Adds its drops to the samples of [`DROPS`].
    ///
    /// # Errors
    /// Those of the page.
    pub fn add_drops(&self, samples: &mut Samples<'_, '_>) -> fmt::Result {
        self.ways.iter().zip(DIRECTIONS).try_for_each(|(way, direction)| {
            way.drops.iter().try_for_each(|(why, count)| {
                let port = self.name.as_str();
                let labels = [("port", port), ("direction", direction), ("reason", &**why)];
                samples.add(&labels, *count)
            })
        })
    }
}

/// Adds drops that occurred.
fn note(drops: &mut Drops, more: impl Iterator<Item = (&'static str, u64)>) {
    more.for_each(|(why, count)| note_one(drops, Cow::Borrowed(why), count));
}

/// Adds drops for one reason, if they occurred.
pub fn note_one(drops: &mut Drops, why: Cow<'static, str>, count: u64) {
    match drops.iter_mut().find(|(known, _)| *known == why) {
        Some((_, known)) => *known += count,
        None if count > 0 => drops.push((why, count)),
        None => {}
    }
}

/// Adds the drops that an engine counted.
pub fn note_engine(drops: &mut Drops, more: impl Iterator<Item = (DropReason, u64)>) {
    note(drops, more.map(|(why, count)| (why.as_str(), count)));
}

/// The counts of one direction of an emulated link, with its labels.
#[derive(Clone, Debug)]
pub struct LinkSample {
    /// The label that names the link or port, and its value; `None` for the only link of a program.
    pub of: Option<(&'static str, String)>,
    /// The word for the direction.
    pub direction: &'static str,
    /// Its counts.
    pub counts: Counts,
}

impl LinkSample {
    /// The links of ports.
    pub fn of_ports(ports: &[PortSample]) -> Vec<Self> {
        let of = |port: &PortSample| {
            let name = port.name.clone();
            let ways = port.ways.iter().zip(DIRECTIONS);
            let link = move |(way, direction): (&Way, &'static str)| {
                let of = Some(("port", name.clone()));
                Some(Self { of, direction, counts: way.link? })
            };
            ways.filter_map(link).collect::<Vec<_>>()
        };
        ports.iter().flat_map(of).collect()
    }

    /// Adds a sample of this link, or of packets that it dropped for `reason`.
    fn add(&self, samples: &mut Samples<'_, '_>, reason: Option<&str>, value: u64) -> fmt::Result {
        let of = self.of.as_ref().map(|(label, name)| (*label, name.as_str()));
        // Apart from drops at the port itself, which may have the same reason.
        let at_port = of.filter(|(label, _)| *label == "port" && reason.is_some());
        let labels = of.into_iter().chain(at_port.map(|_| ("link", "netem")));
        let labels = labels.chain([("direction", self.direction)]);
        let labels = labels.chain(reason.map(|reason| ("reason", reason)));
        samples.add(&labels.collect::<Vec<_>>(), value)
    }
}

/// Writes what ports have.
///
/// # Errors
/// Those of the page.
pub fn write_ports(page: &mut Page<'_>, ports: &[PortSample]) -> fmt::Result {
    let mut of_ways = |family, value: fn(&Way) -> u64| {
        page.family(family, |samples| {
            ports.iter().try_for_each(|port| {
                port.ways.iter().zip(DIRECTIONS).try_for_each(|(way, direction)| {
                    let labels = [("port", port.name.as_str()), ("direction", direction)];
                    samples.add(&labels, value(way))
                })
            })
        })
    };
    of_ways(&PORT_FRAMES, |way| way.frames)?;
    of_ways(&PORT_BYTES, |way| way.bytes)?;
    page.family(&PORT_UP, |samples| {
        ports.iter().try_for_each(|port| samples.add(&[("port", &port.name)], port.is_up))
    })?;
    page.family(&PORT_QUEUED, |samples| {
        let queues = ports.iter().filter_map(|port| Some((port, port.queued?)));
        queues.into_iter().try_for_each(|(port, len)| samples.add(&[("port", &port.name)], len))
    })
}

/// Writes what emulated links have.
///
/// # Errors
/// Those of the page.
pub fn write_links(page: &mut Page<'_>, links: &[LinkSample]) -> fmt::Result {
    let rows: Vec<Vec<Counter>> = links.iter().map(|link| link.counts.each().collect()).collect();
    for (at, counter) in Counts::default().each().enumerate() {
        page.family(&of_link(&counter), |samples| {
            links.iter().zip(&rows).try_for_each(|(link, row)| {
                link.add(samples, None, row.get(at).map_or(0, |counter| counter.value))
            })
        })?;
    }
    Ok(())
}

/// Writes the drops at ports and in links, and those of `others`, which have no label but the reason.
///
/// # Errors
/// Those of the page.
pub fn write_drops(
    page: &mut Page<'_>,
    ports: &[PortSample],
    links: &[LinkSample],
    others: &Drops,
) -> fmt::Result {
    page.family(&DROPS, |samples| {
        ports.iter().try_for_each(|port| port.add_drops(samples))?;
        for link in links {
            let drops = link.counts.each().filter(|counter| counter.value > 0);
            let drops = drops.filter_map(|one| Some((reason_of_link(&one)?, one.value)));
            drops.into_iter().try_for_each(|(why, n)| link.add(samples, Some(&why), n))?;
        }
        others.iter().try_for_each(|(why, count)| samples.add(&[("reason", why)], *count))
    })
}
