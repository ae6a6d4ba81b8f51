//! Netlink against the real kernel, and against what iproute2 says of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;

use adit_device::netlink::{
    AddrGenMode, Address, AddressFlags, Event, FwMark, HardwareType, IpFamily, IpPrefix,
    LinkChange, LinkFlags, LinkInfo, Mode, Monitor, Netlink, NetlinkError, NextHop, OperState,
    ROUTE_PROTOCOL, Route, RouteKind, Rule, RuleAction, Scope, TABLE_MAIN, TunInfo, raw_errno,
};
use adit_device::{IfIndex, IfName, MacAddr, Netns};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use support::{Holder, enter, run};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

/// What `ip -d -s -j link show` prints of a link, made from what we know of it.
fn as_ip_prints(link: &LinkInfo) -> Value {
    let mut json = json!({
        "ifindex": link.index.get(),
        "ifname": link.name.to_string(),
        "flags": link.flags.words().collect::<Vec<_>>(),
        "mtu": link.mtu,
        "qdisc": link.qdisc,
        "operstate": link.operstate.to_string(),
        "linkmode": link.link_mode.to_string(),
        "group": if link.group == 0 { "default".into() } else { link.group.to_string() },
        "txqlen": link.txqueuelen,
        "link_type": link.hardware_type.to_string(),
        "promiscuity": link.promiscuity,
        "allmulti": link.allmulti,
        "min_mtu": link.min_mtu,
        "max_mtu": link.max_mtu,
        "num_tx_queues": link.num_tx_queues,
        "num_rx_queues": link.num_rx_queues,
        "gso_max_size": link.gso_max_size,
        "gso_max_segs": link.gso_max_segs,
        "tso_max_size": link.tso_max_size,
        "tso_max_segs": link.tso_max_segs,
        "gro_max_size": link.gro_max_size,
        "stats64": {
            "rx": {
                "bytes": link.stats.rx_bytes,
                "packets": link.stats.rx_packets,
                "errors": link.stats.rx_errors,
                "dropped": link.stats.rx_dropped,
                "over_errors": link.stats.rx_over_errors,
                "multicast": link.stats.multicast,
            },
            "tx": {
                "bytes": link.stats.tx_bytes,
                "packets": link.stats.tx_packets,
                "errors": link.stats.tx_errors,
                "dropped": link.stats.tx_dropped,
                "carrier_errors": link.stats.tx_carrier_errors,
                "collisions": link.stats.collisions,
            },
        },
    });
    let map = json.as_object_mut().unwrap();
    let mut insert = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            map.insert(key.into(), value.into());
        }
    };
    insert("address", link.address.as_ref().map(ToString::to_string));
    insert("broadcast", link.broadcast.as_ref().map(ToString::to_string));
    insert("inet6_addr_gen_mode", link.inet6_addr_gen_mode.map(|mode| mode.to_string()));
    insert("ifalias", link.alias.as_ref().map(|alias| alias.display().to_string()));
    if !link.altnames.is_empty() {
        let names: Vec<_> = link.altnames.iter().map(|name| name.display().to_string()).collect();
        map.insert("altnames".into(), json!(names));
    }
    if let Some(kind) = &link.kind {
        let mut info = Map::new();
        info.insert("info_kind".into(), json!(kind));
        if let Some(tun) = &link.tun {
            info.insert("info_data".into(), tun_as_ip_prints(tun));
        }
        map.insert("linkinfo".into(), info.into());
    }
    json
}

fn tun_as_ip_prints(tun: &TunInfo) -> Value {
    let mut json = json!({
        "type": tun.mode.to_string(),
        "pi": tun.pi,
        "vnet_hdr": tun.vnet_hdr,
        "multi_queue": tun.multi_queue,
        "persist": tun.persist,
    });
    let map = json.as_object_mut().unwrap();
    // Both are 0 here: no other id is mapped in the namespace of the test.
    for (key, id) in [("user", tun.owner), ("group", tun.group)] {
        if id == Some(0) {
            map.insert(key.into(), "root".into());
        }
    }
    for (key, number) in [("numqueues", tun.queues), ("numdisabled", tun.queues_disabled)] {
        if let Some(number) = number {
            map.insert(key.into(), number.into());
        }
    }
    json
}

/// What newer versions of `ip` show of every link, and this library does not.
const OF_NEWER_IP: [&str; 3] = ["gso_ipv4_max_size", "gro_ipv4_max_size", "netns-immutable"];

/// Compares what we and `ip` see of a link; the counters move on meanwhile, so a few tries.
fn compare(netlink: &mut Netlink, device: &str) -> LinkInfo {
    for attempt in 0.. {
        let ours = netlink.link_by_name(&name(device)).unwrap();
        let mut theirs = support::json(&format!("ip -d -s -j link show dev {device}"))[0].take();
        for field in OF_NEWER_IP {
            theirs.as_object_mut().unwrap().remove(field);
        }
        if as_ip_prints(&ours) == theirs || attempt == 5 {
            assert_eq!(as_ip_prints(&ours), theirs);
            return ours;
        }
    }
    unreachable!()
}

