//! What stands before each packet, against the real kernel: packet information, virtio-net header,
//! checksums left open, super-packets, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::{
    Batch, Device, DeviceOptions, Endian, Gso, Layout, Netns, Offload, OffloadChoice, PacketInfo,
    Pair, Pool, PoolConfig, Queue, Record, VnetFormat, VnetHeader, VnetLen,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use traffic::{
    Beside, HERE, SOON, THERE, drain, enter_quiet, errno, python, recv, tap, tun, udp, up,
};

fn format(len: VnetLen) -> VnetFormat {
    VnetFormat { len, endian: Endian::Native }
}

fn socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn only(device: &Device) -> &Queue {
    let [queue] = device.queues() else { panic!("one queue") };
    queue
}

#[test]
fn packet_information_has_protocol_and_truncation() {
    enter_quiet();
    let device = up(tun("t0").packet_info(true)).open().unwrap();
    assert!(device.info().unwrap().tun.unwrap().pi);
    let (queue, layout) = (only(&device), device.layout());
    let (socket, port) = socket();

    socket.send_to(&[7; 472], (THERE, 9)).unwrap();
    let bytes = recv(queue);
    let record = layout.decode(&bytes).unwrap();
    assert_eq!(record.info, Some(PacketInfo { flags: 0, protocol: 0x0800 }));
    assert_eq!(record.packet.len(), 500);

    socket.send_to(&[7; 472], (THERE, 9)).unwrap();
    let mut buf = [0; 100];
    assert_eq!(queue.recv(&mut buf).unwrap(), 100);
    assert!(layout.decode(&buf).unwrap().info.unwrap().is_truncated());
    assert_eq!(errno(queue.recv(&mut buf)), libc::EAGAIN, "the rest is lost");

    // Protocol and flags of what is sent are not looked at.
    for info in [[0, 0, 8, 0], [0xff, 0xff, 0x12, 0x34]] {
        let packet = [&info[..], &udp((THERE, 7), (HERE, port), b"in", true)].concat();
        assert_eq!(queue.send(&packet).unwrap(), packet.len());
    }
    assert_eq!(socket.recv(&mut buf).unwrap(), 2);
    assert_eq!(errno(queue.send(&[0, 0, 8])), libc::EINVAL);
}

#[test]
fn without_packet_information_truncation_is_silent() {
    enter_quiet();
    let device = up(tun("t0")).open().unwrap();
    assert!(!device.info().unwrap().tun.unwrap().pi);
    let (socket, _) = socket();
    socket.send_to(&[7; 472], (THERE, 9)).unwrap();
    let mut buf = [0; 100];
    assert_eq!(only(&device).recv(&mut buf).unwrap(), 100);
    assert_eq!(errno(only(&device).recv(&mut buf)), libc::EAGAIN);
}

#[test]
fn a_buffer_shorter_than_the_headers_costs_the_packet() {
    enter_quiet();
    let headers =
        [(up(tun("t0").packet_info(true)), 4), (up(tun("t0").vnet_hdr(format(VnetLen::Hash))), 20)];
    for (options, len) in headers {
        let device = options.open().unwrap();
        let queue = only(&device);
        let (socket, _) = socket();
        socket.send_to(b"x", (THERE, 9)).unwrap();
        assert_eq!(queue.recv(&mut []).unwrap(), 0, "nothing is asked for, nothing is lost");
        assert_eq!(errno(queue.recv(&mut vec![0; len - 1])), libc::EINVAL);
        assert_eq!(errno(queue.recv(&mut [0; 64])), libc::EAGAIN);
        assert_eq!(errno(queue.send(&vec![0; len - 1])), libc::EINVAL);
        // Packet information stands for the version that would be looked at.
        let empty = queue.send(&vec![0; len]);
        if len == 4 {
            assert_eq!(empty.unwrap(), 4)
        } else {
            assert_eq!(errno(empty), libc::EINVAL)
        }
    }
}

