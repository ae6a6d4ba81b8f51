use super::*;
use crate::netem::{Bitrate, Delay, Rate};
use adit_packet::{
    EthernetHeader, Gso, Ipv4Header, MacAddr, Pool, PoolConfig, TcpFlags, TcpHeader, UdpHeader,
    VnetHeader, ether_type, ip_protocol,
};
use std::vec;

mod change;
mod effects;
mod laws;
mod line;
mod queues;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn rate(bits: u64) -> Rate {
    Rate::Fixed(Bitrate::from_bits_per_second(bits))
}

fn float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// A link with an outbox, run in virtual time.
struct World {
    link: Link,
    out: Outbox,
    now: u64,
    /// What came out: when, and what.
    came: Vec<(u64, PacketBuf)>,
}

impl World {
    fn new(profile: &Profile) -> Self {
        Self::with_seed(profile, 1)
    }

    fn with_seed(profile: &Profile, seed: u64) -> Self {
        let limits = PoolConfig { small_limit: 1 << 20, ..PoolConfig::default() };
        Self {
            link: Link::new(profile, Seed::new(seed)).unwrap(),
            out: Outbox::new(Pool::new(limits)),
            now: 0,
            came: vec![],
        }
    }

    /// Pushes a packet at `at`, after all that is due before it.
    fn push(&mut self, at: u64, packet: PacketBuf) {
        self.run_until(at);
        self.link.push(Instant::from_nanos(at), packet, &mut self.out);
    }

    /// Takes out what is due up to `until`, each packet when it is.
    fn run_until(&mut self, until: u64) {
        while let Some(next) = self.link.next_timeout().filter(|next| next.as_nanos() <= until) {
            self.now = self.now.max(next.as_nanos());
            let now = Instant::from_nanos(self.now);
            while let Some(packet) = self.link.pop(now, &mut self.out) {
                self.came.push((self.now, packet));
            }
            let next = self.link.next_timeout();
            assert!(next.is_none_or(|next| next > now), "no spinning: {next:?} at {now}");
        }
        self.now = self.now.max(until);
    }

    fn run(&mut self) {
        self.run_until(u64::MAX - 1);
        assert_eq!(self.link.held(), 0);
    }

    /// When packets came out.
    fn times(&self) -> Vec<u64> {
        self.came.iter().map(|(at, _)| *at).collect()
    }

    /// The number that [`numbered`] wrote into each packet that came out.
    fn numbers(&self) -> Vec<u32> {
        self.came.iter().map(|(_, packet)| number(packet)).collect()
    }
}

fn number(packet: &PacketBuf) -> u32 {
    u32::from_be_bytes(*packet.bytes().last_chunk().unwrap())
}

fn blank(len: usize) -> PacketBuf {
    let mut packet = PacketBuf::new(0, len);
    packet.set_len(len).unwrap();
    packet
}

/// A packet that ends in its number.
fn numbered(number: u32, len: usize) -> PacketBuf {
    let mut packet = blank(len);
    *packet.bytes_mut().last_chunk_mut().unwrap() = number.to_be_bytes();
    packet
}

const ETHERNET: EthernetHeader = EthernetHeader {
    destination: MacAddr([2, 0, 0, 0, 0, 2]),
    source: MacAddr([2, 0, 0, 0, 0, 1]),
    ether_type: ether_type::IPV4,
};

fn ipv4(tos: u8, protocol: u8, len: usize) -> [u8; 20] {
    let header = Ipv4Header {
        tos,
        total_len: u16::try_from(20 + len).unwrap(),
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
    };
    header.to_bytes()
}

/// A UDP frame of `len` bytes from a port, with those bits of ECN.
fn udp(source_port: u16, tos: u8, len: usize) -> PacketBuf {
    let payload = len - 42;
    let header = UdpHeader {
        source_port,
        destination_port: 9,
        len: u16::try_from(payload + 8).unwrap(),
        checksum: 0,
    };
    let mut packet = PacketBuf::new(0, len);
    packet.extend(&ETHERNET.to_bytes()).unwrap();
    packet.extend(&ipv4(tos, ip_protocol::UDP, payload + 8)).unwrap();
    packet.extend(&header.to_bytes()).unwrap();
    packet.set_len(len).unwrap();
    packet
}

/// A TCP super-frame of `segments` full segments of 1460 bytes.
fn super_frame(segments: usize) -> PacketBuf {
    let payload = segments * 1460;
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
    let mut packet = PacketBuf::new(0, 54 + payload);
    packet.extend(&ETHERNET.to_bytes()).unwrap();
    packet.extend(&ipv4(0, ip_protocol::TCP, 20 + payload)).unwrap();
    packet.extend(&tcp.to_bytes(0)).unwrap();
    packet.set_len(54 + payload).unwrap();
    packet.meta.vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        gso_size: 1460,
        hdr_len: 54,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    packet
}
