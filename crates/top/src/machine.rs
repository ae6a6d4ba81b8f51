//! What runs on this machine, at one moment.

use adit_device::netlink::{LinkFlags, Netlink};
use adit_service::control::client::Client;
use adit_service::control::survey::{Found, survey};
use adit_service::error::{Error, Kind, Result};
use adit_service::health::Finding;
use adit_service::host::filter::TableId;
use adit_service::host::stale::{filter_tables, find_stale};
use adit_service::nat::model::{Flow, FlowPage, Nat};
use adit_service::netem::report::LinkStatus;
use adit_service::switch::model::{Address, Page, Switch};
use adit_topology::report::Lab;
use adit_vpn::state::View as Tunnel;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::codes::{KILL_SWITCH, LEFT};

/// As many addresses or flows of a service are shown: more than anybody reads, and few enough to ask for every second.
const ROWS_MAX: usize = 4096;

/// As many pages are asked for, should a service send them without an end.
const PAGES_MAX: usize = 1024;

/// What runs on this machine, at one moment.
#[derive(Debug)]
pub struct Machine {
    /// When that was.
    pub at: Instant,
    /// The services, in the order of their sockets.
    pub services: Vec<Service>,
    /// The TUN and TAP devices of this network namespace.
    pub devices: Vec<Device>,
    /// What killed programs left on the host.
    pub left: Vec<Finding>,
}

/// A service, or the socket of one.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its control socket.
    pub socket: String,
    /// What it is; empty if it does not answer.
    pub kind: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Its version of adit.
    pub version: String,
    /// For how many seconds it has run.
    pub uptime_s: Option<u64>,
    /// What it says of itself.
    pub report: Report,
}

/// What a service says of itself.
#[derive(Clone, Debug)]
pub enum Report {
    /// A switch, with the addresses that it knows.
    Switch(Box<Switch>, Vec<Address>),
    /// An emulated link.
    Netem(Box<LinkStatus>),
    /// A NAT, with its flows.
    Nat(Box<Nat>, Vec<Flow>),
    /// A tunnel.
    Tunnel(Box<Tunnel>),
    /// A lab.
    Lab(Box<Lab>),
    /// Something that this version does not know.
    Other,
    /// Nobody listens on the socket any more.
    Stale,
    /// It does not answer, or with an error: why.
    NoAnswer(String),
    /// This user may not ask it.
    NoAccess,
}

/// A TUN or TAP device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `tun` or `tap`.
    pub kind: &'static str,
    /// `up`, `down` or `no carrier`.
    pub state: &'static str,
    /// Its IP MTU.
    pub mtu: u32,
    /// The programs that hold it, with their processes.
    pub held_by: String,
    /// Bytes from its program.
    pub received: u64,
    /// Bytes to its program.
    pub sent: u64,
    /// Packets dropped in both directions.
    pub dropped: u64,
}

impl Machine {
    /// Asks all services that this user can reach, each for 3 seconds at most. With `details` also for addresses
    /// and flows, and lists devices.
    #[must_use]
    pub fn collect(details: bool) -> Self {
        let at = Instant::now();
        let services = survey().iter().map(|found| Service::of(found, details)).collect();
        let devices = if details { devices().unwrap_or_default() } else { Vec::new() };
        let left = if details { Vec::new() } else { left() };
        Self { at, services, devices, left }
    }

    /// As [`Machine::collect`], of one service alone.
    #[must_use]
    pub fn of_one(client: &Client, kind: &str) -> Self {
        let at = Instant::now();
        let report = Report::ask(client, kind, true).unwrap_or_else(|error| failure(&error));
        let service = Service {
            name: client.name().to_string(),
            socket: String::new(),
            kind: kind.to_owned(),
            pid: None,
            version: String::new(),
            uptime_s: None,
            report,
        };
        Self { at, services: vec![service], devices: Vec::new(), left: Vec::new() }
    }
}

impl Service {
    fn of(found: &Found, details: bool) -> Self {
        let unknown = |report| Self {
            name: found.name.to_string(),
            socket: found.path.display().to_string(),
            kind: String::new(),
            pid: None,
            version: String::new(),
            uptime_s: None,
            report,
        };
        match &found.about {
            Err(error) => unknown(failure(error)),
            Ok(about) => Self {
                kind: about.kind.clone(),
                pid: Some(about.pid),
                version: about.version.clone(),
                uptime_s: Some(about.uptime_s),
                ..unknown(
                    Report::ask(&found.client(), &about.kind, details)
                        .unwrap_or_else(|error| failure(&error)),
                )
            },
        }
    }
}

