//! GraphML as the Internet Topology Zoo writes it: cities with coordinates, lines with speeds.
//!
//! Each node becomes a router; one that stands for a shared medium (`hyperedge`) becomes a switch. The delay
//! of a line follows from the distance of its ends: light in fibre takes 5 us/km.

use crate::import::names::Names;
use crate::import::text::{Draft, LinkDraft, NodeDraft, PARTS_MAX, quoted};
use adit_packet::units::Bitrate;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeMap;

/// The most elements, attributes and texts: a file of a mebibyte, without any text.
const XML_NODES_MAX: u32 = 400_000;

/// Meters that light passes in a microsecond in fibre: a refractive index of 1.5.
const FIBRE_METERS_PER_US: f64 = 200.0;

/// The mean radius of the earth.
const EARTH_METERS: f64 = 6_371_000.0;

/// Delays below this are left out: it is less than the kernel takes to forward a packet.
const DELAY_MIN_US: f64 = 10.0;

/// What is known of a node.
struct City {
    /// How the lab file calls it.
    name: String,
    /// Latitude and longitude in degrees.
    place: Option<(f64, f64)>,
}

/// Reads a graph.
pub(crate) fn read(source: &Source, problems: &Problems) -> Draft {
    let mut draft = Draft::default();
    let options = ParsingOptions { nodes_limit: XML_NODES_MAX, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(source.text(), options) {
        Ok(document) => document,
        Err(error) => {
            let at = offset(source.text(), error.pos());
            problems.push(source, at..at, format!("invalid XML: {error}"), None);
            return draft;
        }
    };
    let root = document.root_element();
    let graph = children(root, "graph").next();
    let Some(graph) = graph.filter(|_| root.tag_name().name() == "graphml") else {
        let help = Some("GraphML has a <graph> in a <graphml>".to_owned());
        problems.push(source, root.range(), "not a graph", help);
        return draft;
    };
    let reader = Reader { source, problems, keys: keys(root) };
    let about = reader.data(graph);
    draft.name = about.get("Network").or(about.get("label")).map(|name| lab_name(name));
    draft.about.push("Delays follow from the distance of the ends, at 200 km/ms.".to_owned());
    let cities = reader.nodes(graph, &mut draft);
    reader.edges(graph, &cities, &mut draft);
    draft
}

struct Reader<'a> {
    source: &'a Source,
    problems: &'a Problems,
    /// The names of keys by their numbers.
    keys: BTreeMap<&'a str, &'a str>,
}

/// `<key id="d4" attr.name="label">` of the file; a key without a name is called by its number.
fn keys<'a>(root: Node<'a, 'a>) -> BTreeMap<&'a str, &'a str> {
    let named = |key: Node<'a, 'a>| {
        let id = key.attribute("id")?;
        Some((id, key.attribute("attr.name").unwrap_or(id)))
    };
    children(root, "key").filter_map(named).collect()
}

fn children<'a>(of: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    of.children().filter(move |child| child.tag_name().name() == name)
}

impl<'a> Reader<'a> {
    /// The texts of a node, edge or graph by the names of their keys.
    fn data(&self, of: Node<'a, 'a>) -> BTreeMap<&'a str, &'a str> {
        let named = |data: Node<'a, 'a>| {
            let key = data.attribute("key")?;
            let text = data.text().map(str::trim).filter(|text| !text.is_empty())?;
            Some((self.keys.get(key).copied().unwrap_or(key), text))
        };
        children(of, "data").filter_map(named).collect()
    }

    fn problem(&self, at: Node<'_, '_>, message: &str, help: &str) {
        self.problems.push(self.source, at.range(), message, Some(help.to_owned()));
    }

