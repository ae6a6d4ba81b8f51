//! A plan as a shell script of `ip netns` and `ip -batch`: the same network without adit.
//!
//! Hosts are namespaces, switches are bridges in namespaces of their own, one for each VLAN, and all links are veth pairs, one
//! for each VLAN. Bridges in a loop run the spanning tree protocol. Comments of the script list all that the kernel alone
//! does not do: NAT by sockets, guests, ports of the host, programs, and effects of links other than delay, loss,
//! duplicates and rate.

mod ends;
mod loops;
mod netem;

use crate::model::{Host, Kind, Node};
use crate::plan::{Interface, Plan};
use ends::{is_made, is_namespace, one_line, pairs, quoted, word};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

const HEAD: &str = r#"# Usage: sh FILE [up|down], as root, or in 'unshare -Urnm' with a tmpfs on /run.
set -eu

down() {
  for node in $nodes; do ip netns del "$node" 2>/dev/null || true; done
}
case "${1-up}" in
up) ;;
down) down; exit ;;
*) echo "usage: sh $0 [up|down]" >&2; exit 2 ;;
esac
# A failure leaves nothing.
trap 'status=$?; [ $status = 0 ] || down; exit $status' EXIT
"#;

/// Writes the script.
#[must_use]
pub fn script(plan: &Plan) -> String {
    let mut missing = Vec::new();
    let nodes: Vec<&Node> = plan.lab.nodes.iter().filter(|node| is_namespace(node)).collect();
    let name = plan.lab.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
    let mut text = format!("#!/bin/sh\n# The lab{name}, written by 'adit lab export'.\n");
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    text += HEAD;
    let head_end = text.len();
    batch(&mut text, "ip", names.iter().map(|name| format!("netns add {name}")).collect());
    batch(&mut text, "ip", links(plan, &mut missing));
    let looped = loops::looped(plan);
    for node in nodes {
        let name = node.name.as_str();
        match &node.kind {
            Kind::Host(host) => host_of(&mut text, plan, name, host, &mut missing),
            _ => bridges(&mut text, plan, name, &looped),
        }
    }
    netem::write(&mut text, plan, &mut missing);
    for node in &plan.lab.nodes {
        let what = match &node.kind {
            Kind::Nat(_) => "the way out through sockets of the host",
            Kind::Guest(_) => "a virtual machine",
            Kind::Outside(port) => port,
            Kind::Host(_) | Kind::Switch(_) => continue,
        };
        missing.push(format!("node {}: {what}", node.name));
    }
    // The names come before the head, which uses them; notes before both.
    let line = |note: &String| format!("# Not exported: {}\n", one_line(note));
    let notes: String = missing.iter().map(line).collect();
    let list = format!("{notes}nodes='{}'\n", names.join(" "));
    let body = text.split_off(head_end);
    let at = text.len() - HEAD.len();
    text.insert_str(at, &list);
    text + &body
}

/// A batch of commands of `ip` or `bridge`; nothing without commands.
fn batch(text: &mut String, program: &str, lines: Vec<String>) {
    if !lines.is_empty() {
        let lines = lines.join("\n");
        writeln!(text, "{program} -batch - <<'BATCH'\n{lines}\nBATCH").expect("a string takes all");
    }
}

/// The veth pairs.
fn links(plan: &Plan, missing: &mut Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, link) in plan.lab.links.iter().enumerate() {
        let pairs = pairs(plan, index);
        if pairs.is_empty() {
            missing.push(format!("link {}", link.name));
        }
        for [a, b] in pairs.iter().map(|pair| &pair.ends) {
            let peer = format!("{} netns {}{}", word(&b.interface), b.namespace, b.settings);
            lines.push(format!(
                "link add {} netns {}{} type veth peer name {peer}",
                word(&a.interface),
                a.namespace,
                a.settings
            ));
        }
    }
    lines
}

