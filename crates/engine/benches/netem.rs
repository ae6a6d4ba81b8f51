//! What a packet costs in a link: `cargo bench -p adit-engine --bench netem`.
//!
//! Times are for one packet, pushed and popped.

use adit_engine::Outbox;
use adit_engine::netem::{
    Bitrate, Delay, Discipline, FqCoDel, Jitter, Limits, Link, Loss, Profile, Queue, QueueLimit,
    Rate, Seed,
};
use adit_packet::{
    EthernetHeader, Instant, Ipv4Header, MacAddr, PacketBuf, Pool, PoolConfig, UdpHeader,
    ether_type, ip_protocol,
};
use core::time::Duration;
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// A UDP frame from one of many ports, written into `packet`.
fn fill(packet: &mut PacketBuf, port: u16, len: usize) {
    let ethernet = EthernetHeader {
        destination: MacAddr([2, 0, 0, 0, 0, 2]),
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        ether_type: ether_type::IPV4,
    };
    let total_len = u16::try_from(len - 14).expect("below 64 KiB");
    let ip = Ipv4Header {
        tos: 2,
        total_len,
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: ip_protocol::UDP,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
    };
    let udp =
        UdpHeader { source_port: port, destination_port: 9, len: total_len - 20, checksum: 0 };
    packet.extend(&ethernet.to_bytes()).expect("room");
    packet.extend(&ip.to_bytes()).expect("room");
    packet.extend(&udp.to_bytes()).expect("room");
    packet.set_len(len).expect("room");
}

/// A link that packets go through, one every `gap` nanoseconds.
struct Flow {
    link: Link,
    out: Outbox,
    now: u64,
    gap: u64,
    len: usize,
}

impl Flow {
    fn new(profile: &Profile, gap: u64, len: usize) -> Self {
        let link = Link::new(profile, Seed::new(1)).expect("a profile that can be");
        Self { link, out: Outbox::new(Pool::new(PoolConfig::default())), now: 0, gap, len }
    }

    fn step(&mut self) {
        self.now += self.gap;
        let now = Instant::from_nanos(self.now);
        let mut packet = self.out.pool().take(self.len).expect("given back below");
        fill(&mut packet, u16::try_from(self.now / self.gap % 50).expect("below 50"), self.len);
        self.link.push(now, packet, &mut self.out);
        while let Some(packet) = self.link.pop(now, &mut self.out) {
            self.out.pool().give(packet);
        }
    }

    /// Fills the link until as much comes out as goes in.
    fn warm_up(mut self, packets: u64) -> Self {
        for _ in 0..packets {
            self.step();
        }
        self
    }
}

fn run(bencher: Bencher<'_, '_>, flow: Flow) {
    let mut flow = flow;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| flow.step());
}

fn bits(bits: u64) -> Rate {
    Rate::Fixed(Bitrate::from_bits_per_second(bits))
}

/// The packet itself: taken from the pool, written and given back.
#[divan::bench(args = [64, 1514])]
fn nothing(bencher: Bencher<'_, '_>, len: usize) {
    let mut pool = Pool::new(PoolConfig::default());
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let mut packet = pool.take(len).expect("given back below");
        fill(&mut packet, 1, len);
        pool.give(packet);
    });
}

#[divan::bench(args = [64, 1514])]
fn delay_only(bencher: Bencher<'_, '_>, len: usize) {
    let delay = Delay::constant(Duration::from_millis(20));
    let profile = Profile { delay, ..Profile::default() };
    // A packet each microsecond: 20,000 are on their way.
    run(bencher, Flow::new(&profile, 1000, len).warm_up(30_000));
}

/// Jitter that reorders: packets go through the heap.
#[divan::bench(args = [64, 1514])]
fn jitter_and_loss(bencher: Bencher<'_, '_>, len: usize) {
    let jitter = Jitter::Normal { deviation: Duration::from_millis(5) };
    let delay =
        Delay { base: Duration::from_millis(20), jitter, correlation: 0.5, keep_order: false };
    let loss = Loss::Bursts { share: 0.01, length: 5.0 };
    let profile = Profile { delay, loss, ..Profile::default() };
    run(bencher, Flow::new(&profile, 1000, len).warm_up(60_000));
}

/// Everything: 50 flows that send a fifth more than the line does, ECN, jitter, loss.
#[divan::bench(args = [64, 1514])]
fn rate_with_fq_codel(bencher: Bencher<'_, '_>, len: usize) {
    let queue = Queue {
        limit: QueueLimit::Packets(10_000),
        discipline: Discipline::FqCoDel(FqCoDel::default()),
        ecn: true,
    };
    let jitter = Jitter::Normal { deviation: Duration::from_millis(2) };
    let delay =
        Delay { base: Duration::from_millis(20), jitter, correlation: 0.5, keep_order: true };
    let rate = bits(u64::try_from(len).expect("small") * 8 * 833_333);
    let loss = Loss::Random { share: 0.01 };
    let profile = Profile { queue, rate, delay, loss, ..Profile::default() };
    run(bencher, Flow::new(&profile, 1000, len).warm_up(200_000));
}

/// A million packets on their way.
#[divan::bench]
fn delay_with_a_million_held(bencher: Bencher<'_, '_>) {
    let limits = Limits { packets: 1 << 21, bytes: 1 << 30 };
    let delay = Delay::constant(Duration::from_secs(1));
    let profile = Profile { delay, limits, ..Profile::default() };
    let flow = Flow::new(&profile, 1000, 64).warm_up(1_100_000);
    assert!(flow.link.held() >= 999_999);
    run(bencher, flow);
}

/// Super-packets of 64 KiB, which cross whole.
#[divan::bench]
fn delay_of_super_packets(bencher: Bencher<'_, '_>) {
    let delay = Delay::constant(Duration::from_millis(20));
    let profile = Profile { delay, ..Profile::default() };
    // 26 Gbit/s: 1000 are on their way.
    run(bencher, Flow::new(&profile, 20_000, 65_000).warm_up(3000));
}
