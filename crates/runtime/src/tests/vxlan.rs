//! VXLAN against the kernel's own.

use crate::tests::support::{Host, Loop, echo, enter, ip, transfer, v4};
use std::net::UdpSocket;

/// An underlay: `u0` here, `u1` in `there`, with these addresses; a TAP in `a`.
struct Rig {
    running: Loop,
    a: Host,
    there: Host,
}

fn rig(spec: &str) -> Rig {
    enter();
    let (a, there) = (Host::new(), Host::new());
    ip("link add u0 type veth peer name u1");
    adit_device::Link::find(&"u1".parse().unwrap()).unwrap().move_to(&there.0).unwrap();
    ip("addr add 198.51.100.1/24 dev u0");
    ip("addr add 2001:db8:1::1/64 dev u0 nodad");
    ip("link set u0 mtu 1600 up");
    there.ip("addr add 198.51.100.2/24 dev u1");
    there.ip("addr add 198.51.100.3/24 dev u1");
    there.ip("addr add 2001:db8:1::2/64 dev u1 nodad");
    there.ip("link set u1 mtu 1600 up");
    let running = Loop::start(&[&format!("tap:t0,netns={}", a.path()), spec]);
    a.address("t0", 1);
    Rig { running, a, there }
}

fn crosses(rig: &Rig) {
    echo(&rig.a, &rig.there, v4(2), 100);
    echo(&rig.there, &rig.a, v4(1), 1472);
    echo(&rig.a, &rig.there, v4(2), 8000);
    transfer(&rig.a, &rig.there, v4(2), 4 << 20);
    transfer(&rig.there, &rig.a, "2001:db8::1".parse().unwrap(), 4 << 20);
}

#[test]
fn the_kernels_vxlan_over_ipv4() {
    let rig = rig("vxlan:198.51.100.2,vni=42");
    rig.there.ip("link add vx0 mtu 1500 type vxlan id 42 remote 198.51.100.1 dstport 4789 dev u1");
    rig.there.address("vx0", 2);
    crosses(&rig);
    let counters = rig.running.counters(1);
    assert_eq!((counters.dropped_in(), counters.dropped_out()), (0, 0), "{counters:?}");
}

#[test]
fn the_kernels_vxlan_over_ipv6() {
    let rig = rig("vxlan:2001:db8:1::2,vni=16777215,port=8472");
    let vxlan = "link add vx0 mtu 1500 type vxlan id 16777215 remote 2001:db8:1::1 dstport 8472";
    rig.there.ip(&format!("{vxlan} dev u1 udp6zerocsumrx"));
    rig.there.address("vx0", 2);
    crosses(&rig);
}

#[test]
fn an_underlay_with_a_smaller_mtu_gets_fragments() {
    let rig = rig("vxlan:198.51.100.2,vni=42");
    rig.there.ip("link add vx0 mtu 1500 type vxlan id 42 remote 198.51.100.1 dstport 4789");
    ip("link set u0 mtu 1400");
    rig.there.ip("link set u1 mtu 1400");
    rig.there.address("vx0", 2);
    crosses(&rig);
    assert_eq!(rig.running.counters(1).too_big, 0);
}

#[test]
fn an_underlay_of_ipv6_with_a_smaller_mtu_gets_fragments() {
    let rig = rig("vxlan:2001:db8:1::2,vni=42");
    // The kernel's own device cuts nothing up: what it sends is to fit, what it takes need not.
    rig.there.ip("link add vx0 mtu 1330 type vxlan id 42 remote 2001:db8:1::1 dstport 4789");
    ip("link set u0 mtu 1400");
    rig.there.ip("link set u1 mtu 1400");
    rig.there.address("vx0", 2);
    crosses(&rig);
    assert_eq!(rig.running.counters(1).dropped_out(), 0);
}