/// Every kind of TUN and TAP device, seen as `ip` sees it, field by field.
#[test]
fn each_kind_of_device_is_seen_as_ip_sees_it() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let mut seen = 0;
    for bits in 0..64_u16 {
        let [tap, pi, vnet_hdr, multi_queue, persist, ids] =
            [1, 2, 4, 8, 16, 32].map(|bit| bits & bit != 0);
        let mut line = format!("ip tuntap add dev t0 mode {}", if tap { "tap" } else { "tun" });
        // IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
        let mut flags = if tap { 2 } else { 1 };
        if pi {
            line += " pi"
        } else {
            flags |= 0x1000
        }
        if vnet_hdr {
            line += " vnet_hdr";
            flags |= 0x4000;
        }
        if multi_queue {
            line += " multi_queue";
            flags |= 0x100;
        }
        if ids {
            line += " user 0 group 0";
        }
        let queues = if multi_queue { 3 } else { 1 };
        let holder = if persist {
            run(&line);
            None
        } else {
            Some(Holder::open("t0", flags, queues, ids.then_some((0, 0))))
        };
        let link = compare(&mut netlink, "t0");
        let expected = (if tap { Mode::Tap } else { Mode::Tun }, pi, vnet_hdr, multi_queue);
        let tun = link.tun.unwrap();
        assert_eq!((tun.mode, tun.pi, tun.vnet_hdr, tun.multi_queue), expected);
        assert_eq!(
            (tun.persist, tun.owner, tun.group),
            (persist, ids.then_some(0), ids.then_some(0))
        );
        let attached = if persist { 0 } else { 3 };
        assert_eq!(tun.queues, multi_queue.then_some(attached));
        netlink.set_link(link.index, &LinkChange::new().up(true)).unwrap();
        compare(&mut netlink, "t0");
        netlink.delete_link(link.index).unwrap();
        drop(holder);
        assert_eq!(errno(netlink.link_by_index(link.index)), Errno::NODEV);
        seen += 1;
    }
    assert_eq!(seen, 64);
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Errno {
    let error = result.unwrap_err();
    Errno::from_raw_os_error(raw_errno(&error).unwrap())
}

#[test]
fn loopback_is_there_and_listed() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let links = netlink.links().unwrap();
    let lo = links.iter().find(|link| link.name == name("lo")).unwrap();
    assert_eq!(lo.hardware_type, HardwareType::LOOPBACK);
    assert_eq!((lo.kind.as_deref(), lo.tun), (None, None));
    assert_eq!(lo.flags.to_string(), "LOOPBACK");
    assert_eq!(netlink.link_by_index(lo.index).unwrap().name, lo.name);
    assert_eq!(errno(netlink.link_by_index(IfIndex::new(4711).unwrap())), Errno::NODEV);
    assert_eq!(errno(netlink.link_by_name(&name("nope"))), Errno::NODEV);
}

#[test]
fn a_link_takes_every_change() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let bridge = netlink.add_bridge(&name("br0")).unwrap();
    run("ip tuntap add dev t0 mode tap");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    let mac = MacAddr([2, 0, 0, 0, 0, 9]);
    let change = LinkChange::new()
        .name(name("t1"))
        .mtu(1400)
        .txqueuelen(77)
        .gso_max_size(60_000)
        .address(mac)
        .alias("the first one")
        .master(bridge)
        .group(5)
        .addr_gen_mode(AddrGenMode::None)
        .up(true);
    netlink.set_link(index, &change).unwrap();
    netlink.add_altname(index, "a-name-that-is-longer-than-fifteen").unwrap();
    netlink.add_altname(index, "short").unwrap();
    assert_eq!(errno(netlink.add_altname(index, "short")), Errno::EXIST);

    let link = netlink.link_by_index(index).unwrap();
    assert_eq!((link.name, link.mtu, link.txqueuelen), (name("t1"), 1400, 77));
    assert_eq!(link.gso_max_size, 60_000);
    assert_eq!(link.address.as_ref().unwrap().mac(), Some(mac));
    assert_eq!(link.alias.as_deref(), Some(OsStr::new("the first one")));
    assert_eq!((link.master, link.group), (Some(bridge), 5));
    assert_eq!(link.inet6_addr_gen_mode, Some(AddrGenMode::None));
    assert!(link.flags.contains(LinkFlags::UP));
    assert_eq!(link.altnames, ["a-name-that-is-longer-than-fifteen", "short"]);
    assert_eq!(netlink.link_by_name(&name("short")).unwrap().index, index);
    let long = "a-name-that-is-longer-than-fifteen";
    assert_eq!(netlink.link_by_altname(long).unwrap().index, index);
    let ports: Vec<_> = netlink.ports(bridge).unwrap().iter().map(|port| port.index).collect();
    assert_eq!(ports, [index]);

    let theirs = &support::json("ip -N -d -j link show dev t1")[0];
    assert_eq!(theirs["ifalias"], "the first one");
    assert_eq!(theirs["master"], "br0");
    assert_eq!(theirs["group"], "5");

    let undo = LinkChange::new().alias("").no_master().up(false);
    netlink.set_link(index, &undo).unwrap();
    netlink.del_altname(index, "short").unwrap();
    let link = netlink.link_by_index(index).unwrap();
    assert_eq!((link.alias, link.master), (None, None));
    assert!(!link.flags.contains(LinkFlags::UP));
    assert_eq!(link.altnames, [long]);
    assert_eq!(netlink.ports(bridge).unwrap(), []);
}

