//! What a tunnel does to the system around it: device, addresses, routes, rules, name servers.
//!
//! A [`Plan`] is made of a configuration and of what is seen, without a system call; it can be printed
//! (`--dry-run`) or applied, and what was applied is taken back at the end or at the first failure. What
//! a killed program leaves are rules that lead to an empty table; the next start takes them away.
//!
//! A default route goes into a table of its own, as `wg-quick` does it, so that the tunnel's own
//! datagrams, which have a mark, go around it:
//!
//! ```text
//! priority p-1: from all lookup main suppress_prefixlength 0     the main table, but its default route
//! priority p:   not from all fwmark M lookup T                   all that is not marked
//! ```

use crate::file::config::{Config, Table};
use crate::host::guard::Guard;
use adit_device::netlink::{
    Address, FwMark, IpFamily, IpPrefix, Netlink, ROUTE_PROTOCOL, Route, Rule, RuleAction,
    TABLE_MAIN,
};
use adit_device::{
    Create, Device, DeviceOptions, Endian, IfName, Link, Mode, Netns, OffloadChoice,
};
use adit_device::{VnetFormat, VnetLen};
use adit_service::error::{Error, Result};
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

/// With it, packets that a marked socket answers pass the check of their source
/// (`ip-sysctl.rst`, `src_valid_mark`).
const SRC_VALID_MARK: &str = "/proc/sys/net/ipv4/conf/all/src_valid_mark";

/// What is to be done, in the order in which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: IfName,
    pub mode: Mode,
    /// The bridge of a TAP.
    pub master: Option<IfName>,
    pub mtu: u32,
    /// The longest IP packet that a peer is thought to take before its path is known.
    pub tunnel_mtu: u32,
    pub addresses: Vec<IpPrefix>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// The mark on the tunnel's own datagrams, 0 for none.
    pub mark: u32,
}

/// What a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub rules: Vec<Rule>,
    /// Tables that have routes.
    pub tables: Vec<u32>,
    /// The least MTU on the way to the peers.
    pub path_mtu: Option<u32>,
}

impl Seen {
    /// What is there now, in a namespace or that of the calling thread.
    ///
    /// # Errors
    /// Those of netlink.
    pub fn read(netns: Option<&Netns>) -> Result<Self> {
        let failed = |error| Error::io("read", "the routes and rules", &error);
        let mut netlink = open(netns)?;
        let rules = netlink.rules().map_err(failed)?;
        let mut tables: Vec<u32> = Vec::new();
        for route in netlink.routes(None).map_err(failed)? {
            if !tables.contains(&route.table) {
                tables.push(route.table);
            }
        }
        Ok(Self { rules, tables, path_mtu: None })
    }
}

fn open(netns: Option<&Netns>) -> Result<Netlink> {
    let netlink = netns.map_or_else(Netlink::open, Netlink::open_in);
    netlink.map_err(|error| Error::io("open", "netlink", &error))
}

