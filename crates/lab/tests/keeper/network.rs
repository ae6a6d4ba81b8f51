//! Nodes, interfaces, addresses, routes.

use crate::support::{command, done, fails, interface, node, pair, route, start, succeeds, veth};
use adit_device::netlink::Netlink;
use adit_device::{Device, Mode};
use adit_lab::keeper::{Done, NodeKey, Order};

pub(crate) fn a_veth_answers_at_once() {
    let mut keeper = start();
    pair(&mut keeper);
    let both = "ping -c1 -W1 10.0.0.2 && ping -c1 -W1 2001:db8::2";
    succeeds(&mut keeper, 1, both);
    done(&mut keeper, [Order::Routes(NodeKey(1), vec![route("192.0.2.0/24", "10.0.0.2")])]);
    let up = |up| Order::Up(NodeKey(1), "eth0".parse().unwrap(), up);
    done(&mut keeper, [up(false)]);
    assert_eq!(command(&mut keeper, 1, "ping -c1 -W1 10.0.0.2").status, Some(2));
    // With all that it had.
    done(&mut keeper, [up(true)]);
    assert!(succeeds(&mut keeper, 1, "ip route").contains("192.0.2.0/24 via 10.0.0.2"));
    succeeds(&mut keeper, 1, both);
}

pub(crate) fn a_tap_comes_with_its_queue() {
    let mut keeper = start();
    let tap = Order::Tap(NodeKey(7), interface("eth0", &["10.0.0.1/24"]));
    let made = done(&mut keeper, [node(7), tap]);
    let Ok([Done::Node(net), Done::Tap { queue, netlink }]) = <[_; 2]>::try_from(made) else {
        panic!("a node and a TAP");
    };
    assert!(std::fs::metadata(net).is_ok());
    let device = Device::adopt_with(queue, Mode::Tap, Some(Netlink::adopt(netlink))).unwrap();
    assert_eq!(device.name().unwrap().to_string(), "eth0");
    assert!(!device.offload().is_empty(), "super-packets stay whole");
    // It ends with its namespace, in which its queue was opened elsewhere.
    done(&mut keeper, [Order::RemoveInterface(NodeKey(7), "eth0".parse().unwrap())]);
    assert!(device.info().is_err());
}

pub(crate) fn what_changed_is_changed() {
    let mut keeper = start();
    pair(&mut keeper);
    let key = NodeKey(1);
    let mut spec = interface("eth0", &["10.0.0.1/24", "10.0.9.1/24"]);
    spec.mtu = 1400;
    spec.mac = Some("02:00:00:00:00:07".parse().unwrap());
    let routes = |to: &str| Order::Routes(key, vec![route(to, "10.0.0.2")]);
    done(&mut keeper, [routes("192.0.2.0/24"), Order::Interface(key, spec)]);
    let seen = succeeds(&mut keeper, 1, "ip address show eth0; ip route");
    for wanted in ["mtu 1400", "02:00:00:00:00:07", "10.0.9.1/24", "192.0.2.0/24 via"] {
        assert!(seen.contains(wanted), "{wanted}: {seen}");
    }
    assert!(!seen.contains("2001:db8::1"), "{seen}");
    // Without 10.0.9.1, and to another network.
    let spec = interface("eth0", &["10.0.0.1/24"]);
    done(&mut keeper, [Order::Interface(key, spec), routes("198.51.100.0/24")]);
    let seen = succeeds(&mut keeper, 1, "ip address show eth0; ip route");
    assert!(seen.contains("198.51.100.0/24 via") && seen.contains("mtu 1500"), "{seen}");
    assert!(!seen.contains("192.0.2.0/24") && !seen.contains("10.0.9.1"), "{seen}");
    let setting = ("net.ipv4.ip_default_ttl".to_owned(), "9".to_owned());
    done(&mut keeper, [Order::Sysctls(key, vec![setting])]);
    assert_eq!(succeeds(&mut keeper, 1, "cat /proc/sys/net/ipv4/ip_default_ttl"), "9\n");
}

pub(crate) fn removed_nodes_leave_nothing() {
    let mut keeper = start();
    pair(&mut keeper);
    // A daemon that left its group.
    succeeds(&mut keeper, 2, "setsid sleep 1000 >/dev/null 2>&1 &");
    let up = "for i in $(seq 3000); do pgrep -x sleep && exit 0; done; exit 1";
    assert_eq!(command(&mut keeper, 1, up).status, Some(0));
    done(&mut keeper, [Order::RemoveNode(NodeKey(2))]);
    // The kernel deletes the other end of the link soon after the namespace.
    let gone = "for i in $(seq 3000); do \
                [ $(pgrep -x sleep | wc -l) = 0 ] && ! ip link show eth0 && exit 0; done; exit 1";
    assert_eq!(command(&mut keeper, 1, gone).status, Some(0));
    // Its number and names are free again.
    done(&mut keeper, [node(2), veth((1, interface("eth1", &[])), (2, interface("eth0", &[])))]);
}

pub(crate) fn failures_name_node_and_interface() {
    let mut keeper = start();
    pair(&mut keeper);
    let again = veth((1, interface("eth9", &[])), (2, interface("eth0", &[])));
    let text = fails(&mut keeper, again).to_string();
    assert!(text.contains("eth0") && text.contains("h2") && text.contains("exists"), "{text}");
    let text = fails(&mut keeper, Order::Tap(NodeKey(1), interface("eth0", &[]))).to_string();
    assert!(text.contains("h1") && text.contains("eth0"), "{text}");
    let bad = Order::Routes(NodeKey(1), vec![route("192.0.2.0/24", "203.0.113.1")]);
    let text = fails(&mut keeper, bad).to_string();
    assert!(text.contains("192.0.2.0/24 via 203.0.113.1") && text.contains("h1"), "{text}");
    let setting = ("net.ipv4.no_such_thing".to_owned(), "1".to_owned());
    let text = fails(&mut keeper, Order::Sysctls(NodeKey(1), vec![setting])).to_string();
    assert!(text.contains("net.ipv4.no_such_thing") && text.contains("h1"), "{text}");
    let text =
        fails(&mut keeper, Order::Adopt("lo".parse().unwrap(), NodeKey(1), interface("x", &[])));
    assert!(text.to_string().contains("interface lo"), "{text}");
    // Nothing is left of what failed, and all else works.
    assert_eq!(succeeds(&mut keeper, 1, "ls /sys/class/net"), "eth0\nlo\n");
    succeeds(&mut keeper, 1, "ping -c1 -W1 10.0.0.2");
}
