//! What processes left on the host that were killed.
//!
//! A new device goes with the process that holds it, and its addresses and routes go with it. Rules, routes
//! without a device and tables of the packet filter stay. They are stale when their owner is gone, whatever
//! its name was:
//!
//! - a table of the packet filter, when no program holds the device that it is named after, and no program
//!   has claimed that name;
//! - a rule, when its table has no route through a device;
//! - a route without a device, when no rule leads to its table that is not stale itself;
//! - src_valid_mark, with either of these of IPv4, when no rule with a mark is left.
//!
//! A kill switch is never stale: it stays until its tunnel is taken down, or starts without it.

use crate::changes::action::Action;
use crate::changes::filter::{TABLE_PREFIX, TableId, family};
use crate::changes::program;
use crate::error::{Error, Result};
use crate::name::is_claimed;
use adit_device::netlink::{
    IpFamily, LinkInfo, Netlink, ROUTE_PROTOCOL, Route, RouteKind, Rule, RuleAction,
};
use adit_device::{IfName, Netns, holders};

/// The state of a namespace, as far as it says what is stale.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// All rules.
    pub rules: Vec<Rule>,
    /// All routes.
    pub routes: Vec<Route>,
    /// The tables of the packet filter that are ours by their names, without kill switches.
    pub tables: Vec<TableId>,
    /// The devices that a program holds, and names that are claimed.
    pub alive: Vec<IfName>,
}

/// The actions that remove what killed processes left in a namespace, or that of the calling thread. `own`
/// is a name that the caller has claimed and not used yet.
///
/// # Errors
/// Those of netlink.
pub fn find_stale(netns: Option<&Netns>, own: Option<&IfName>) -> Result<Vec<Action>> {
    let failed = |error| Error::io("read", "the routes and rules", &error);
    let netlink = netns.map_or_else(Netlink::open, Netlink::open_in);
    let mut netlink = netlink.map_err(|error| Error::io("open", "netlink", &error))?;
    let rules = netlink.rules().map_err(failed)?;
    let routes = netlink.routes(None).map_err(failed)?;
    let mut tables = filter_tables(netns);
    tables.retain(|table| !table.is_kill_switch());
    let links = if tables.is_empty() { Vec::new() } else { netlink.links().map_err(failed)? };
    let named = links.iter().filter(|link| tables.iter().any(|table| table.device == link.name));
    let held = named.filter(|link| is_held(link, netns)).map(|link| link.name);
    let claimed = tables.iter().map(|table| table.device).filter(|device| {
        Some(device) != own && device.to_string().parse().is_ok_and(|name| is_claimed(&name))
    });
    let alive = held.chain(claimed).collect();
    Ok(stale(&Found { rules, routes, tables, alive }))
}

/// What the tunnel `own` left that does not run: what is stale, and its kill switch. Empty if no table
/// has its name.
///
/// # Errors
/// Those of netlink.
pub fn left_by(own: &IfName) -> Result<Vec<Action>> {
    let tables = filter_tables(None);
    if !tables.iter().any(|table| table.device == *own) {
        return Ok(Vec::new());
    }
    let mut left = find_stale(None, Some(own))?;
    // Last: nothing leaves in clear before all is as the user wants it.
    let kill_switch = TableId::kill_switch(*own);
    left.extend(tables.contains(&kill_switch).then_some(Action::DeleteFilter(kill_switch)));
    Ok(left)
}

/// The kill switch of a device, if it stands.
#[must_use]
pub fn kill_switch(netns: Option<&Netns>, device: IfName) -> Option<TableId> {
    filter_tables(netns).into_iter().find(|table| *table == TableId::kill_switch(device))
}

/// As [`find_stale`], of what was found.
#[must_use]
pub fn stale(found: &Found) -> Vec<Action> {
    let mut actions = Vec::new();
    let tables = found.tables.iter().filter(|table| !found.alive.contains(&table.device));
    actions.extend(tables.map(|table| Action::DeleteFilter(*table)));
    let rules = stale_rules(found);
    let is_led_to = |route: &&Route| {
        let mut others = found.rules.iter().filter(|rule| !rules.contains(rule));
        others.any(|rule| rule.action == RuleAction::Table(route.table))
    };
    let routes = found.routes.iter().filter(|route| is_barrier(route) && !is_led_to(route));
    // Of an IPv6 route without a device, the kernel says `lo`, and does not want to hear it.
    let routes = routes.map(|route| Route { oif: None, ..route.clone() });
    // The rules first: without its route, a table falls through to the next rule.
    actions.extend(rules.iter().cloned().map(Action::DeleteRule));
    actions.extend(routes.map(Action::DeleteRoute));
    // It is set between the routes and the rules, and says nothing without rules: the executor leaves it where
    // others have any.
    let is_v4 = |action: &Action| match action {
        Action::DeleteRule(rule) => rule.family == IpFamily::V4,
        Action::DeleteRoute(route) => route.destination.ip().is_ipv4(),
        _ => false,
    };
    if actions.iter().any(is_v4) {
        actions.push(Action::SetValidMark(false));
    }
    actions
}