#[test]
fn carrier_follows_the_driver_and_the_switch() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let _holder = Holder::open("t0", 0x1002, 1, None);
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    netlink.set_link(index, &LinkChange::new().up(true)).unwrap();
    assert!(netlink.link_by_index(index).unwrap().carrier);
    netlink.set_link(index, &LinkChange::new().carrier(false)).unwrap();
    let link = netlink.link_by_index(index).unwrap();
    assert!(!link.carrier && !link.flags.contains(LinkFlags::LOWER_UP));
    assert_eq!(link.flags.words().next(), Some("NO-CARRIER"));
    netlink.set_link(index, &LinkChange::new().carrier(true)).unwrap();
    assert!(netlink.link_by_index(index).unwrap().carrier);
}

/// The mode counts from the start, though the kernel by itself would make the address first.
#[test]
fn a_link_goes_up_with_the_address_that_its_mode_makes() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    for (device, mode, expected) in [
        ("t0", AddrGenMode::Eui64, 1),
        ("t1", AddrGenMode::None, 0),
        ("t2", AddrGenMode::Random, 1),
    ] {
        let _holder = Holder::open(device, 0x1002, 1, None);
        let index = netlink.link_by_name(&name(device)).unwrap().index;
        let change = LinkChange::new().addr_gen_mode(mode).up(true);
        netlink.set_link(index, &change).unwrap();
        let addresses = netlink.addresses(Some(index)).unwrap();
        assert_eq!(addresses.len(), expected, "{mode}: {addresses:?}");
        assert!(addresses.iter().all(|(_, address)| address.scope == Scope::Link));
    }
}

#[test]
fn a_veth_pair_is_joined() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let (one, two) = netlink.add_veth(&name("v1"), &name("v2")).unwrap();
    let link = netlink.link_by_index(one).unwrap();
    assert_eq!((link.lower, link.kind.as_deref()), (Some(two), Some("veth")));
    for index in [one, two] {
        netlink.set_link(index, &LinkChange::new().up(true)).unwrap();
    }
    assert_eq!(netlink.link_by_index(two).unwrap().operstate, OperState::Up);
    assert_eq!(errno(netlink.add_bridge(&name("v1"))), Errno::EXIST);
    netlink.delete_link(one).unwrap();
    assert_eq!(errno(netlink.link_by_index(two)), Errno::NODEV);
}

#[test]
fn names_are_bytes() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let latin1 = IfName::new(OsStr::from_bytes(b"b\xfcro")).unwrap();
    let index = netlink.add_bridge(&latin1).unwrap();
    assert!(netlink.links().unwrap().iter().any(|link| link.name == latin1));
    assert_eq!(netlink.link_by_name(&latin1).unwrap().index, index);
}

#[test]
fn a_link_moves_to_another_namespace() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let there = Netns::new_anonymous().unwrap();
    let mut remote = Netlink::open_in(&there).unwrap();
    run("ip tuntap add dev t0 mode tun");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    let change = LinkChange::new().netns(&there).name(name("t9")).mtu(1300);
    netlink.set_link(index, &change).unwrap();
    assert_eq!(errno(netlink.link_by_name(&name("t0"))), Errno::NODEV);
    let link = remote.link_by_name(&name("t9")).unwrap();
    assert_eq!((link.mtu, link.tun.unwrap().mode), (1300, Mode::Tun));
    assert_eq!(errno(remote.link_by_name(&name("t0"))), Errno::NODEV);
}

#[test]
fn the_kernel_says_in_words_what_it_refuses() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    run("ip tuntap add dev t0 mode tun");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    let error = netlink.set_link(index, &LinkChange::new().mtu(10)).unwrap_err();
    assert_eq!(error.raw_os_error(), None);
    assert_eq!(raw_errno(&error), Some(22));
    assert_eq!(NetlinkError::of(&error).unwrap().message(), "mtu less than device minimum");
    assert_eq!(error.to_string(), "mtu less than device minimum: Invalid argument (os error 22)");
    let error = netlink.set_link(index, &LinkChange::new().alias("x".repeat(70_000))).unwrap_err();
    assert_eq!(raw_errno(&error), Some(Errno::MSGSIZE.raw_os_error()));
    // The socket still works after each.
    assert_eq!(netlink.link_by_index(index).unwrap().mtu, 1500);
}

