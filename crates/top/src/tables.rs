//! The tables of the live view: their rows from what the services report, with rates.

use crate::cell::Cell;
use crate::machine::{Machine, Report, Service};
use crate::meter::{Counters, Meter, Rates};
use crate::status::{State, Status};
use adit_service::health::{is_wanted, meaning};
use adit_service::nat::model::{Flow, Nat};
use adit_service::netem::report::{LinkReport, LinkStatus, Links};
use adit_service::switch::model::{Address, Counters as PortCounters, State as PortState, Switch};
use adit_topology::report::{Lab, LinkState};
use adit_vpn::state::{Dropped, PeerView, View as Tunnel};
use std::collections::BTreeMap;

/// A table of the live view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tab {
    /// The services, and what is wrong with them.
    Services,
    /// TUN and TAP devices.
    Devices,
    /// Ports of switches.
    Ports,
    /// Addresses that switches know.
    Addresses,
    /// Peers of tunnels.
    Peers,
    /// Emulated links, and links of labs.
    Links,
    /// Flows of NATs.
    Flows,
    /// Dropped packets by reason.
    Drops,
}

impl Tab {
    /// All, in the order of their keys 1 to 8.
    pub const ALL: [Self; 8] = [
        Self::Services,
        Self::Devices,
        Self::Ports,
        Self::Addresses,
        Self::Peers,
        Self::Links,
        Self::Flows,
        Self::Drops,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Devices => "Devices",
            Self::Ports => "Ports",
            Self::Addresses => "Addresses",
            Self::Peers => "Peers",
            Self::Links => "Links",
            Self::Flows => "Flows",
            Self::Drops => "Drops",
        }
    }

    /// Its columns; those of rates come last.
    pub(crate) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Services => &SERVICES,
            Self::Devices => &DEVICES,
            Self::Ports => &PORTS,
            Self::Addresses => &ADDRESSES,
            Self::Peers => &PEERS,
            Self::Links => &LINKS,
            Self::Flows => &FLOWS,
            Self::Drops => &DROPS,
        }
    }

    /// The column by which it is sorted at first, and whether the highest comes first.
    pub(crate) const fn order(self) -> (usize, bool) {
        match self {
            Self::Services => (0, false),
            Self::Devices | Self::Ports => (5, true),
            Self::Links => (5, true),
            Self::Addresses => (1, false),
            Self::Peers => (2, false),
            Self::Flows => (6, true),
            Self::Drops => (0, true),
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) name: &'static str,
    /// Its key for programs.
    pub(crate) key: &'static str,
    /// On a narrow screen, columns of 1 are left out first, then those of 2; 0 always stays.
    pub(crate) rank: u8,
}

/// A column that always stays.
const fn column(name: &'static str, key: &'static str) -> Column {
    Column { name, key, rank: 0 }
}

/// A column that a narrow screen leaves out.
const fn extra(rank: u8, name: &'static str, key: &'static str) -> Column {
    Column { name, key, rank }
}

const IN: Column = column("IN b/s", "received_bits_per_s");
const OUT: Column = column("OUT b/s", "sent_bits_per_s");
const DROPPED: Column = column("DROPS/S", "dropped_per_s");