    fn nodes(&self, graph: Node<'a, 'a>, draft: &mut Draft) -> BTreeMap<&'a str, City> {
        let mut names = Names::default();
        let mut cities = BTreeMap::new();
        for (index, node) in children(graph, "node").enumerate() {
            if index == PARTS_MAX {
                self.problem(node, &format!("more than {PARTS_MAX} nodes"), "take a part of it");
                break;
            }
            let Some(id) = node.attribute("id") else {
                self.problem(node, "a node without an id", "give it an `id`");
                continue;
            };
            let data = self.data(node);
            let label = data.get("label").copied();
            let name = names.unique(label.unwrap_or(id), &format!("n{index}"));
            let is_shared = matches!(data.get("hyperedge"), Some(&("1" | "true")));
            let kind = if is_shared { "switch" } else { "router" };
            let mut part = NodeDraft::new(kind, name.clone());
            part.comment = label.filter(|label| *label != name.as_str()).map(str::to_owned);
            draft.nodes.push(part);
            let degrees = |key, max: f64| {
                let value: f64 = data.get(key)?.parse().ok()?;
                (value.abs() <= max).then_some(value)
            };
            let place = degrees("Latitude", 90.0).zip(degrees("Longitude", 360.0));
            if cities.insert(id, City { name: name.to_string(), place }).is_some() {
                self.problem(node, "a second node with this id", "ids must be unique");
            }
        }
        cities
    }

    fn edges(&self, graph: Node<'a, 'a>, cities: &BTreeMap<&str, City>, draft: &mut Draft) {
        let mut unplaced = 0;
        for (index, edge) in children(graph, "edge").enumerate() {
            if index == PARTS_MAX {
                self.problem(edge, &format!("more than {PARTS_MAX} edges"), "take a part of it");
                break;
            }
            let end = |which| edge.attribute(which).and_then(|id| cities.get(id));
            let (Some(a), Some(b)) = (end("source"), end("target")) else {
                let help = "`source` and `target` are ids of nodes";
                self.problem(edge, "an edge without two known ends", help);
                continue;
            };
            if a.name == b.name {
                draft.note(format!("a line from {} to itself", a.name));
                continue;
            }
            let data = self.data(edge);
            let mut link = LinkDraft { ends: [a.name.clone(), b.name.clone()], keys: Vec::new() };
            match a.place.zip(b.place).map(|(a, b)| distance(a, b) / FIBRE_METERS_PER_US) {
                Some(delay) if delay >= DELAY_MIN_US => {
                    link.keys.push(("delay".to_owned(), quoted(&format!("{delay:.0}us"))));
                }
                Some(_) => {}
                None => unplaced += 1,
            }
            if let Some(rate) = rate(&data) {
                link.keys.push(("rate".to_owned(), quoted(&rate.to_string())));
            }
            draft.links.push(link);
        }
        if unplaced > 0 {
            draft.note(format!("the delay of {unplaced} lines: an end has no coordinates"));
        }
    }
}

/// The speed of a line: `LinkSpeedRaw` in bit/s, or `LinkSpeed` in units of `LinkSpeedUnits`.
fn rate(data: &BTreeMap<&str, &str>) -> Option<Bitrate> {
    let number = |key| data.get(key).and_then(|text| text.parse::<f64>().ok());
    let scale = || match *data.get("LinkSpeedUnits")? {
        "K" | "k" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        "T" => Some(1e12),
        _ => None,
    };
    let bits = number("LinkSpeedRaw").or_else(|| Some(number("LinkSpeed")? * scale()?))?;
    // Whole bits, through the reader of rates, which knows the limits.
    (bits >= 1.0).then(|| format!("{bits:.0}bit").parse().ok()).flatten()
}

/// Meters along the great circle between two places in degrees (haversine).
fn distance((lat_a, lon_a): (f64, f64), (lat_b, lon_b): (f64, f64)) -> f64 {
    let half_sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let across = lat_a.to_radians().cos() * lat_b.to_radians().cos() * half_sine(lon_b - lon_a);
    let chord = (half_sine(lat_b - lat_a) + across).clamp(0.0, 1.0);
    2.0 * EARTH_METERS * chord.sqrt().asin()
}

/// A name of a lab like `text`.
fn lab_name(text: &str) -> String {
    let mut name = Names::default().unique(text, "graph").to_string();
    name.make_ascii_lowercase();
    name
}

/// The byte of a row and column of `text`.
fn offset(text: &str, at: roxmltree::TextPos) -> usize {
    let row = usize::try_from(at.row.saturating_sub(1)).unwrap_or(usize::MAX);
    let col = usize::try_from(at.col.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(row).map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    start + line.char_indices().nth(col).map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::{distance, rate};
    use std::collections::BTreeMap;

    #[test]
    fn distances_are_those_of_maps() {
        let (new_york, chicago) = ((40.714, -74.006), (41.850, -87.650));
        let km = distance(new_york, chicago) / 1000.0;
        assert!((1140.0..1150.0).contains(&km), "{km}");
        assert!(distance((0.0, 179.9), (0.0, -179.9)) < 23_000.0, "across the date line");
    }

    #[test]
    fn speeds_are_read_in_both_forms() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            rate(&pairs.iter().copied().collect::<BTreeMap<_, _>>()).map(|rate| rate.to_string())
        };
        assert_eq!(of(&[("LinkSpeedRaw", "2500000000.0")]).as_deref(), Some("2.5gbit"));
        assert_eq!(
            of(&[("LinkSpeed", "155"), ("LinkSpeedUnits", "M")]).as_deref(),
            Some("155mbit")
        );
        for none in [("LinkSpeedRaw", "NaN"), ("LinkSpeedRaw", "-1"), ("LinkSpeedRaw", "1e300")] {
            assert_eq!(of(&[none]), None, "{none:?}");
        }
    }
}