impl Plan {
    /// What `config` asks for, with tables and priorities that are free.
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
            name,
            mode,
            master: interface.master,
            mtu,
            tunnel_mtu,
            addresses: interface.addresses.clone(),
            routes: Vec::new(),
            rules: Vec::new(),
            mark: interface.fwmark.unwrap_or(0),
        };
        let table = match interface.table {
            Table::Off => return plan,
            Table::Auto => TABLE_MAIN,
            Table::Number(number) => number,
        };
        for network in networks(config) {
            let is_default = network.len() == 0;
            if interface.table == Table::Auto && is_default {
                plan.default_route(network, seen);
            } else if table != TABLE_MAIN || !plan.is_connected(network) {
                plan.routes.push(Route { table, ..Route::new(network) });
            }
        }
        plan
    }

    /// A table of its own, and the rules that lead to it.
    fn default_route(&mut self, network: IpPrefix, seen: &Seen) {
        if self.mark == 0 {
            let is_free = |table: &u32| {
                !seen.tables.contains(table)
                    && !seen.rules.iter().any(|rule| rule.action == RuleAction::Table(*table))
            };
            let mut tables = TABLE_FIRST..TABLE_FIRST + TABLES_MAX;
            self.mark = tables.find(is_free).unwrap_or(TABLE_FIRST);
        }
        let (family, table) = (network.family(), self.mark);
        self.routes.push(Route { table, ..Route::new(network) });
        let of_family = seen.rules.iter().filter(|rule| rule.family == family);
        let lowest = of_family.filter_map(|rule| rule.priority).filter(|&p| p > 0).min();
        let priority = lowest.unwrap_or(u32::from(u16::MAX) / 2).max(3) - 1;
        self.rules.push(Rule {
            priority: Some(priority),
            fwmark: Some(FwMark { mark: self.mark, mask: u32::MAX }),
            invert: true,
            ..Rule::new(family, RuleAction::Table(table))
        });
        self.rules.push(Rule {
            priority: Some(priority - 1),
            suppress_prefixlength: Some(0),
            ..Rule::new(family, RuleAction::Table(TABLE_MAIN))
        });
    }

    /// Whether an address of the device brings a route to the network already.
    fn is_connected(&self, network: IpPrefix) -> bool {
        let covers = |address: &&IpPrefix| {
            address.family() == network.family()
                && address.len() <= network.len()
                && address.contains(network.ip())
        };
        self.addresses.iter().any(|address| covers(&address))
    }

    /// Each action, for people.
    pub fn actions(&self) -> Vec<String> {
        let mut actions =
            vec![format!("create {} device {} with MTU {}", self.mode, self.name, self.mtu)];
        let addresses = self.addresses.iter();
        actions.extend(addresses.map(|address| format!("add address {address}")));
        actions.extend(self.master.map(|bridge| format!("make it a port of {bridge}")));
        actions.push("set it up".to_owned());
        actions.extend(self.routes.iter().map(|route| format!("add route {}", text(route))));
        actions.extend(self.rules.iter().map(|rule| format!("add rule {}", rule_text(rule))));
        if self.needs_valid_mark() {
            actions.push(format!("write 1 to {SRC_VALID_MARK}"));
        }
        actions.extend(Guard::new(self).actions());
        actions
    }

    fn needs_valid_mark(&self) -> bool {
        self.rules.iter().any(|rule| rule.family == IpFamily::V4)
    }

    /// Does it. Gives the device with one queue that does not wait, and what was done.
    ///
    /// # Errors
    /// The first that failed; what was done before is taken back.
    pub fn apply(&self, netns: Option<Netns>) -> Result<(Device, Applied)> {
        let found = match &netns {
            Some(netns) => Link::find_in(netns, &self.name),
            None => Link::find(&self.name),
        };
        let there = found.ok().map(|link| link.info()).transpose()?;
        let is_multi_queue =
            there.as_ref().and_then(|info| info.tun).is_some_and(|tun| tun.multi_queue);
        let mut options = DeviceOptions::new(self.mode)
            .name(self.name.into())
            .create(if there.is_some() { Create::Attach } else { Create::Exclusive })
            .multi_queue(is_multi_queue)
            .nonblocking(true)
            .vnet_hdr(VnetFormat { len: VnetLen::Legacy, endian: Endian::Native })
            .offload(OffloadChoice::Auto);
        if let Some(netns) = &netns {
            let copy = netns.try_clone().map_err(|error| Error::io("use", "the netns", &error))?;
            options = options.netns(copy);
        }
        if there.is_none() {
            options = options.mtu(self.mtu).txqueuelen(TXQUEUELEN);
        }
        let device = options.open()?;
        let mut applied = Applied { netns, is_ours: device.created(), ..Applied::default() };
        match self.apply_to(&device, &mut applied) {
            Ok(()) => Ok((device, applied)),
            Err(error) => {
                applied.undo(&device);
                Err(error)
            }
        }
    }

    fn apply_to(&self, device: &Link, applied: &mut Applied) -> Result<()> {
        let have = device.addresses()?;
        for address in &self.addresses {
            if have.iter().any(|known| known.local == *address) {
                continue;
            }
            let address = Address::new(*address);
            device.add_address(&address)?;
            applied.addresses.push(address);
        }
        let info = device.info()?;
        if info.mtu != self.mtu {
            device.set_mtu(self.mtu)?;
        }
        if applied.is_ours {
            self.bound_super_packets(device, applied.netns.as_ref());
        }
        if let Some(master) = &self.master {
            device.set_master(Some(master))?;
        }
        if !info.flags.contains(adit_device::netlink::LinkFlags::UP) {
            device.set_up(true)?;
        }
        self.add_routes(device, applied)?;
        self.add_rules(applied)?;
        applied.set_guard(Guard::new(self));
        Ok(())
    }

    /// Has the stack make super-packets that are one train each: of 64 KiB, the last segment would need
    /// a train of its own, that is twice the sends and receives. Not where the host forwards: longer
    /// ones that it forwards would come to us cut up whole. A kernel that refuses costs speed only.
    fn bound_super_packets(&self, device: &Link, netns: Option<&Netns>) {
        let forwards = || {
            ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"].iter().any(|file| {
                let text = std::fs::read_to_string(format!("/proc/sys/net/{file}"));
                text.is_ok_and(|text| text.trim() != "0")
            })
        };
        let forwards = netns.map_or_else(|| Ok(forwards()), |netns| netns.run(forwards));
        if matches!(forwards, Ok(false)) {
            let mtu = u16::try_from(self.mtu.min(self.tunnel_mtu)).unwrap_or(u16::MAX);
            let bytes = u32::try_from(adit_tunnel::gso_len_max(mtu)).unwrap_or(u32::MAX);
            let _ = device.set_gso_max_size(bytes.min(GSO_LEGACY_MAX_SIZE));
        }
    }

    fn add_routes(&self, device: &Link, applied: &mut Applied) -> Result<()> {
        let index = device.index()?;
        let have = open(applied.netns.as_ref())?.routes(None).unwrap_or_default();
        for route in &self.routes {
            let is_there = have.iter().any(|known| {
                known.oif == Some(index)
                    && (known.destination, known.table) == (route.destination, route.table)
            });
            if !is_there {
                device.add_route(route)?;
                applied.routes.push(route.clone());
            }
        }
        Ok(())
    }

    fn add_rules(&self, applied: &mut Applied) -> Result<()> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let mut netlink = open(applied.netns.as_ref())?;
        for rule in &self.rules {
            let failed = |error| Error::io("add the rule", rule_text(rule), &error);
            netlink.add_rule(rule).map_err(failed)?;
            applied.rules.push(rule.clone());
        }
        if self.needs_valid_mark() {
            applied.set_valid_mark();
        }
        Ok(())
    }
}

