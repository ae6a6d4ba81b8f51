//! What a tunnel changes on its host: device, addresses, routes, rules, packet filter, name servers.
//!
//! A [`Plan`] is made of a configuration and of the state of the host, without a system call. Its actions
//! are printed (`--dry-run`) or performed in order by a ledger, which undoes them at the end.
//!
//! A default route goes into a table of its own, as `wg-quick` does it, so that the tunnel's own
//! datagrams, which have a mark, go around it:
//!
//! ```text
//! priority p-1: from all lookup main suppress_prefixlength 0     the main table, but its default route
//! priority p:   not from all fwmark M lookup T                   all that is not marked
//! table T:      default dev NAME                                 while the device exists
//!               unreachable default metric 4294967295            if the process is killed: nothing leaves
//!                                                                in clear until the next start
//! ```
//!
//! With a kill switch there is no rule of priority p-1: whatever routes a DHCP server or a router adds to the
//! main table, all that is not marked goes into the tunnel.

use crate::file::config::{Config, Table};
use crate::host::dns::Dns;
use crate::host::questions::Surroundings;
use adit_device::netlink::{
    Address, FwMark, IpFamily, IpPrefix, Netlink, Route, RouteKind, Rule, RuleAction, TABLE_MAIN,
};
use adit_device::{IfName, Mode, Netns};
use adit_service::error::{Error, Result};
use adit_service::host::action::{Action, OpenDevice, Program, Purpose};
use adit_service::host::filter::{FilterRule, FilterTable, TableFamily, TableId};
use std::net::IpAddr;

/// The first table that is tried for a default route: the number that `wg-quick` begins with.
const TABLE_FIRST: u32 = 51820;

/// How many tables are tried; nobody has so many tunnels.
const TABLES_MAX: u32 = 1000;

/// The MTU where none is known: that of Ethernet.
const MTU_ETHERNET: u32 = 1500;

/// What a packet grows by on its way: 40 IPv6, 8 UDP, 16 header, 16 tag.
const OVERHEAD: u32 = 80;

/// How many packets wait for us at the device: twice the kernel's 500, for a burst of many flows.
const TXQUEUELEN: u32 = 1000;

/// The longest super-packet that every kernel takes (`GSO_LEGACY_MAX_SIZE`).
const GSO_LEGACY_MAX_SIZE: u32 = 65_536;

/// The actions of one tunnel, and what its sockets and its engine must know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// IP packets or Ethernet frames.
    pub mode: Mode,
    /// The IP MTU of the device.
    pub mtu: u32,
    /// The longest IP packet that a peer is assumed to take before its path is known.
    pub tunnel_mtu: u32,
    /// The mark on the tunnel's own datagrams, 0 for none.
    pub mark: u32,
    /// What is done, in order: the device first.
    pub actions: Vec<Action>,
}

/// The state of the host that a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// All rules, but those that go.
    pub rules: Vec<Rule>,
    /// Tables that have routes, but those that go.
    pub tables: Vec<u32>,
    /// The least MTU on the way to the peers.
    pub path_mtu: Option<u32>,
    /// The device.
    pub device: SeenDevice,
    /// Whether the host forwards packets.
    pub forwards: bool,
    /// What sets name servers on this machine.
    pub dns: Option<Dns>,
}

/// The device of a tunnel, before it starts or while it runs.
#[derive(Clone, Debug, Default)]
pub enum SeenDevice {
    /// It does not exist.
    #[default]
    Missing,
    /// It was made by others; the tunnel attaches to it.
    Exists {
        /// Whether more than one queue may attach.
        multi_queue: bool,
    },
    /// The tunnel has opened it so.
    Open(OpenDevice),
}

impl Seen {
    /// Reads the state of a namespace, or of that of the calling thread. What `leaving` removes is not
    /// there any more.
    ///
    /// # Errors
    /// Those of netlink.
    pub fn read(netns: Option<&Netns>, name: &IfName, leaving: &[&Action]) -> Result<Self> {
        let failed = |error| Error::io("read", "the routes and rules", &error);
        let netlink = netns.map_or_else(Netlink::open, Netlink::open_in);
        let mut netlink = netlink.map_err(|error| Error::io("open", "netlink", &error))?;
        let mut rules = netlink.rules().map_err(failed)?;
        let mut routes = netlink.routes(None).map_err(failed)?;
        for action in leaving {
            match action {
                Action::AddRule(gone) | Action::DeleteRule(gone) => {
                    rules.retain(|rule| rule != gone);
                }
                Action::AddRoute(gone) | Action::DeleteRoute(gone) => routes.retain(|route| {
                    (route.destination, route.table, route.kind)
                        != (gone.destination, gone.table, gone.kind)
                }),
                _ => {}
            }
        }
        let mut tables: Vec<u32> = routes.iter().map(|route| route.table).collect();
        tables.sort_unstable();
        tables.dedup();
        let device = match netlink.link_by_name(name).ok() {
            None => SeenDevice::Missing,
            Some(link) => {
                let multi_queue = link.tun.is_some_and(|tun| tun.multi_queue);
                SeenDevice::Exists { multi_queue }
            }
        };
        let Surroundings { forwards, dns } = Surroundings::read(netns);
        Ok(Self { rules, tables, path_mtu: None, device, forwards, dns })
    }
}