/// The route that keeps traffic in when the device is gone: ours, and without a device.
fn is_barrier(route: &Route) -> bool {
    route.protocol == ROUTE_PROTOCOL && route.kind == RouteKind::Unreachable
}

/// Our rules that lead to a table without a route through a device, each with the rule that goes before it.
fn stale_rules(found: &Found) -> Vec<Rule> {
    let ours = || found.rules.iter().filter(|rule| rule.protocol == ROUTE_PROTOCOL);
    let has_way =
        |table: u32| found.routes.iter().any(|route| route.table == table && !is_barrier(route));
    let leads_nowhere = |rule: &&Rule| match rule.action {
        RuleAction::Table(table) => rule.invert && !has_way(table),
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

/// Whether a program holds a queue of a device, as far as can be seen. A transient device is gone without a holder. The
/// carrier does not say it: it can be turned off.
fn is_held(link: &LinkInfo, netns: Option<&Netns>) -> bool {
    let Some(tun) = &link.tun else { return false };
    if !tun.persist || tun.multi_queue {
        let queues = tun.queues.unwrap_or(0) + tun.queues_disabled.unwrap_or(0);
        return !tun.persist || queues > 0;
    }
    holders(&link.name, netns).is_ok_and(|found| found.partial || !found.list.is_empty())
}

/// Our tables of the packet filter; none where there is no nft.
#[must_use]
pub fn filter_tables(netns: Option<&Netns>) -> Vec<TableId> {
    let words = ["nft", "list", "tables"].map(str::to_owned);
    let list = || program::output(&words).unwrap_or_default();
    let text = match netns {
        None => list(),
        Some(netns) => netns.run(list).unwrap_or_default(),
    };
    text.lines().filter_map(table).collect()
}

/// Reads `table ip adit-NAME`.
fn table(line: &str) -> Option<TableId> {
    let mut words = line.split_whitespace();
    let ("table", word, name) = (words.next()?, words.next()?, words.next()?) else {
        return None;
    };
    let device = name.strip_prefix(TABLE_PREFIX)?.parse().ok()?;
    Some(TableId { family: family(word)?, device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_device::netlink::FwMark;

    fn rules() -> Vec<Rule> {
        let first = Rule {
            priority: Some(100),
            fwmark: Some(FwMark::from(51820)),
            invert: true,
            ..Rule::new(IpFamily::V4, RuleAction::Table(51820))
        };
        let second = Rule {
            priority: Some(99),
            suppress_prefixlength: Some(0),
            ..Rule::new(IpFamily::V4, RuleAction::Table(254))
        };
        vec![second, first]
    }

    fn route(kind: RouteKind) -> Route {
        Route { kind, table: 51820, ..Route::new("0.0.0.0/0".parse().unwrap()) }
    }

    #[test]
    fn rules_and_routes_of_a_dead_owner_go() {
        let texts = |found: &Found| -> Vec<String> {
            stale(found).iter().map(ToString::to_string).collect()
        };
        let mut found = Found { rules: rules(), ..Found::default() };
        let both = [
            "delete rule -4 not fwmark 0xca6c lookup 51820",
            "delete rule -4 lookup main suppress_prefixlength 0",
        ];
        let mark = "write 0 to /proc/sys/net/ipv4/conf/all/src_valid_mark";
        assert_eq!(texts(&found), [both[0], both[1], mark]);
        found.routes = vec![route(RouteKind::Unreachable)];
        let all = [both[0], both[1], "delete route unreachable 0.0.0.0/0 table 51820", mark];
        assert_eq!(texts(&found), all);
        found.routes.push(route(RouteKind::Unicast));
        assert!(texts(&found).is_empty(), "it runs");
        found.rules.clear();
        assert_eq!(texts(&found), all[2..]);
        found.routes[0].protocol = 4;
        assert!(texts(&found).is_empty(), "of another program");
    }

    #[test]
    fn tables_of_dead_owners_go_whatever_their_names() {
        let text =
            ["table ip adit-dead", "table ip6 adit-live", "table arp adit-x", "table ip nat"];
        let tables: Vec<TableId> = text.iter().filter_map(|line| table(line)).collect();
        let alive = vec!["live".parse().unwrap()];
        let found = Found { tables, alive, ..Found::default() };
        let texts: Vec<String> = stale(&found).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["nft delete table ip adit-dead"]);
    }
}
