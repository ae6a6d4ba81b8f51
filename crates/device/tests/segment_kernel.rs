//! Super-packets cut up by us and by the kernel: byte for byte the same packets.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod refusing;
mod super_packets;
mod support;
mod traffic;

use adit_device::{
    Batch, Device, DeviceOptions, Endian, GsoKind, Mode, Offload, OffloadChoice, PacketBuf, Pool,
    PoolConfig, Queue, SendCounters, SendOptions, Sender, VnetFormat, VnetHeader, VnetLen,
};
use adit_packet::{Layer, SuperPacket, Tunnel, checksum};
use refusing::Refused;
use std::collections::BTreeMap;
use std::time::Duration;
use super_packets::{Case, Link, Random};

/// Super-packets of each test.
const CASES: usize = 3000;

const FORMAT: VnetFormat = VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native };

/// A device into which super-packets are written, in a network that routes what comes out of it to
/// a TUN device without offloads.
struct Router {
    from: Device,
    to: Device,
    link: Link,
    buf: Vec<u8>,
}

impl Router {
    fn new(mode: Mode) -> Self {
        Self::open(mode, |options| options.vnet_hdr(FORMAT).offload(OffloadChoice::Auto))
    }

    fn open(mode: Mode, set: impl FnOnce(DeviceOptions) -> DeviceOptions) -> Self {
        support::enter();
        for (path, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ] {
            std::fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
        }
        let options = if mode == Mode::Tun { traffic::tun("from") } else { traffic::tap("from") };
        let from = set(options).open().unwrap();
        let to = traffic::tun("to").txqueuelen(5000).mtu(9000).open().unwrap();
        for name in ["from", "to"] {
            support::run(&format!("ip link set {name} addrgenmode none up"));
        }
        support::run("ip addr add 192.0.2.254/24 dev from");
        support::run("ip addr add 2001:db8:1::fe/64 dev from nodad");
        support::run("ip route add 198.51.100.0/24 dev to");
        support::run("ip -6 route add 2001:db8:2::/64 dev to");
        let link = match mode {
            Mode::Tun => Link::None,
            Mode::Tap => Link::Frame(from.mac().unwrap().0),
        };
        Self::with(from, to, link)
    }

    /// A TAP and a bridge from it to another, without offloads: tags are left alone.
    fn bridge() -> Self {
        support::enter();
        let from = traffic::tap("from").vnet_hdr(FORMAT).offload(OffloadChoice::Auto);
        let (from, to) =
            (from.open().unwrap(), traffic::tap("to").txqueuelen(5000).open().unwrap());
        support::run("ip link add bridge type bridge");
        for name in ["from", "to"] {
            support::run(&format!("ip link set {name} master bridge addrgenmode none mtu 9000 up"));
        }
        support::run("ip link set bridge addrgenmode none up");
        Self::with(from, to, Link::Tagged([2, 0, 0, 0, 0, 8]))
    }

    fn with(from: Device, to: Device, link: Link) -> Self {
        Self { from, to, link, buf: vec![0; adit_device::RECORD_LEN_MAX] }
    }

    fn queue(&self) -> &Queue {
        &self.from.queues()[0]
    }

    /// The next packet of our network that comes out, or what is missing.
    fn forwarded(&mut self) -> Option<Vec<u8>> {
        let queue = &self.to.queues()[0];
        loop {
            if !queue.wait(false, Some(Duration::from_secs(60))).unwrap().readable {
                return None;
            }
            let len = queue.recv(&mut self.buf).unwrap();
            let packet = &self.buf[..len];
            let ours = match packet[0] >> 4 {
                _ if self.to.mode() == Mode::Tap => packet[6..12] == super_packets::FROM_MAC,
                4 => packet[12..16] == [192, 0, 2, 1],
                _ => packet[8..24] == super_packets::FROM6.octets(),
            };
            if ours {
                return Some(packet.to_vec());
            }
        }
    }
}

