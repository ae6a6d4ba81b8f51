//! Devices against the real kernel: how they are made, found, set and shared.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod support;

use adit_device::{
    Cause, Create, DeviceOptions, ErrorKind, IfName, Link, Mode, Offload, OffloadChoice,
};
use adit_device::{Netns, VnetFormat, VnetLen};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn tun(name: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tun).name(name.parse().unwrap())
}

fn tap(name: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tap).name(name.parse().unwrap())
}

#[test]
fn names_are_what_the_kernel_made_of_them() {
    support::enter();
    let first = tun("vpn%d").open().unwrap();
    let second = tun("vpn%d").open().unwrap();
    assert_eq!((first.name().unwrap(), second.name().unwrap()), (name("vpn0"), name("vpn1")));
    assert_eq!(tap("").open().unwrap().name().unwrap(), name("tap0"));
    assert!(first.created());
}

#[test]
fn create_attach_and_either_are_distinct() {
    support::enter();
    let missing = tun("t0").create(Create::Attach).open().unwrap_err();
    assert_eq!(missing.cause(), &Cause::NoSuchDevice { mode: Some(Mode::Tun) });
    assert!(Link::find(&name("t0")).is_err(), "a failed attach made a device");

    let device = tun("t0").persist(true).open().unwrap();
    assert!(tun("t0").open().is_err(), "exclusive create took a device that exists");
    drop(device);

    let again = tun("t0").create(Create::Attach).open().unwrap();
    assert!(!again.created());
    drop(again);
    let either = tun("t0").create(Create::AttachOrCreate).open().unwrap();
    assert!(!either.created());
    either.set_persist(false).unwrap();
    drop(either);
    assert!(tun("t0").create(Create::AttachOrCreate).open().unwrap().created());
}

#[test]
fn a_new_persistent_device_has_an_owner() {
    support::enter();
    let device = tun("t0").persist(true).open().unwrap();
    let info = device.info().unwrap().tun.unwrap();
    assert_eq!((info.owner, info.group, info.persist), (Some(0), None, true));
}

#[test]
fn a_failed_open_leaves_nothing() {
    support::enter();
    let error = tun("t0").persist(true).mtu(70_000).up(true).open().unwrap_err();
    assert_eq!(error.errno(), Some(22));
    assert!(Link::find(&name("t0")).is_err());

    // A device that was there keeps what it had.
    support::run("ip tuntap add t1 mode tun");
    support::run("ip link set t1 mtu 1400 txqueuelen 77");
    // Latin-1: the kernel takes any bytes.
    Link::find(&name("t1")).unwrap().set_alias(OsStr::from_bytes(b"caf\xe9")).unwrap();
    let before = Link::find(&name("t1")).unwrap().info().unwrap();
    let route = "203.0.113.0/24".parse().unwrap();
    let unreachable = adit_device::netlink::Route {
        gateway: Some("198.51.100.1".parse().unwrap()),
        ..adit_device::netlink::Route::new(route)
    };
    let options = tun("t1").create(Create::Attach).mtu(1300).txqueuelen(5).alias("other").up(true);
    let address = adit_device::netlink::Address::new("192.0.2.1/24".parse().unwrap());
    options.address(address).route(unreachable).open().unwrap_err();
    let link = Link::find(&name("t1")).unwrap();
    let after = link.info().unwrap();
    assert_eq!((after.mtu, after.txqueuelen), (before.mtu, before.txqueuelen));
    assert_eq!(after.alias.as_deref(), Some(OsStr::from_bytes(b"caf\xe9")));
    assert!(!after.flags.contains(adit_device::netlink::LinkFlags::UP));
    assert_eq!(link.addresses().unwrap(), []);
}

#[test]
fn every_setting_of_the_link_is_kept() {
    support::enter();
    support::run("ip link add br0 type bridge");
    let device = tap("t0")
        .mac("02:00:5e:10:00:01".parse().unwrap())
        .mtu(1400)
        .txqueuelen(2000)
        .alias("for tests")
        .master(name("br0"))
        .up(true)
        .open()
        .unwrap();
    let seen = &support::json("ip -d -j link show t0")[0];
    assert_eq!(seen["address"], "02:00:5e:10:00:01");
    assert_eq!(seen["mtu"], 1400);
    assert_eq!(seen["txqlen"], 2000);
    assert_eq!(seen["ifalias"], "for tests");
    assert_eq!(seen["master"], "br0");
    assert!(seen["flags"].as_array().unwrap().contains(&"UP".into()));

    device.set_master(None).unwrap();
    device.set_name(name("t1")).unwrap();
    device.set_alias("").unwrap();
    device.set_up(false).unwrap();
    let seen = &support::json("ip -d -j link show t1")[0];
    assert!(seen["master"].is_null() && seen["ifalias"].is_null());
    assert_eq!(device.mac().unwrap().to_string(), "02:00:5e:10:00:01");
}

