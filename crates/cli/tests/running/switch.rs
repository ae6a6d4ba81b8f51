//! `adit switch` and those who ask it.

use crate::program::{
    Ended, Program, address, debris, eventually, hosts, is_cut_off, reaches, try_run,
};
use crate::support::{adit, adit_json, parse, refused, run, validate};
use serde_json::json;

/// A switch with two hosts that reach each other.
fn bridge(more: &str) -> Program {
    hosts(&["na", "nb"]);
    let line = format!("switch --port tap:a,netns=na --port tap:b,netns=nb {more}");
    let program = Program::start(&line);
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    program
}

#[test]
fn two_taps_and_no_flags_are_a_bridge() {
    let mut program = bridge("");
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(debris(), ["switch.lock", "switch.sock"]);
    assert_eq!(adit("switch stop"), "'switch' stopped\n");
    assert!(program.wait().success());
    assert_eq!(debris(), [""; 0]);
    assert_eq!(run("ip -n na -br link show type tun"), "", "the devices went with it");
}

#[test]
fn a_switch_is_asked_and_changed_while_it_runs() {
    let _program = bridge("--name lab");
    assert!(reaches("na", "192.0.2.2"));
    let show = adit_json("switch show");
    assert_eq!((&show["name"], &show["fdb_entries"]), (&json!("lab"), &json!(2)));
    assert_eq!(show["ports"][0]["state"], "forwarding");
    assert!(show["ports"][0]["ingress"]["frames"].as_u64().unwrap() > 0);
    let fdb = adit_json("switch fdb --name lab");
    assert_eq!((&fdb[0]["kind"], fdb.as_array().unwrap().len()), (&json!("dynamic"), 2));

    // A third host, in a VLAN of its own at first.
    run("ip netns add nc");
    assert_eq!(adit("switch port add tap:c,netns=nc,vlan=20"), "tap:c added\n");
    address("nc", "c", "192.0.2.3/24");
    assert!(is_cut_off("na", "192.0.2.3"));
    assert_eq!(adit_json("switch show c")[0]["vlan"], json!({"mode": "access", "vlan": 20}));
    adit("switch set c vlan=any");
    assert!(reaches("na", "192.0.2.3"));
    adit("switch set tap:c isolated guard-ip=192.0.2.3");
    let port = &adit_json("switch show tap:c")[0];
    assert_eq!((&port["isolated"], &port["guard"]["ip"]), (&json!(true), &json!(["192.0.2.3/32"])));
    // What was set can be taken away.
    let all =
        "guard-ip=192.0.2.3 guard-mac=02:00:00:00:00:09 storm-broadcast=9 vlan=7 split-horizon=3";
    assert_eq!(adit(&format!("switch set c {all}")), "tap:c changed\n");
    assert_eq!(adit(&format!("switch set c {all}")), "nothing changed\n");
    let none: Vec<String> =
        all.split(' ').map(|word| format!("{}=none", word.split('=').next().unwrap())).collect();
    adit(&format!("switch set c isolated=off {}", none.join(" ")));
    let port = adit_json("switch show c")[0].clone();
    let guard = json!({"mac": [], "ip": [], "arp": false, "nd": false, "dhcp": false, "ra": false});
    assert_eq!((&port["guard"], &port["storm"]), (&guard, &json!({})), "{port}");
    assert_eq!((&port["isolated"], &port["split_horizon"]), (&json!(false), &json!(null)));
    assert_eq!(port["vlan"], json!({"mode": "any"}));
    assert_eq!(adit("switch port del c"), "tap:c removed\n");
    assert!(is_cut_off("na", "192.0.2.3"));

    // The UDP port of VXLAN and the port itself are two keys of one name.
    let vxlan = "vxlan:127.0.0.9,vni=7,port=8472";
    assert_eq!(adit(&format!("switch port add {vxlan},vlan=20")), "vxlan:127.0.0.9 added\n");
    assert_eq!(adit_json("switch show vxlan:127.0.0.9")[0]["port"], vxlan);
    assert_eq!(adit("switch port del vxlan:127.0.0.9"), "vxlan:127.0.0.9 removed\n");

    adit("switch set ageing=60s moves-per-second=9");
    let show = adit_json("switch show");
    assert_eq!((&show["ageing_s"], &show["moves_per_second"]), (&json!(60.0), &json!(9)));
    adit("switch fdb add 02:00:00:00:00:77 a --vlan 7");
    let fdb = adit_json("switch fdb");
    let entry = fdb.as_array().unwrap().iter().find(|e| e["mac"] == "02:00:00:00:00:77").unwrap();
    assert_eq!(
        *entry,
        json!({"mac": "02:00:00:00:00:77", "vlan": 7, "port": "tap:a", "kind": "static"})
    );
    adit("switch fdb del 02:00:00:00:00:77 --vlan 7");
    assert!(adit("switch fdb flush --port a").contains("addresses removed"));
    assert!(adit("switch list").contains("lab"));
    assert!(adit("switch show lab").starts_with("lab (pid "));
    assert!(adit("switch show lab tap:a").contains("tap:a") && adit("switch ls").contains("lab"));
    let list = adit("ls");
    assert!(list.contains("lab   switch  ") && list.contains("/run/adit/lab.sock"), "{list}");
}

