//! The real world: the program `adit`, TAPs in namespaces (or cables that the kernel joins), the kernel's hosts.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use adit_device::netlink::{Address, IpPrefix, LinkChange, Netlink};
use adit_device::{IfName, Link};

use crate::wires::{are_in_kernel, rewired};
use crate::{LinkSpec, PortSpec, World, address};

/// Longer than the program needs to start on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a transfer may stand still.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A program that forwards, and a namespace for each host.
pub(crate) struct Netns {
    hosts: Vec<adit_device::Netns>,
    program: Option<Child>,
    /// Where the program's control socket is.
    run: PathBuf,
}

impl Netns {
    /// A world in a namespace of its own, which the calling thread enters.
    pub(crate) fn new() -> Self {
        adit_device::Netns::enter_new()
            .expect("a namespace: run the tests under `unshare -Urnm --`");
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let run = std::env::temp_dir().join(format!("adit-world-{}-{number}", std::process::id()));
        fs::create_dir_all(&run).unwrap();
        Self { hosts: Vec::new(), program: None, run }
    }

    /// Makes hosts, starts the program with a TAP in each and sets these up.
    fn start(
        &mut self,
        command: &str,
        count: usize,
        port: impl Fn(usize) -> String,
        rest: &[String],
    ) {
        let mut words = vec![command.to_owned()];
        for number in 0..count {
            let netns = adit_device::Netns::new_anonymous().unwrap();
            netns.run(set_host).unwrap();
            let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
            words.push("--port".to_owned());
            words.push(format!("tap:h{number},netns={path}{}", port(number)));
            self.hosts.push(netns);
        }
        words.extend_from_slice(rest);
        let words = rewired(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.program = Some(self.adit().args(words).stdout(Stdio::null()).spawn().unwrap());
        for number in 0..count {
            self.set_up(number);
        }
    }

    /// The program, with the folder of control sockets of this world.
    fn adit(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_adit"));
        program.env("XDG_RUNTIME_DIR", &self.run).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        program
    }

    /// The frames that the kernel has forwarded for the switch.
    fn forwarded(&self) -> u64 {
        let output = self.adit().args(["-j", "switch", "show"]).output().unwrap();
        let show: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        show["kernel"]["frames"].as_u64().unwrap()
    }

    /// Gives a host's TAP an address when it is there.
    fn set_up(&mut self, host: usize) {
        let name: IfName = format!("h{host}").parse().unwrap();
        let start = Instant::now();
        let link = loop {
            match Link::find_in(&self.hosts[host], &name) {
                Ok(link) => break link,
                Err(error) => assert!(start.elapsed() < START_MAX, "no TAP: {error}"),
            }
            let ended = self.program.as_mut().and_then(|program| program.try_wait().unwrap());
            assert_eq!(ended, None, "the program ended");
            thread::sleep(Duration::from_millis(10));
        };
        let prefix = IpPrefix::new(IpAddr::V4(address(host)), 24).unwrap();
        link.add_address(&Address::new(prefix)).unwrap();
        link.set_up(true).unwrap();
    }
}

/// Makes the kernel's TCP what that of the simulated hosts is: `NewReno` (RFC 6582), a retransmission
/// timeout of at least a second (RFC 6298), and none of what is newer: selective acknowledgments, loss
/// probes, RACK. And no IPv6 that speaks of its own accord.
fn set_host() {
    let set = |path: &str, value: &str| {
        let path = Path::new("/proc/sys/net").join(path);
        if path.exists() {
            fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    };
    set("ipv6/conf/default/disable_ipv6", "1");
    set("ipv4/tcp_congestion_control", "reno");
    set("ipv4/tcp_rto_min_us", "1000000");
    for newer in ["tcp_sack", "tcp_timestamps", "tcp_early_retrans", "tcp_recovery"] {
        set(&format!("ipv4/{newer}"), "0");
    }
}

/// A port's options on the command line.
fn options(port: PortSpec) -> String {
    let vlan = port.vlan.map_or_else(String::new, |vlan| format!(",vlan={vlan}"));
    format!("{vlan}{}", if port.isolated { ",isolated" } else { "" })
}

impl World for Netns {
    const TRIES: usize = 10;

    fn switch(&mut self, ports: &[PortSpec]) {
        self.start("switch", ports.len(), |number| options(ports[number]), &[]);
    }

    fn switch_with_loop(&mut self, ports: &[PortSpec]) {
        let [one, other] = ["loop0", "loop1"].map(|name| name.parse().unwrap());
        let mut netlink = Netlink::open().unwrap();
        let (one, other) = netlink.add_veth(&one, &other).unwrap();
        for index in [one, other] {
            netlink.set_link(index, &LinkChange::new().up(true)).unwrap();
        }
        let cable = ["--port=dev:loop0", "--port=dev:loop1"].map(str::to_owned);
        self.start("switch", ports.len(), |number| options(ports[number]), &cable);
    }

    fn link(&mut self, link: LinkSpec) {
        let mut rest = vec![
            format!("--delay={}us", link.delay.as_micros()),
            format!("--loss={}%", link.loss_percent),
            format!("--seed={}", link.seed),
        ];
        rest.extend(link.rate_megabits.map(|megabits| format!("--rate={megabits}mbit")));
        self.start("netem", 2, |_| String::new(), &rest);
    }

    fn ping(&mut self, from: usize, to: usize) -> Option<Duration> {
        let ping = || {
            let address = address(to).to_string();
            Command::new("ping").args(["-n", "-c", "1", "-W", "1", &address]).output().unwrap()
        };
        let output = self.hosts[from].run(ping).unwrap();
        // "64 bytes from 192.0.2.2: icmp_seq=1 ttl=64 time=40.2 ms"
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, time) = text.split_once(" time=")?;
        let millis: f64 = time.split_once(" ms")?.0.parse().unwrap();
        Some(Duration::from_secs_f64(millis / 1000.0))
    }

    fn pass(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn received(&mut self, host: usize) -> u64 {
        let name: IfName = format!("h{host}").parse().unwrap();
        let info = Link::find_in(&self.hosts[host], &name).unwrap().info().unwrap();
        info.stats.rx_packets
    }

    fn transfer(&mut self, from: usize, to: usize, bytes: &[u8]) -> (Vec<u8>, Duration) {
        let at = SocketAddr::from((address(to), 7000));
        let listener = self.hosts[to].run(|| TcpListener::bind(at)).unwrap().unwrap();
        let connect = || TcpStream::connect_timeout(&at, STALL_MAX);
        let mut sender = self.hosts[from].run(connect).unwrap().unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.set_write_timeout(Some(STALL_MAX)).unwrap();
        receiver.set_read_timeout(Some(STALL_MAX)).unwrap();
        let received = thread::scope(|threads| {
            threads.spawn(move || sender.write_all(bytes).unwrap());
            receive(&mut receiver).unwrap()
        });
        if are_in_kernel() {
            // 4 MiB are at least 64 super-packets, and the first frames of a flow do not pass in the kernel.
            let frames = self.forwarded();
            assert!(frames > 32, "the kernel forwarded {frames} frames");
        }
        received
    }
}

/// All that comes, and how long it took from the first byte to the end.
fn receive(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Duration)> {
    let mut received = vec![0];
    stream.read_exact(&mut received)?;
    let start = Instant::now();
    stream.read_to_end(&mut received)?;
    Ok((received, start.elapsed()))
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // It has ended already if it failed.
            let _ = program.kill();
            let _ = program.wait();
        }
        let _ = fs::remove_dir_all(&self.run);
    }
}