impl Plan {
    /// What `config` asks for, with tables and priorities that are free.
    #[must_use]
    pub fn new(name: IfName, config: &Config, seen: &Seen) -> Self {
        let interface = &config.interface;
        let path_mtu = seen.path_mtu.unwrap_or(MTU_ETHERNET).saturating_sub(OVERHEAD).max(576);
        let mode = config.mode();
        // Frames that are longer than the path takes cross in pieces.
        let mtu = interface.mtu.unwrap_or(match mode {
            Mode::Tun => path_mtu,
            Mode::Tap => MTU_ETHERNET,
        });
        let tunnel_mtu = if mode == Mode::Tun { mtu } else { path_mtu };
        let mut plan = Self {
            mode,
            mtu,
            tunnel_mtu,
            mark: interface.fwmark.unwrap_or(0),
            actions: Vec::new(),
        };
        if interface.kill_switch || interface.block_ipv6 {
            plan.choose_mark(seen);
        }
        // Before everything else: nothing leaves in clear while the tunnel starts.
        if interface.kill_switch {
            plan.actions.push(Action::SetFilter(FilterTable::kill_switch(name, plan.mark)));
        }
        plan.device(name, config, seen);
        let mut routing = Routing::default();
        plan.routes(config, seen, &mut routing);
        plan.actions.extend(routing.routes.into_iter().map(Action::AddRoute));
        // Before the rules, so that it is unset after them.
        if routing.rules.iter().any(|rule| rule.family == IpFamily::V4) {
            plan.actions.push(Action::SetValidMark(true));
        }
        let mut filters = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let mut rules = Vec::new();
            if routing.rules.iter().any(|rule| rule.family == family) {
                rules = guard(family, &interface.addresses, plan.mark);
            }
            // A kill switch blocks both families.
            if family == IpFamily::V6 && interface.block_ipv6 && !interface.kill_switch {
                rules.extend(FilterRule::only_out(plan.mark));
            }
            let id = TableId { family: TableFamily::Ip(family), device: name };
            filters.extend((!rules.is_empty()).then_some(FilterTable { id, rules }));
        }
        plan.actions.extend(routing.rules.into_iter().map(Action::AddRule));
        plan.actions.extend(filters.into_iter().map(Action::SetFilter));
        if let Some(dns) = seen.dns.as_ref().filter(|_| !interface.dns.is_empty()) {
            let programs = dns.set(&name, &interface.dns, &interface.dns_search);
            plan.actions.extend(programs.into_iter().map(Action::Run));
        }
        plan
    }

    /// Whether the host's own traffic goes into the tunnel, queries to name servers included.
    #[must_use]
    pub fn catches_all(&self) -> bool {
        self.actions.iter().any(|action| match action {
            Action::AddRule(_) => true,
            Action::SetFilter(table) => table.is_required(),
            _ => false,
        })
    }

    /// Whether it sets name servers.
    #[must_use]
    pub fn sets_name_servers(&self) -> bool {
        let is_dns = |action: &Action| {
            matches!(action, Action::Run(Program { purpose: Purpose::NameServers, .. }))
        };
        self.actions.iter().any(is_dns)
    }

    /// The device and what is set of it.
    fn device(&mut self, name: IfName, config: &Config, seen: &Seen) {
        let interface = &config.interface;
        let open = match &seen.device {
            SeenDevice::Open(open) => open.clone(),
            SeenDevice::Missing => OpenDevice::new(self.mode, name.into(), true),
            SeenDevice::Exists { multi_queue } => OpenDevice {
                multi_queue: *multi_queue,
                ..OpenDevice::new(self.mode, name.into(), false)
            },
        };
        let is_new = open.is_new;
        self.actions.push(Action::OpenDevice(OpenDevice { vnet_hdr: true, offload: true, ..open }));
        self.actions.push(Action::SetMtu(self.mtu));
        if is_new {
            self.actions.push(Action::SetTxQueueLen(TXQUEUELEN));
        }
        // The stack makes super-packets that are one train each: of 64 KiB, the last segment would need a
        // train of its own, which is twice the sends and receives. Not where the host forwards: longer
        // ones that it forwards would come to us cut up completely.
        if is_new && !seen.forwards {
            let mtu = u16::try_from(self.mtu.min(self.tunnel_mtu)).unwrap_or(u16::MAX);
            let bytes = u32::try_from(adit_tunnel::gso_len_max(mtu)).unwrap_or(u32::MAX);
            self.actions.push(Action::SetGsoMaxSize(bytes.min(GSO_LEGACY_MAX_SIZE)));
        }
        let addresses = interface.addresses.iter();
        self.actions.extend(addresses.map(|address| Action::AddAddress(Address::new(*address))));
        if interface.master.is_some() {
            self.actions.push(Action::SetMaster(interface.master));
        }
        self.actions.push(Action::SetUp(true));
    }

    fn routes(&mut self, config: &Config, seen: &Seen, routing: &mut Routing) {
        let interface = &config.interface;
        let table = match interface.table {
            Table::Off => return,
            Table::Auto => TABLE_MAIN,
            Table::Number(number) => number,
        };
        for network in networks(config) {
            let is_default = network.len() == 0;
            if interface.table == Table::Auto && is_default {
                self.default_route(network, interface.kill_switch, seen, routing);
            } else if table != TABLE_MAIN || !is_connected(&interface.addresses, network) {
                routing.routes.push(Route { table, ..Route::new(network) });
            }
        }
    }

    /// The mark, which is the number of a table too: that of the configuration, or a free one.
    fn choose_mark(&mut self, seen: &Seen) {
        let is_free = |table: &u32| {
            !seen.tables.contains(table)
                && !seen.rules.iter().any(|rule| rule.action == RuleAction::Table(*table))
        };
        if self.mark == 0 {
            let mut tables = TABLE_FIRST..TABLE_FIRST + TABLES_MAX;
            self.mark = tables.find(is_free).unwrap_or(TABLE_FIRST);
        }
    }

    /// A table of its own, and the rules that lead to it. The main table comes first, unless everything
    /// must go into the tunnel.
    fn default_route(
        &mut self,
        network: IpPrefix,
        is_strict: bool,
        seen: &Seen,
        routing: &mut Routing,
    ) {
        self.choose_mark(seen);
        let (family, table) = (network.family(), self.mark);
        routing.routes.push(Route { table, ..Route::new(network) });
        routing.routes.push(barrier(network, table));
        let of_family = seen.rules.iter().filter(|rule| rule.family == family);
        let lowest = of_family.filter_map(|rule| rule.priority).filter(|&p| p > 0).min();
        let priority = lowest.unwrap_or(u32::from(u16::MAX) / 2).max(3) - 1;
        routing.rules.push(Rule {
            priority: Some(priority),
            fwmark: Some(FwMark { mark: self.mark, mask: u32::MAX }),
            invert: true,
            ..Rule::new(family, RuleAction::Table(table))
        });
        let main = Rule {
            priority: Some(priority - 1),
            suppress_prefixlength: Some(0),
            ..Rule::new(family, RuleAction::Table(TABLE_MAIN))
        };
        routing.rules.extend((!is_strict).then_some(main));
    }
}