#[test]
fn reports_are_valid_by_their_schema() {
    let mut program = bridge("--mirror /run/all.pcapng,truncate=64");
    assert!(reaches("na", "192.0.2.2"));
    let mut outputs = vec![
        ("switch-show", adit("-j switch show")),
        ("switch-show-port", adit("-j switch show a")),
        ("switch-fdb", adit("-j switch fdb")),
        ("running", adit("-j switch list")),
        ("list", adit("-j list")),
        ("done", adit("-j switch set a trunk=10+20-29 native=1")),
        ("switch-show-port", adit("-j switch show a")),
        ("done", adit("-j switch set a tunnel=5 guard-arp storm-broadcast=5 split-horizon=3")),
        ("done", adit("-j switch set b netem=delay=1ms+loss=1%")),
        ("switch-show", adit("-j switch show")),
        ("done", adit("-j switch port add tap:c")),
        ("done", adit("-j switch port del c")),
        ("done", adit("-j switch reload")),
        ("error", refused("-j switch set a vlan=5000").1),
        ("error", refused("-j switch port add tap:d,vlna=5").1),
    ];
    run("ip -n nb link del dev b");
    program.wait_for("port-gone");
    outputs.push(("done", adit("-j switch stop")));
    assert!(program.wait().success());
    program.count("");
    outputs.extend(program.seen.iter().map(|event| ("events", event.to_string())));
    assert!(outputs.len() > 18);
    validate(&outputs);
}

#[test]
fn errors_are_reported_and_change_nothing() {
    let _program = bridge("");
    let before = adit_json("switch show")["ports"].clone();
    for (line, status, part) in [
        ("switch set a vlan=5000", 2, "from 1 to 4094"),
        ("switch set a vlna=5", 2, "`vlan`"),
        ("switch set nosuch vlan=5", 4, "tap:a, tap:b"),
        ("switch set ageing=5", 2, "or `5s`?"),
        ("switch set loop-guard=maybe", 2, "on or off"),
        ("switch set a", 2, "nothing to change for 'a'"),
        ("switch set a netem=nosuch", 2, "keys such as `delay=20ms"),
        ("switch port add stdio", 2, "unix:PATH"),
        ("switch set fdb-limit=7", 2, "cannot change while"),
        ("switch port add tap:a", 5, "already"),
        ("switch port add tpa:c", 2, "tap:NAME"),
        ("switch port add dev:nosuch", 4, "nosuch"),
        ("switch port del nosuch", 4, "nosuch"),
        ("switch fdb add 01:00:5e:00:00:01 a", 7, "group"),
        ("switch fdb del 02:00:00:00:00:77", 4, "not in the table"),
        ("switch show --name nosuch", 4, "nosuch"),
        ("netem show --name switch", 5, "Ask it by 'adit switch ...'"),
        ("netem show", 4, "no netem"),
        ("switch --port tap:z --mirror /nosuch/all.pcapng", 4, "Create the directory first"),
    ] {
        let (exit, errors) = refused(line);
        assert_eq!(exit, status, "{line}: {errors}");
        assert!(errors.contains(part), "{line}: {errors}");
    }
    let after = adit_json("switch show")["ports"].clone();
    for at in 0..2 {
        for key in ["name", "port", "state", "vlan", "guard", "storm", "isolated"] {
            assert_eq!(before[at][key], after[at][key], "{key}");
        }
    }
}