#[test]
fn a_path_that_narrows_on_its_way_is_found() {
    let rig = rig("vxlan:2001:db8:2::2,vni=42");
    // A router between, and the far side is narrower.
    let far = Host::new();
    rig.there.ip("link add r0 type veth peer name r1");
    rig.there.run(|| {
        let link = adit_device::Link::find(&"r1".parse().unwrap()).unwrap();
        link.move_to(&far.0).unwrap();
    });
    rig.there.ip("addr add 2001:db8:2::1/64 dev r0 nodad");
    rig.there.ip("link set r0 mtu 1400 up");
    far.ip("addr add 2001:db8:2::2/64 dev r1 nodad");
    far.ip("link set r1 mtu 1400 up");
    far.ip("route add 2001:db8:1::/64 via 2001:db8:2::1");
    ip("route add 2001:db8:2::/64 via 2001:db8:1::2");
    rig.there.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap());
    far.ip("link add vx0 mtu 1330 type vxlan id 42 remote 2001:db8:1::1 dstport 4789");
    far.address("vx0", 2);
    // The first datagram that is too long is lost, and the router says so.
    echo(&rig.a, &far, v4(2), 1472);
    transfer(&rig.a, &far, v4(2), 4 << 20);
    let lost = rig.running.counters(1).dropped_out();
    assert!(lost < 10, "{lost}: those that were on their way only");
}

#[test]
fn strangers_and_other_segments_are_not_heard() {
    let mut rig = rig("vxlan:198.51.100.2+198.51.100.9,vni=42");
    rig.running.open("vxlan:198.51.100.2,vni=43");
    let send = |from: &str, datagram: &[u8]| {
        rig.there.run(|| {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.send_to(datagram, "198.51.100.1:4789").unwrap();
        });
    };
    let datagram = |flags: u8, vni: u8, len: usize| {
        let mut bytes = vec![flags, 0, 0, 0, 0, 0, vni, 0];
        bytes.resize(8 + len, 0xff);
        bytes
    };
    send("198.51.100.3", &datagram(8, 42, 60)); // an unknown remote
    send("198.51.100.2", &datagram(8, 44, 60)); // a segment that nobody has
    send("198.51.100.2", &datagram(0, 42, 60)); // no segment
    send("198.51.100.2", &datagram(8, 42, 13)); // no frame
    send("198.51.100.2", &[]);
    send("198.51.100.2", &datagram(8, 43, 60));
    send("198.51.100.2", &datagram(8, 42, 60));
    let start = std::time::Instant::now();
    while rig.running.counters(1).received == 0 || rig.running.counters(3).received == 0 {
        assert!(start.elapsed() < crate::tests::support::PATIENCE);
        std::thread::yield_now();
    }
    let received = [1, 2, 3].map(|port| rig.running.counters(port).received);
    assert_eq!(received, [1, 0, 1]);
    assert_eq!(rig.running.with(|runner, _| runner.refused_by_hubs()), 5);
    // One socket for all, which goes with the last of them.
    let bound = || UdpSocket::bind("0.0.0.0:4789").is_err();
    assert!(bound());
    rig.running.with(|runner, _| {
        for port in 1..4 {
            runner.detach(adit_engine::PortId(port)).unwrap();
        }
    });
    // On a loaded machine the socket may live a little longer than the call.
    while bound() {
        assert!(start.elapsed() < crate::tests::support::PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn an_underlay_that_fails_for_a_while_is_waited_for() {
    let rig = rig("vxlan:198.51.100.2,vni=42");
    rig.there.ip("link add vx0 mtu 1500 type vxlan id 42 remote 198.51.100.1 dstport 4789 dev u1");
    rig.there.address("vx0", 2);
    echo(&rig.a, &rig.there, v4(2), 100);
    let socket = rig.a.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let counted = |what: fn(&crate::port::PortCounters) -> u64| {
        let start = std::time::Instant::now();
        while what(&rig.running.counters(1)) == 0 {
            assert!(
                start.elapsed() < crate::tests::support::PATIENCE,
                "{:?}",
                rig.running.counters(1)
            );
            let _ = socket.send_to(&[1; 100], "192.0.2.2:9");
        }
    };
    ip("link set u0 down");
    counted(|counters| counters.link_down);
    ip("link set u0 up");
    echo(&rig.a, &rig.there, v4(2), 100);
    // EACCES, as a firewall says EPERM.
    ip("route add prohibit 198.51.100.2/32");
    counted(|counters| counters.refused);
    ip("route del prohibit 198.51.100.2/32");
    echo(&rig.a, &rig.there, v4(2), 100);
}
