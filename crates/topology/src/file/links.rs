//! `[[link]]` and `[[tunnel]]`.

use crate::file::ends;
use crate::file::hosts::content_of;
use crate::file::nodes::Nodes;
use crate::file::place::Place;
use crate::model::{End, Kind, Lab, Link, LinkName, NodeName, Tunnel};
use adit_device::IfName;
use adit_engine::switch::PortConfig;
use adit_service::config::entry::{Kind as Type, Value, Wrong};
use adit_service::config::suggest::nearest;
use adit_service::config::table::Table;
use adit_service::config::value::{integer, parsed, text};
use adit_service::netem::keys::KEYS as NETEM_KEYS;
use adit_service::netem::profile::{self, Profiles};
use adit_service::switch::keys::KEYS as PORT_KEYS;
use adit_service::switch::port::settings_of;
use adit_tunnel::PrivateKey;
use std::collections::{HashMap, HashSet};

/// The smallest MTU, of IPv4 (RFC 791). The plan has more to say where there is IPv6.
const MTU_MIN: u16 = 68;

/// The largest that a TAP has.
const MTU_MAX: u16 = 65_521;

/// The links so far.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    /// The links, in the order of the files.
    pub(super) links: Vec<Link>,
    /// Where each is, and its two ends.
    pub(super) places: Vec<(Place<'a>, [Place<'a>; 2])>,
    /// The tunnels, in the order of the files.
    pub(super) tunnels: Vec<Tunnel>,
    /// Where each is.
    pub(super) tunnel_places: Vec<Place<'a>>,
}

/// What each node is, by its name.
type Kinds<'n> = HashMap<&'n str, &'n Kind>;

/// An end of the links of one table.
struct Side<'a> {
    nodes: Vec<NodeName>,
    /// Whether it is one node, not a group or range of one.
    is_single: bool,
    interface: Option<IfName>,
    place: Place<'a>,
}

impl<'a> Links<'a> {
    /// Reads the links of a file.
    pub(super) fn read(&mut self, top: &mut Table<'a>, nodes: &Nodes<'a>) {
        let kinds: Kinds<'_> =
            nodes.nodes.iter().map(|node| (node.name.as_str(), &node.kind)).collect();
        let mut nameless = Vec::new();
        for mut table in top.tables("link") {
            let first = self.links.len();
            let has_name = table.has("name");
            self.read_one(&mut table, nodes, &kinds);
            table.finish();
            if !has_name {
                nameless.extend(first..self.links.len());
            }
            if self.links.len() > Lab::LINKS_MAX {
                return;
            }
        }
        self.number(&nameless);
    }

