//! What checksums, cutting up and joining cost, by adit-packet and by tun-rs's public functions.
//!
//! All in the cache, in turns; another one is first in each. The super-packet has 44 segments of 1448
//! bytes. Joining is with each packet's checksum to be verified by both, and with the write of what
//! was joined, to a file in memory: tun-rs copies the payloads together as it joins, ours stay where
//! they are for a gathering write.

use adit_packet::{Coalescer, Gso, Headers, Layer, PacketBuf, SuperPacket, VnetHeader, checksum};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{pwrite, pwritev};
use std::hint::black_box;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use tun_rs::{GROTable, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_LEN, VirtioNetHdr};

const SEGMENT: usize = 1448;
const SEGMENTS: usize = 44;
const HEADERS: usize = 52;
/// Calls in a turn.
const CALLS: u32 = 50;

fn main() {
    let rounds = std::env::args().nth(1).map_or(101, |word| word.parse().expect("a number"));
    println!(
        "{:<34} {:>12} {:>16} {:>12} {:>16} {:>7}",
        "ns a call, median", "adit-packet", "spread", "tun-rs", "spread", "ratio"
    );
    for len in [20, 64, 1420, 1500, 65_535] {
        let bytes = vec![0x5a_u8; len];
        let ours = || time(|| _ = black_box(checksum::of(black_box(&bytes))));
        let theirs = || time(|| _ = black_box(!tun_rs::checksum(black_box(&bytes), 0)));
        row(&format!("checksum of {len} bytes"), rounds, ours, Some(theirs));
    }
    let (bytes, vnet) = super_packet();
    let packets = segments(&bytes, &vnet);
    let ours = || time(|| _ = black_box(Headers::parse_packet(black_box(packets[0].bytes()))));
    row("parse the headers of a packet", rounds, ours, None::<fn() -> f64>);
    cut_up(rounds, &bytes, &vnet);
    join(rounds, &packets);
}

fn cut_up(rounds: usize, bytes: &[u8], vnet: &VnetHeader) {
    let mut buffers: Vec<PacketBuf> = (0..SEGMENTS).map(|_| PacketBuf::new(256, 1792)).collect();
    let ours = || {
        time(|| {
            let whole = SuperPacket::parse(black_box(bytes), vnet, Layer::Packet).expect("made so");
            for (segment, buffer) in whole.segments().zip(&mut buffers) {
                buffer.reset(256);
                segment.append_to(buffer).expect("1500 bytes");
            }
        })
    };
    let mut input = bytes.to_vec();
    let mut out = vec![vec![0_u8; VIRTIO_NET_HDR_LEN + 1514]; SEGMENTS];
    let mut sizes = vec![0; SEGMENTS];
    let header = VirtioNetHdr {
        flags: 1,
        gso_type: VIRTIO_NET_HDR_GSO_TCPV4,
        hdr_len: 52,
        gso_size: 1448,
        csum_start: 20,
        csum_offset: 16,
    };
    let theirs = || {
        time(|| {
            let input = black_box(&mut input[..]);
            let cut =
                tun_rs::gso_split(input, header, &mut out, &mut sizes, VIRTIO_NET_HDR_LEN, false);
            assert_eq!(cut.expect("made so"), SEGMENTS);
        })
    };
    row("cut up 64 KiB into 44 packets", rounds, ours, Some(theirs));
}

