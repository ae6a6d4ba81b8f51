//! The device is deleted while the tunnel runs.

use crate::support::{bare, run};
use crate::world::{Keys, Running, Space, World, of_peer, show, wait_for};
use std::path::{Path, PathBuf};

/// How often the program was on a processor, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Deletes the device twice and looks that it comes again as it was, in the same session.
fn deletes(world: &World, running: &Running, told: &Path, reaches: impl Fn()) {
    reaches();
    let before = world.a.state();
    let age = of_peer("ta", "handshake_age_s");
    for count in 1..=2 {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        world.a.run("ip link del ta");
        let told = || std::fs::read_to_string(told).unwrap();
        wait_for("the message", || {
            told().matches("was deleted; it was recreated").count() == count
        });
        reaches();
        let without_index = |state: &str| -> Vec<String> {
            let words =
                |line: &str| line.split_once(": ").map_or(line, |(_, rest)| rest).to_owned();
            let mut lines: Vec<String> = state.lines().map(words).collect();
            lines.sort();
            lines
        };
        // Whether a bridge has a carrier its routes tell a moment later.
        wait_for("it is as it was", || without_index(&world.a.state()) == without_index(&before));
        assert!(of_peer("ta", "handshake_age_s") > age, "the session goes on");
    }
    let before = ticks(running.pid());
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(ticks(running.pid()) - before < 50, "it does not spin");
}

fn pings(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

#[test]
fn a_deleted_device_is_recreated() {
    let world = World::new();
    let default = "AllowedIPs = 0.0.0.0/0, 198.51.100.0/24";
    let (a, b) = world.pair("192.0.2.2:51820", [("MTU = 1380", default), ("", "")]);
    let _tb = world.up(&world.b, &b, "");
    let (ta, told) = world.up_telling(&world.a, &a, "");
    deletes(&world, &ta, &told, || {
        pings(&world.a, "10.9.0.2");
        pings(&world.a, "fd00:9::2");
        pings(&world.b, "10.9.0.1");
    });
    assert!(world.a.run("ip link show ta").contains("mtu 1380"));
    assert!(world.a.run("ip route get 203.0.113.9").contains("dev ta"));
    assert_eq!(show("ta")["mtu"], 1380);
    crate::support::adit("tunnel reload ta");
    crate::support::adit("tunnel down ta");
    let state = world.a.state();
    assert!(!state.contains("suppress_prefixlength") && !state.contains(" ta "), "{state}");
}

/// The same with a switch behind a TAP that is the port of a bridge.
#[test]
fn a_deleted_tap_is_recreated() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let file = |name: &str, own: &Keys, other: &Keys, more: &str, peer: &str| -> PathBuf {
        let text = format!(
            "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\n{more}\n[[peer]]\n\
             public_key = \"{}\"\nmode = \"tap\"\n{peer}\n",
            own.private, other.public
        );
        world.write(name, &text)
    };
    world.a.run("ip link add br0 type bridge");
    world.a.run("ip link set br0 up");
    world.a.run("ip addr add 10.9.0.1/24 dev br0");
    let endpoint = "endpoint = \"192.0.2.2:51820\"";
    let a = file("ta.toml", &ka, &kb, "master = \"br0\"", endpoint);
    let b = file("tb.toml", &kb, &ka, "addresses = [\"10.9.0.2/24\"]", "");
    let _tb = world.up(&world.b, &b, "");
    let (ta, told) = world.up_telling(&world.a, &a, "");
    deletes(&world, &ta, &told, || pings(&world.a, "10.9.0.2"));
    assert!(world.a.run("ip link show ta").contains("master br0"));
}

/// Who may only use a device that was made for him cannot make another one; and who deletes it twice
/// within a second means it.
#[test]
fn a_device_that_cannot_be_recreated_ends_the_tunnel() {
    let world = World::new();
    let lines = "Table = off\nMTU = 1400";
    let text = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().filter(|line| !line.starts_with("Address")).collect::<Vec<_>>().join("\n")
    };
    let (a, _) = world.pair("192.0.2.2:51820", [(lines, ""), ("", "")]);
    world.write("ta.conf", &text(&a));
    run(&format!(
        "{} -n {} dev add ta --mode tun --user root --mtu 1400 --up",
        crate::support::ADIT,
        world.a.path()
    ));
    let told = world.folder.join("told");
    let mut command = bare("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
    command.args([crate::support::ADIT, "-n", &world.a.path(), "tunnel", "up"]).arg(&a);
    command.stderr(std::fs::File::create(&told).unwrap());
    let mut ta = Running(command.spawn().unwrap());
    let text = || std::fs::read_to_string(&told).unwrap();
    wait_for("it is up", || text().lines().any(|line| line == "up"));
    world.a.run("ip link del ta");
    wait_for("it ends", || ta.0.try_wait().unwrap().is_some());
    assert_eq!(ta.0.wait().unwrap().code(), Some(7), "{}", text());
    assert!(text().contains("is gone: it was deleted, and cannot be recreated: "), "{}", text());

    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let (mut ta, told) = world.up_telling(&world.a, &a, "");
    wait_for("it ends", || {
        let _ = world.a.succeeds("ip link del ta");
        ta.0.try_wait().unwrap().is_some()
    });
    assert_eq!(ta.0.wait().unwrap().code(), Some(7));
    assert!(std::fs::read_to_string(told).unwrap().contains("is gone: it was deleted"));
}
