//! Configurations of FRR: a file for each daemon.

use super::speaker::{Attached, DEAD_SECS, HELLO_SECS, PATHS_MAX, Peer, Speaker};
use crate::model::{Program, Restart};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// What must be installed; the other daemons are in the same package.
pub(super) const PROGRAMS: [&str; 1] = ["/usr/lib/frr/zebra"];

/// Files and programs of a node.
type Parts = (Vec<(&'static str, String)>, Vec<Program>);

/// A daemon: its name, the path of its configuration, and the configuration.
type Daemon = (&'static str, &'static str, String);

fn parts(speaker: &Speaker, daemons: Vec<Daemon>) -> Parts {
    let head = format!("! FRR of {}, written by adit.\nhostname {}\n", speaker.name, speaker.name);
    let zebra = ("zebra", "/run/frr/zebra.conf", String::new());
    let mut files = Vec::new();
    let mut programs = Vec::new();
    for (name, path, config) in std::iter::once(zebra).chain(daemons) {
        files.push((path, format!("{head}{config}")));
        // FRR changes to its own user, which makes its sockets in this folder.
        let command =
            format!("chown frr:frr /run/frr && exec /usr/lib/frr/{name} -f {path} --log stdout");
        programs.push(Program {
            name: name.to_owned(),
            words: ["sh".to_owned(), "-c".to_owned(), command].to_vec(),
            restart: Restart::OnFailure,
            ready: ["test", "-S"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("/run/frr/{name}.vty")])
                .collect(),
            ready_within: Duration::from_secs(30),
        });
    }
    (files, programs)
}

/// OSPFv2 and OSPFv3 in area 0.
pub(super) fn ospf(speaker: &Speaker, peers: &[Peer]) -> Parts {
    let Speaker { router_id, .. } = speaker;
    let default = |has_default| if has_default { " default-information originate\n" } else { "" };
    let [default4, default6] = speaker.has_default.map(default);
    let mut v2 = format!(
        "router ospf\n ospf router-id {router_id}\n maximum-paths {PATHS_MAX}\n redistribute kernel\n{default4}exit\n"
    );
    let mut v3 = format!(
        "router ospf6\n ospf6 router-id {router_id}\n maximum-paths {PATHS_MAX}\n redistribute kernel\n{default6}exit\n"
    );
    for (at, interface) in speaker.interfaces.iter().enumerate() {
        let is_active = peers.iter().any(|peer| peer.interface == at);
        v2 += &interface_of_ospf(interface, is_active, "ip ospf");
        v3 += &interface_of_ospf(interface, is_active, "ipv6 ospf6");
    }
    v2 += "interface lo\n ip ospf area 0\n ip ospf passive\nexit\n";
    v3 += "interface lo\n ipv6 ospf6 area 0\n ipv6 ospf6 passive\nexit\n";
    parts(
        speaker,
        vec![("ospfd", "/run/frr/ospfd.conf", v2), ("ospf6d", "/run/frr/ospf6d.conf", v3)],
    )
}

fn interface_of_ospf(interface: &Attached, is_active: bool, prefix: &str) -> String {
    let Attached { name, cost, is_point_to_point, .. } = interface;
    let mut lines = vec!["area 0".to_owned(), format!("cost {cost}")];
    if is_active {
        lines.push(format!("hello-interval {HELLO_SECS}"));
        lines.push(format!("dead-interval {DEAD_SECS}"));
        if *is_point_to_point {
            lines.push("network point-to-point".to_owned());
        }
    } else {
        lines.push("passive".to_owned());
    }
    let lines: String = lines.iter().map(|line| format!(" {prefix} {line}\n")).collect();
    format!("interface {name}\n{lines}exit\n")
}

/// Sessions with all peers, each of one family.
pub(super) fn bgp(speaker: &Speaker, peers: &[Peer]) -> Parts {
    let Speaker { router_id, system, .. } = speaker;
    let mut text = format!(
        "router bgp {system}\n bgp router-id {router_id}\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax\n timers bgp {HELLO_SECS} {DEAD_SECS}\n"
    );
    for Peer { name, system, addresses: (_, theirs), .. } in peers {
        let lines = [
            format!("remote-as {system}"),
            format!("description {name}"),
            "timers connect 1".to_owned(),
        ];
        for line in lines.iter().map(String::as_str).chain(["advertisement-interval 0"]) {
            writeln!(text, " neighbor {theirs} {line}").expect("a string takes all");
        }
    }
    for (family, is_v4) in [("ipv4", true), ("ipv6", false)] {
        writeln!(text, " address-family {family} unicast").expect("a string takes all");
        for peer in peers.iter().filter(|peer| matches!(peer.addresses.0, IpAddr::V4(_)) == is_v4) {
            writeln!(text, "  neighbor {} activate", peer.addresses.1).expect("a string takes all");
        }
        writeln!(
            text,
            "  redistribute connected\n  redistribute kernel\n  maximum-paths {PATHS_MAX}\n exit-address-family"
        )
        .expect("a string takes all");
    }
    parts(speaker, vec![("bgpd", "/run/frr/bgpd.conf", text)])
}