/// The packets of a super-packet as they look behind a router, or behind a bridge.
fn expected(case: &Case, link: Link) -> Vec<Vec<u8>> {
    let layer = if matches!(link, Link::None) { Layer::Packet } else { Layer::Frame };
    let whole = SuperPacket::parse(&case.bytes, &case.vnet, layer).unwrap();
    let segments = whole.segments().map(|segment| {
        let mut packet = PacketBuf::new(0, segment.len());
        segment.append_to(&mut packet).unwrap();
        match link {
            Link::Tagged(_) => packet.bytes().to_vec(),
            Link::None | Link::Frame(_) => hop(&packet.bytes()[case.link_len..]),
        }
    });
    segments.collect()
}

/// A packet with one hop less to go.
fn hop(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[8] -= 1;
        bytes[10..12].fill(0);
        let header_len = usize::from(bytes[0] & 15) * 4;
        let check = checksum::of(&bytes[..header_len]);
        bytes[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        bytes[7] -= 1;
    }
    bytes
}

fn batch_of(case: &Case, pool: &mut Pool) -> Batch {
    let mut batch = Batch::new();
    let mut packet = pool.take(case.bytes.len()).unwrap();
    packet.extend(&case.bytes).unwrap();
    packet.meta.vnet = case.vnet;
    batch.push(packet).unwrap();
    batch
}

/// Sends random super-packets, and compares the segments of the kernel and of this crate.
fn compare(router: &mut Router, sender: &mut Sender, tunnels: bool, seed: u64) {
    let mut random = Random::new(seed);
    let mut pool = Pool::new(PoolConfig::default());
    let mut kinds = BTreeMap::new();
    for number in 0..CASES {
        let case = Case::random(&mut random, router.link, tunnels);
        let mut batch = batch_of(&case, &mut pool);
        let sent = sender.send_batch(router.queue(), &mut pool, &mut batch).unwrap();
        assert_eq!((sent.sent, batch.len()), (1, 0), "{number} {:?} {:?}", case.kind, case.vnet);
        for (index, wanted) in expected(&case, router.link).into_iter().enumerate() {
            let seen = router.forwarded();
            assert!(
                seen.as_ref() == Some(&wanted),
                "case {number}, segment {index}, {:?}, {:?}\nkernel {seen:02x?}\nours   {wanted:02x?}",
                case.kind,
                case.vnet,
            );
        }
        *kinds.entry(case.kind).or_insert(0) += 1;
    }
    assert_eq!(pool.out(), (0, 0));
    assert!(kinds.len() >= 4 && kinds.values().all(|&count| count > 20), "{kinds:?}");
}

#[test]
fn the_kernel_cuts_up_what_is_written_to_a_tun_as_we_do() {
    let mut router = Router::new(Mode::Tun);
    let mut sender = Sender::new(Mode::Tun, SendOptions::default());
    compare(&mut router, &mut sender, false, 1);
    let wanted = u64::try_from(CASES).unwrap();
    assert_eq!((sender.counters().whole, sender.counters().segmented), (wanted, 0));
}

#[test]
fn the_kernel_cuts_up_frames_and_tunnels_as_we_do() {
    let mut router = Router::new(Mode::Tap);
    let tunnels = router.from.offload().contains(Offload::UDP_TUNNEL_GSO);
    let mut sender = Sender::new(Mode::Tap, SendOptions::default());
    compare(&mut router, &mut sender, tunnels, 2);
    let wanted = u64::try_from(CASES).unwrap();
    assert_eq!((sender.counters().whole, sender.counters().segmented), (wanted, 0));
}

#[test]
fn the_kernel_cuts_up_tagged_frames_as_we_do() {
    let mut router = Router::bridge();
    let mut sender = Sender::new(Mode::Tap, SendOptions::default());
    compare(&mut router, &mut sender, true, 6);
    let wanted = u64::try_from(CASES).unwrap();
    assert_eq!((sender.counters().whole, sender.counters().segmented), (wanted, 0));
}

#[test]
fn a_queue_without_a_virtio_net_header_gets_packets() {
    for mode in [Mode::Tun, Mode::Tap] {
        let thread = std::thread::spawn(move || {
            let mut router = Router::open(mode, |options| options.packet_info(mode == Mode::Tap));
            let mut sender = Sender::new(mode, SendOptions::ALL);
            compare(&mut router, &mut sender, true, 3);
            let SendCounters { whole, segmented: cut, segments, refused, .. } = *sender.counters();
            assert_eq!((whole, cut, refused), (0, u64::try_from(CASES).unwrap(), 0));
            assert!(segments > 2 * cut);
        });
        thread.join().unwrap();
    }
}

