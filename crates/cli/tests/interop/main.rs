//! The switch beside its neighbours: the kernel's VXLAN and bridge, VDE, Open vSwitch, scapy, ns-3.
//!
//! The programs that are not installed make their test say that it is skipped, unless
//! `ADIT_REQUIRE=interop` turns that into a failure.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

#[path = "../../../device/tests/support/mod.rs"]
mod support;
#[path = "../cli/wires.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod wires;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::run;

/// The limit of every wait.
const SOON: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not in {SOON:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a command succeeds, and says nothing.
fn succeeds(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says that a neighbour is not installed; where everything is required, that is a failure.
fn skipped(what: &str) {
    let required = std::env::var("ADIT_REQUIRE")
        .is_ok_and(|what| what.split(',').any(|word| word == "interop"));
    assert!(!required, "not installed: {what}");
    println!("skipped: not installed: {what}");
}

/// A program that ends with the test.
struct Started(Child);

impl Started {
    fn new(line: &str) -> Self {
        Self::with_input(line, Stdio::null())
    }

    fn with_input(line: &str, input: impl Into<Stdio>) -> Self {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(input).env_remove("XDG_RUNTIME_DIR").env_remove("NOTIFY_SOCKET");
        Self(command.spawn().unwrap_or_else(|error| panic!("{line}: {error}")))
    }

    fn switch(ports: &[&str]) -> Self {
        let mut words = vec![env!("CARGO_BIN_EXE_adit").to_owned(), "switch".to_owned()];
        words.extend(ports.iter().map(|port| format!("--port {port}")));
        wires::add_words(&mut words);
        Self::new(&words.join(" "))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of the test's own: `/run` is empty and vanishes with its mount namespace.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new("/run").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn add_netns(names: &[&str]) {
    for name in names {
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
    }
}

fn has(netns: &str, device: &str) -> bool {
    succeeds(&format!("ip -n {netns} link show {device}"))
}

/// Gives the interface an address and brings it up, as soon as it is there.
fn address(netns: &str, device: &str, address: &str) {
    wait_for(device, || has(netns, device));
    run(&format!("ip -n {netns} address add {address}/24 dev {device}"));
    run(&format!("ip -n {netns} link set dev {device} up"));
}

fn pings(from: &str, to: &str) {
    wait_for(to, || succeeds(&format!("ip netns exec {from} ping -c 1 -W 1 {to}")));
    run(&format!("ip netns exec {from} ping -c 20 -i 0.01 -W 10 {to}"));
}

#[test]
fn the_kernels_vxlan_is_a_neighbour() {
    support::enter();
    add_netns(&["here", "far"]);
    // The underlay: this namespace and the far one.
    run("ip link add u0 type veth peer name u1 netns far");
    run("ip address add 192.0.2.1/24 dev u0");
    run("ip link set u0 up");
    address("far", "u1", "192.0.2.2");
    run("ip -n far link add vx type vxlan id 7 local 192.0.2.2 remote 192.0.2.1 dstport 4789");
    address("far", "vx", "198.18.0.2");
    let _switch = Started::switch(&["tap:a,netns=here", "vxlan:192.0.2.2,vni=7"]);
    address("here", "a", "198.18.0.1");
    pings("here", "198.18.0.2");
    pings("far", "198.18.0.1");
}

/// Whether a message of a spanning tree passes the port d1 in so many seconds. (tcpdump wants to change
/// its user, which a user namespace does not allow.)
fn bpdu_within(seconds: u32, direction: &str) -> bool {
    const PROGRAM: &str = r"
import socket, sys, time
end, outgoing = time.monotonic() + int(sys.argv[1]), sys.argv[2] == 'out'
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('d1', 0))
while time.monotonic() < end:
    s.settimeout(max(0.01, end - time.monotonic()))
    try:
        data, address = s.recvfrom(2000)
    except TimeoutError:
        break
    if data[:6] == bytes.fromhex('0180c2000000') and (address[2] == socket.PACKET_OUTGOING) == outgoing:
        print('heard')
        break
print('done')
";
    let words = ["/usr/bin/python3", "-c", PROGRAM, &seconds.to_string(), direction];
    let said = support::run_words(words);
    assert!(said.ends_with("done\n"), "{said}");
    said.starts_with("heard")
}

/// Two cables between our switch and a bridge are a loop. Bridges keep their own messages to
/// themselves, so its spanning tree sees nothing of us, and we have to break it.
#[test]
fn a_bridge_with_two_cables_to_us_is_no_storm() {
    support::enter();
    add_netns(&["here", "far"]);
    run("ip link add br0 type bridge stp_state 1 forward_delay 200 hello_time 100");
    for number in 0..2 {
        run(&format!("ip link add c{number} type veth peer name d{number}"));
        run(&format!("ip link set c{number} master br0"));
        run(&format!("ip link set c{number} up"));
        run(&format!("ip link set d{number} up"));
    }
    run("ip link add e0 netns far type veth peer name c2");
    run("ip link set c2 master br0");
    run("ip link set c2 up");
    run("ip link set br0 up");
    let _switch = Started::switch(&["tap:a,netns=here", "dev:d0", "dev:d1"]);
    address("here", "a", "198.18.0.1");
    address("far", "e0", "198.18.0.2");
    pings("here", "198.18.0.2");
    // A storm doubles itself until nothing else gets through; what is broken is quiet.
    for _ in 0..50 {
        succeeds("ip netns exec here ping -b -c 1 -W 0.02 198.18.0.255");
    }
    let received = || -> u64 {
        let text = run("cat /sys/class/net/br0/statistics/rx_packets");
        text.trim().parse().unwrap()
    };
    wait_for("quiet", || {
        let before = received();
        std::thread::sleep(Duration::from_millis(500));
        received() - before < 50
    });
    pings("here", "198.18.0.2");
    // What came in by one cable as a bridge's message never went out by the other: neither of the
    // bridge's ports has heard the bridge itself, which it would call its own designated port.
    assert!(bpdu_within(25, "in"), "the bridge speaks");
    assert!(!bpdu_within(5, "out"));
}

#[test]
fn vde_switch_is_a_neighbour() {
    if !succeeds("which vde_switch") {
        return skipped("vde2");
    }
    support::enter();
    add_netns(&["here", "far"]);
    let socket = folder("vde");
    // It takes commands from its standard input: one that stays silent.
    let silent = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().unwrap();
    let mut silent = Started(silent);
    let input = silent.0.stdout.take().unwrap();
    let line = format!("vde_switch -s {} -tap v0 -tap v1", socket.join("ctl").display());
    let _vde = Started::with_input(&line, input);
    wait_for("v1", || succeeds("ip link show v1"));
    run("ip link set v1 netns far");
    run("ip link set v0 up");
    let _switch = Started::switch(&["tap:a,netns=here", "dev:v0"]);
    address("here", "a", "198.18.0.1");
    address("far", "v1", "198.18.0.2");
    pings("here", "198.18.0.2");
}

/// Frames as scapy makes them cross byte by byte: two tags, one byte short of the least frame, and as
/// long as the MTU lets them be.
#[test]
fn scapys_frames_cross_unchanged() {
    const PROGRAM: &str = r"
import sys
from scapy.all import Ether, Dot1Q, Dot1AD, Raw, IP, UDP, sendp, AsyncSniffer
frames = [
    Ether(dst='02:00:00:00:00:02', src='02:00:00:00:00:01') / Dot1AD(vlan=100) / Dot1Q(vlan=7) / Raw(b'a' * 100),
    Ether(dst='ff:ff:ff:ff:ff:ff', src='02:00:00:00:00:01', type=0x88b5) / Raw(b'b'),
    Ether(dst='02:00:00:00:00:02', src='02:00:00:00:00:01') / IP(src='192.0.2.1', dst='192.0.2.2') / UDP() / Raw(b'c' * 8900),
]
if sys.argv[1] == 'send':
    for frame in frames:
        sendp(frame, iface='e', verbose=False)
else:
    wanted = [bytes(frame) for frame in frames]
    def take(packet):
        raw = bytes(packet)
        if raw in wanted:
            wanted.remove(raw)
        return not wanted
    sniffer = AsyncSniffer(iface='e', stop_filter=take, store=False, timeout=60,
                           started_callback=lambda: print('ready', flush=True))
    sniffer.start()
    sniffer.join()
    assert not wanted, wanted
";
    support::enter();
    add_netns(&["here", "far"]);
    let _switch = Started::switch(&["tap:e,netns=here", "tap:e,netns=far"]);
    for netns in ["here", "far"] {
        address(netns, "e", if netns == "here" { "198.18.0.1" } else { "198.18.0.2" });
        run(&format!("ip -n {netns} link set dev e mtu 9000"));
    }
    let python = |netns: &str, what: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns, "/usr/bin/python3", "-c", PROGRAM, what]);
        command
    };
    let mut receiver = Started(python("far", "recv").stdout(Stdio::piped()).spawn().unwrap());
    let mut ready = [0; 5];
    std::io::Read::read_exact(receiver.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert!(python("here", "send").status().unwrap().success());
    assert!(receiver.0.wait().unwrap().success(), "all frames arrived as they were sent");
}

#[test]
fn an_ns3_node_is_a_neighbour() {
    if !succeeds("which g++") || !Path::new("/usr/include/ns3").exists() {
        return skipped("g++, libns3-dev");
    }
    support::enter();
    add_netns(&["here"]);
    let program = folder("ns3").join("node");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/ns3.cc");
    let libraries = "-lns3-fd-net-device -lns3-internet -lns3-network -lns3-core";
    let program = program.display();
    // The headers of ns-3 3.44 need C++20, and with those of 3.37 a compiler refuses it.
    let standards = ["c++17", "c++20"];
    let compiles = |standard: &&str| {
        succeeds(&format!("g++ -std={standard} -O0 -o {program} {source} {libraries}"))
    };
    assert!(standards.iter().any(compiles), "{source} does not compile");
    let _node = Started::new(&format!("{program} n0 198.18.0.2 300"));
    wait_for("n0", || succeeds("ip link show n0"));
    run("ip link set n0 up");
    let _switch = Started::switch(&["tap:a,netns=here", "dev:n0"]);
    address("here", "a", "198.18.0.1");
    pings("here", "198.18.0.2");
}
