//! Configurations of BIRD 2.

use super::speaker::{Attached, DEAD_SECS, HELLO_SECS, PATHS_MAX, Peer, Speaker};
use crate::model::{Program, Restart};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// Where Debian has it.
const BIRD: &str = "/usr/sbin/bird";

/// What must be installed.
pub(super) const PROGRAMS: [&str; 1] = [BIRD];

/// The configuration; the folder is that of the control socket, where `birdc` looks for it.
const CONFIG: &str = "/run/bird/bird.conf";

const SOCKET: &str = "/run/bird/bird.ctl";

/// Files and programs of a node.
type Parts = (Vec<(&'static str, String)>, Vec<Program>);

fn parts(config: String) -> Parts {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let program = Program {
        name: "bird".to_owned(),
        // In the foreground, so that it is seen when it ends.
        words: words(&[BIRD, "-f", "-c", CONFIG, "-s", SOCKET]),
        restart: Restart::OnFailure,
        ready: words(&["birdc", "-s", SOCKET, "show", "status"]),
        ready_within: Duration::from_secs(30),
    };
    (vec![(CONFIG, config)], vec![program])
}

/// Both families, as BIRD calls them.
const FAMILIES: [(&str, &str); 2] = [("4", "ipv4"), ("6", "ipv6")];

/// What both protocols have: interfaces are watched, and routes go to and come from the kernel.
fn common(speaker: &Speaker) -> String {
    let Speaker { name, router_id, .. } = speaker;
    let mut text = format!(
        "# BIRD of {name}, written by adit.\nlog stderr {{ warning, error, fatal, bug }};\nrouter id {router_id};\n\
         protocol device {{ scan time 2; }}\n"
    );
    for (number, family) in FAMILIES {
        // Routes that adit gave the node are learned, so that they are announced too.
        writeln!(
            text,
            "protocol kernel kernel{number} {{\n  {family} {{ import all; export where source != RTS_DEVICE; }};\n  \
             learn;\n  scan time 5;\n  merge paths on limit {PATHS_MAX};\n}}"
        )
        .expect("a string takes all");
    }
    text
}

/// OSPFv2 and OSPFv3 in area 0.
pub(super) fn ospf(speaker: &Speaker, peers: &[Peer]) -> Parts {
    let mut text = common(speaker);
    for ((number, family), version) in FAMILIES.into_iter().zip(["v2", "v3"]) {
        let interfaces: String = speaker
            .interfaces
            .iter()
            .enumerate()
            .map(|(at, interface)| {
                let is_active = peers.iter().any(|peer| peer.interface == at);
                interface_of_ospf(interface, is_active)
            })
            .collect();
        writeln!(
            text,
            "protocol ospf {version} ospf{number} {{\n  ecmp yes limit {PATHS_MAX};\n  \
             {family} {{ import all; export where source = RTS_INHERIT; }};\n  area 0 {{\n{interfaces}    \
             interface \"lo\" {{ stub yes; }};\n  }};\n}}"
        )
        .expect("a string takes all");
    }
    parts(text)
}

fn interface_of_ospf(interface: &Attached, is_active: bool) -> String {
    let Attached { name, cost, is_point_to_point, .. } = interface;
    if !is_active {
        return format!("    interface \"{name}\" {{ stub yes; cost {cost}; }};\n");
    }
    let kind = if *is_point_to_point { "ptp" } else { "broadcast" };
    format!(
        "    interface \"{name}\" {{ type {kind}; cost {cost}; hello {HELLO_SECS}; dead {DEAD_SECS}; \
         wait {DEAD_SECS}; }};\n"
    )
}

/// Sessions with all peers, each of one family.
pub(super) fn bgp(speaker: &Speaker, peers: &[Peer]) -> Parts {
    let mut text = common(speaker);
    text += "protocol direct { ipv4; ipv6; }\n";
    for (number, peer) in peers.iter().enumerate() {
        let Peer { name, system, addresses: (ours, theirs), .. } = peer;
        let family = if matches!(ours, IpAddr::V4(_)) { "ipv4" } else { "ipv6" };
        writeln!(
            text,
            "protocol bgp bgp{number} {{\n  description \"{name}\";\n  local {ours} as {};\n  \
             neighbor {theirs} as {system};\n  hold time {DEAD_SECS};\n  keepalive time {HELLO_SECS};\n  \
             connect delay time 1;\n  connect retry time 2;\n  error wait time 1, 4;\n  \
             {family} {{ import all; export all; next hop self; }};\n}}",
            speaker.system
        )
        .expect("a string takes all");
    }
    parts(text)
}
