//! Random super-packets of every kind.

use adit_device::{Gso, VnetHeader};
use adit_packet::{Tunnel, checksum};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const FROM4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const TO4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const FROM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub(crate) const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

const TCP: u8 = 6;
const UDP: u8 = 17;
const DESTINATION_OPTIONS: u8 = 60;

/// Numbers by xorshift64* (Vigna 2016).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: usize, high: usize) -> usize {
        let span = u64::try_from(high - low + 1).expect("64 bits");
        low + usize::try_from((self.next() >> 11) % span).expect("less than high")
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.range(1, count) == 1
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[5]
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.range(0, of.len() - 1)]
    }
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("at most 64 KiB")
}

/// The sum of a pseudo header, which a checksum that is left open holds.
fn pseudo(v6: bool, protocol: u8, len: usize) -> [u8; 2] {
    let sum = if v6 {
        checksum::Sum::pseudo_v6(FROM6, TO6, protocol, u32::from(short(len)))
    } else {
        checksum::Sum::pseudo_v4(FROM4, TO4, protocol, short(len))
    };
    sum.fold().to_be_bytes()
}

/// What a super-packet is: TCP, IPv6 inside; a tunnel over IPv4 or IPv6; VLAN tags.
pub(crate) type Kind = (bool, bool, Option<bool>, usize);

/// What stands before an IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// Nothing: a TUN device.
    None,
    /// An Ethernet header to that address.
    Frame([u8; 6]),
    /// And up to two VLAN tags.
    Tagged([u8; 6]),
}

/// The address from which frames come.
pub(crate) const FROM_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A super-packet and its virtio-net header.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) vnet: VnetHeader,
    pub(crate) bytes: Vec<u8>,
    pub(crate) link_len: usize,
}

impl Case {
    /// One with that before it.
    pub(crate) fn random(random: &mut Random, link: Link, tunnels: bool) -> Self {
        let (tcp, v6) = (!random.one_in(3), random.one_in(2));
        let (low, high) = random.pick(&[(8, 100), (100, 1400), (500, 3000), (1448, 1448)]);
        let size = random.range(low, high);
        let payload_len = random.range(size + 1, (size * 60).min(60_000));
        let mut transport = if tcp { tcp_header(random) } else { udp_header(random, payload_len) };
        let header_len = transport.len();
        if random.one_in(10) {
            transport.resize(header_len + payload_len, 0);
        } else {
            transport.extend(random.bytes(payload_len));
        }
        let (protocol, offset) = if tcp { (TCP, 16) } else { (UDP, 6) };
        let sum = pseudo(v6, protocol, transport.len());
        transport[offset..offset + 2].copy_from_slice(&sum);
        let ecn = tcp && transport[13] & 0x80 != 0;
        let (mut bytes, mut at) = ip(random, v6, protocol, &transport);

        let mut vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso: match (tcp, v6) {
                (true, false) => Gso::Tcp4,
                (true, true) => Gso::Tcp6,
                (false, _) => Gso::UdpL4,
            },
            ecn,
            gso_size: short(size),
            csum_offset: short(offset),
            ..VnetHeader::default()
        };
        let mut tunnel = None;
        if tunnels && random.one_in(3) {
            let over6 = random.one_in(2);
            tunnel = Some(over6);
            let shift;
            (bytes, shift) = vxlan(random, over6, v6, &bytes, &mut vnet);
            at += shift;
        }
        let v6_first = bytes[0] >> 4 == 6;
        let (link, tags) = match link {
            Link::None => (vec![], 0),
            Link::Frame(mac) => (ethernet(mac, v6_first, 0), 0),
            Link::Tagged(mac) => {
                let tags = random.range(0, 2);
                (ethernet(mac, v6_first, tags), tags)
            }
        };
        at += link.len();
        vnet.hdr_len = short(at + header_len);
        vnet.csum_start = short(at);
        if tunnel.is_some() {
            vnet.outer_th_offset += short(link.len());
            vnet.inner_nh_offset += short(link.len());
        }
        let bytes = [&link[..], &bytes].concat();
        Self { kind: (tcp, v6, tunnel, tags), vnet, bytes, link_len: link.len() }
    }
}

