//! A peer that is reached by UDP or TCP, whichever is answered.

use crate::support::{adit, adit_json, bare, refused};
use crate::world::{Keys, Running, Space, World, show, wait_for};
use std::path::PathBuf;
use std::process::Stdio;

const AUTO: &str = "transport = \"auto\"\nendpoint = \"192.0.2.2:51820\"\n\
                    endpoint_tcp = \"192.0.2.2:443\"\n";

/// A client whose peer has these lines, and a server.
fn files(world: &World, peer: &str) -> (PathBuf, PathBuf) {
    let (ka, kb) = (Keys::new(), Keys::new());
    let end = |own: &Keys, number: u8, more: &str, other: &Keys, far: u8, peer: &str| {
        format!(
            "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.{number}/24\"]\n{more}\n\
             [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.{far}/32\"]\n{peer}\n",
            own.private, other.public
        )
    };
    let server = "listen_port = 51820\nlisten_tcp = 443";
    let a = world.write("ta.toml", &end(&ka, 1, "", &kb, 2, peer));
    let b = world.write("tb.toml", &end(&kb, 2, server, &ka, 1, ""));
    (a, b)
}

/// UDP does not come in here.
fn block(space: &Space) {
    space.run("nft add table inet filter");
    space.run("nft add chain inet filter in { type filter hook input priority 0 ; }");
    space.run("nft add rule inet filter in udp dport 51820 drop");
}

fn unblock(space: &Space) {
    space.run("nft delete table inet filter");
}

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

fn endpoint(name: &str) -> String {
    show(name)["peers"][0]["endpoint"].as_str().unwrap_or_default().to_owned()
}

/// The client is or comes to be at this address of its peer: on a machine that stands still for a while UDP
/// seems to be blocked now and then, for all timeouts are short here.
fn is_at(address: &str) {
    wait_for(address, || endpoint("ta") == address);
}

/// UDP is blocked: traffic goes on by TCP; it is open again: so it is by UDP, by itself. A connection
/// inside lives through both.
#[test]
fn a_peer_is_reached_by_tcp_while_udp_is_blocked() {
    let world = World::new();
    let (a, b) = files(&world, &format!("{AUTO}keepalive = 1"));
    let _tb = world.up(&world.b, &b, "--faster 10");
    let (_ta, told) = world.up_telling(&world.a, &a, "--faster 10");
    reaches(&world.a, "10.9.0.2");
    is_at("192.0.2.2:51820");
    assert_eq!(show("ta")["peers"][0]["transport"], "auto");
    let (echo, lines) = echo(&world);
    let goes_on = || {
        let before = std::fs::read_to_string(&lines).unwrap().len();
        wait_for("the connection goes on", || {
            std::fs::read_to_string(&lines).unwrap().len() > before + 10
        });
    };
    goes_on();
    for _ in 0..2 {
        block(&world.b);
        is_at("tcp:192.0.2.2:443");
        wait_for("and so it is there", || endpoint("tb").starts_with("tcp:"));
        goes_on();
        reaches(&world.b, "10.9.0.1");
        unblock(&world.b);
        is_at("192.0.2.2:51820");
        wait_for("and so it is there", || endpoint("tb").starts_with("192.0.2.1:"));
        goes_on();
        reaches(&world.b, "10.9.0.1");
    }
    drop(echo);
    let told = std::fs::read_to_string(told).unwrap();
    for what in ["does not answer by UDP: using TCP to 192.0.2.2:443", "answers by UDP again"] {
        assert!(told.matches(what).count() >= 2, "{told}");
    }
}

/// It begins where UDP is blocked; the server restarts, which ends the stream; it is down for a while.
#[test]
fn a_peer_behind_a_firewall_comes_back_by_tcp() {
    let world = World::new();
    let (a, b) = files(&world, &format!("{AUTO}keepalive = 1"));
    block(&world.b);
    let _ta = world.up(&world.a, &a, "--faster 10");
    for _ in 0..2 {
        let tb = world.up(&world.b, &b, "--faster 10");
        reaches(&world.a, "10.9.0.2");
        is_at("tcp:192.0.2.2:443");
        tb.kill();
    }
    unblock(&world.b);
    let _tb = world.up(&world.b, &b, "--faster 10");
    is_at("192.0.2.2:51820");
    reaches(&world.a, "10.9.0.2");
}

