//! What leaves in clear, counted on the outer link: with a kill switch, with IPv6 blocked, after a kill.

use crate::support::{ADIT, adit, run, text};
use crate::world::{Running, World, show, wait_for};
use std::path::PathBuf;

const ALL_V4: &str = "AllowedIPs = 0.0.0.0/0";

/// Addresses of `b` that only a default route leads to.
const FAR: [&str; 2] = ["198.51.100.7", "2001:db8:7::7"];

/// Counts what comes over the outer link to `b`: datagrams of the tunnel and neighbor discovery are
/// passed over, DHCP has a counter of its own.
const COUNTERS: &str = "table inet count {
    counter clear { }
    counter dhcp { }
    chain c {
        type filter hook prerouting priority -400;
        iifname != \"ub\" accept
        udp dport 51820 accept
        udp dport 67 counter name dhcp accept
        icmpv6 type { 131, 132, 133, 135, 136, 143 } accept
        counter name clear
    }
}";

/// A world in which the tunnel of `a` may leak: default routes, and somebody who answers.
fn world() -> World {
    let world = World::new();
    let rules = world.write("count", COUNTERS);
    world.b.run(&format!("nft -f {}", rules.display()));
    world.b.run(&format!("ip addr add {}/32 dev lo", FAR[0]));
    world.b.run(&format!("ip addr add {}/128 dev lo", FAR[1]));
    world.a.run("ip route add default via 192.0.2.2");
    world.a.run("ip -6 route add default via 2001:db8::2");
    world
}