/// A TUN takes no super-packet inside a UDP tunnel (Linux 6.18), a kernel before 6.17 none at all:
/// each is refused at run time.
#[test]
fn a_kernel_that_refuses_super_packets_costs_no_packet() {
    let mut router = Router::new(Mode::Tun);
    let mut sender = Sender::new(Mode::Tun, SendOptions::default());
    compare(&mut router, &mut sender, true, 4);
    let counters = *sender.counters();
    let limit = u64::from(Sender::REFUSALS_MAX);
    assert_eq!(counters.refused_whole(GsoKind::Tunnel), limit);
    assert!(sender.is_refused(GsoKind::Tunnel) && counters.segmented > limit, "{counters:?}");
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4] {
        assert_eq!((sender.is_refused(kind), counters.refused_whole(kind)), (false, 0));
    }
    assert_eq!((counters.whole + counters.segmented, counters.refused), (3000, 0));
    sender.set_options(sender.options());
    assert!(!sender.is_refused(GsoKind::Tunnel), "another chance");
}

/// Headers and a whole packet are one piece, a segment has three. What else is written is shorter.
#[test]
fn a_kernel_without_any_of_them_costs_no_packet() {
    let name = "a_kernel_without_any_of_them_costs_no_packet";
    if !refusing::is_refusing(name, Refused::Whole(50..=adit_device::RECORD_LEN_MAX)) {
        return;
    }
    let mut router = Router::new(Mode::Tun);
    let mut sender = Sender::new(Mode::Tun, SendOptions::default());
    compare(&mut router, &mut sender, true, 7);
    let counters = *sender.counters();
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4, GsoKind::Tunnel] {
        assert!(sender.is_refused(kind), "{kind:?}");
        assert_eq!(counters.refused_whole(kind), u64::from(Sender::REFUSALS_MAX));
    }
    assert_eq!((counters.whole, counters.segmented, counters.refused), (0, 3000, 0));
}

/// On a machine so slow that the queue is empty again before the next write, it is tried so often.
const ROUNDS_MAX: usize = 5000;

/// What waits below counts against the send buffer, so the queue is full in the middle of a
/// super-packet, time and again.
#[test]
fn a_full_queue_ends_a_super_packet_in_the_middle_and_goes_on_there() {
    // A router would take what waits off the account.
    let mut router = Router::bridge();
    support::run("tc qdisc add dev to root tbf rate 30mbit burst 10kb limit 10mb");
    router.from.set_send_buffer(Some(20_000)).unwrap();
    let mut sender = Sender::new(Mode::Tap, SendOptions::NONE);
    let mut pool = Pool::new(PoolConfig::default());
    let mut random = Random::new(8);
    let (mut waits, mut rests) = (0, 0);
    for number in 0..ROUNDS_MAX {
        if number >= 100 && waits > 0 && rests > 0 {
            break;
        }
        let mut batch = Batch::new();
        let mut wanted = Vec::new();
        for _ in 0..2 {
            let case = Case::random(&mut random, router.link, false);
            wanted.extend(expected(&case, router.link));
            for packet in batch_of(&case, &mut pool).drain(..) {
                batch.push(packet).unwrap();
            }
        }
        let mut done = 0;
        while !batch.is_empty() || sender.has_pending() {
            match sender.send_batch(router.queue(), &mut pool, &mut batch) {
                Ok(sent) => done += sent.sent,
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    traffic::until("the queue takes more", || {
                        router.queue().wait(true, Some(Duration::ZERO)).unwrap().writable
                    });
                    waits += 1;
                }
            }
            rests += usize::from(sender.has_pending());
        }
        assert_eq!(done, 2);
        for (index, wanted) in wanted.into_iter().enumerate() {
            assert!(router.forwarded() == Some(wanted), "{number}, packet {index}");
        }
    }
    assert_eq!((pool.out(), sender.counters().refused), ((0, 0), 0));
    assert!(waits > 0 && rests > 0, "{waits} {rests}");
}

