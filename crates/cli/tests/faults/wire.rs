//! What the tests send, see and ask.

use crate::program::{PATIENCE, address, eventually, hosts};
use adit_device::{IfName, Link, Netns, PacketSocket, PacketSocketOptions};
use adit_packet::VnetHeader;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Numbers that are the same for the same seed (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    /// Says its seed, so that what failed can be done again.
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_ne_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }

    /// The address of some host.
    pub(crate) fn mac(&mut self) -> [u8; 6] {
        let mut mac = [0; 6];
        self.fill(&mut mac);
        mac[0] = mac[0] & 0xfc | 2;
        mac
    }
}

/// Hosts `na`, `nb`, ... that say nothing of their own accord: without IPv6.
pub(crate) fn quiet_hosts(names: &[&str]) {
    hosts(names);
    for name in names {
        let off = || std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        Netns::named(name).unwrap().run(off).unwrap().unwrap();
    }
}

/// Gives the hosts `nX` of these letters, whose devices are `X`, addresses `192.0.2.1` and so on.
pub(crate) fn addresses(letters: &str) {
    for (at, letter) in letters.chars().enumerate() {
        let device = letter.to_string();
        address(&format!("n{letter}"), &device, &format!("192.0.2.{}/24", at + 1));
    }
}

pub(crate) fn link(netns: &str, device: &str) -> Link {
    let name: IfName = device.parse().unwrap();
    Link::find_in(&Netns::named(netns).unwrap(), &name).unwrap()
}

pub(crate) fn mac_of(netns: &str, device: &str) -> [u8; 6] {
    link(netns, device).info().unwrap().address.and_then(|address| address.mac()).unwrap().0
}

/// A device of a host, to send any frame and to see all that pass.
pub(crate) struct Wire(PacketSocket);

impl Wire {
    pub(crate) fn open(netns: &str, device: &str) -> Self {
        let options = PacketSocketOptions {
            promiscuous: true,
            incoming_only: true,
            buffer_len: Some(32 << 20),
            netns: Some(Arc::new(Netns::named(netns).unwrap())),
            ..PacketSocketOptions::default()
        };
        Self(PacketSocket::open(link(netns, device).index().unwrap(), &options).unwrap())
    }

    /// Sends a frame; waits for room. Whether the kernel took it.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        self.send_with(&VnetHeader::default(), frame)
    }

    pub(crate) fn send_with(&self, vnet: &VnetHeader, frame: &[u8]) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.0.send_parts(vnet, frame, &[]) {
                Ok(()) => return true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // ENOBUFS: the queue of the device is full.
                Err(error) if error.raw_os_error() == Some(105) => {}
                Err(_) => return false,
            }
            assert!(Instant::now() < end, "nobody reads");
            std::thread::yield_now();
        }
    }
}

/// What a capture saw.
pub(crate) struct Counted {
    pub(crate) wanted: usize,
    all: usize,
    /// Came while there was no room for it.
    lost: u64,
}

/// Counts frames that pass a device, until it is asked.
pub(crate) struct Capture {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Counted>,
}

impl Capture {
    /// Counts those of which `is_wanted` says so, at the host `nX` with the device `X`.
    pub(crate) fn start(letter: &str, is_wanted: impl Fn(&[u8]) -> bool + Send + 'static) -> Self {
        let Wire(mut socket) = Wire::open(&format!("n{letter}"), letter);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let work = move || {
            let (mut counted, mut buf) = (Counted { wanted: 0, all: 0, lost: 0 }, vec![0; 1 << 17]);
            loop {
                // What came before the end was said is still read.
                let is_last = over.load(Ordering::SeqCst);
                while let Ok(frame) = socket.recv(&mut buf) {
                    counted.all += 1;
                    counted.wanted += usize::from(is_wanted(&buf[..frame.len]));
                }
                if is_last {
                    counted.lost = socket.statistics().unwrap().dropped;
                    return counted;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        Self { is_over, thread: std::thread::spawn(work) }
    }

    /// How many of those that were wanted came, and how many in all.
    pub(crate) fn end(self) -> (usize, usize) {
        let counted = self.end_of_storm();
        assert_eq!(counted.lost, 0, "the capture is whole");
        (counted.wanted, counted.all)
    }

    /// The same where more may have come than there was room for.
    pub(crate) fn end_of_storm(self) -> Counted {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// A frame of at least 60 bytes.
pub(crate) fn frame(to: [u8; 6], from: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &ether_type.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// For all.
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// The type of the tests' own frames: the second one for local experiments (IEEE 802), for probes for
/// loops have the first.
pub(crate) const OURS: u16 = 0x88b6;

/// Whether a frame has this type.
pub(crate) fn is_of_type(frame: &[u8], ether_type: u16) -> bool {
    frame.get(12..14) == Some(&ether_type.to_be_bytes())
}

/// Whether a frame is from one of these addresses and for another of them.
pub(crate) fn is_between(frame: &[u8], macs: &[[u8; 6]]) -> bool {
    frame.len() >= 14
        && macs.iter().any(|m| frame[..6] == *m)
        && macs.iter().any(|m| frame[6..12] == *m)
}

/// Asks the control socket of the program `name`: the body of its reply, whatever its status.
pub(crate) fn ask(name: &str, request: &str, body: &str) -> Value {
    let mut stream = UnixStream::connect(format!("/run/adit/{name}.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits until the switch `switch` runs: it listens first, and answers when all its ports are there.
pub(crate) fn runs() {
    eventually("it listens", || UnixStream::connect("/run/adit/switch.sock").is_ok());
    ask("switch", "GET /switch", "");
}

/// A port of the switch `switch`.
pub(crate) fn port(name: &str) -> Value {
    ask("switch", &format!("GET /ports/{name}"), "")[0].clone()
}

/// How many frames came in there, dropped ones included.
pub(crate) fn arrived(name: &str) -> u64 {
    let port = port(name);
    port["ingress"]["frames"].as_u64().unwrap_or_else(|| panic!("{port}"))
}

/// All that was dropped of what came in at (`ingress`) or went out of (`egress`) a port.
pub(crate) fn dropped(port: &Value, way: &str) -> u64 {
    port[way]["drops"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// Waits until so many frames have come in.
pub(crate) fn arrive(name: &str, count: u64) {
    eventually(&format!("{count} frames at {name}"), || arrived(name) >= count);
}

/// The time that a process has used, in clock ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let number = |at: usize| fields.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
    // utime and stime: the 14th and 15th field, of which two are before the parenthesis.
    number(11) + number(12)
}

/// A process that has nothing to do, now or when it has done what is left, takes less than a fifth of a
/// second of a second.
pub(crate) fn is_at_rest(pid: u32) {
    eventually("it rests", || {
        let before = ticks(pid);
        std::thread::sleep(Duration::from_secs(1));
        ticks(pid) - before < 20
    });
}

/// The memory that a process has allocated, in KiB: without the pages of files.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