#[test]
fn the_virtio_net_header_has_four_lengths_and_two_byte_orders() {
    enter_quiet();
    let lens = [VnetLen::Legacy, VnetLen::Mergeable, VnetLen::Hash, VnetLen::Tunnel];
    for (len, endian) in lens.into_iter().flat_map(|len| {
        [Endian::Native, Endian::Little].into_iter().map(move |endian| (len, endian))
    }) {
        let offload = OffloadChoice::Exact(Offload::CSUM);
        let options = tun("t0").vnet_hdr(VnetFormat { len, endian }).offload(offload);
        let device = up(options).open().unwrap();
        assert!(device.info().unwrap().tun.unwrap().vnet_hdr);
        let (socket, port) = socket();
        socket.send_to(b"out", (THERE, 9)).unwrap();
        let bytes = recv(only(&device));
        assert_eq!(bytes.len(), len.bytes() + 31);
        let Record { vnet, packet, .. } = device.layout().decode(&bytes).unwrap();
        let vnet = vnet.unwrap();
        assert!(vnet.needs_csum() && !vnet.is_super_packet(), "{vnet:?}");
        assert_eq!((vnet.csum_start, vnet.csum_offset), (20, 6));
        assert!(vnet.num_buffers <= 1 && vnet.hash.report == 0);
        assert_eq!(packet[26..28], traffic::pseudo(packet).to_be_bytes());

        // And back: the kernel takes the checksum for finished, or finishes it.
        let mut record = vec![0; device.layout().len()];
        let header =
            VnetHeader { flags: VnetHeader::NEEDS_CSUM, csum_start: 20, csum_offset: 6, ..vnet };
        device.layout().encode(PacketInfo::default(), &header, &mut record).unwrap();
        record.extend(udp((THERE, 9), (HERE, port), b"back", false));
        assert_eq!(only(&device).send(&record).unwrap(), record.len());
        let mut buf = [0; 64];
        assert_eq!((socket.recv(&mut buf).unwrap(), &buf[..4]), (4, &b"back"[..]));

        // An IP fragment leaves nothing open.
        socket.send_to(&[1; 3000], (THERE, 9)).unwrap();
        let bytes = recv(only(&device));
        let vnet = device.layout().decode(&bytes).unwrap().vnet.unwrap();
        assert_eq!((vnet.flags, vnet.gso), (0, Gso::None));
    }
}

#[test]
fn without_the_checksum_offload_every_checksum_is_finished() {
    enter_quiet();
    let device = up(tun("t0").vnet_hdr(format(VnetLen::Legacy))).open().unwrap();
    let (socket, _) = socket();
    socket.send_to(b"out", (THERE, 9)).unwrap();
    let bytes = recv(only(&device));
    let Record { vnet, packet, .. } = device.layout().decode(&bytes).unwrap();
    assert!(!vnet.unwrap().needs_csum());
    assert_eq!(traffic::sum(traffic::pseudo(packet), &packet[20..]), 0xffff);
}

#[test]
#[cfg(target_endian = "little")]
fn the_other_byte_order_needs_a_kernel_built_for_it() {
    enter_quiet();
    let format = VnetFormat { len: VnetLen::Legacy, endian: Endian::Big };
    let error = tun("t0").vnet_hdr(format).open().unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL));
    assert!(adit_device::Link::find(&traffic::name("t0")).is_err(), "nothing is left behind");
}

/// A header as it goes over the descriptor, so that it can be wrong.
fn header(flags: u8, gso: u8, hdr_len: u16, gso_size: u16, csum: (u16, u16)) -> Vec<u8> {
    let words = [hdr_len, gso_size, csum.0, csum.1];
    [flags, gso].into_iter().chain(words.into_iter().flat_map(u16::to_ne_bytes)).collect()
}

#[test]
fn a_wrong_virtio_net_header_is_refused_and_counted() {
    enter_quiet();
    let offload = OffloadChoice::Exact(Offload::USO);
    let device = up(tun("t0").vnet_hdr(format(VnetLen::Legacy)).offload(offload)).open().unwrap();
    let (_socket, port) = socket();
    let packet = udp((THERE, 9), (HERE, port), &[0; 4000], false);
    let send = |header: Vec<u8>| only(&device).send(&[header, packet.clone()].concat());
    let errors = || {
        let path = "/sys/class/net/t0/statistics/rx_frame_errors";
        std::fs::read_to_string(path).unwrap().trim().parse::<u32>().unwrap()
    };
    let csum = (20, 6);
    let refused = [
        ("headers longer than the packet", header(1, 5, 5000, 1000, csum), 0),
        ("a checksum that starts past the end", header(1, 0, 0, 0, (5000, 6)), 0),
        ("an unknown type", header(1, 99, 28, 1000, csum), 1),
        ("segments of no bytes", header(1, 5, 28, 0, csum), 1),
        ("TCP over IPv6, but the packet is IPv4", header(1, 4, 40, 1000, csum), 1),
        ("UDP segments without a checksum to finish", header(0, 5, 28, 1000, (0, 0)), 1),
        ("more than 128 segments", header(1, 5, 28, 31, csum), 1),
    ];
    for (what, header, counted) in refused {
        let before = errors();
        assert_eq!(errno(send(header)), libc::EINVAL, "{what}");
        assert_eq!(errors() - before, counted, "{what}");
    }
    let taken = [
        ("unknown flags", header(0x41, 0, 0, 0, csum)),
        ("a checksum that was verified", header(2, 0, 0, 0, (0, 0))),
        ("a segment longer than the packet", header(1, 5, 28, 9000, csum)),
        ("TCP type on a UDP packet", header(1, 1, 40, 1000, (20, 16))),
        ("UDP fragmentation", header(1, 3, 28, 1000, csum)),
    ];
    for (what, header) in taken {
        assert!(send(header).is_ok(), "{what}");
    }
}