    fn read_one(&mut self, table: &mut Table<'a>, nodes: &Nodes<'a>, kinds: &Kinds<'_>) {
        let sides = sides(table, nodes);
        let wanted = Wanted::read(table);
        let Some([a, b]) = sides else { return };
        let is_switch = |name: &NodeName| matches!(kinds.get(name.as_str()), Some(Kind::Switch(_)));
        let all = || a.nodes.iter().chain(&b.nodes);
        let are_known = all().all(|name| nodes.has(name.as_str()));
        if let Some(key) = wanted.port_key
            && are_known
            && !all().any(is_switch)
        {
            let help = Some("neither end is a switch".to_owned());
            table.wrong(key, format_args!("`{key}` is for a link to a switch"), help);
        }
        for (key, side) in ["a", "b"].into_iter().zip([&a, &b]) {
            if table.contains(key) && are_known && !side.nodes.iter().any(is_switch) {
                let message = format_args!("`{key}` is for an end at a switch");
                table.wrong(key, message, Some("this end is no switch".to_owned()));
            }
        }
        let Some(pairs) = pair(&a, &b, table) else { return };
        let is_one = a.is_single && b.is_single;
        for (number, [first, other]) in pairs.into_iter().enumerate() {
            let name = match &wanted.name {
                Some(name) if is_one => name.to_string(),
                Some(name) => format!("{name}{}", number + 1),
                None => format!("{first}-{other}"),
            };
            let Ok(name) = name.parse::<LinkName>() else {
                return table.wrong("name", format_args!("the name '{name}' is too long"), None);
            };
            let end = |side: &Side<'_>, node: NodeName, port: &PortConfig| {
                let port = if is_switch(&node) { port.clone() } else { PortConfig::default() };
                End { node, interface: side.interface, port }
            };
            self.links.push(Link {
                name,
                ends: [end(&a, first, &wanted.ports[0]), end(&b, other, &wanted.ports[1])],
                netem: wanted.netem.clone(),
                mtu: wanted.mtu,
                cost: wanted.cost,
            });
            self.places.push((a.place.clone(), [a.place.clone(), b.place.clone()]));
        }
    }

    /// Gives links that are called after their nodes a number if their name is taken.
    fn number(&mut self, nameless: &[usize]) {
        let chosen: HashSet<usize> = nameless.iter().copied().collect();
        let others = self.links.iter().enumerate().filter(|(place, _)| !chosen.contains(place));
        let mut taken: HashSet<LinkName> = others.map(|(_, link)| link.name.clone()).collect();
        let mut last: HashMap<LinkName, u32> = HashMap::new();
        for &place in nameless {
            let stem = self.links[place].name.clone();
            let mut name = Some(stem.clone());
            while name.as_ref().is_some_and(|name| taken.contains(name)) {
                let number = last.entry(stem.clone()).or_insert(1);
                *number += 1;
                name = format!("{stem}-{number}").parse().ok();
            }
            let name = name.unwrap_or(stem);
            taken.insert(name.clone());
            self.links[place].name = name;
        }
    }

    /// Reads the tunnels of a file.
    pub(super) fn read_tunnels(&mut self, top: &mut Table<'a>, nodes: &Nodes<'a>) {
        for mut table in top.tables("tunnel") {
            let sides = sides(&mut table, nodes);
            let name = table.get("name", parsed::<LinkName>("a name"));
            let interface = table.get("interface", parsed::<IfName>("the name of an interface"));
            let mtu = table.get("mtu", integer(MTU_MIN..=MTU_MAX)).unwrap_or(0);
            let keys = table.get("private-keys", private_keys).unwrap_or_default();
            if let Some(side) = sides.iter().flatten().find(|side| side.interface.is_some()) {
                let help = Some("write `interface = \"NAME\"` for its own interface".to_owned());
                let Place { source, span } = side.place.clone();
                top.problems().push(
                    source,
                    span,
                    "a tunnel ends at a host, not at an interface",
                    help,
                );
            }
            let is_one = sides.iter().flatten().all(|side| side.is_single);
            if keys != [None, None] && !is_one {
                let help = "write a table for each tunnel".to_owned();
                table.wrong("private-keys", "several tunnels cannot have the same keys", help);
            }
            table.finish();
            let Some([a, b]) = sides else { continue };
            let Some(pairs) = pair(&a, &b, top) else { continue };
            for (number, ends) in pairs.into_iter().enumerate() {
                let name = match &name {
                    Some(name) if is_one => name.to_string(),
                    Some(name) => format!("{name}{}", number + 1),
                    None => format!("{}-{}-tunnel", ends[0], ends[1]),
                };
                if let Ok(name) = name.parse::<LinkName>() {
                    let keys = keys.clone();
                    self.tunnels.push(Tunnel { name, ends, interface, mtu, keys });
                    self.tunnel_places.push(a.place.clone());
                }
            }
        }
    }
}

/// All of a table but its ends.
struct Wanted {
    name: Option<LinkName>,
    /// The port of a switch at each end.
    ports: [PortConfig; 2],
    /// The first key about the port of a switch.
    port_key: Option<&'static str>,
    netem: Option<Profiles>,
    mtu: u16,
    cost: u32,
}

impl Wanted {
    fn read(table: &mut Table<'_>) -> Self {
        let port_keys = PORT_KEYS.iter().map(|key| key.name);
        // Those are keys of the link as a whole.
        let mut port_keys = port_keys.filter(|key| !matches!(*key, "name" | "netem" | "mirror"));
        let port_key = port_keys.find(|key| table.contains(key));
        let name = table.get("name", parsed("a name"));
        let port = settings_of(table, PortConfig::default());
        let ports = ["a", "b"].map(|key| match table.table(key) {
            Some(mut of_end) => {
                let port = settings_of(&mut of_end, port.clone());
                of_end.finish();
                port
            }
            None => port.clone(),
        });
        let problems = table.problems();
        let base = table.value("netem").cloned();
        let base = base.and_then(|value| profile::of_value("netem", &value, problems));
        let is_emulated = base.is_some() || NETEM_KEYS.iter().any(|key| table.contains(key.name));
        let profiles = profile::of_table(table, base.unwrap_or_default());
        Self {
            name,
            ports,
            port_key,
            netem: is_emulated.then_some(profiles),
            mtu: table.get("mtu", integer(MTU_MIN..=MTU_MAX)).unwrap_or(0),
            cost: table.get("cost", integer(1..=65_535)).unwrap_or(1),
        }
    }
}

