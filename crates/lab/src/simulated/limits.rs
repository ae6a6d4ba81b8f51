//! What of a lab cannot be simulated.

use adit_topology::model::{Kind, Routing};
use adit_topology::plan::Plan;

/// The setting of a host that chooses its congestion control.
const CONGESTION: &str = "net.ipv4.tcp_congestion_control";

/// What is left out in virtual time, each by the name of its node.
#[must_use]
pub fn lacks(plan: &Plan) -> Vec<String> {
    let mut lacks = Vec::new();
    for node in &plan.lab.nodes {
        let name = &node.name;
        match &node.kind {
            Kind::Host(host) => {
                for program in &host.programs {
                    lacks.push(format!("{name}: the program '{}' does not run", program.name));
                }
                if !matches!(host.routing, Routing::Static | Routing::None) {
                    lacks.push(format!(
                        "{name}: its routing daemon is a model, with the shortest paths 1 s after a change"
                    ));
                }
                if let Some(congestion) = host.sysctls.get(CONGESTION).filter(|of| *of != "reno") {
                    lacks.push(format!("{name}: TCP uses 'reno', not '{congestion}'"));
                }
                let others = host.sysctls.keys().filter(|key| *key != CONGESTION).count();
                if others > 0 {
                    lacks.push(format!("{name}: settings of the kernel have no effect ({others})"));
                }
                if host.masquerade.is_some() {
                    lacks.push(format!("{name}: packets keep their source, without masquerade"));
                }
            }
            Kind::Guest(_) => lacks.push(format!("{name}: the guest does not run")),
            Kind::Outside(port) => lacks.push(format!("{name}: the port '{port}' leads nowhere")),
            Kind::Nat(_) => lacks.push(format!("{name}: nobody answers outside")),
            Kind::Switch(_) => {}
        }
    }
    lacks
}