/// Routes and rules while a plan is made.
#[derive(Default)]
struct Routing {
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

/// Keeps traffic in when the device is gone because its process was killed: of the worst metric, so that it
/// counts only then.
fn barrier(network: IpPrefix, table: u32) -> Route {
    Route { kind: RouteKind::Unreachable, metric: Some(u32::MAX), table, ..Route::new(network) }
}

/// What a default route needs of the packet filter.
fn guard(family: IpFamily, addresses: &[IpPrefix], mark: u32) -> Vec<FilterRule> {
    let addresses = addresses.iter().filter(|address| address.family() == family);
    let mut rules: Vec<FilterRule> =
        addresses.map(|address| FilterRule::OnlyThroughDevice(address.ip())).collect();
    rules.extend([FilterRule::SaveMark(mark), FilterRule::RestoreMark(mark)]);
    rules
}

/// Whether an address of the device brings a route to the network already.
fn is_connected(addresses: &[IpPrefix], network: IpPrefix) -> bool {
    addresses.iter().any(|address| {
        address.family() == network.family()
            && address.len() <= network.len()
            && address.contains(network.ip())
    })
}

/// The peers' networks, the longest prefixes first, each once.
fn networks(config: &Config) -> Vec<IpPrefix> {
    let all = config.peers.iter().flat_map(|peer| &peer.allowed_ips);
    let mut networks: Vec<IpPrefix> = all.map(|network| network.network()).collect();
    networks.sort_by_key(|network| (std::cmp::Reverse(network.len()), network.ip()));
    networks.dedup();
    networks
}

/// The least MTU on the way to any of these, as far as the kernel knows it.
#[must_use]
pub fn path_mtu(peers: impl Iterator<Item = IpAddr>) -> Option<u32> {
    peers.filter_map(|ip| adit_runtime::path_mtu((ip, 9).into()).ok()).min()
}

#[cfg(test)]
mod tests;
