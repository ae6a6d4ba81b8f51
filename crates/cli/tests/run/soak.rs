//! A hostile inside and a hostile outside: the NAT's memory is bounded, honest flows go on, and nothing gets where it must
//! not. `./check --long` repeats each test at its full size (`long_…`).
#![expect(clippy::print_stdout, reason = "the figures of a long run")]

use crate::nat::{Attached, Host, V4};
use crate::support::{ADIT, adit_json, command, run, text};
use adit_device::{Link, Netns, PacketSocket, PacketSocketOptions};
use adit_packet::{
    Fragment, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader, VnetHeader, checksum::Sum, icmp,
};
use rustix::net::SendFlags;
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};
use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Resident memory of a NAT whose tables are full, in kilobytes.
const MEMORY_MAX: u64 = 64 * 1024;

/// How much of the attack.
struct Size {
    syns: usize,
    orphans: usize,
    packets: usize,
    /// ICMP codes of each type.
    codes: u8,
    queries: usize,
    urgent: usize,
}

const SHORT: Size =
    Size { syns: 20_000, orphans: 5_000, packets: 50_000, codes: 2, queries: 2_000, urgent: 200 };

const LONG: Size = Size {
    syns: 200_000,
    orphans: 100_000,
    packets: 1_000_000,
    codes: 255,
    queries: 100_000,
    urgent: 20_000,
};

