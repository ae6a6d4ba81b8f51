//! The host's state while a tunnel runs: changed beside the loop, restored, and closed after a kill.

use crate::support::{adit, adit_json};
use crate::world::{Running, World, show, wait_for};
use adit_device::{Create, DeviceOptions, Mode};
use adit_service::host::stale::find_stale;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

const DEFAULT: (&str, &str) = ("", "AllowedIPs = 0.0.0.0/0, ::/0");

/// An nft that does this for each change; the PATH that finds it.
fn slow_nft(world: &World, script: &str) -> String {
    let program = world.folder.join("nft");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).mode(0o755).open(&program).unwrap();
    let script = format!("#!/bin/sh\n[ \"$1\" = list ] && exit\n{script}\n");
    std::io::Write::write_all(&mut { file }, script.as_bytes()).unwrap();
    format!("{}:{}", world.folder.display(), std::env::var("PATH").unwrap())
}

/// While nft hangs in a reload, packets cross, and requests are answered.
#[test]
fn packets_cross_while_a_reload_waits() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let path = slow_nft(&world, "sleep 4");
    let _tb = world.up(&world.b, &b, "");
    let log = std::fs::File::create(world.folder.join("log")).unwrap();
    let mut ta = crate::support::bare(crate::support::ADIT);
    ta.args(["-n", &world.a.path(), "tunnel", "up"]).arg(&a).env("PATH", path);
    let ta = ta.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _ta = Running(ta);
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));

    let text = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &format!("{text}{}\n", DEFAULT.1));
    let start = Instant::now();
    let mut reload = crate::support::command([crate::support::ADIT, "tunnel", "reload", "ta"]);
    let mut reload = Running(reload.stdout(Stdio::null()).spawn().unwrap());
    wait_for("the reload has begun", || {
        world.a.run("ip route show table all").contains("unreachable")
    });
    world.a.run("ping -n -q -c 50 -i 0.02 -W 1 10.9.0.2");
    assert_eq!(show("ta")["peers"][0]["connected"], true);
    assert!(start.elapsed().as_secs() < 8, "it was answered before the reload ended");
    assert!(reload.0.try_wait().unwrap().is_none(), "nft hangs");
    wait_for("the reload ends", || reload.0.try_wait().unwrap().is_some());
    assert!(reload.0.wait().unwrap().success());
    assert!(world.a.run("ip route get 203.0.113.1").contains("dev ta"));
}

/// Ctrl-C in a terminal signals the whole process group: a change that nft has begun is completed.
#[test]
fn ctrl_c_ends_no_helper_in_the_middle_of_a_change() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let path = slow_nft(&world, "echo begun >> $0.log; sleep 0.3; echo ended >> $0.log");
    let log = || std::fs::read_to_string(world.folder.join("nft.log")).unwrap_or_default();
    let before = world.a.state();
    let up = || {
        let mut ta = crate::support::bare(crate::support::ADIT);
        ta.args(["-n", &world.a.path(), "tunnel", "up"]).arg(&a).env("PATH", &path);
        ta.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(ta.process_group(0).spawn().unwrap())
    };
    let ctrl_c = |mut ta: Running| {
        wait_for("nft has begun", || log().contains("begun"));
        crate::support::run(&format!("kill -INT -- -{}", ta.pid()));
        wait_for("it ends", || ta.0.try_wait().unwrap().is_some());
        let count = |word| log().matches(word).count();
        assert_eq!(count("begun"), count("ended"), "{}", log());
        assert_eq!(world.a.state(), before);
    };
    let ta = up();
    wait_for("it is up", || world.a.has_link("ta") && Path::new("/run/adit/ta.sock").exists());
    let text = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &format!("{text}{}\n", DEFAULT.1));
    let mut reload = crate::support::command([crate::support::ADIT, "tunnel", "reload", "ta"]);
    let _reload = Running(reload.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    ctrl_c(ta);
    // The same while it starts.
    std::fs::remove_file(world.folder.join("nft.log")).unwrap();
    ctrl_c(up());
}