fn counted(world: &World, name: &str) -> u64 {
    let text = world.b.run(&format!("nft list counter inet count {name}"));
    let after = text.split("packets ").nth(1).unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

fn reaches(world: &World, to: &str) {
    wait_for("a ping is answered", || world.a.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// Tries everything that may leave in clear; nothing did.
fn nothing_leaves(world: &World, when: &str) {
    let before = counted(world, "clear");
    for to in [FAR[0], FAR[1], "192.0.2.2", "2001:db8::2", "10.9.0.2"] {
        world.a.succeeds(&format!("ping -n -c 1 -W 0.2 {to}"));
        world.a.succeeds(&format!("ping -n -c 1 -W 0.2 -I ua {to}"));
    }
    assert_eq!(counted(world, "clear"), before, "{when}");
}

/// The two files, with more lines for [Interface] of `ta`; `tb` lets everything through.
fn files(world: &World, endpoint: &str, interface: &str, peer: &str) -> (PathBuf, PathBuf) {
    let all = "AllowedIPs = 0.0.0.0/0, ::/0";
    world.pair(endpoint, [(interface, peer), ("Table = off", all)])
}

/// With a kill switch nothing leaves but by the tunnel, whatever becomes of the routes and of the process,
/// until the tunnel is taken down.
#[test]
fn a_kill_switch_lets_nothing_out_until_down() {
    let world = world();
    let before = world.a.state();
    let (a, b) = files(&world, "192.0.2.2:51820", "KillSwitch = true", ALL_V4);
    let line = format!("{ADIT} -n {} --dry-run tunnel up {}", world.a.path(), a.display());
    assert!(run(&line).contains("\nnft add table inet adit-ta {"), "{}", run(&line));
    let _tb = world.up(&world.b, &b, "");
    let ta = world.up(&world.a, &a, "");
    reaches(&world, FAR[0]);
    assert!(!world.a.succeeds(&format!("ping -n -c 1 -W 0.2 {}", FAR[1])), "IPv6 has no way");
    nothing_leaves(&world, "while it runs");
    // As a service of a packet filter does it when it restarts.
    world.a.run("ip link set ta down");
    world.a.run("nft flush ruleset");
    wait_for("it is restored", || world.a.run("nft list tables").contains("inet adit-ta"));
    world.a.run("ip link set ta up");
    reaches(&world, FAR[0]);

    // TunnelVision: a DHCP server's routes beat a default route. TunnelCrack: the local network claims a
    // public one, and the server's address is that of a service.
    for route in ["0.0.0.0/1", "128.0.0.0/1", "198.51.100.7/32"] {
        world.a.run(&format!("ip route add {route} via 192.0.2.2"));
    }
    world.a.run("ip -6 route add 2000::/3 via 2001:db8::2");
    world.a.run("ip addr add 198.51.100.1/24 dev ua");
    reaches(&world, FAR[0]);
    reaches(&world, "192.0.2.2");
    nothing_leaves(&world, "with routes of the local network");
    world.a.run("ip addr del 198.51.100.1/24 dev ua");
    world.a.run("ip -6 route del 2000::/3");
    for route in ["0.0.0.0/1", "128.0.0.0/1", "198.51.100.7/32"] {
        world.a.run(&format!("ip route del {route} via 192.0.2.2"));
    }

    // The lease of an address is renewed.
    let dhcp = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'ua')
s.bind(('', 68)); s.sendto(b'x', ('255.255.255.255', 67))";
    let script = world.write("dhcp.py", dhcp);
    world.a.run(&format!("python3 {}", script.display()));
    wait_for("DHCP passes", || counted(&world, "dhcp") == 1);

    ta.kill();
    nothing_leaves(&world, "after a kill");
    let other = std::fs::read_to_string(&a).unwrap().replace(ALL_V4, "").replace("Kill", "#");
    let other = world.write("tc.conf", &other.replace("ListenPort = 51820", ""));
    drop(world.up(&world.a, &other, ""));
    nothing_leaves(&world, "after the start of another tunnel");

    // A start that fails leaves it; one that succeeds takes it over; SIGTERM, as of a restart, leaves it.
    let bad = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &bad.replace("[Interface]", "[Interface]\nPostUp = false"));
    let output = world.a.command(&format!("{ADIT} tunnel up --hooks run {}", a.display())).output();
    assert!(!output.unwrap().status.success());
    nothing_leaves(&world, "after a start that failed");
    world.write("ta.conf", &bad);
    let (mut ta, log) = world.up_telling(&world.a, &a, "");
    reaches(&world, FAR[0]);
    run(&format!("kill {}", ta.pid()));
    assert!(ta.0.wait().unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("the kill switch stays: 'adit tunnel down ta' removes it"), "{log}");
    nothing_leaves(&world, "after SIGTERM");

    let _ta = world.up(&world.a, &a, "");
    reaches(&world, FAR[0]);
    adit("tunnel down ta");
    is_open(&world, &before);
}

/// Everything leaves in clear, as before the tunnel.
fn is_open(world: &World, before: &str) {
    assert_eq!((world.a.run("nft list tables").as_str(), &*world.a.state()), ("", before));
    let clear = counted(world, "clear");
    FAR.iter().for_each(|to| reaches(world, to));
    assert!(counted(world, "clear") > clear);
}

/// A tunnel that was killed is taken down without a process; so is one whose file gives the kill switch up.
/// Neighbor discovery finds an IPv6 server.
#[test]
fn a_kill_switch_is_removed_without_a_process() {
    let world = world();
    let before = world.a.state();
    let (a, b) = files(&world, "[2001:db8::2]:51820", "KillSwitch = true", ALL_V4);
    let _tb = world.up(&world.b, &b, "");
    let ta = world.up(&world.a, &a, "");
    world.a.run("ip -6 neigh flush dev ua");
    reaches(&world, FAR[0]);
    ta.kill();
    nothing_leaves(&world, "after a kill");
    let doctor = || world.a.command(&format!("{ADIT} doctor")).output().unwrap();
    let remedy = "help: Start the tunnel, or run: adit tunnel down ta";
    assert!(text(&doctor().stdout).contains(remedy), "{:?}", doctor());
    let down = format!("-n {} tunnel down ta", world.a.path());
    let rehearsal = adit(&format!("--dry-run {down}"));
    assert!(rehearsal.ends_with("nft delete table inet adit-ta\n"), "{rehearsal}");
    nothing_leaves(&world, "after a rehearsal");
    assert!(std::path::Path::new("/run/wireguard/ta.sock").exists());
    adit(&down);
    assert!(!std::path::Path::new("/run/wireguard/ta.sock").exists());
    assert!(!text(&doctor().stdout).contains("kill switch"));
    is_open(&world, &before);
    let words: Vec<&str> = down.split(' ').collect();
    let output = crate::support::try_adit(&words);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));

    // A reload turns it off and on; a start without it removes what a kill left.
    let with = std::fs::read_to_string(&a).unwrap();
    let without = with.replace("KillSwitch = true", "");
    let ta = world.up(&world.a, &a, "");
    let tables = || world.a.run("nft list tables");
    for (file, count) in [(&without, 0), (&with, 1)] {
        world.write("ta.conf", file);
        adit("tunnel reload ta");
        assert_eq!(tables().matches("inet adit-ta").count(), count);
    }
    ta.kill();
    world.write("ta.conf", &without);
    let _ta = world.up(&world.a, &a, "");
    assert!(!tables().contains("inet"), "{}", tables());
    reaches(&world, FAR[0]);
    adit("tunnel down ta");
    is_open(&world, &before);
}

