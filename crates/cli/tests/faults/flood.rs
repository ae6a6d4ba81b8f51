//! Floods of well-formed frames: of addresses, of what a guard keeps out, in a loop.

use crate::program::{Program, eventually, reaches};
use crate::support::{adit, adit_json, command, run, text};
use crate::wire::{
    BROADCAST, Capture, OURS, Random, Wire, addresses, arrive, arrived, ask, dropped, frame,
    is_between, is_of_type, mac_of, memory, port, quiet_hosts,
};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A million of them, in two halves, and what is lost of them in the queue of the device is sent again.
const HALF: u64 = 500_000;

/// Pings that go on meanwhile.
fn pings(from: &str, to: &str, count: usize) -> Child {
    let line = format!("ip netns exec {from} ping -n -i 0.02 -c {count} -w 100 {to}");
    command(line.split(' ')).stdout(Stdio::piped()).spawn().unwrap()
}

/// All of them came back.
fn all_came_back(pings: Child, count: usize) {
    let output = text(&pings.wait_with_output().unwrap().stdout);
    assert!(crate::support::lost_echoes(&output, count).is_empty(), "{output}");
}

/// Sends so many frames from random addresses, and waits until the switch has seen them.
fn attack(wire: &Wire, random: &mut Random, known: [u8; 6], count: u64) {
    /// Less than the queue of the device takes.
    const CHUNK: u64 = 10_000;
    let mut seen = arrived("x");
    for _ in 0..count / CHUNK {
        for number in 0..CHUNK {
            // For a host, for nobody that anybody knows, and now and then for all.
            let to = match number % 1000 {
                0 => BROADCAST,
                1 => random.mac(),
                _ => known,
            };
            wire.send(&frame(to, random.mac(), OURS, &[]));
        }
        seen += CHUNK;
        arrive("x", seen);
    }
}

#[test]
fn a_million_source_addresses_leave_known_hosts_their_own() {
    let mut random = Random::new(1);
    quiet_hosts(&["na", "nb", "nc", "nx"]);
    let program = Program::start(
        "switch --port tap:a,netns=na --port tap:b,netns=nb --port tap:c,netns=nc \
         --port tap:x,netns=nx,txqueuelen=20000",
    );
    addresses("abcx");
    assert!(reaches("na", "192.0.2.2") && reaches("nc", "192.0.2.2"));
    let macs = [mac_of("na", "a"), mac_of("nb", "b")];
    let before = memory(program.pid());
    let capture = Capture::start("c", move |frame| is_between(frame, &macs));
    let (there, back) = (pings("na", "192.0.2.2", 250), pings("nb", "192.0.2.1", 250));

    // First the port may learn 1024 addresses, then as many as there is room for.
    let wire = Wire::open("nx", "x");
    attack(&wire, &mut random, macs[0], HALF);
    assert_eq!(port("x")["fdb_entries"], 1024);
    assert!(ask("switch", "GET /switch", "")["fdb_entries"].as_u64().unwrap() < 1100);
    adit("switch set x fdb-limit=1000000");
    attack(&wire, &mut random, macs[0], HALF);
    let show = ask("switch", "GET /switch", "");
    assert_eq!((&show["fdb_entries"], &show["fdb_limit"]), (&8192.into(), &8192.into()));

    all_came_back(there, 250);
    all_came_back(back, 250);
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    assert!(reaches("nc", "192.0.2.1"), "a third one has its traffic as well");
    let fdb = adit_json("switch fdb");
    assert_eq!(fdb.as_array().unwrap().len(), 8192);
    for (mac, port) in macs.iter().zip(["tap:a", "tap:b"]) {
        let mac = adit_device::MacAddr(*mac).to_string();
        let entry = fdb.as_array().unwrap().iter().find(|entry| entry["mac"] == mac.as_str());
        assert_eq!(entry.unwrap()["port"], port);
    }
    let (leaked, seen) = capture.end();
    assert_eq!(leaked, 0, "a third host sees nothing of what two others say to each other");
    assert!(seen > 500, "it sees what is for all");
    // 8,192 entries and the packets on their way.
    let grown = memory(program.pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

/// ARP that says `ip` is at `mac`, as an answer to all.
fn arp(mac: [u8; 6], ip: [u8; 4]) -> Vec<u8> {
    let payload = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &mac, &ip, &[0xff; 6], &ip].concat();
    frame(BROADCAST, mac, 0x0806, &payload)
}

/// What a DHCP server sends from `ip`: UDP from port 67 to 68.
fn dhcp(mac: [u8; 6], ip: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 1, 20, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(ip);
    packet.extend([0xff; 4]);
    packet.extend([0, 67, 0, 68, 1, 0, 0, 0]);
    packet.extend([2, 1, 6, 0]);
    packet.resize(276, 0);
    let mut sum: u32 = packet[..20].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(BROADCAST, mac, 0x0800, &packet)
}

/// A router advertisement to all nodes; nobody looks at its checksum on the way.
fn advertisement(mac: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 58, 255];
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame([0x33, 0x33, 0, 0, 0, 1], mac, 0x86dd, &packet)
}