/// What others remove from the host is there again soon, and it is reported.
#[test]
fn settings_that_others_remove_are_restored() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [DEFAULT, ("Table = off", DEFAULT.1)]);
    let _tb = world.up(&world.b, &b, "");
    let (_ta, log) = world.up_telling(&world.a, &a, "");
    let before = world.a.state();
    world.a.run("ip link set ta down");
    world.a.run("ip link set ta up");
    wait_for("routes and addresses are there", || world.a.state() == before);
    let log = || std::fs::read_to_string(&log).unwrap();
    assert!(log().contains("warning: restored what was removed from the host: "), "{}", log());
    for family in ["-4", "-6"] {
        world.a.run(&format!("ip {family} rule del lookup 51820"));
    }
    world.a.run("ip addr del 10.9.0.1/24 dev ta");
    wait_for("rules and the address are there", || world.a.state() == before);
    let tables = world.a.run("nft list tables");
    world.a.run("nft flush ruleset");
    wait_for("the packet filter is there", || world.a.run("nft list tables") == tables);

    // A device that is down stays down: `show` says what is missing.
    world.a.run("ip link set ta down");
    wait_for("it is shown", || show("ta")["missing"][0] == "the device ta is down");
    let reply = adit_json("tunnel reload ta");
    assert_eq!((reply["unchanged"].as_u64(), world.a.state()), (Some(1), before));
    assert!(show("ta").get("missing").is_none());
    assert!(log().lines().count() < 12, "{}", log());
}

/// A packet filter is stale when nobody has the device that it is named after, whatever the carrier of that is.
#[test]
fn a_filter_is_stale_when_nobody_has_its_device() {
    let world = World::new();
    for (device, several, is_up) in [("tone", false, true), ("tmany", true, false)] {
        let more = if several { " multi_queue" } else { "" };
        world.a.run(&format!("ip tuntap add dev {device} mode tun{more}"));
        world.a.run(&format!("nft add table ip adit-{device}"));
        let is_stale = || {
            let actions = world.a.within(|| find_stale(None, None).unwrap());
            actions.iter().any(|it| it.to_string() == format!("nft delete table ip adit-{device}"))
        };
        if is_up {
            world.a.run(&format!("ip link set {device} up"));
        }
        assert!(is_stale(), "nobody has {device}");
        let options = DeviceOptions::new(Mode::Tun).name(device.parse().unwrap());
        let options = options.multi_queue(several).create(Create::Attach);
        let held = world.a.within(|| options.open().unwrap());
        held.set_carrier(false).unwrap();
        assert!(!is_stale(), "{device} has no carrier, but this process");
        drop(held);
        assert!(is_stale(), "nobody has {device} any more");
        world.a.run(&format!("ip tuntap del dev {device} mode tun{more}"));
    }
}

/// After a kill no packet leaves outside of the tunnel; any start removes what is left.
#[test]
fn a_killed_tunnel_leaks_nothing_and_is_cleaned_up_by_any_other() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [DEFAULT, ("", "")]);
    let before = world.a.state();
    world.a.run("ip route add default via 192.0.2.2");
    let ta = world.up(&world.a, &a, "");
    ta.kill();
    for to in ["203.0.113.1", "2001:db8:9::1"] {
        assert!(!world.a.succeeds(&format!("ip route get {to}")), "{to}");
    }
    let plain = std::fs::read_to_string(&a).unwrap().replace(DEFAULT.1, "");
    let other = world.write("tc.conf", &plain);
    let tc = world.up(&world.a, &other, "");
    assert!(world.a.run("ip route get 203.0.113.1").contains("via 192.0.2.2"));
    assert_eq!(world.a.run("nft list tables"), "");
    adit("tunnel down tc");
    drop(tc);
    world.a.run("ip route del default via 192.0.2.2");
    assert_eq!(world.a.state(), before);
}