/// Repeatable numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[3]
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u32 {
        u32::from(self.word()) << 16 | u32::from(self.word())
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Puts packets of any kind on a device.
struct Attacker {
    socket: PacketSocket,
    link: Link,
    random: Random,
    sent: Cell<u64>,
}

impl Attacker {
    fn new(netns: &str, device: &str) -> Self {
        let netns = Netns::named(netns).unwrap();
        let link = Link::find_in(&netns, &device.parse().unwrap()).unwrap();
        let options = PacketSocketOptions {
            incoming_only: true,
            netns: Some(netns.into()),
            ..PacketSocketOptions::default()
        };
        let socket = PacketSocket::open(link.index().unwrap(), &options).unwrap();
        Self { socket, link, random: Random(0x5eed_0000_0001), sent: Cell::new(0) }
    }

    /// Sends; waits now and then until the device's queue is short.
    fn send(&self, packet: &[u8]) {
        // The kernel may take none that is no packet.
        if self.socket.send_parts(&VnetHeader::default(), packet, &[]).is_ok() {
            self.sent.set(self.sent.get() + 1);
        }
        let start = Instant::now();
        while self.sent.get().is_multiple_of(256) && self.queued() > 512 {
            assert!(start.elapsed() < PATIENCE, "nobody takes the packets");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// How many packets wait, at least.
    fn queued(&self) -> u64 {
        let stats = self.link.info().unwrap().stats;
        self.sent.get().saturating_sub(stats.tx_packets + stats.tx_dropped)
    }

    fn v4(
        &mut self,
        source: u32,
        to: u32,
        protocol: u8,
        fragment: Option<Fragment>,
        payload: &[u8],
    ) {
        let header = Ipv4Header {
            tos: self.random.byte(),
            total_len: u16::try_from(20 + payload.len()).unwrap(),
            id: self.random.word(),
            dont_fragment: fragment.is_none(),
            fragment,
            ttl: self.random.of(&[1, 2, 64, 255]),
            protocol,
            source: source.into(),
            destination: to.into(),
        };
        self.send(&[&header.to_bytes()[..], payload].concat());
    }

    fn v6(&mut self, source: u128, to: u128, next_header: u8, payload: &[u8]) {
        let header = Ipv6Header {
            class: self.random.byte(),
            flow_label: 0,
            payload_len: u16::try_from(payload.len()).unwrap(),
            next_header,
            hop_limit: self.random.of(&[1, 2, 64, 255]),
            source: source.into(),
            destination: to.into(),
        };
        self.send(&[&header.to_bytes()[..], payload].concat());
    }

    /// An address of the inside or a forged one; destinations that answer, that do not, and that are denied.
    fn ends_v4(&mut self) -> (u32, u32) {
        let inside = 0x0a00_0200 | u32::from(self.random.byte());
        let source = if self.random.below(4) == 0 { self.random.long() } else { inside };
        let last = u32::from(self.random.word());
        let to = self.random.of(&[
            0xcb00_7100 | last & 0xff,
            0xc000_0202,
            0xc000_0201,
            0x7f00_0000 | last,
            0xa9fe_a9fe,
            0xa9fe_0000 | last,
            0x6464_64c8,
            0x0a00_0202,
            0x0a00_0203,
            0xe000_00fb,
            0xffff_ffff,
            0,
        ]);
        (source, to)
    }

    fn ends_v6(&mut self) -> (u128, u128) {
        let last = u128::from(self.random.word());
        let inside = 0xfd00_u128 << 112 | last;
        let source =
            if self.random.below(4) == 0 { u128::from(self.random.next()) << 64 } else { inside };
        let to = self.random.of(&[
            0x2001_0db8_0009_u128 << 80 | last,
            0x2001_0db8_u128 << 96 | 2,
            0x2001_0db8_u128 << 96 | 1,
            1,
            0xffff_7f00_0001,
            0xfe80_u128 << 112 | last,
            0xfd00_0ec2_u128 << 96 | 0x254,
            0xfd00_u128 << 112 | 2,
            0xff02_u128 << 112 | 0xfb,
        ]);
        (source, to)
    }

    fn syn(&mut self) {
        let inside = 0x0a00_0200 | u32::from(self.random.byte());
        let source = if self.random.below(2) == 0 { self.random.long() } else { inside };
        let to = 0xcb00_7100 | u32::from(self.random.byte());
        let segment = self.segment(2, &[]);
        self.v4_segment(source, to, segment);
    }

    fn segment(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        let header = TcpHeader {
            source_port: self.random.word(),
            destination_port: self.random.of(&[7, 9, 53, 80, 443]),
            sequence: self.random.long(),
            acknowledgment: self.random.long(),
            flags: adit_packet::TcpFlags(flags),
            window: self.random.word(),
            checksum: 0,
            urgent: self.random.word(),
        };
        [&header.to_bytes(0)[..], payload].concat()
    }

    fn v4_segment(&mut self, source: u32, to: u32, mut segment: Vec<u8>) {
        let len = u16::try_from(segment.len()).unwrap();
        let sum = Sum::pseudo_v4(source.into(), to.into(), 6, len).add_bytes(&segment).finish();
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        self.v4(source, to, 6, None, &segment);
    }

    /// A fragment whose others never come.
    fn orphan(&mut self) {
        let (source, to) = (0x0a00_0264, 0xc000_0202);
        let len = 8 * self.random.below(180);
        let payload = self.random.bytes(len);
        let offset = 8 * u16::try_from(self.random.below(8000)).unwrap();
        let more = self.random.below(2) == 0;
        if self.random.below(2) == 0 {
            let id = self.random.long();
            let protocol = self.random.of(&[6, 17, 1]);
            self.v4(source, to, protocol, Some(Fragment { offset, more, id }), &payload);
        } else {
            let (source, to) = (0xfd00_u128 << 112 | 0x100, 0x2001_0db8_u128 << 96 | 2);
            let id = self.random.long().to_be_bytes();
            let place = (offset | u16::from(more)).to_be_bytes();
            let next = self.random.of(&[6, 17, 58]);
            self.v6(source, to, 44, &[&[next, 0][..], &place, &id, &payload].concat());
        }
    }

    /// Any packet: bytes, or headers that are valid but for what is random in them.
    fn packet(&mut self) {
        let len = self.random.below(1400);
        let most = if self.random.below(8) == 0 { 1400 } else { 64 };
        let payload = self.random.bytes(len.min(most));
        match self.random.below(8) {
            0 => {
                let mut bytes = payload;
                bytes.resize(bytes.len().max(1), 0);
                bytes[0] = self.random.of(&[0x45, 0x46, 0x4f, 0x60, 0x61]);
                self.send(&bytes);
            }
            1 => {
                let (source, to) = self.ends_v4();
                let protocol = self.random.byte();
                self.v4(source, to, protocol, None, &payload);
            }
            2 => {
                let (source, to) = self.ends_v6();
                let next = self.random.of(&[0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135]);
                self.v6(source, to, next, &payload);
            }
            3 | 4 => {
                let (source, to) = self.ends_v4();
                let flags = self.random.byte();
                let segment = self.segment(flags, &payload);
                self.v4_segment(source, to, segment);
            }
            5 => {
                let (source, to) = self.ends_v6();
                let flags = self.random.byte();
                let mut segment = self.segment(flags, &payload);
                let len = u32::try_from(segment.len()).unwrap();
                let sum = Sum::pseudo_v6(source.into(), to.into(), 6, len);
                let sum = sum.add_bytes(&segment).finish();
                segment[16..18].copy_from_slice(&sum.to_be_bytes());
                self.v6(source, to, 6, &segment);
            }
            6 => {
                let (source, to) = self.ends_v4();
                let len = u16::try_from(8 + payload.len()).unwrap();
                let (source_port, destination_port) =
                    (self.random.word(), self.random.of(&[7, 53, 67, 547, 9]));
                let head = UdpHeader { source_port, destination_port, len, checksum: 0 };
                self.v4(source, to, 17, None, &[&head.to_bytes()[..], &payload].concat());
            }
            _ => {
                let (source, to) = self.ends_v6();
                let len = 8 + payload.len();
                let (source_port, destination_port) =
                    (self.random.word(), self.random.of(&[7, 53, 547, 9]));
                let mut head = UdpHeader {
                    source_port,
                    destination_port,
                    len: u16::try_from(len).unwrap(),
                    checksum: 0,
                };
                let sum = Sum::pseudo_v6(source.into(), to.into(), 17, u32::try_from(len).unwrap());
                head.checksum = sum.add_bytes(&head.to_bytes()).add_bytes(&payload).finish_udp();
                self.v6(source, to, 17, &[&head.to_bytes()[..], &payload].concat());
            }
        }
    }

    /// ICMP and ICMPv6 of a type and code, to some destination.
    fn icmp(&mut self, kind: u8, code: u8) {
        let mut message = vec![kind, code, 0, 0];
        let len = self.random.below(64);
        message.extend(self.random.bytes(4 + len));
        let (source, to) = self.ends_v4();
        icmp::fill_checksum_v4(&mut message);
        self.v4(source, to, 1, None, &message);
        let (source, to) = self.ends_v6();
        message[2..4].fill(0);
        icmp::fill_checksum_v6(source.into(), to.into(), &mut message);
        self.v6(source, to, 58, &message);
    }
}

/// The resident memory of a process, in kilobytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A host with a neighbour, and a namespace `blue` behind a NAT.
struct World {
    _host: Host,
    adit: Attached,
}

impl World {
    fn new() -> Self {
        let host = Host::new();
        // Where nobody answers.
        run("ip route add default via 192.0.2.2");
        run("ip -6 route add default via 2001:db8::2");
        run("ip -n srv route add blackhole 203.0.113.0/24");
        run("ip -n srv -6 route add blackhole 2001:db8:9::/48");
        run("ip netns exec srv sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        run("ip netns exec srv sysctl -qw net.ipv4.tcp_max_tw_buckets=0");
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535").unwrap();
        fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
        fs::write("/run/resolv.conf", "nameserver 192.0.2.2\n").unwrap();
        run("mount --bind /run/resolv.conf /etc/resolv.conf");
        run("ip netns add blue");
        let adit = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
        run("ip -n blue link set tun0 txqueuelen 10000");
        Self { _host: host, adit }
    }

    fn memory(&self) -> u64 {
        memory(self.adit.pid())
    }
}

/// Counts packets that match a rule of nftables in a namespace (`""`: this one).
struct Counter(&'static str);

impl Counter {
    fn new(netns: &'static str, hook: &str, rules: &[&str]) -> Self {
        let counter = Self(netns);
        let head = format!(
            "add table inet watch; add counter inet watch bad; add chain inet watch c {{ type filter hook {hook} priority 0; }}"
        );
        counter.nft(&head);
        for rule in rules {
            counter.nft(&format!("add rule inet watch c {rule} counter name bad"));
        }
        counter
    }

    fn nft(&self, words: &str) -> String {
        let prefix: &[&str] =
            if self.0.is_empty() { &[] } else { &["ip", "netns", "exec", self.0] };
        let output = command(prefix.iter().chain(&["nft", words])).output().unwrap();
        assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn count(&self) -> u64 {
        let text = self.nft("list counter inet watch bad");
        let word = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        word.unwrap().parse().unwrap()
    }
}

fn in_blue<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    Netns::named("blue").unwrap().run(work).unwrap()
}

/// Transfers, refusals and datagrams, all of which must succeed.
fn honest() {
    let client = include_str!("client.py");
    let words = ["ip", "netns", "exec", "blue", "python3", "-c", client, V4, "2001:db8::2"];
    let output = command(words).output().unwrap();
    let found = text(&output.stdout);
    assert!(
        found.lines().count() == 8 && !found.contains("BAD"),
        "{found}{}",
        text(&output.stderr)
    );
}

/// Honest flows while `attack` works; how often.
fn beside(attack: impl FnOnce() + Send) -> usize {
    thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut rounds = 0;
        loop {
            honest();
            rounds += 1;
            if attack.is_finished() {
                break rounds;
            }
        }
    })
}

/// Urgent bytes at random places of a stream, which arrives whole but for those that were urgent.
fn urgent_games(count: usize) {
    let mut stream = in_blue(|| TcpStream::connect((V4, 7)).unwrap());
    let mut random = Random(7);
    for _ in 0..count {
        let len = random.below(3000);
        stream.write_all(&vec![b'.'; len]).unwrap();
        rustix::net::send(&stream, &vec![b'!'; 1 + random.below(10)], SendFlags::OOB).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut digest = String::new();
    stream.read_to_string(&mut digest).unwrap();
    assert_eq!(digest.len(), 64, "the server saw its end");
}

/// Queries that are none, and half of one.
fn queries(count: usize) {
    let socket = in_blue(|| UdpSocket::bind("10.0.2.100:0").unwrap());
    socket.connect("10.0.2.3:53").unwrap();
    let mut random = Random(9);
    let query =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04some\x07example\x00\x00\x01\x00\x01";
    for _ in 0..count {
        let mut bytes = if random.below(2) == 0 {
            query.to_vec()
        } else {
            let len = random.below(600);
            random.bytes(len)
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
        }
        let _ = socket.send(&bytes);
    }
    let mut streams = Vec::new();
    for _ in 0..count / 100 {
        let Ok(mut stream) = in_blue(|| TcpStream::connect("10.0.2.3:53")) else { continue };
        let len = random.below(2000);
        let _ = stream.write_all(&random.bytes(len));
        streams.push(stream);
    }
}

fn attack_from_inside(size: &Size) {
    let world = World::new();
    let hurt = Counter::new(
        "",
        "output",
        &[
            "ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 100.100.100.200, 192.0.2.1 }",
            "ip6 daddr { ::1, fe80::/10, fd00:ec2::254, 2001:db8::1 } meta l4proto { tcp, udp }",
            "ip6 daddr { ::1, fe80::/10, fd00:ec2::254, 2001:db8::1 } icmpv6 type echo-request",
        ],
    );
    honest();
    // It was open before, and is after.
    let mut open = in_blue(|| TcpStream::connect((V4, 7)).unwrap());
    open.write_all(b"before ").unwrap();
    let rounds = beside(|| {
        let mut attacker = Attacker::new("blue", "tun0");
        (0..size.orphans).for_each(|_| attacker.orphan());
        (0..=255).for_each(|kind| (0..size.codes).for_each(|code| attacker.icmp(kind, code)));
        (0..size.packets).for_each(|_| attacker.packet());
        (0..size.syns).for_each(|_| attacker.syn());
        queries(size.queries);
        urgent_games(size.urgent);
    });
    // With the table as the flood has left it.
    honest();
    open.write_all(b"after").unwrap();
    open.shutdown(Shutdown::Write).unwrap();
    let mut digest = String::new();
    open.read_to_string(&mut digest).unwrap();
    assert_eq!(digest.len(), 64);
    assert_eq!(hurt.count(), 0, "packets to what must not be reached");
    let _ = TcpStream::connect("127.0.0.1:1");
    assert!(hurt.count() > 0, "it counts");
    let (memory, shown) = (world.memory(), adit_json("nat show"));
    println!("{rounds} honest rounds, {memory} kB of memory at most: {shown}");
    assert!(memory < MEMORY_MAX, "{memory} kB");
    let sent = u64::try_from(size.orphans + size.packets + size.syns).unwrap();
    // Those that the device had no room for are not many.
    assert!(shown["received"].as_u64().unwrap() > sent * 3 / 4, "{shown}");
}

/// What nobody inside asked for: to the host's ports that flows use and others, also from a server that they talk to,
/// and to the inside's own address.
fn foreign_frame(random: &mut Random, to_host: &[u8]) -> Vec<u8> {
    let source = random.of(&[0xc000_0202, 0xc000_02fe, 0xc633_6401, 0x0a00_0201, 0x7f00_0001]);
    let to = random.of(&[0xc000_0201, 0xc000_0201, 0x0a00_0264]);
    let protocol = random.of(&[6, 17, 17, 1]);
    let mut payload = random.bytes(60);
    let port = random.of(&[4444, 4444, 80, 53, 8080]);
    let from = if source == 0xc000_0202 { random.of(&[8, 9, 1000]) } else { random.word() };
    payload[..2].copy_from_slice(&u16::to_be_bytes(from));
    payload[2..4].copy_from_slice(&u16::to_be_bytes(port));
    match protocol {
        17 => {
            payload[4..6].copy_from_slice(&60_u16.to_be_bytes());
            payload[6..8].fill(0);
        }
        6 => {
            payload[12..14].copy_from_slice(&[0x50, random.of(&[2, 16, 4, 18])]);
            payload[16..18].fill(0);
            let sum = Sum::pseudo_v4(source.into(), to.into(), 6, 60).add_bytes(&payload).finish();
            payload[16..18].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {
            payload[..2].copy_from_slice(&[random.of(&[8, 0, 3, 5, 11]), 0]);
            icmp::fill_checksum_v4(&mut payload);
        }
    }
    let header = Ipv4Header {
        tos: 0,
        total_len: 80,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source: source.into(),
        destination: to.into(),
    };
    [to_host, &[2, 0, 0, 0, 0, 9, 8, 0], &header.to_bytes(), &payload].concat()
}

fn attack_from_outside(packets: usize) {
    let _world = World::new();
    honest();
    let entered = Counter::new(
        "blue",
        "input",
        &[
            "iif tun0 ip saddr != { 192.0.2.2, 10.0.2.2, 10.0.2.3 }",
            "iif tun0 ip6 saddr != { 2001:db8::2, fd00::2, fd00::3, fe80::/10 }",
            "iif tun0 udp sport != { 7, 53 }",
            "iif tun0 tcp flags & (syn|ack) == syn",
            "iif tun0 icmp type echo-request",
        ],
    );
    let socket = in_blue(|| UdpSocket::bind("10.0.2.100:4444").unwrap());
    socket.send_to(b"hello", (V4, 7)).unwrap();
    let mac = fs::read_to_string("/sys/class/net/v0/address").unwrap();
    let to_host: Vec<u8> =
        mac.trim().split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    let rounds = beside(|| {
        let attacker = Attacker::new("srv", "v1");
        let mut random = Random(11);
        (0..packets).for_each(|_| attacker.send(&foreign_frame(&mut random, &to_host)));
    });
    assert_eq!(entered.count(), 0, "packets that nobody asked for");
    // A segment of no connection is answered by a RST from where it went.
    let mut attacker = Attacker::new("blue", "tun0");
    let segment = attacker.segment(16, &[]);
    attacker.random = Random(3);
    let start = Instant::now();
    while entered.count() == 0 {
        attacker.v4_segment(0x0a00_0264, 0xcb00_7101, segment.clone());
        assert!(start.elapsed() < PATIENCE, "it counts nothing");
    }
    println!("{rounds} honest rounds");
}

#[test]
fn a_hostile_inside_is_bounded_and_reaches_nothing_that_hurts() {
    attack_from_inside(&SHORT);
}

#[test]
#[ignore = "minutes: ./check --long"]
fn long_a_hostile_inside_is_bounded_and_reaches_nothing_that_hurts() {
    attack_from_inside(&LONG);
}

#[test]
fn nothing_enters_from_outside_that_was_not_asked_for() {
    attack_from_outside(20_000);
}

#[test]
#[ignore = "minutes: ./check --long"]
fn long_nothing_enters_from_outside_that_was_not_asked_for() {
    attack_from_outside(1_000_000);
}

/// What one end sends of a connection.
fn stream(number: usize, is_client: bool) -> Vec<u8> {
    let len = [0, 1, 100, 3000, 70_000][number / 4 % 5];
    // Before a reset each end must know that the other has its bytes.
    let is_reset = matches!(Kind::of(number), Kind::ClientReset | Kind::ServerReset);
    let len = if is_reset { len.max(1) } else { len };
    let first = number.wrapping_mul(31) + usize::from(is_client) * 7;
    (0..len).map(|at| (first + at).to_le_bytes()[0]).collect()
}

/// How a connection ends: which end says so first, and whether by a reset.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    ClientFin,
    ServerFin,
    ClientReset,
    ServerReset,
}

impl Kind {
    fn of(number: usize) -> Self {
        [Self::ClientFin, Self::ServerFin, Self::ClientReset, Self::ServerReset][number % 4]
    }
}

/// Plays one end of a connection; panics if the other end's bytes or its end are not what they must be.
fn play(stream_of: &mut TcpStream, number: usize, is_client: bool) {
    let (own, other) = (stream(number, is_client), stream(number, !is_client));
    let kind = Kind::of(number);
    let mut got = vec![0; other.len()];
    match (kind, is_client) {
        (Kind::ClientFin, true) | (Kind::ServerFin, false) => {
            stream_of.write_all(&own).unwrap();
            stream_of.shutdown(Shutdown::Write).unwrap();
            got.clear();
            stream_of.read_to_end(&mut got).unwrap();
        }
        (Kind::ClientFin, false) | (Kind::ServerFin, true) => {
            got.clear();
            stream_of.read_to_end(&mut got).unwrap();
            stream_of.write_all(&own).unwrap();
        }
        _ => {
            // The client's bytes, then the server's, so that both have all before the reset.
            if is_client {
                stream_of.write_all(&own).unwrap();
                stream_of.read_exact(&mut got).unwrap();
            } else {
                stream_of.read_exact(&mut got).unwrap();
                stream_of.write_all(&own).unwrap();
            }
            if (kind == Kind::ClientReset) == is_client {
                if !is_client {
                    // The client has them all.
                    stream_of.read_exact(&mut [0]).unwrap();
                }
                set_socket_linger(&*stream_of, Some(Duration::ZERO)).unwrap();
            } else {
                if is_client {
                    stream_of.write_all(b"!").unwrap();
                }
                let end = stream_of.read(&mut [0]);
                let is_reset =
                    matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset);
                assert!(is_reset, "connection {number}: {end:?}");
            }
        }
    }
    assert!(got == other, "connection {number}: {} bytes of {}", got.len(), other.len());
}

/// So many connections through the NAT, 16 at a time, each with both its ends checked.
fn ends(count: usize) {
    const PORTS: usize = 16;
    const AT_ONCE: usize = 16;
    let _world = World::new();
    for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
        in_blue(|| fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap());
    }
    let served = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let listeners: Vec<TcpListener> = (0..PORTS)
        .map(|at| {
            let at =
                SocketAddr::new(V4.parse::<IpAddr>().unwrap(), 7100 + u16::try_from(at).unwrap());
            let listener = Netns::named("srv").unwrap().run(|| TcpListener::bind(at).unwrap());
            let listener = listener.unwrap();
            // Also of an accept.
            set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).unwrap();
            listener
        })
        .collect();
    thread::scope(|scope| {
        for (at, listener) in listeners.iter().enumerate() {
            // Each client has a port: the connections of a listener come one after another.
            let served = &served;
            scope.spawn(move || {
                for _ in (at..count).step_by(AT_ONCE) {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut number = [0; 8];
                    stream.read_exact(&mut number).unwrap();
                    play(&mut stream, usize::from_be_bytes(number), false);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for at in 0..AT_ONCE {
            let next = &next;
            scope.spawn(move || {
                let to = SocketAddr::new(
                    V4.parse::<IpAddr>().unwrap(),
                    7100 + u16::try_from(at).unwrap(),
                );
                in_blue(|| {
                    for number in (at..count).step_by(AT_ONCE) {
                        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
                        stream.set_read_timeout(Some(PATIENCE)).unwrap();
                        stream.set_nodelay(true).unwrap();
                        stream.write_all(&number.to_be_bytes()).unwrap();
                        play(&mut stream, number, true);
                        next.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
    });
    assert_eq!((next.into_inner(), served.into_inner()), (count, count));
}

#[test]
fn connections_keep_their_four_ends() {
    ends(1_000);
}

#[test]
#[ignore = "minutes: ./check --long"]
fn long_a_hundred_thousand_connections_keep_their_four_ends() {
    ends(100_000);
}
