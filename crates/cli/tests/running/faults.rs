//! What happens when something goes: one event, no spin, the rest goes on, and nothing is left.

use crate::program::{Ended, Program, address, debris, eventually, hosts, reaches, try_run};
use crate::support::{ADIT, adit, adit_json, bare, run};
use std::fs;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn kill_at_any_time_and_start_again() {
    hosts(&["na", "nb"]);
    let line =
        "switch --name lab --port tap:a,netns=na --port tap:b,netns=nb --mirror /run/x.pcapng";
    for round in 0..40u64 {
        let mut child = bare(ADIT).args(line.split(' ')).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 2));
        child.kill().unwrap();
        child.wait().unwrap();
        for host in ["na", "nb"] {
            eventually("its devices went with it", || {
                run(&format!("ip -n {host} -br link show type tun")).is_empty()
            });
        }
        assert!(debris().iter().all(|name| name.starts_with("lab.")), "{:?}", debris());
    }
    let mut program = Program::start(line);
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(debris(), ["lab.lock", "lab.sock"]);
    program.signal("TERM");
    assert!(program.wait().success());
    assert_eq!(debris(), [""; 0]);
}

/// A killed program leaves the sockets of its ports; the next one of its name removes them, whatever ports it has itself.
#[test]
fn sockets_of_an_old_configuration_go_after_a_kill() {
    hosts(&[]);
    let sockets = || -> Vec<String> {
        let entries = fs::read_dir("/run/ports").unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let write = |ports: &[&str]| {
        let ports = ports.iter().map(|port| format!("[[port]]\nport = '{port}'\n"));
        fs::write("/run/lab.toml", format!("name = 'lab'\n{}", ports.collect::<String>())).unwrap();
    };
    fs::create_dir("/run/ports").unwrap();
    let (one, two) = ("unix:/run/ports/one", "unix:/run/ports/two,type=dgram");
    write(&[one, two, "tap:a"]);
    let line = "switch --config /run/lab.toml";
    let mut program = Program::start(line);
    write(&["unix:ports/three", two, "tap:a"]);
    program.signal("HUP");
    program.wait_for("reloaded");
    adit("switch port add unix:/run/ports/four --name lab");
    assert_eq!(sockets(), ["four", "three", "two"]);
    drop(program);
    assert_eq!(sockets(), ["four", "three", "two"]);
    // What is no dead socket stays.
    let listener = std::os::unix::net::UnixListener::bind("/run/ports/five").unwrap();
    fs::remove_file("/run/ports/four").unwrap();
    fs::write("/run/ports/four", "").unwrap();
    fs::remove_file("/run/ports/three").unwrap();
    fs::rename("/run/ports/five", "/run/ports/three").unwrap();
    write(&["tap:a"]);
    let program = Program::start(line);
    assert_eq!(sockets(), ["four", "three"]);
    drop((program, listener));
    for name in ["four", "three"] {
        fs::remove_file(format!("/run/ports/{name}")).unwrap();
    }
    // Links and NATs have such ports as well.
    for [first, second] in [
        [
            "netem --port unix:/run/ports/one --port tap:a --name lab",
            "netem --port tap:a --port tap:b --name lab",
        ],
        ["nat serve unix:/run/ports/one --name lab", "nat serve tap:a --name lab"],
    ] {
        drop(Program::start(first));
        assert_eq!(sockets(), ["one"]);
        let mut program = Program::start(second);
        assert_eq!(sockets(), [""; 0]);
        program.signal("TERM");
        assert!(program.wait().success());
        assert_eq!(debris(), [""; 0]);
    }
}

#[test]
fn a_persistent_tap_comes_back_after_a_kill() {
    hosts(&[]);
    run(&format!("{ADIT} dev add keep0 --mode tap --up"));
    let first = Program::start("switch --port tap:keep0 --port tap:b");
    drop(first);
    let _second = Program::start("switch --port tap:keep0 --port tap:b");
    assert_eq!(adit_json("switch show keep0")[0]["state"], "forwarding");
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    hosts(&[]);
    let (ok, _) = try_run(&format!("{ADIT} switch --port tap:a --port dev:nosuch"));
    assert!(!ok);
    assert_eq!(run("ip -br link show type tun"), "");
    assert_eq!(debris(), [""; 0]);
}

#[test]
fn a_deleted_device_is_one_event_and_the_rest_goes_on() {
    hosts(&["na", "nb", "nc"]);
    let mut program =
        Program::start("switch --port tap:a,netns=na --port tap:b,netns=nb --port tap:c,netns=nc");
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    address("nc", "c", "192.0.2.3/24");
    assert!(reaches("na", "192.0.2.3"));
    run("ip -n nc link del dev c");
    let gone = program.wait_for("port-gone");
    assert_eq!(gone["port"], "tap:c");
    assert!(reaches("na", "192.0.2.2"));
    let port = &adit_json("switch show c")[0];
    assert_eq!((&port["state"], port["reason"].is_string()), (&"gone".into(), true));
    assert!(port["ingress"]["frames"].as_u64() > Some(0), "its counters remain: {port}");
    // It can be had again.
    adit("switch port add tap:c,netns=nc");
    assert_eq!(adit_json("switch show c")[0]["state"], "forwarding");
    assert_eq!(program.count("port-gone"), 1);
}

#[test]
fn a_link_that_goes_down_and_up_is_reported() {
    hosts(&["na", "nb"]);
    let mut program = Program::start("switch --port tap:a,netns=na --port tap:b,netns=nb");
    run("ip -n nb link set dev b down");
    assert_eq!(program.wait_for("port-down")["port"], "tap:b");
    assert_eq!(adit_json("switch show b")[0]["state"], "down");
    run("ip -n nb link set dev b up");
    assert_eq!(program.wait_for("port-up")["port"], "tap:b");
}

#[test]
fn a_full_disk_ends_the_mirror_alone() {
    hosts(&["na", "nb"]);
    fs::create_dir("/run/small").unwrap();
    run("mount -t tmpfs -o size=64k none /run/small");
    let mut program = Program::start(
        "switch --port tap:a,netns=na --port tap:b,netns=nb --mirror /run/small/x.pcapng",
    );
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    try_run("ip netns exec na ping -q -c 200 -i 0.005 -s 1400 192.0.2.2");
    let ended = program.wait_for("mirror-ended");
    assert!(ended["reason"].as_str().unwrap().contains("No space"), "{ended}");
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(adit_json("switch show")["mirrors"], serde_json::json!([]));
    // Whole up to its last frame.
    let (ok, text) = try_run("tshark -n -r /run/small/x.pcapng");
    assert!(ok && text.lines().count() > 10, "{text}");
    assert_eq!(program.count("mirror-ended"), 1);
}

#[test]
fn a_loop_is_broken_and_reported() {
    hosts(&[]);
    // Two ports of the switch on one bridge of the kernel, which knows no better.
    run("ip link add br0 type bridge stp_state 0");
    run("ip link set dev br0 up");
    let mut program = Program::start("switch --port tap:a --port tap:b");
    run("ip link set dev a master br0");
    run("ip link set dev b master br0");
    // Addresses that move may be told of first.
    while !program.wait_for("news")["message"].as_str().unwrap().contains("blocked") {}
    eventually("one of them is blocked", || {
        let show = adit_json("switch show");
        (0..2).any(|at| {
            let reason = show["ports"][at]["reason"].as_str().unwrap_or_default();
            show["ports"][at]["state"] == "blocked"
                && reason.starts_with("a loop probe sent on tap:")
                && reason.ends_with(" arrived here: both are connected outside the switch")
        })
    });
}

#[test]
fn clients_that_sleep_hold_nothing_up() {
    hosts(&["na", "nb"]);
    let _program = Program::start("switch --port tap:a,netns=na --port tap:b,netns=nb");
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    let connect = || std::os::unix::net::UnixStream::connect("/run/adit/switch.sock").unwrap();
    let _sleepers: Vec<_> = (0..12).map(|_| connect()).collect();
    assert!(reaches("na", "192.0.2.2"));
    assert!(adit("switch show").contains("tap:a"));
}

#[test]
fn a_reader_of_events_that_sleeps_or_leaves_stops_no_packet() {
    hosts(&["na", "nb"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    // A full pipe, before the first event.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while std::io::Write::write(&mut writer, &[b' '; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut command = bare(ADIT);
    command.args(["-j", "switch", "--port", "tap:a,netns=na", "--port", "tap:b,netns=nb"]);
    let mut child = Ended(command.stdout(writer).spawn().unwrap());
    drop(command);
    for (host, device, ip) in [("na", "a", "192.0.2.1/24"), ("nb", "b", "192.0.2.2/24")] {
        eventually("the device is there", || {
            try_run(&format!("ip -n {host} link show dev {device}")).0
        });
        address(host, device, ip);
    }
    assert!(reaches("na", "192.0.2.2"));
    drop(reader);
    adit("switch port add tap:c");
    assert!(reaches("na", "192.0.2.2"));
    adit("switch stop");
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn a_storm_of_signals_ends_nothing_but_the_last_one_does() {
    hosts(&[]);
    fs::write("/run/lab.toml", "[[port]]\nport = 'tap:a'\n").unwrap();
    let mut program = Program::start("switch --config /run/lab.toml --port tap:b");
    for _ in 0..50 {
        program.signal("HUP");
        program.signal("USR1");
    }
    program.wait_for("reloaded");
    assert!(adit("switch show").contains("tap:a"));
    program.signal("TERM");
    assert!(program.wait().success());
}

/// Others may look, and follow what happens; the refusal of a change names who may.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_others_may_read_and_change_nothing() {
    hosts(&["na"]);
    let _program = Program::start("switch --port tap:a --port tap:b");
    let program = crate::support::adit_of_all();
    let as_other = |user: &str, words: &str| {
        try_run(&format!("setpriv {user} --inh-caps=-all {program} {words} --name switch"))
    };
    let nobody = "--reuid=65534 --regid=65534 --clear-groups";
    for words in ["switch show", "switch fdb"] {
        let (ok, text) = as_other(nobody, words);
        assert!(ok, "{words}: {text}");
    }
    for words in ["switch set tap:a vlan=10", "switch port del tap:a", "switch stop", "switch save"]
    {
        let (ok, text) = as_other(nobody, words);
        assert!(!ok && text.contains("permission denied") && text.contains("as root"), "{text}");
    }
    // A NAT in its sandbox lives on.
    let _nat = Program::start("nat attach na --sandbox require");
    for user in [nobody, "--reuid=65534 --regid=0 --clear-groups"] {
        let (ok, text) = try_run(&format!("setpriv {user} --inh-caps=-all {program} nat show nat"));
        assert!(ok, "{text}");
    }
    // A supplementary group counts as much as the first.
    let member = "--reuid=65534 --regid=65534 --groups=0";
    let (ok, text) = as_other(member, "switch set tap:a vlan=10");
    assert!(ok, "{text}");
    assert!(adit("switch show").contains("tap:b"));
}

/// A member of the socket's group may change the switch, and not make it open files with root's rights.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_member_of_the_group_names_no_file() {
    hosts(&[]);
    let _program = Program::start("switch --port tap:a --port tap:b");
    fs::write("/run/victim", "whole").unwrap();
    let program = crate::support::adit_of_all();
    let as_member = |words: &str| {
        let user = "setpriv --reuid=65534 --regid=0 --clear-groups --inh-caps=-all";
        try_run(&format!("{user} {program} {words} --name switch"))
    };
    for words in [
        "switch port add tap:c,mirror=/run/victim",
        "switch set tap:a mirror=/run/victim",
        "switch port add pcap:/run/victim",
        "switch port add unix:/run/victim",
        "switch port add tap:c,netns=/proc/1/ns/net",
        "switch set tap:a netem=./link.toml",
    ] {
        let (ok, text) = as_member(words);
        let is_refused = text.contains("permission denied to name") && text.contains("as root");
        assert!(!ok && is_refused, "{words}: {text}");
    }
    assert_eq!(fs::read_to_string("/run/victim").unwrap(), "whole");
    for words in ["switch set tap:a vlan=10", "switch set tap:a netem=lte", "switch show"] {
        let (ok, text) = as_member(words);
        assert!(ok, "{words}: {text}");
    }
    adit("switch set tap:b mirror=/run/recording");
    assert!(fs::exists("/run/recording").unwrap(), "root may");
}