#[test]
fn packets_in_the_link_of_a_removed_port_are_reported_as_lost() {
    let mut program = bridge("--seed 7");
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(adit_json("switch show")["seed"], 7);
    for off in ["switch set a netem=none", "switch port del a"] {
        // So slow that nothing comes through.
        adit("switch set a netem=delay=1h");
        assert!(adit("switch show").contains("emulated links: seed 7"));
        try_run("ip netns exec na ping -q -c 5 -i 0.01 -W 1 192.0.2.2");
        let link = adit_json("switch show a")[0]["link"]["ingress"]["counts"].clone();
        assert!(link["held"].as_u64().unwrap() >= 1, "{link}");
        adit(off);
        let told = program.wait_for("link-ended");
        validate(&[("events", told.to_string())]);
        let counts = &told["link"]["ingress"]["counts"];
        assert_eq!((&counts["delivered"], &counts["held"]), (&json!(0), &json!(0)), "{counts}");
        assert_eq!(counts["cleared"], counts["received"], "{counts}");
        assert!(counts["cleared"].as_u64() >= link["held"].as_u64(), "{counts}");
    }
}

#[test]
fn one_guest_of_many_is_shown_and_sent_away() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    let mut program = bridge("--port unix:/run/guests --port vxlan:127.0.0.2+127.0.0.3,vni=5");
    let guests = [1, 2].map(|_| {
        let guest = UnixStream::connect("/run/guests").unwrap();
        program.wait_for("port-added");
        guest
    });
    assert_eq!(adit_json("switch show unix:/run/guests").as_array().unwrap().len(), 3);
    let shown = adit_json("switch show unix:/run/guests#1");
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["name"], "unix:/run/guests#1");
    assert_eq!(adit("switch port del unix:/run/guests#1"), "unix:/run/guests#1 removed\n");
    let mut rest = Vec::new();
    guests.first().unwrap().read_to_end(&mut rest).unwrap();
    let names: Vec<String> = adit_json("switch show unix:/run/guests")
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["unix:/run/guests", "unix:/run/guests#2"]);
    let (exit, errors) = refused("switch port del vxlan:127.0.0.3,vni=5");
    assert!(exit == 5 && errors.contains("goes only with"), "{errors}");
}

#[test]
fn guests_beyond_the_limit_are_reported_once_a_second() {
    use std::os::unix::net::UnixDatagram;
    let mut program = bridge("--port unix:/run/guests,type=dgram");
    let mut guest = |number: usize| {
        let guest = UnixDatagram::bind(format!("/run/guest{number}")).unwrap();
        guest.send_to(&[0xff; 60], "/run/guests").unwrap();
        guest
    };
    let guests: Vec<UnixDatagram> = (0..512).map(&mut guest).collect();
    eventually("all of them have a port", || {
        program.count("port-added");
        program.seen.len() >= 512
    });
    let begin = std::time::Instant::now();
    let more = guest(512);
    for _ in 0..5000 {
        more.send_to(&[0xff; 60], "/run/guests").unwrap();
    }
    let told = program.wait_for("failed");
    assert!(told["message"].as_str().unwrap().contains("has 512 guests"), "{told}");
    eventually("all was read", || adit_json("switch show")["strangers"].is_number());
    let events = program.count("failed");
    let seconds = begin.elapsed().as_secs();
    assert!(u64::try_from(events).unwrap() <= seconds + 1, "{events} in {seconds} s");
    drop(guests);
}

#[test]
fn a_large_table_comes_in_pages_and_can_be_asked_for_a_part() {
    let _program = bridge("--fdb-limit 30000 --port unix:/run/guests,type=dgram,fdb-limit=30000");
    let guest = std::os::unix::net::UnixDatagram::bind("/run/guest").unwrap();
    for number in 0..20_000u16 {
        let [high, low] = number.to_be_bytes();
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 1, high, low, 0x88, 0xb5]);
        frame.resize(60, 0);
        guest.send_to(&frame, "/run/guests").unwrap();
    }
    let count = |line: &str| adit_json(line).as_array().unwrap().len();
    eventually("all are in the table", || {
        adit_json("switch show")["fdb_entries"].as_u64().unwrap() >= 20_000
    });
    assert!(count("switch fdb") >= 20_000);
    assert_eq!(count("switch fdb --port unix:/run/guests#1"), 20_000);
    assert_eq!(count("switch fdb --port unix:/run/guests --vlan 7"), 0);
    let one = adit_json("switch fdb --mac 02:00:00:01:4e:1f");
    assert_eq!(one[0]["port"], "unix:/run/guests#1");
    assert_eq!(one.as_array().unwrap().len(), 1);
    for (line, part) in [
        ("switch fdb --port nosuch", "tap:a, tap:b"),
        ("switch fdb --mac 02:00", "MAC address"),
        ("switch fdb --vlan 5000", "4094"),
    ] {
        let (_, errors) = refused(line);
        assert!(errors.contains(part), "{line}: {errors}");
    }
    // No reply is as long as the table.
    let page = asked("GET /fdb");
    assert!(page["addresses"].as_array().unwrap().len() < 10_000);
    let next = page["next"].as_str().unwrap();
    let second = asked(&format!("GET /fdb?page={next}"));
    assert_ne!(second["addresses"], page["addresses"]);
}

