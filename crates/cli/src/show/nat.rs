//! A NAT and its flows as text.

use crate::output::{clean, table};
use adit_service::nat::model::{Flow, Nat};

/// The lines of `adit nat show`.
pub(crate) fn status(nat: &Nat) -> Vec<String> {
    let mut lines = vec![format!("{} (pid {}): {}", clean(&nat.name), nat.pid, clean(&nat.device))];
    let mut add = |name: &str, text: String| lines.push(format!("  {name:<13} {text}"));
    let joined = |list: &[String]| list.join(", ");
    add("addresses", format!("{}, mtu {}", joined(&nat.addresses), nat.mtu));
    let texts: Vec<String> = nat.gateways.iter().map(ToString::to_string).collect();
    add("gateways", joined(&texts));
    let texts: Vec<String> = nat.name_servers.iter().map(ToString::to_string).collect();
    add("name servers", joined(&texts));
    let texts: Vec<String> = nat.resolvers.iter().map(|server| server.ip().to_string()).collect();
    add("resolvers", joined(&texts));
    if !nat.allow_host.is_empty() {
        let ports: Vec<String> = nat.allow_host.iter().map(ToString::to_string).collect();
        add("allow host", format!("port {}", joined(&ports)));
    }
    add("flows", nat.flows.to_string());
    add("packets", format!("{} from the inside, {} to it", nat.received, nat.sent));
    for (why, count) in &nat.dropped {
        add("dropped", format!("{count}: {}", clean(why)));
    }
    lines
}

/// The lines of `adit nat flows`.
pub(crate) fn flows(flows: &[Flow]) -> Vec<String> {
    let head = ["PROTOCOL", "INSIDE", "REMOTE", "STATE", "SENT", "RECEIVED", "IDLE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(flows.iter().map(|flow| {
        vec![
            clean(&flow.transport),
            flow.inside.to_string(),
            flow.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string()),
            clean(&flow.state),
            flow.sent_bytes.to_string(),
            flow.received_bytes.to_string(),
            format!("{:.0} s", flow.idle_s),
        ]
    }));
    table(&rows)
}
