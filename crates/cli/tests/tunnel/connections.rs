//! Hosts that connect to the TCP port of a tunnel and are no peers, and peers that connect again.

use crate::support::{adit, run};
use crate::world::{Keys, Running, Space, World, show, wait_for};
use std::path::PathBuf;
use std::process::Stdio;

/// The files of a client by TCP and of a server; the further lines are of the server's peer.
fn files(world: &World, peer: &str) -> (PathBuf, PathBuf) {
    let (ka, kb) = (Keys::new(), Keys::new());
    let end = |own: &Keys, number: u8, more: &str, other: &Keys, far: u8, peer: &str| {
        format!(
            "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.{number}/24\"]\n{more}\n\
             [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.{far}/32\"]\n{peer}\n",
            own.private, other.public
        )
    };
    let client = "transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"\nkeepalive = 1";
    let a = world.write("ta.toml", &end(&ka, 1, "", &kb, 2, client));
    let server = "listen_port = 51820\nlisten_tcp = 443";
    let b = world.write("tb.toml", &end(&kb, 2, server, &ka, 1, peer));
    (a, b)
}

fn reaches(from: &Space, to: &str) {
    wait_for("a ping is answered", || from.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

fn connections(what: &str) -> u64 {
    show("tb")["connections"][what].as_u64().unwrap()
}

/// Ends as its test does, or by an alarm of its own.
fn python(world: &World, text: &str) -> Running {
    let script = world.write("script.py", &format!("import signal\nsignal.alarm(600)\n{text}"));
    let mut command = world.a.command(&format!("python3 {}", script.display()));
    Running(command.stdin(Stdio::null()).spawn().unwrap())
}

/// Connections from one address, silent ones and such that send junk, opened again as they are closed.
const ATTACK: &str = "
import os, select, socket
poll, sockets, opened, junk = select.epoll(), {}, 0, os.urandom(65536)
def connect():
    global opened
    s = socket.socket()
    s.bind(('192.0.2.66', 0))
    s.setblocking(False)
    s.connect_ex(('192.0.2.2', 443))
    opened += 1
    poll.register(s, select.EPOLLIN if opened % 2 else select.EPOLLOUT)
    sockets[s.fileno()] = s
for _ in range(600): connect()
while True:
    for fd, event in poll.poll():
        try:
            if event & select.EPOLLOUT:
                sockets[fd].send(junk)
                continue
            if sockets[fd].recv(9): continue
        except BlockingIOError: continue
        except OSError: pass
        sockets.pop(fd).close()
        connect()
";

#[test]
fn connections_of_one_address_lock_no_peer_out() {
    let world = World::new();
    let (a, b) = files(&world, "");
    world.a.run("ip addr add 192.0.2.66/24 dev ua");
    let _tb = world.up(&world.b, &b, "");
    let _attack = python(&world, ATTACK);
    wait_for("there is no place left", || connections("displaced") > 0);
    wait_for("junk ends connections", || connections("invalid") > 0);
    for _ in 0..3 {
        let ta = world.up(&world.a, &a, "");
        reaches(&world.a, "10.9.0.2");
        assert!(show("tb")["peers"][0]["endpoint"].as_str().unwrap().starts_with("tcp:192.0.2.1:"));
        assert!(connections("unauthenticated") <= 256);
        ta.kill();
    }
    let text = adit("tunnel show tb");
    assert!(text.contains("TCP connections: ") && text.contains(" displaced"), "{text}");
}

/// What is sent, and what the end of each connection is.
const JUNK: &str = "
import os, socket, struct
def message(data): return struct.pack('>H', len(data)) + data
initiation = bytes([1, 0, 0, 0]) + os.urandom(144)
data = bytes([4, 0, 0, 0]) + os.urandom(100)
for what in [message(os.urandom(60)), message(initiation), message(data), message(b''), message(os.urandom(65535)),
             b'GET / HTTP/1.1\\r\\n\\r\\n', message(initiation) * 1000]:
    s = socket.create_connection(('192.0.2.2', 443))
    s.settimeout(60)
    try:
        s.sendall(what)
        assert s.recv(9) == b'', 'answered'
    except (ConnectionResetError, BrokenPipeError): pass
";

#[test]
fn the_first_message_that_is_no_handshake_ends_a_connection() {
    let world = World::new();
    let (a, b) = files(&world, "");
    let _tunnels = (world.up(&world.b, &b, ""), world.up(&world.a, &a, ""));
    reaches(&world.a, "10.9.0.2");
    assert!(python(&world, JUNK).0.wait().unwrap().success());
    wait_for("each is counted", || connections("invalid") == 7);
    assert_eq!((connections("unauthenticated"), connections("authenticated")), (0, 1));
    assert_eq!(connections("accepted"), 8);
    reaches(&world.a, "10.9.0.2");
}

/// A peer that connects again and again, and whose earlier connections never end, has one of them.
#[test]
fn a_peer_has_one_stream() {
    let world = World::new();
    let (a, b) = files(&world, "");
    let _tb = world.up(&world.b, &b, "");
    world.a.run("nft add table inet filter");
    world.a.run("nft add chain inet filter out { type filter hook output priority 0 ; }");
    world.a.run("nft add rule inet filter out tcp dport 443 tcp flags & (fin|rst) != 0 drop");
    for count in 0..4 {
        let ta = world.up(&world.a, &a, "");
        reaches(&world.a, "10.9.0.2");
        wait_for("the earlier one is closed", || connections("replaced") == count);
        assert_eq!(connections("authenticated"), 1);
        ta.kill();
    }
}

/// Programs that run for a peer by TCP get its address and port; it is an IPv4 address wherever it is shown.
#[test]
fn a_peer_by_tcp_has_an_address_for_people_programs_and_wg() {
    let world = World::new();
    let log = world.write("log", "");
    let script = world.write("hook.sh", &format!("echo \"$@\" >> {}\n", log.display()));
    let hook = |word: &str| {
        format!("{word} = [[\"sh\", \"{}\", \"{word}\", \"%a\", \"%p\"]]", script.display())
    };
    let (a, b) = files(&world, &format!("timeout = 6\n{}\n{}", hook("up"), hook("down")));
    let text = std::fs::read_to_string(&a).unwrap();
    let a = world.write("ta.toml", &text.replace("192.0.2.2:443", "[::ffff:192.0.2.2]:443"));
    let (_tb, told) = world.up_telling(&world.b, &b, "--hooks run -v");
    let ta = world.up(&world.a, &a, "");
    reaches(&world.a, "10.9.0.2");
    let lines = || std::fs::read_to_string(&log).unwrap();
    wait_for("the first program has run", || lines().ends_with('\n'));
    let sockets = world.a.run("ss -Htn state established dst 192.0.2.2 dport = 443");
    let ours = sockets.split_whitespace().find(|word| word.starts_with("192.0.2.1:"));
    let (address, port) = ours.unwrap().split_once(':').unwrap();
    assert_eq!(lines(), format!("up {address} {port}\n"));
    assert_eq!(show("ta")["peers"][0]["endpoint"], "tcp:192.0.2.2:443");
    assert_eq!(show("tb")["peers"][0]["endpoint"], format!("tcp:{address}:{port}"));
    assert_eq!(run("wg show ta endpoints").split_whitespace().nth(1), Some("192.0.2.2:443"));
    let shown = run("wg show tb endpoints");
    assert_eq!(shown.split_whitespace().nth(1).unwrap(), format!("{address}:{port}"));
    // What `wg` shows can be given back: the stream goes on.
    let key = shown.split_whitespace().next().unwrap();
    run(&format!("wg set tb peer {key} endpoint {address}:{port}"));
    reaches(&world.b, "10.9.0.1");
    assert_eq!(show("tb")["peers"][0]["endpoint"], format!("tcp:{address}:{port}"));
    for text in [adit("tunnel show ta tb"), std::fs::read_to_string(told).unwrap()] {
        assert!(text.contains("tcp:192.0.2.") && !text.contains("ffff"), "{text}");
    }
    ta.kill();
    wait_for("the second program has run", || lines().lines().count() == 2);
    assert_eq!(lines().lines().nth(1), Some(format!("down {address} {port}").as_str()));
}