#[test]
fn the_handle_follows_a_rename_and_a_move_by_others() {
    support::enter();
    let elsewhere = Netns::new_anonymous().unwrap();
    let device = tun("t0").up(true).open().unwrap();
    support::run("ip link set t0 name t9");
    assert_eq!(device.name().unwrap(), name("t9"));
    // Taken there, the index must change: indices 1 and up are free in the new namespace.
    elsewhere
        .run(|| tun("x0").index(device.index().unwrap()).persist(true).open().unwrap())
        .unwrap();
    Link::find(&name("t9")).unwrap().move_to(&elsewhere).unwrap();
    assert_eq!(device.name().unwrap(), name("t9"));
    assert!(device.netns().unwrap().is_same(&elsewhere).unwrap());
    device.set_mtu(1280).unwrap();
    assert_eq!(
        elsewhere.run(|| Link::find(&name("t9")).unwrap().info().unwrap().mtu).unwrap(),
        1280
    );
}

#[test]
fn a_device_is_made_in_another_namespace_and_the_thread_stays() {
    support::enter();
    let here = Netns::current().unwrap();
    let there = Netns::new_anonymous().unwrap();
    let device = tun("t0").netns(there.try_clone().unwrap()).open().unwrap();
    assert!(Netns::current().unwrap().is_same(&here).unwrap());
    assert!(Link::find(&name("t0")).is_err());
    assert!(Link::find_in(&there, &name("t0")).is_ok());
    assert!(device.netns().unwrap().is_same(&there).unwrap());
}

#[test]
fn offloads_are_taken_as_sets_and_cleared_again() {
    support::enter();
    let with = |len| VnetFormat { len, ..VnetFormat::default() };
    let options = || tun("t0").vnet_hdr(with(VnetLen::Tunnel)).create(Create::AttachOrCreate);
    let device = options().offload(OffloadChoice::Auto).persist(true).open().unwrap();
    assert_eq!(device.offload(), Offload::TUNNEL, "this kernel takes every set");
    let lone = Offload::CSUM | Offload::USO4;
    assert_eq!(
        device.probe_offloads(&[lone, Offload::USO, Offload::TSO]).unwrap(),
        [Offload::USO, Offload::TSO]
    );
    let tso = || support::run("ethtool -k t0").contains("tcp-segmentation-offload: on");
    assert!(tso());
    drop(device);
    assert!(tso(), "the set outlives the detach");
    let refused = options().offload(OffloadChoice::Exact(lone)).open().unwrap_err();
    assert_eq!(refused.errno(), Some(22));
    let plain = tun("t0").create(Create::Attach).open().unwrap();
    assert!(!tso(), "a reader without a header would get 64 KiB packets");
    assert_eq!(plain.offload(), Offload::empty());

    let short = tun("t1").vnet_hdr(with(VnetLen::Legacy)).offload(OffloadChoice::Auto);
    let mut device = short.open().unwrap();
    assert_eq!(device.offload(), Offload::USO, "a short header has no room for tunnels");
    let error = device.set_offload(Offload::TUNNEL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
}

#[test]
fn each_packet_has_its_hash_where_the_kernel_gives_none() {
    use adit_device::{Batch, HashReport, HashTypes, Pair, Pool, PoolConfig};
    support::enter();
    let format = VnetFormat { len: VnetLen::Hash, ..VnetFormat::default() };
    let device = tun("t0")
        .vnet_hdr(format)
        .hash_report(HashTypes::PLAIN)
        .nonblocking(true)
        .address(adit_device::netlink::Address::new("161.142.100.81/24".parse().unwrap()))
        .up(true)
        .open()
        .unwrap();
    let refused = device.vnet_hash_cap().unwrap_err();
    assert_eq!(refused.errno(), Some(22), "this kernel has no hash interface of its own");
    let socket = std::net::UdpSocket::bind("161.142.100.81:2794").unwrap();
    socket.send_to(b"x", "161.142.100.80:1766").unwrap();

    let (mut pool, mut pair, mut batch) =
        (Pool::new(PoolConfig::default()), Pair::default(), Batch::new());
    let queue = &device.queues()[0];
    let mut reports = Vec::new();
    while queue.wait(false, Some(std::time::Duration::from_secs(60))).unwrap().readable {
        queue.recv_batch(&mut pool, &mut pair, &mut batch).unwrap();
        for packet in batch.drain(..) {
            reports.push((packet.bytes()[0] >> 4, packet.meta.vnet.hash));
            pool.give(packet);
        }
        if reports.iter().any(|(version, _)| *version == 4) {
            break;
        }
    }
    let (_, hash) = reports.iter().find(|(version, _)| *version == 4).unwrap();
    assert_eq!(hash.report, HashReport::Udp4.to_wire());
    assert_ne!(hash.value, 0);
}

#[test]
fn an_offload_that_an_administrator_switched_off_is_known_until_we_set_it() {
    support::enter();
    let format = VnetFormat { len: VnetLen::Mergeable, ..VnetFormat::default() };
    let mut device = tap("t0").vnet_hdr(format).open().unwrap();
    device.set_offload(Offload::USO | Offload::UFO).unwrap();
    assert_eq!(device.offload(), Offload::USO, "UFO is taken and forgotten");
    support::run("ethtool -K t0 tx-tcp6-segmentation off");
    let fd = device.take_queues().remove(0).into();
    let mut adopted = adit_device::Device::adopt(fd, Mode::Tap).unwrap();
    assert_eq!(adopted.offload(), Offload::USO - Offload::TSO6);
    adopted.set_offload(Offload::USO).unwrap();
    assert_eq!(adopted.offload(), Offload::USO);
}
