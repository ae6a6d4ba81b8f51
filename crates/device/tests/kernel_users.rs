//! What other users may do with a device. The test starts itself again as such a user.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::{Create, Mode, Offload, OffloadChoice, VnetFormat};
use std::path::Path;
use traffic::{enter_quiet, errno, name, python, tap, tun};

/// Says to the second process what it is to do, and what is to come of it.
const PART: &str = "ADIT_TEST_PART";

/// Who the second process is.
const NOBODY: u32 = 65_534;
const OTHER: u32 = 1000;

/// Lays a node of this mode over the machine's own, which may have any and which is not touched:
/// the mount is one of this thread's namespace only, and the new node is in its own `/run`.
fn node(mode: &str) {
    let node = format!("/run/node-{mode}");
    support::run(&format!("mknod -m {mode} {node} c 10 200"));
    support::run(&format!("mount --bind {node} /dev/net/tun"));
}

/// Runs `test` of this program again as that user and group, with `part` to do.
fn become_and(test: &str, uid: u32, gid: u32, part: &str) {
    // The build directory need not be open to everybody.
    let program = "/run/test-of-users";
    if !Path::new(program).exists() {
        std::fs::copy(std::env::current_exe().unwrap(), program).unwrap();
        support::run("chmod 755 /run /run/test-of-users");
    }
    let user = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()];
    let part = format!("{PART}={part}");
    let rootless = part.ends_with("rootless").then_some(["unshare", "-Urn"]);
    let program = ["env", &part, program, "--exact", test, "--ignored", "--nocapture"];
    let user = user.iter().map(String::as_str);
    let words = ["setpriv"].into_iter().chain(user).chain(rootless.into_iter().flatten());
    support::run_words(words.chain(program));
}

