//! Netlink against the real kernel, and against what iproute2 says of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;

use adit::netlink::{
    AddrGenMode, Address, AddressFlags, HardwareType, IpPrefix, LinkChange, LinkFlags, LinkInfo,
    Netlink, NetlinkError, OperState, Scope, TunInfo, TunMode, raw_errno,
};
use adit::{IfIndex, IfName, MacAddr, Netns};
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

/// Compares what we and `ip` see of a link; the counters move on meanwhile, so a few tries.
fn compare(netlink: &mut Netlink, device: &str) -> LinkInfo {
    for attempt in 0.. {
        let ours = netlink.link_by_name(&name(device)).unwrap();
        let theirs = support::json(&format!("ip -d -s -j link show dev {device}"));
        if as_ip_prints(&ours) == theirs[0] || attempt == 5 {
            assert_eq!(as_ip_prints(&ours), theirs[0]);
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
        let expected = (if tap { TunMode::Tap } else { TunMode::Tun }, pi, vnet_hdr, multi_queue);
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
    assert_eq!((link.mtu, link.tun.unwrap().mode), (1300, TunMode::Tun));
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
fn addresses_agree_with_ip_whoever_made_them() {
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
        let flags = address.flags & (AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE);
        netlink.add_address(*link, &Address { flags, ..address.clone() }).unwrap();
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
