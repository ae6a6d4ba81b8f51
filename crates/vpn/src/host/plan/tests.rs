use crate::file::conf;
use crate::file::conf::HookPolicy;
use crate::host::changes::HostChanges;
use crate::host::plan::*;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_service::host::executor::{Executor, HostExecutor, Outcome};
use adit_service::host::stale::find_stale;
use std::sync::{Arc, Mutex};

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

fn texts(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

fn rules(plan: &Plan) -> Vec<&Rule> {
    let mut rules = Vec::new();
    for action in &plan.actions {
        if let Action::AddRule(rule) = action {
            rules.push(rule);
        }
    }
    rules
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
        &Seen { forwards: true, ..Seen::default() },
    );
    assert_eq!(
        texts(&plan),
        [
            "create tun device site with a virtio-net header",
            "set the MTU to 1420",
            "set the queue length to 1000",
            "add address 192.0.2.1/24",
            "bring it up",
            "add route 2001:db8::/32",
            "add route 198.51.100.0/24",
            "add route 10.0.0.0/8",
        ]
    );
}

#[test]
fn a_default_route_has_a_table_and_rules_of_its_own() {
    let seen = Seen {
        rules: kernel_rules(),
        tables: vec![254, 51820],
        path_mtu: Some(1400),
        device: SeenDevice::Exists { multi_queue: false },
        ..Seen::default()
    };
    let plan = plan("Address = 192.0.2.1/32", "0.0.0.0/0", &seen);
    assert_eq!(
        texts(&plan),
        [
            "attach to tun device site with a virtio-net header",
            "set the MTU to 1320",
            "add address 192.0.2.1/32",
            "bring it up",
            "add route 0.0.0.0/0 table 51821",
            "add route unreachable 0.0.0.0/0 table 51821 metric 4294967295",
            "write 1 to /proc/sys/net/ipv4/conf/all/src_valid_mark",
            "add rule -4 not fwmark 0xca6d lookup 51821",
            "add rule -4 lookup main suppress_prefixlength 0",
            "nft add table ip adit-site { \
             chain preraw { type filter hook prerouting priority -300; iifname != \"site\" ip daddr 192.0.2.1 \
             fib saddr type != local drop; }; \
             chain premangle { type filter hook prerouting priority -150; meta l4proto { tcp, udp } ct mark \
             51821 meta mark set ct mark; }; \
             chain postmangle { type filter hook postrouting priority -150; meta l4proto { tcp, udp } meta \
             mark 51821 ct mark set meta mark; }; }",
        ]
    );
    let priorities: Vec<_> = rules(&plan).iter().map(|rule| rule.priority.unwrap()).collect();
    assert_eq!(priorities, [32765, 32764]);
    assert_eq!(plan.mark, 51821);
}

#[test]
fn a_table_or_a_mark_that_is_given_is_taken() {
    let seen = Seen { rules: kernel_rules(), ..Seen::default() };
    let routes = |plan: &Plan| -> Vec<String> {
        texts(plan).into_iter().filter(|text| text.starts_with("add route")).collect()
    };
    let numbered = plan("Table = 7", "0.0.0.0/0, 10.0.0.0/8", &seen);
    assert!(rules(&numbered).is_empty() && numbered.mark == 0);
    let both = ["add route 10.0.0.0/8 table 7", "add route 0.0.0.0/0 table 7"];
    assert_eq!(routes(&numbered), both);
    assert!(routes(&plan("Table = off", "0.0.0.0/0, 10.0.0.0/8", &seen)).is_empty());
    let marked = plan("FwMark = 0x10", "::/0", &seen);
    assert_eq!((marked.mark, &*routes(&marked)[0]), (16, "add route ::/0 table 16"));
}

/// Passes actions on, and keeps a list of them.
struct Recorder(HostExecutor, Arc<Mutex<Vec<Action>>>);

impl Executor for Recorder {
    fn perform(&mut self, action: &Action) -> Result<Outcome> {
        self.1.lock().unwrap().push(action.clone());
        self.0.perform(action)
    }

    fn take_device(&mut self) -> Result<adit_device::Device> {
        self.0.take_device()
    }
}

fn changes() -> (HostChanges, Arc<Mutex<Vec<Action>>>) {
    let record = Arc::<Mutex<Vec<Action>>>::default();
    let executor = Recorder(HostExecutor::new(None), Arc::clone(&record));
    (HostChanges::new("site".parse().unwrap(), None, Box::new(executor)), record)
}