#[test]
fn an_invalid_packet_is_refused() {
    enter_quiet();
    let device = up(tun("t0")).open().unwrap();
    let queue = only(&device);
    for bytes in [&[][..], &[0x00; 20], &[0x55; 20], &[0xf0; 1]] {
        assert_eq!(errno(queue.send(bytes)), libc::EINVAL, "{bytes:x?}");
    }
    // After the version nothing is looked at: the stack drops it later.
    for bytes in [&[0x45][..], &[0x60], &[0x4f; 60], &[0x6f; 7]] {
        assert_eq!(queue.send(bytes).unwrap(), bytes.len());
    }
    let device = up(tap("t1")).open().unwrap();
    let queue = only(&device);
    for len in [0, 1, 13] {
        assert_eq!(errno(queue.send(&vec![0xff; len])), libc::EINVAL);
    }
    assert_eq!(queue.send(&[0xff; 14]).unwrap(), 14);
}

#[test]
fn the_mtu_bounds_no_write_but_the_library_bounds_a_packet() {
    enter_quiet();
    let device = up(tun("t0").mtu(1500)).open().unwrap();
    let (socket, port) = socket();
    let queue = only(&device);
    let packet = udp((THERE, 9), (HERE, port), &[3; 2972], true);
    assert_eq!(queue.send(&packet).unwrap(), 3000);
    let mut buf = vec![0; 70_000];
    assert_eq!(socket.recv(&mut buf).unwrap(), 2972);
    buf.fill(0x45);
    assert_eq!((queue.len_max(), queue.send(&buf[..65_535]).unwrap()), (65_535, 65_535));
    for len in [65_536, 70_000] {
        assert_eq!(errno(queue.send(&buf[..len])), libc::EMSGSIZE);
        let (head, tail) = buf[..len].split_at(20);
        let parts = [std::io::IoSlice::new(head), std::io::IoSlice::new(tail)];
        assert_eq!(errno(queue.send_vectored(&parts)), libc::EMSGSIZE);
    }
    let tap = up(tap("t1")).open().unwrap();
    assert_eq!(errno(only(&tap).send(&vec![0; only(&tap).len_max() + 1])), libc::EMSGSIZE);
    python(
        "
fd = made('t2', TUN | NO_PI)
os.system('ip link set t2 up')
for n in (70_000, 131_072, 200_000):
    assert os.write(fd, b'E' * n) == n
",
    );
}

/// Sends one super-packet of `count` datagrams of `size` bytes to `to` (`UDP_SEGMENT`).
fn send_segments(to: &str, size: usize, count: usize) {
    python(&format!(
        "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, {size})
assert s.sendto(bytes({size} * {count}), ('{to}', 9)) == {size} * {count}
"
    ));
}

#[test]
fn a_udp_super_packet_comes_whole() {
    enter_quiet();
    let offload = OffloadChoice::Exact(Offload::USO);
    let device = up(tun("t0").vnet_hdr(format(VnetLen::Legacy)).offload(offload)).open().unwrap();
    send_segments("192.0.2.2", 1000, 65);
    let bytes = recv(only(&device));
    assert_eq!(bytes.len(), 65_038);
    let vnet = device.layout().decode(&bytes).unwrap().vnet.unwrap();
    assert_eq!((vnet.gso, vnet.gso_size, vnet.hdr_len), (Gso::UdpL4, 1000, 28));
    assert!(vnet.needs_csum());
    assert_eq!(bytes[1], 5, "the type on the wire");
    assert_eq!(drain(only(&device)), 0);

    // Without the offload the kernel cuts it up.
    let mut device = device;
    device.set_offload(Offload::CSUM).unwrap();
    send_segments("192.0.2.2", 1000, 65);
    assert_eq!(drain(only(&device)), 65);
}

