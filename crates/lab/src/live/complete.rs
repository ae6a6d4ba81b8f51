//! What a plan asks of programs: routing daemons, tunnels of adit, the packet filter.

use crate::keeper::{CommandSpec, NodeKey};
use adit_packet::IpPrefix;
use adit_topology::model::{Host, Kind, PrivateFile, Program, Restart};
use adit_topology::plan::{Plan, Station, TunnelEnd};
use adit_topology::routing;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a tunnel has until it is up.
const TUNNEL_WITHIN: Duration = Duration::from_secs(30);

/// How long nft may take.
const FILTER_WITHIN: Duration = Duration::from_secs(10);

/// The table of the packet filter in a node.
const TABLE: &str = "inet adit-lab";

/// Adds the configurations and programs of routing daemons and tunnels to the hosts that have them.
pub(super) fn complete(plan: &mut Plan) {
    routing::complete(plan);
    for number in 0..plan.tunnels.len() {
        let ends = plan.tunnels[number].ends.clone();
        for (own, other) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
            let Kind::Host(host) = &mut plan.lab.nodes[own.node].kind else { continue };
            add_tunnel(host, own, other);
        }
    }
}

/// The program that runs the lab, unless a test or another program does. It is looked up before a sandbox forbids it.
pub(super) fn adit() -> &'static str {
    static ADIT: OnceLock<String> = OnceLock::new();
    ADIT.get_or_init(|| {
        let own = std::env::current_exe().ok();
        let own = own.filter(|path| path.file_name().is_some_and(|of| of == "adit"));
        own.map_or_else(|| "adit".to_owned(), |path| path.display().to_string())
    })
}

fn add_tunnel(host: &mut Host, own: &TunnelEnd, other: &TunnelEnd) {
    let path = PathBuf::from(format!("/etc/wireguard/{}.conf", own.interface));
    if host.files.iter().any(|file| file.path == path) {
        return;
    }
    let adit = adit();
    let words = |words: &[&str]| -> Vec<String> {
        std::iter::once(adit).chain(words.iter().copied()).map(str::to_owned).collect()
    };
    let name = own.interface.to_string();
    host.programs.push(Program {
        name: format!("tunnel-{name}"),
        words: words(&["tunnel", "up", &path.display().to_string()]),
        restart: Restart::OnFailure,
        ready: words(&["tunnel", "show", &name]),
        ready_within: TUNNEL_WITHIN,
    });
    host.files.push(PrivateFile { path, text: configuration(own, other), mode: 0o600 });
}

/// The configuration of an end, as wg-quick reads it.
fn configuration(own: &TunnelEnd, other: &TunnelEnd) -> String {
    let list = |prefixes: &mut dyn Iterator<Item = IpPrefix>| {
        prefixes.map(|prefix| prefix.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\nAddress = {}\nMTU = {}\n",
        own.private_key.to_base64().as_str(),
        list(&mut own.addresses.iter().copied()),
        own.mtu
    );
    if let Some(endpoint) = own.endpoint {
        text.push_str(&format!("ListenPort = {}\n", endpoint.port()));
    }
    text.push_str(&format!(
        "\n[Peer]\nPublicKey = {}\nAllowedIPs = {}\n",
        other.private_key.public_key(),
        list(&mut other.addresses.iter().map(|address| address.network())),
    ));
    if let Some(endpoint) = other.endpoint {
        text.push_str(&format!("Endpoint = {endpoint}\n"));
    }
    text
}

/// The command that gives packets of a router the address of the interface by which they leave, or takes that away.
pub(super) fn masquerade(node: NodeKey, station: &Station) -> CommandSpec {
    let mut text = format!("add table {TABLE}; delete table {TABLE};");
    let interface = station.masquerade.and_then(|place| station.interfaces.get(place));
    if let Some(interface) = interface {
        text.push_str(&format!(
            " table {TABLE} {{ chain out {{ type nat hook postrouting priority 100; \
             oifname \"{}\" masquerade; }}; }}",
            interface.name
        ));
    }
    CommandSpec {
        node,
        words: vec!["nft".to_owned(), text],
        environment: Vec::new(),
        directory: None,
        within: FILTER_WITHIN,
    }
}