/// `local/len peer flags scope` of each address as `ip` has it, sorted.
fn addresses_of_ip(device: &str) -> Vec<String> {
    let theirs = support::json(&format!("ip -j addr show dev {device}"));
    let mut lines: Vec<_> = theirs[0]["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| {
            format!(
                "{}/{} peer {} brd {} scope {} label {} nodad {} noprefixroute {} valid {}",
                info["local"].as_str().unwrap(),
                info["prefixlen"],
                info["address"].as_str().unwrap_or("-"),
                info["broadcast"].as_str().unwrap_or("-"),
                info["scope"].as_str().unwrap(),
                info["label"].as_str().unwrap_or("-"),
                info["nodad"].as_bool().unwrap_or(false),
                info["noprefixroute"].as_bool().unwrap_or(false),
                info["valid_life_time"],
            )
        })
        .collect();
    lines.sort();
    lines
}

fn addresses_of_ours(netlink: &mut Netlink, index: IfIndex) -> Vec<String> {
    let text = |ip: Option<std::net::IpAddr>| ip.map_or("-".into(), |ip| ip.to_string());
    let mut lines: Vec<_> = netlink
        .addresses(Some(index))
        .unwrap()
        .into_iter()
        .map(|(link, address)| {
            assert_eq!(link, index);
            format!(
                "{} peer {} brd {} scope {} label {} nodad {} noprefixroute {} valid {}",
                address.local,
                text(address.peer),
                text(address.broadcast.map(Into::into)),
                address.scope,
                address.label.map_or("-".into(), |label| label.display().to_string()),
                address.flags.contains(AddressFlags::NODAD),
                address.flags.contains(AddressFlags::NOPREFIXROUTE),
                address.valid_lifetime.map_or(u64::from(u32::MAX), |time| time.as_secs()),
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn addresses_agree_with_ip() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    run("ip tuntap add dev t0 mode tun");
    run("ip link set t0 up");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    run("ip addr add 192.0.2.1/24 brd + dev t0");
    run("ip addr add 198.51.100.1 peer 198.51.100.2/30 dev t0 label t0:x");
    run("ip addr add 2001:db8::1/64 dev t0 nodad");
    run("ip addr add 2001:db8::2 peer 2001:db8::3 dev t0");
    run("ip addr add 203.0.113.1/25 dev t0 scope link valid_lft 4000 preferred_lft 3000");
    let all = addresses_of_ip("t0");
    assert_eq!(all.len(), 5, "{all:#?}");
    assert_eq!(addresses_of_ours(&mut netlink, index), all);

    // Ours, all deleted and added again, look the same to ip.
    let list = netlink.addresses(Some(index)).unwrap();
    for (link, address) in &list {
        netlink.delete_address(*link, address).unwrap();
    }
    assert_eq!(addresses_of_ip("t0"), Vec::<String>::new());
    for (link, address) in &list {
        netlink.add_address(*link, address).unwrap();
        assert_eq!(errno(netlink.add_address(*link, address)), Errno::EXIST);
    }
    assert_eq!(addresses_of_ip("t0"), all);
}

#[test]
fn addresses_with_flags_and_lifetimes() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    run("ip tuntap add dev t0 mode tap");
    run("ip link set t0 up");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    let mut address = Address {
        flags: AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE,
        valid_lifetime: Some(Duration::from_secs(4000)),
        preferred_lifetime: Some(Duration::from_secs(0)),
        ..Address::new(prefix("2001:db8::1/64"))
    };
    netlink.add_address(index, &address).unwrap();
    assert_eq!(addresses_of_ours(&mut netlink, index), addresses_of_ip("t0"));
    let (_, seen) = netlink.addresses(None).unwrap().pop().unwrap();
    assert!(seen.flags.contains(address.flags | AddressFlags::DEPRECATED));
    assert!(!seen.flags.contains(AddressFlags::TENTATIVE));

    address.valid_lifetime = None;
    address.preferred_lifetime = None;
    netlink.replace_address(index, &address).unwrap();
    let (_, seen) = netlink.addresses(None).unwrap().pop().unwrap();
    assert_eq!((seen.valid_lifetime, seen.preferred_lifetime), (None, None));
    assert!(seen.flags.contains(AddressFlags::PERMANENT));
    netlink.delete_address(index, &address).unwrap();
    assert_eq!(errno(netlink.delete_address(index, &address)), Errno::ADDRNOTAVAIL);
    assert_eq!(Address::new(prefix("127.0.0.2/8")).scope, Scope::Host);
}

/// Each route as one line from `ip`'s JSON, sorted.
fn routes_of_ip() -> Vec<String> {
    let mut lines = Vec::new();
    for (option, any, bits) in [("-4", "0.0.0.0", 32), ("-6", "::", 128)] {
        let theirs = support::json(&format!("ip -j -N {option} route show table all"));
        for route in theirs.as_array().unwrap() {
            let text = |key: &str, default: &str| route[key].as_str().unwrap_or(default).to_owned();
            let mut destination = text("dst", "").replace("default", &format!("{any}/0"));
            if !destination.contains('/') {
                destination += &format!("/{bits}");
            }
            let via = route["via"]["host"].as_str().unwrap_or("-");
            let flags = route["flags"].as_array().unwrap();
            lines.push(format!(
                "{destination} kind {} via {} dev {} table {} proto {} scope {} metric {} src {} \
                 mtu {} onlink {}",
                text("type", "1"),
                text("gateway", via),
                text("dev", "-"),
                text("table", "254"),
                text("protocol", "3"),
                text("scope", "0"),
                route["metric"].as_u64().unwrap_or(0),
                text("prefsrc", "-"),
                route["metrics"][0]["mtu"].as_u64().unwrap_or(0),
                flags.iter().any(|flag| flag == "onlink"),
            ));
        }
    }
    lines.sort();
    lines
}

fn routes_of_ours(netlink: &mut Netlink, table: Option<u32>) -> Vec<String> {
    let text = |ip: Option<std::net::IpAddr>| ip.map_or("-".into(), |ip| ip.to_string());
    let routes = netlink.routes(table).unwrap();
    let mut lines: Vec<_> = routes
        .iter()
        .map(|route| {
            let device = route.oif.map(|index| netlink.link_by_index(index).unwrap().name);
            format!(
                "{} kind {} via {} dev {} table {} proto {} scope {} metric {} src {} mtu {} \
                 onlink {}",
                route.destination,
                route.kind.number(),
                text(route.gateway),
                device.map_or("-".into(), |name| name.to_string()),
                route.table,
                route.protocol,
                route.scope.unwrap().number(),
                route.metric.unwrap_or(0),
                text(route.prefsrc),
                route.mtu.unwrap_or(0),
                route.onlink,
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn routes_agree_with_ip() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let _holder = Holder::open("t0", 0x1001, 1, None);
    run("ip link set lo up");
    run("ip link set t0 up");
    run("ip addr add 192.0.2.1/24 dev t0");
    run("ip addr add 2001:db8::1/64 dev t0 nodad");
    let lines = [
        "198.51.100.0/24 via 192.0.2.9 metric 5 mtu 1200 proto 77 table 1000 src 192.0.2.1",
        "198.51.100.0/25 via 10.9.9.9 dev t0 onlink",
        "203.0.113.0/24 via inet6 fe80::9 dev t0",
        "192.0.2.128/25 dev t0",
        "blackhole 10.0.0.0/8",
        "unreachable 10.1.0.0/16",
        "prohibit 10.2.0.0/16 metric 7",
        "throw 10.3.0.0/16 table 7",
        "local 10.4.0.0/16 dev lo table 8",
        "0.0.0.0/0 via 192.0.2.2",
        "2001:db8:1::/48 via 2001:db8::2 metric 9 mtu 1300 table 1000",
        "2001:db8:2::/48 dev t0",
        "unreachable 2001:db8:3::/48",
        "::/0 via fe80::1 dev t0",
    ];
    for line in lines {
        run(&format!("ip route add {line}"));
    }
    let all = routes_of_ip();
    assert!(all.len() > lines.len());
    assert_eq!(routes_of_ours(&mut netlink, None), all);
    let thousand: Vec<_> =
        all.iter().filter(|line| line.contains("table 1000 ")).cloned().collect();
    assert_eq!(thousand.len(), 2);
    assert_eq!(routes_of_ours(&mut netlink, Some(1000)), thousand);
    assert_eq!(netlink.routes(Some(4711)).unwrap(), []);

    // Those that are not the kernel's own (proto 2), deleted and added again by us.
    let list: Vec<_> = netlink.routes(None).unwrap();
    let list: Vec<_> = list.into_iter().filter(|route| route.protocol != 2).collect();
    assert_eq!(list.len(), lines.len());
    for route in &list {
        netlink.delete_route(route).unwrap();
        assert_eq!(errno(netlink.delete_route(route)), Errno::SRCH);
    }
    for route in &list {
        netlink.add_route(route).unwrap();
        assert_eq!(errno(netlink.add_route(route)), Errno::EXIST);
        netlink.replace_route(route).unwrap();
    }
    assert_eq!(routes_of_ip(), all);
}

#[test]
fn a_route_of_ours_bears_our_tag() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    run("ip tuntap add dev t0 mode tun");
    run("ip link set t0 up");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    let mut route = Route { oif: Some(index), ..Route::new(prefix("192.0.2.0/24")) };
    netlink.add_route(&route).unwrap();
    route.mtu = Some(1234);
    netlink.replace_route(&route).unwrap();
    netlink.add_route(&Route::new(prefix("192.0.2.1/24"))).unwrap_err();
    let blackhole = Route { kind: RouteKind::Blackhole, ..Route::new(IpPrefix::ALL_V6) };
    netlink.add_route(&blackhole).unwrap();
    let theirs = support::json("ip -j route show proto 77");
    assert_eq!(theirs[0]["dst"], "192.0.2.0/24");
    assert_eq!(theirs[0]["scope"], "link");
    assert_eq!(theirs[0]["metrics"][0]["mtu"], 1234);
    let ours = netlink.routes(Some(TABLE_MAIN)).unwrap();
    let ours: Vec<_> = ours.iter().filter(|route| route.protocol == ROUTE_PROTOCOL).collect();
    assert_eq!(ours.len(), 2);
    netlink.delete_route(&route).unwrap();
    netlink.delete_route(&blackhole).unwrap();
    let unreachable = Route {
        gateway: Some("198.51.100.1".parse().unwrap()),
        ..Route::new(prefix("203.0.113.0/24"))
    };
    let error = netlink.add_route(&unreachable).unwrap_err();
    assert_eq!(NetlinkError::of(&error).unwrap().message(), "Nexthop has invalid gateway");
    assert_eq!(raw_errno(&error), Some(Errno::NETUNREACH.raw_os_error()));
}

#[test]
fn a_route_by_many_ways() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let _holder = Holder::open("t0", 0x1001, 1, None);
    run("ip link set t0 up");
    run("ip addr add 192.0.2.1/24 dev t0");
    let nexthops = "nexthop via 192.0.2.3 weight 5 nexthop via 10.0.0.1 dev t0 onlink nexthop via \
                    inet6 fe80::1 dev t0";
    run(&format!("ip route add 203.0.113.0/24 {nexthops}"));
    let theirs = support::json("ip -j route show 203.0.113.0/24");
    let routes = netlink.routes(Some(TABLE_MAIN)).unwrap();
    let route = routes.iter().find(|route| !route.next_hops.is_empty()).unwrap();
    let oif = Some(netlink.link_by_name(&name("t0")).unwrap().index);
    let hop = |gateway: &str, weight, onlink| {
        let gateway = Some(gateway.parse().unwrap());
        NextHop { gateway, oif, weight, onlink }
    };
    let expected = [hop("192.0.2.3", 5, false), hop("10.0.0.1", 1, true), hop("fe80::1", 1, false)];
    assert_eq!(route.next_hops, expected);
    netlink.delete_route(route).unwrap();
    assert_eq!(support::json("ip -j route show 203.0.113.0/24"), json!([]));
    netlink.add_route(route).unwrap();
    assert_eq!(support::json("ip -j route show 203.0.113.0/24"), theirs);
}

/// Each rule as one line from `ip`'s JSON, in order.
fn rules_of_ip() -> Vec<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        for rule in support::json(&format!("ip -j -N {family} rule show")).as_array().unwrap() {
            let text = |key: &str| rule[key].as_str().unwrap_or("-").to_owned();
            let side = |key: &str, len: &str| match (rule[key].as_str(), rule[len].as_u64()) {
                (None | Some("all"), _) => "-".into(),
                (Some(ip), Some(len)) => format!("{ip}/{len}"),
                (Some(ip), None) => ip.to_owned(),
            };
            let number = |key: &str| rule[key].as_u64().map_or("-".into(), |n| n.to_string());
            lines.push(format!(
                "{family} {} not {} from {} to {} mark {}/{} iif {} oif {} uid {}-{} table {} \
                 action {} suppress {}",
                rule["priority"],
                !rule["not"].is_null() || rule.as_object().unwrap().contains_key("not"),
                side("src", "srclen"),
                side("dst", "dstlen"),
                text("fwmark"),
                text("fwmask"),
                text("iif"),
                text("oif"),
                number("uid_start"),
                number("uid_end"),
                text("table"),
                text("action"),
                number("suppress_prefixlen"),
            ));
        }
    }
    lines
}

fn rules_of_ours(netlink: &mut Netlink) -> Vec<String> {
    let side = |prefix: Option<IpPrefix>| match prefix {
        None => "-".into(),
        Some(prefix) if prefix == IpPrefix::host(prefix.ip()) => prefix.ip().to_string(),
        Some(prefix) => prefix.to_string(),
    };
    let text = |name: Option<IfName>| name.map_or("-".into(), |name| name.to_string());
    let number = |n: Option<u32>| n.map_or("-".to_owned(), |n| n.to_string());
    let rules = netlink.rules().unwrap();
    let line = |rule: &Rule| {
        let (mark, mask) = match rule.fwmark {
            None => ("-".into(), "-".into()),
            Some(FwMark { mark, mask: u32::MAX }) => (format!("{mark:#x}"), "-".into()),
            Some(FwMark { mark, mask }) => (format!("{mark:#x}"), format!("{mask:#x}")),
        };
        let (table, action) = match rule.action {
            RuleAction::Table(table) => (table.to_string(), "-"),
            RuleAction::Blackhole => ("-".into(), "6"),
            RuleAction::Unreachable => ("-".into(), "7"),
            RuleAction::Prohibit => ("-".into(), "8"),
            other => panic!("{other:?}"),
        };
        format!(
            "{} {} not {} from {} to {} mark {mark}/{mask} iif {} oif {} uid {}-{} table {table} \
             action {action} suppress {}",
            if rule.family == IpFamily::V4 { "-4" } else { "-6" },
            rule.priority.unwrap(),
            rule.invert,
            side(rule.from),
            side(rule.to),
            text(rule.iif),
            text(rule.oif),
            number(rule.uid_range.as_ref().map(|range| *range.start())),
            number(rule.uid_range.as_ref().map(|range| *range.end())),
            number(rule.suppress_prefixlength),
        )
    };
    rules.iter().map(line).collect()
}

#[test]
fn rules_agree_with_ip() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let lines = [
        "from 10.0.0.0/8 to 11.0.0.0/8 fwmark 0x10/0xff iif lo oif t0 uidrange 0-0 lookup 5000 \
         suppress_prefixlength 0 pref 10",
        "not from 192.0.2.1 prohibit pref 11",
        "blackhole fwmark 0x20 pref 12",
        "to 192.0.2.0/24 unreachable pref 13",
        "lookup 100",
    ];
    for line in lines {
        run(&format!("ip rule add {line}"));
    }
    run("ip -6 rule add from 2001:db8::/32 to 2001:db8:1::1 lookup 5001 pref 20");
    let all = rules_of_ip();
    assert_eq!(all.len(), 5 + lines.len() + 1, "{all:#?}");
    assert_eq!(rules_of_ours(&mut netlink), all);

    let list = netlink.rules().unwrap();
    for rule in &list {
        netlink.delete_rule(rule).unwrap();
        assert_eq!(errno(netlink.delete_rule(rule)), Errno::NOENT);
    }
    assert_eq!(netlink.rules().unwrap(), []);
    for rule in &list {
        netlink.add_rule(rule).unwrap();
        assert_eq!(errno(netlink.add_rule(rule)), Errno::EXIST);
    }
    assert_eq!(rules_of_ip(), all);
}