/// Whether a frame is one of a kind.
type IsOne = fn(&[u8]) -> bool;

#[test]
fn nothing_of_a_flood_gets_past_the_guards() {
    const EACH: u64 = 5000;
    let mut random = Random::new(2);
    quiet_hosts(&["na", "nb", "nx"]);
    let mut program = Program::start(
        "switch --port tap:a,netns=na --port tap:b,netns=nb \
         --port tap:x,netns=nx,txqueuelen=20000,guard-arp,guard-nd,guard-ra,guard-dhcp,\
         guard-ip=192.0.2.3+fe80::1",
    );
    addresses("abx");
    let mac = mac_of("nx", "x");
    let kinds: [(&str, IsOne); 3] = [
        ("guard-arp", |frame| is_of_type(frame, 0x0806) && frame[38..42] == [192, 0, 2, 1]),
        ("guard-dhcp", |frame| frame[23] == 17 && frame[34..38] == [0, 67, 0, 68]),
        ("guard-ra", |frame| is_of_type(frame, 0x86dd) && frame[54] == 134),
    ];
    let make = |kind: &str, random: &mut Random| match kind {
        // The address of another, from the own MAC address and from anybody's.
        "guard-arp" => arp(if random.below(2) == 0 { mac } else { random.mac() }, [192, 0, 2, 1]),
        "guard-dhcp" => dhcp(mac, [192, 0, 2, 3]),
        _ => advertisement(mac),
    };
    let wire = Wire::open("nx", "x");
    for (kind, is_one) in kinds {
        let (before, capture) = (port("x"), Capture::start("b", is_one));
        let frames = before["ingress"]["frames"].as_u64().unwrap();
        for _ in 0..EACH {
            wire.send(&make(kind, &mut random));
        }
        arrive("x", frames + EACH);
        assert!(reaches("na", "192.0.2.2"), "others have their traffic");
        assert_eq!(capture.end().0, 0, "{kind}");
        let more = dropped(&port("x"), "ingress") - dropped(&before, "ingress");
        assert!(more >= EACH, "{kind}: {more} of {EACH} are counted");
        // Without the guard they do arrive: the capture is not blind.
        adit(&format!("switch set x {kind}=off"));
        let capture = Capture::start("b", is_one);
        wire.send(&make(kind, &mut random));
        arrive("x", frames + EACH + 1);
        assert!(reaches("na", "192.0.2.2"));
        assert!(capture.end().0 >= 1, "{kind}=off");
    }
    assert!(reaches("nx", "192.0.2.1"), "what it may send gets through");
    program.wait_for("news");
    let news = program.count("news");
    assert!((1..200).contains(&news), "{news} lines tell of 15,000 frames");
}