/// What was done and is to be taken back.
#[derive(Debug, Default)]
pub struct Applied {
    netns: Option<Netns>,
    /// The device goes with its last descriptor, and its addresses and routes with it.
    is_ours: bool,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
    guard: Guard,
    /// It was 0 before.
    has_set_valid_mark: bool,
    /// What did not work and is not needed by everybody.
    pub warnings: Vec<String>,
}

impl Applied {
    /// Takes back what was done; goes on after failures, for the rest is still to be taken back.
    pub fn undo(&self, device: &Link) -> Vec<String> {
        let mut failures = Vec::new();
        self.delete_rules(&self.rules, &mut failures);
        failures.extend(Guard::default().replace(&self.guard, self.netns.as_ref()).err());
        self.unset_valid_mark();
        if !self.is_ours {
            for route in &self.routes {
                if let Err(error) = device.delete_route(route) {
                    failures.push(error.to_string());
                }
            }
            for address in &self.addresses {
                if let Err(error) = device.delete_address(address) {
                    failures.push(error.to_string());
                }
            }
        }
        failures
    }

    /// The device is gone, and its addresses and routes with it: what is left is for `next`, which was
    /// done in the place of that.
    pub fn replace(&mut self, next: Self) {
        let (rules, guard) = (std::mem::take(&mut self.rules), std::mem::take(&mut self.guard));
        *self = Self { rules, guard, has_set_valid_mark: self.has_set_valid_mark, ..next };
    }