#[test]
fn vlans_keep_hosts_apart() {
    hosts(&["na", "nb", "nc"]);
    let _program = Program::start(
        "switch --port tap:a,netns=na,vlan=10 --port tap:b,netns=nb,vlan=20 \
         --port tap:c,netns=nc,trunk=20+30,native=10",
    );
    for (number, name) in ["a", "b", "c"].iter().enumerate() {
        address(&format!("n{name}"), name, &format!("192.0.2.{}/24", number + 1));
    }
    assert!(reaches("na", "192.0.2.3"), "untagged on the trunk is VLAN 10");
    assert!(is_cut_off("na", "192.0.2.2"));
}

#[test]
fn a_second_one_of_a_name_is_refused_and_names_the_first() {
    let program = bridge("--name lab");
    let (exit, errors) = refused("switch --port tap:x --name lab");
    assert_eq!(exit, 5, "{errors}");
    assert!(errors.contains(&program.pid().to_string()), "{errors}");
    assert_eq!(run("ip -br link show type tun"), "", "it made no device");
    // Without a name each gets one of its own.
    let mut one = Program::start("switch --port tap:x");
    let mut two = Program::start("switch --port tap:y");
    assert_eq!(one.seen[0]["name"], "switch");
    assert_eq!(two.seen[0]["name"], "switch-2");
    let (exit, errors) = refused("switch show");
    assert!(exit == 2 && errors.contains("lab, switch, switch-2"), "{errors}");
    adit("switch stop --name switch");
    adit("switch stop --name switch-2");
    assert!(one.wait().success() && two.wait().success());
    assert!(adit("switch show").contains("lab"), "the only one is meant");
}

#[test]
fn a_mirror_is_a_recording() {
    let mut program =
        bridge("--mirror /run/arp.pcapng,ports=a,direction=ingress,ether-type=0x0806");
    run("ip netns exec na ping -c 1 -W 5 192.0.2.2");
    eventually("the frames are counted", || {
        adit_json("switch show")["mirrors"][0]["frames"].as_u64().unwrap() > 0
    });
    adit("switch stop");
    assert!(program.wait().success());
    let frames = run("tshark -n -r /run/arp.pcapng");
    assert!(frames.contains("Who has 192.0.2.2"), "{frames}");
    assert!(frames.lines().all(|line| line.contains(" ARP ")), "{frames}");
}

#[test]
fn a_port_may_have_a_recording_of_its_own() {
    let mut program = bridge("");
    adit("switch set a mirror=/run/a.pcapng");
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(adit_json("switch show")["mirrors"][0]["ports"], json!(["tap:a"]));
    adit("switch set a mirror=none");
    assert_eq!(adit_json("switch show")["mirrors"], json!([]));
    let frames = run("tshark -n -r /run/a.pcapng icmp");
    assert!(frames.contains("Echo (ping) request"), "{frames}");
    adit("switch port add tap:c,mirror=/run/c.pcapng");
    adit("switch port del c");
    assert_eq!(adit_json("switch show")["mirrors"], json!([]));
    adit("switch stop");
    assert!(program.wait().success());
}

