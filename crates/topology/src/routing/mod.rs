//! Routing daemons: configurations of BIRD and FRR from a plan, as files and programs of the nodes.
//!
//! All OSPF routers are in area 0. A node of BGP is an autonomous system of its own and has a session, for
//! each family, with every node of BGP that it shares a network with. Both daemons speak to each other. They
//! announce the networks of their interfaces and the routes that are given; several equal paths are all used.

mod bird;
mod frr;
mod speaker;

use crate::model::{Host, Kind, PrivateFile, Routing};
use crate::plan::Plan;
use adit_service::error::{Entry, Error, Kind as ErrorKind, Result};
use std::path::Path;

/// The daemon is not installed.
pub const NO_DAEMON: Entry = Entry {
    code: "ADIT-E0851",
    title: "a routing daemon of the lab is not installed",
    explanation: "A node has `routing = \"bird:...\"` or `routing = \"frr:...\"`. adit writes the \
                  configuration; the daemon itself is a program of this machine.",
    remedy: "Install it: 'apt install bird2' or 'apt install frr' on Debian and Ubuntu.",
};

/// The daemon needs more users than the namespace has.
pub const FEW_USERS: Entry = Entry {
    code: "ADIT-E0852",
    title: "FRR needs more users than the lab has",
    explanation: "FRR changes to the group frrvty when it starts. Without root, a lab has only your own user, unless \
                  newuidmap and newgidmap give it the ranges of /etc/subuid and /etc/subgid.",
    remedy: "Install newuidmap ('apt install uidmap') and add a range for your user to /etc/subuid and \
             /etc/subgid ('usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER'); or use \
             `routing = \"bird:...\"`, which needs one user.",
};

/// The codes of this part, for `adit explain`.
pub const CATALOG: [Entry; 2] = [NO_DAEMON, FEW_USERS];

/// Adds the configuration and the programs of the routing daemons to the nodes that have one.
///
/// A node that has a file in the place of the configuration, or a program of that name, keeps it.
pub fn complete(plan: &mut Plan) {
    let speakers = speaker::all(plan);
    for speaker in &speakers {
        let peers = speaker.peers(&speakers);
        let (files, programs) = match speaker.routing {
            Routing::BirdOspf => bird::ospf(speaker, &peers),
            Routing::BirdBgp => bird::bgp(speaker, &peers),
            Routing::FrrOspf => frr::ospf(speaker, &peers),
            Routing::FrrBgp => frr::bgp(speaker, &peers),
            Routing::Static | Routing::None => continue,
        };
        let Kind::Host(host) = &mut plan.lab.nodes[speaker.node].kind else { continue };
        for (path, text) in files {
            add_file(host, path, text);
        }
        for program in programs {
            if host.programs.iter().all(|known| known.name != program.name) {
                host.programs.push(program);
            }
        }
        // Flows, not only pairs of hosts, are spread over equal paths.
        for family in ["ipv4", "ipv6"] {
            let name = format!("net.{family}.fib_multipath_hash_policy");
            host.sysctls.entry(name).or_insert_with(|| "1".to_owned());
        }
    }
}

fn add_file(host: &mut Host, path: &str, text: String) {
    let path = Path::new(path);
    if host.files.iter().all(|file| file.path != path) {
        // The daemon may change to another user.
        host.files.push(PrivateFile { path: path.to_owned(), text, mode: 0o644 });
    }
}

/// Checks that the daemons of `plan` can run on this machine; `has_users`: the lab has more users than one.
///
/// # Errors
/// A daemon is not installed, or needs more users.
pub fn check(plan: &Plan, has_users: bool) -> Result<()> {
    for node in &plan.lab.nodes {
        let Some(host) = node.as_host() else { continue };
        let (daemon, is_frr) = match host.routing {
            Routing::Static | Routing::None => continue,
            Routing::BirdOspf | Routing::BirdBgp => (bird::PROGRAMS.as_slice(), false),
            Routing::FrrOspf | Routing::FrrBgp => (frr::PROGRAMS.as_slice(), true),
        };
        if let Some(missing) = daemon.iter().find(|path| !Path::new(path).exists()) {
            let message = format!("node {}: there is no {missing}", node.name);
            return Err(Error::new(ErrorKind::NotFound, &NO_DAEMON, message).object(missing));
        }
        if is_frr && !has_users {
            let message =
                format!("node {}: FRR needs more users than the one of this lab", node.name);
            return Err(Error::new(ErrorKind::Permission, &FEW_USERS, message).object(&node.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
