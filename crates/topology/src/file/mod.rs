//! A network from a file in TOML: strict, and all mistakes at once, each with its place and a suggestion.
//!
//! ```text
//! sources/     the file and those that it includes      values    `${delay}`, `{n}`
//! nodes        [switch.x] [nat.x] ...                   links     [[link]] [[tunnel]]
//! hosts        [host.x] [router.x]                      ends      `h[1-100]:eth1`
//! programs     `run`                                    entries   tables with keys that the user chose
//! ```

mod ends;
mod entries;
mod hosts;
mod links;
mod nodes;
mod place;
mod programs;
mod sources;
mod values;

use crate::model::{At, Fault, Lab};
use crate::plan::Plan;
use crate::scenario::{self, Scenario};
use adit_packet::IpPrefix;
use adit_service::config::entry::{Kind, Value};
use adit_service::config::problems::Problems;
use adit_service::config::read as toml;
use adit_service::config::source::Source;
use adit_service::config::table::Table;
use adit_service::config::value::{Wrong, integer, parsed};
use adit_service::error::{Error, Result};
use adit_service::metrics::of_table;
use adit_service::supervisor::seed;
use links::Links;
use nodes::Nodes;
use place::Place;
use std::path::{Path, PathBuf};
pub use values::Setting;
use values::Values;

/// What a file asks for.
#[derive(Clone, Debug)]
pub struct FromFile {
    /// The network, with everything filled in.
    pub plan: Plan,
    /// What happens in it, and what must be true then.
    pub scenario: Scenario,
    /// The file and those that it includes, in the order in which they are read.
    pub files: Vec<PathBuf>,
}

/// The top-level keys that other files do not have, for programs that recognize a file by them.
pub const KEYS: [&str; 12] = [
    "host",
    "router",
    "switch",
    "nat",
    "guest",
    "outside",
    "link",
    "tunnel",
    "step",
    "include",
    "parameters",
    "pool",
];

/// Reads a file, with other values for its parameters.
///
/// # Errors
/// It cannot be read; all its mistakes.
pub fn read(path: &Path, settings: &[Setting]) -> Result<FromFile> {
    let problems = Problems::default();
    let sources = sources::read(path, &problems)?;
    let files = sources.iter().map(|source| PathBuf::from(source.name())).collect();
    let read = of_sources(&sources, settings, seed()?, &problems);
    problems.check(path.display())?;
    let (plan, scenario) = read.ok_or_else(|| Error::usage("the lab has no plan"))?;
    Ok(FromFile { plan, scenario, files })
}

/// The names of the parameters of a file and of those that it includes, whatever else is wrong with them.
///
/// # Errors
/// It cannot be read.
pub fn parameters(path: &Path) -> Result<Vec<String>> {
    let problems = Problems::default();
    let sources = sources::read(path, &problems)?;
    let tops: Vec<Value<'_>> = sources.iter().map(|source| top(source, &problems)).collect();
    Ok(Values::read(&tops, &[], &problems).into_names())
}

/// Reads a text and includes no other file; its mistakes go to `problems`. Without a seed of its own it has `seed`.
#[must_use]
pub fn of_source(
    source: &Source,
    settings: &[Setting],
    seed: u64,
    problems: &Problems,
) -> Option<(Plan, Scenario)> {
    of_sources(std::slice::from_ref(source), settings, seed, problems)
}

fn of_sources(
    sources: &[Source],
    settings: &[Setting],
    seed: u64,
    problems: &Problems,
) -> Option<(Plan, Scenario)> {
    let mut tops: Vec<Value<'_>> = sources.iter().map(|source| top(source, problems)).collect();
    let values = Values::read(&tops, settings, problems);
    for top in &mut tops {
        values.fill(top, problems);
    }
    let mut tables: Vec<Table<'_>> =
        tops.iter().filter_map(|top| Table::of_value("", top, problems)).collect();
    let mut lab = Lab::default();
    let mut nodes = Nodes::default();
    for table in &mut tables {
        head(table, &mut lab);
        nodes.read(table);
    }
    let mut links = Links::default();
    for table in &mut tables {
        links.read(table, &nodes);
        links.read_tunnels(table, &nodes);
    }
    (lab.nodes, lab.links, lab.tunnels) = (nodes.nodes, links.links, links.tunnels);
    let scenario = scenario::read::read(&mut tables, &mut lab);
    for table in tables {
        table.finish();
    }
    let seed = lab.seed.unwrap_or(seed);
    let faults = match Plan::with_seed(lab, seed) {
        Ok(plan) => return Some((plan, scenario)),
        Err(faults) => faults,
    };
    for fault in faults {
        let place = match fault.at {
            At::Lab => None,
            At::Node(node) => nodes.places.get(node),
            At::Link(link) => links.places.get(link).map(|(whole, _)| whole),
            At::End(link, end) => links.places.get(link).and_then(|(_, ends)| ends.get(end)),
            At::Tunnel(tunnel) => links.tunnel_places.get(tunnel),
        };
        report(&fault, place, sources, problems);
    }
    None
}

/// All of a source as one value.
fn top<'a>(source: &'a Source, problems: &'a Problems) -> Value<'a> {
    let entries = toml::toml(source, problems).into_entries();
    Value { source, span: 0..0, kind: Kind::Table(entries) }
}

/// What is said of the lab as a whole; the including file has the last word.
fn head(table: &mut Table<'_>, lab: &mut Lab) {
    if let Some(name) = table.get("name", parsed("a name")) {
        lab.name = Some(name);
    }
    if let Some(seed) = table.get("seed", integer(0..=Lab::SEED_LIMIT - 1)) {
        lab.seed = Some(seed);
    }
    let pools = table.list("pool", network);
    if !pools.is_empty() {
        lab.pools = pools;
    }
    lab.metrics = of_table(table).or(lab.metrics);
    let log = table.get("log", parsed("a filter such as \"lab=debug\""));
    lab.log = log.or_else(|| lab.log.take());
    // Read before: by `sources` and `values`.
    table.has("include");
    table.has("parameters");
}

fn network(value: &Value<'_>) -> std::result::Result<IpPrefix, Wrong> {
    let text = value.as_text().ok_or_else(|| Wrong::expected("a network in quotes", value))?;
    IpPrefix::parse_network(text)
        .map_err(|error| Wrong::new(format_args!("must be a network: {error}")))
}

fn report(fault: &Fault, place: Option<&Place<'_>>, sources: &[Source], problems: &Problems) {
    let whole = || sources.last().map(|source| Place { source, span: 0..0 });
    if let Some(Place { source, span }) = place.cloned().or_else(whole) {
        problems.push(source, span, &fault.message, fault.help.clone());
    }
}

#[cfg(test)]
mod tests;