/// One link's message may be longer than what the socket usually reads at once: here 49 KiB.
#[test]
fn a_long_message_is_read_whole() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.add_bridge(&name("br0")).unwrap();
    for number in 0..400 {
        netlink.add_altname(index, format!("{number:0120}")).unwrap();
    }
    let all = netlink.links().unwrap();
    let link = all.iter().find(|link| link.index == index).unwrap();
    assert_eq!(link.altnames.len(), 400);
    assert_eq!(&netlink.link_by_index(index).unwrap(), link);
    // Afterwards short ones still are.
    assert_eq!(netlink.link_by_name(&name("lo")).unwrap().index.get(), 1);
}

/// How long an event may take: it comes at once, or the test fails.
const EVENT_TIME_MAX: Duration = Duration::from_secs(60);

/// Reads events until `wanted` gives something.
fn await_event<T>(monitor: &mut Monitor, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = monitor.recv(Some(EVENT_TIME_MAX)).unwrap().expect("no such event came");
        assert_ne!(event, Event::Lost);
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

#[test]
fn the_monitor_sees_a_life() {
    enter();
    let mut monitor = Monitor::open().unwrap();
    assert_eq!(monitor.recv(Some(Duration::ZERO)).unwrap(), None);
    assert_eq!(monitor.recv(Some(Duration::from_millis(20))).unwrap(), None);

    run("ip tuntap add dev t0 mode tap");
    let link = await_event(&mut monitor, |event| match event {
        Event::LinkChanged(link) if link.name == name("t0") => Some(link.clone()),
        _ => None,
    });
    assert_eq!(link.tun.unwrap().mode, Mode::Tap);
    let index = link.index;
    let changed = |wanted: &'static dyn Fn(&LinkInfo) -> bool| {
        move |event: &Event| match event {
            Event::LinkChanged(link) if link.index == index && wanted(link) => Some(()),
            _ => None,
        }
    };
    run("ip link set t0 up");
    await_event(&mut monitor, changed(&|link| link.flags.contains(LinkFlags::UP)));
    run("ip addr add 192.0.2.1/24 dev t0");
    let address = await_event(&mut monitor, |event| match event {
        Event::AddressAdded(link, address) if *link == index => Some(address.clone()),
        _ => None,
    });
    assert_eq!(address.local, prefix("192.0.2.1/24"));
    run("ip route add 198.51.100.0/24 via 192.0.2.9");
    run("ip route del 198.51.100.0/24");
    let destination = prefix("198.51.100.0/24");
    await_event(&mut monitor, |event| {
        matches!(event, Event::RouteAdded(route) if route.destination == destination).then_some(())
    });
    await_event(&mut monitor, |event| {
        matches!(event, Event::RouteRemoved(route) if route.destination == destination)
            .then_some(())
    });
    run("ip addr del 192.0.2.1/24 dev t0");
    await_event(&mut monitor, |event| {
        matches!(event, Event::AddressRemoved(link, _) if *link == index).then_some(())
    });
    run("ip link set t0 down");
    run("ip link set t0 name t1");
    await_event(&mut monitor, changed(&|link| link.name == name("t1")));

    // A port that leaves its bridge is not a link that goes away.
    run("ip link add br0 type bridge");
    run("ip link set t1 master br0");
    await_event(&mut monitor, changed(&|link| link.master.is_some()));
    run("ip link set t1 nomaster");
    // The kernel reports a new alias only while the link is up.
    run("ip link set t1 up");
    run("ip link set t1 alias out");
    await_event(&mut monitor, |event| match event {
        Event::LinkRemoved(link) => panic!("{link:?}"),
        Event::LinkChanged(link) if link.alias.is_some() => Some(()),
        _ => None,
    });
    run("ip link del t1");
    let link = await_event(&mut monitor, |event| match event {
        Event::LinkRemoved(link) => Some(link.clone()),
        _ => None,
    });
    assert_eq!((link.index, link.name), (index, name("t1")));
}