/// Names lead to both; a reload changes the way and leaves a peer alone that did not change.
#[test]
fn the_way_to_a_peer_is_changed_by_a_reload() {
    let world = World::new();
    let hosts = world.write("hosts", "127.0.0.1 localhost\n192.0.2.2 far.test\n");
    crate::support::run(&format!("mount --bind {} /etc/hosts", hosts.display()));
    let named = AUTO.replace("192.0.2.2", "far.test");
    let (a, b) = files(&world, &named);
    let text = std::fs::read_to_string(&a).unwrap();
    block(&world.b);
    let _tb = world.up(&world.b, &b, "--faster 10");
    let _ta = world.up(&world.a, &a, "--faster 10");
    reaches(&world.a, "10.9.0.2");
    is_at("tcp:192.0.2.2:443");
    assert_eq!(show("ta")["peers"][0]["endpoint_name"], "far.test:51820");
    assert_eq!(adit_json("tunnel reload ta")["unchanged"], 1);
    is_at("tcp:192.0.2.2:443");
    unblock(&world.b);
    let udp = "endpoint = \"192.0.2.2:51820\"\n";
    world.write("ta.toml", &text.replace(&named, udp));
    adit("tunnel reload ta");
    reaches(&world.a, "10.9.0.2");
    is_at("192.0.2.2:51820");
    let tcp = "transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"\n";
    world.write("ta.toml", &text.replace(&named, tcp));
    adit("tunnel reload ta");
    reaches(&world.a, "10.9.0.2");
    is_at("tcp:192.0.2.2:443");
    world.write("ta.toml", &text.replace(&named, AUTO));
    adit("tunnel reload ta");
    reaches(&world.a, "10.9.0.2");
    is_at("192.0.2.2:51820");
}

#[test]
fn the_path_to_a_peer_is_checked_and_reported() {
    let world = World::new();
    let check = |peer: &str| {
        let (a, _) = files(&world, peer);
        refused(&format!("tunnel check {}", a.display()))
    };
    for (peer, place, why) in [
        ("transport = \"auto\"", "ta.toml:8:13", "needs `endpoint` for UDP"),
        ("transport = \"atuo\"", "ta.toml:8:13", "did you mean `auto`?"),
        ("endpoint_tcp = \"192.0.2.2:1\"", "ta.toml:8:16", "needs transport = \"auto\""),
        ("endpoint_tpc = \"192.0.2.2:1\"", "ta.toml:8:1", "did you mean `endpoint_tcp`?"),
    ] {
        let (status, told) = check(peer);
        assert!(status == 2 && told.contains(place) && told.contains(why), "{told}");
    }
    let (a, _) = files(&world, AUTO);
    let actions = adit(&format!("-n {} --dry-run tunnel up {}", world.a.path(), a.display()));
    assert!(actions.contains("to 192.0.2.2:51820 by UDP, or to 192.0.2.2:443 by TCP"), "{actions}");
}

/// Ends as its test does, or by an alarm of its own.
fn python(space: &Space, line: &str) -> Running {
    let net = format!("--net={}", space.path());
    let mut command = bare("nsenter");
    command.arg(net).arg("python3").args(line.split_whitespace());
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

/// A connection inside that says something twenty times a second; each answer is a line of a file.
fn echo(world: &World) -> (Vec<Running>, PathBuf) {
    const SERVER: &str = "
import signal, socket
signal.alarm(600)
s = socket.create_server(('10.9.0.2', 7001))
c, _ = s.accept()
while d := c.recv(9): c.sendall(d)
";
    const CLIENT: &str = "
import signal, socket, sys, time
signal.alarm(600)
c = socket.create_connection(('10.9.0.2', 7001))
with open(sys.argv[1], 'w') as f:
    while True:
        c.sendall(b'x')
        assert c.recv(1) == b'x'
        f.write('x')
        f.flush()
        time.sleep(0.05)
";
    let lines = world.write("lines", "");
    let (server, client) = (world.write("server.py", SERVER), world.write("client.py", CLIENT));
    let server = python(&world.b, &server.display().to_string());
    wait_for("somebody listens", || world.b.run("ss -ltn").contains(":7001 "));
    let client = python(&world.a, &format!("{} {}", client.display(), lines.display()));
    (vec![client, server], lines)
}
