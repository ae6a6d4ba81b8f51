//! `adit nat serve`: guests on sockets and TAPs behind a NAT, and the NAT as a port of a switch.

use crate::nat::{CONNECT, Host, V4};
use crate::support::{ADIT, adit_json, bare, command, run, text};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Stdio};

/// `adit`, which has said that it runs.
struct Adit(Child);

impl Adit {
    fn start(words: &[&str]) -> Self {
        Self::with(Stdio::null(), &[&[ADIT], words].concat())
    }

    fn with(stdin: Stdio, words: &[&str]) -> Self {
        let mut adit = bare(words[0]);
        let mut adit = adit.args(&words[1..]).stdin(stdin).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(adit.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("is running"), "{line}");
        // Later lines must not be refused.
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        Self(adit)
    }

    fn stop(mut self) {
        run(&format!("{ADIT} nat stop"));
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Adit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Frames of guests: `PATH-OF-STREAM PATH-OF-DATAGRAMS IP...`. Two guests connect to the stream and one sends
/// datagrams; each asks for the MAC address of every IP address, until it is answered.
const GUESTS: &str = "
import os, socket, struct, sys, time
stream, dgram, addresses = sys.argv[1], sys.argv[2], sys.argv[3:]

class Stream:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(stream)
        self.s.settimeout(1)
        self.data = b''
    def send(self, frame):
        self.s.sendall(struct.pack('>I', len(frame)) + frame)
    def recv(self):
        while len(self.data) < 4 or len(self.data) < 4 + struct.unpack('>I', self.data[:4])[0]:
            more = self.s.recv(65536)
            assert more, 'the stream has ended'
            self.data += more
        end = 4 + struct.unpack('>I', self.data[:4])[0]
        frame, self.data = self.data[4:end], self.data[end:]
        return frame

class Datagrams:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(dgram + '.guest')
        self.s.connect(dgram)
        self.s.settimeout(1)
    def send(self, frame):
        self.s.send(frame)
    def recv(self):
        return self.s.recv(65536)

for number, guest in enumerate([Stream(), Stream(), Datagrams()]):
    mac, ip = bytes([2, 0, 0, 0, 0, number]), socket.inet_aton('10.0.2.%d' % (20 + number))
    for address in addresses:
        target, end = socket.inet_aton(address), time.time() + 60
        ask = b'\\xff' * 6 + mac + bytes.fromhex('0806000108000604' + '0001') + mac + ip + bytes(6) + target
        found = None
        while not found:
            assert time.time() < end, address
            try:
                guest.send(ask.ljust(60, b'\\0'))
                frame = guest.recv()
                while frame[12:14] != b'\\x08\\x06' or frame[28:32] != target or frame[:6] != mac:
                    frame = guest.recv()
                found = frame[6:12].hex(':')
            except TimeoutError:
                pass
        print(number, address, found)
os.unlink(dgram + '.guest')
";

/// A host with a TAP gets an address, and reaches the outside and the host of the test by its name.
fn host_on_tap(netns: &str, device: &str) {
    let script = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev $interface\n\
                  ip route add default via $router\n";
    std::fs::write("/run/dhcp", script).unwrap();
    run("chmod +x /run/dhcp");
    let inside = format!("ip netns exec {netns}");
    run(&format!("{inside} ip link set {device} up"));
    run(&format!("{inside} busybox udhcpc -i {device} -n -q -f -s /run/dhcp"));
    assert!(run(&format!("ip -n {netns} addr show {device}")).contains("inet 10.0.2.15/24"));
    let words = ["ip", "netns", "exec", netns, "python3", "-c", CONNECT, V4, "9"];
    assert_eq!(text(&command(words).output().unwrap().stdout), "reached\n");
}

#[test]
fn guests_of_streams_datagrams_and_taps_share_a_nat() {
    let mut host = Host::new();
    run("ip netns add blue");
    let ports = ["unix:/run/stream", "unix:/run/dgram,type=dgram", "tap:t0,netns=blue"];
    let publish = ["--publish", "9009:9", "--publish", "192.0.2.1:9010:10.0.2.15:9"];
    let sandbox = [&["nat", "serve", "--sandbox", "require"][..], &publish].concat();
    let adit = Adit::start(&[&sandbox[..], &ports].concat());
    host_on_tap("blue", "t0");
    // A published port leads to the first guest, or to the one that is named.
    run("ip -n blue link set lo up");
    host.serve(&["ip", "netns", "exec", "blue"], &["10.0.2.15"]);
    let reaches = |port: &str| {
        let words = ["ip", "netns", "exec", "srv", "python3", "-c", CONNECT, "192.0.2.1", port];
        text(&command(words).output().unwrap().stdout) == "reached\n"
    };
    assert!(reaches("9009") && reaches("9010"));
    // Another guest, at a time when it is there.
    run(&format!("{ADIT} nat publish 9011:10.0.2.77:9"));
    run("ip -n blue addr add 10.0.2.77/24 dev t0");
    host.serve(&["ip", "netns", "exec", "blue"], &["10.0.2.77"]);
    assert!(reaches("9011"));
    run("ip -n blue addr del 10.0.2.77/24 dev t0");
    let (status, error) = crate::support::refused("nat publish 9012:10.0.9.77:9");
    assert!(status == 7 && error.contains("none of the inside"), "{status}: {error}");
    let (status, error) = crate::support::refused("nat publish auto");
    assert!(status == 7 && error.contains("virtual machine"), "{status}: {error}");
    let (status, error) = crate::support::refused("nat serve unix:/run/more --publish auto");
    assert!(status == 2 && error.contains("'--publish auto' is not possible"), "{status}: {error}");
    assert!(!std::fs::exists("/run/more").unwrap());
    let mac = run("ip netns exec blue cat /sys/class/net/t0/address");
    let guests =
        ["python3", "-c", GUESTS, "/run/stream", "/run/dgram", "10.0.2.2", "10.0.2.3", "10.0.2.15"];
    let output = command(guests).output().unwrap();
    let own = "02:61:64:69:74:01";
    let expected: String = (0..3)
        .map(|guest| {
            format!("{guest} 10.0.2.2 {own}\n{guest} 10.0.2.3 {own}\n{guest} 10.0.2.15 {mac}")
        })
        .collect();
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    let shown = adit_json("nat show");
    let addresses: Vec<_> = shown["guests"].as_array().unwrap().iter().collect();
    assert!(
        addresses.iter().any(|guest| guest["address"] == "10.0.2.15" && guest["mac"] == mac.trim()),
        "{shown}"
    );
    assert_eq!(addresses.iter().filter(|guest| guest["address"] == "10.0.2.21").count(), 1);
    assert_eq!(adit_json("nat list")[0]["name"], "nat");
    crate::support::validate(&[("nat-show", shown.to_string())]);
    let text = run(&format!("{ADIT} nat show"));
    assert!(text.contains("10.0.2.15"), "{text}");
    adit.stop();
    assert!(!std::fs::exists("/run/stream").unwrap() && !std::fs::exists("/run/dgram").unwrap());
    assert_eq!(run("ip -n blue -o link").lines().count(), 1);
}

#[test]
fn a_descriptor_is_served_until_it_is_closed() {
    let _host = Host::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let words = ["sh", "-c", "exec \"$0\" nat serve --sandbox require fd:3 3<&0 </dev/null", ADIT];
    let mut adit = Adit::with(OwnedFd::from(theirs).into(), &words);
    // The first router advertisement.
    let mut len = [0; 4];
    std::io::Read::read_exact(&mut &ours, &mut len).unwrap();
    assert!(u32::from_be_bytes(len) > 60);
    drop(ours);
    assert_eq!(adit.0.wait().unwrap().code(), Some(0));
}

/// The timer of the watchdog is made before the sandbox forbids it.
#[test]
fn a_service_manager_watches_a_nat_in_its_sandbox() {
    let _host = Host::new();
    let notify = UnixDatagram::bind("/run/notify").unwrap();
    notify.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let manager = ["env", "NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=200000"];
    let serve = [ADIT, "nat", "serve", "--sandbox", "require", "unix:/run/guests"];
    let adit = Adit::with(Stdio::null(), &[&manager[..], &serve].concat());
    let mut bytes = [0; 4096];
    let mut hear = || {
        let len = notify.recv(&mut bytes).unwrap();
        text(&bytes[..len])
    };
    assert!(hear().contains("READY=1"));
    assert_eq!(hear(), "WATCHDOG=1");
    adit.stop();
    let run = [ADIT, "run", "--sandbox", "require", "--", "true"];
    let output = command(manager.iter().chain(&run)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_tun_device_is_served_without_guests() {
    let _host = Host::new();
    run("ip netns add blue");
    let adit = Adit::start(&["nat", "serve", "--sandbox", "require", "tun:t0,netns=blue"]);
    run("ip -n blue addr add 10.0.2.100/24 dev t0");
    run("ip -n blue route add default dev t0");
    let words = ["ip", "netns", "exec", "blue", "python3", "-c", CONNECT, V4, "9"];
    assert_eq!(text(&command(words).output().unwrap().stdout), "reached\n");
    adit.stop();
    let (status, error) = crate::support::refused("nat serve tun:t0 tap:t1");
    assert_eq!(status, 2, "{error}");
}

/// Sets up a TAP, by a command that enters its namespace, and connects to the outside.
fn reaches(enter: &str, device: &str, number: u8) -> bool {
    run(&format!("{enter} ip link set {device} up"));
    run(&format!("{enter} ip addr replace 10.0.2.{number}/24 dev {device}"));
    run(&format!("{enter} ip route replace default via 10.0.2.2"));
    let words = enter.split(' ').chain(["python3", "-c", CONNECT, V4, "9"]);
    text(&command(words).output().unwrap().stdout) == "reached\n"
}

#[test]
fn a_tap_is_served_where_it_was_moved_to_and_in_a_process_until_that_ends() {
    let _host = Host::new();
    run("ip netns add blue");
    run("ip netns add red");
    let mut process = Adit(bare("unshare").args(["-n", "sleep", "1000"]).spawn().unwrap());
    let pid = process.0.id();
    let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    while std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap() == own {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let of_process = format!("tap:t0,netns={pid}");
    let _adit =
        Adit::start(&["nat", "serve", "--sandbox", "require", &of_process, "tap:t1,netns=blue"]);
    let inside = format!("nsenter -t {pid} -n");
    assert!(reaches(&inside, "t0", 20));
    assert!(reaches("ip netns exec blue", "t1", 21));
    run("ip -n blue link set t1 netns red");
    assert!(reaches("ip netns exec red", "t1", 21));
    // Its names are checked twice a second.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(reaches(&inside, "t0", 20));
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    assert!(reaches("ip netns exec red", "t1", 21));
}

/// The address of `db.test`, from a name server.
const RESOLVE: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.sendto(b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\2db\\4test\\0\\0\\1\\0\\1', (sys.argv[1], 53))
print(socket.inet_ntoa(s.recv(512)[-4:]))
";

/// Sends datagrams of 3 MB at once and 300 kB by TCP, prints how many seconds the latter took, and keeps the connection.
const HOLD: &str = "
import socket, sys, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3000):
    u.sendto(bytes(1000), (sys.argv[1], 7))
s = socket.create_connection((sys.argv[1], 7), 60)
start = time.monotonic()
s.sendall(bytes(300000))
print(time.monotonic() - start, flush=True)
time.sleep(1000)
";

#[test]
fn a_nat_is_the_way_out_of_a_switch() {
    let _host = Host::new();
    for netns in ["blue", "red"] {
        run(&format!("ip netns add {netns}"));
    }
    let ports = ["tap:t0,netns=blue", "tap:t1,netns=red", "nat:,netem=delay=1ms"];
    let options = ports.iter().flat_map(|port| ["--port", port]);
    let words: Vec<&str> = ["switch"].into_iter().chain(options).collect();
    let _switch = Adit::start(&words);
    host_on_tap("blue", "t0");
    let shown = adit_json("switch show nat:");
    assert_eq!(shown[0]["state"], "forwarding", "{shown}");
    // Another network, and a port of the host.
    run(&format!("{ADIT} switch port del nat:"));
    let (status, error) = crate::support::refused("nat flows");
    assert!(status == 4 && error.contains("no nat is running"), "{status}: {error}");
    let more = "nat,network=10.9.0.0/24,allow-host=9,deny=any:7+192.0.2.2:5,allow=192.0.2.2:7,rate=100mbit,\
                source-rate=8mbit,flow-limit=1k,flow-rate=1k,dns=192.0.2.2,host=db.test=10.9.0.99,name=out";
    run(&format!("{ADIT} switch port add {more}"));
    run("ip -n red addr add 10.9.0.7/24 dev t1");
    run("ip -n red route add default via 10.9.0.2");
    for (address, port) in [(V4, "9"), (V4, "7")] {
        let words = ["ip", "netns", "exec", "red", "python3", "-c", CONNECT, address, port];
        assert_eq!(text(&command(words).output().unwrap().stdout), "reached\n");
    }
    // What it answers itself, and its flows, at the socket of the switch.
    let names = ["ip", "netns", "exec", "red", "python3", "-c", RESOLVE, "10.9.0.3"];
    assert_eq!(text(&command(names).output().unwrap().stdout), "10.9.0.99\n");
    let holds = ["ip", "netns", "exec", "red", "python3", "-c", HOLD, V4];
    let mut holds = bare(holds[0]).args(&holds[1..]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holds.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _holds = Adit(holds);
    assert!(line.trim().parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{line}");
    let flows = adit_json("nat flows");
    let flow = flows.as_array().unwrap().iter().find(|flow| flow["state"] == "open").unwrap();
    assert_eq!(flow["remote"], format!("{V4}:7"));
    assert!(flow["inside"].as_str().unwrap().starts_with("10.9.0.7:"), "{flow}");
    crate::support::validate(&[("nat-flows", flows.to_string())]);
    assert!(run(&format!("{ADIT} nat flows")).contains("10.9.0.7:"));
    let shown = adit_json("switch show out");
    assert!(shown[0]["egress"]["drops"]["source rate"].as_u64() > Some(0), "{shown}");
    for wrong in [
        "nat,deny=x",
        "nat,allow=10.0.0.1/8",
        "nat,rate=0",
        "nat,source-rate=fast",
        "nat,flow-limit=0",
        "nat,host=db.test",
        "nat,dns=server",
        "nat,network=10.9.0.0/30",
        "nat,network=10.9.0.0/24+10.8.0.0/24",
        "nat,udp-nat=x",
        "nat,mtu=100",
    ] {
        let (status, error) = crate::support::refused(&format!("switch --port {wrong}"));
        assert_eq!(status, 2, "{error}");
    }
}

#[test]
fn a_namespace_may_have_a_tap() {
    let _host = Host::new();
    run("ip netns add blue");
    let adit = Adit::start(&["nat", "attach", "blue", "--tap", "--sandbox", "require"]);
    assert!(run("ip -n blue -d link show tap0").contains("tun type tap"));
    let words = ["ip", "netns", "exec", "blue", "python3", "-c", CONNECT, V4, "9"];
    assert_eq!(text(&command(words).output().unwrap().stdout), "reached\n");
    adit.stop();
}