#[test]
fn a_udp_super_packet_goes_in_whole() {
    enter_quiet();
    let offload = OffloadChoice::Exact(Offload::USO);
    let device = up(tun("t0").vnet_hdr(format(VnetLen::Legacy)).offload(offload)).open().unwrap();
    let send = |port| {
        let packet = udp((THERE, 9), (HERE, port), &[7; 50_000], false);
        let record = [header(1, 5, 28, 1000, (20, 6)), packet].concat();
        assert_eq!(only(&device).send(&record).unwrap(), record.len());
    };
    let (socket, port) = socket();
    send(port);
    let mut buf = vec![0; 65_536];
    for _ in 0..50 {
        assert_eq!(socket.recv(&mut buf).unwrap(), 1000);
    }
    let mut gro = Beside::start(
        "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 104, 1)
s.bind(('192.0.2.1', 7777))
print('ready', flush=True)
print(len(s.recv(65535)), flush=True)
",
    );
    send(7777);
    assert_eq!(gro.line(), "50000");
}

/// Sends a super-packet through a VXLAN over the device and gives the record that comes.
fn tunnel_record(device: &Device) -> Vec<u8> {
    support::run("ip link add vx0 type vxlan id 7 local 192.0.2.1 remote 192.0.2.2 dstport 4789");
    support::run("ip addr add 198.51.100.1/24 dev vx0");
    support::run("ip link set vx0 up");
    support::run("ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev vx0");
    drain(only(device));
    send_segments("198.51.100.2", 1400, 30);
    let bytes = recv(only(device));
    support::run("ip link del vx0");
    bytes
}

#[test]
fn a_super_packet_in_a_udp_tunnel_passes_whole() {
    enter_quiet();
    for (options, ethernet) in [(tun("t0"), 0), (tap("t0"), 14)] {
        let options = options.vnet_hdr(format(VnetLen::Tunnel));
        let device = up(options.offload(OffloadChoice::Exact(Offload::TUNNEL))).open().unwrap();
        if ethernet > 0 {
            support::run("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:03 dev t0");
        }
        let bytes = tunnel_record(&device);
        assert_eq!(bytes.len(), 42_102 + usize::from(ethernet));
        let vnet = device.layout().decode(&bytes).unwrap().vnet.unwrap();
        assert_eq!((vnet.gso, vnet.gso_size, bytes[1]), (Gso::UdpL4, 1400, 0x25));
        let offsets = (vnet.outer_th_offset, vnet.inner_nh_offset);
        assert_eq!(offsets, (20 + ethernet, 50 + ethernet));
        let mut again = vec![0; device.layout().len()];
        device.layout().encode(PacketInfo::default(), &vnet, &mut again).unwrap();
        assert_eq!(again, bytes[..24], "what is read is written the same");
        // The kernel counts the outer offsets from an Ethernet header even where there is none
        // (`virtio_net_hdr_tnl_to_skb`): what a TUN gives it does not take back.
        let back = only(&device).send(&bytes);
        if ethernet > 0 {
            assert_eq!(back.unwrap(), bytes.len());
        } else {
            assert_eq!(errno(back), libc::EINVAL);
        }
    }
}

#[test]
fn a_tunnel_offload_needs_the_longest_header() {
    enter_quiet();
    // A short header with this offload loses every such packet, so the library refuses it.
    let device = tun("t1").vnet_hdr(format(VnetLen::Legacy));
    let error = device.offload(OffloadChoice::Exact(Offload::TUNNEL)).open().unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL));
    python(
        "
fd = made('t0', TUN | NO_PI | VNET)
value(fd, 208, 0x1e7)
os.system('''ip addr add 192.0.2.1/24 dev t0; ip link set t0 up
ip link add vx0 type vxlan id 7 local 192.0.2.1 remote 192.0.2.2 dstport 4789
ip addr add 198.51.100.1/24 dev vx0; ip link set vx0 up
ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev vx0''')
time.sleep(0.1)
try:
    while True: os.read(fd, 70_000)
except BlockingIOError: pass
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, 1400)
s.sendto(bytes(42_000), ('198.51.100.2', 9))
fails(E.EFAULT, os.read, fd, 70_000)
fails(E.EAGAIN, os.read, fd, 70_000)
",
    );
}