const SERVICES: [Column; 8] = [
    column("STATE", "state"),
    column("NAME", "name"),
    column("KIND", "kind"),
    extra(1, "UPTIME", "uptime_s"),
    column("SUMMARY", "summary"),
    IN,
    OUT,
    DROPPED,
];
const DEVICES: [Column; 8] = [
    column("DEVICE", "device"),
    column("KIND", "kind"),
    column("STATE", "state"),
    extra(1, "MTU", "mtu"),
    column("HELD BY", "held_by"),
    IN,
    OUT,
    DROPPED,
];
const PORTS: [Column; 8] = [
    column("SWITCH", "switch"),
    column("PORT", "port"),
    column("STATE", "state"),
    extra(1, "VLAN", "vlan"),
    column("ADDRS", "addresses"),
    IN,
    OUT,
    DROPPED,
];
const ADDRESSES: [Column; 6] = [
    column("SWITCH", "switch"),
    column("ADDRESS", "address"),
    column("VLAN", "vlan"),
    column("PORT", "port"),
    column("KIND", "kind"),
    column("AGE", "age_s"),
];
const PEERS: [Column; 9] = [
    column("TUNNEL", "tunnel"),
    column("PEER", "peer"),
    column("STATE", "state"),
    column("ENDPOINT", "endpoint"),
    extra(2, "HEARD", "authentic_age_s"),
    extra(1, "RTT", "round_trip_s"),
    IN,
    OUT,
    DROPPED,
];
const LINKS: [Column; 8] = [
    column("SERVICE", "service"),
    column("LINK", "link"),
    column("STATE", "state"),
    column("DELAY", "delay_s"),
    column("LOSS", "loss"),
    column("A>B b/s", "a_to_b_bits_per_s"),
    column("B>A b/s", "b_to_a_bits_per_s"),
    DROPPED,
];
const FLOWS: [Column; 8] = [
    column("NAT", "nat"),
    column("PROTO", "protocol"),
    column("INSIDE", "inside"),
    column("REMOTE", "remote"),
    extra(1, "STATE", "state"),
    extra(2, "IDLE", "idle_s"),
    IN,
    OUT,
];
const DROPS: [Column; 6] = [
    DROPPED,
    column("TOTAL", "total"),
    column("SERVICE", "service"),
    column("WHERE", "where"),
    column("REASON", "reason"),
    column("MEANING", "meaning"),
];

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What it is, whatever its cells are.
    pub(crate) key: String,
    pub(crate) cells: Vec<Cell>,
    /// Whether something is wrong with it.
    pub(crate) is_bad: bool,
    /// Names of the two lines of its history; none: it has no history.
    pub(crate) lines: Option<[&'static str; 2]>,
}

/// A table with its rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub(crate) rows: Vec<Row>,
}

/// All tables, and the rates in them.
#[derive(Debug, Default)]
pub struct Tables {
    pub(crate) meter: Meter<(Tab, String)>,
    pub(crate) all: BTreeMap<Tab, Table>,
}

impl Tables {
    /// Takes the state of a moment.
    pub fn update(&mut self, machine: &Machine, status: &Status) {
        self.all.clear();
        let mut filler = Filler { tables: self, machine };
        for row in &status.services {
            let found = machine
                .services
                .iter()
                .find(|one| one.socket == row.socket && one.name == row.name);
            let counters = found.map(|service| total(&service.report)).unwrap_or_default();
            let is_bad = row.problems > 0;
            let cells = vec![
                Cell::text(state_text(row.state, row.problems)),
                Cell::text(&row.name),
                Cell::text(&row.kind),
                row.uptime_s.map_or(Cell::None, |seconds| Cell::Seconds(float(seconds))),
                Cell::text(&row.summary),
            ];
            filler.traffic(Tab::Services, &row.socket, cells, is_bad, counters);
        }
        for device in &machine.devices {
            let cells = vec![
                Cell::text(&device.name),
                Cell::text(device.kind),
                Cell::text(device.state),
                Cell::Count(device.mtu.into()),
                Cell::text(&device.held_by),
            ];
            let counters =
                Counters { received: device.received, sent: device.sent, dropped: device.dropped };
            filler.traffic(Tab::Devices, &device.name, cells, false, counters);
        }
        machine.services.iter().for_each(|service| filler.service(service));
        self.meter.forget_older(machine.at);
    }

    /// The rows of a table.
    pub(crate) fn rows(&self, tab: Tab) -> &[Row] {
        self.all.get(&tab).map_or(&[], |table| &table.rows)
    }

    /// The rows of a table as a program reads them: each a map of its columns.
    #[must_use]
    pub fn values(&self, tab: Tab) -> Vec<BTreeMap<&'static str, Cell>> {
        let row = |row: &Row| {
            tab.columns().iter().map(|column| column.key).zip(row.cells.iter().cloned()).collect()
        };
        self.rows(tab).iter().map(row).collect()
    }
}

/// Fills tables from the state of a moment.
struct Filler<'a> {
    tables: &'a mut Tables,
    machine: &'a Machine,
}

