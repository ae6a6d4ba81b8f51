//! The settings of a device, against the real kernel: who may hold it, what it shows, what it lets
//! through.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::netlink::HardwareType;
use adit_device::{Device, MacAddr};
use std::time::Duration;
use traffic::{HERE, THERE, drain, enter_quiet, errno, name, python, tap, tun, udp, up};

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0x5e, 0x10, 0, last])
}

#[test]
fn owner_and_group_are_set_by_value_and_read_back() {
    enter_quiet();
    let device = tun("t0").open().unwrap();
    let ids = || {
        let tun = device.info().unwrap().tun.unwrap();
        (tun.owner, tun.group)
    };
    assert_eq!(ids(), (None, None), "a device without an owner until it is persistent");
    device.set_owner(0).unwrap();
    device.set_group(0).unwrap();
    assert_eq!(ids(), (Some(0), Some(0)));
    // -1 would unset it, if the kernel let it; 4242 is not mapped in this user namespace.
    for id in [u32::MAX, 4242] {
        assert_eq!(device.set_owner(id).unwrap_err().errno(), Some(libc::EINVAL));
        assert_eq!(device.set_group(id).unwrap_err().errno(), Some(libc::EINVAL));
    }
    assert_eq!(ids(), (Some(0), Some(0)));
    // A refused owner leaves no device.
    assert!(tun("t1").persist(true).owner(4242).open().is_err());
    assert!(adit_device::Link::find(&name("t1")).is_err());
}

#[test]
fn a_failed_attach_leaves_owner_and_link_type() {
    enter_quiet();
    let device = tun("t0").link_type(512).persist(true).owner(0).open().unwrap();
    drop(device);
    let attach = || tun("t0").create(adit_device::Create::Attach).group(0).link_type(1);
    assert!(attach().mtu(70_000).open().is_err());
    let nowhere = adit_device::netlink::Route {
        gateway: Some("198.51.100.1".parse().unwrap()),
        ..adit_device::netlink::Route::new("203.0.113.0/24".parse().unwrap())
    };
    assert!(attach().up(true).route(nowhere).open().is_err());
    let info = adit_device::Link::find(&name("t0")).unwrap().info().unwrap();
    let tun = info.tun.unwrap();
    assert_eq!((tun.owner, tun.group), (Some(0), None));
    assert_eq!(info.hardware_type, HardwareType(512));
}

#[test]
fn the_link_type_is_any_number_while_the_link_is_down() {
    enter_quiet();
    let device = tun("t0").link_type(65_534).open().unwrap();
    assert_eq!(device.info().unwrap().hardware_type, HardwareType(65_534));
    for arphrd in [1, 512, u16::MAX] {
        device.set_link_type(arphrd).unwrap();
        assert_eq!(device.info().unwrap().hardware_type, HardwareType(arphrd));
    }
    device.set_up(true).unwrap();
    assert_eq!(device.set_link_type(1).unwrap_err().errno(), Some(libc::EBUSY));
}

#[test]
fn the_send_buffer_has_no_limit_unless_set() {
    enter_quiet();
    let device = tap("t0").open().unwrap();
    assert_eq!(device.send_buffer().unwrap(), None);
    for bytes in [1, 4096, 1 << 30] {
        device.set_send_buffer(Some(bytes)).unwrap();
        assert_eq!(device.send_buffer().unwrap(), Some(bytes));
    }
    assert_eq!(device.set_send_buffer(Some(0)).unwrap_err().errno(), Some(libc::EINVAL));
    device.set_send_buffer(None).unwrap();
    assert_eq!(device.send_buffer().unwrap(), None);
    assert_eq!(tap("t1").send_buffer(0).open().unwrap_err().errno(), Some(libc::EINVAL));
    // Negative sizes cannot be expressed.
    python("fails(E.EINVAL, pointer, made('t2', TUN), 212, -1)");
}

#[test]
fn frames_that_wait_in_a_bridge_push_back_on_the_sender() {
    enter_quiet();
    support::run("ip link add br0 type bridge");
    support::run("ip link set br0 up");
    let [from, to] = ["t0", "t1"].map(|text| {
        let device = tap(text).master(name("br0")).up(true).open().unwrap();
        assert_eq!(device.send_buffer().unwrap(), None);
        device
    });
    until_forwarding(&from, &to);
    let limit = |verb: &str, rate: &str| {
        let tbf = format!("tbf rate {rate} burst 1600 limit 1000000");
        support::run(&format!("tc qdisc {verb} dev t1 root {tbf}"));
    };
    // Nothing gets through until it is quicker.
    limit("add", "8bit");
    from.set_send_buffer(Some(20_000)).unwrap();
    let bytes = frame(mac(9), mac(1), &[0; 1000]);
    let queue = &from.queues()[0];
    let taken = (0..200).take_while(|_| queue.send(&bytes).is_ok()).count();
    assert!((5..100).contains(&taken), "{taken} of 200");
    assert_eq!(errno(queue.send(&bytes)), libc::EAGAIN);
    assert!(!queue.wait(true, Some(Duration::ZERO)).unwrap().writable);
    limit("change", "256kbit");
    traffic::until("there is room again", || {
        drain(queue);
        queue.wait(true, Some(traffic::SOON)).unwrap().writable
    });
    queue.send(&bytes).unwrap();
}