    /// Without it, only a strict reverse path filter refuses answers: not worth failing for.
    fn set_valid_mark(&mut self) {
        let set = || -> std::io::Result<bool> {
            let is_new = std::fs::read_to_string(SRC_VALID_MARK)?.trim() == "0";
            if is_new {
                std::fs::write(SRC_VALID_MARK, "1")?;
            }
            Ok(is_new)
        };
        match self.in_netns(set) {
            Ok(is_new) => self.has_set_valid_mark |= is_new,
            Err(error) => {
                self.warnings.push(format!("cannot write 1 to {SRC_VALID_MARK}: {error}"));
            }
        }
    }

    /// Puts it back, unless another one relies on it by now.
    fn unset_valid_mark(&self) {
        let is_needed = || {
            let rules = open(self.netns.as_ref()).ok().and_then(|mut netlink| netlink.rules().ok());
            rules.is_none_or(|rules| rules.iter().any(|rule| rule.fwmark.is_some()))
        };
        if self.has_set_valid_mark && !is_needed() {
            // It was written before.
            let _ = self.in_netns(|| std::fs::write(SRC_VALID_MARK, "0"));
        }
    }

    fn in_netns<T: Send>(
        &self,
        run: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> std::io::Result<T> {
        match &self.netns {
            Some(netns) => netns.run(run).and_then(|result| result),
            None => run(),
        }
    }

    /// From one guard to another; without one all works, if less safely.
    fn set_guard(&mut self, guard: Guard) {
        if guard == self.guard {
            return;
        }
        let result = guard.replace(&self.guard, self.netns.as_ref());
        match result {
            Ok(()) => self.guard = guard,
            Err(error) => self.warnings.push(format!(
                "the packet filter is not set: {error}; who is on the network of this host can reach \
                 the tunnel's addresses past the tunnel"
            )),
        }
    }

    fn delete_rules(&self, rules: &[Rule], failures: &mut Vec<String>) {
        if rules.is_empty() {
            return;
        }
        match open(self.netns.as_ref()) {
            Err(error) => failures.push(error.report.message),
            Ok(mut netlink) => {
                for rule in rules {
                    if let Err(error) = netlink.delete_rule(rule) {
                        failures
                            .push(format!("cannot delete the rule {}: {error}", rule_text(rule)));
                    }
                }
            }
        }
    }

    /// From one plan to another of the same device: what both have stays untouched.
    ///
    /// # Errors
    /// The first that failed; what comes after it is not done.
    pub fn change(&mut self, device: &Link, from: &Plan, to: &Plan) -> Result<()> {
        if from.mtu != to.mtu {
            device.set_mtu(to.mtu)?;
            if self.is_ours {
                to.bound_super_packets(device, self.netns.as_ref());
            }
        }
        for address in to.addresses.iter().filter(|address| !from.addresses.contains(address)) {
            let address = Address::new(*address);
            device.add_address(&address)?;
            self.addresses.push(address);
        }
        let new: Vec<Route> =
            to.routes.iter().filter(|route| !from.routes.contains(route)).cloned().collect();
        Plan { routes: new, ..to.clone() }.add_routes(device, self)?;
        let is_new = |rule: &&Rule| !from.rules.contains(rule);
        let new: Vec<Rule> = to.rules.iter().filter(is_new).cloned().collect();
        Plan { rules: new, ..to.clone() }.add_rules(self)?;
        self.set_guard(Guard::new(to));
        let gone: Vec<Rule> =
            from.rules.iter().filter(|rule| !to.rules.contains(rule)).cloned().collect();
        let mut failures = Vec::new();
        self.delete_rules(&gone, &mut failures);
        self.warnings.append(&mut failures);
        self.rules.retain(|rule| !gone.contains(rule));
        for route in from.routes.iter().filter(|route| !to.routes.contains(route)) {
            device.delete_route(route)?;
            self.routes.retain(|known| known != route);
        }
        for address in from.addresses.iter().filter(|address| !to.addresses.contains(address)) {
            let address = Address::new(*address);
            device.delete_address(&address)?;
            self.addresses.retain(|known| *known != address);
        }
        Ok(())
    }
}

/// Takes away the rules of a tunnel that was killed: ours, to a table without routes. Gives them.
///
/// # Errors
/// Those of netlink.
pub fn delete_stale_rules(netns: Option<&Netns>) -> Result<Vec<Rule>> {
    let seen = Seen::read(netns)?;
    let stale = stale_rules(&seen);
    if !stale.is_empty() {
        let mut netlink = open(netns)?;
        for rule in &stale {
            let failed = |error| Error::io("delete the rule", rule_text(rule), &error);
            netlink.delete_rule(rule).map_err(failed)?;
        }
    }
    Ok(stale)
}

fn stale_rules(seen: &Seen) -> Vec<Rule> {
    let ours = || seen.rules.iter().filter(|rule| rule.protocol == ROUTE_PROTOCOL);
    let leads_nowhere = |rule: &&Rule| match rule.action {
        RuleAction::Table(table) => rule.invert && !seen.tables.contains(&table),
        _ => false,
    };
    let mut stale = Vec::new();
    for rule in ours().filter(leads_nowhere) {
        let before = rule.priority.and_then(|priority| priority.checked_sub(1));
        let pair = ours().find(|other| {
            (other.family, other.priority) == (rule.family, before)
                && other.suppress_prefixlength == Some(0)
        });
        stale.push(rule.clone());
        stale.extend(pair.cloned());
    }
    stale
}

/// The peers' networks, the longest prefixes first, each once.
fn networks(config: &Config) -> Vec<IpPrefix> {
    let all = config.peers.iter().flat_map(|peer| &peer.allowed_ips);
    let mut networks: Vec<IpPrefix> = all.map(|network| network.network()).collect();
    networks.sort_by_key(|network| (std::cmp::Reverse(network.len()), network.ip()));
    networks.dedup();
    networks
}

/// How a route is told of.
pub fn text(route: &Route) -> String {
    if route.table == TABLE_MAIN {
        return route.destination.to_string();
    }
    format!("{} table {}", route.destination, route.table)
}

/// How a rule is told of, in the words of `ip rule`.
pub fn rule_text(rule: &Rule) -> String {
    let mut text = match rule.family {
        IpFamily::V4 => "-4",
        IpFamily::V6 => "-6",
    }
    .to_owned();
    if rule.invert {
        text.push_str(" not");
    }
    if let Some(mark) = rule.fwmark {
        text.push_str(&format!(" fwmark {:#x}", mark.mark));
    }
    if let RuleAction::Table(table) = rule.action {
        match table {
            TABLE_MAIN => text.push_str(" lookup main"),
            table => text.push_str(&format!(" lookup {table}")),
        }
    }
    if let Some(len) = rule.suppress_prefixlength {
        text.push_str(&format!(" suppress_prefixlength {len}"));
    }
    text
}

/// The least MTU on the way to any of these, as far as the kernel knows it.
pub fn path_mtu(peers: impl Iterator<Item = IpAddr>) -> Option<u32> {
    peers.filter_map(|ip| adit_runtime::path_mtu((ip, 9).into()).ok()).min()
}

#[cfg(test)]
mod tests;
