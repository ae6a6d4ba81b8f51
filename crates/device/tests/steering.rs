//! Steering and filters against the kernel's own devices.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

use adit_device::{
    ClassicFilter, DeviceOptions, EbpfProgram, IndirectionTable, Mode, NamePattern, Netns, Queue,
    Rss, RssConfig, VnetHashCap, VnetHashConfig,
};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

/// The first destination port of the flows of these tests.
const PORT: u16 = 40_000;

/// How many flows are sent.
const FLOWS: u16 = 400;

const INSIDE: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
const PEERS: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];

/// A device of this test's namespace, its queues non-blocking.
struct Device {
    mode: Mode,
    queues: Vec<Queue>,
}

impl Device {
    /// A device without packet information, up, with the addresses `INSIDE` and the `PEERS`.
    fn new(name: &str, mode: Mode, queues: u16) -> Self {
        let device = Self { mode, queues: open(name, mode, queues) };
        ip(&format!("link set {name} up"));
        ip(&format!("addr add {}/24 dev {name}", INSIDE[0]));
        ip(&format!("addr add {}/64 dev {name} nodad", INSIDE[1]));
        if mode == Mode::Tap {
            for peer in PEERS {
                ip(&format!("neigh add {peer} lladdr 02:00:00:00:00:02 dev {name} nud permanent"));
            }
        }
        device
    }

