//! A link, in the brief form (`endpoints: ["a:eth1", "b:eth1"]`) or the one with a type.

use super::state::{State, Taken};
use crate::import::text::{LinkDraft, NodeDraft, add_to_list, quoted};
use crate::import::yaml::{Kind, Value};
use adit_device::IfName;
use adit_packet::IpPrefix;

/// Keys of a link that are read or that only templates use.
const KNOWN: [&str; 13] = [
    "type",
    "endpoints",
    "endpoint",
    "mtu",
    "ipv4",
    "ipv6",
    "host-interface",
    "mode",
    "remote",
    "vni",
    "dst-port",
    "vars",
    "labels",
];

/// An end as the file has it.
struct End<'a> {
    node: &'a str,
    interface: &'a str,
    /// The map of the end, if it is one.
    keys: Option<&'a Value>,
}

impl<'a> End<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        match &value.kind {
            Kind::Scalar(text) => {
                let (node, interface) = text.split_once(':').unwrap_or((text, ""));
                Some(Self { node, interface, keys: None })
            }
            Kind::Map(_) => {
                let node = value.get("node")?.text()?;
                let interface = value.get("interface").and_then(Value::text).unwrap_or_default();
                Some(Self { node, interface, keys: Some(value) })
            }
            Kind::List(_) => None,
        }
    }
}

/// Reads a link.
pub(super) fn read(state: &mut State<'_>, link: &Value) {
    for (key, _) in link.entries() {
        if !KNOWN.contains(&key.as_str()) {
            state.draft.note(format!("`{key}` of links"));
        }
    }
    let kind = link.get("type").and_then(Value::text).unwrap_or("veth");
    let ends: Vec<&Value> = match link.get("endpoint") {
        Some(one) => vec![one],
        None => link.get("endpoints").map_or(&[][..], Value::list).iter().collect(),
    };
    let ends: Option<Vec<End<'_>>> = ends.into_iter().map(End::of).collect();
    let host_interface = link.get("host-interface").and_then(Value::text).unwrap_or_default();
    match (kind, ends.as_deref()) {
        ("veth" | "veth-stitch", Some([a, b])) => cable(state, link, a, b),
        ("host", Some([end])) => outside(state, link, end, &format!("tap:{host_interface}")),
        ("macvlan", Some([end])) => outside(state, link, end, &format!("dev:{host_interface}")),
        ("vxlan" | "vxlan-stitch", Some([end])) => {
            let text = |key: &str| link.get(key).and_then(Value::text).unwrap_or_default();
            let port =
                format!("vxlan:{},vni={},port={}", text("remote"), text("vni"), text("dst-port"));
            outside(state, link, end, &port);
        }
        ("mgmt-net" | "dummy", Some([end])) => {
            state.draft.note(format!("the {kind} interface {} of {}", end.interface, end.node));
        }
        ("veth" | "veth-stitch", _) => {
            let help = "write `endpoints: [\"a:eth1\", \"b:eth1\"]`";
            state.problem(link, "a link without two ends", help);
        }
        ("host" | "macvlan" | "vxlan" | "vxlan-stitch" | "mgmt-net" | "dummy", _) => {
            let help = "write `endpoint:` with `node` and `interface`";
            state.problem(link, "a link without an end", help);
        }
        (kind, _) => {
            let message = format!("unknown type of link `{kind}`");
            state.problem(link, &message, "a type is veth, host, macvlan or vxlan");
        }
    }
}

/// A link between two ends of the brief form, which may be special: `host:`, `macvlan:`, `mgmt-net:`.
fn cable(state: &mut State<'_>, link: &Value, a: &End<'_>, b: &End<'_>) {
    for (end, other) in [(a, b), (b, a)] {
        let is_node = state.nodes.contains_key(end.node);
        match end.node {
            "host" => return outside(state, link, other, &format!("tap:{}", end.interface)),
            "macvlan" if !is_node => {
                return outside(state, link, other, &format!("dev:{}", end.interface));
            }
            "mgmt-net" | "dummy" if !is_node => {
                let (kind, interface, node) = (end.node, other.interface, other.node);
                return state.draft.note(format!("the {kind} interface {interface} of {node}"));
            }
            _ => {}
        }
    }
    if let Some(Taken::Host) = state.nodes.get(a.node) {
        return outside(state, link, b, &format!("tap:{}", a.interface));
    }
    if let Some(Taken::Host) = state.nodes.get(b.node) {
        return outside(state, link, a, &format!("tap:{}", b.interface));
    }
    let ends = [end_of(state, link, a, 0), end_of(state, link, b, 1)];
    if let [Some(a), Some(b)] = ends {
        join(state, link, [a, b]);
    }
}

/// A link to a port of this machine.
fn outside(state: &mut State<'_>, link: &Value, end: &End<'_>, port: &str) {
    let Some(inner) = end_of(state, link, end, 0) else { return };
    let stem = port.split([':', ',']).nth(1).unwrap_or_default();
    let mut node = NodeDraft::new("outside", state.name(&format!("outside-{stem}")));
    node.keys.push(("port".to_owned(), quoted(port)));
    let name = node.name.to_string();
    state.draft.nodes.push(node);
    join(state, link, [inner, name]);
}

fn join(state: &mut State<'_>, link: &Value, ends: [String; 2]) {
    let mut keys = Vec::new();
    let mtu = link.get("mtu").and_then(Value::text);
    if let Some(mtu) = mtu.and_then(|mtu| mtu.parse::<u16>().ok()) {
        keys.push(("mtu".to_owned(), mtu.to_string()));
    }
    state.draft.links.push(LinkDraft { ends, keys });
}

/// An end as the lab file writes it; `None` if its node is unknown or rejected.
fn end_of(state: &mut State<'_>, link: &Value, end: &End<'_>, index: usize) -> Option<String> {
    let taken = state.nodes.get(end.node).cloned();
    let at = match taken {
        Some(Taken::Node(at)) => at,
        Some(Taken::Rejected | Taken::Host) => return None,
        None => {
            let message = format!("a link to an unknown node `{}`", end.node);
            state.problem(link, &message, "list it in `topology.nodes`");
            return None;
        }
    };
    let node = &state.draft.nodes[at];
    let name = node.name.to_string();
    if node.kind == "switch" {
        return Some(name);
    }
    let addresses = addresses(state, link, end, index);
    if end.interface.parse::<IfName>().is_err() {
        state.leave_out(&format!("interface name {}", end.interface), end.node);
        return Some(name);
    }
    let node = &mut state.draft.nodes[at];
    for address in addresses {
        add_to_list(node.interface(end.interface), "address", &quoted(&address));
    }
    if let Some(mac) = end.keys.and_then(|keys| keys.get("mac")).and_then(Value::text) {
        node.interface(end.interface).push(("mac".to_owned(), quoted(mac)));
    }
    Some(format!("{name}:{}", end.interface))
}

/// The addresses that a link gives to an end.
fn addresses(state: &mut State<'_>, link: &Value, end: &End<'_>, index: usize) -> Vec<String> {
    let mut addresses = Vec::new();
    for key in ["ipv4", "ipv6"] {
        let of_end = end.keys.and_then(|keys| keys.get(key));
        let of_link = link.get(key).and_then(|list| list.list().get(index));
        let Some(value) = of_end.or(of_link).filter(|value| !value.is_null()) else { continue };
        match value.text().map(str::parse::<IpPrefix>) {
            Some(Ok(prefix)) => addresses.push(prefix.to_string()),
            _ => state.problem(value, "not an address with its prefix length", "as 192.0.2.1/24"),
        }
    }
    addresses
}