/// The second process: "attach NAME ERRNO", with 0 for success.
fn attach_as_told() -> bool {
    let Ok(part) = std::env::var(PART) else { return false };
    let words: Vec<_> = part.split(' ').collect();
    let [verb, device, wanted] = words[..] else { panic!("{part:?}") };
    let create = if verb == "create" { Create::Exclusive } else { Create::Attach };
    let options = if device.starts_with("tap") { tap(device) } else { tun(device) };
    let result = options.create(create).open();
    let seen = result.as_ref().map_or_else(|error| error.errno().unwrap(), |_| 0);
    assert_eq!(seen, wanted.parse::<i32>().unwrap(), "{part}: {result:?}");
    let Ok(device) = result else { return true };
    // What the holder of a descriptor may do without any capability.
    device.set_carrier(false).unwrap();
    device.set_carrier(true).unwrap();
    if device.mode() == Mode::Tap {
        let mac = "02:00:5e:10:00:07".parse().unwrap();
        device.set_mac(mac).unwrap();
        assert_eq!(device.mac().unwrap(), mac);
    }
    assert!(device.queues()[0].send(&[0x45; 20]).is_ok());
    assert_eq!(errno(device.queues()[0].recv(&mut [0; 64])), libc::EAGAIN);
    // And what only a capability lets one do.
    assert_eq!(device.set_up(false).unwrap_err().errno(), Some(libc::EPERM));
    assert_eq!(device.set_mtu(1400).unwrap_err().errno(), Some(libc::EPERM));
    assert_eq!(device.netns().unwrap_err().errno(), Some(libc::EPERM));
    if verb == "seize" {
        device.set_owner(rustix::process::getuid().as_raw()).unwrap();
        device.set_persist(false).unwrap();
    }
    true
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_device_is_for_its_owner_and_its_group() {
    if attach_as_told() {
        return;
    }
    let test = "root_a_device_is_for_its_owner_and_its_group";
    enter_quiet();
    node("666");
    let attach = |uid, gid, device: &str, errno: i32| {
        become_and(test, uid, gid, &format!("attach {device} {errno}"));
    };
    let stays =
        |options: adit_device::DeviceOptions| options.persist(true).up(true).open().unwrap();

    drop(stays(tun("own").owner(NOBODY)));
    drop(stays(tap("tap0").owner(NOBODY)));
    attach(NOBODY, NOBODY, "own", 0);
    attach(NOBODY, OTHER, "own", 0);
    attach(NOBODY, NOBODY, "tap0", 0);
    attach(OTHER, NOBODY, "own", libc::EPERM);

    drop(stays(tun("grp").group(NOBODY)));
    attach(OTHER, NOBODY, "grp", 0);
    attach(OTHER, OTHER, "grp", libc::EPERM);

    drop(stays(tun("both").owner(NOBODY).group(OTHER)));
    attach(NOBODY, OTHER, "both", 0);
    attach(NOBODY, NOBODY, "both", libc::EPERM);
    attach(OTHER, OTHER, "both", libc::EPERM);

    // The library gives a device that is to stay an owner; without one it is everybody's.
    drop(stays(tun("roots")));
    attach(NOBODY, NOBODY, "roots", libc::EPERM);
    support::run("ip tuntap add any mode tun");
    support::run("ip link set any up");
    become_and(test, NOBODY, NOBODY, "seize any 0");
    assert!(adit_device::Link::find(&name("any")).is_err(), "taken, and made to go");
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_another_user_makes_no_device() {
    if attach_as_told() {
        return;
    }
    let test = "root_another_user_makes_no_device";
    enter_quiet();
    node("666");
    become_and(test, NOBODY, NOBODY, &format!("create t0 {}", libc::EPERM));
    drop(tun("own").owner(NOBODY).persist(true).open().unwrap());
    node("600");
    become_and(test, NOBODY, NOBODY, &format!("create t0 {}", libc::EACCES));
    become_and(test, NOBODY, NOBODY, &format!("attach own {}", libc::EACCES));
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_another_user_makes_devices_in_a_user_namespace_of_its_own() {
    let test = "root_another_user_makes_devices_in_a_user_namespace_of_its_own";
    if std::env::var_os(PART).is_none() {
        enter_quiet();
        node("666");
        return become_and(test, NOBODY, NOBODY, "rootless");
    }
    let all = tap("t0").queues(4).vnet_hdr(VnetFormat::default()).packet_info(true).napi(true);
    let device = all.offload(OffloadChoice::Auto).up(true).open().unwrap();
    assert_eq!(device.offload(), Offload::USO);
    assert_eq!(device.info().unwrap().tun.unwrap().queues, Some(4));
    drop(tun("t1").persist(true).open().unwrap());
    assert!(tun("t1").create(Create::Attach).open().is_ok());
    assert_eq!(tap("t2").napi_frags(true).open().unwrap_err().errno(), Some(libc::EPERM));
    for kind in ["veth", "bridge", "vxlan id 7 dstport 4789 local 192.0.2.1"] {
        support::run(&format!("ip link add x0 type {kind}"));
        support::run("ip link del x0");
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
}

#[test]
#[ignore = "needs the node of a macvtap, which is root's"]
fn root_a_macvtap_takes_a_part_of_the_ioctls() {
    enter_quiet();
    support::run("ip link add v0 type veth peer name v1");
    support::run("ip link add link v0 name m0 type macvtap mode bridge");
    python(
        "
index = int(open('/sys/class/net/m0/ifindex').read())
path = '/run/macvtap'
major, minor = map(int, open('/sys/class/net/m0/tap%d/dev' % index).read().split(':'))
import stat
os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
features = struct.unpack('I', fcntl.ioctl(fd, 0x800454cf, bytes(4)))[0]
assert features & (TUN | TAP | MQ | NO_PI | VNET) == TAP | MQ | NO_PI | VNET, hex(features)
setiff(fd, 'm0', TAP | NO_PI | VNET)
value(fd, 208, 0x67)
fails(E.EINVAL, value, fd, 208, 0x1e7)
pointer(fd, 216, 12)
for number in (203, 204, 206):
    fails(E.EINVAL, value, fd, number, 1)
fails(E.EINVAL, pointer, fd, 226, 1)
fails(E.EINVAL, pointer, fd, 224, -1)
second = os.open(path, os.O_RDWR)
",
    );
}