#[test]
fn the_monitor_sees_a_link_leave_and_arrive() {
    enter();
    let there = Netns::new_anonymous().unwrap();
    let mut here = Monitor::open().unwrap();
    let mut monitor = Monitor::open_in(&there).unwrap();
    let mut netlink = Netlink::open().unwrap();
    run("ip tuntap add dev t0 mode tun");
    let index = netlink.link_by_name(&name("t0")).unwrap().index;
    netlink.set_link(index, &LinkChange::new().netns(&there)).unwrap();
    await_event(&mut here, |event| {
        matches!(event, Event::LinkRemoved(link) if link.index == index).then_some(())
    });
    await_event(&mut monitor, |event| {
        matches!(event, Event::LinkChanged(link) if link.name == name("t0")).then_some(())
    });
}

#[test]
fn a_monitor_that_is_not_read_says_that_it_lost_events() {
    enter();
    let mut monitor = Monitor::open().unwrap();
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.add_bridge(&name("br0")).unwrap();
    // 20,000 events of over 1 KiB are more than the 2 MiB, doubled by the kernel, that are kept.
    for turn in 0..20_000_u32 {
        netlink.set_link(index, &LinkChange::new().mtu(1400 + turn % 2)).unwrap();
    }
    let mut lost = 0;
    let mut events = 0;
    while let Some(event) = monitor.recv(Some(Duration::ZERO)).unwrap() {
        events += 1;
        lost += u32::from(event == Event::Lost);
    }
    assert_eq!(lost, 1, "among {events} events");
    // And it goes on.
    netlink.delete_link(index).unwrap();
    await_event(&mut monitor, |event| {
        matches!(event, Event::LinkRemoved(link) if link.index == index).then_some(())
    });
}

