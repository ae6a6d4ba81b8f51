//! The gateway of guests on any bytes: what must hold whatever they are. The property test and the fuzz target
//! call the same function.

use adit_engine::{Endpoint, Outbox, PortId};
use adit_nat::guest::{GuestConfig, Guests};
use adit_packet::{Batch, Endian, Instant, IpPrefix, Pool, PoolConfig, VnetHeader, VnetLen};
use std::net::IpAddr;
use std::time::Duration;

/// What guests send, to be changed at some bytes: each kind of message that is read.
const SEEDS: [&[u8]; 5] = [
    b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x01\x0a\0\x02\x0f\
      \0\0\0\0\0\0\x0a\0\x02\x02",
    b"\x02adit\x01\x02\0\0\0\0\x01\x08\x00\x45\0\0\x14\0\0\0\0\x40\x11\0\0\x0a\0\x02\x0f\xc0\0\x02\x01",
    b"\x33\x33\0\0\0\x02\x02\0\0\0\0\x01\x86\xdd\x60\0\0\0\0\x08\x3a\xff\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
      \xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x85\0\x7d\x37\0\0\0\0",
    b"\x33\x33\0\x01\0\x02\x02\0\0\0\0\x01\x86\xdd\x60\0\0\0\0\x30\x11\xff\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
      \xff\x02\0\0\0\0\0\0\0\0\0\0\0\x01\0\x02\x02\x22\x02\x23\0\x30\0\0\x01\x01\x02\x03\0\x01\0\x0a\0\x03\0\x01\
      \x02\0\0\0\0\x01\0\x0e\0\0\0\x03\0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0",
    DISCOVER,
];

/// A discover of DHCP, without the zeros of its fields.
const DISCOVER: &[u8] = &{
    let mut frame = [0; 14 + 20 + 8 + 240 + 10];
    let head = *b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x00\x45\0\x01\x16\0\0\0\0\x40\x11\x79\xd8\0\0\0\0\
                  \xff\xff\xff\xff\0\x44\0\x43\x01\x02\0\0\x01\x01\x06";
    let mut at = 0;
    while at < head.len() {
        frame[at] = head[at];
        at += 1;
    }
    frame[70] = 2;
    frame[75] = 1;
    let tail = *b"\x63\x82\x53\x63\x35\x01\x01\x32\x04\x0a\0\x02\x20\xff";
    at = 0;
    while at < tail.len() {
        frame[278 + at] = tail[at];
        at += 1;
    }
    frame
};

/// Configures a gateway by the first bytes, and gives it frames and packets made of the rest. Returns how many
/// frames it sent, and how many packets went to the NAT.
pub(crate) fn guests(bytes: &[u8]) -> (u64, u64) {
    let mut input = bytes.iter().copied();
    let mut byte = || input.next();
    let flags = byte().unwrap_or(0);
    let mut config = GuestConfig { off_link: flags & 1 != 0, ..GuestConfig::default() };
    config.stations_max = usize::from(flags >> 5) + 1;
    if flags & 2 != 0 {
        config.v4.as_mut().expect("the default has it").pool = None;
    }
    if flags & 4 != 0 {
        config.v6.as_mut().expect("the default has it").pool = None;
    }
    if flags & 8 != 0 {
        let text = "a.example b.example a-long-name-of-a-search-domain.example";
        config.search = text.split(' ').map(|name| name.parse().expect("a name")).collect();
    }
    let prefixes: Vec<IpPrefix> = ["10.0.2.0/24", "fd00::/64", "fe80::/10"]
        .map(|text| text.parse().expect("a prefix"))
        .to_vec();
    let stations_max = config.stations_max;
    let mut guests = Guests::new(PortId(0), config).expect("a valid configuration");
    // So small that it is used up at times.
    let pool = PoolConfig { small_limit: 8, large_limit: 2, ..PoolConfig::default() };
    let mut out = Outbox::with_limit(Pool::new(pool), 8);
    let (mut now, mut received, mut passed) = (Instant::ZERO, 0, 0);
    let mut batch = Batch::new();
    while let Some(action) = byte() {
        now += Duration::from_millis(u64::from(action) * 7);
        let seed = SEEDS[usize::from(action) % SEEDS.len()];
        let mut frame = if action & 0x80 != 0 { seed.to_vec() } else { Vec::new() };
        for _ in 0..action & 15 {
            let (Some(at), Some(value)) = (byte(), byte()) else { break };
            let at = usize::from(at) * (1 + frame.len() / 256);
            match frame.get_mut(at) {
                Some(old) => *old = value,
                None => frame.push(value),
            }
        }
        let Some(mut packet) = out.pool().take(frame.len()) else { continue };
        packet.extend(&frame).expect("taken with that room");
        received += 1;
        if action & 0x40 != 0 {
            let start = frame.get(30..54).unwrap_or_default();
            let vnet = VnetHeader::decode(start, VnetLen::Tunnel, Endian::Little);
            packet.meta.vnet = vnet.unwrap_or_default();
            packet.meta.vnet.flags |= VnetHeader::NEEDS_CSUM;
        }
        if action & 0x30 == 0x30 {
            packet.advance(14);
            guests.egress(now, packet, &mut out);
        } else if let Some(packet) = guests.ingress(now, packet, &mut out) {
            passed += 1;
            check_source(packet.bytes(), &prefixes);
            out.absorb(packet);
        }
        if guests.next_timeout().is_some_and(|due| due <= now) {
            guests.handle_timeout(now, &mut out);
        }
        while let Some(to) = out.next_group(&mut batch) {
            assert_eq!(to, Endpoint::Port(PortId(0)));
            assert!(
                batch.iter().all(|frame| frame.bytes().get(6..12) == Some(&guests.config().mac.0))
            );
            batch.give_all(out.pool());
        }
        assert!(out.counts().balance(received, guests.held()));
        assert!(guests.addresses().count() <= 16 * stations_max && guests.held() <= 16);
        let (small, large) = out.pool().out();
        assert_eq!(small + large, guests.held(), "a buffer is lost");
    }
    (out.counts().sent(), passed)
}

/// What goes to the NAT is a whole packet of a guest.
fn check_source(packet: &[u8], prefixes: &[IpPrefix]) {
    let (source, len): (IpAddr, usize) = match packet[0] >> 4 {
        4 => {
            let source: [u8; 4] = packet[12..16].try_into().expect("4 bytes");
            (source.into(), usize::from(u16::from_be_bytes([packet[2], packet[3]])))
        }
        _ => {
            let source: [u8; 16] = packet[8..24].try_into().expect("16 bytes");
            (source.into(), 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])))
        }
    };
    assert!(prefixes.iter().any(|prefix| prefix.contains(source)), "{source}");
    assert_eq!(packet.len(), len);
}
