//! A tunnel that is changed while it runs, and one that changes the host's routes.

use crate::support::{adit, adit_json, refused};
use crate::world::{Keys, World, of_peer, show, wait_for};
use std::process::Stdio;

/// One of two peers changes: the other loses no packet and keeps its session.
#[test]
fn a_reload_leaves_unchanged_peers_alone() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let other = |ip: &str, key: &str| format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {ip}\n");
    let (text, further) = (std::fs::read_to_string(&a).unwrap(), [Keys::new(), Keys::new()]);
    let with = |peers: &str| world.write("ta.conf", &format!("{text}{peers}"));
    with(&other("198.51.100.1/32", &further[0].public));
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    world.a.run("ping -n -c 1 -W 10 10.9.0.2");
    // No more than the sockets on the way have room for, should the machine stand still meanwhile.
    let mut ping = world.a.command("ping -n -i 0.01 -c 200 -w 100 10.9.0.2");
    let ping = ping.stdout(Stdio::piped()).spawn().unwrap();

    let counts = |reply: serde_json::Value| {
        ["added", "changed", "removed", "unchanged"].map(|name| reply[name].as_u64().unwrap())
    };
    with(&other("198.51.100.2/32", &further[0].public));
    assert_eq!(counts(adit_json("tunnel reload ta")), [0, 1, 0, 1]);
    assert!(world.a.run("ip route").contains("198.51.100.2 dev ta"));
    assert!(!world.a.run("ip route").contains("198.51.100.1 "));
    with(&other("198.51.100.3/32", &further[1].public));
    assert_eq!(counts(adit_json("tunnel reload ta")), [1, 0, 1, 1]);
    // A mistake changes nothing.
    with("[Peer]\nPublicKye = x\n");
    let (status, told) = refused("tunnel reload ta");
    assert!(status == 2 && told.contains("did you mean PublicKey?"), "{told}");
    assert_eq!(show("ta")["peers"].as_array().unwrap().len(), 2);
    with("");
    assert_eq!(counts(adit_json("tunnel reload ta")), [0, 0, 1, 1]);

    let output = crate::support::text(&ping.wait_with_output().unwrap().stdout);
    assert!(crate::support::lost_echoes(&output, 200).is_empty(), "{output}");
    let age = of_peer("ta", "handshake_age_s");
    assert!(age > 1.5, "the session is the first one: {age} s");
}

/// All traffic goes through the tunnel but its own; afterwards, and after a kill, all is as before.
#[test]
fn a_default_route_is_set_and_taken_back() {
    let world = World::new();
    let before = world.a.state();
    let more = [("", "AllowedIPs = 0.0.0.0/0, ::/0"), ("", "AllowedIPs = 0.0.0.0/0, ::/0")];
    let (a, b) = world.pair("192.0.2.2:51820", [more[0], ("Table = off", more[1].1)]);
    let tb = world.up(&world.b, &b, "");
    // Somewhere that only the tunnel leads to.
    for address in ["203.0.113.1/32", "2001:db8:9::1/128"] {
        world.b.run(&format!("ip addr add {address} dev lo"));
    }
    let check = || {
        assert!(world.a.run("ip route get 203.0.113.1").contains("dev ta"));
        assert!(world.a.run("ip route get 192.0.2.2 mark 51820").contains("dev ua"));
        world.a.run("ping -n -c 1 -W 10 203.0.113.1");
        world.a.run("ping -n -c 1 -W 10 2001:db8:9::1");
    };
    let ta = world.up(&world.a, &a, "");
    check();
    adit("tunnel down ta");
    drop(ta);
    assert_eq!(world.a.state(), before, "taken back");

    let ta = world.up(&world.a, &a, "");
    ta.kill();
    assert!(world.a.run("ip rule").contains("suppress_prefixlength"), "a kill leaves rules");
    let ta = world.up(&world.a, &a, "");
    check();
    assert_eq!(world.a.run("ip rule").matches("suppress_prefixlength").count(), 1);
    adit("tunnel down ta");
    drop((ta, tb));
    assert_eq!(world.a.state(), before, "nothing is left");
}

#[test]
fn hooks_run_without_a_shell_and_only_if_allowed() {
    let world = World::new();
    let touched = |name: &str| world.folder.join(name);
    let hook = |key: &str, name: &str| format!("{key} = touch {}-%i\n", touched(name).display());
    let hooks = [("PreUp", "pre"), ("PostUp", "post"), ("PreDown", "down"), ("PostDown", "gone")];
    let lines: String = hooks.iter().map(|(key, name)| hook(key, name)).collect();
    let (a, _) = world.pair("192.0.2.2:51820", [(&lines, ""), ("", "")]);
    let (status, told) = refused(&format!("-n {} tunnel up {}", world.a.path(), a.display()));
    assert!(status == 2 && told.matches("not allowed").count() == 4, "{told}");
    let ta = world.up(&world.a, &a, "--hooks run");
    assert!(touched("pre-ta").exists() && touched("post-ta").exists());
    assert!(!touched("down-ta").exists());
    adit("tunnel down ta");
    drop(ta);
    assert!(touched("down-ta").exists() && touched("gone-ta").exists());

    // A hook that fails: nothing is left.
    let before = world.a.state();
    let (a, _) = world.pair("192.0.2.2:51820", [("PostUp = false", ""), ("", "")]);
    let line = format!("-n {} tunnel up {} --hooks run", world.a.path(), a.display());
    assert!(refused(&line).1.contains("cannot run false"));
    assert_eq!(world.a.state(), before);
}

/// A name leads elsewhere after a while: it is asked for again when the peer is silent. When it leads nowhere
/// later, the address that was good last is kept.
#[test]
fn a_name_is_asked_for_again() {
    let world = World::new();
    let hosts = |ip: &str| world.write("hosts", &format!("127.0.0.1 localhost\n{ip} far.test\n"));
    let path = hosts("192.0.2.99");
    crate::support::run(&format!("mount --bind {} /etc/hosts", path.display()));
    let (a, b) = world.pair("far.test:51820", [("", "PersistentKeepalive = 1"), ("", "")]);
    let _tb = world.up(&world.b, &b, "");
    let (_ta, told) = world.up_telling(&world.a, &a, "--faster 10");
    wait_for("it is found", || show("ta")["peers"][0]["endpoint"] == "192.0.2.99:51820");
    assert_eq!(show("ta")["peers"][0]["endpoint_name"], "far.test:51820");
    hosts("192.0.2.2");
    wait_for("it is found elsewhere", || show("ta")["peers"][0]["endpoint"] == "192.0.2.2:51820");
    wait_for("it is connected", || show("ta")["peers"][0]["connected"] == true);
    world.write("hosts", "127.0.0.1 localhost\n");
    world.b.run("ip link set ub down");
    wait_for("it is not found", || {
        std::fs::read_to_string(&told).unwrap().contains("cannot resolve far.test")
    });
    assert_eq!(show("ta")["peers"][0]["endpoint"], "192.0.2.2:51820");
    world.b.run("ip link set ub up");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
}