/// A list that changes while it is read is read again, and each entry is there once.
#[test]
fn lists_are_consistent_while_links_come_and_go() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    for number in 0..300 {
        netlink.add_bridge(&name(&format!("br{number}"))).unwrap();
    }
    let here = Netns::current().unwrap();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut netlink = Netlink::open_in(&here).unwrap();
            for _ in 0..200 {
                let (one, _) = netlink.add_veth(&name("v1"), &name("v2")).unwrap();
                netlink.delete_link(one).unwrap();
            }
        });
        let mut lists = 0;
        while !churn.is_finished() {
            match netlink.links() {
                Err(error) => assert_eq!(raw_errno(&error), Some(Errno::INTR.raw_os_error())),
                Ok(links) => {
                    let bridges: std::collections::BTreeSet<_> = links
                        .iter()
                        .filter(|link| link.kind.as_deref() == Some("bridge"))
                        .map(|link| link.index)
                        .collect();
                    assert_eq!(bridges.len(), 300);
                    lists += 1;
                }
            }
        }
        churn.join().unwrap();
        assert!(lists > 0);
    });
}

#[test]
fn without_privilege_one_may_look_and_not_touch() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.add_bridge(&name("br0")).unwrap();
    drop_capabilities();
    let mut netlink = Netlink::open().unwrap();
    assert_eq!(netlink.link_by_index(index).unwrap().name, name("br0"));
    assert!(!netlink.links().unwrap().is_empty());
    assert!(netlink.rules().unwrap().len() >= 5);
    assert_eq!(errno(netlink.delete_link(index)), Errno::PERM);
}