/// Forwards whole packets from one queue to the other until stopped; counts super-packets.
fn pass(from: &Queue, to: &Queue, stop: &AtomicBool, supers: &AtomicUsize, small: &AtomicUsize) {
    let mut pool = Pool::new(PoolConfig {
        headroom: 0,
        small_room: 2048,
        large_room: adit_device::RECORD_LEN_MAX,
        small_limit: 80,
        large_limit: 80,
    });
    let (mut pair, mut batch) = (Pair::default(), Batch::with_capacity(64));
    while !stop.load(Ordering::Relaxed) {
        if !from.wait(false, Some(Duration::from_millis(20))).unwrap().readable {
            continue;
        }
        let count = from.recv_batch(&mut pool, &mut pair, &mut batch).unwrap();
        assert_eq!(count, batch.len());
        for packet in batch.iter() {
            let count = if packet.meta.vnet.is_super_packet() { supers } else { small };
            count.fetch_add(1, Ordering::Relaxed);
        }
        let sent = to.send_batch(&mut pool, &mut batch).unwrap();
        assert_eq!((sent.sent, sent.refused, batch.len()), (count, 0, 0));
    }
    pool.give_pair(&mut pair);
    assert_eq!(pool.out(), (0, 0), "every buffer came back");
}

fn tcp_between(make: impl Fn() -> DeviceOptions, len: VnetLen) {
    let there = Netns::new_anonymous().unwrap();
    let with = |address: &str| {
        make()
            .vnet_hdr(format(len))
            .offload(OffloadChoice::Exact(Offload::USO))
            .address(adit_device::netlink::Address::new(address.parse().unwrap()))
            .up(true)
    };
    let a = with("192.0.2.1/24").open().unwrap();
    let b = with("192.0.2.2/24").netns(there.try_clone().unwrap()).open().unwrap();
    let listener = there.run(|| TcpListener::bind((THERE, 7)).unwrap()).unwrap();
    let data: Vec<u8> =
        (0..4_000_000_u32).flat_map(|n| n.to_le_bytes().into_iter().take(1)).collect();
    let (stop, supers, small) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| pass(only(&a), only(&b), &stop, &supers, &small));
        scope.spawn(|| pass(only(&b), only(&a), &stop, &supers, &small));
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut got = Vec::new();
            let result = stream.read_to_end(&mut got);
            (result, got)
        });
        let mut client = TcpStream::connect_timeout(&(THERE, 7).into(), SOON).unwrap();
        client.set_write_timeout(Some(SOON)).unwrap();
        client.write_all(&data).unwrap();
        drop(client);
        let (result, got) = server.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(result.unwrap(), data.len());
        assert!(got == data, "the bytes differ");
    });
    let (supers, small) = (supers.into_inner(), small.into_inner());
    assert!(supers > 20 && small > 0, "{supers} super-packets, {small} small ones");
    assert!(supers < 4_000_000 / 1448, "they were not passed whole");
}

#[test]
fn tcp_super_packets_pass_between_two_devices_whole() {
    enter_quiet();
    tcp_between(|| tun("t0"), VnetLen::Legacy);
    tcp_between(|| tap("t0"), VnetLen::Mergeable);
    tcp_between(|| tap("t0").packet_info(true), VnetLen::Tunnel);
}

#[test]
fn a_batch_keeps_what_came_with_each_packet() {
    enter_quiet();
    let offload = OffloadChoice::Exact(Offload::USO);
    let options = tun("t0").packet_info(true).vnet_hdr(format(VnetLen::Mergeable)).offload(offload);
    let device = up(options).open().unwrap();
    let layout = Layout { packet_info: true, vnet_hdr: Some(format(VnetLen::Mergeable)) };
    assert_eq!((device.layout(), layout.len()), (layout, 16));
    let (socket, _) = socket();
    socket.send_to(b"small", (THERE, 9)).unwrap();
    send_segments("192.0.2.2", 1000, 30);
    socket.send_to(b"last", (THERE, 9)).unwrap();
    let mut pool = Pool::new(PoolConfig {
        headroom: 32,
        small_room: 256,
        large_room: adit_device::RECORD_LEN_MAX,
        small_limit: 3,
        large_limit: 2,
    });
    let (mut pair, mut batch) = (Pair::default(), Batch::new());
    let queue = only(&device);
    // The pool has two large buffers: one is in use after the second packet, one is kept ready.
    assert_eq!(queue.recv_batch(&mut pool, &mut pair, &mut batch).unwrap(), 3);
    let lens: Vec<_> = batch.iter().map(|packet| packet.bytes().len()).collect();
    assert_eq!(lens, [33, 30_028, 32]);
    let supers: Vec<_> = batch.iter().map(|packet| packet.meta.vnet.is_super_packet()).collect();
    assert_eq!(supers, [false, true, false]);
    assert!(batch.iter().all(|packet| packet.meta.info.protocol == 0x0800));
    assert_eq!(errno(queue.recv_batch(&mut pool, &mut pair, &mut batch)), libc::EAGAIN);
    batch.give_all(&mut pool);
    pool.give_pair(&mut pair);
    assert_eq!(pool.out(), (0, 0));
}
