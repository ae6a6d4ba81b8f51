//! Attacks on a tunnel from the network, and by other users of the machine.
#![allow(clippy::print_stdout, reason = "figures for people, not held")]

use crate::support::{ADIT, adit, bare, command, text};
use crate::world::{Keys, Running, Space, World, of_peer, show, wait_for};
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Instant;

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// What a process has allocated, in KiB: without the pages of files.
fn resident(running: &Running) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// All lengths and looks, also as long as a datagram can be, also in trains of 60; then, how many were
/// answered, by datagrams or by ICMP.
const JUNK: &str = "
import random, socket
r = random.Random(7)
kinds = [(socket.AF_INET, '192.0.2.2'), (socket.AF_INET6, '2001:db8::2')]
sockets = [(socket.socket(family, socket.SOCK_DGRAM), to) for family, to in kinds]
for (s, _), level, receive_errors in zip(sockets, [0, 41], [11, 25]):
    s.setsockopt(level, receive_errors, 1)
pool = r.randbytes(1 << 20)
def junk(length):
    at = r.randrange(len(pool) - 70000)
    data = pool[at:at + length]
    return bytes([r.randrange(6), 0, 0, 0]) + data[4:] if length > 4 else data
count = answers = 0
while count < 1000000:
    s, to = sockets[r.randrange(8) == 0]
    length = r.choice([0, 1, 16, 31, 32, 64, 92, 148, 200, 1000])
    n = 60 if length and r.randrange(8) else 1
    s.setsockopt(socket.IPPROTO_UDP, 103, length if n > 1 else 0)
    data = b''.join(junk(length) for _ in range(n))
    if r.randrange(500) == 0:
        s.setsockopt(socket.IPPROTO_UDP, 103, 0)
        data, n = junk(65507), 1
    try:
        s.sendto(data, (to, 51820))
    except BlockingIOError:
        pass
    except ConnectionRefusedError:
        answers += 1
    count += n
for s, _ in sockets:
    s.settimeout(1)
    try:
        s.recv(1)
        answers += 1
    except TimeoutError:
        pass
print(answers)
";

#[test]
fn a_million_datagrams_of_junk_from_the_network_are_answered_by_nobody() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let tb = world.up(&world.b, &b, "");
    let ta = world.up(&world.a, &a, "");
    reaches(&world.a, "10.9.0.2");
    // Nothing but junk from here on.
    ta.kill();
    let script = world.write("junk.py", JUNK);
    // The buffers that a burst takes stay: they are no growth. The largest is what waits for one who sleeps.
    let some = world.write("some.py", &JUNK.replace("1000000", "100000"));
    signal(&tb, "STOP");
    world.a.run(&format!("python3 {}", some.display()));
    signal(&tb, "CONT");
    world.a.run(&format!("python3 {}", some.display()));
    let drops = || -> u64 {
        let drops = show("tb")["drops"].as_array().unwrap().clone();
        drops.iter().map(|drop| drop["count"].as_u64().unwrap()).sum()
    };
    let (dropped, memory) = (drops(), resident(&tb));
    let start = Instant::now();
    let answers = world.a.run(&format!("python3 {}", script.display()));
    // It has read all that there is when it answers.
    let dropped = drops() - dropped;
    let grown = resident(&tb) - memory;
    println!(
        "1,000,000 datagrams in {:?}: {dropped} read and dropped, {grown} KiB grown",
        start.elapsed()
    );
    assert!(dropped > 10_000, "{dropped}");
    assert_eq!(answers.trim(), "0", "not one is answered");
    assert!(grown <= 1024, "{grown} KiB");
    let _ta = world.up(&world.a, &a, "");
    reaches(&world.a, "10.9.0.2");
}

/// How many initiations a second: a program that is not optimised reads a tenth of what another does.
const RATE: u32 = if cfg!(debug_assertions) { 4_000 } else { 50_000 };

/// Initiations with a right MAC from 20,000 addresses at a rate a second, until it is stopped.
const FLOOD: &str = "
import base64, hashlib, random, socket, struct, sys, threading, time
key, rate = base64.b64decode(sys.argv[1]), int(sys.argv[2])
mac_key = hashlib.blake2s(b'mac1----' + key).digest()
r = random.Random(3)
packets = []
for n in range(20000):
    message = bytes([1, 0, 0, 0]) + r.randbytes(112)
    message += hashlib.blake2s(message, key=mac_key, digest_size=16).digest() + bytes(16)
    source = socket.inet_aton('100.%d.%d.%d' % (64 + r.randrange(64), r.randrange(256), r.randrange(1, 255)))
    udp = struct.pack('>HHHH', r.randrange(1024, 65535), 51820, 8 + len(message), 0) + message
    head = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    packets.append(head + source + socket.inet_aton('192.0.2.2') + udp)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
