//! Random bytes into every kind of port.

use crate::program::{Ended, PATIENCE, Program, address, eventually, reaches};
use crate::support::{ADIT, bare, run};
use crate::wire::{
    Random, Wire, addresses, ask, dropped, is_at_rest, link, mac_of, port, quiet_hosts, runs,
};
use adit_device::Netns;
use adit_packet::{Gso, VnetHeader};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Stdio;

/// How many strings each port gets.
const EACH: usize = 600;

/// Random bytes, 0 to 64 KiB of them; every second string begins as a frame would.
fn bytes(random: &mut Random, known: [u8; 6]) -> Vec<u8> {
    let len = match random.below(4) {
        0 => random.below(64),
        1 => random.below(1515),
        2 => random.below(9000),
        _ => random.below(65_537),
    };
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    if random.below(2) == 0 && len >= 40 {
        let types = [0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x8809, 0x0027];
        let destinations = [known, [0xff; 6], [1, 0x80, 0xc2, 0, 0, 0], [0x33, 0x33, 0, 0, 0, 1]];
        bytes[..6].copy_from_slice(&destinations[random.below(destinations.len())]);
        bytes[6..12].copy_from_slice(&random.mac());
        let ether_type = types[random.below(types.len())];
        bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
        if random.below(2) == 0 {
            bytes[14] = if ether_type == 0x86dd { 0x60 } else { 0x45 };
        }
    }
    bytes
}

/// What a sender may say is left to be done for a frame; most of it the kernel refuses.
fn header(random: &mut Random) -> VnetHeader {
    if random.below(2) == 0 {
        return VnetHeader::default();
    }
    let small = |random: &mut Random, end| u16::try_from(random.below(end)).unwrap();
    let gso = [Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::UdpL4][random.below(4)];
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso,
        hdr_len: small(random, 200),
        gso_size: small(random, 3000),
        csum_start: small(random, 80),
        csum_offset: small(random, 40),
        ..VnetHeader::default()
    }
}

/// Strings into a device, as frames.
fn into_device(random: &mut Random, (netns, device): (&str, &str), known: [u8; 6]) {
    let wire = Wire::open(netns, device);
    let taken = (0..EACH).filter(|_| {
        let bytes = bytes(random, known);
        wire.send_with(&header(random), &bytes)
    });
    assert!(taken.count() > EACH / 4, "the kernel refuses some");
}

/// Strings into a stream, each with its length, as far as the other end reads.
fn into_stream(random: &mut Random, stream: &mut impl Write, known: [u8; 6]) {
    for _ in 0..EACH {
        let bytes = bytes(random, known);
        stream.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
    }
}

