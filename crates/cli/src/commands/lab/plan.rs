//! `adit lab plan`.

use crate::commands::lab::wanted::Wanted;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use adit_service::error::Result;
use adit_topology::model::{Kind, Lab};
use adit_topology::plan::{Medium, Plan, Station};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows each node with its interfaces, addresses and routes, and each link with the way in which it is made: 'veth' \
is a cable of the kernel, 'taps' and 'port' pass through adit, 'patch' is inside adit.

Example: adit lab plan office.toml")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// A lab with everything filled in.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab plan")]
pub(crate) struct View {
    /// Its name.
    name: Option<String>,
    /// What every random decision is drawn from.
    seed: u64,
    /// Its nodes.
    nodes: Vec<NodeView>,
    /// Its links.
    links: Vec<LinkView>,
    /// Its tunnels.
    tunnels: Vec<TunnelView>,
}

/// A node.
#[derive(Debug, Serialize, JsonSchema)]
struct NodeView {
    name: String,
    /// `host`, `router`, `switch`, `nat`, `guest` or `outside`.
    kind: &'static str,
    /// What it is on this machine, if it is outside of the lab: `dev:eth1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    /// Its interfaces but `lo`.
    interfaces: Vec<InterfaceView>,
    /// Addresses of `lo`, beside 127.0.0.1 and ::1.
    loopback: Vec<String>,
    /// Its routes beside those to connected networks.
    routes: Vec<RouteView>,
    /// The interface whose address is the source of what leaves there.
    masquerade: Option<String>,
    /// Its name servers.
    dns: Vec<String>,
}

/// An interface.
#[derive(Debug, Serialize, JsonSchema)]
struct InterfaceView {
    /// Its name; of a NAT, that of its link.
    name: String,
    /// The link.
    link: String,
    mac: String,
    mtu: u16,
    addresses: Vec<String>,
}

/// A route.
#[derive(Debug, Serialize, JsonSchema)]
struct RouteView {
    /// The network; `default` is all.
    to: String,
    via: Option<String>,
    interface: String,
    metric: Option<u32>,
}

/// A link.
#[derive(Debug, Serialize, JsonSchema)]
struct LinkView {
    name: String,
    /// Its two ends: a node, or `node:interface`.
    ends: [String; 2],
    /// `veth`, `taps`, `port` or `patch`.
    medium: &'static str,
    /// Whether it has delay, loss, a rate, or other effects.
    emulated: bool,
    /// What its random decisions are drawn from.
    seed: u64,
    mtu: u16,
    cost: u32,
}

/// A tunnel.
#[derive(Debug, Serialize, JsonSchema)]
struct TunnelView {
    name: String,
    ends: [TunnelEndView; 2],
}

/// An end of a tunnel.
#[derive(Debug, Serialize, JsonSchema)]
struct TunnelEndView {
    node: String,
    interface: String,
    addresses: Vec<String>,
    /// Where the other end reaches it.
    endpoint: Option<String>,
    mtu: u16,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let read = self.wanted.read()?;
        let view = View::new(&read.plan);
        if context.output.json {
            context.output.value(&view)?;
        } else {
            for line in view.lines(&context.output) {
                context.output.line(clean(&line))?;
            }
            for warning in read.plan.warnings() {
                context.output.note(clean(&format!("warning: {warning}")));
            }
        }
        Ok(Exit::Ok)
    }
}

impl View {
    fn new(plan: &Plan) -> Self {
        let lab = &plan.lab;
        let nodes = lab.nodes.iter().enumerate().map(|(place, node)| {
            let mut view = NodeView {
                name: node.name.to_string(),
                kind: node.kind.word(),
                port: match &node.kind {
                    Kind::Outside(port) => Some(port.clone()),
                    _ => None,
                },
                interfaces: Vec::new(),
                loopback: Vec::new(),
                routes: Vec::new(),
                masquerade: None,
                dns: Vec::new(),
            };
            if let Some(station) = plan.station(&node.name) {
                view.fill(lab, station);
            }
            for outlet in plan.outlets.iter().filter(|outlet| outlet.node == place) {
                let link = lab.links[outlet.link.0].name.to_string();
                let (mac, addresses) = (outlet.mac.to_string(), texts(&outlet.gateways));
                let mtu = plan.mtu(outlet.link.0);
                view.interfaces.push(InterfaceView {
                    name: link.clone(),
                    link,
                    mac,
                    mtu,
                    addresses,
                });
                view.dns.extend(texts(&outlet.resolvers));
                view.routes.extend(outlet.routes.iter().map(|(to, via)| RouteView {
                    to: to.to_string(),
                    via: Some(via.to_string()),
                    interface: lab.links[outlet.link.0].name.to_string(),
                    metric: None,
                }));
            }
            view
        });
        let links =
            lab.links.iter().zip(&plan.cables).enumerate().map(|(place, (link, cable))| LinkView {
                name: link.name.to_string(),
                ends: [0, 1].map(|end| plan.end_text(place, end)),
                medium: medium(cable.medium),
                emulated: link.netem.is_some(),
                seed: cable.seed,
                mtu: plan.mtu(place),
                cost: link.cost,
            });
        let tunnels = lab.tunnels.iter().zip(&plan.tunnels).map(|(tunnel, planned)| TunnelView {
            name: tunnel.name.to_string(),
            ends: planned.ends.each_ref().map(|end| TunnelEndView {
                node: lab.nodes[end.node].name.to_string(),
                interface: end.interface.to_string(),
                addresses: texts(&end.addresses),
                endpoint: end.endpoint.map(|endpoint| endpoint.to_string()),
                mtu: end.mtu,
            }),
        });
        Self {
            name: lab.name.as_ref().map(ToString::to_string),
            seed: plan.seed,
            nodes: nodes.collect(),
            links: links.collect(),
            tunnels: tunnels.collect(),
        }
    }

