//! What a lab counts, for `/metrics`.

use crate::live::service::LabService;
use crate::live::wiring::{LinkCounts, Loop};
use adit_service::metrics::families::{
    DROPS, LAB_LINK_BYTES, LAB_LINK_FRAMES, LAB_LINK_UP, LAB_NODES, LAB_PROBLEMS, LAB_READY,
    PROGRAM_RESTARTS, PROGRAM_UP,
};
use adit_service::metrics::ports::{Drops, LinkSample, note_engine, write_links};
use adit_service::metrics::{Page, Snapshot};
use adit_service::switch::model::Counters;
use adit_topology::report::ProgramState;
use std::fmt;

/// The words for the directions of a link.
const DIRECTIONS: [&str; 2] = ["a_to_b", "b_to_a"];

/// The counts of a lab.
#[derive(Debug)]
struct Sample {
    is_ready: bool,
    problems: usize,
    nodes: usize,
    /// Programs by node and name: whether they are as wanted, and how often they were started again.
    programs: Vec<(String, String, bool, u64)>,
    links: Vec<LinkCounts>,
    /// Drops of switches, emulated links and NATs.
    drops: Drops,
}

impl LabService {
    /// Copies the counters.
    pub(super) fn sample(&self, runner: &Loop) -> Box<dyn Snapshot> {
        let programs = self.programs.each().map(|(node, program, state, restarts)| {
            let is_up = matches!(state, ProgramState::Running | ProgramState::Done);
            (node.to_string(), program.to_owned(), is_up, restarts)
        });
        let mut drops = Drops::new();
        note_engine(&mut drops, runner.counts().by_reason());
        let problems = self.problems().len();
        Box::new(Sample {
            is_ready: self.is_ready && problems == 0,
            problems,
            nodes: self.nodes.count(),
            programs: programs.collect(),
            links: self.wiring.samples(runner),
            drops,
        })
    }
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.one(&LAB_READY, self.is_ready)?;
        page.one(&LAB_PROBLEMS, self.problems)?;
        page.one(&LAB_NODES, self.nodes)?;
        page.family(&PROGRAM_UP, |samples| {
            self.programs.iter().try_for_each(|(node, program, is_up, _)| {
                samples.add(&[("node", node), ("program", program)], *is_up)
            })
        })?;
        page.family(&PROGRAM_RESTARTS, |samples| {
            self.programs.iter().try_for_each(|(node, program, _, restarts)| {
                samples.add(&[("node", node), ("program", program)], *restarts)
            })
        })?;
        page.family(&LAB_LINK_UP, |samples| {
            self.links.iter().try_for_each(|link| samples.add(&[("link", &link.name)], link.is_up))
        })?;
        let mut of_ways = |family, value: fn(&Counters) -> u64| {
            page.family(family, |samples| {
                self.ways().try_for_each(|(link, direction, counters)| {
                    samples.add(&[("link", link), ("direction", direction)], value(counters))
                })
            })
        };
        of_ways(&LAB_LINK_FRAMES, |counters| counters.frames)?;
        of_ways(&LAB_LINK_BYTES, |counters| counters.bytes)?;
        write_links(page, &self.emulated())?;
        page.family(&DROPS, |samples| {
            // At the ports of links; drops of the emulation are among those of the engine.
            self.ways().try_for_each(|(link, direction, counters)| {
                counters.drops.iter().try_for_each(|(why, count)| {
                    let labels = [("link", link), ("direction", direction), ("reason", why)];
                    samples.add(&labels, *count)
                })
            })?;
            self.drops.iter().try_for_each(|(why, count)| samples.add(&[("reason", why)], *count))
        })
    }
}

impl Sample {
    /// What came from the ends of links that this process sees.
    fn ways(&self) -> impl Iterator<Item = (&str, &'static str, &Counters)> {
        self.links.iter().flat_map(|link| {
            let ways = link.ways.iter().flatten().zip(DIRECTIONS);
            ways.map(|(counters, direction)| (link.name.as_str(), direction, counters))
        })
    }

    fn emulated(&self) -> Vec<LinkSample> {
        let of_link = |link: &LinkCounts| {
            let name = link.name.clone();
            let ways = link.emulated.into_iter().flatten().zip(DIRECTIONS);
            let sample = move |(counts, direction)| {
                let of = Some(("link", name.clone()));
                LinkSample { of, direction, counts }
            };
            ways.map(sample).collect::<Vec<_>>()
        };
        self.links.iter().flat_map(of_link).collect()
    }
}
