//! A model of routing daemons: they know the shortest paths some time after a link has failed or works again.

use adit_topology::model::{Host, Kind, Lab, LinkName, Routing};
use adit_topology::plan::{Plan, Routes};
use std::time::Duration;

/// How long the daemons take: as long as OSPF's between two routers that see their link fail.
pub(super) const CONVERGENCE: Duration = Duration::from_secs(1);

/// What a failed link costs: no path leads there if there is another one.
const FAILED: u32 = 60_000;

/// Whether a daemon computes the routes of a host.
const fn has_daemon(host: &Host) -> bool {
    !matches!(host.routing, Routing::Static | Routing::None)
}

/// Whether there is any daemon.
pub(super) fn any(plan: &Plan) -> bool {
    plan.lab.nodes.iter().filter_map(adit_topology::model::Node::as_host).any(has_daemon)
}

/// The routes of each node with a daemon, by its place, while these links have failed.
pub(super) fn routes(plan: &Plan, failed: impl Fn(&LinkName) -> bool) -> Vec<(usize, Routes)> {
    let with_daemon: Vec<usize> = (0..plan.lab.nodes.len())
        .filter(|&node| plan.lab.nodes[node].as_host().is_some_and(has_daemon))
        .collect();
    let mut lab: Lab = plan.lab.clone();
    for &node in &with_daemon {
        if let Kind::Host(host) = &mut lab.nodes[node].kind {
            host.routing = Routing::Static;
        }
    }
    for link in lab.links.iter_mut().filter(|link| failed(&link.name)) {
        link.cost = FAILED;
    }
    let Ok(paths) = Plan::with_seed(lab, plan.seed) else { return Vec::new() };
    let of_node = |node: usize| {
        let station = paths.stations.iter().find(|station| station.node == node)?;
        Some((node, station.routes.clone()))
    };
    with_daemon.into_iter().filter_map(of_node).collect()
}