impl Filler<'_> {
    /// Adds a row.
    fn row(&mut self, tab: Tab, row: Row) {
        self.tables.all.entry(tab).or_default().rows.push(row);
    }

    /// The rates of a row.
    fn rates(&mut self, tab: Tab, key: &str, counters: Counters) -> Rates {
        self.tables.meter.note((tab, key.to_owned()), self.machine.at, counters)
    }

    /// Adds a row with rates in its last three columns.
    fn traffic(
        &mut self,
        tab: Tab,
        key: &str,
        mut cells: Vec<Cell>,
        is_bad: bool,
        counters: Counters,
    ) {
        let rates = self.rates(tab, key, counters);
        cells.extend([
            Cell::Bits(rates.received),
            Cell::Bits(rates.sent),
            Cell::PerSecond(rates.dropped),
        ]);
        cells.truncate(tab.columns().len());
        let lines = if tab == Tab::Links { ["a to b", "b to a"] } else { ["in", "out"] };
        self.row(tab, Row { key: key.to_owned(), cells, is_bad, lines: Some(lines) });
    }

    /// Adds what was dropped somewhere for a reason.
    fn drop(&mut self, service: &str, place: &str, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        let key = format!("{service}\n{place}\n{reason}");
        let counters = Counters { dropped: count, ..Counters::default() };
        let rate = self.rates(Tab::Drops, &key, counters).dropped;
        let is_asked = is_wanted(reason);
        let means = meaning(reason);
        let cells = vec![
            Cell::PerSecond(rate),
            Cell::Count(count),
            Cell::text(service),
            Cell::text(place),
            Cell::text(reason),
            Cell::text(means),
        ];
        let is_bad = rate > 0.0 && !is_asked;
        self.row(Tab::Drops, Row { key, cells, is_bad, lines: Some(["", ""]) });
    }

    fn service(&mut self, service: &Service) {
        let name = &service.name;
        match &service.report {
            Report::Switch(switch, addresses) => self.switch(name, switch, addresses),
            Report::Netem(link) => self.netem(name, link),
            Report::Nat(nat, flows) => self.nat(name, nat, flows),
            Report::Tunnel(tunnel) => self.tunnel(name, tunnel),
            Report::Lab(lab) => self.lab(name, lab),
            Report::Other | Report::Stale | Report::NoAnswer(_) | Report::NoAccess => {}
        }
    }

    fn switch(&mut self, name: &str, switch: &Switch, addresses: &[Address]) {
        for port in &switch.ports {
            let drops = [&port.ingress, &port.egress].map(PortCounters::dropped);
            let counters = Counters {
                received: port.ingress.bytes,
                sent: port.egress.bytes,
                dropped: drops.iter().sum(),
            };
            let cells = vec![
                Cell::text(name),
                Cell::text(&port.name),
                Cell::text(port.state.as_str()),
                Cell::text(port.vlan.text()),
                Cell::Count(u64::try_from(port.fdb_entries).unwrap_or(u64::MAX)),
            ];
            let is_bad =
                matches!(port.state, PortState::Down | PortState::Gone | PortState::Blocked);
            let key = format!("{name}\n{}", port.name);
            self.traffic(Tab::Ports, &key, cells, is_bad, counters);
            self.port_drops(name, &port.name, ["in", "out"], [&port.ingress, &port.egress]);
            if let Some(links) = &port.link {
                self.link_drops(name, &port.name, links);
            }
        }
        for address in addresses {
            let cells = vec![
                Cell::text(name),
                Cell::text(&address.mac),
                address.vlan.map_or(Cell::None, |vlan| Cell::Count(vlan.into())),
                Cell::text(&address.port),
                Cell::text(&address.kind),
                address.age_s.map_or(Cell::None, |age| Cell::Seconds(float(age))),
            ];
            let key = format!("{name}\n{} {:?}", address.mac, address.vlan);
            self.row(Tab::Addresses, Row { key, cells, is_bad: false, lines: None });
        }
    }

    fn netem(&mut self, name: &str, link: &LinkStatus) {
        let ways = [&link.a_to_b, &link.b_to_a];
        let is_gone = link.ports.iter().any(|end| end.gone.is_some());
        let ends: Vec<&str> = link.ports.iter().map(|end| end.name.as_str()).collect();
        let state = if is_gone { "an end is gone" } else { "up" };
        let [received, sent] = ways.map(|way| way.counts.get("delivered_bytes"));
        let dropped = ways.map(dropped).into_iter().sum();
        let mut cells = vec![Cell::text(name), Cell::text(ends.join(" - ")), Cell::text(state)];
        cells.extend(quality(ways));
        let counters = Counters { received, sent, dropped };
        self.traffic(Tab::Links, name, cells, is_gone, counters);
        self.way_drops(name, "", ways);
    }

    fn nat(&mut self, name: &str, nat: &Nat, flows: &[Flow]) {
        for flow in flows {
            let remote = flow.remote.map_or(Cell::None, |remote| Cell::text(remote.to_string()));
            let key = format!("{name}\n{} {} {remote}", flow.transport, flow.inside);
            let cells = vec![
                Cell::text(name),
                Cell::text(&flow.transport),
                Cell::text(flow.inside.to_string()),
                remote,
                Cell::text(&flow.state),
                Cell::Seconds(flow.idle_s),
            ];
            let counters =
                Counters { received: flow.received_bytes, sent: flow.sent_bytes, dropped: 0 };
            self.traffic(Tab::Flows, &key, cells, false, counters);
        }
        for (reason, count) in &nat.dropped {
            self.drop(name, "", reason, *count);
        }
    }

    fn tunnel(&mut self, name: &str, tunnel: &Tunnel) {
        for peer in &tunnel.peers {
            let short = peer.short_key();
            let cells = vec![
                Cell::text(name),
                Cell::text(&short),
                Cell::text(peer_state(peer)),
                peer.endpoint.as_ref().map_or(Cell::None, Cell::text),
                peer.authentic_age_s.map_or(Cell::None, Cell::Seconds),
                peer.round_trip_ms.map_or(Cell::None, |ms| Cell::Seconds(ms / 1000.0)),
            ];
            let counters = Counters {
                received: peer.received_bytes,
                sent: peer.sent_bytes,
                dropped: peer.drops.iter().map(|drop| drop.count).sum(),
            };
            let key = format!("{name}\n{}", peer.public_key);
            self.traffic(Tab::Peers, &key, cells, peer.is_silent(), counters);
            for Dropped { reason, count } in &peer.drops {
                self.drop(name, &short, reason, *count);
            }
        }
        for (reason, count) in socket_drops(tunnel) {
            self.drop(name, "socket", reason, count);
        }
        for Dropped { reason, count } in &tunnel.drops {
            self.drop(name, "", reason, *count);
        }
    }

    fn lab(&mut self, name: &str, lab: &Lab) {
        for link in &lab.links {
            let mut cells =
                vec![Cell::text(name), Cell::text(&link.name), Cell::text(link.state.as_str())];
            cells.extend(match &link.link {
                Some(links) => quality([&links.ingress, &links.egress]),
                None => [Cell::None, Cell::None],
            });
            let of_link = link.link.as_ref();
            let emulated =
                of_link.map_or(0, |links| dropped(&links.ingress) + dropped(&links.egress));
            let counters = Counters {
                received: link.from_a.bytes,
                sent: link.from_b.bytes,
                dropped: link.from_a.dropped() + link.from_b.dropped() + emulated,
            };
            let key = format!("{name}\n{}", link.name);
            self.traffic(Tab::Links, &key, cells, link.state != LinkState::Up, counters);
            self.port_drops(name, &link.name, ["from a", "from b"], [&link.from_a, &link.from_b]);
            if let Some(links) = &link.link {
                self.link_drops(name, &link.name, links);
            }
        }
    }

    fn port_drops(
        &mut self,
        service: &str,
        port: &str,
        ways: [&str; 2],
        counters: [&PortCounters; 2],
    ) {
        for (way, counters) in ways.iter().zip(counters) {
            for (reason, count) in &counters.drops {
                self.drop(service, &format!("{port} {way}"), reason, *count);
            }
        }
    }

    fn link_drops(&mut self, service: &str, port: &str, links: &Links) {
        self.way_drops(service, port, [&links.ingress, &links.egress]);
    }

    fn way_drops(&mut self, service: &str, port: &str, ways: [&LinkReport; 2]) {
        for (way, report) in ["a to b", "b to a"].iter().zip(ways) {
            for (count, reason) in report.counts.drops() {
                self.drop(service, format!("{port} {way}").trim(), reason, count);
            }
        }
    }
}

