//! Frames that the kernel forwards for a switch between its `dev:` ports.

use crate::program::{PATIENCE, Program, address, eventually, hosts, is_cut_off, reaches, try_run};
use crate::support::{ADIT, adit, adit_json, bare, command, refused, run};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Runs a program as on a kernel before 6.6, which has no links of tcx: `bpf(BPF_LINK_CREATE)` is EINVAL there.
const OLD_KERNEL: &str = r"
import ctypes, os, platform, struct, sys
bpf = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
number, first_argument, link_create, einval = 0, 16, 28, 22
code = [
    (0x20, 0, 0, number), (0x15, 0, 3, bpf),
    (0x20, 0, 0, first_argument), (0x15, 0, 1, link_create),
    (0x06, 0, 0, 0x00050000 | einval), (0x06, 0, 0, 0x7fff0000),
]
filter = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(filter)))
assert ctypes.CDLL(None, use_errno=True).prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
";

/// Three hosts with a veth each, `p?` and `h?`.
fn three_hosts() {
    hosts(&["na", "nb", "nc"]);
    for (host, number) in [("a", 1), ("b", 2), ("c", 3)] {
        run(&format!("ip link add name p{host} type veth peer name h{host} netns n{host}"));
        run(&format!("ip link set dev p{host} up"));
        address(&format!("n{host}"), &format!("h{host}"), &format!("192.0.2.{number}/24"));
    }
}

/// A switch between them.
fn three_cables(more: &str) -> Program {
    three_hosts();
    Program::start(&format!("switch --port dev:pa --port dev:pb --port dev:pc {more}"))
}

/// The same on an old kernel.
fn start_on_old_kernel() -> Program {
    let mut command = bare("/usr/bin/python3");
    command.args(["-c", OLD_KERNEL, ADIT, "-j", "switch", "--accelerate", "require"]);
    command.args(
        ["pa", "pb", "pc"].iter().flat_map(|port| ["--port".to_owned(), format!("dev:{port}")]),
    );
    let mut program = Program::spawn(&mut command);
    program.wait_for("ready");
    program
}

/// How many programs of ours are in the packet classifier of each port.
fn filters() -> [usize; 3] {
    ["pa", "pb", "pc"]
        .map(|port| run(&format!("tc filter show dev {port} ingress")).matches(" adit-").count())
}

fn kernel() -> Value {
    adit_json("switch show")["kernel"].clone()
}

/// How many frames the kernel has forwarded.
fn forwarded() -> u64 {
    kernel()["frames"].as_u64().unwrap()
}

/// Frames that a host has received.
fn received(host: &str) -> u64 {
    let path = format!("/sys/class/net/h{host}/statistics/rx_packets");
    run(&format!("ip netns exec n{host} cat {path}")).trim().parse().unwrap()
}

/// A host that sends datagrams to 192.0.2.2 as fast as it can, until it is dropped.
struct Flood(Child);

