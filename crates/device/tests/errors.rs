//! Each cause of a failure, reproduced in a namespace and distinguished from similar ones.
//!
//! One row per failure. Each row runs on its own thread, in its own network and mount namespace. Rows
//! that need other users are in the `root_*` test.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]
#![expect(clippy::print_stdout, reason = "what adit says in each row, to be read with --nocapture")]

mod support;

use adit_device::netlink::{Address, LinkChange, Netlink, Route};
use adit_device::{
    Cause, ClassicFilter, ClassicInstruction, Create, Device, DeviceOptions, Endian, Error,
    ErrorKind, IfIndex, IfName, Link, MacAddr, Mode, Netns, Offload, OffloadChoice, Queue,
    RECORD_LEN_MAX, VnetFormat, VnetLen,
};
use rustix::fs::{CWD, FileType, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use support::{Holder, run};

/// An operation that fails, the kernel's errno (0: adit checked before it), adit's code and kind, and a
/// part of the remedy.
struct Row {
    what: &'static str,
    fail: fn() -> Error,
    errno: i32,
    code: &'static str,
    kind: ErrorKind,
    remedy: &'static str,
}

const fn row(
    what: &'static str,
    fail: fn() -> Error,
    errno: i32,
    code: &'static str,
    kind: ErrorKind,
    remedy: &'static str,
) -> Row {
    Row { what, fail, errno, code, kind, remedy }
}

/// Reproduces each failure in its own namespace, and reports all wrong rows together.
fn check(rows: &[Row]) {
    let mut wrong = String::new();
    for row in rows {
        let thread = std::thread::spawn({
            let fail = row.fail;
            move || {
                support::enter();
                fail()
            }
        });
        let Ok(error) = thread.join() else {
            wrong += &format!("{}: panicked\n", row.what);
            continue;
        };
        let errno = error.errno().unwrap_or(0);
        let found = (errno, error.code(), error.kind());
        let source = std::error::Error::source(&error).unwrap();
        println!("{}: {}: {error}: {source}\n    -> {}", row.what, error.code(), error.remedy());
        if found != (row.errno, row.code, row.kind) || !error.remedy().contains(row.remedy) {
            let wanted = (row.errno, row.code, row.kind, row.remedy);
            wrong += &format!(
                "{}: {found:?}, not {wanted:?}\n    {error}: {source}\n    {}\n",
                row.what,
                error.remedy()
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn tun(name: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tun).name(name.parse().unwrap()).nonblocking(true)
}

fn tap(name: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tap).name(name.parse().unwrap()).nonblocking(true)
}

fn attach(options: DeviceOptions) -> Error {
    options.create(Create::Attach).open().unwrap_err()
}

fn link(text: &str) -> Link {
    Link::find(&name(text)).unwrap()
}

fn address(text: &str) -> Address {
    Address::new(text.parse().unwrap())
}

fn route(text: &str) -> Route {
    Route::new(text.parse().unwrap())
}

/// Takes capabilities from the calling thread, as from a user who has none.
fn drop_capabilities(sets: CapabilitySet) {
    let mut own = capabilities(None).unwrap();
    own.effective -= sets;
    own.permitted -= sets;
    own.inheritable -= sets;
    set_capabilities(None, own).unwrap();
}

/// Makes the calling thread that of a user without privileges.
fn become_user(uid: u32, gid: u32, groups: &[u32]) {
    let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups).unwrap();
    set_thread_res_gid(gid, gid, gid).unwrap();
    set_thread_res_uid(uid, uid, uid).unwrap();
}

fn hide_dev_net() {
    mount("tmpfs", "/dev/net", "tmpfs", MountFlags::empty(), None).unwrap();
}

fn name_error(text: &str) -> Error {
    let cause = Cause::Name(text.parse::<IfName>().unwrap_err());
    Error::new("name", text, cause, io::Error::from_raw_os_error(libc::EINVAL))
}

const NAMES: &[Row] = {
    use ErrorKind::InvalidName;
    &[
        row("empty name", || name_error(""), 22, "ADIT-E0201", InvalidName, "1 to 15 bytes"),
        row("16 bytes", || name_error("1234567890123456"), 22, "ADIT-E0202", InvalidName, "15"),
        row("dots", || name_error(".."), 22, "ADIT-E0203", InvalidName, "Choose"),
        row("a slash", || name_error("a/b"), 22, "ADIT-E0204", InvalidName, "'/'"),
        row("a space", || name_error("a b"), 22, "ADIT-E0204", InvalidName, "space"),
        row("two %d", || name_error("%d%d"), 22, "ADIT-E0205", InvalidName, "'tun%d'"),
    ]
};

const NODE: &[Row] = {
    use ErrorKind::{Mismatch, NotFound, NotPermitted, Unsupported};
    const DAC: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);
    fn open() -> Error {
        tun("t0").open().unwrap_err()
    }
    fn no_driver() -> Error {
        hide_dev_net();
        fs::write("/run/misc", "183 hw_random\n").unwrap();
        mount_bind("/run/misc", "/proc/misc").unwrap();
        open()
    }
    fn mode() -> Error {
        hide_dev_net();
        fs::write("/dev/net/tun", "").unwrap();
        fs::set_permissions("/dev/net/tun", fs::Permissions::from_mode(0o000)).unwrap();
        drop_capabilities(DAC);
        open()
    }
    fn directory() -> Error {
        hide_dev_net();
        fs::set_permissions("/dev/net", fs::Permissions::from_mode(0o600)).unwrap();
        drop_capabilities(DAC);
        open()
    }
    fn nodev() -> Error {
        mount_bind("/dev/net/tun", "/dev/net/tun").unwrap();
        mount_remount("/dev/net/tun", MountFlags::BIND | MountFlags::NODEV, "").unwrap();
        open()
    }
    fn socket() -> Error {
        hide_dev_net();
        mknodat(CWD, "/dev/net/tun", FileType::Socket, 0o666.into(), 0).unwrap();
        open()
    }
    fn file() -> Error {
        hide_dev_net();
        fs::write("/dev/net/tun", "").unwrap();
        open()
    }
    fn missing() -> Error {
        hide_dev_net();
        open()
    }
    &[
        row("no node", missing, 2, "ADIT-E0101", NotFound, "--device /dev/net/tun"),
        row("no module", no_driver, 2, "ADIT-E0102", Unsupported, "modprobe tun"),
        row("nothing behind the node", socket, 6, "ADIT-E0103", Unsupported, "modprobe tun"),
        row("mode of the node", mode, 13, "ADIT-E0104", NotPermitted, "chmod 0666 /dev/net/tun"),
        row("mode of /dev/net", directory, 13, "ADIT-E0105", NotPermitted, "chmod 0755"),
        row("nodev", nodev, 13, "ADIT-E0107", NotPermitted, "--device /dev/net/tun"),
        row("a plain file", file, 25, "ADIT-E0109", Mismatch, "mknod"),
    ]
};

const ATTACH: &[Row] = {
    use ErrorKind::{Busy, Exists, Limit, Mismatch, NotFound, NotPermitted};
    fn no_capability() -> Error {
        drop_capabilities(CapabilitySet::NET_ADMIN);
        tun("t0").open().unwrap_err()
    }
    fn held() -> Error {
        let _holder = Holder::open("t0", 0x1001, 1, None);
        let error = attach(tun("t0"));
        assert!(error.to_string().contains("(python"), "{error}");
        error
    }
    fn held_by_us() -> Error {
        let _device = tun("t0").open().unwrap();
        let error = attach(tun("t0"));
        let Cause::InUse { holders } = error.cause() else { return error };
        let own = holders.list.iter().find(|holder| holder.pid == std::process::id()).unwrap();
        assert_eq!(own.fds.len(), 2, "a queue and the handle's own");
        error
    }
    fn exists() -> Error {
        let _device = tun("t0").open().unwrap();
        tun("t0").open().unwrap_err()
    }
    fn exists_as_veth() -> Error {
        run("ip link add t0 type veth peer name t1");
        tun("t0").open().unwrap_err()
    }
    fn index() -> Error {
        tun("t0").index(IfIndex::new(1).unwrap()).open().unwrap_err()
    }
    fn veth() -> Error {
        run("ip link add t0 type veth peer name t1");
        attach(tun("t0"))
    }
    fn is_tun() -> Error {
        let _device = tun("t0").multi_queue(true).open().unwrap();
        attach(tap("t0").multi_queue(true))
    }
    fn is_tap() -> Error {
        run("ip tuntap add t0 mode tap");
        attach(tun("t0"))
    }
    fn is_multi_queue() -> Error {
        let _device = tun("t0").multi_queue(true).open().unwrap();
        attach(tun("t0"))
    }
    fn is_single_queue() -> Error {
        run("ip tuntap add t0 mode tun");
        attach(tun("t0").multi_queue(true))
    }
    fn queues() -> Error {
        let _device = tun("t0").queues(256).open().unwrap();
        attach(tun("t0").multi_queue(true))
    }
    &[
        row("create", no_capability, 1, "ADIT-E0210", NotPermitted, "--cap-add=NET_ADMIN"),
        row("held by another", held, 16, "ADIT-E0215", Busy, "kill"),
        row("held by us", held_by_us, 16, "ADIT-E0215", Busy, "--multi-queue"),
        row("EXCL", exists, 16, "ADIT-E0216", Exists, "attach to the device"),
        row("EXCL on a veth", exists_as_veth, 16, "ADIT-E0216", Exists, "veth"),
        row("index of lo", index, 16, "ADIT-E0217", Exists, "index"),
        row("attach to lo", || attach(tun("lo")), 22, "ADIT-E0218", Mismatch, "another name"),
        row("attach to a veth", veth, 22, "ADIT-E0218", Mismatch, "another name"),
        row("TAP of a TUN", is_tun, 22, "ADIT-E0219", Mismatch, "--mode tun"),
        row("TUN of a TAP", is_tap, 22, "ADIT-E0219", Mismatch, "--mode tap"),
        row("one queue of many", is_multi_queue, 22, "ADIT-E0220", Mismatch, "--multi-queue"),
        row("many queues of one", is_single_queue, 22, "ADIT-E0221", Mismatch, "one queue"),
        row("257th queue", queues, 7, "ADIT-E0222", Limit, "Close"),
        row(
            "attach to nothing",
            || attach(tun("t0")),
            19,
            "ADIT-E0223",
            NotFound,
            "adit dev add t0 --mode tun`",
        ),
    ]
};

fn set<T: std::fmt::Debug>(
    options: DeviceOptions,
    setting: impl FnOnce(&mut Device) -> Result<T, Error>,
) -> Error {
    setting(&mut options.open().unwrap()).unwrap_err()
}

fn with_header(len: VnetLen) -> DeviceOptions {
    tap("t0").vnet_hdr(VnetFormat { len, endian: Endian::Little })
}

fn refused(offload: Offload) -> Error {
    set(with_header(VnetLen::Tunnel), |device| device.set_offload(offload))
}

const SETTINGS: &[Row] = {
    use ErrorKind::{Busy, InvalidValue, Limit, Mismatch, NotPermitted, Unsupported};
    const NOBODY: u32 = u32::MAX;
    fn link_type() -> Error {
        set(tun("t0").up(true), |device| device.set_link_type(1))
    }
    fn unknown_offload() -> Error {
        refused(Offload::CSUM | Offload::from_bits_retain(0x8000))
    }
    fn no_header() -> Error {
        tun("t0").offload(OffloadChoice::Exact(Offload::TSO)).open().unwrap_err()
    }
    fn short_header() -> Error {
        set(with_header(VnetLen::Legacy), |device| device.set_offload(Offload::TUNNEL))
    }
    fn endian() -> Error {
        let big = VnetFormat { len: VnetLen::Legacy, endian: Endian::Big };
        tun("t0").vnet_hdr(big).open().unwrap_err()
    }
    fn unicast(count: u8) -> Vec<MacAddr> {
        (0..count).map(|last| MacAddr([2, 0, 0, 0, 0, last])).collect()
    }
    fn classic_filter() -> Error {
        let all = ClassicFilter::new(vec![ClassicInstruction { code: 6, jt: 0, jf: 0, k: 64 }]);
        set(tun("t0"), |device| device.set_classic_filter(Some(&all.unwrap())))
    }
    fn hash() -> Error {
        set(tap("t0"), |device| device.vnet_hash_cap())
    }
    fn only_queue() -> Error {
        let device = tun("t0").open().unwrap();
        let error = device.queues()[0].detach().unwrap_err();
        Error::new("detach a queue of", "t0", Cause::of_attach(&error), error)
    }
    fn carrier() -> Error {
        run("ip link add t0 type veth peer name t1");
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name(&name("t0")).unwrap().index;
        let error = netlink.set_link(index, &LinkChange::new().carrier(false)).unwrap_err();
        Error::new("set the carrier of", "t0", Cause::of_carrier(&error), error)
    }
    fn netns() -> Error {
        let device = tun("t0").open().unwrap();
        drop_capabilities(CapabilitySet::NET_ADMIN);
        device.netns().unwrap_err()
    }
    &[
        row(
            "no user",
            || set(tun("t0"), |t| t.set_owner(NOBODY)),
            22,
            "ADIT-E0301",
            InvalidValue,
            "uid",
        ),
        row(
            "no group",
            || set(tun("t0"), |t| t.set_group(NOBODY)),
            22,
            "ADIT-E0302",
            InvalidValue,
            "gid",
        ),
        row("type of an up link", link_type, 16, "ADIT-E0303", Busy, "dev set t0 --down"),
        row("unknown offload", unknown_offload, 22, "ADIT-E0304", Unsupported, "Auto"),
        row("TSO alone", || refused(Offload::TSO4), 22, "ADIT-E0305", InvalidValue, "csum"),
        row(
            "USO4 alone",
            || refused(Offload::CSUM | Offload::USO4),
            22,
            "ADIT-E0306",
            InvalidValue,
            "both",
        ),
        row(
            "tunnel alone",
            || refused(Offload::CSUM | Offload::UDP_TUNNEL_GSO),
            22,
            "ADIT-E0307",
            InvalidValue,
            "tso4",
        ),
        row("TSO without header", no_header, 22, "ADIT-E0308", InvalidValue, "--vnet-hdr"),
        row("tunnel, short header", short_header, 22, "ADIT-E0309", InvalidValue, "24-byte"),
        row("big endian", endian, 22, "ADIT-E0311", Unsupported, "little endian"),
        row(
            "no send buffer",
            || set(tun("t0"), |t| t.set_send_buffer(Some(0))),
            22,
            "ADIT-E0312",
            InvalidValue,
            "room",
        ),
        row(
            "address filter of a TUN",
            || set(tun("t0"), |t| t.set_tx_filter(&unicast(1), false)),
            22,
            "ADIT-E0313",
            Unsupported,
            "TAP",
        ),
        row(
            "nine addresses",
            || set(tap("t0"), |t| t.set_tx_filter(&unicast(9), false)),
            22,
            "ADIT-E0314",
            Limit,
            "fewer",
        ),
        row("filter on TUN", classic_filter, 22, "ADIT-E0315", InvalidValue, "TAP"),
        row("kernel's hash", hash, 22, "ADIT-E0318", Unsupported, "eBPF"),
        row("detach the only queue", only_queue, 22, "ADIT-E0319", Mismatch, "--multi-queue"),
        row("carrier of a veth", carrier, 95, "ADIT-E0338", Unsupported, "link up"),
        row("namespace of the device", netns, 1, "ADIT-E0320", NotPermitted, "root"),
        row(
            "group address",
            || set(tap("t0"), |t| t.set_mac(MacAddr([1, 0, 0x5e, 0, 0, 1]))),
            99,
            "ADIT-E0321",
            InvalidValue,
            "02:00:00:00:00:01",
        ),
        row(
            "address of a TUN",
            || set(tun("t0"), |t| t.set_mac(MacAddr([2, 0, 0, 0, 0, 1]))),
            95,
            "ADIT-E0322",
            Unsupported,
            "--mode tap",
        ),
    ]
};

const LINK: &[Row] = {
    use ErrorKind::{Exists, InvalidValue, Mismatch, NotFound, NotPermitted, Unsupported};
    fn taken() -> Error {
        let _other = tun("t1").open().unwrap();
        set(tun("t0"), |device| device.set_name(name("t1")))
    }
    fn master(options: DeviceOptions, master: &str) -> Error {
        run("ip link add br0 type bridge");
        set(options, |device| device.set_master(Some(&name(master))))
    }
    fn bridge_of_itself() -> Error {
        run("ip link add br0 type bridge");
        link("br0").set_master(Some(&name("br0"))).unwrap_err()
    }
    fn taken_there() -> Error {
        let other = Netns::new_anonymous().unwrap();
        let _there = tun("t0").netns(other.try_clone().unwrap()).open().unwrap();
        set(tun("t0"), |device| device.move_to(&other))
    }
    fn move_lo() -> Error {
        link("lo").move_to(&Netns::new_anonymous().unwrap()).unwrap_err()
    }
    fn forbidden() -> Error {
        let device = tun("t0").open().unwrap();
        drop_capabilities(CapabilitySet::NET_ADMIN);
        device.set_up(true).unwrap_err()
    }
    fn deleted() -> Error {
        let device = tun("t0").open().unwrap();
        run("ip link delete t0");
        device.set_up(true).unwrap_err()
    }
    &[
        row(
            "MTU of 67",
            || set(tun("t0"), |t| t.set_mtu(67)),
            22,
            "ADIT-E0323",
            InvalidValue,
            "68",
        ),
        row(
            "MTU of 65536 on TUN",
            || set(tun("t0"), |t| t.set_mtu(65_536)),
            22,
            "ADIT-E0324",
            InvalidValue,
            "65535",
        ),
        row(
            "MTU of 65522 on TAP",
            || set(tap("t0"), |t| t.set_mtu(65_522)),
            22,
            "ADIT-E0324",
            InvalidValue,
            "65521",
        ),
        row(
            "long queue",
            || set(tun("t0"), |t| t.set_txqueuelen(600_000)),
            1,
            "ADIT-E0326",
            InvalidValue,
            "524288",
        ),
        row(
            "alias of 256 bytes",
            || set(tun("t0"), |t| t.set_alias("a".repeat(256))),
            34,
            "ADIT-E0327",
            InvalidValue,
            "Shorten",
        ),
        row("taken name", taken, 17, "ADIT-E0328", Exists, "another name"),
        row("no bridge", || master(tap("t0"), "br7"), 19, "ADIT-E0330", NotFound, "type bridge"),
        row("lo as bridge", || master(tap("t0"), "lo"), 95, "ADIT-E0331", Mismatch, "bridge"),
        row("bridge of itself", bridge_of_itself, 40, "ADIT-E0332", InvalidValue, "veth"),
        row(
            "TUN in a bridge",
            || master(tun("t0"), "br0"),
            22,
            "ADIT-E0333",
            Mismatch,
            "--mode tap",
        ),
        row(
            "delete lo",
            || link("lo").delete().unwrap_err(),
            95,
            "ADIT-E0335",
            Unsupported,
            "down",
        ),
        row("taken there", taken_there, 17, "ADIT-E0336", Exists, "Rename"),
        row("move lo", move_lo, 22, "ADIT-E0337", Unsupported, "adit -n"),
        row("no capability", forbidden, 1, "ADIT-E0501", NotPermitted, "sudo"),
        row(
            "find nothing",
            || Link::find(&name("t9")).unwrap_err(),
            19,
            "ADIT-E0223",
            NotFound,
            "List",
        ),
        row("deleted", deleted, 19, "ADIT-E0402", ErrorKind::DeviceGone, "adit dev watch"),
    ]
};

const ADDRESSES: &[Row] = {
    use ErrorKind::{Exists, InvalidValue, LinkDown, NotFound, Unsupported};
    fn up() -> DeviceOptions {
        tun("t0").address(address("192.0.2.1/24")).up(true)
    }
    fn again() -> Error {
        set(up(), |device| device.add_address(&address("192.0.2.1/24")))
    }
    fn not_there() -> Error {
        set(up(), |device| device.delete_address(&address("192.0.2.9/24")))
    }
    fn ipv6_off() -> Error {
        let device = up().open().unwrap();
        fs::write("/proc/sys/net/ipv6/conf/t0/disable_ipv6", "1").unwrap();
        device.add_address(&address("2001:db8::1/64")).unwrap_err()
    }
    fn small_mtu() -> Error {
        set(tun("t0").mtu(1000), |device| device.add_address(&address("2001:db8::1/64")))
    }
    fn add(route: &Route) -> Error {
        set(up(), |device| device.add_route(route))
    }
    fn via(to: &str, gateway: &str) -> Error {
        add(&Route { gateway: Some(gateway.parse().unwrap()), ..route(to) })
    }
    fn route_again() -> Error {
        set(up(), |device| {
            device.add_route(&route("203.0.113.0/24")).unwrap();
            device.add_route(&route("203.0.113.0/24"))
        })
    }
    fn down() -> Error {
        set(tun("t0"), |device| device.add_route(&route("203.0.113.0/24")))
    }
    fn no_route() -> Error {
        set(up(), |device| device.delete_route(&route("203.0.113.0/24")))
    }
    fn source() -> Error {
        add(&Route { prefsrc: Some("198.51.100.9".parse().unwrap()), ..route("203.0.113.0/24") })
    }
    &[
        row("address again", again, 17, "ADIT-E0510", Exists, "replace"),
        row("no such address", not_there, 99, "ADIT-E0511", NotFound, "ip address show"),
        row("IPv6 off", ipv6_off, 13, "ADIT-E0512", Unsupported, "disable_ipv6=0"),
        row("IPv6 on MTU 1000", small_mtu, 22, "ADIT-E0514", InvalidValue, "--mtu 1280"),
        row("route again", route_again, 17, "ADIT-E0520", Exists, "metric"),
        row(
            "far gateway",
            || via("203.0.113.0/24", "198.51.100.1"),
            101,
            "ADIT-E0521",
            InvalidValue,
            "onlink",
        ),
        row(
            "far IPv6 gateway",
            || via("2001:db8:1::/64", "2001:db8:9::1"),
            113,
            "ADIT-E0521",
            InvalidValue,
            "onlink",
        ),
        row("route over a down link", down, 100, "ADIT-E0522", LinkDown, "dev set t0 --up"),
        row("no such route", no_route, 3, "ADIT-E0523", NotFound, "ip route show"),
        row("foreign source", source, 22, "ADIT-E0524", InvalidValue, "address first"),
        row(
            "host bits",
            || add(&route("203.0.113.7/24")),
            22,
            "ADIT-E0525",
            InvalidValue,
            "beyond the prefix",
        ),
    ]
};

const NAMESPACES: &[Row] = {
    use ErrorKind::{InvalidName, InvalidValue, Mismatch, NotFound, NotPermitted};
    fn named(name: &str) -> Error {
        run("ip netns add blue");
        let error = Netns::named(name).unwrap_err();
        Error::new("open the namespace", name, Cause::of_netns_named(name, &error), error)
    }
    fn missing() -> Error {
        let error = named("green");
        assert!(error.to_string().contains("existing: blue"), "{error}");
        error
    }
    fn file() -> Error {
        fs::create_dir_all("/run/netns").unwrap();
        fs::write("/run/netns/dead", "").unwrap();
        let error = Netns::named("dead").unwrap_err();
        Error::new("open the namespace", "dead", Cause::of_netns_named("dead", &error), error)
    }
    fn of(path: &str) -> Error {
        let error = Netns::open(path).unwrap_err();
        Error::new("open the namespace", path, Cause::of_netns(&error), error)
    }
    fn enter() -> Error {
        let netns = Netns::new_anonymous().unwrap();
        drop_capabilities(CapabilitySet::SYS_ADMIN);
        tun("t0").netns(netns).open().unwrap_err()
    }
    fn threads() -> Error {
        let error = Netns::enter_new_rootless().unwrap_err();
        Error::new("enter", "a user namespace", Cause::of_user_namespace(&error), error)
    }
    &[
        row("no such name", missing, 2, "ADIT-E0540", NotFound, "ip netns add"),
        row("a plain file", file, 22, "ADIT-E0541", Mismatch, "ip netns del"),
        row("a mount namespace", || of("/proc/self/ns/mnt"), 22, "ADIT-E0541", Mismatch, "/ns/net"),
        row("no right to enter", enter, 1, "ADIT-E0542", NotPermitted, "unshare -Urn"),
        row("no such process", || of("/proc/4194305/ns/net"), 2, "ADIT-E0544", NotFound, "lsns"),
        row("a name with /", || named("a/b"), 22, "ADIT-E0545", InvalidName, "full path"),
        row("many threads", threads, 22, "ADIT-E0553", InvalidValue, "unshare -Urn"),
    ]
};

fn send(options: DeviceOptions, record: &[u8]) -> Error {
    send_on(&options.open().unwrap().queues()[0], record)
}

fn send_on(queue: &Queue, record: &[u8]) -> Error {
    let error = queue.send(record).unwrap_err();
    Error::new("send over", "t0", Cause::of_send(queue, record, &error), error)
}

fn recv(queue: &Queue, len: usize) -> Error {
    let error = queue.recv(&mut vec![0; len]).unwrap_err();
    Error::new("receive from", "t0", Cause::of_recv(queue, len, &error), error)
}

const QUEUE: &[Row] = {
    use ErrorKind::{Busy, DeviceGone, InvalidValue, LinkDown, Malformed, WouldBlock};
    fn vnet(header: [u8; 10]) -> Error {
        let format = VnetFormat { len: VnetLen::Legacy, endian: Endian::Little };
        let mut record = header.to_vec();
        record.extend([0x45; 60]);
        send(tun("t0").vnet_hdr(format).up(true), &record)
    }
    fn detached() -> Error {
        let device = tap("t0").multi_queue(true).napi(true).up(true).open().unwrap();
        device.queues()[0].detach().unwrap();
        send_on(&device.queues()[0], &[0; 60])
    }
    fn short_buffer() -> Error {
        let device = tun("t0").packet_info(true).up(true).open().unwrap();
        let queue = &device.queues()[0];
        // A link that goes up sends router solicitations.
        let ready = queue.wait(false, Some(Duration::from_secs(60))).unwrap();
        assert!(ready.readable, "no packet came");
        recv(queue, 2)
    }
    fn gone() -> Error {
        let device = tun("t0").open().unwrap();
        run("ip link delete t0");
        recv(&device.queues()[0], RECORD_LEN_MAX)
    }
    fn gone_while_waiting() -> Error {
        let device = tun("t0").nonblocking(false).open().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                tell.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
                recv(&device.queues()[0], RECORD_LEN_MAX)
            });
            // Only a read that waits already gives EFAULT.
            let call = format!("/proc/self/task/{}/syscall", told.recv().unwrap());
            let read = format!("{} ", libc::SYS_read);
            let until = Instant::now() + Duration::from_secs(60);
            while !fs::read_to_string(&call).unwrap().starts_with(&read) {
                assert!(Instant::now() < until, "it does not wait");
                std::thread::sleep(Duration::from_millis(1));
            }
            run("ip link delete t0");
            waiting.join().unwrap()
        })
    }
    fn gone_for_settings() -> Error {
        let device = tun("t0").open().unwrap();
        run("ip link delete t0");
        device.set_persist(true).unwrap_err()
    }
    &[
        row("link down", || send(tun("t0"), &[0x45; 20]), 5, "ADIT-E0401", LinkDown, "up"),
        row("deleted", gone, 77, "ADIT-E0402", DeviceGone, "adit dev add"),
        row(
            "deleted while waiting",
            gone_while_waiting,
            14,
            "ADIT-E0402",
            DeviceGone,
            "adit dev add t0 --mode tun",
        ),
        row(
            "deleted, then set",
            gone_for_settings,
            77,
            "ADIT-E0402",
            DeviceGone,
            "adit dev add t0 --mode tun",
        ),
        row(
            "nothing there",
            || recv(&tun("t0").open().unwrap().queues()[0], RECORD_LEN_MAX),
            11,
            "ADIT-E0403",
            WouldBlock,
            "poll",
        ),
        row(
            "no bytes",
            || send(tun("t0").up(true), &[]),
            22,
            "ADIT-E0404",
            Malformed,
            "empty packets",
        ),
        row(
            "not IP",
            || send(tun("t0").up(true), &[0xff; 60]),
            22,
            "ADIT-E0405",
            Malformed,
            "--mode tap",
        ),
        row(
            "13 bytes",
            || send(tap("t0").up(true), &[0; 13]),
            22,
            "ADIT-E0406",
            Malformed,
            "--mode tun",
        ),
        row(
            "half a header",
            || send(tun("t0").packet_info(true).up(true), &[0; 3]),
            22,
            "ADIT-E0407",
            Malformed,
            "layout",
        ),
        row(
            "segments of 0 bytes",
            || vnet([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            22,
            "ADIT-E0408",
            Malformed,
            "Segment the packet",
        ),
        row(
            "70,000 bytes",
            || send(tun("t0").up(true), &vec![0x45; 70_000]),
            90,
            "ADIT-E0409",
            Malformed,
            "65535",
        ),
        row("detached under NAPI", detached, 16, "ADIT-E0410", Busy, "Attach"),
        row("buffer of 2 bytes", short_buffer, 22, "ADIT-E0411", InvalidValue, "69632"),
    ]
};

const DESCRIPTORS: &[Row] = {
    use ErrorKind::{Mismatch, NotFound};
    fn descriptor(fd: impl AsFd, want: Option<Mode>, errno: i32) -> Error {
        let cause = Cause::of_descriptor(fd.as_fd(), want).unwrap_or(Cause::Other);
        Error::new("adopt", "the descriptor", cause, io::Error::from_raw_os_error(errno))
    }
    fn open(path: &str) -> fs::File {
        fs::File::options().read(true).write(true).open(path).unwrap()
    }
    fn null() -> Error {
        let error = descriptor(open("/dev/null"), None, 25);
        assert!(error.to_string().contains("/dev/null"), "{error}");
        error
    }
    fn socket() -> Error {
        descriptor(std::net::UdpSocket::bind("0.0.0.0:0").unwrap(), None, 22)
    }
    fn pipe() -> Error {
        descriptor(io::pipe().unwrap().0, None, 25)
    }
    fn unattached() -> Error {
        descriptor(open("/dev/net/tun"), None, 77)
    }
    fn tap_for_tun() -> Error {
        let device = tap("t0").open().unwrap();
        assert_eq!(Cause::of_descriptor(device.queues()[0].as_fd(), Some(Mode::Tap)), None);
        descriptor(&device.queues()[0], Some(Mode::Tun), 0)
    }
    fn nothing_passed() -> Error {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        (&here).write_all(b"q").unwrap();
        Device::receive(&there, Mode::Tun).unwrap_err()
    }
    &[
        row("/dev/null", null, 25, "ADIT-E0603", Mismatch, "/dev/net/tun"),
        row("a socket", socket, 22, "ADIT-E0603", Mismatch, "/dev/net/tun"),
        row("a pipe", pipe, 25, "ADIT-E0603", Mismatch, "/dev/net/tun"),
        row("no TUNSETIFF", unattached, 77, "ADIT-E0605", NotFound, "TUNSETIFF"),
        row("TAP for TUN", tap_for_tun, 0, "ADIT-E0606", Mismatch, "--mode tap"),
        row("a message without", nothing_passed, 42, "ADIT-E0607", NotFound, "sender"),
    ]
};

/// Those that need other users, or the right over the first user namespace.
const ROOT: &[Row] = {
    use ErrorKind::{InvalidValue, NotPermitted};
    /// A persistent device of this owner and group, and then we are user 1000 of group 1000.
    fn attach_as_user(owner: Option<u32>, group: Option<u32>) -> Error {
        let mut options = tun("t0").persist(true);
        options = if let Some(owner) = owner { options.owner(owner) } else { options };
        options = if let Some(group) = group { options.group(group) } else { options };
        drop(options.open().unwrap());
        become_user(1000, 1000, &[1001]);
        attach(tun("t0"))
    }
    fn both(owner: u32, group: u32, said: &str) -> Error {
        let error = attach_as_user(Some(owner), Some(group));
        assert!(error.to_string().contains(said), "{error}");
        error
    }
    fn create() -> Error {
        become_user(1000, 1000, &[]);
        tun("t0").open().unwrap_err()
    }
    fn held_by_root() -> Error {
        drop(tun("t0").persist(true).owner(1000).open().unwrap());
        let _holder = Holder::open("t0", 0x1001, 1, None);
        become_user(1000, 1000, &[]);
        let error = attach(tun("t0"));
        assert!(error.to_string().contains("unknown process"), "{error}");
        error
    }
    fn frags_on_tun() -> Error {
        tun("t0").napi_frags(true).open().unwrap_err()
    }
    fn frags_alone() -> Error {
        tap("t0").napi_frags(true).napi(false).open().unwrap_err()
    }
    &[
        row("create as a user", create, 1, "ADIT-E0210", NotPermitted, "sudo"),
        row("owner", || attach_as_user(Some(7), None), 1, "ADIT-E0211", NotPermitted, "user 7"),
        row("group", || attach_as_user(None, Some(7)), 1, "ADIT-E0212", NotPermitted, "usermod"),
        row("both", || both(7, 7, "neither"), 1, "ADIT-E0213", NotPermitted, "recreate"),
        row(
            "our user",
            || both(1000, 7, "group does not"),
            1,
            "ADIT-E0213",
            NotPermitted,
            "--group",
        ),
        row(
            "our group",
            || both(7, 1001, "user does not"),
            1,
            "ADIT-E0213",
            NotPermitted,
            "--group",
        ),
        row("held by root", held_by_root, 16, "ADIT-E0215", ErrorKind::Busy, "Stop that program"),
        row("fragments on TUN", frags_on_tun, 22, "ADIT-E0225", InvalidValue, "TAP"),
        row("fragments alone", frags_alone, 22, "ADIT-E0226", InvalidValue, "NAPI"),
    ]
};

/// Those that the initial user namespace allows.
const ROOTLESS: &[Row] = &[row(
    "fragments",
    || tap("t0").napi_frags(true).open().unwrap_err(),
    1,
    "ADIT-E0214",
    ErrorKind::NotPermitted,
    "root of the host",
)];

#[test]
fn names() {
    check(NAMES);
}

#[test]
fn the_node() {
    check(NODE);
}

#[test]
fn making_and_attaching() {
    check(ATTACH);
}

#[test]
fn settings_of_a_device() {
    check(SETTINGS);
}

#[test]
fn settings_of_a_link() {
    check(LINK);
}

#[test]
fn addresses_and_routes() {
    check(ADDRESSES);
}

#[test]
fn namespaces() {
    check(NAMESPACES);
}

#[test]
fn packets() {
    check(QUEUE);
}

#[test]
fn descriptors() {
    check(DESCRIPTORS);
}

#[test]
fn rootless() {
    check(ROOTLESS);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_users_and_groups() {
    check(ROOT);
}

#[test]
fn a_name_in_another_namespace_is_another_device() {
    support::enter();
    let _holder = Holder::open("t0", 0x1001, 1, None);
    let other = Netns::new_anonymous().unwrap();
    let here = adit_device::holders(&name("t0"), None).unwrap();
    assert_eq!(here.list.len(), 1, "{here:?}");
    assert_eq!(adit_device::holders(&name("t0"), Some(&other)).unwrap().list, []);

    // Opened here, but the device is there: it counts for there.
    let device = tun("t0").netns(other.try_clone().unwrap()).open().unwrap();
    let there = adit_device::holders(&name("t0"), Some(&other)).unwrap();
    assert_eq!(there.list.len(), 1, "{there:?}");
    assert_eq!(there.list[0].pid, std::process::id());
    assert_eq!(adit_device::holders(&name("t0"), None).unwrap().list, here.list);
    drop(device);

    // Held, although without a carrier; then by nobody.
    run("ip tuntap add p0 mode tap");
    let none = adit_device::holders(&name("p0"), None).unwrap();
    assert!(none.list.is_empty() && !none.partial, "{none:?}");
    let device = tap("p0").create(Create::Attach).open().unwrap();
    device.set_carrier(false).unwrap();
    assert_eq!(adit_device::holders(&name("p0"), None).unwrap().list.len(), 1);
}

#[test]
fn most_causes_are_made_for_real() {
    let tables = [
        NAMES,
        NODE,
        ATTACH,
        SETTINGS,
        LINK,
        ADDRESSES,
        NAMESPACES,
        QUEUE,
        DESCRIPTORS,
        ROOT,
        ROOTLESS,
    ];
    let made: BTreeSet<_> = tables.into_iter().flatten().map(|row| row.code).collect();
    for code in &made {
        assert!(Cause::explain(code).is_some(), "{code} is not in the catalogue");
    }
    let rest: Vec<_> =
        Cause::CATALOG.iter().map(|entry| entry.code).filter(|code| !made.contains(code)).collect();
    println!("{} of {} causes; not made: {rest:?}", made.len(), Cause::CATALOG.len());
    assert!(made.len() >= 70, "only {}; not made: {rest:?}", made.len());
}
