//! Exported scripts and routing daemons on the real kernel: each test has network, mount and PID namespaces of its
//! own, so that nothing is left of it.

#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_topology::export::script;
use adit_topology::file::of_source;
use adit_topology::model::Kind;
use adit_topology::plan::Plan;
use adit_topology::routing;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn plan(text: &str) -> Plan {
    let problems = Problems::default();
    let plan = of_source(&Source::new("lab.toml", text), &[], 1, &problems);
    problems.check("lab.toml").expect("the file is right");
    plan.expect("the lab has a plan").0
}

/// Runs `commands` where the network of `plan` is, with its programs, and returns their output.
fn run(plan: &Plan, commands: &str) -> String {
    let mut shell = "set -e\nmount -t tmpfs tmpfs /run\nmkdir /run/lab\n".to_owned();
    let mut file = |path: &str, text: &str| {
        writeln!(shell, "cat >'{path}' <<'TEXT-OF-FILE'\n{text}\nTEXT-OF-FILE").unwrap();
    };
    file("/run/lab/lab.sh", &script(plan));
    let mut starts = String::new();
    for node in &plan.lab.nodes {
        let Kind::Host(host) = &node.kind else { continue };
        if host.programs.is_empty() {
            continue;
        }
        // Each node has a /run of its own; the files come from that of the test.
        let folder = format!("/run/lab/{}", node.name);
        let mut start = "mount --bind /run/lab /mnt\nmount -t tmpfs tmpfs /run\n".to_owned();
        for (number, private) in host.files.iter().enumerate() {
            let path = private.path.display();
            file(&format!("{folder}.{number}"), &private.text);
            writeln!(start, "mkdir -p $(dirname {path})\ncp /mnt/{}.{number} {path}", node.name)
                .unwrap();
        }
        for program in &host.programs {
            let words =
                program.words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            writeln!(start, "{words} >>/mnt/log 2>&1 &").unwrap();
            writeln!(
                start,
                "for i in $(seq 100); do {} >/dev/null 2>&1 && break; sleep 0.1; done",
                program.ready.join(" ")
            )
            .unwrap();
        }
        file(&format!("{folder}.sh"), &start);
        writeln!(starts, "ip netns exec {} unshare -m sh {folder}.sh", node.name).unwrap();
    }
    shell += "sh /run/lab/lab.sh up\n";
    shell += &starts;
    shell += "until_ok() { for i in $(seq 60); do \"$@\" >/dev/null 2>&1 && return; sleep 0.5; done; cat /run/lab/log; \"$@\"; }\n";
    shell += commands;
    let mut child = Command::new("unshare")
        .args(["-nmpf", "--mount-proc", "--kill-child", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare is there");
    child.stdin.take().expect("it is a pipe").write_all(shell.as_bytes()).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shell}\n--- {}\n{text}\n{errors}", output.status);
    text
}

/// The first address of a family of a node.
fn address(plan: &Plan, node: &str, is_v6: bool) -> String {
    let station = plan.station(&node.parse().unwrap()).unwrap();
    let all = station.interfaces.iter().flat_map(|interface| &interface.addresses);
    let ip = all.map(|address| address.ip()).find(|ip| ip.is_ipv6() == is_v6);
    ip.unwrap_or_else(|| panic!("{node} has an address")).to_string()
}

fn ping(plan: &Plan, from: &str, to: &str) -> String {
    let [v4, v6] = [false, true].map(|is_v6| address(plan, to, is_v6));
    let one = |ip: &str| format!("until_ok ip netns exec {from} ping -c 1 -W 2 {ip}\n");
    one(&v4) + &one(&v6)
}

#[test]
fn an_exported_script_makes_the_network_and_removes_it() {
    let plan = plan(
        r#"
        name = "office"
        [host.pc]
        count = 2
        [host.server]
        sysctl = { "net.ipv4.ip_default_ttl" = "99" }
        run = ["sleep 1000"]
        [router.gw]
        [switch.lan]
        [nat.internet]
        [[link]]
        ends = ["pc", "lan"]
        [[link]]
        ends = ["gw", "lan"]
        [[link]]
        ends = ["gw", "server"]
        delay = "20ms"
        jitter = "1ms"
        [[link]]
        ends = ["gw", "internet"]
        "#,
    );
    let script = script(&plan);
    for part in [
        "# Not exported: jitter 1ms of link gw-server",
        "# Not exported: node internet: the way out through sockets of the host",
        "# Not exported: program sleep of server: sleep 1000",
        "# Not exported: link gw-internet",
        "emulate gw 'eth1' delay 20000us",
    ] {
        assert!(script.contains(part), "{part}\n--- in\n{script}");
    }
    assert!(!script.contains("stp_state"), "{script}");
    let commands = ping(&plan, "pc1", "server")
        + &ping(&plan, "server", "pc2")
        + "ip netns exec server sysctl -n net.ipv4.ip_default_ttl\nsh /run/lab/lab.sh down\nip netns list | wc -l\n";
    let mut bare = plan;
    for node in &mut bare.lab.nodes {
        if let Kind::Host(host) = &mut node.kind {
            host.programs.clear();
        }
    }
    assert_eq!(run(&bare, &commands), "99\n0\n");
}

#[test]
fn bridges_of_an_exported_loop_run_the_spanning_tree_protocol() {
    let plan = plan(
        r#"
        [host.h]
        [host.i]
        [switch.s]
        count = 3
        [switch.alone]
        [[link]]
        ends = ["h", "s1"]
        [[link]]
        ends = ["i", "s2"]
        [[link]]
        ends = ["s1", "s2"]
        [[link]]
        ends = ["s2", "s3"]
        [[link]]
        ends = ["s3", "s1"]
        [[link]]
        ends = ["h", "alone"]
        "#,
    );
    let script = script(&plan);
    assert_eq!(script.matches("stp_state 1").count(), 3, "{script}");
    let blocked =
        "for s in s1 s2 s3; do ip netns exec $s bridge link; done | grep -c 'state blocking'\n";
    assert_eq!(run(&plan, &(ping(&plan, "h", "i") + blocked)), "1\n");
}

const CHAIN: &str = r#"
    [router.r]
    count = 5
    routing = "DAEMON:PROTOCOL"
    [host.a]
    [host.b]
    [[link]]
    ends = ["a", "r1"]
    [[link]]
    ends = ["r1", "r2"]
    [[link]]
    ends = ["r2", "r3"]
    [[link]]
    ends = ["r3", "r4"]
    [[link]]
    ends = ["r4", "r5"]
    [[link]]
    ends = ["r5", "b"]
"#;

/// Whether the daemons can be tested; where they are demanded, they must be there.
#[expect(clippy::print_stdout, reason = "a test says that it was skipped")]
fn has(paths: &[&str]) -> bool {
    let missing: Vec<_> =
        paths.iter().filter(|path| !std::path::Path::new(path).exists()).collect();
    if !missing.is_empty() {
        let required = std::env::var("ADIT_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "peers"), "not installed: {missing:?}");
        println!("skipped: not installed: {missing:?}");
    }
    missing.is_empty()
}

const BIRD: &str = "/usr/sbin/bird";

const FRR: &str = "/usr/lib/frr/zebra";

fn chain(daemon: &str, protocol: &str) {
    if !has(&[if daemon == "bird" { BIRD } else { FRR }]) {
        return;
    }
    let mut plan = plan(&CHAIN.replace("DAEMON", daemon).replace("PROTOCOL", protocol));
    routing::complete(&mut plan);
    let commands = ping(&plan, "a", "b") + "echo reached\n";
    assert_eq!(run(&plan, &commands), "reached\n");
}

#[test]
fn a_chain_of_bird_with_ospf_converges() {
    chain("bird", "ospf");
}

#[test]
fn a_chain_of_bird_with_bgp_converges() {
    chain("bird", "bgp");
}

#[test]
#[ignore = "FRR needs several users"]
fn root_a_chain_of_frr_with_ospf_converges() {
    chain("frr", "ospf");
}

#[test]
#[ignore = "FRR needs several users"]
fn root_a_chain_of_frr_with_bgp_converges() {
    chain("frr", "bgp");
}

const FABRIC: &str = include_str!("../fabric.toml");

/// Both paths are used; without carrier on one, the other one is.
fn fabric(text: &str) {
    if !has(if text.contains("frr") { &[BIRD, FRR] } else { &[BIRD] }) {
        return;
    }
    let mut plan = plan(text);
    routing::complete(&mut plan);
    let network = |is_v6: bool| {
        let station = plan.station(&"h2".parse().unwrap()).unwrap();
        let all = station.interfaces.iter().flat_map(|interface| &interface.addresses);
        let all = all.filter(|address| address.ip().is_ipv6() == is_v6);
        all.map(|address| address.network().to_string()).next().unwrap()
    };
    let [v4, v6] = [false, true].map(network);
    let commands = format!(
        "both() {{ [ $(ip -n leaf1 \"$1\" route show \"$2\" | grep -c via) = \"$3\" ]; }}\n\
         until_ok both -4 {v4} 2\nuntil_ok both -6 {v6} 2\n{}ip -n leaf1 link set eth0 down\n\
         until_ok both -4 {v4} 1\nuntil_ok both -6 {v6} 1\n{}echo around\n",
        ping(&plan, "h1", "h2"),
        ping(&plan, "h1", "h2"),
    );
    assert_eq!(run(&plan, &commands), "around\n");
}

#[test]
fn a_failed_link_of_a_fabric_of_bird_is_routed_around() {
    fabric(&FABRIC.replace("PROTOCOL", "bgp"));
}

#[test]
fn equal_paths_of_ospf_are_all_used() {
    fabric(&FABRIC.replace("PROTOCOL", "ospf"));
}

#[test]
#[ignore = "FRR needs several users"]
fn root_bird_and_frr_speak_bgp_to_each_other() {
    fabric(&FABRIC.replace("leaf = \"bird\"", "leaf = \"frr\"").replace("PROTOCOL", "bgp"));
}

#[test]
#[ignore = "FRR needs several users"]
fn root_bird_and_frr_speak_ospf_to_each_other() {
    fabric(&FABRIC.replace("leaf = \"bird\"", "leaf = \"frr\"").replace("PROTOCOL", "ospf"));
}
