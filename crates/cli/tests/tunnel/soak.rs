//! A tunnel and a switch with a fault every two seconds: they go on, memory and descriptors stay, and no datagram is
//! lost that no counter has. `./check --long` runs it for ten minutes (`long_…`).
#![allow(clippy::print_stdout, reason = "figures for people")]

use crate::support::{ADIT, adit, adit_json, bare, run};
use crate::world::{Keys, Running, Space, World, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(2);

/// Between two datagrams of the stream.
const GAP: Duration = Duration::from_millis(2);

/// How long a packet may be on its way on a machine that does something else as well.
const QUIET: Duration = Duration::from_millis(150);

/// A small file system that can be full.
const SMALL: &str = "/run/small";

/// The address of the far end inside, and of its Ethernet.
const FAR: (&str, &str) = ("10.8.0.9", "02:00:00:00:00:09");

#[derive(Clone, Copy, Debug)]
enum Fault {
    LinkDown,
    PeerKilled,
    DiskFull,
    ClientHung,
    AddressMoved,
    DeviceDeleted,
    Stopped,
    Reload,
    ChangedByOthers,
}

const FAULTS: [Fault; 9] = [
    Fault::LinkDown,
    Fault::PeerKilled,
    Fault::DiskFull,
    Fault::ClientHung,
    Fault::AddressMoved,
    Fault::DeviceDeleted,
    Fault::Stopped,
    Fault::Reload,
    Fault::ChangedByOthers,
];

/// A stream of numbered datagrams.
#[derive(Default)]
struct Stream {
    is_paused: AtomicBool,
    has_ended: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Stream {
    fn send(&self, socket: &UdpSocket) {
        let mut datagram = [0; 200];
        while !self.has_ended.load(Ordering::Acquire) {
            std::thread::sleep(GAP);
            if self.is_paused.load(Ordering::Acquire) {
                continue;
            }
            let number = self.sent.load(Ordering::Relaxed);
            datagram[..8].copy_from_slice(&number.to_be_bytes());
            // One that the kernel refuses was not sent.
            if socket.send(&datagram).is_ok() {
                self.sent.store(number + 1, Ordering::Release);
            }
        }
    }

    /// Counts each number once.
    fn receive(&self, socket: &UdpSocket) {
        let mut seen = BTreeSet::new();
        let mut datagram = [0; 300];
        while !self.has_ended.load(Ordering::Acquire) {
            let Ok(200) = socket.recv(&mut datagram) else { continue };
            if seen.insert(u64::from_be_bytes(datagram[..8].try_into().unwrap())) {
                self.received.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Does something while no datagram is on its way, which the kernel would drop without a count: with a socket or
    /// a device it frees their queues.
    fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        self.is_paused.store(true, Ordering::Release);
        std::thread::sleep(QUIET);
        let result = work();
        self.is_paused.store(false, Ordering::Release);
        result
    }

    /// Waits until datagrams arrive that were sent from now on.
    fn goes_on(&self, what: &str) {
        let before = self.received.load(Ordering::Acquire);
        wait_for(what, || self.received.load(Ordering::Acquire) > before + 20);
    }
}

/// Memory and descriptors of a process that lives through all faults.
struct Watched {
    name: &'static str,
    pid: u32,
    /// Seconds since the start, and kilobytes.
    memory: Vec<(f64, f64)>,
    descriptors: Vec<usize>,
}

impl Watched {
    fn new(name: &'static str, pid: u32) -> Self {
        Self { name, pid, memory: Vec::new(), descriptors: Vec::new() }
    }

    fn count(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    fn look(&mut self, start: Instant) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        self.memory.push((start.elapsed().as_secs_f64(), kilobytes));
        self.descriptors.push(self.count());
    }

    /// The growth of memory over the last three quarters, in kilobytes, by a line through all points.
    fn growth(&self) -> f64 {
        let points = &self.memory[self.memory.len() / 4..];
        let count = f64::from(u32::try_from(points.len()).unwrap());
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        above / below * (points[points.len() - 1].0 - points[0].0)
    }
}

struct Soak {
    world: World,
    client: Space,
    files: [PathBuf; 2],
    near: Running,
    switch: Running,
    far: Option<Running>,
    /// Nobody reads the log of the tunnel.
    _log: std::process::ChildStderr,
    /// Losses counted by what has ended: processes, devices.
    counted: u64,
    is_moved: bool,
    hung: Vec<UnixStream>,
}

impl Soak {
    fn new() -> Self {
        let world = World::new();
        let client = Space::new();
        fs::create_dir(SMALL).unwrap();
        run(&format!("mount -t tmpfs -o size=256k tmpfs {SMALL}"));
        let keys = [Keys::new(), Keys::new()];
        let file = |name: &str, own: usize, peer: u8, address: &str| {
            let text = format!(
                "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\naddresses = [{address}]\nmtu = 1400\n\
                 [[peer]]\nmode = \"tap\"\npublic_key = \"{}\"\nendpoint = \"192.0.2.{peer}:51820\"\nkeepalive = 1\n",
                keys[own].private,
                keys[1 - own].public
            );
            world.write(name, &text)
        };
        let files = [file("ta.toml", 0, 2, ""), file("tb.toml", 1, 1, "\"10.8.0.9/24\"")];
        // What the kernel drops while it looks for a neighbour has no counter of a namespace.
        let link: Value = serde_json::from_str(&world.b.run("ip -j link show dev ub")).unwrap();
        let of_link = link[0]["address"].as_str().unwrap();
        for number in [2, 3] {
            let neighbour = format!("192.0.2.{number} lladdr {of_link}");
            world.a.run(&format!("ip neigh replace {neighbour} dev ua nud permanent"));
        }
        let mut near = Self::tunnel(&world.a, &files[0], "-vvv --log trace", Stdio::piped());
        let log = near.stderr.take().unwrap();
        let near = Running(near);
        wait_for("the device is there", || world.a.has_link("ta"));
        let text = format!(
            "name = \"lab\"\n[[port]]\nport = \"dev:ta\"\n[[port]]\nport = \"tap:h,netns={}\"\n\
             [[mirror]]\nfile = \"{SMALL}/mirror.pcapng\"\n",
            client.path()
        );
        let file = world.write("lab.toml", &text);
        let mut command = bare(ADIT);
        command.args(["-n", &world.a.path(), "switch", "--config"]).arg(file);
        let switch = Running(command.stderr(Stdio::null()).spawn().unwrap());
        wait_for("the port is there", || client.has_link("h"));
        client.run("ip addr add 10.8.0.1/24 dev h");
        client.run("ip link set dev h up");
        client.run(&format!("ip neigh replace {} lladdr {} dev h nud permanent", FAR.0, FAR.1));
        let (far, counted, is_moved, hung) = (None, 0, false, Vec::new());
        let mut soak =
            Self { world, client, files, near, switch, far, _log: log, counted, is_moved, hung };
        soak.start_far();
        soak
    }

    fn tunnel(space: &Space, file: &PathBuf, words: &str, stderr: Stdio) -> Child {
        let mut command = bare(ADIT);
        command
            .args(["-n", &space.path(), "tunnel", "up"])
            .arg(file)
            .args(words.split_whitespace());
        command.env("STATE_DIRECTORY", SMALL).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
    }

    fn start_far(&mut self) {
        let far = Self::tunnel(&self.world.b, &self.files[1], "-q", Stdio::null());
        self.far = Some(Running(far));
        wait_for("the far end is there", || self.world.b.succeeds("ip -4 addr show dev tb up"));
        wait_for("it answers", || Self::try_show("tunnel show tb").is_some());
        // The same each time, so that no datagram waits for an answer to "who has".
        self.world.b.run(&format!("ip link set dev tb address {}", FAR.1));
    }

    fn try_show(line: &str) -> Option<Value> {
        let output = bare(ADIT).arg("-j").args(line.split(' ')).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// What a tunnel has lost, as it reports.
    fn lost_by_tunnel(name: &str) -> u64 {
        let show = &adit_json(&format!("tunnel show {name}"))[0];
        let drops = |list: &Value| -> u64 {
            list.as_array().unwrap().iter().map(|one| one["count"].as_u64().unwrap()).sum()
        };
        let of_sockets = [
            "too_big",
            "refused",
            "queue_full",
            "receive_buffer_full",
            "waited_too_long",
            "no_buffer",
        ]
        .map(|key| show["datagrams"][key].as_u64().unwrap());
        let peers = show["peers"].as_array().unwrap();
        drops(&show["drops"])
            + peers.iter().map(|peer| drops(&peer["drops"])).sum::<u64>()
            + of_sockets.iter().sum::<u64>()
    }

    fn lost_by_switch() -> u64 {
        let show = adit_json("switch show lab");
        let ports = show["ports"].as_array().unwrap().iter();
        let ways = ports.flat_map(|port| [&port["ingress"]["drops"], &port["egress"]["drops"]]);
        ways.flat_map(|drops| drops.as_object().unwrap().values().map(|v| v.as_u64().unwrap()))
            .sum()
    }

    /// What the kernel has dropped at a device of a namespace.
    fn lost_at(space: &Space, device: &str) -> u64 {
        let output =
            space.command(&format!("ip -s -s -j link show dev {device}")).output().unwrap();
        let Ok(links) = serde_json::from_slice::<Value>(&output.stdout) else { return 0 };
        let stats = &links[0]["stats64"];
        let of = |way: &str, key: &str| stats[way][key].as_u64().unwrap_or_default();
        ["rx", "tx"].iter().flat_map(|way| [of(way, "dropped"), of(way, "errors")]).sum()
    }

    /// What the protocols of a namespace have dropped.
    fn lost_in(space: &Space) -> u64 {
        let text = space.run("cat /proc/net/snmp");
        let rows: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let wanted = [
            ("Ip:", "InAddrErrors"),
            ("Ip:", "InDiscards"),
            ("Ip:", "OutDiscards"),
            ("Ip:", "OutNoRoutes"),
            ("Udp:", "NoPorts"),
            ("Udp:", "InErrors"),
            ("Udp:", "SndbufErrors"),
        ];
        let value = |(protocol, key): (&str, &str)| -> u64 {
            let at = rows.iter().position(|row| row[0] == protocol).unwrap();
            let column = rows[at].iter().position(|name| *name == key).unwrap();
            rows[at + 1][column].parse().unwrap()
        };
        wanted.into_iter().map(value).sum()
    }

    /// All losses that anything has counted.
    fn losses(&self) -> u64 {
        let World { a, b, .. } = &self.world;
        let devices = [(a, "ua"), (a, "ta"), (b, "ub"), (b, "tb"), (&self.client, "h")];
        self.counted
            + Self::lost_by_tunnel("ta")
            + Self::lost_by_tunnel("tb")
            + Self::lost_by_switch()
            + devices.iter().map(|(space, device)| Self::lost_at(space, device)).sum::<u64>()
            + [a, b, &self.client].map(Self::lost_in).iter().sum::<u64>()
    }

    fn inject(&mut self, fault: Fault, stream: &Stream) {
        let pause = || std::thread::sleep(Duration::from_millis(400));
        match fault {
            Fault::LinkDown => {
                self.world.b.run("ip link set dev ub down");
                pause();
                self.world.b.run("ip link set dev ub up");
            }
            Fault::PeerKilled => {
                self.counted += stream.paused(|| {
                    let counted = Self::lost_by_tunnel("tb") + Self::lost_at(&self.world.b, "tb");
                    self.far.take().unwrap().kill();
                    counted
                });
                pause();
                self.start_far();
            }
            Fault::DiskFull => {
                let path = format!("{SMALL}/junk");
                let mut junk = fs::File::create(&path).unwrap();
                while junk.write_all(&[0; 4096]).is_ok() {}
                pause();
                fs::remove_file(path).unwrap();
            }
            Fault::ClientHung => {
                for name in ["ta", "lab", "tb"] {
                    for _ in 0..8 {
                        let mut client =
                            UnixStream::connect(format!("/run/adit/{name}.sock")).unwrap();
                        client.write_all(b"GET /tunnel HTTP/1.1\r\n").unwrap();
                        self.hung.push(client);
                    }
                }
            }
            Fault::AddressMoved => {
                let (old, new) = if self.is_moved { (3, 2) } else { (2, 3) };
                self.is_moved = !self.is_moved;
                self.world.b.run(&format!("ip addr del 192.0.2.{old}/24 dev ub"));
                self.world.b.run(&format!("ip addr add 192.0.2.{new}/24 dev ub"));
            }
            Fault::DeviceDeleted => {
                self.counted += stream.paused(|| {
                    let counted = Self::lost_at(&self.world.a, "ta");
                    self.world.a.run("ip link del ta");
                    counted
                });
                wait_for("it is recreated", || self.world.a.has_link("ta"));
                wait_for("the switch has it again", || {
                    let _ = bare(ADIT).args(["switch", "reload", "lab"]).output().unwrap();
                    adit_json("switch show ta")[0]["state"] == "forwarding"
                });
            }
            Fault::Stopped => {
                let pids = format!("{} {}", self.near.pid(), self.switch.pid());
                run(&format!("kill -STOP {pids}"));
                pause();
                run(&format!("kill -CONT {pids}"));
            }
            Fault::Reload => {
                adit("tunnel reload ta");
                adit("tunnel reload tb");
                adit("switch reload lab");
            }
            Fault::ChangedByOthers => {
                self.world.b.run("ip addr del 10.8.0.9/24 dev tb");
                self.world.a.run("ip link set dev ta down");
                pause();
                self.world.a.run("ip link set dev ta up");
            }
        }
    }
}

/// Runs for so many faults; `growth_max` is how much memory a process may gain, in kilobytes.
fn soak(count: usize, growth_max: f64) {
    let mut soak = Soak::new();
    let stream = Stream::default();
    let receiver = soak.world.b.within(|| UdpSocket::bind("0.0.0.0:7001").unwrap());
    receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let sender = soak.client.within(|| UdpSocket::bind("10.8.0.1:7000").unwrap());
    sender.connect((FAR.0, 7001)).unwrap();
    let mut watched =
        [Watched::new("tunnel", soak.near.pid()), Watched::new("switch", soak.switch.pid())];
    std::thread::scope(|scope| {
        scope.spawn(|| stream.send(&sender));
        scope.spawn(|| stream.receive(&receiver));
        // A test that fails must end the threads as well.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            stream.goes_on("the stream begins");
            let base = soak.losses();
            let (sent, received) =
                (stream.sent.load(Ordering::Acquire), stream.received.load(Ordering::Acquire));
            let start = Instant::now();
            for number in 0..count {
                let fault = FAULTS[number % FAULTS.len()];
                let began = Instant::now();
                soak.inject(fault, &stream);
                stream.goes_on(&format!("fault {number}, {fault:?}: the stream goes on"));
                println!("{number}: {fault:?}: the stream went on after {:?}", began.elapsed());
                if !soak.hung.is_empty() {
                    // They hold a place and a descriptor; a client that asks is answered beside them.
                    adit("switch show lab");
                    soak.hung.clear();
                }
                std::thread::sleep(EVERY.saturating_sub(began.elapsed()));
                watched.iter_mut().for_each(|process| process.look(start));
            }
            stream.is_paused.store(true, Ordering::Release);
            // Until what is on its way has arrived, as much as will.
            let mut last = u64::MAX;
            wait_for("nothing arrives any more", || {
                std::thread::sleep(2 * QUIET);
                let now = stream.received.load(Ordering::Acquire);
                std::mem::replace(&mut last, now) == now
            });
            let sent = stream.sent.load(Ordering::Acquire) - sent;
            let received = stream.received.load(Ordering::Acquire) - received;
            let (lost, counted) = (sent.saturating_sub(received), soak.losses() - base);
            println!("{sent} sent, {received} received, {lost} lost, {counted} losses counted");
            assert!(lost <= counted, "{lost} of {sent} datagrams are lost, {counted} are counted");
        }));
        stream.has_ended.store(true, Ordering::Release);
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
    for process in &watched {
        let Watched { name, memory, descriptors, .. } = process;
        let (growth, last) = (process.growth(), memory[memory.len() - 1].1);
        println!(
            "{name}: {last} kB, {growth:+.0} kB in the last three quarters, descriptors {descriptors:?}"
        );
        assert!(growth <= growth_max, "{name} grows: {memory:?}");
        let usual = descriptors.iter().copied().min().unwrap();
        wait_for("no descriptor is left over", || process.count() <= usual);
    }
}

#[test]
fn a_fault_every_two_seconds_costs_no_memory_no_descriptor_and_no_uncounted_packet() {
    soak(FAULTS.len(), 2048.0);
}

#[test]
#[ignore = "takes ten minutes"]
fn long_a_fault_every_two_seconds_for_ten_minutes() {
    soak(300, 256.0);
}
