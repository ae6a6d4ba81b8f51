use crate::file::conf;
use crate::file::conf::HookPolicy;
use crate::host::setup::*;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;

fn config(text: &str) -> Config {
    let (source, problems) = (Source::new("site.conf", text), Problems::default());
    let config = conf::read(&source, &problems, HookPolicy::Refuse);
    let list = problems.into_list();
    assert!(list.is_empty(), "{list:?}");
    config
}

const KEY: &str = "PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn plan(interface: &str, allowed: &str, seen: &Seen) -> Plan {
    let text = format!("[Interface]\n{interface}\n[Peer]\n{KEY}\nAllowedIPs = {allowed}\n");
    Plan::new("site".parse().unwrap(), &config(&text), seen)
}

fn kernel_rules() -> Vec<Rule> {
    let rule = |priority, table| Rule {
        priority: Some(priority),
        protocol: 2,
        ..Rule::new(IpFamily::V4, RuleAction::Table(table))
    };
    vec![rule(0, 255), rule(32766, 254), rule(32767, 253)]
}

#[test]
fn routes_go_where_the_addresses_do_not_lead_already() {
    let plan = plan(
        "Address = 192.0.2.1/24",
        "192.0.2.7/32, 198.51.100.0/24, 10.0.0.0/8, 2001:db8::/32, 10.0.0.0/8",
        &Seen::default(),
    );
    assert_eq!(
        plan.actions(),
        [
            "create tun device site with MTU 1420",
            "add address 192.0.2.1/24",
            "set it up",
            "add route 2001:db8::/32",
            "add route 198.51.100.0/24",
            "add route 10.0.0.0/8",
        ]
    );
}

#[test]
fn a_default_route_has_a_table_and_rules_of_its_own() {
    let seen = Seen { rules: kernel_rules(), tables: vec![254, 51820], path_mtu: Some(1400) };
    let plan = plan("", "0.0.0.0/0", &seen);
    assert_eq!(
        plan.actions(),
        [
            "create tun device site with MTU 1320",
            "set it up",
            "add route 0.0.0.0/0 table 51821",
            "add rule -4 not fwmark 0xca6d lookup 51821",
            "add rule -4 lookup main suppress_prefixlength 0",
            "write 1 to /proc/sys/net/ipv4/conf/all/src_valid_mark",
            "nft add table ip adit-site",
            "nft add chain ip adit-site preraw { type filter hook prerouting priority -300; }",
            "nft add chain ip adit-site premangle { type filter hook prerouting priority -150; }",
            "nft add chain ip adit-site postmangle { type filter hook postrouting priority -150; }",
            "nft add rule ip adit-site postmangle meta l4proto { tcp, udp } meta mark 51821 \
             ct mark set meta mark",
            "nft add rule ip adit-site premangle meta l4proto { tcp, udp } ct mark 51821 \
             meta mark set ct mark",
        ]
    );
    let priorities: Vec<_> = plan.rules.iter().map(|rule| rule.priority.unwrap()).collect();
    assert_eq!(priorities, [32765, 32764]);
    assert_eq!(plan.mark, 51821);
}

#[test]
fn a_table_or_a_mark_that_is_given_is_taken() {
    let seen = Seen { rules: kernel_rules(), ..Seen::default() };
    let numbered = plan("Table = 7", "0.0.0.0/0, 10.0.0.0/8", &seen);
    assert!(numbered.rules.is_empty() && numbered.mark == 0);
    assert_eq!(
        numbered.routes.iter().map(text).collect::<Vec<_>>(),
        ["10.0.0.0/8 table 7", "0.0.0.0/0 table 7"]
    );
    assert!(plan("Table = off", "0.0.0.0/0, 10.0.0.0/8", &seen).routes.is_empty());
    let marked = plan("FwMark = 0x10", "::/0", &seen);
    assert_eq!((marked.mark, marked.routes[0].table), (16, 16));
}

#[test]
fn only_our_rules_that_lead_nowhere_are_stale() {
    let seen = Seen { rules: kernel_rules(), ..Seen::default() };
    let mut two = plan("", "0.0.0.0/0", &seen).rules;
    let mut seen = Seen { rules: kernel_rules(), tables: vec![254], path_mtu: None };
    seen.rules.append(&mut two.clone());
    assert_eq!(stale_rules(&seen), two, "killed");
    seen.tables.push(51820);
    assert_eq!(stale_rules(&seen), [], "it runs");
    seen.tables.pop();
    seen.rules.retain(|rule| rule.protocol != ROUTE_PROTOCOL);
    two.iter_mut().for_each(|rule| rule.protocol = 4);
    seen.rules.append(&mut two);
    assert_eq!(stale_rules(&seen), [], "somebody else's");
}

/// All of it on the real kernel: applied, changed, taken back.
#[test]
fn a_plan_is_applied_changed_and_taken_back() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let state = || {
        let mut netlink = Netlink::open().unwrap();
        let links: Vec<_> = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
        (links, netlink.routes(None).unwrap(), netlink.rules().unwrap())
    };
    let before = state();
    let make = |text: &str, allowed: &str| {
        plan(&format!("Address = 192.0.2.1/24\n{text}"), allowed, &Seen::read(None).unwrap())
    };
    let first = make("", "0.0.0.0/0, 198.51.100.0/24");
    let (device, mut applied) = first.apply(None).unwrap();
    assert_eq!(applied.warnings, Vec::<String>::new());
    let has = |network: &str, table: u32| {
        let network = network.parse().unwrap();
        let routes = Netlink::open().unwrap().routes(Some(table)).unwrap();
        routes.iter().any(|route| route.destination == network && route.protocol == ROUTE_PROTOCOL)
    };
    assert!(has("198.51.100.0/24", TABLE_MAIN) && has("0.0.0.0/0", first.mark));
    assert_eq!(Netlink::open().unwrap().rules().unwrap().len(), before.2.len() + 2);
    assert!(delete_stale_rules(None).unwrap().is_empty());

    let second = make("MTU = 1300", "203.0.113.0/24");
    applied.change(&device, &first, &second).unwrap();
    assert_eq!(device.info().unwrap().mtu, 1300);
    assert!(!has("198.51.100.0/24", TABLE_MAIN) && has("203.0.113.0/24", TABLE_MAIN));
    assert_eq!(Netlink::open().unwrap().rules().unwrap(), before.2);
    assert_eq!(applied.undo(&device), Vec::<String>::new());
    drop(device);
    assert_eq!(state(), before);

    // Killed: the device goes, its rules stay until the next start.
    let (device, applied) = make("", "0.0.0.0/0").apply(None).unwrap();
    drop((device, applied));
    assert_eq!(delete_stale_rules(None).unwrap().len(), 2);
    assert_eq!(state(), before);
}

/// An address that cannot be had: nothing is left.
#[test]
fn a_failure_leaves_nothing() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let plan = plan("Address = 192.0.2.1/24\nTable = 7", "0.0.0.0/0", &Seen::default());
    let twice =
        Plan { routes: vec![plan.routes[0].clone(), Route::new(plan.addresses[0])], ..plan };
    twice.apply(None).unwrap_err();
    let mut netlink = Netlink::open().unwrap();
    assert_eq!(netlink.links().unwrap().len(), 1);
    assert_eq!(netlink.routes(None).unwrap().len(), 0);
}