print('ready', flush=True)
start, count = time.monotonic(), 0
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set())).start()
while not end.is_set():
    for packet in packets[count % 20000:count % 20000 + 100]:
        s.sendto(packet, ('192.0.2.2', 0))
    count += 100
    ahead = count / rate - (time.monotonic() - start)
    if ahead > 0:
        time.sleep(ahead)
print(count, time.monotonic() - start)
";

/// Under a flood of handshakes an honest peer connects, a session that is there goes on, and what is
/// answered is less than what is asked.
#[test]
fn a_flood_of_handshakes_stops_nobody() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    // An honest peer on a link of its own.
    let honest = Keys::new();
    let file = std::fs::read_to_string(&b).unwrap();
    let peer = format!("[Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.3/32\n", honest.public);
    let b = world.write("tb.conf", &format!("{file}{peer}"));
    let third = Space::new();
    third.run(&format!("ip link add uc type veth peer name vb netns {}", world.b.path()));
    third.run("ip addr add 198.51.100.1/24 dev uc");
    third.run("ip link set uc up");
    world.b.run("ip addr add 198.51.100.2/24 dev vb");
    world.b.run("ip link set vb up");
    // There answers go: to the flood's sender.
    world.b.run("ip route add 100.64.0.0/10 via 192.0.2.1");
    let _tunnels = (world.up(&world.b, &b, ""), world.up(&world.a, &a, ""));
    reaches(&world.a, "10.9.0.2");

    let key = show("tb")["public_key"].as_str().unwrap().to_owned();
    let script = world.write("flood.py", FLOOD);
    let counters = || {
        let link = crate::support::parse(&world.b.run("ip -j -s link show dev ub"));
        ["rx", "tx"].map(|way| link[0]["stats64"][way]["bytes"].as_u64().unwrap())
    };
    let before = counters();
    let mut flood = world.a.command(&format!("python3 {} {key} {RATE}", script.display()));
    let mut flood = flood.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = std::io::BufReader::new(flood.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let conf = format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.3/24\n[Peer]\nPublicKey = {key}\n\
         AllowedIPs = 10.9.0.2/32\nEndpoint = 198.51.100.2:51820\n",
        honest.private
    );
    let _tc = world.up(&third, &world.write("tc.conf", &conf), "");
    let start = Instant::now();
    reaches(&third, "10.9.0.2");
    let connected = start.elapsed();
    // Other datagrams of a session that is there.
    let output = world.a.command("ping -n -q -c 100 -i 0.02 -W 5 10.9.0.2").output().unwrap();
    let received = text(&output.stdout);
    let received = received.lines().find(|line| line.contains("received")).unwrap();
    line.clear();
    assert!(flood.try_wait().unwrap().is_none(), "it goes on");
    drop(flood.stdin.take());
    std::io::Read::read_to_string(&mut told, &mut line).unwrap();
    assert!(flood.wait().unwrap().success());
    let after = counters();
    let [asked, answered] = [after[0] - before[0], after[1] - before[1]];
    println!("initiations and seconds: {line}connected after {connected:?}; {received}");
    println!("{asked} bytes asked, {answered} answered");
    assert!(answered <= asked, "{answered} bytes for {asked}");
    assert!(!received.contains(" 0 received"), "{received}");
    reaches(&world.a, "10.9.0.2");
    assert!(of_peer("tc", "handshake_age_s").is_finite());
}