#[test]
fn two_switches_are_joined_by_a_stream_and_end_with_it() {
    hosts(&["na", "nb"]);
    // As by ssh: standard input and output of one are those of the other.
    let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
    let start = |socket: std::os::unix::net::UnixStream, port: &str| {
        let fd = || std::os::fd::OwnedFd::from(socket.try_clone().unwrap());
        let mut command = crate::support::bare(crate::support::ADIT);
        command.args(["switch", "--port", "stdio", "--port", port]);
        Ended(command.stdin(fd()).stdout(fd()).spawn().unwrap())
    };
    let mut one = start(left, "tap:a,netns=na");
    let mut two = start(right, "tap:b,netns=nb");
    for (host, device, ip) in [("na", "a", "192.0.2.1/24"), ("nb", "b", "192.0.2.2/24")] {
        eventually("the device is there", || {
            try_run(&format!("ip -n {host} link show dev {device}")).0
        });
        address(host, device, ip);
    }
    assert!(reaches("na", "192.0.2.2"));
    run(&format!("kill -TERM {}", one.0.id()));
    assert!(one.0.wait().unwrap().success());
    assert!(two.0.wait().unwrap().success(), "its other end has gone");
    let (exit, errors) = refused("-j switch --port stdio --port tap:x");
    assert!(exit == 2 && errors.contains("standard output"), "{errors}");
}

#[test]
fn a_dry_run_prints_the_actions_and_performs_none() {
    hosts(&[]);
    let told = adit("--dry-run switch --port tap:a,vlan=10 --port tap:b --mirror /run/x.pcapng");
    assert!(told.contains("open tap:a\n") && told.contains("vlan 10\n"), "{told}");
    let told = adit(
        "--dry-run switch --port tap:a,group=daemon,split-horizon=2,guard-ip=192.0.2.1,guard-arp,\
         storm-broadcast=10,netem=delay=20ms",
    );
    for part in [
        "open tap:a,group=daemon\n",
        "tap:a: split horizon 2\n",
        "tap:a: guards: ip 192.0.2.1/32, arp\n",
        "tap:a: at most 10 broadcast frames a second\n",
        "tap:a: link in: delay=20ms\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = adit("--dry-run netem --port tap:a --port tap:b --delay 20ms");
    assert!(told.contains("a to b: delay=20ms"), "{told}");
    assert_eq!(run("ip -br link show type tun"), "");
    assert!(!std::path::Path::new("/run/x.pcapng").exists());
    assert_eq!(debris(), [""; 0]);
}

/// What comes of a request as curl makes it.
fn asked(request: &str) -> serde_json::Value {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect("/run/adit/switch.sock").unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    parse(text.split("\r\n\r\n").nth(1).unwrap())
}

#[test]
fn anybody_can_ask_with_curl() {
    let _program = bridge("");
    assert_eq!(asked("GET /ports/a")[0]["name"], "tap:a");
}

/// A switch with a `nat` port opens sockets in its sandbox, and another NAT; one without it refuses, and goes on.
#[test]
fn a_nat_port_works_in_the_sandbox_of_a_switch() {
    hosts(&["na", "nb"]);
    let switch = Program::start("switch --name sw --port tap:a,netns=na --port nat,allow-host=7");
    let _other = Program::start("switch --name lan --port tap:b,netns=nb");
    address("na", "a", "10.0.2.15/24");
    assert!(reaches("na", "10.0.2.2"));
    // Also not the thread that follows the name servers.
    let threads = std::fs::read_dir(format!("/proc/{}/task", switch.pid())).unwrap().flatten();
    for thread in threads {
        let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }
    let server = std::net::UdpSocket::bind("127.0.0.1:7").unwrap();
    server.set_read_timeout(Some(crate::program::PATIENCE)).unwrap();
    let send = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.0.2.2', 7))";
    for _ in 0..2 {
        let mut client =
            crate::support::command(["ip", "netns", "exec", "na", "python3", "-c", send]);
        assert!(client.status().unwrap().success());
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 1);
        adit("switch port del nat --name sw");
        adit("switch port add nat,allow-host=7 --name sw");
        assert!(reaches("na", "10.0.2.2"));
    }
    let _link = Program::start("netem --name slow --port tap:c,netns=nb --port nat,allow-host=7");
    address("nb", "c", "10.0.2.15/24");
    assert!(reaches("nb", "10.0.2.2"));
    let mut client = crate::support::command(["ip", "netns", "exec", "nb", "python3", "-c", send]);
    assert!(client.status().unwrap().success());
    assert_eq!(server.recv(&mut [0; 9]).unwrap(), 1);
    let (status, told) = refused("switch port add nat --name lan");
    assert!(status == 2 && told.contains("--sandbox off"), "{told}");
    assert!(adit("switch show lan").contains("tap:b"));
}
