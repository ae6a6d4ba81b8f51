//! What a tunnel survives.

use crate::support::{ADIT, adit, bare, run};
use crate::world::{Running, Space, World, show, wait_for};
use std::io::Read;

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

#[test]
fn a_peer_that_moves_is_followed() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    world.a.run("ip addr del 192.0.2.1/24 dev ua");
    world.a.run("ip addr add 192.0.2.7/24 dev ua");
    reaches(&world.a, "10.9.0.2");
    assert_eq!(show("tb")["peers"][0]["endpoint"], "192.0.2.7:51820");
    reaches(&world.b, "10.9.0.1");
    // And from one family to the other.
    let public = run("wg show tb public-key");
    run(&format!("wg set ta peer {} endpoint [2001:db8::2]:51820", public.trim()));
    reaches(&world.a, "10.9.0.2");
    assert_eq!(show("tb")["peers"][0]["endpoint"], "[2001:db8::1]:51820");
}

/// Nobody reads the messages of a tunnel any more: packets and requests do not wait for that.
#[test]
fn a_reader_of_messages_that_stops_delays_no_packet() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tb = world.up(&world.b, &b, "");
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut up = bare(ADIT);
    up.args(["-v", "-n", &world.a.path(), "tunnel", "up"]).arg(&a).stderr(writer);
    let _ta = Running(up.spawn().unwrap());
    drop(up);
    let mut told = Vec::new();
    while !told.ends_with(b"up\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        told.push(byte[0]);
    }
    for _ in 0..100 {
        adit("tunnel reload ta");
    }
    assert!(world.a.pings("-q -c 5 -i 0.1 -W 5 10.9.0.2"));
    assert_eq!(show("ta")["peers"][0]["connected"], true);
    let mut last = [0; 64];
    reader.read_exact(&mut last).unwrap();
    assert!(last.starts_with(b"reloaded: "), "{last:?}");
    adit("tunnel down ta");
}

#[test]
fn a_peer_that_was_killed_comes_back() {
    let world = World::new();
    // The restarted end knows where the other is, and speaks first.
    let (a, b) = world.pair(
        "192.0.2.2:51820",
        [("", ""), ("", "Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 1")],
    );
    let _ta = world.up(&world.a, &a, "");
    for _ in 0..3 {
        let tb = world.up(&world.b, &b, "");
        reaches(&world.a, "10.9.0.2");
        tb.kill();
    }
}

#[test]
fn the_network_goes_and_comes_again() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let (ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    for _ in 0..3 {
        world.a.run("ip link set ua down");
        assert!(!world.a.succeeds("ping -n -c 2 -i 0.2 -W 1 10.9.0.2"));
        wait_for("it is counted", || show("ta")["datagrams"]["refused"].as_u64() > Some(0));
        world.a.run("ip link set ua up");
        reaches(&world.a, "10.9.0.2");
    }
    drop(ta);
}

/// The way takes less than the device's MTU: senders learn it, and nothing hangs.
#[test]
fn a_narrow_way_is_learnt() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    for (space, link) in [(&world.a, "ua"), (&world.b, "ub")] {
        space.run(&format!("ip link set {link} mtu 1300"));
    }
    let file = world.folder.join("data");
    std::fs::write(&file, vec![7; 1_000_000]).unwrap();
    let into = world.folder.join("got");
    let listen = format!("socat -u TCP4-LISTEN:7001,reuseaddr CREATE:{}", into.display());
    let mut receiver = world.b.command(&listen).spawn().unwrap();
    wait_for("somebody listens", || world.b.run("ss -ltn").contains(":7001 "));
    world.a.run(&format!("socat -u FILE:{} TCP4:10.9.0.2:7001", file.display()));
    assert!(receiver.wait().unwrap().success());
    assert_eq!(std::fs::read(into).unwrap().len(), 1_000_000);
    assert!(show("ta")["peers"][0]["path_mtu"].as_u64().unwrap() <= 1300 - 60);
}

/// Somebody gives the device another MTU: it is taken over, and a reload leaves it.
#[test]
fn another_mtu_of_the_device_is_taken_over() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    for (space, name) in [(&world.a, "ta"), (&world.b, "tb")] {
        space.run(&format!("ip link set {name} mtu 1280"));
    }
    wait_for("it is seen", || show("ta")["mtu"] == 1280);
    let output = world.a.run("ping -n -c 3 -i 0.1 -w 60 -s 1252 -M do 10.9.0.2");
    assert!(crate::support::lost_echoes(&output, 3).is_empty(), "{output}");
    adit("tunnel reload ta");
    assert!(world.a.run("ip link show ta").contains("mtu 1280"));
}

/// What is no message of the protocol is answered by nobody, and harms nothing.
#[test]
fn junk_is_answered_by_nobody() {
    const JUNK: &str = "
import os, random, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('192.0.2.1', 0))
s.settimeout(0.5)
r = random.Random(7)
for n in range(20000):
    d = r.randbytes(r.choice([0, 1, 16, 32, 64, 92, 148, 200, 1400]))
    if n % 2 and d: d = bytes([r.randrange(5), 0, 0, 0]) + d[4:]
    s.sendto(d, ('192.0.2.2', 51820))
try:
    s.recv(2000)
    sys.exit('something was answered')
except TimeoutError:
    pass
";
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let script = world.write("junk.py", JUNK);
    world.a.run(&format!("python3 {}", script.display()));
    reaches(&world.a, "10.9.0.2");
    let drops = show("tb")["drops"].as_array().unwrap().clone();
    let count: u64 = drops.iter().map(|drop| drop["count"].as_u64().unwrap()).sum();
    // As many as the socket had room for, on a machine that reads little.
    assert!(count > 500, "{drops:?}");
}