/// A host: addresses, routes, forwarding, sysctls.
fn host_of(text: &mut String, plan: &Plan, name: &str, host: &Host, missing: &mut Vec<String>) {
    let Some(station) =
        plan.stations.iter().find(|station| plan.lab.nodes[station.node].name.as_str() == name)
    else {
        return;
    };
    writeln!(text, "\n# {name}").expect("a string takes all");
    let mut sysctls = host.sysctls.clone();
    if host.forward {
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            sysctls.entry(key.to_owned()).or_insert_with(|| "1".to_owned());
        }
    }
    for (key, value) in &sysctls {
        let setting = quoted(&format!("{key}={value}"));
        writeln!(text, "ip netns exec {name} sysctl -qw {setting}").expect("a string takes all");
    }
    let mut lines = vec!["link set lo up".to_owned()];
    let lo = station.loopback.iter();
    lines.extend(lo.map(|address| format!("address add {address} dev lo")));
    let is_there = |interface: &Interface| is_made(plan, interface.link.0);
    for interface in station.interfaces.iter().filter(|interface| is_there(interface)) {
        let device = word(&interface.name.to_string());
        for address in &interface.addresses {
            // Nobody else has it: duplicate address detection would only delay its use.
            let flag = if matches!(address.ip(), IpAddr::V6(_)) { " nodad" } else { "" };
            lines.push(format!("address add {address} dev {device}{flag}"));
        }
        lines.push(format!("link set {device} up"));
    }
    let routes = station.routes.iter();
    for route in
        routes.filter(|route| station.interfaces.get(route.interface).is_some_and(is_there))
    {
        let via = route.via.map_or_else(String::new, |via| format!(" via {via}"));
        let device =
            station.interfaces.get(route.interface).map_or_else(String::new, |interface| {
                format!(" dev {}", word(&interface.name.to_string()))
            });
        let metric = route.metric.map_or_else(String::new, |metric| format!(" metric {metric}"));
        lines.push(format!("route add {}{via}{device}{metric}", route.to));
    }
    batch(text, &format!("ip -n {name}"), lines);
    let masquerade = station.masquerade.and_then(|place| station.interfaces.get(place));
    if let Some(interface) = masquerade.filter(|of| is_there(of)) {
        rules(text, name, interface);
    }
    for program in &host.programs {
        missing.push(format!("program {} of {name}: {}", program.name, program.words.join(" ")));
    }
    for file in &host.files {
        missing.push(format!("file {} of {name}", file.path.display()));
    }
}

/// The masquerade of what leaves by an interface.
fn rules(text: &mut String, name: &str, interface: &Interface) {
    let device = interface.name.to_string().replace(['"', '\\'], "?");
    writeln!(
        text,
        "ip netns exec {name} nft -f - <<'RULES'\ntable inet masquerade {{\n  chain post {{\n    type nat hook \
         postrouting priority srcnat\n    oifname \"{device}\" masquerade\n  }}\n}}\nRULES"
    )
    .expect("a string takes all");
}

/// Forwards after twice 4 s, a listening and a learning state, instead of twice 15 s.
const SPANNING_TREE: &str = " stp_state 1 forward_delay 400";

/// A switch: a bridge for each of its VLANs, and its ports.
fn bridges(text: &mut String, plan: &Plan, name: &str, looped: &BTreeSet<(&str, u16)>) {
    writeln!(text, "\n# {name}").expect("a string takes all");
    let mut ports = Vec::new();
    let mut vlans = BTreeSet::new();
    for (index, link) in plan.lab.links.iter().enumerate() {
        for (end, at) in link.ends.iter().enumerate().filter(|(_, at)| at.node.as_str() == name) {
            for pair in pairs(plan, index) {
                let (port, vlan) = (&pair.ends[end].interface, pair.vlans[end]);
                vlans.insert(vlan);
                ports.push(format!("link set {port} master br{vlan} up"));
                if at.port.isolated {
                    ports.push(format!("link set {port} type bridge_slave isolated on"));
                }
            }
        }
    }
    let mut lines = Vec::new();
    for vlan in vlans {
        let tree = if looped.contains(&(name, vlan)) { SPANNING_TREE } else { "" };
        lines.push(format!("link add br{vlan} type bridge mcast_snooping 0{tree}"));
        lines.push(format!("link set br{vlan} up"));
    }
    lines.extend(ports);
    batch(text, &format!("ip -n {name}"), lines);
}
