//! TUN and TAP devices.

use crate::tests::support::{Host, Loop, PATIENCE, echo, enter, ip, private_run, transfer, v4};

/// Two hosts with a TAP each, `t0`, whose queues are ports of one loop.
fn two_taps() -> (Loop, Host, Host) {
    let (a, b) = (Host::new(), Host::new());
    let specs = [&a, &b].map(|host| format!("tap:t0,netns={}", host.path()));
    let running = Loop::start(&[&specs[0], &specs[1]]);
    a.address("t0", 1);
    b.address("t0", 2);
    (running, a, b)
}

#[test]
fn two_taps_make_a_wire() {
    enter();
    let (running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    echo(&b, &a, v4(1), 1472);
    echo(&a, &b, v4(2), 20_000);
    echo(&a, &b, "2001:db8::2".parse().unwrap(), 100);
    transfer(&a, &b, v4(2), 8 << 20);
    transfer(&b, &a, "2001:db8::1".parse().unwrap(), 8 << 20);
    let counters = running.counters(0);
    assert_eq!((counters.dropped_in(), counters.dropped_out()), (0, 0), "{counters:?}");
    let mean = counters.received_bytes / counters.received;
    // Longer than any frame, although half of them are acknowledgments.
    assert!(mean > 1514, "super-packets stay whole: {counters:?}");
}

#[test]
fn a_device_that_is_deleted_is_one_event() {
    enter();
    let (mut running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    a.ip("link del t0");
    assert_eq!(running.wait_for("gone 0"), "gone 0: it was deleted");
    // The rest goes on.
    let c = Host::new();
    running.open(&format!("tap:t%d,netns={}", c.path()));
    c.address("t0", 3);
    echo(&c, &b, v4(2), 100);
    assert_eq!(running.count("gone"), 0);
}

#[test]
fn a_persistent_tap_comes_back_and_another_vanishes() {
    enter();
    ip("tuntap add p0 mode tap");
    let (a, b) = (Host::new(), Host::new());
    let other = format!("tap:t0,netns={}", b.path());
    for _ in 0..2 {
        let running = Loop::start(&["tap:p0", "tap:gone0", &other]);
        b.address("t0", 2);
        let port = running.with(|runner, _| {
            let (port, _) = runner.port(adit_engine::PortId(0)).unwrap();
            (port.name().to_owned(), port.mtu())
        });
        assert_eq!(port, ("tap:p0".to_owned(), Some(1500)));
        drop(running);
        assert!(adit_device::Link::find(&"p0".parse().unwrap()).is_ok());
        assert!(adit_device::Link::find(&"gone0".parse().unwrap()).is_err());
    }
    drop(a);
}

#[test]
fn many_devices_are_closed_together() {
    enter();
    let names: Vec<String> = (0..16).map(|number| format!("many{number}")).collect();
    let specs: Vec<String> = names.iter().map(|name| format!("tap:{name}")).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let running = Loop::start(&specs);
    let is_there = |name: &String| adit_device::Link::find(&name.parse().unwrap()).is_ok();
    assert!(names.iter().all(is_there));
    running.with(|runner, _| {
        for number in 0..16 {
            assert!(runner.detach_in_background(adit_engine::PortId(number)).is_some());
        }
    });
    // The end of the loop waits for them.
    drop(running);
    assert!(!names.iter().any(is_there));
}

/// A TAP in host `a`, and one end of a veth here whose other end is `v0` in host `b`.
fn tap_and_veth() -> (Loop, Host, Host) {
    let (a, b) = (Host::new(), Host::new());
    veth_to(&b);
    let running = Loop::start(&[&format!("tap:t0,netns={}", a.path()), "dev:v1"]);
    a.address("t0", 1);
    b.address("v0", 2);
    (running, a, b)
}

/// A veth with one end here, `v1`, and the other, `v0`, in a host.
fn veth_to(host: &Host) {
    ip("link add v1 type veth peer name v0");
    let here = adit_device::Link::find(&"v0".parse().unwrap()).unwrap();
    here.move_to(&host.0).unwrap();
    ip("link set v1 up");
}

#[test]
fn a_tap_and_an_interface_make_a_wire() {
    enter();
    let (running, a, b) = tap_and_veth();
    echo(&a, &b, v4(2), 100);
    echo(&b, &a, v4(1), 20_000);
    transfer(&a, &b, v4(2), 8 << 20);
    transfer(&b, &a, "2001:db8::1".parse().unwrap(), 8 << 20);
    for port in [0, 1] {
        let counters = running.counters(port);
        assert_eq!((counters.dropped_in(), counters.dropped_out()), (0, 0), "{counters:?}");
        let mean = counters.received_bytes / counters.received;
        // Longer than any frame, although half of them are acknowledgments.
        assert!(mean > 1514, "super-packets stay whole: {counters:?}");
    }
}

#[test]
fn a_tagged_frame_keeps_its_tag() {
    enter();
    let (running, a, b) = tap_and_veth();
    echo(&a, &b, v4(2), 100);
    // The kernel may have no VLAN devices: tags are made by hand.
    let ends = [(&a, "t0", &b, "v0"), (&b, "v0", &a, "t0")];
    for (from, device, to, other) in ends {
        let receiver = to.run(|| packet_socket(other));
        let sender = from.run(|| packet_socket(device));
        let mut frame = [0xff; 60];
        frame[6..18].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x81, 0, 0x60, 5, 0x88, 0xb5]);
        for _ in 0..3 {
            sender.send_parts(&adit_device::VnetHeader::default(), &frame, &[]).unwrap();
        }
        for frame in receive_frames(&receiver, 3) {
            assert_eq!(frame[12..18], [0x81, 0, 0x60, 5, 0x88, 0xb5], "the tag is where it was");
            assert_eq!(frame.len(), 60);
        }
    }
    assert_eq!(running.counters(0).dropped_out() + running.counters(1).dropped_out(), 0);
}

