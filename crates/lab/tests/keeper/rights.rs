//! What users may do, and what root.

use crate::support::{done, fails, interface, node, pair, start, succeeds};
use adit_device::netlink::Netlink;
use adit_lab::keeper::{Done, Keeper, NetnsNames, NodeKey, Order};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::fs;
use std::process::Command;

/// As a user without rights, also under a test runner that gave some. In its user namespace this user is 0, and only
/// SETFCAP allows to map that one further.
fn drop_rights() {
    let (none, own) = (CapabilitySet::empty(), CapabilitySet::SETFCAP);
    let sets = CapabilitySets { effective: own, permitted: own, inheritable: none };
    set_capabilities(None, sets).unwrap();
}

pub(crate) fn a_user_cannot_touch_the_host() {
    drop_rights();
    let mut keeper = start();
    assert!(keeper.is_rootless());
    pair(&mut keeper);
    succeeds(&mut keeper, 1, "ping -c1 -W1 10.0.0.2 && test $(id -u) = 0");
    // Neither this process nor the keeper.
    let name = "adit-t0".parse().unwrap();
    let error = Netlink::open().unwrap().add_bridge(&name).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
    let adopt = Order::Adopt("lo".parse().unwrap(), NodeKey(1), interface("eth9", &[]));
    let error = fails(&mut keeper, adopt);
    assert!(error.report.hint.as_deref().unwrap().contains("as root"), "{:?}", error.report);
    assert_eq!(succeeds(&mut keeper, 1, "ls /sys/class/net"), "eth0\nlo\n");
}

pub(crate) fn user_namespaces_that_are_refused_are_explained() {
    let limit = "/proc/sys/user/max_user_namespaces";
    let before = fs::read_to_string(limit).unwrap();
    fs::write(limit, "0").unwrap();
    drop_rights();
    let error = Keeper::start().map(drop).unwrap_err();
    assert_eq!(error.report.code, "ADIT-E0830");
    assert!(error.to_string().contains("user.max_user_namespaces is 0"), "{error}");
    // Of the user namespace of the test runner: it ends with the run.
    assert_ne!(before.trim(), "0");
}

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn root_interfaces_of_the_host_come_back() {
    ip("link add adit-t1 type veth peer name adit-t2");
    let mut keeper = start();
    let adopt = |name: &str, inside: &str| {
        let spec = interface(inside, &["192.0.2.1/24"]);
        Order::Adopt(name.parse().unwrap(), NodeKey(1), spec)
    };
    done(&mut keeper, [node(1), adopt("adit-t1", "eth0"), adopt("adit-t2", "eth1")]);
    assert!(succeeds(&mut keeper, 1, "ip address show eth0").contains("192.0.2.1/24"));
    assert!(!ip("link").contains("adit-t"));
    done(&mut keeper, [Order::RemoveInterface(NodeKey(1), "eth0".parse().unwrap())]);
    assert!(ip("link").contains("adit-t1") && !ip("link").contains("adit-t2"));
    // The others come back with the end of the lab.
    drop(keeper);
    assert!(ip("link").contains("adit-t2"));
    ip("link delete adit-t1");
}

pub(crate) fn root_names_are_seen_and_leave_nothing() {
    let mut keeper = start();
    let made = done(&mut keeper, [node(1), node(2)]);
    let paths: Vec<_> = made
        .iter()
        .map(|done| match done {
            Done::Node(path) => path,
            other => panic!("{other:?}"),
        })
        .collect();
    let name = format!("adit-t{}", std::process::id());
    let mut names = NetnsNames::default();
    assert_eq!(names.add(&[&name], paths[0]).unwrap(), name);
    let other = format!("{name}-2");
    assert_eq!(names.add(&[&name, &other], paths[1]).unwrap(), other, "the first free one");
    assert!(ip("netns list").contains(&name));
    assert!(ip(&format!("netns exec {name} ip link")).contains("lo"));
    names.remove(&other);
    assert!(!ip("netns list").contains(&other));
    // As after a kill: the name leads nowhere, and the next lab removes it.
    std::mem::forget(names);
    assert!(!NetnsNames::clean().contains(&name), "its lab runs");
    drop(keeper);
    assert!(NetnsNames::clean().contains(&name));
    assert!(!ip("netns list").contains(&name));
}