fn tcp_header(random: &mut Random) -> Vec<u8> {
    let options = match random.range(0, 2) {
        0 => vec![],
        1 => [&[1, 1, 8, 10][..], &random.bytes(8)].concat(),
        _ => [&[1, 1, 5, 10][..], &random.bytes(8)].concat(),
    };
    // ACK and, of the rest, FIN, PSH, URG, ECE and CWR.
    let flags = 0x10 | random.pick(&[0, 8, 1, 9, 0x80, 0xc0, 0x40, 0x20, 0x88]);
    let mut header = random.bytes(12);
    header.push(u8::try_from((5 + options.len() / 4) << 4).expect("at most 8 words"));
    header.push(flags);
    header.extend(random.bytes(2));
    header.extend([0; 4]);
    header.extend(options);
    header
}

fn udp_header(random: &mut Random, payload_len: usize) -> Vec<u8> {
    [&random.bytes(4)[..], &short(8 + payload_len).to_be_bytes(), &[0, 0]].concat()
}

/// A packet, and where its payload starts.
fn ip(random: &mut Random, v6: bool, protocol: u8, payload: &[u8]) -> (Vec<u8>, usize) {
    let hops = u8::try_from(random.range(2, 255)).expect("a byte");
    if v6 {
        let extension = if random.one_in(6) { vec![protocol, 0, 1, 4, 0, 0, 0, 0] } else { vec![] };
        let next = if extension.is_empty() { protocol } else { DESTINATION_OPTIONS };
        let mut packet = vec![0x60 | random.byte() & 15];
        packet.extend(random.bytes(3));
        packet.extend(short(extension.len() + payload.len()).to_be_bytes());
        packet.extend([next, hops]);
        packet.extend(FROM6.octets());
        packet.extend(TO6.octets());
        packet.extend(extension);
        let at = packet.len();
        packet.extend(payload);
        return (packet, at);
    }
    let options: &[u8] = if random.one_in(6) { &[1, 1, 1, 0] } else { &[] };
    let at = 20 + options.len();
    let mut packet = vec![0x45 + u8::try_from(options.len() / 4).expect("one"), random.byte()];
    packet.extend(short(at + payload.len()).to_be_bytes());
    packet.extend(random.bytes(2));
    packet.extend([random.pick(&[0, 0x40]), 0, hops, protocol, 0, 0]);
    packet.extend(FROM4.octets());
    packet.extend(TO4.octets());
    packet.extend(options);
    let check = checksum::of(&packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet.extend(payload);
    (packet, at)
}

/// `inner` in a VXLAN packet, and how far it moved.
fn vxlan(
    random: &mut Random,
    over6: bool,
    v6: bool,
    inner: &[u8],
    vnet: &mut VnetHeader,
) -> (Vec<u8>, usize) {
    let frame = [&ethernet([2, 0, 0, 0, 0, 1], v6, 0)[..], inner].concat();
    let mut udp = random.bytes(2);
    udp.extend(4789_u16.to_be_bytes());
    udp.extend(short(16 + frame.len()).to_be_bytes());
    if random.one_in(2) {
        udp.extend(pseudo(over6, UDP, 16 + frame.len()));
        vnet.flags |= VnetHeader::UDP_TUNNEL_CSUM;
    } else {
        udp.extend([0, 0]);
    }
    udp.extend([8, 0, 0, 0, 0, 0, 5, 0]);
    udp.extend(frame);
    let (packet, at) = ip(random, over6, UDP, &udp);
    vnet.tunnel = Some(if over6 { Tunnel::Ipv6 } else { Tunnel::Ipv4 });
    vnet.outer_th_offset = short(at);
    vnet.inner_nh_offset = short(at + 16 + 14);
    (packet, at + 16 + 14)
}

/// An Ethernet header with none, one or two tags (IEEE 802.1Q, 802.1ad).
fn ethernet(to: [u8; 6], v6: bool, tags: usize) -> Vec<u8> {
    let mut header = [to, FROM_MAC].concat();
    if tags == 2 {
        header.extend([0x88, 0xa8, 0, 9]);
    }
    if tags > 0 {
        header.extend([0x81, 0, 0x60, 7]);
    }
    header.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    header
}