/// A file of frames that come at once, the last of which is cut off.
fn recording(random: &mut Random, path: &str, known: [u8; 6]) {
    let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]);
    for _ in 0..EACH {
        let bytes = bytes(random, known);
        let len = u32::try_from(bytes.len()).unwrap();
        for word in [1, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file.extend([7; 15]);
    std::fs::write(path, file).unwrap();
}

/// A switch with one of each; its standard input, and a thread that reads its standard output.
fn one_of_each() -> (Ended, impl Write) {
    run("ip link add l0 type veth peer name l1 netns nd");
    run("ip link add u0 type veth peer name u1 netns nu");
    for device in ["l0", "u0"] {
        run(&format!("ip link set {device} mtu 65535 up"));
    }
    run("ip -n nd link set l1 mtu 65535 up");
    run("ip address add 198.51.100.1/24 dev u0");
    run("ip -n nu link set u1 mtu 65535 up");
    run("ip -n nu address add 198.51.100.2/24 dev u1");
    let mut command = bare(ADIT);
    command.args(["-q", "switch"]);
    for port in [
        "tap:a,netns=na",
        "tap:b,netns=nb",
        "tap:x,netns=nx,mtu=65521,guard-arp,guard-nd",
        "dev:l0",
        "unix:/run/stream.sock",
        "unix:/run/dgram.sock,type=dgram",
        "vxlan:198.51.100.2,vni=5",
        "stdio",
    ] {
        command.args(["--port", port]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut buf = vec![0; 1 << 16];
        while stdout.read(&mut buf).is_ok_and(|count| count > 0) {}
    });
    let child = Ended(child);
    runs();
    (child, stdin)
}

#[test]
fn any_bytes_into_any_port_and_the_others_go_on() {
    let mut random = Random::new(4);
    quiet_hosts(&["na", "nb", "nx", "nd", "nu"]);
    let (mut program, mut stdin) = one_of_each();
    addresses("abx");
    assert!(reaches("na", "192.0.2.2"));
    let known = mac_of("na", "a");

    into_device(&mut random, ("nx", "x"), known);
    into_device(&mut random, ("nd", "l1"), known);
    // Guests that say what they like and read all that they get.
    let mut stream = UnixStream::connect("/run/stream.sock").unwrap();
    let mut reader = stream.try_clone().unwrap();
    let reads =
        std::thread::spawn(move || while reader.read(&mut [0; 65_536]).is_ok_and(|n| n > 0) {});
    into_stream(&mut random, &mut stream, known);
    into_stream(&mut random, &mut stdin, known);
    let dgram = UnixDatagram::bind("/run/guest.sock").unwrap();
    dgram.set_write_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..EACH {
        dgram.send_to(&bytes(&mut random, known), "/run/dgram.sock").unwrap();
    }
    let socket = || UdpSocket::bind("198.51.100.2:4789").unwrap();
    let udp = Netns::named("nu").unwrap().run(socket).unwrap();
    for number in 0..EACH {
        let mut bytes = bytes(&mut random, known);
        bytes.truncate(65_507);
        // Every second one as of its segment.
        if number % 2 == 0 && bytes.len() > 8 {
            bytes[..8].copy_from_slice(&[8, 0, 0, 0, 0, 0, 5, 0]);
        }
        udp.send_to(&bytes, "198.51.100.1:4789").unwrap();
        // A socket has room for a few of them only.
        if number % 4 == 3 {
            ask("switch", "GET /switch", "");
        }
    }
    recording(&mut random, "/run/junk.pcap", known);
    ask("switch", "POST /ports", r#"{"port": "pcap:/run/junk.pcap"}"#);
    eventually("it was played", || port("pcap:%2Frun%2Fjunk.pcap")["state"] == "gone");
    // A length that no frame has: that stream is over, and no other.
    stream.write_all(&[0xff; 4]).unwrap();
    reads.join().unwrap();

    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    assert!(program.0.try_wait().unwrap().is_none(), "it is alive");
    let show = ask("switch", "GET /switch", "");
    let all = show["ports"].as_array().unwrap();
    for name in ["tap:x", "dev:l0", "unix:/run/dgram.sock#1", "vxlan:198.51.100.2", "stdio"] {
        let port = all.iter().find(|port| port["name"].as_str().unwrap().starts_with(name));
        let port = port.unwrap_or_else(|| panic!("{name} is not there: {show}"));
        assert!(port["ingress"]["frames"].as_u64().unwrap() > 50, "{port}");
        assert!(dropped(port, "ingress") > 0, "{port}");
    }
    assert!(!all.iter().any(|port| port["name"] == "unix:/run/stream.sock#1"), "{show}");
    is_at_rest(program.0.id());
}

#[test]
fn any_bytes_into_a_link_and_it_goes_on() {
    let mut random = Random::new(5);
    quiet_hosts(&["na", "nb"]);
    let program = Program::start(
        "netem --port tap:a,netns=na,mtu=65521 --port tap:b,netns=nb,mtu=65521 --delay 1ms \
         --jitter 1ms --corrupt 1% --duplicate 1% --reorder 1% --rate 1gbit --queue fq-codel --ecn on",
    );
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    assert!(reaches("na", "192.0.2.2"));
    let known = mac_of("nb", "b");
    into_device(&mut random, ("na", "a"), known);
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    let shown = ask("netem", "GET /netem", "");
    assert!(shown["a_to_b"]["counts"]["offered"].as_u64().unwrap_or(1000) > 100, "{shown}");
    is_at_rest(program.pid());
    assert_eq!(link("na", "a").info().unwrap().mtu, 65_521);
}