impl Report {
    fn ask(client: &Client, kind: &str, details: bool) -> Result<Self> {
        Ok(match kind {
            "switch" => {
                let page = |page: Page| (page.addresses, page.next);
                let addresses = if details { rows(client, "/fdb", page)? } else { Vec::new() };
                Self::Switch(ask(client, "/switch")?, addresses)
            }
            "netem" => Self::Netem(ask(client, "/netem")?),
            "nat" => {
                let page = |page: FlowPage| (page.flows, page.next);
                let flows = if details { rows(client, "/nat/flows", page)? } else { Vec::new() };
                Self::Nat(ask(client, "/nat")?, flows)
            }
            "tunnel" => Self::Tunnel(ask(client, "/tunnel")?),
            "lab" => Self::Lab(ask(client, "/lab?counters=all")?),
            _ => Self::Other,
        })
    }
}

/// What the failure to ask a service means.
fn failure(error: &Error) -> Report {
    match error.kind {
        // It has ended, now or long ago.
        Kind::NotFound => Report::Stale,
        Kind::Permission => Report::NoAccess,
        _ => Report::NoAnswer(error.report.message.clone()),
    }
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    let reply = client.get(path)?;
    serde_json::from_value(reply).map_err(|error| {
        let message = format!("'{}' runs another version of adit: {error}", client.name());
        Error::new(Kind::Refused, &adit_service::control::CONTROL, message)
    })
}

/// The first rows of a list that comes in pages; `take` returns the rows of a page, and the next page.
fn rows<P: DeserializeOwned, T>(
    client: &Client,
    path: &str,
    take: impl Fn(P) -> (Vec<T>, Option<String>),
) -> Result<Vec<T>> {
    let (mut all, mut next) = take(ask(client, path)?);
    // Pages may be empty: the switch makes them of parts of its table.
    for _ in 0..PAGES_MAX {
        let Some(page) = next.filter(|_| all.len() < ROWS_MAX) else { break };
        let (more, after) = take(ask(client, &format!("{path}?page={page}"))?);
        next = after;
        all.extend(more);
    }
    all.truncate(ROWS_MAX);
    Ok(all)
}

fn devices() -> std::io::Result<Vec<Device>> {
    let links = Netlink::open()?.links()?;
    let holders: BTreeMap<String, String> = if links.iter().any(|link| link.tun.is_some()) {
        let found = adit_device::all_holders(None)?.devices;
        let text = |holder: &adit_device::Holder| format!("{} {}", holder.command, holder.pid);
        let texts = found.into_iter().map(|(name, holders)| {
            (name.to_string(), holders.iter().map(text).collect::<Vec<_>>().join(", "))
        });
        texts.collect()
    } else {
        BTreeMap::new()
    };
    let devices = links.into_iter().filter_map(|link| {
        let tun = link.tun.as_ref()?;
        let name = link.name.to_string();
        Some(Device {
            kind: if tun.mode == adit_device::Mode::Tun { "tun" } else { "tap" },
            state: match (link.flags.contains(LinkFlags::UP), link.carrier) {
                (false, _) => "down",
                (true, false) => "no carrier",
                (true, true) => "up",
            },
            mtu: link.mtu,
            held_by: holders.get(&name).cloned().unwrap_or_default(),
            received: link.stats.rx_bytes,
            sent: link.stats.tx_bytes,
            dropped: link.stats.rx_dropped.saturating_add(link.stats.tx_dropped),
            name,
        })
    });
    Ok(devices.collect())
}

/// What killed programs left on the host, as far as this user may see it.
fn left() -> Vec<Finding> {
    let is_claimed = |device: &adit_device::IfName| {
        let name = device.to_string().parse();
        name.is_ok_and(|name| adit_service::control::name::is_claimed(&name))
    };
    let tables = filter_tables(None).into_iter().filter(TableId::is_kill_switch);
    let mut left: Vec<Finding> = tables
        .map(|table| table.device)
        .filter(|device| !is_claimed(device))
        .map(|device| {
            let message = "its kill switch blocks all other traffic, and the tunnel does not run";
            Finding::new(&KILL_SWITCH, device, message)
        })
        .collect();
    let stale = find_stale(None, None).unwrap_or_default();
    left.extend(stale.iter().map(|action| {
        Finding::new(&LEFT, "", format!("left by a program that was killed; to do: {action}"))
    }));
    left
}