/// Waits until the bridge passes frames, and has learned where `mac(9)` is.
fn until_forwarding(from: &Device, to: &Device) {
    traffic::until("the bridge forwards", || {
        to.queues()[0].send(&frame(MacAddr::BROADCAST, mac(9), &[0; 46])).unwrap();
        from.queues()[0].send(&frame(mac(9), mac(1), &[0; 46])).unwrap();
        drain(&to.queues()[0]) > 0 && drain(&from.queues()[0]) > 0
    });
}

#[test]
fn the_stack_takes_packets_from_a_tun_at_once_whatever_the_send_buffer() {
    enter_quiet();
    let device = up(tun("t0").send_buffer(2000)).open().unwrap();
    let packet = udp((THERE, 9), (HERE, 9), &[0; 1000], true);
    for _ in 0..200 {
        device.queues()[0].send(&packet).unwrap();
    }
}

#[test]
fn the_hardware_address_is_set_through_the_queue() {
    enter_quiet();
    let device = tap("t0").mac(mac(1)).open().unwrap();
    assert_eq!(device.mac().unwrap(), mac(1));
    device.set_mac(mac(2)).unwrap();
    assert_eq!(device.info().unwrap().address.unwrap().mac(), Some(mac(2)));
    let multicast = MacAddr([1, 0, 0x5e, 0, 0, 1]);
    for bad in [multicast, MacAddr([0; 6])] {
        assert_eq!(device.set_mac(bad).unwrap_err().errno(), Some(libc::EADDRNOTAVAIL));
    }
    assert_eq!(device.mac().unwrap(), mac(2));
    let error = tun("t1").open().unwrap().set_mac(mac(1)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EOPNOTSUPP));
    // A change by another program is visible through the queue.
    support::run("ip link set t0 address 02:00:5e:10:00:03");
    assert_eq!(device.mac().unwrap(), mac(3));
}

/// A frame of a protocol that nothing on the way looks into (an `EtherType` for experiments).
fn frame(to: MacAddr, from: MacAddr, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0[..], &[0x88, 0xb5], payload].concat()
}

/// How many frames to each of these addresses come through.
fn heard(device: &Device, to: &[MacAddr]) -> Vec<usize> {
    to.iter()
        .map(|mac| {
            let program = format!(
                "
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('t0', 0))
s.send(bytes.fromhex('{}') + bytes(6) + b'\\x88\\xb5' + bytes(46))
",
                mac.0.map(|byte| format!("{byte:02x}")).concat()
            );
            python(&program);
            drain(&device.queues()[0])
        })
        .collect()
}

#[test]
fn the_address_filter_lets_through_what_it_names() {
    enter_quiet();
    let device = tap("t0").up(true).open().unwrap();
    let group = |last| MacAddr([1, 0, 0x5e, 0, 0, last]);
    let all = [mac(1), mac(2), MacAddr::BROADCAST, group(1), group(2)];
    assert_eq!(heard(&device, &all), [1, 1, 1, 1, 1]);
    assert_eq!(device.set_tx_filter(&[mac(1)], false).unwrap(), 1);
    // Broadcast is a multicast address to the filter: it passes only with its hash or by name.
    assert_eq!(heard(&device, &all), [1, 0, 0, 0, 0]);
    device.set_tx_filter(&[mac(1)], true).unwrap();
    assert_eq!(heard(&device, &all), [1, 0, 1, 1, 1]);
    assert_eq!(device.set_tx_filter(&[group(1), mac(2)], false).unwrap(), 2);
    assert_eq!(heard(&device, &all), [0, 1, 0, 1, 0]);
    assert_eq!(device.set_tx_filter(&[], false).unwrap(), 0);
    assert_eq!(heard(&device, &all), [1, 1, 1, 1, 1], "no address: no filter");

    let eight: Vec<_> = (1..=8).map(mac).collect();
    let hashed: Vec<_> = eight.iter().copied().chain([group(1), group(2)]).collect();
    assert_eq!(device.set_tx_filter(&hashed, false).unwrap(), 8);
    assert_eq!(heard(&device, &[mac(8), mac(9), group(1), group(2)]), [1, 0, 1, 1]);
    // To a ninth the kernel would say 0 and let everything through.
    let nine: Vec<_> = (1..=9).map(mac).collect();
    assert!(device.set_tx_filter(&nine, false).is_err());
    assert_eq!(heard(&device, &[mac(8), mac(9)]), [1, 0], "the one before stands");
    assert!(device.set_tx_filter(&vec![group(1); 257], false).is_err());
    let error = tun("t1").open().unwrap().set_tx_filter(&[mac(1)], false).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL));
    python(
        "
fd = made('t9', TAP | NO_PI)
nine = b''.join(bytes((2, 0, 0, 0, 0, n)) for n in range(9))
assert fcntl.ioctl(fd, 0x400454d1, struct.pack('HH', 0, 9) + nine, False) is not None
",
    );
}

#[test]
fn ethtool_shows_queues_and_sets_speed() {
    enter_quiet();
    let _device = tap("t0").queues(3).up(true).open().unwrap();
    let shown = support::run("ethtool t0");
    assert!(shown.contains("10000Mb/s") && shown.contains("Full"), "{shown}");
    support::run("ethtool -s t0 speed 100 duplex half autoneg off");
    let shown = support::run("ethtool t0");
    assert!(shown.contains("100Mb/s") && shown.contains("Half"), "{shown}");
    assert!(support::run("ethtool -i t0").contains("driver: tun"));
    support::run("ethtool -C t0 rx-frames 64");
    assert!(
        support::run("ethtool -c t0")
            .lines()
            .any(|line| line.starts_with("rx-frames:") && line.ends_with("64"))
    );
}