fn state() -> (Vec<IfName>, Vec<Route>, Vec<Rule>) {
    let mut netlink = Netlink::open().unwrap();
    let links = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
    (links, netlink.routes(None).unwrap(), netlink.rules().unwrap())
}

/// All of it on the real kernel: performed as it was printed, changed, undone.
#[test]
fn a_plan_is_performed_changed_and_undone() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let name = "site".parse().unwrap();
    let before = state();
    let text = "Address = 192.0.2.1/24";
    let seen = || Seen::read(None, &name, &[]).unwrap();
    let first = plan(text, "0.0.0.0/0, 198.51.100.0/24", &seen());
    let (mut host, record) = changes();
    let device = host.open(&first).unwrap();
    assert_eq!(host.take_warnings(), Vec::<String>::new());
    let printed = texts(&first);
    let performed: Vec<String> = record.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(performed, printed, "what is printed is what is done");
    let has = |network: &str, table: u32| {
        let network = network.parse().unwrap();
        let routes = Netlink::open().unwrap().routes(Some(table)).unwrap();
        routes.iter().any(|route| route.destination == network && route.oif.is_some())
    };
    assert!(has("198.51.100.0/24", TABLE_MAIN) && has("0.0.0.0/0", first.mark));
    assert_eq!(Netlink::open().unwrap().rules().unwrap().len(), before.2.len() + 2);
    assert_eq!(find_stale(None, None).unwrap(), [], "it runs");

    // Others remove what is ours.
    let rule = rules(&first)[0].clone();
    Netlink::open().unwrap().delete_rule(&rule).unwrap();
    device.set_up(false).unwrap();
    device.set_up(true).unwrap();
    assert!(!has("0.0.0.0/0", first.mark));
    let restored = host.restore().restored;
    assert_eq!(restored.len(), 3, "{restored:?}");
    assert!(has("198.51.100.0/24", TABLE_MAIN) && has("0.0.0.0/0", first.mark));
    assert_eq!(host.restore().restored, Vec::<String>::new());

    let second =
        plan("Address = 192.0.2.1/24\nMTU = 1300", "203.0.113.0/24", &host.seen().unwrap());
    host.apply(&second.actions).unwrap();
    assert_eq!(host.take_warnings(), Vec::<String>::new());
    assert_eq!(device.info().unwrap().mtu, 1300);
    assert!(!has("198.51.100.0/24", TABLE_MAIN) && has("203.0.113.0/24", TABLE_MAIN));
    assert_eq!(Netlink::open().unwrap().rules().unwrap(), before.2);
    assert_eq!(host.undo(), Vec::<String>::new());
    drop(device);
    assert_eq!(state(), before);
}

/// Killed: the device goes, rules and packet filter stay, and the way out is closed until the next start.
#[test]
fn leftovers_of_a_killed_process_are_removed() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let before = state();
    let seen = Seen::read(None, &"site".parse().unwrap(), &[]).unwrap();
    let (mut host, _) = changes();
    let device = host.open(&plan("Address = 192.0.2.1/24", "0.0.0.0/0", &seen)).unwrap();
    drop((device, host));
    assert_ne!(state(), before);
    let stale = find_stale(None, None).unwrap();
    let texts: Vec<String> = stale.iter().map(ToString::to_string).collect();
    let wanted = [
        "nft delete table ip adit-site",
        "delete rule -4 not fwmark 0xca6c lookup 51820",
        "delete rule -4 lookup main suppress_prefixlength 0",
        "delete route unreachable 0.0.0.0/0 table 51820 metric 4294967295",
        "write 0 to /proc/sys/net/ipv4/conf/all/src_valid_mark",
    ];
    assert_eq!(texts, wanted);
    changes().0.perform(&stale).unwrap();
    assert_eq!((state(), find_stale(None, None).unwrap()), (before, Vec::new()));
}

/// A route that cannot be added: nothing is left.
#[test]
fn a_failure_leaves_nothing() {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let mut plan = plan("Address = 192.0.2.1/24\nTable = 7", "0.0.0.0/0", &Seen::default());
    plan.actions.push(Action::AddRoute(Route::new("192.0.2.1/24".parse().unwrap())));
    let (mut host, record) = changes();
    let error = host.open(&plan).unwrap_err();
    assert!(error.report.done.is_empty(), "{error:?}");
    assert_eq!(record.lock().unwrap().last(), Some(&Action::CloseDevice));
    let mut netlink = Netlink::open().unwrap();
    assert_eq!(netlink.links().unwrap().len(), 1);
    assert_eq!(netlink.routes(None).unwrap().len(), 0);
}