fn join(rounds: usize, packets: &[PacketBuf]) {
    let mut coalescer = Coalescer::new(Layer::Packet);
    let out = memory();
    let ours = || {
        time(|| {
            let trains = coalescer.join(black_box(packets));
            let train = trains.iter().next().expect("packets");
            let mut pieces = [IoSlice::new(&[]); SEGMENTS + 2];
            // As of a queue: its own header comes first.
            pieces[0] = IoSlice::new(&[0; VIRTIO_NET_HDR_LEN]);
            for (to, piece) in pieces[1..].iter_mut().zip(train.pieces()) {
                *to = IoSlice::new(piece);
            }
            assert!(pwritev(&out, &pieces, 0).expect("room") > 60_000, "it joined nothing");
        })
    };
    let full = |packet: &PacketBuf| {
        let mut buffer = Vec::with_capacity(VIRTIO_NET_HDR_LEN + 65_536);
        buffer.resize(VIRTIO_NET_HDR_LEN, 0);
        buffer.extend(packet.bytes());
        buffer
    };
    let mut buffers: Vec<Vec<u8>> = packets.iter().map(full).collect();
    let mut table = GROTable::new();
    let theirs_out = memory();
    let theirs = || {
        let mut spent = 0;
        for _ in 0..CALLS {
            // It joins in place: what it joined is put back, outside of the time.
            for (buffer, packet) in buffers.iter_mut().zip(packets) {
                buffer.truncate(VIRTIO_NET_HDR_LEN);
                buffer.extend(packet.bytes());
            }
            let start = now();
            table.apply_gro(black_box(&mut buffers), VIRTIO_NET_HDR_LEN, true).expect("made so");
            pwrite(&theirs_out, &buffers[0], 0).expect("room");
            spent += now() - start;
        }
        assert!(buffers[0].len() > 60_000, "it joined nothing");
        spent as f64 / f64::from(CALLS)
    };
    row("join 44 packets and write them", rounds, ours, Some(theirs));
}

fn memory() -> OwnedFd {
    memfd_create("micro", MemfdFlags::empty()).expect("a file in memory")
}

fn row(
    what: &str,
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    theirs: Option<impl FnMut() -> f64>,
) {
    let Some(mut theirs) = theirs else {
        let times = (0..rounds).map(|_| ours()).collect();
        let (ours, spread) = median(times);
        println!("{what:<34} {ours:>12.1} {spread:>16} {:>12} {:>16} {:>7}", "-", "-", "-");
        return;
    };
    let (mut one, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let first = if round % 2 == 0 { ours() } else { theirs() };
        let second = if round % 2 == 0 { theirs() } else { ours() };
        let (a, b) = if round % 2 == 0 { (first, second) } else { (second, first) };
        one.push(a);
        other.push(b);
        ratios.push(b / a);
    }
    let ((one, ones), (other, others), (ratio, _)) = (median(one), median(other), median(ratios));
    println!("{what:<34} {one:>12.1} {ones:>16} {other:>12.1} {others:>16} {ratio:>7.2}");
}

/// Nanoseconds of one call.
fn time(mut call: impl FnMut()) -> f64 {
    let start = now();
    for _ in 0..CALLS {
        call();
    }
    (now() - start) as f64 / f64::from(CALLS)
}

/// CPU time of the thread in nanoseconds.
fn now() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The median; the lowest and the highest as text.
fn median(mut values: Vec<f64>) -> (f64, String) {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    (values[values.len() / 2], format!("{:.1}-{:.1}", values[0], values[last]))
}

/// A TCP super-packet as a TUN device gives it: IPv4, timestamps, its checksum to be finished.
fn super_packet() -> (Vec<u8>, VnetHeader) {
    let len = HEADERS + SEGMENTS * SEGMENT;
    let [high, low] = u16::try_from(len).expect("below 64 KiB").to_be_bytes();
    let mut bytes = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, 6, 0, 0];
    bytes.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    let check = checksum::of(&bytes);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    bytes.extend([1, 187, 195, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x10, 1, 246, 0, 0, 0, 0]);
    bytes.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    bytes.resize(len, 0x5a);
    let tcp_len = u16::try_from(len - 20).expect("below 64 KiB");
    let pseudo = checksum::Sum::pseudo_v4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 6, tcp_len);
    bytes[36..38].copy_from_slice(&pseudo.fold().to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        hdr_len: 52,
        gso_size: 1448,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    (bytes, vnet)
}

fn segments(bytes: &[u8], vnet: &VnetHeader) -> Vec<PacketBuf> {
    let whole = SuperPacket::parse(bytes, vnet, Layer::Packet).expect("made above");
    let packets = whole.segments().map(|segment| {
        let mut packet = PacketBuf::new(64, 1500);
        segment.append_to(&mut packet).expect("1500 bytes");
        packet
    });
    packets.collect()
}
