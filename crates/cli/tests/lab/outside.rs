//! What a lab is joined to on its host: interfaces, persistent TAPs, a switch, ns-3.

use crate::live::{Holder, Lab, find, user_of, wait_until};
use crate::support::{ADIT, bare, command, enter, run, text};
use std::process::{Child, Stdio};

/// A program that ends with the test.
struct Started(Child);

impl Started {
    fn new(words: &[&str]) -> Self {
        let mut command = bare(words[0]);
        command.args(&words[1..]).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const OUTSIDE: &str = r#"
name = "lab"
[host.a]
address = "192.0.2.1/24"
[switch.s]
[outside.card]
port = "dev:eth9"
[outside.kept]
port = "tap:keep0"
[[link]]
ends = ["a", "s"]
[[link]]
ends = ["card", "s"]
[[link]]
ends = ["kept", "s"]
delay = "20ms"
"#;

#[test]
fn an_interface_and_a_persistent_tap_of_the_host_are_nodes() {
    enter();
    run("ip netns add far");
    run("ip link add eth9 type veth peer name eth0 netns far");
    run("ip link set eth9 up");
    run("ip -n far link set eth0 up");
    run("ip -n far address add 192.0.2.9/24 dev eth0");
    run("ip tuntap add keep0 mode tap");
    run("ip link set keep0 up");
    run("ip address add 192.0.2.8/24 dev keep0");
    let lab = Lab::up_as("lab", OUTSIDE, Vec::new());
    assert_eq!(lab.json("show").0, Some(0), "{}", lab.show());
    run("ip netns exec far ping -c 1 -w 30 192.0.2.1");
    let ping = lab.sh("a", "ping -c 3 -i 0.2 -w 30 192.0.2.8");
    let best = ping.split("mdev = ").nth(1).unwrap().split('/').next().unwrap();
    assert!(best.parse::<f64>().unwrap() >= 40.0, "its link is emulated: {ping}");

    lab.lab("fail card-s");
    let lost = lab.adit(&["lab", "exec", "a", "--", "ping", "-c", "1", "-W", "1", "192.0.2.9"]);
    assert_eq!(lost.status.code(), Some(1));
    lab.lab("heal card-s");
    run("ip netns exec far ping -c 1 -w 30 192.0.2.1");

    // The interface goes: an event, and the rest continues.
    run("ip link del eth9");
    wait_until("its link is down", || find(&lab.show()["links"], "card-s")["state"] == "down");
    let problems = lab.show()["problems"].to_string();
    assert!(problems.contains("link card-s has no end at card: it was deleted"), "{problems}");
    lab.sh("a", "ping -c 1 -w 30 192.0.2.8");
    lab.lab("down");
    assert!(run("ip link show keep0").contains("keep0"), "it stays");
    drop(lab);

    let up = command([ADIT, "lab", "up", "-d", "/run/lab.toml"]).output().unwrap();
    assert_eq!(up.status.code(), Some(4));
    assert!(text(&up.stderr).contains("cannot find eth9"), "{}", text(&up.stderr));
}

#[test]
fn a_lab_of_a_user_uses_its_own_tap_and_says_what_it_may_not_use() {
    enter();
    run("ip link add eth9 type veth peer name far");
    run("ip tuntap add keep0 mode tap user 0");
    run("ip link set keep0 up");
    run("ip address add 192.0.2.8/24 dev keep0");
    let holder = Holder::user_4711();
    let lab = Lab { name: "lab", before: user_of(&holder) };
    std::fs::write("/run/lab.toml", OUTSIDE).unwrap();
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    let error = text(&up.stderr);
    assert_eq!(up.status.code(), Some(3), "{error}");
    for part in ["permission denied to use 'dev:eth9' of the host as 'card'", "as root", "tap:NAME"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    drop(lab);

    let file = "name = 'lab'\n[host.a]\naddress = '192.0.2.1/24'\n[outside.kept]\nport = 'tap:keep0'\n\
                [[link]]\nends = ['a', 'kept']\n";
    let lab = Lab::up_as("lab", file, user_of(&holder));
    run("ping -c 1 -w 30 192.0.2.1");
    lab.lab("down");
    assert!(run("ip link show keep0").contains("keep0"), "it stays");
}

#[test]
fn a_lab_and_a_running_switch_join() {
    enter();
    run("ip netns add far");
    let switch =
        ["switch", "--name", "sw", "--port", "tap:t0,netns=far", "--port", "unix:/run/sw.port"];
    let words: Vec<&str> = [ADIT].into_iter().chain(switch).collect();
    let running = Started::new(&words);
    wait_until("the switch listens", || std::path::Path::new("/run/sw.port").exists());
    run("ip -n far address add 192.0.2.9/24 dev t0");
    let file = "name = 'lab'\n[host.a]\naddress = '192.0.2.1/24'\n[switch.s]\n[outside.sw]\n\
                port = 'unix:/run/sw.port,connect'\n[[link]]\nends = ['a', 's']\n[[link]]\nends = ['s', 'sw']\n\
                delay = '20ms'\n";
    let lab = Lab::up_as("lab", file, Vec::new());
    run("ip netns exec far ping -c 1 -w 30 192.0.2.1");
    let learned = text(&command([ADIT, "switch", "fdb", "--name", "sw"]).output().unwrap().stdout);
    let mac = find(&lab.show()["nodes"], "a")["interfaces"][0]["mac"].clone();
    assert!(learned.contains(mac.as_str().unwrap()), "{learned}");
    // The switch ends: an event, and the lab continues.
    drop(running);
    wait_until("the link is down", || find(&lab.show()["links"], "s-sw")["state"] == "down");
    lab.lab("down");

    // The other way round the lab listens, and a switch that starts later connects.
    let file = file.replace("unix:/run/sw.port,connect", "unix:/run/lab.port");
    std::fs::write("/run/lab.toml", file).unwrap();
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    assert_eq!(up.status.code(), Some(1), "nobody has connected yet: {}", text(&up.stderr));
    for _ in 0..2 {
        let switch =
            ["switch", "--port", "tap:t1,netns=far", "--port", "unix:/run/lab.port,connect"];
        let words: Vec<&str> = [ADIT].into_iter().chain(switch).collect();
        let _running = Started::new(&words);
        wait_until("the link is up", || find(&lab.show()["links"], "s-sw")["state"] == "up");
        run("ip -n far address add 192.0.2.9/24 dev t1");
        run("ip netns exec far ping -c 1 -w 30 192.0.2.1");
    }
}

#[test]
fn a_tap_bridge_of_ns3_joins_a_lab() {
    let is_there = std::path::Path::new("/usr/include/ns3/tap-bridge.h").exists()
        && command(["which", "g++"]).output().unwrap().status.success();
    if !is_there {
        let is_required = std::env::var("ADIT_REQUIRE")
            .is_ok_and(|what| what.split(',').any(|word| word == "interop"));
        assert!(!is_required, "install g++ and libns3-dev");
        println!("skipped: needs g++ and libns3-dev");
        return;
    }
    enter();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/tapbridge.cc");
    let libraries = "-lns3-tap-bridge -lns3-csma -lns3-internet -lns3-network -lns3-core";
    // The headers of ns-3 3.44 need C++20, and with those of 3.37 a compiler refuses it.
    let compiles = |standard: &&str| {
        let line = format!("g++ -std={standard} -O0 -o /run/tapbridge {source} {libraries}");
        command(["sh", "-c", &line]).output().unwrap().status.success()
    };
    assert!(["c++17", "c++20"].iter().any(compiles), "{source} does not compile");
    run("ip tuntap add ns3 mode tap");
    run("ip link set ns3 up");
    let file = "name = 'lab'\n[host.a]\naddress = '192.0.2.1/24'\n[switch.s]\n[outside.ns3]\nport = 'dev:ns3'\n\
                [[link]]\nends = ['a', 's']\n[[link]]\nends = ['s', 'ns3']\n";
    let lab = Lab::up_as("lab", file, Vec::new());
    for (mode, address) in [("UseBridge", "192.0.2.2"), ("UseLocal", "192.0.2.3")] {
        let _ns3 = Started::new(&["/run/tapbridge", mode, "ns3", address, "300"]);
        lab.sh("a", &format!("ping -c 1 -w 60 {address}"));
    }
    lab.lab("down");
    assert!(run("ip link show ns3").contains("ns3"), "it stays");
}