/// `["gI6EdUSYvn8ugXOt8QQD6Yc+JyiZxIhp3GInSWRfWGE=", { from = "b.key" }]`: of the two ends.
fn private_keys(value: &Value<'_>) -> Result<[Option<PrivateKey>; 2], Wrong> {
    let help = "for example `private-keys = [{ from = \"a.key\" }, { from = \"b.key\" }]`";
    let list = if let Type::List(list) = &value.kind { list.as_slice() } else { &[] };
    let [a, b] = list else {
        return Err(Wrong::new("must be a list of two keys").help(help));
    };
    let one = |value: &Value<'_>| {
        let text = match &value.kind {
            Type::Table(entries) => match entries.as_slice() {
                [from] if from.key == "from" => content_of(&from.value)?,
                _ => return Err(Wrong::new("has a table that is not `{ from = FILE }`").help(help)),
            },
            _ => text(value)?,
        };
        // The text of the error has no part of the key.
        let key = text.trim().parse::<PrivateKey>();
        key.map(Some).map_err(|error| Wrong::new(format_args!("has no private key: {error}")))
    };
    Ok([one(a)?, one(b)?])
}

/// The two ends of a table; `None` if they are wrong.
fn sides<'a>(table: &mut Table<'a>, nodes: &Nodes<'a>) -> Option<[Side<'a>; 2]> {
    const HELP: &str = "for example `ends = [\"pc\", \"gw:eth0\"]`";
    let problems = table.problems();
    let value = table.required("ends", |value: &Value<'a>| Ok(value.clone()))?;
    let list = match &value.kind {
        Type::List(list) => list.as_slice(),
        _ => &[],
    };
    let [a, b] = list else {
        value.wrong("ends", Wrong::new("must be a list of two nodes").help(HELP), problems);
        return None;
    };
    let [a, b] = [a, b].map(|value| {
        let side = side(value, nodes).map_err(|wrong| value.wrong("ends", wrong, problems)).ok()?;
        if let [name] = &side.nodes[..]
            && side.is_single
            && let Some(wrong) = nowhere(name.as_str(), nodes)
        {
            value.wrong("ends", wrong, problems);
        }
        Some(side)
    });
    Some([a?, b?])
}

fn side<'a>(value: &Value<'a>, nodes: &Nodes<'a>) -> Result<Side<'a>, Wrong> {
    let place = Place { source: value.source, span: value.span.clone() };
    let ends = ends::read(value)?;
    let interface = ends.interface;
    let name = match ends.nodes {
        ends::Nodes::Range(nodes) => return Ok(Side { nodes, is_single: false, interface, place }),
        ends::Nodes::Named(name) => name,
    };
    let (nodes, is_single) = match nodes.groups.get(name.as_str()) {
        Some(members) if !nodes.has(name.as_str()) => (members.clone(), false),
        _ => (vec![name], true),
    };
    Ok(Side { nodes, is_single, interface, place })
}

/// What is wrong with the name of no node.
fn nowhere(name: &str, nodes: &Nodes<'_>) -> Option<Wrong> {
    if nodes.has(name) {
        return None;
    }
    let all = nodes.nodes.iter().map(|node| node.name.as_str());
    let near = nearest(name, nodes.groups.keys().map(String::as_str).chain(all));
    let wrong = Wrong::new(format_args!("lead nowhere: no node is called '{name}'"));
    Some(match near {
        Some(near) => wrong.help(format_args!("did you mean `{near}`?")),
        None => wrong.help(format_args!("add [host.{name}]")),
    })
}

/// The pairs of nodes that are joined: each of a group with a single node, or with the node at its place in a group
/// of the same size.
fn pair(a: &Side<'_>, b: &Side<'_>, table: &Table<'_>) -> Option<Vec<[NodeName; 2]>> {
    let pairs = match (a.is_single, b.is_single) {
        (true, _) => b.nodes.iter().map(|node| [a.nodes[0].clone(), node.clone()]).collect(),
        (_, true) => a.nodes.iter().map(|node| [node.clone(), b.nodes[0].clone()]).collect(),
        _ if a.nodes.len() == b.nodes.len() => {
            a.nodes.iter().zip(&b.nodes).map(|(a, b)| [a.clone(), b.clone()]).collect()
        }
        _ => {
            let message = format!("{} nodes here, {} there", a.nodes.len(), b.nodes.len());
            let help = "a group is linked to one node, or to a group of the same size".to_owned();
            table.problems().push(b.place.source, b.place.span.clone(), message, Some(help));
            return None;
        }
    };
    Some(pairs)
}