    /// All packets that wait, with the index of their queue, but for those that are not ours.
    fn received(&self) -> Vec<(usize, Vec<u8>)> {
        let mut packets = Vec::new();
        let mut buffer = vec![0; 65_536];
        for (index, queue) in self.queues.iter().enumerate() {
            loop {
                match queue.recv(&mut buffer) {
                    Ok(len) => packets.push((index, buffer[..len].to_vec())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        packets.retain(|(_, packet)| is_ours(self.mode, packet));
        packets
    }
}

/// Whether a packet is TCP or UDP; what the kernel sends by itself (router solicitations, MLD, IGMP)
/// is not.
fn is_ours(mode: Mode, packet: &[u8]) -> bool {
    let mut start = if mode == Mode::Tun { 0 } else { 14 };
    while start > 0 && matches!(packet[start - 2..start], [0x81, 0x00] | [0x88, 0xa8]) {
        start += 4;
    }
    let protocol = if packet[start] >> 4 == 4 { packet[start + 9] } else { packet[start + 6] };
    protocol == 6 || protocol == 17
}

/// The non-blocking queues of a new device.
fn open(name: &str, mode: Mode, queues: u16) -> Vec<Queue> {
    let options = DeviceOptions::new(mode).name(NamePattern::new(name).unwrap());
    options.queues(queues).nonblocking(true).open().unwrap().into_queues()
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Sends one datagram of each flow from `source` to `destination`; they differ in one port.
fn send_flows(source: &str, destination: &str) {
    let address = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port);
    let socket = UdpSocket::bind(address(source, 0)).unwrap();
    for flow in 0..FLOWS {
        socket.send_to(b"sixteen bytes...", address(destination, PORT + flow)).unwrap();
    }
}

/// Sends all flows of both families and checks the queue of each; gives the queues seen.
fn check_flows(device: &Device, rss: &Rss) -> HashSet<usize> {
    device.received();
    let mut packets = Vec::new();
    for (inside, peer) in INSIDE.into_iter().zip(PEERS) {
        send_flows(inside, peer);
        // A queue holds 500 packets: each family is read before the next is sent.
        packets.extend(device.received());
    }
    assert_eq!(packets.len(), 2 * usize::from(FLOWS), "{:?}", device.mode);
    for (queue, packet) in &packets {
        let wanted = rss.queue_for(packet).map(|queue| usize::from(queue) % device.queues.len());
        assert_eq!(Some(*queue), wanted, "{packet:02x?}");
    }
    packets.into_iter().map(|(queue, _)| queue).collect()
}

fn even(queues: u16) -> IndirectionTable {
    IndirectionTable::even(queues).unwrap()
}

fn table(queues: impl Into<Vec<u16>>) -> IndirectionTable {
    IndirectionTable::new(queues).unwrap()
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_flows_arrive_on_the_predicted_queue() {
    for mode in [Mode::Tun, Mode::Tap] {
        Netns::enter_new().unwrap();
        let device = Device::new("q0", mode, 4);
        let rss = Rss::load(mode, &RssConfig::new(even(4))).unwrap();
        rss.attach(&device.queues[2]).unwrap();
        assert_eq!(check_flows(&device, &rss), HashSet::from([0, 1, 2, 3]));
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_table_is_rewritten_live() {
    Netns::enter_new().unwrap();
    let device = Device::new("q0", Mode::Tun, 4);
    let mut rss = Rss::load(Mode::Tun, &RssConfig::new(even(4))).unwrap();
    rss.attach(&device.queues[0]).unwrap();
    for (queues, seen) in [(&[3][..], &[3][..]), (&[0, 2], &[0, 2]), (&[6, 1], &[2, 1])] {
        rss.set_indirection(table(queues)).unwrap();
        assert_eq!(check_flows(&device, &rss), seen.iter().copied().collect());
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_steering_outlives_handle_and_queues() {
    Netns::enter_new().unwrap();
    let mut device = Device::new("q0", Mode::Tun, 4);
    let rss = Rss::load(Mode::Tun, &RssConfig::new(table([1]))).unwrap();
    rss.attach(&device.queues[3]).unwrap();
    device.queues.truncate(2);
    assert_eq!(check_flows(&device, &rss), HashSet::from([1]));
    drop(rss);
    send_flows(INSIDE[0], PEERS[0]);
    let packets = device.received();
    assert_eq!(packets.len(), usize::from(FLOWS));
    assert!(packets.iter().all(|(queue, _)| *queue == 1));

    EbpfProgram::detach_steering(&device.queues[0]).unwrap();
    EbpfProgram::detach_steering(&device.queues[0]).unwrap();
    send_flows(INSIDE[0], PEERS[0]);
    let queues: HashSet<_> = device.received().into_iter().map(|(queue, _)| queue).collect();
    assert_eq!(queues, HashSet::from([0, 1]), "the kernel chooses again");
}

/// Where a frame comes in, the kernel takes its outer tag out of the bytes and puts it beside them;
/// the bridge sends it on like that, and the queue that delivers it puts it back.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_tag_beside_the_packet_is_passed_over() {
    Netns::enter_new().unwrap();
    let entrance = open("in0", Mode::Tap, 1);
    let device = Device::new("q0", Mode::Tap, 4);
    ip("link add br0 type bridge");
    for name in ["in0", "q0"] {
        ip(&format!("link set {name} master br0 up"));
    }
    ip("link set br0 up");
    let rss = Rss::load(Mode::Tap, &RssConfig::new(even(4))).unwrap();
    rss.attach(&device.queues[0]).unwrap();
    for (tags, hashed) in [
        (&[][..], true),
        (&[[0x81, 0x00]], true),
        (&[[0x88, 0xa8], [0x81, 0x00]], true),
        (&[[0x88, 0xa8], [0x81, 0x00], [0x81, 0x00]], false),
    ] {
        let mut seen = HashSet::new();
        for flow in 0..FLOWS {
            let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
            for tag in tags {
                frame.extend(tag);
                frame.extend([0, 5]);
            }
            frame.extend([0x08, 0x00]);
            frame.extend(tcp_packet([192, 0, 2, 7], 20_000 + flow, [192, 0, 2, 8], PORT));
            entrance[0].send(&frame).unwrap();
            let (queue, delivered) = one_packet(&device);
            assert_eq!(delivered, frame);
            let wanted = rss.queue_for(&delivered);
            assert_eq!(wanted.is_some(), hashed, "{tags:?}");
            assert_eq!(queue, usize::from(wanted.unwrap_or(0)), "{tags:?}");
            seen.insert(queue);
        }
        assert_eq!(seen.len(), if hashed { 4 } else { 1 });
    }
}

/// A TCP segment without options; the kernel that forwards it looks at no checksum but IP's.
fn tcp_packet(source: [u8; 4], source_port: u16, destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&(!sum).to_be_bytes());
    packet.extend(source_port.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 1, 0, 0, 0, 0]);
    packet
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_both_directions_of_a_flow_meet_on_one_queue() {
    Netns::enter_new().unwrap();
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let rss = Rss::load(Mode::Tun, &RssConfig::symmetric(even(4))).unwrap();
    // A router between two networks, and flows through it.
    let sides = [("ra", "192.0.2.1/24"), ("rb", "198.51.100.1/24")].map(|(name, address)| {
        let device = Device { mode: Mode::Tun, queues: open(name, Mode::Tun, 4) };
        ip(&format!("link set {name} up"));
        ip(&format!("addr add {address} dev {name}"));
        rss.attach(&device.queues[0]).unwrap();
        device
    });
    let (a, b) = ([192, 0, 2, 7], [198, 51, 100, 9]);
    let mut seen = HashSet::new();
    for flow in 0..FLOWS {
        let there = tcp_packet(a, 20_000 + flow, b, PORT);
        let back = tcp_packet(b, PORT, a, 20_000 + flow);
        sides[0].queues[0].send(&there).unwrap();
        sides[1].queues[0].send(&back).unwrap();
        let there = one_packet(&sides[1]);
        let back = one_packet(&sides[0]);
        assert_eq!(there.0, back.0, "flow {flow}");
        assert_eq!(rss.queue_for(&there.1).map(usize::from), Some(there.0));
        seen.insert(there.0);
    }
    assert_eq!(seen, HashSet::from([0, 1, 2, 3]));
}

/// The next packet of ours, which is the only one.
fn one_packet(device: &Device) -> (usize, Vec<u8>) {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let mut packets = device.received();
        if let Some(packet) = packets.pop() {
            assert!(packets.is_empty());
            return packet;
        }
        assert!(Instant::now() < limit, "no packet");
        std::thread::yield_now();
    }
}

/// How many IPv4 flows out of [`FLOWS`] arrive, each as `len` bytes.
fn count_of_len(device: &Device, len: usize) -> u16 {
    let mut buffer = [0; 2048];
    while device.queues[0].recv(&mut buffer).is_ok() {}
    send_flows(INSIDE[0], PEERS[0]);
    let mut count = 0;
    while let Ok(read) = device.queues[0].recv(&mut buffer) {
        // Noise of the kernel's own, which is IPv6, is cut as well: it has the length, or counts not.
        let start = if device.mode == Mode::Tun { 0 } else { 14 };
        if buffer[start] == 0x45 {
            assert_eq!(read, len);
            count += 1;
        }
    }
    count
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_ebpf_filter_cuts_and_drops() {
    for (mode, whole) in [(Mode::Tun, 44), (Mode::Tap, 58)] {
        Netns::enter_new().unwrap();
        let device = Device::new("f0", mode, 1);
        assert_eq!(count_of_len(&device, whole), FLOWS);
        EbpfProgram::snaplen(24).unwrap().attach_filter(&device.queues[0]).unwrap();
        assert_eq!(count_of_len(&device, 24), FLOWS);
        EbpfProgram::snaplen(0).unwrap().attach_filter(&device.queues[0]).unwrap();
        assert_eq!(count_of_len(&device, 0), 0);
        EbpfProgram::detach_filter(&device.queues[0]).unwrap();
        assert_eq!(count_of_len(&device, whole), FLOWS);
    }
}

/// Keeps 30 bytes of IPv4 frames whose source address ends in 1, and nothing of others.
fn classic_filter() -> ClassicFilter {
    let text = "6\n40 0 0 12\n21 0 3 2048\n48 0 0 29\n21 0 1 1\n6 0 0 30\n6 0 0 0\n";
    text.parse().unwrap()
}

#[test]
fn classic_filter_works_on_tap_as_here() {
    Netns::enter_new().unwrap();
    let device = Device::new("f0", Mode::Tap, 1);
    let filter = classic_filter();
    ip("addr add 192.0.2.9/24 dev f0");
    for (source, wanted) in [("192.0.2.1", usize::from(FLOWS)), ("192.0.2.9", 0)] {
        let mut buffer = [0; 2048];
        filter.attach(&device.queues[0]).unwrap();
        while device.queues[0].recv(&mut buffer).is_ok() {}
        send_flows(source, PEERS[0]);
        let mut kept = 0;
        while let Ok(len) = device.queues[0].recv(&mut buffer) {
            assert_eq!(len, 30);
            kept += 1;
        }
        assert_eq!(kept, wanted);
        ClassicFilter::detach(&device.queues[0]).unwrap();
        send_flows(source, PEERS[0]);
        let here = device.received();
        assert_eq!(here.len(), usize::from(FLOWS));
        assert_eq!(here.iter().filter(|(_, frame)| filter.run(frame) == 30).count(), wanted);
    }
}

#[test]
fn classic_filter_on_tun_is_einval() {
    Netns::enter_new().unwrap();
    let device = Device::new("f0", Mode::Tun, 1);
    let error = classic_filter().attach(&device.queues[0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let error = ClassicFilter::detach(&device.queues[0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn classic_filter_on_a_socket() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = ClassicFilter::detach_from_socket(&receiver).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    classic_filter().attach_to_socket(&receiver).unwrap();
    ClassicFilter::detach_from_socket(&receiver).unwrap();
}

#[test]
fn steering_needs_an_attached_queue() {
    Netns::enter_new().unwrap();
    let file = File::open("/dev/net/tun").unwrap();
    let error = EbpfProgram::detach_steering(&file).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADFD));
    let device = Device::new("f0", Mode::Tun, 1);
    EbpfProgram::detach_steering(&device.queues[0]).unwrap();
    EbpfProgram::detach_filter(&device.queues[0]).unwrap();
}

/// Fails on the first kernel that has the interface: its answers must be tested here then.
#[test]
fn this_kernel_has_no_hash_interface() {
    Netns::enter_new().unwrap();
    let device = Device::new("f0", Mode::Tap, 1);
    let error = VnetHashCap::probe(&device.queues[0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let error = VnetHashConfig::Off.set(&device.queues[0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let error = VnetHashCap::probe(File::open("/dev/null").unwrap()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
}
