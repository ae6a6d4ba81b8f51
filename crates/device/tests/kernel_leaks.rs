//! Devices that come and go leave nothing. One test alone in its process, for it counts what the
//! process has.

mod support;
mod traffic;

use adit_device::netlink::Netlink;
use adit_device::{Netns, VnetFormat};
use traffic::{enter_quiet, tap, tun};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

fn devices() -> usize {
    Netlink::open().and_then(|mut netlink| netlink.links()).expect("the links").len()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc").count()
}

#[test]
fn a_thousand_devices_leave_no_descriptor_no_device_and_no_namespace() {
    enter_quiet();
    let before = (descriptors(), devices(), threads());
    for turn in 0..1000_u16 {
        let options = if turn % 2 == 0 { tun("dev0") } else { tap("dev0") };
        let options = if turn % 3 == 0 { options.vnet_hdr(VnetFormat::default()) } else { options };
        let mut device = options.queues(1 + turn % 4).mtu(1400).up(turn % 5 > 0).open().unwrap();
        let queues = device.take_queues();
        assert_eq!(queues.len(), usize::from(1 + turn % 4));
        if turn % 7 == 0 {
            device.set_persist(true).unwrap();
            drop((device, queues));
            let again = tap("dev0").create(adit_device::Create::Attach).open();
            assert_eq!(again.is_ok(), turn % 2 == 1 && turn % 4 == 0, "{again:?}");
            drop(again);
            support::run("ip link del dev0");
        }
        // And one that fails half-way.
        if turn % 10 == 0 {
            tun("dev1").persist(true).mtu(70_000).open().unwrap_err();
        }
    }
    assert_eq!((descriptors(), devices(), threads()), before);

    // As many namespaces as this user namespace may have: if they leaked, the last could not be
    // made. They go a moment after their last holder, so one that fails is tried again.
    let limit = "/proc/sys/user/max_net_namespaces";
    std::fs::write(limit, "20").expect("a user namespace of its own: `unshare -Urnm --`");
    for _ in 0..100 {
        let mut there = None;
        traffic::until("a namespace is free", || {
            there = Netns::new_anonymous().ok();
            there.is_some()
        });
        let there = there.expect("just made");
        let device = tun("dev0").netns(there).up(true).open().unwrap();
        assert!(device.netns().is_ok());
    }
    assert_eq!((descriptors(), devices(), threads()), before);
}