/// A tagged super-packet of TCP over IPv4, 10,000 bytes of payload in segments of 1000.
fn tagged_super_packet() -> (Vec<u8>, adit_device::VnetHeader) {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x81, 0, 0x60, 5, 8, 0]);
    frame.extend([0x45, 0, 0x27, 0x38, 0, 0, 0x40, 0, 64, 6, 0, 0, 203, 0, 113, 1, 203, 0, 113, 2]);
    frame.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    let sum = adit_packet::checksum::of(&frame[18..38]);
    frame[28..30].copy_from_slice(&sum.to_be_bytes());
    frame.resize(58 + 10_000, 9);
    let vnet = adit_device::VnetHeader {
        flags: adit_device::VnetHeader::NEEDS_CSUM,
        gso: adit_device::Gso::Tcp4,
        hdr_len: 58,
        gso_size: 1000,
        csum_start: 38,
        csum_offset: 16,
        ..adit_device::VnetHeader::default()
    };
    (frame, vnet)
}

#[test]
fn a_tagged_super_packet_crosses_whole() {
    enter();
    let (running, a, b) = tap_and_veth();
    echo(&a, &b, v4(2), 100);
    for (from, device, to, other) in [(&a, "t0", &b, "v0"), (&b, "v0", &a, "t0")] {
        let receiver = to.run(|| packet_socket(other));
        let sender = from.run(|| packet_socket(device));
        let (frame, vnet) = tagged_super_packet();
        sender.send_parts(&vnet, &frame, &[]).unwrap();
        let mut pool = adit_device::Pool::new(adit_device::PoolConfig::default());
        let mut pair = adit_device::Pair::default();
        let start = std::time::Instant::now();
        let packet = loop {
            assert!(start.elapsed() < PATIENCE, "from {device}: nothing came");
            match receiver.recv_packet(&mut pool, &mut pair) {
                Ok(packet) if packet.bytes().get(12..14) == Some(&[0x81, 0]) => break packet,
                Ok(packet) => pool.give(packet),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        };
        let got = packet.meta.vnet;
        assert_eq!(packet.len(), frame.len(), "from {device}: {got:?}");
        assert!(packet.bytes()[..18] == frame[..18] && packet.bytes()[58..] == frame[58..]);
        assert_eq!((got.gso, got.gso_size, got.csum_start), (vnet.gso, vnet.gso_size, 38));
    }
    for port in [0, 1] {
        let counters = running.counters(port);
        assert_eq!((counters.dropped_in(), counters.dropped_out()), (0, 0), "{counters:?}");
    }
}

fn packet_socket(name: &str) -> adit_device::PacketSocket {
    let link = adit_device::Link::find(&name.parse().unwrap()).unwrap();
    let options = adit_device::PacketSocketOptions { incoming_only: true, ..Default::default() };
    adit_device::PacketSocket::open(link.index().unwrap(), &options).unwrap()
}

/// Frames of the ether type for experiments, or tagged.
fn receive_frames(socket: &adit_device::PacketSocket, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buf = vec![0; adit_device::PACKET_SOCKET_LEN_MAX];
    let start = std::time::Instant::now();
    while frames.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} frames came", frames.len());
        match socket.recv(&mut buf) {
            Ok(packet) if buf[12..14] == [0x81, 0] || buf[12..14] == [0x88, 0xb5] => {
                frames.push(buf[..packet.len].to_vec());
            }
            Ok(_) => {}
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
    frames
}

#[test]
fn links_go_down_and_up_and_away() {
    enter();
    let (mut running, a, b) = tap_and_veth();
    echo(&a, &b, v4(2), 100);
    ip("link set v1 down");
    running.wait_for("down 1");
    ip("link set v1 up");
    running.wait_for("up 1");
    echo(&a, &b, v4(2), 100);
    a.ip("link set t0 down");
    running.wait_for("down 0");
    a.address_again("t0", 1);
    running.wait_for("up 0");
    echo(&a, &b, v4(2), 100);
    ip("link set v1 down");
    running.wait_for("down 1");
    ip("link del v1");
    assert_eq!(running.wait_for("gone 1"), "gone 1: it was deleted");
    assert_eq!(running.count("gone"), 0, "told once");
}

#[test]
fn an_interface_whose_queue_is_full_drops_and_goes_on() {
    enter();
    let (running, a, b) = tap_and_veth();
    echo(&a, &b, v4(2), 100);
    let tc = |words: &str| {
        let status = std::process::Command::new("tc").args(words.split(' ')).status();
        assert!(status.unwrap().success(), "tc {words}");
    };
    tc("qdisc add dev v1 root tbf rate 1mbit burst 2k limit 3k");
    let socket = a.run(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
    let start = std::time::Instant::now();
    while running.counters(1).queue_full == 0 {
        assert!(start.elapsed() < PATIENCE, "{:?}", running.counters(1));
        for _ in 0..10 {
            let _ = socket.send_to(&[1; 1400], "192.0.2.2:9");
        }
    }
    tc("qdisc del dev v1 root");
    echo(&a, &b, v4(2), 100);
}

#[test]
fn a_tap_that_is_moved_stays_a_port() {
    enter();
    let (mut running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    let c = Host::new();
    a.run(|| adit_device::Link::find(&"t0".parse().unwrap()).unwrap().move_to(&c.0).unwrap());
    running.wait_for("down 0");
    c.address("t0", 3);
    running.wait_for("up 0");
    echo(&c, &b, v4(2), 100);
    assert_eq!(running.count("gone"), 0);
}

#[test]
fn an_interface_that_is_moved_is_not_called_deleted() {
    enter();
    let c = Host::new();
    ip("link add v0 type veth peer name v1");
    ip("link add w0 type veth peer name w1");
    for device in ["v0", "v1", "w0", "w1"] {
        ip(&format!("link set {device} up"));
    }
    let mut running = Loop::start(&["dev:v1", "dev:w1"]);
    // Frames on it while it is moved: its socket fails before the namespace says why.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = socket.send_to(&[1; 100], "255.255.255.255:9");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        adit_device::Link::find(&"v1".parse().unwrap()).unwrap().move_to(&c.0).unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let news = running.wait_for("gone 0");
    assert_eq!(news, "gone 0: it was moved to another network namespace");
    ip("link del w0");
    assert_eq!(running.wait_for("gone 1"), "gone 1: it was deleted");
}

#[test]
fn a_namespace_that_is_deleted_is_one_event_and_dies() {
    enter();
    private_run();
    ip("netns add blue");
    let inode = adit_device::Netns::named("blue").unwrap().inode().unwrap();
    let (a, b) = (Host(adit_device::Netns::named("blue").unwrap()), Host::new());
    let other = format!("tap:t0,netns={}", b.path());
    let mut running = Loop::start(&["tap:t0,netns=blue", &other]);
    a.address("t0", 1);
    b.address("t0", 2);
    echo(&a, &b, v4(2), 100);
    drop(a);
    ip("netns del blue");
    assert_eq!(running.wait_for("gone 0"), "gone 0: its network namespace was deleted");
    // Nothing of ours keeps it alive.
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    let ours = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let name = format!("net:[{inode}]");
    assert_eq!(ours.filter(|link| link.to_str() == Some(&name)).count(), 0);
    drop(running);
}

#[test]
fn a_port_with_links_delays_both_ways() {
    use adit_engine::netem::{Delay, Link, Profile, Seed};
    use std::time::{Duration, Instant};
    enter();
    let (running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    running.with(|runner, _| {
        let way = Duration::from_millis(30);
        let profile = Profile { delay: Delay::constant(way), ..Profile::default() };
        let link = || Some(Box::new(Link::new(&profile, Seed::new(1)).unwrap()));
        let netem = crate::netem::PortNetem { ingress: link(), egress: link() };
        runner.set_netem(adit_engine::PortId(1), netem);
    });
    let start = Instant::now();
    echo(&a, &b, v4(2), 100);
    assert!(start.elapsed() >= Duration::from_millis(60), "{:?}", start.elapsed());
    running.with(|runner, _| {
        let port = adit_engine::PortId(1);
        assert!(runner.netem_mut(port).unwrap().ingress.is_some());
        assert!(runner.set_netem(port, crate::netem::PortNetem::default()).is_some());
    });
    echo(&a, &b, v4(2), 100);
}