/// Two flows in turns, joined, cut up again by the kernel, with a queue that is full now and then.
#[test]
fn a_full_queue_between_trains_leaves_each_flow_in_order() {
    let mut router = Router::bridge();
    support::run("tc qdisc add dev to root tbf rate 30mbit burst 10kb limit 10mb");
    router.from.set_send_buffer(Some(20_000)).unwrap();
    let mut sender = Sender::new(Mode::Tap, SendOptions::ALL);
    let mut pool = Pool::new(PoolConfig::default());
    let mut random = Random::new(9);
    let mut waits = 0;
    for number in 0..ROUNDS_MAX {
        if number >= 200 && waits > 0 && sender.counters().trains > 100 {
            break;
        }
        let mut flows = [(); 2].map(|()| {
            let packets = expected(&Case::random(&mut random, router.link, false), router.link);
            packets.into_iter().take(32).collect::<Vec<_>>().into_iter().peekable()
        });
        let mut batch = Batch::new();
        let mut turns = flows.clone();
        for turn in 0..64 {
            if let Some(bytes) = turns[turn % 2].next() {
                let mut packet = pool.take(bytes.len()).unwrap();
                packet.extend(&bytes).unwrap();
                batch.push(packet).unwrap();
            }
        }
        let total = batch.len();
        while !batch.is_empty() || sender.has_pending() {
            if sender.send_batch(router.queue(), &mut pool, &mut batch).is_err() {
                waits += 1;
                traffic::until("the queue takes more", || {
                    router.queue().wait(true, Some(Duration::ZERO)).unwrap().writable
                });
            }
        }
        for index in 0..total {
            let seen = router.forwarded();
            let next = flows
                .iter_mut()
                .any(|flow| flow.next_if(|next| seen.as_ref() == Some(next)).is_some());
            assert!(next, "{number}, packet {index}: {seen:02x?}");
        }
    }
    assert_eq!((pool.out(), sender.counters().refused), ((0, 0), 0));
    assert!(waits > 0 && sender.counters().trains > 100, "{waits} {:?}", sender.counters());
}

/// The header of 10 bytes has no room for a tunnel's offsets.
#[test]
fn a_packet_whose_header_cannot_be_written_does_not_hold_up_the_others() {
    let format = VnetFormat { len: VnetLen::Legacy, endian: Endian::Native };
    let router = Router::open(Mode::Tun, |options| options.vnet_hdr(format));
    let mut pool = Pool::new(PoolConfig::default());
    let case = Case::random(&mut Random::new(10), router.link, false);
    let mut batch = Batch::new();
    for tunnel in [Some(Tunnel::Ipv4), None, Some(Tunnel::Ipv6), None] {
        let mut packet = pool.take(case.bytes.len()).unwrap();
        packet.extend(&case.bytes).unwrap();
        packet.meta.vnet = VnetHeader { tunnel, ..case.vnet };
        batch.push(packet).unwrap();
    }
    let sent = router.queue().send_batch(&mut pool, &mut batch).unwrap();
    assert_eq!((sent.sent, sent.refused, batch.len()), (2, 2, 0));
    assert_eq!(pool.out(), (0, 0));
}

#[test]
fn one_bad_super_packet_is_refused_alone() {
    let router = Router::new(Mode::Tun);
    let mut sender = Sender::new(Mode::Tun, SendOptions::ALL);
    let mut pool = Pool::new(PoolConfig::default());
    let mut random = Random::new(5);
    for turn in 0..20 {
        let mut case = Case::random(&mut random, router.link, false);
        // What the kernel refuses, and we as well.
        case.vnet = VnetHeader { csum_start: u16::MAX, gso_size: 0, ..case.vnet };
        let mut batch = batch_of(&case, &mut pool);
        let sent = sender.send_batch(router.queue(), &mut pool, &mut batch).unwrap();
        assert_eq!((sent.sent, sent.refused), (0, 1), "{turn}");
    }
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4] {
        assert!(!sender.is_refused(kind));
    }
}