    fn lines(&self, output: &Output) -> Vec<String> {
        let mut lines = Vec::new();
        for node in &self.nodes {
            let port = node.port.as_ref().map(|port| format!("  {}", clean(port)));
            let name = output.paint(Tone::Name, &node.name);
            lines.push(format!("{} {name}{}", node.kind, port.unwrap_or_default()));
            lines.extend(node.lines());
        }
        let row = |link: &LinkView| {
            let medium = if link.emulated {
                format!("{}, emulated", link.medium)
            } else {
                link.medium.to_owned()
            };
            let [a, b] = &link.ends;
            ["  ".to_owned() + &link.name, format!("{a} - {b}"), medium].to_vec()
        };
        if !self.links.is_empty() {
            lines.push("links".to_owned());
            lines.extend(table(&self.links.iter().map(row).collect::<Vec<_>>()));
        }
        if !self.tunnels.is_empty() {
            lines.push("tunnels".to_owned());
            lines.extend(self.tunnels.iter().map(|tunnel| {
                let end = |end: &TunnelEndView| {
                    format!("{}:{} {}", end.node, end.interface, end.addresses.join(" "))
                };
                let [a, b] = tunnel.ends.each_ref().map(end);
                format!("  {}  {a} - {b}", tunnel.name)
            }));
        }
        lines.push(format!("seed {}", self.seed));
        lines
    }
}

impl NodeView {
    fn fill(&mut self, lab: &Lab, station: &Station) {
        let name_of = |interface: usize| station.interfaces[interface].name.to_string();
        self.interfaces.extend(station.interfaces.iter().map(|of| InterfaceView {
            name: of.name.to_string(),
            link: lab.links[of.link.0].name.to_string(),
            mac: of.mac.to_string(),
            mtu: of.mtu,
            addresses: texts(&of.addresses),
        }));
        self.loopback = texts(&station.loopback);
        self.routes.extend(station.routes.iter().map(|route| RouteView {
            to: if route.to.len() == 0 { "default".to_owned() } else { route.to.to_string() },
            via: route.via.map(|via| via.to_string()),
            interface: name_of(route.interface),
            metric: route.metric,
        }));
        self.masquerade = station.masquerade.map(name_of);
        self.dns = texts(&station.dns);
    }

    fn lines(&self) -> Vec<String> {
        let mut heads = Vec::new();
        let mut interfaces: Vec<Vec<String>> = Vec::new();
        if !self.loopback.is_empty() {
            heads.push("lo");
            interfaces.push(vec![self.loopback.join(" ")]);
        }
        for interface in &self.interfaces {
            heads.push(&interface.name);
            interfaces.push(vec![interface.addresses.join(" "), interface.mac.clone()]);
        }
        let mut lines = table(&interfaces);
        for RouteView { to, via, interface, metric } in &self.routes {
            let via = via.as_ref().map_or(String::new(), |via| format!("via {via} "));
            let metric = metric.map_or(String::new(), |metric| format!(" metric {metric}"));
            heads.push("route");
            lines.push(format!("{to} {via}dev {interface}{metric}"));
        }
        if let Some(interface) = &self.masquerade {
            heads.push("masquerade");
            lines.push(interface.clone());
        }
        if !self.dns.is_empty() {
            heads.push("dns");
            lines.push(self.dns.join(" "));
        }
        let width = heads.iter().map(|head| head.len()).max().unwrap_or(0);
        heads.iter().zip(lines).map(|(head, line)| format!("  {head:<width$}  {line}")).collect()
    }
}

fn texts(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

const fn medium(medium: Medium) -> &'static str {
    match medium {
        Medium::Veth => "veth",
        Medium::Taps => "taps",
        Medium::Port(_) => "port",
        Medium::Patch => "patch",
    }
}