/// Packets with forged sources or lengths, and two without, into the device p2.
const FORGED: &str = "
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
def ipv4(source, length=None, version=4):
    udp = struct.pack('>HHHH', 9, 9, 16, 0) + b'12345678'
    head = struct.pack('>BBHHHBBH', version << 4 | 5, 0, length or 20 + len(udp), 0, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton('10.9.0.1')
    total = sum(struct.unpack('>10H', head))
    total = (total & 0xffff) + (total >> 16)
    return head[:10] + struct.pack('>H', ~(total + (total >> 16)) & 0xffff) + head[12:] + udp
def ipv6(source, length=None):
    udp = struct.pack('>HHHH', 9, 9, 16, 0) + b'12345678'
    head = struct.pack('>IHBB', 6 << 28, length or len(udp), 17, 64)
    return head + socket.inet_pton(10, source) + socket.inet_pton(10, 'fd00:9::1') + udp
for packet, kind in [
    (ipv4('10.9.1.1'), 0x800),                # of the other peer
    (ipv4('10.9.0.1'), 0x800),                # of the server
    (ipv4('10.9.2.7'), 0x800),                # in a prefix of the other peer around its own
    (ipv4('203.0.113.5'), 0x800),             # of nobody
    (ipv4('10.9.1.2', length=60), 0x800),     # longer than it is
    (ipv4('10.9.1.2', length=19), 0x800),     # shorter than its header
    (ipv4('10.9.1.2', version=5), 0x800),
    (ipv6('fd00:9::1:1'), 0x86dd),
    (ipv6('fd00:9::1'), 0x86dd),
    (ipv6('fd00:9::1:2', length=300), 0x86dd),
    (ipv4('10.9.1.2'), 0x800),                # its own: the only ones that come out
    (ipv6('fd00:9::1:2'), 0x86dd),
]:
    s.sendto(packet, ('p2', kind))
";

/// One of two peers sends from addresses that are not its own, in both families, and packets that are not as
/// long as they say: none comes out at the server, and each is counted.
#[test]
fn a_peer_cannot_send_from_an_address_of_another() {
    let world = World::new();
    let keys = [Keys::new(), Keys::new(), Keys::new()];
    let hub = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51820\nAddress = 10.9.0.1/24, fd00:9::1/64\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.0/16, 10.9.1.1/32, fd00:9::1:0/112\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.1.2/32, fd00:9::1:2/128\n",
        keys[0].private, keys[1].public, keys[2].public
    );
    let _hub = world.up(&world.b, &world.write("hub.conf", &hub), "");
    let client = |number: usize| {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.1.{number}/32\nTable = off\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.1/32, fd00:9::1/128\n\
             Endpoint = 192.0.2.2:51820\n",
            keys[number].private, keys[0].public
        );
        let running = world.up(&world.a, &world.write(&format!("p{number}.conf"), &text), "");
        wait_for("a ping is answered", || {
            world.a.succeeds(&format!("ping -n -c 1 -W 1 -I p{number} 10.9.0.1"))
        });
        running
    };
    let _clients = (client(1), client(2));
    let came_out = || -> u64 {
        let link = crate::support::parse(&world.b.run("ip -j -s link show dev hub"));
        link[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    // Those that are no packets the sender refuses, the others the server.
    let dropped = || -> u64 {
        let count = |drops: &serde_json::Value| -> u64 {
            drops.as_array().unwrap().iter().map(|drop| drop["count"].as_u64().unwrap()).sum()
        };
        ["hub", "p2"]
            .map(|name| {
                let view = show(name);
                let peers = view["peers"].as_array().unwrap();
                count(&view["drops"]) + peers.iter().map(|peer| count(&peer["drops"])).sum::<u64>()
            })
            .iter()
            .sum()
    };
    let (before, arrived) = (dropped(), came_out());
    world.a.run(&format!("python3 {}", world.write("forged.py", FORGED).display()));
    wait_for("each is dropped", || dropped() >= before + 10);
    wait_for("its own come out", || came_out() >= arrived + 2);
    assert_eq!(came_out(), arrived + 2);
}

/// Records until it is stopped, sends all again, and prints how much, or that it was answered.
const RECORD: &str = "
import socket, sys, threading
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('ub', 0))
print('there', flush=True)
s.settimeout(0.2)
kept = []
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(1), end.set())).start()
while not end.is_set():
    try:
        frame = s.recv(70000)
        if frame[12:14] == b'\\x08\\x00' and frame[23] == 17 and frame[30:34] == bytes([192, 0, 2, 2]):
            kept.append(frame)
    except TimeoutError:
        pass
s.close()
# From another address and port.
port = 40000
answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
answers.bind(('192.0.2.66', port))
answers.settimeout(2)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for frame in kept:
    head = bytearray(frame[14:34])
    head[10:12] = bytes(2)
    head[12:16] = socket.inet_aton('192.0.2.66')
    udp = bytearray(port.to_bytes(2, 'big') + frame[36:])
    udp[6:8] = bytes(2)
    s.sendto(bytes(head + udp), ('192.0.2.2', 0))
try:
    answers.recv(1)
    print('answered')
except TimeoutError:
    print(len(kept))
";