#[test]
fn an_isolated_port_sees_nothing_that_is_not_for_it() {
    let mut random = Random::new(3);
    quiet_hosts(&["na", "nb", "ni", "nj"]);
    let _program = Program::start(
        "switch --port tap:a,netns=na --port tap:b,netns=nb \
         --port tap:i,netns=ni,isolated --port tap:j,netns=nj,isolated,txqueuelen=20000",
    );
    addresses("abij");
    let macs = [mac_of("na", "a"), mac_of("nb", "b")];
    let (own, other) = (mac_of("ni", "i"), mac_of("nj", "j"));
    assert!(reaches("na", "192.0.2.2") && reaches("ni", "192.0.2.1"));
    // Of others: their unicast, unknown unicast, and all that the other isolated port says.
    let capture = Capture::start("i", move |frame| {
        let is_for_me = frame[..6] == own || frame[0] & 1 == 1;
        !is_for_me || is_between(frame, &macs) || frame[6..12] == other
    });
    let (wire, from_a) = (Wire::open("nj", "j"), Wire::open("na", "a"));
    let (at_j, at_a) = (arrived("j"), arrived("a"));
    for _ in 0..2000 {
        wire.send(&frame(BROADCAST, other, OURS, &[]));
        wire.send(&frame(own, other, OURS, &[]));
        from_a.send(&frame(random.mac(), macs[0], OURS, &[]));
    }
    // Those from `a` that found no room in its queue are not waited for.
    arrive("j", at_j + 4000);
    arrive("a", at_a + 500);
    assert!(reaches("na", "192.0.2.2"));
    from_a.send(&frame(BROADCAST, macs[0], OURS, &[]));
    assert!(reaches("ni", "192.0.2.1"), "after it all has come");
    let (foreign, seen) = capture.end();
    assert_eq!(foreign, 0);
    assert!(seen > 1, "its own traffic and what is for all");
}

#[test]
fn a_cable_between_two_ports_is_no_storm() {
    quiet_hosts(&["na", "nb"]);
    run("ip link add l0 type veth peer name l1");
    run("ip link set l0 up");
    let mut program = Program::start(
        "switch --port tap:a,netns=na --port tap:b,netns=nb --port dev:l0 --port dev:l1",
    );
    addresses("ab");
    assert!(reaches("na", "192.0.2.2"));
    let is_ours = |frame: &[u8]| is_of_type(frame, OURS);
    let mac = mac_of("na", "a");
    let (capture, wire) = (Capture::start("b", is_ours), Wire::open("na", "a"));
    // The cable is put in while somebody speaks to all.
    run("ip link set l1 up");
    let is_blocked = |program: &mut Program| {
        program.count("news");
        let mut news = program.seen.iter().filter_map(|event| event["message"].as_str());
        news.any(|message| message.contains("blocked"))
    };
    eventually("the loop is found", || {
        wire.send(&frame(BROADCAST, mac, OURS, &[1]));
        is_blocked(&mut program)
    });
    eventually("one of them is blocked", || {
        port("l0")["state"] == "blocked" || port("l1")["state"] == "blocked"
    });
    // What went around has an end: a second in which nothing comes.
    eventually("quiet", || {
        let capture = Capture::start("b", is_ours);
        std::thread::sleep(Duration::from_secs(1));
        capture.end_of_storm().wanted == 0
    });
    assert!(capture.end_of_storm().wanted > 0);
    // From now on each that is sent comes once, or twice if the other is being tried; a machine that
    // stands still for a second makes a probe late, and the loop is broken once more.
    eventually("100 come as 100", || {
        let capture = Capture::start("b", is_ours);
        let before = arrived("a");
        for _ in 0..100 {
            wire.send(&frame(BROADCAST, mac, OURS, &[2]));
        }
        arrive("a", before + 100);
        assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
        (100..=400).contains(&capture.end_of_storm().wanted)
    });
}