/// Takes every capability from the calling thread, which ends with its test.
fn drop_capabilities() {
    let none = rustix::thread::CapabilitySets {
        effective: rustix::thread::CapabilitySet::empty(),
        permitted: rustix::thread::CapabilitySet::empty(),
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).unwrap();
}

/// A rule is known by who made it, and of equal ones that one is deleted.
#[test]
fn a_rule_names_its_protocol() {
    enter();
    let mut netlink = Netlink::open().unwrap();
    run("ip rule add lookup 5001 pref 20 protocol 4");
    let ours = Rule { priority: Some(21), ..Rule::new(IpFamily::V4, RuleAction::Table(5001)) };
    netlink.add_rule(&ours).unwrap();
    assert_eq!(ours.protocol, ROUTE_PROTOCOL);
    let found = |netlink: &mut Netlink| {
        let rules = netlink.rules().unwrap().into_iter();
        let of_table = rules.filter(|rule| rule.action == RuleAction::Table(5001));
        of_table.map(|rule| (rule.priority, rule.protocol)).collect::<Vec<_>>()
    };
    assert_eq!(found(&mut netlink), [(Some(20), 4), (Some(21), ROUTE_PROTOCOL)]);
    netlink.delete_rule(&Rule { priority: None, ..ours }).unwrap();
    assert_eq!(found(&mut netlink), [(Some(20), 4)]);
}
