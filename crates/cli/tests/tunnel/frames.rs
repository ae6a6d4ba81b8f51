//! Layer 2: Ethernet frames between ends of ours.

use crate::support::{adit, bare, run};
use crate::world::{Keys, Running, Space, World, show, wait_for};
use std::path::PathBuf;
use std::process::Stdio;

/// The file of one end, with these peers: a key, and an endpoint if it is known.
fn file(world: &World, name: &str, own: &Keys, address: &str, peers: &[(&Keys, &str)]) -> PathBuf {
    let mut text = format!(
        "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\naddresses = [{address}]\n",
        own.private
    );
    for (peer, endpoint) in peers {
        text.push_str(&format!("[[peer]]\nmode = \"tap\"\npublic_key = \"{}\"\n", peer.public));
        if !endpoint.is_empty() {
            text.push_str(&format!("endpoint = \"{endpoint}\"\nkeepalive = 1\n"));
        }
    }
    world.write(&format!("{name}.toml"), &text)
}

/// Joins a further namespace to b.
fn client(world: &World, number: u8) -> Space {
    let space = Space::new();
    let link = format!("u{number}");
    space
        .run(&format!("ip link add {link} type veth peer name b{number} netns {}", world.b.path()));
    space.run(&format!("ip addr add 198.51.{number}.1/24 dev {link}"));
    world.b.run(&format!("ip addr add 198.51.{number}.2/24 dev b{number}"));
    space.run(&format!("ip link set {link} up"));
    world.b.run(&format!("ip link set b{number} up"));
    space
}

fn reaches(from: &Space, to: &str) {
    wait_for("a ping is answered", || from.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// Three clients on one server are on one Ethernet: ARP, neighbour discovery and full frames cross.
#[test]
fn three_clients_share_an_ethernet() {
    let world = World::new();
    let keys: Vec<Keys> = (0..4).map(|_| Keys::new()).collect();
    let spaces = [client(&world, 1), client(&world, 2), client(&world, 3)];
    let all: Vec<(&Keys, &str)> = keys[1..].iter().map(|keys| (keys, "")).collect();
    let address = |n: usize| format!("\"10.8.0.{n}/24\", \"fd00:8::{n}/64\"");
    let server = file(&world, "hub", &keys[0], &address(9), &all);
    let mut running = vec![world.up(&world.b, &server, "")];
    for (number, space) in spaces.iter().enumerate().map(|(at, space)| (at + 1, space)) {
        let endpoint = format!("198.51.{number}.2:51820");
        let peers = [(&keys[0], endpoint.as_str())];
        let file = file(&world, &format!("c{number}"), &keys[number], &address(number), &peers);
        running.push(world.up(space, &file, ""));
    }
    let [one, two, three] = &spaces;
    for (from, to) in
        [(one, "10.8.0.9"), (one, "10.8.0.2"), (two, "10.8.0.3"), (three, "fd00:8::1")]
    {
        reaches(from, to);
    }
    assert_eq!(show("c1")["peers"][0]["adit"], true);
    // Frames of 1500 bytes cross a way of 1500, in pieces.
    let output = one.run("ping -n -c 5 -i 0.1 -w 60 -s 1472 -M do 10.8.0.2");
    assert!(crate::support::lost_echoes(&output, 5).is_empty(), "{output}");
    let link = one.run("ip -o -d link show c1");
    assert!(link.contains("mtu 1500") && link.contains("tap"), "{link}");
    // Super-packets as well.
    let sent: Vec<u8> = (0..4_000_000_u32).map(|at| ((at * 77) >> 5).to_le_bytes()[0]).collect();
    let (from, into) = (world.folder.join("data"), world.folder.join("got"));
    std::fs::write(&from, &sent).unwrap();
    let listen = format!("socat -u TCP4-LISTEN:7001,reuseaddr CREATE:{}", into.display());
    let mut receiver = two.command(&listen).spawn().unwrap();
    wait_for("somebody listens", || two.run("ss -ltn").contains(":7001 "));
    one.run(&format!("socat -u FILE:{} TCP4:10.8.0.2:7001", from.display()));
    assert!(receiver.wait().unwrap().success());
    assert!(std::fs::read(into).unwrap() == sent, "it is the same");
    // One goes: the others go on.
    let text = std::fs::read_to_string(&server).unwrap();
    let without = text.rsplit_once("[[peer]]").unwrap().0;
    world.write("hub.toml", without);
    adit("tunnel reload hub");
    assert!(!three.succeeds("ping -n -c 1 -W 1 10.8.0.9"));
    reaches(one, "10.8.0.2");
}

#[test]
fn a_tap_becomes_a_port_of_a_bridge() {
    let world = World::new();
    let keys = [Keys::new(), Keys::new()];
    world.b.run("ip link add br0 type bridge");
    world.b.run("ip link set br0 up");
    world.b.run("ip addr add 10.8.0.2/24 dev br0");
    let a = file(&world, "ta", &keys[0], "\"10.8.0.1/24\"", &[(&keys[1], "192.0.2.2:51820")]);
    let b = file(&world, "tb", &keys[1], "", &[(&keys[0], "")]);
    let text = std::fs::read_to_string(&b).unwrap();
    let b = world.write("tb.toml", &text.replace("[interface]", "[interface]\nmaster = \"br0\""));
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.8.0.2");
}

/// A lease of 10.8.0.100 is had by a device at one end from a DHCP server at the other, which has 10.8.0.1
/// or 10.8.0.2.
pub(crate) fn has_lease(world: &World, server: (&Space, &str), client: (&Space, &str)) {
    let (leases, pid) = (world.write("leases", ""), world.folder.join("udhcpd.pid"));
    let text = format!(
        "start 10.8.0.100\nend 10.8.0.100\ninterface {}\nlease_file {}\npidfile {}\n\
         option subnet 255.255.255.0\n",
        server.1,
        leases.display(),
        pid.display()
    );
    let conf = world.write("udhcpd.conf", &text);
    let net = format!("--net={}", server.0.path());
    let mut command = bare("nsenter");
    command.args([&net, "busybox", "udhcpd", "-f"]).arg(conf).stdin(Stdio::null());
    let _running = Running(command.stderr(Stdio::null()).spawn().unwrap());
    let script = "#!/bin/sh\n[ \"$1\" = bound ] && ip addr add $ip/24 dev $interface || true\n";
    let script = world.write("udhcpc", script);
    run(&format!("chmod 700 {}", script.display()));
    let leased = format!("busybox udhcpc -n -q -t 20 -T 1 -i {} -s", client.1);
    client.0.run(&format!("{leased} {}", script.display()));
    let addresses = client.0.run(&format!("ip -o addr show dev {}", client.1));
    assert!(addresses.contains("10.8.0.100/24"), "{addresses}");
}

/// DHCP crosses, then neighbour discovery of the addresses that each end made itself.
#[test]
fn a_lease_is_had_through_the_tunnel() {
    let world = World::new();
    let keys = [Keys::new(), Keys::new()];
    let a = file(&world, "ta", &keys[0], "", &[(&keys[1], "192.0.2.2:51820")]);
    let b = file(&world, "tb", &keys[1], "\"10.8.0.2/24\"", &[(&keys[0], "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    has_lease(&world, (&world.b, "tb"), (&world.a, "ta"));
    reaches(&world.a, "10.8.0.2");
    let own = world.b.run("ip -o -6 addr show dev tb scope link");
    let own = own.split_whitespace().find(|word| word.starts_with("fe80::")).unwrap();
    let own = own.split('/').next().unwrap();
    // Its address is tentative for a second.
    reaches(&world.a, &format!("{own}%ta"));
}
