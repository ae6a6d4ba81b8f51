//! What each step of a packet's way costs: `cargo bench -p adit-packet`.
//!
//! Times are for the whole argument (a train of 44 segments, a packet, a buffer), all in the cache.

use adit_packet::{
    Coalescer, Gso, HashTypes, Headers, Ipv4Header, Layer, PacketBuf, Pair, Pool, PoolConfig,
    SuperPacket, TcpFlags, TcpHeader, Toeplitz, ToeplitzKey, VnetHeader, checksum, ip_protocol,
    rss_hash,
};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// Payload of a full segment at MTU 1500 with timestamps.
const SEGMENT: u16 = 1448;
const SEGMENTS: usize = 44;

fn main() {
    divan::main();
}

/// A TCP super-packet of [`SEGMENTS`] full segments, as a TUN device gives it.
fn super_packet() -> (Vec<u8>, VnetHeader) {
    let payload_len = SEGMENTS * usize::from(SEGMENT);
    let ip = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(20 + 32 + payload_len).expect("below 64 KiB"),
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: ip_protocol::TCP,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
    };
    let tcp = TcpHeader {
        source_port: 443,
        destination_port: 50_000,
        sequence: 1,
        acknowledgment: 2,
        flags: TcpFlags::ACK,
        window: 502,
        checksum: 0,
        urgent: 0,
    };
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let bytes =
        [&ip.to_bytes()[..], &tcp.to_bytes(12), &options, &vec![0x5a; payload_len]].concat();
    (bytes, VnetHeader { gso: Gso::Tcp4, gso_size: SEGMENT, ..VnetHeader::default() })
}

fn segments() -> Vec<PacketBuf> {
    let (bytes, vnet) = super_packet();
    let whole = SuperPacket::parse(&bytes, &vnet, Layer::Packet).expect("made above");
    let buffers = whole.segments().map(|segment| {
        let mut packet = PacketBuf::new(64, 1500);
        segment.append_to(&mut packet).expect("1500 bytes");
        packet
    });
    buffers.collect()
}

#[divan::bench(args = [20, 64, 1500, 65_536])]
fn checksum_of(bencher: Bencher<'_, '_>, len: usize) {
    let bytes = vec![0x5a_u8; len];
    bencher.counter(BytesCount::new(len)).bench_local(|| checksum::of(black_box(&bytes)));
}

#[divan::bench]
fn parse_tcp_packet(bencher: Bencher<'_, '_>) {
    let packets = segments();
    let bytes = packets.first().expect("44 of them").bytes();
    bencher.bench_local(|| Headers::parse_packet(black_box(bytes)));
}

#[divan::bench]
fn parse_and_hash_tcp_packet(bencher: Bencher<'_, '_>) {
    let packets = segments();
    let bytes = packets.first().expect("44 of them").bytes();
    let toeplitz = Toeplitz::new(&ToeplitzKey::SYMMETRIC);
    bencher.bench_local(|| {
        let headers = Headers::parse_packet(black_box(bytes)).ok()?;
        rss_hash(&headers, bytes, HashTypes::PLAIN, &toeplitz)
    });
}

#[divan::bench]
fn segment_headers_for_writev(bencher: Bencher<'_, '_>) {
    let (bytes, vnet) = super_packet();
    let mut scratch = [[0_u8; 64]; SEGMENTS];
    bencher.counter(ItemsCount::new(SEGMENTS)).bench_local(|| {
        let whole =
            SuperPacket::parse(black_box(&bytes), &vnet, Layer::Packet).expect("made above");
        for (segment, out) in whole.segments().zip(&mut scratch) {
            segment.write_headers(black_box(out)).expect("52 bytes");
        }
    });
}

#[divan::bench]
fn segment_into_buffers(bencher: Bencher<'_, '_>) {
    let (bytes, vnet) = super_packet();
    let mut pool = Pool::new(PoolConfig::default());
    let mut out = Vec::with_capacity(SEGMENTS);
    bencher.counter(ItemsCount::new(SEGMENTS)).bench_local(|| {
        let whole =
            SuperPacket::parse(black_box(&bytes), &vnet, Layer::Packet).expect("made above");
        for segment in whole.segments() {
            let mut packet = pool.take(segment.len()).expect("far from the limit");
            segment.append_to(&mut packet).expect("1500 bytes");
            out.push(packet);
        }
        out.drain(..).for_each(|packet| pool.give(packet));
    });
}

#[divan::bench(args = ["verified here", "verified before"])]
fn coalesce_one_flow(bencher: Bencher<'_, '_>, checksums: &str) {
    let mut packets = segments();
    if checksums == "verified before" {
        packets.iter_mut().for_each(|packet| packet.meta.vnet.flags = VnetHeader::DATA_VALID);
    }
    let mut coalescer = Coalescer::new(Layer::Packet);
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .bench_local(|| assert_eq!(coalescer.join(black_box(&packets)).len(), 1));
}

#[divan::bench]
fn pool_take_and_give(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(PoolConfig::default());
    bencher.bench_local(|| {
        let packet = pool.take(black_box(1500)).expect("far from the limit");
        pool.give(packet);
    });
}

#[divan::bench]
fn pair_ready_and_settle(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(PoolConfig::default());
    let mut pair = Pair::default();
    bencher.bench_local(|| {
        black_box(pool.ready(&mut pair, 10).expect("far from the limit"));
        let packet = pair.settle(black_box(1500)).expect("it was ready");
        pool.give(packet);
    });
}