impl Flood {
    fn start() -> Self {
        let line = "exec 3>/dev/udp/192.0.2.2/9; while :; do echo >&3; done";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "na", "bash", "-c", line]);
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_the_kernel_forwards_between_known_addresses_and_show_says_so() {
    let mut program = three_cables("--accelerate require");
    assert!(reaches("na", "192.0.2.2"));
    run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
    let kernel = kernel();
    assert_eq!(kernel["ports"], json!(["dev:pa", "dev:pb", "dev:pc"]));
    assert!(kernel["addresses"].as_u64().unwrap() >= 2, "{kernel}");
    assert!(kernel["frames"].as_u64().unwrap() >= 20, "{kernel}");
    let fdb = adit_json("switch fdb");
    assert!(fdb.as_array().unwrap().iter().filter(|entry| entry["kernel"] == true).count() >= 2);
    assert!(adit("switch show").contains("the kernel forwards between dev:pa, dev:pb, dev:pc"));
    assert!(adit("switch fdb").contains("FORWARDED BY"));
    // The counters of ports include those frames.
    // Frames of the hosts' own may come at any time: the kernel is asked between two equal counts.
    let frames = || {
        let ports = &adit_json("switch show")["ports"];
        [0, 1].map(|at| ports[at]["ingress"]["frames"].as_u64().unwrap())
    };
    let count = || {
        let mut both = None;
        eventually("no frame comes while it is counted", || {
            let counted = frames();
            let came = ["pa", "pb"].map(|device| -> u64 {
                let path = format!("/sys/class/net/{device}/statistics/rx_packets");
                run(&format!("cat {path}")).trim().parse().unwrap()
            });
            both = (frames() == counted).then_some([(counted[0], came[0]), (counted[1], came[1])]);
            both.is_some()
        });
        both.unwrap()
    };
    let before = count();
    run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
    eventually("the counters have the same frames", || {
        let more = count().into_iter().zip(before).map(|(now, old)| (now.0 - old.0, now.1 - old.1));
        more.into_iter().all(|(frames, came)| frames >= 20 && frames == came)
    });
    assert_eq!(adit("switch set accelerate=off"), "the switch changed\n");
    assert_eq!(adit_json("switch show")["kernel"], Value::Null);
    assert!(reaches("na", "192.0.2.2"));
    assert_eq!(adit("switch set accelerate=auto"), "the switch changed\n");
    run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
    assert!(forwarded() >= 20);
    adit("switch stop");
    assert!(program.wait().success());
    assert!(is_cut_off("na", "192.0.2.2"));
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_change_holds_for_the_next_frame_in_the_kernel() {
    let mut program = three_cables("");
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.3"));
    adit("switch set pb isolated");
    let _flood = Flood::start();
    let changes = [
        ("switch set pa isolated", ""),
        ("switch set pa isolated=off vlan=10", ""),
        ("switch set pa vlan=none guard-mac=02:00:00:00:00:01", ""),
        ("switch set pa guard-mac=none guard-ip=198.51.100.1", ""),
        ("switch set pa guard-ip=none netem=loss=100%", ""),
        ("switch port del pa", "switch port add dev:pa"),
        ("switch set accelerate=off", ""),
    ];
    for (change, undo) in changes {
        let before = forwarded();
        eventually("the kernel forwards", || {
            try_run("ip netns exec nb ping -q -c 1 -W 1 192.0.2.1");
            forwarded() > before + 1000
        });
        adit(change);
        let then = (received("b"), adit_json("switch show")["kernel"]["frames"].clone());
        // A thousand frames later.
        let sent = || -> u64 {
            run("cat /sys/class/net/pa/statistics/rx_packets").trim().parse().unwrap()
        };
        let from = sent();
        eventually("more frames", || sent() > from + 1000);
        let now = (received("b"), adit_json("switch show")["kernel"]["frames"].clone());
        if change.contains("accelerate") {
            assert_eq!((then.1, now.1), (Value::Null, Value::Null));
            break;
        }
        // Host b gets replies of the others' neighbor discovery, and no flood.
        assert!(now.0 - then.0 < 20, "{change}: {} frames", now.0 - then.0);
        let passed = now.1.as_u64().unwrap() - then.1.as_u64().unwrap();
        assert!(passed < 20, "{change}: {passed} frames in the kernel");
        if undo.is_empty() {
            adit("switch set pa isolated=off vlan=none guard-mac=none guard-ip=none netem=none");
        } else {
            adit(undo);
        }
    }
    assert_eq!(program.count("failed"), 0);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_nothing_is_forwarded_after_the_end_of_the_program_however_it_ends() {
    let mut program = three_cables("");
    assert!(reaches("na", "192.0.2.2"));
    run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
    assert!(forwarded() >= 20);
    program.signal("KILL");
    program.wait();
    assert!(is_cut_off("na", "192.0.2.2"), "its programs went with it");
    let _again = Program::start("switch --port dev:pa --port dev:pb --name again");
    assert!(reaches("na", "192.0.2.2"));
    run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
    assert!(forwarded() >= 20);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_addresses_that_only_the_kernel_sees_do_not_age() {
    let _program = three_cables("");
    adit("switch set ageing=2s");
    assert!(reaches("na", "192.0.2.2"));
    let (start, in_table) = (Instant::now(), || {
        let fdb = adit_json("switch fdb");
        let of = |port: &str| fdb.as_array().unwrap().iter().any(|entry| entry["port"] == port);
        of("dev:pa") && of("dev:pb")
    });
    let mut pings = Command::new("ip");
    pings.args(["netns", "exec", "na", "ping", "-q", "-i", "0.2", "192.0.2.2"]);
    let pings = Flood(pings.stdout(Stdio::null()).spawn().unwrap());
    while start.elapsed().as_secs() < 8 {
        assert!(in_table(), "frames pass all the time");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(forwarded() >= 20, "most of them in the kernel");
    drop(pings);
    let end = Instant::now();
    eventually("the addresses age without frames", || !in_table());
    assert!(end.elapsed() < PATIENCE);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_an_older_kernel_forwards_by_filters_that_go_with_the_program() {
    three_hosts();
    // One that somebody else uses stays.
    run("tc qdisc add dev pc clsact");
    for end in ["KILL", "TERM"] {
        let mut program = start_on_old_kernel();
        assert_eq!(filters(), [1; 3], "those of the killed program were removed");
        assert!(reaches("na", "192.0.2.2"));
        run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
        assert!(forwarded() >= 20);
        // Another program's is nothing that was left.
        let mut more = bare("/usr/bin/python3");
        more.args(["-c", OLD_KERNEL, ADIT, "-j", "switch", "--name", "more"]);
        more.args(["--port", "dev:pa", "--port", "dev:pb"]);
        let mut more = Program::spawn(&mut more);
        more.wait_for("ready");
        assert_eq!(filters(), [2, 2, 1]);
        adit("switch stop more");
        assert!(more.wait().success());
        assert_eq!(filters(), [1; 3]);
        adit("switch port del pc");
        assert_eq!(filters(), [1, 1, 0]);
        adit("switch port add dev:pc");
        program.signal(end);
        program.wait();
        assert!(is_cut_off("na", "192.0.2.2"), "nothing is forwarded any more");
    }
    assert_eq!(filters(), [0; 3]);
    let has_clsact = |port| run(&format!("tc qdisc show dev {port}")).contains("clsact");
    assert_eq!(["pa", "pb", "pc"].map(has_clsact), [false, false, true]);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_show_says_for_which_interfaces_the_kernel_does_not_forward_and_why() {
    three_hosts();
    run("ip netns add nd");
    run("ip link add name pd netns nd type veth peer name pe");
    run("ip -n nd link set dev pd up");
    let _program = Program::start(
        "switch --accelerate require --port dev:pa --port dev:pb --port dev:pc,guard-ip=192.0.2.3 \
         --port dev:pd,netns=nd",
    );
    adit("switch set pb netem=delay=1ms");
    let left_out = || kernel()["left_out"].clone();
    let why = |at: usize, port: &str, part: &str| {
        let entry = left_out()[at].clone();
        assert_eq!(entry["port"], port);
        assert!(entry["why"].as_str().unwrap().contains(part), "{entry}");
    };
    why(0, "dev:pb", "emulated link");
    why(1, "dev:pc", "guards");
    why(2, "dev:pd", "no other port is an interface of its network namespace");
    let text = adit("switch show");
    assert!(text.contains("the kernel does not forward for dev:pd: no other port"), "{text}");
    adit("switch set pb netem=none");
    adit("switch set pc guard-ip=none");
    assert_eq!(kernel()["ports"], json!(["dev:pa", "dev:pb", "dev:pc"]));
    assert_eq!(left_out().as_array().unwrap().len(), 1);
    // What the kernel leaves out, the switch forwards.
    run("ip link set pe netns nc");
    run("ip netns exec nc ip link set dev hc down");
    address("nc", "pe", "192.0.2.4/24");
    assert!(reaches("na", "192.0.2.4"));
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_frame_that_an_interface_drops_is_counted_there() {
    let _program = three_cables("--accelerate require");
    assert!(reaches("na", "192.0.2.2"));
    run("ip netns exec na ping -q -c 5 -i 0.01 192.0.2.2");
    let dropped =
        || -> u64 { run("cat /sys/class/net/pb/statistics/tx_dropped").trim().parse().unwrap() };
    // The other end of the cable takes no frame of that length.
    run("ip -n nb link set dev hb mtu 1000");
    let (frames, drops) = (forwarded(), dropped());
    let (ok, _) = try_run("ip netns exec na ping -q -c 10 -i 0.01 -s 1200 -W 1 192.0.2.2");
    assert!(!ok, "they are lost");
    assert_eq!(forwarded() - frames, 10);
    assert_eq!(dropped() - drops, 10);
}

#[test]
fn without_privilege_it_is_off_and_said_once_or_refused() {
    hosts(&["na"]);
    run("ip link add name pa type veth peer name pb");
    let ports = "switch --port dev:pa --port dev:pb";
    let (code, text) = refused(&format!("{ports} --accelerate require"));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("the kernel does not forward") && text.contains("CAP_BPF"), "{text}");
    let _program = Program::start(&format!("{ports} --accelerate auto"));
    let failure = kernel()["failure"].as_str().unwrap_or_default().to_owned();
    assert!(failure.contains("not permitted"), "{failure}");
    assert!(adit("switch show").contains("the kernel does not forward"));
    assert_eq!(adit("switch set accelerate=off"), "the switch changed\n");
    assert_eq!(kernel(), Value::Null);
}

/// Sends 20,000 datagrams to 192.0.2.2, and 60 frames from the address of a group, which every switch drops.
const BURST: &str = "
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(20000):
    udp.sendto(b'x', ('192.0.2.2', 9))
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(('ha', 0))
for _ in range(60):
    raw.send(bytes.fromhex('020000000001' + '030000000001' + '88b5') + bytes(46))
";

/// A few drops among many packets are no finding, also if the kernel has forwarded the packets just now. Its counters
/// are read once a second in any case, which is often enough for some of the turns but not for all of them.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_health_counts_what_the_kernel_has_forwarded_until_now() {
    three_hosts();
    let ask =
        || run("curl -s -w %{http_code} --unix-socket /run/adit/switch.sock http://adit/health");
    for _ in 0..4 {
        let _switch = Program::start("switch --port dev:pa --port dev:pb --accelerate require");
        assert!(reaches("na", "192.0.2.2"));
        run("ip netns exec na ping -q -c 20 -i 0.01 192.0.2.2");
        assert!(ask().ends_with("200"));
        let mut burst = command(["ip", "netns", "exec", "na", "python3", "-c", BURST]);
        assert!(burst.status().unwrap().success());
        let reply = ask();
        let port = adit_json("switch show")["ports"][0]["ingress"].clone();
        assert_eq!(port["drops"]["malformed"], 60, "{port}");
        assert!(reply.ends_with("200"), "{reply} {port}");
    }
}
