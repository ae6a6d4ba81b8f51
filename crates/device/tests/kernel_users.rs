//! What other users may do with a device. The test starts itself again as such a user.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit::{Create, Mode};
use std::path::Path;
use traffic::{enter_quiet, errno, name, tap, tun};

/// Says to the second process what it is to do, and what is to come of it.
const PART: &str = "ADIT_TEST_PART";

/// Who the second process is.
const NOBODY: u32 = 65_534;
const OTHER: u32 = 1000;

/// Lays a node of this mode over the machine's own, which may have any and which is not touched:
/// the mount is one of this thread's namespace only, and the new node is in its own `/run`.
fn node(mode: &str) {
    support::run("mount --make-rprivate /");
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
    let words = ["env", part.as_str(), program, "--exact", test, "--ignored"];
    support::run_words(["setpriv"].into_iter().chain(user.iter().map(String::as_str)).chain(words));
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
    let stays = |options: adit::DeviceOptions| options.persist(true).up(true).open().unwrap();

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
    assert!(adit::Link::find(&name("any")).is_err(), "taken, and made to go");
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