/// With a default route of IPv4 alone, `check` and `up` warn that IPv6 leaves in clear; `BlockIPv6` holds it
/// back, also after a kill, and lets the local network's discovery pass.
#[test]
fn ipv6_is_warned_of_and_blocked() {
    let world = world();
    let before = world.a.state();
    let (a, b) = files(&world, "[2001:db8::2]:51820", "", ALL_V4);
    let _tb = world.up(&world.b, &b, "");
    let warning = "IPv6 packets leave without the tunnel";
    let (ta, log) = world.up_telling(&world.a, &a, "");
    assert!(std::fs::read_to_string(log).unwrap().contains(warning));
    for words in ["tunnel check", "check"] {
        let line = format!("{ADIT} {words} {}", a.display());
        let output = world.a.command(&line).output().unwrap();
        assert!(output.status.success() && text(&output.stderr).contains(warning), "{output:?}");
    }
    reaches(&world, FAR[0]);
    let clear = counted(&world, "clear");
    reaches(&world, FAR[1]);
    assert!(counted(&world, "clear") > clear, "as the warning says");

    let plain = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &plain.replace("[Interface]", "[Interface]\nBlockIPv6 = true"));
    adit("tunnel reload ta");
    world.a.run("ip -6 route add 2000::/3 via 2001:db8::2");
    let is_blocked = |when: &str| {
        let clear = counted(&world, "clear");
        for to in [FAR[1], "2001:db8::2"] {
            let output = world.a.command(&format!("ping -n -c 1 -W 20 {to}")).output().unwrap();
            assert!(!output.status.success(), "{when}");
        }
        assert_eq!(counted(&world, "clear"), clear, "{when}");
    };
    is_blocked("while it runs");
    world.a.run("ip -6 neigh flush dev ua");
    reaches(&world, FAR[0]);
    ta.kill();
    is_blocked("after a kill");
    let ta: Running = world.up(&world.a, &a, "");
    is_blocked("after a restart");
    assert_eq!(show("ta")["fwmark"], 51820);
    adit("tunnel down ta");
    drop(ta);
    world.a.run("ip -6 route del 2000::/3");
    is_open(&world, &before);
}

/// Answers every question for an address of IPv4 with that of `b`, and no other.
const NAME_SERVER: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('198.51.100.7', 53))
while True:
    question, at = s.recvfrom(512)
    end = question.index(0, 12) + 5
    has = question[end - 4:end - 2] == bytes([0, 1])
    head = question[:2] + bytes([0x81, 0x80, 0, 1, 0, int(has), 0, 0, 0, 0]) + question[12:end]
    s.sendto(head + bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 2]) * has, at)
";

/// The name of an endpoint is resolved by a server that only the default route leads to: at the start before
/// that route is the tunnel's. After a kill the kill switch blocks the server, and the last address counts.
#[test]
fn the_name_of_an_endpoint_is_resolved_outside_the_tunnel() {
    let world = world();
    let resolv = world.write("resolv.conf", &format!("nameserver {}\n", FAR[0]));
    run(&format!("mount --bind {} /etc/resolv.conf", resolv.display()));
    let script = world.write("names.py", NAME_SERVER).display().to_string();
    let net = format!("--net={}", world.b.path());
    let mut server = crate::support::bare("nsenter");
    let _server = Running(server.args([&net, "python3", &script]).spawn().unwrap());
    wait_for("it answers", || world.b.run("ss -lunH").contains("198.51.100.7:53"));
    let (a, b) = files(&world, "server.test:51820", "KillSwitch = true", ALL_V4);
    let _tb = world.up(&world.b, &b, "");
    for attempt in ["the first start", "after a kill"] {
        let ta = world.up(&world.a, &a, "");
        reaches(&world, FAR[0]);
        let kept = PathBuf::from(crate::world::STATE).join("ta.timestamps");
        wait_for(attempt, || {
            std::fs::read_to_string(&kept).is_ok_and(|text| text.contains(" 192.0.2.2:51820\n"))
        });
        ta.kill();
        nothing_leaves(&world, attempt);
    }
}