/// Who has recorded all that was sent, sends it again: nothing of it comes through a second time, nothing
/// is answered, and nobody is elsewhere.
#[test]
fn recorded_datagrams_are_worth_nothing() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let script = world.write("record.py", RECORD);
    // Recorded and sent again at the end b, where nothing is on its way any more: by its loopback.
    world.b.run("ip addr add 192.0.2.66/32 dev lo");
    let mut command = bare("nsenter");
    command.arg(format!("--net={}", world.b.path())).arg("python3").arg(&script);
    let mut recorder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = std::io::BufReader::new(recorder.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert_eq!(line, "there\n");
    let _tb = world.up(&world.b, &b, "");
    let ta = world.up(&world.a, &a, "");
    world.a.run("ping -n -q -c 30 -i 0.02 -W 10 10.9.0.2");
    ta.kill();
    let counts = || {
        let link = crate::support::parse(&world.b.run("ip -j -s link show dev tb"));
        let view = show("tb");
        let drops = [&view["drops"], &view["peers"][0]["drops"]];
        let drops = drops.into_iter().flat_map(|drops| drops.as_array().unwrap());
        let replayed = drops.filter(|drop| drop["reason"] == "replayed");
        let replayed: u64 = replayed.map(|drop| drop["count"].as_u64().unwrap()).sum();
        (link[0]["stats64"]["rx"]["packets"].as_u64().unwrap(), replayed)
    };
    let (arrived, replayed) = counts();
    assert_eq!(replayed, 0);
    std::io::Write::write_all(&mut recorder.stdin.take().unwrap(), b"x").unwrap();
    line.clear();
    std::io::Read::read_to_string(&mut told, &mut line).unwrap();
    assert!(recorder.wait().unwrap().success());
    assert_ne!(line, "answered\n");
    let again: u64 = line.trim().parse().unwrap();
    assert!(again >= 31, "an initiation and 30 packets at least: {again}");
    wait_for("all are dropped", || counts().1 >= again);
    assert_eq!(counts(), (arrived, again));
    assert_eq!(show("tb")["peers"][0]["endpoint"], "192.0.2.1:51820");
    let _ta = world.up(&world.a, &a, "");
    reaches(&world.a, "10.9.0.2");
}

/// As large as the machine lets them be.
const CORES_ALLOWED: &str = r#"ulimit -Sc "$(ulimit -Hc)"; exec "$@""#;

/// No log, report or error, nor the process itself, contains a key.
#[test]
fn no_key_is_logged_shown_or_dumped() {
    let world = World::new();
    let shared = adit("tunnel genpsk").trim().to_owned();
    let psk = format!("PresharedKey = {shared}");
    let (a, b) = world.pair("192.0.2.2:51820", [("", psk.as_str()), ("", psk.as_str())]);
    let _tb = world.up(&world.b, &b, "--faster 60");
    let log = world.folder.join("log");
    // The user's shell may ignore the signal that must end it.
    let child = bare("env")
        .args([
            "--default-signal",
            "bash",
            "-c",
            CORES_ALLOWED,
            "bash",
            ADIT,
            "-vv",
            "-n",
            &world.a.path(),
            "tunnel",
            "up",
        ])
        .args(["--faster", "60"])
        .arg(&a)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(world.folder.join("out")).unwrap())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut ta = Running(child);
    reaches(&world.a, "10.9.0.2");
    // Over several sessions, a reload with mistakes, and one without.
    let whole = std::fs::read_to_string(&a).unwrap();
    let broken =
        whole.replace("PresharedKey = ", "PresharedKye = ").replace("\nAddress", "x\nAddress");
    world.write("ta.conf", &broken);
    let refused = text(&crate::support::try_adit(&["tunnel", "reload", "ta"]).stderr);
    assert!(refused.contains("did you mean PresharedKey?"), "{refused}");
    signal(&ta, "HUP");
    world.write("ta.conf", &whole);
    adit("tunnel reload ta");
    world.a.run("ping -n -q -c 40 -i 0.1 -W 5 10.9.0.2");

    let private = whole.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
    let of_process =
        |name: &str| text(&std::fs::read(format!("/proc/{}/{name}", ta.pid())).unwrap_or_default());
    let mut told = vec![
        refused,
        adit("tunnel show ta"),
        adit("-j tunnel show ta"),
        of_process("cmdline"),
        of_process("environ"),
    ];
    // Without the right to trace every process, its user cannot read its memory.
    for file in ["environ", "mem", "maps"] {
        let path = format!("/proc/{}/{file}", ta.pid());
        let words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "head", "-c1", &path];
        let output = command(words).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{path}: {output:?}");
    }
    signal(&ta, "QUIT");
    wait_for("it ends", || ta.0.try_wait().unwrap().is_some());
    let status = ta.0.wait().unwrap();
    assert!(!status.core_dumped(), "{status}");
    told.push(std::fs::read_to_string(&log).unwrap());
    told.push(std::fs::read_to_string(world.folder.join("out")).unwrap());
    for key in [private, &shared] {
        told.iter().for_each(|text| has_none_of(key, text));
    }
}

/// Neither the key nor the bytes that it stands for are in a text.
fn has_none_of(key: &str, text: &str) {
    let mut bytes =
        command(["base64", "-d"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut bytes.stdin.take().unwrap(), key.as_bytes()).unwrap();
    let bytes = bytes.wait_with_output().unwrap().stdout;
    let hex = bytes[..8].iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    assert!(!text.contains(&key[..12]) && !text.to_lowercase().contains(&hex), "{text}");
}

/// Sends a signal by its name.
fn signal(running: &Running, name: &str) {
    crate::support::run(&format!("kill -{name} {}", running.pid()));
}