fn state_text(state: State, problems: usize) -> String {
    match (state, problems) {
        (State::Problem, 1) => "1 problem".to_owned(),
        (State::Problem, count) => format!("{count} problems"),
        (state, _) => state.as_str().to_owned(),
    }
}

/// `silent 23 s`, `connected`, `no session`.
fn peer_state(peer: &PeerView) -> String {
    match peer.unanswered_s {
        Some(silent) if peer.is_silent() => format!("SILENT {}", crate::cell::age(silent)),
        Some(waiting) if !peer.connected => format!("trying {}", crate::cell::age(waiting)),
        _ if peer.connected => "connected".to_owned(),
        _ => "no session".to_owned(),
    }
}

/// What the sockets of a tunnel lost.
const fn socket_drops(tunnel: &Tunnel) -> [(&'static str, u64); 6] {
    let d = &tunnel.datagrams;
    [
        ("too big", d.too_big),
        ("refused by the network", d.refused),
        ("queue full", d.queue_full),
        ("receive buffer full", d.receive_buffer_full),
        ("waited too long", d.waited_too_long),
        ("no buffer", d.no_buffer),
    ]
}

/// What a direction of an emulated link dropped, and not what it was asked to lose.
fn dropped(way: &LinkReport) -> u64 {
    way.counts.drops().map(|(count, _)| count).sum()
}

/// The longer median delay and the higher share of loss of both directions.
fn quality(ways: [&LinkReport; 2]) -> [Cell; 2] {
    let delay = ways.iter().map(|way| way.delay.p50_ms).fold(0.0, f64::max);
    let loss = ways.iter().filter_map(|way| way.loss).map(|loss| loss.share).fold(0.0, f64::max);
    [Cell::Seconds(delay / 1000.0), Cell::text(format!("{:.2} %", loss * 100.0))]
}

/// The counters of a whole service: what it took in and gave out.
fn total(report: &Report) -> Counters {
    let mut total = Counters::default();
    let mut add = |received: u64, sent: u64, dropped: u64| {
        total.received = total.received.saturating_add(received);
        total.sent = total.sent.saturating_add(sent);
        total.dropped = total.dropped.saturating_add(dropped);
    };
    match report {
        Report::Switch(switch, _) => switch.ports.iter().for_each(|port| {
            let (ingress, egress) = (&port.ingress, &port.egress);
            add(ingress.bytes, egress.bytes, ingress.dropped() + egress.dropped());
        }),
        Report::Netem(link) => [&link.a_to_b, &link.b_to_a].into_iter().for_each(|way| {
            add(way.counts.get("received_bytes"), way.counts.get("delivered_bytes"), dropped(way));
        }),
        Report::Nat(nat, _) => {
            add(nat.received_bytes, nat.sent_bytes, nat.dropped.values().sum());
        }
        Report::Tunnel(tunnel) => {
            tunnel.peers.iter().for_each(|peer| {
                let drops = peer.drops.iter().map(|drop| drop.count).sum();
                add(peer.received_bytes, peer.sent_bytes, drops);
            });
            let sockets: u64 = socket_drops(tunnel).iter().map(|drop| drop.1).sum();
            add(0, 0, sockets + tunnel.drops.iter().map(|drop| drop.count).sum::<u64>());
        }
        Report::Lab(lab) => lab.links.iter().for_each(|link| {
            let bytes = link.from_a.bytes.saturating_add(link.from_b.bytes);
            add(bytes, bytes, link.from_a.dropped() + link.from_b.dropped());
        }),
        Report::Other | Report::Stale | Report::NoAnswer(_) | Report::NoAccess => {}
    }
    total
}

#[expect(clippy::cast_precision_loss, reason = "seconds that people read")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::Device;
    use serde_json::json;
    use std::time::{Duration, Instant};

    /// A machine with these services.
    pub(crate) fn machine(services: Vec<Service>) -> Machine {
        Machine { at: Instant::now(), services, devices: Vec::new(), left: Vec::new() }
    }

    fn service(name: &str, kind: &str, report: Report) -> Service {
        Service {
            name: name.to_owned(),
            socket: format!("/run/adit/{name}.sock"),
            kind: kind.to_owned(),
            pid: Some(7),
            version: "0.1.0".to_owned(),
            uptime_s: Some(4000),
            report,
        }
    }

    /// A tunnel with a peer that has sent so many bytes, and is silent for so long.
    pub(crate) fn tunnel(name: &str, bytes: u64, silent_s: Option<f64>) -> Service {
        let counts: serde_json::Map<_, _> = [
            "received",
            "received_trains",
            "sent",
            "sent_trains",
            "cut_trains",
            "too_big",
            "refused",
            "queue_full",
            "no_buffer",
        ]
        .iter()
        .map(|name| ((*name).to_owned(), json!(0)))
        .collect();
        let mut peer = json!({
            "public_key": "c3RhcnRvZmFrZXk=", "connected": silent_s.is_none(), "allowed_ips": [],
            "preshared_key": false, "received_bytes": bytes, "sent_bytes": bytes / 2, "path_mtu": 1420,
            "adit": false, "queued": 0, "drops": [], "endpoint": "192.0.2.1:51820", "authentic_age_s": 1.5,
            "round_trip_ms": 12.3,
        });
        if let Some(silent) = silent_s {
            (peer["unanswered_s"], peer["authentic_age_s"]) = (json!(silent), json!(silent + 9.0));
            peer["drops"] = json!([{ "reason": "no session", "count": 30 }]);
        }
        let view = json!({
            "ifname": name, "listen_port": 51820, "mtu": 1420, "datagrams": counts, "drops": [], "peers": [peer],
        });
        service(name, "tunnel", Report::Tunnel(serde_json::from_value(view).unwrap()))
    }

    /// Two moments of a machine on which much goes on, a second apart.
    pub(crate) fn busy() -> [Machine; 2] {
        let device = |bytes| Device {
            name: "wg0".to_owned(),
            kind: "tun",
            state: "up",
            mtu: 1420,
            held_by: "adit 7".to_owned(),
            received: bytes,
            sent: 2 * bytes,
            dropped: 0,
        };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let one = |at, bytes, silent: f64| Machine {
            at,
            services: vec![tunnel("wg0", bytes, None), tunnel("office-vpn", 100, Some(silent))],
            devices: vec![device(bytes)],
            left: Vec::new(),
        };
        [one(start, 0, 22.0), one(start + second, 1_543_000, 23.0)]
    }

    #[test]
    fn rows_have_rates_and_say_what_is_wrong() {
        let [first, second] = busy();
        let mut tables = Tables::default();
        tables.update(&first, &Status::of(None, &first));
        tables.update(&second, &Status::of(Some(&first), &second));
        let peers = tables.values(Tab::Peers);
        assert_eq!(peers[0]["received_bits_per_s"], Cell::Bits(12_344_000.0));
        assert_eq!(peers[1]["state"], Cell::text("SILENT 23 s"));
        assert_eq!(tables.values(Tab::Devices)[0]["sent_bits_per_s"], Cell::Bits(24_688_000.0));
        let drops = tables.values(Tab::Drops);
        assert_eq!((drops.len(), &drops[0]["total"]), (1, &Cell::Count(30)));
        assert!(drops[0]["meaning"].to_string().contains("no handshake completed"), "{drops:?}");
        for tab in Tab::ALL {
            let columns = tab.columns().len();
            assert!(tables.rows(tab).iter().all(|row| row.cells.len() == columns), "{tab:?}");
            assert!(tab.order().0 < columns);
        }
    }
}
