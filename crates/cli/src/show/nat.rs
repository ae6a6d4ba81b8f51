//! A NAT and its flows as text.

use crate::output::{clean, table};
use adit_nat::dns;
use adit_packet::units::Bitrate;
use adit_service::nat::model::{Flow, Nat, Published};
use std::net::SocketAddr;

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
    let text = |server: &SocketAddr| match server.port() {
        dns::PORT => server.ip().to_string(),
        _ => server.to_string(),
    };
    let texts: Vec<String> = nat.resolvers.iter().map(text).collect();
    add("resolvers", if texts.is_empty() { "none".to_owned() } else { joined(&texts) });
    if !nat.allow_host.is_empty() {
        let ports: Vec<String> = nat.allow_host.iter().map(ToString::to_string).collect();
        add("allow host", format!("port {}", joined(&ports)));
    }
    for (name, list) in [("allow", &nat.allow), ("deny", &nat.deny)] {
        if !list.is_empty() {
            add(name, clean(&joined(list)));
        }
    }
    if let Some(limit) = nat.flow_limit {
        add("flow limit", format!("{limit} of each address"));
    }
    if let Some(rate) = nat.flow_rate {
        add("flow rate", format!("{rate} a second of each address"));
    }
    if let Some(rate) = nat.source_rate {
        add("source rate", format!("{} of each address", Bitrate::from_bits_per_second(rate)));
    }
    if let Some(lost) = nat.flow_log_lost {
        add("flow log", format!("{lost} lines lost"));
    }
    for ports in in_a_row(&nat.published) {
        add("published", ports);
    }
    for guest in &nat.guests {
        add("guest", format!("{} at {}", guest.address, clean(&guest.mac)));
    }
    add("datapath", clean(&nat.datapath));
    add("flows", nat.flows.to_string());
    if nat.datapath == "splice" {
        let all = &nat.spliced;
        let (sent, received) = (all.sent_bytes, all.received_bytes);
        let count = all.connections;
        add("spliced", format!("{count} in all, {sent} bytes from the inside, {received} to it"));
    }
    if let Some(sandbox) = &nat.sandbox {
        add("sandbox", sandbox.to_string());
    }
    add("packets", format!("{} from the inside, {} to it", nat.received, nat.sent));
    for (why, count) in &nat.dropped {
        add("dropped", format!("{count}: {}", clean(why)));
    }
    lines
}

/// Published ports as text; those that follow each other are one range.
fn in_a_row(published: &[Published]) -> Vec<String> {
    let after = |a: &Published, b: &Published| {
        let follows = |a: SocketAddr, b: SocketAddr| {
            a.ip() == b.ip() && a.port().checked_add(1) == Some(b.port())
        };
        a.transport == b.transport && follows(a.local, b.local) && follows(a.inside, b.inside)
    };
    let text = |row: &[Published]| {
        let [first, ..] = row else { return String::new() };
        let range = |at: SocketAddr, last: u16| match at.port() {
            port if port == last => at.to_string(),
            _ => format!("{at}-{last}"),
        };
        let last = row.last().unwrap_or(first);
        let local = range(first.local, last.local.port());
        let inside = range(first.inside, last.inside.port());
        format!("{} {local} to {inside}", clean(&first.transport))
    };
    published.chunk_by(after).map(text).collect()
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
