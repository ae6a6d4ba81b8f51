//! Packets between guests and the NAT allocate nothing, once their stations are known.

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;

use adit_engine::{Outbox, PortId};
use adit_nat::guest::{GuestConfig, Guests};
use adit_packet::{
    Batch, EthernetHeader, Instant, Ipv4Header, MacAddr, Pool, PoolConfig, ether_type,
};
use std::time::Duration;

#[test]
fn packets_of_guests_allocate_nothing() {
    let config = GuestConfig::default();
    let destination = config.mac;
    let mut guests = Guests::new(PortId(0), config).expect("the default is valid");
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    let (mut batch, mut now, mut before) = (Batch::new(), Instant::ZERO, 0);
    for round in 0..20_000_u32 {
        if round == 10_000 {
            before = counting::allocations();
        }
        let [.., number] = (round % 40).to_be_bytes();
        let source = MacAddr([2, 0, 0, 0, 0, number]);
        let ip = [10, 0, 2, 100 + number];
        let head = EthernetHeader { destination, source, ether_type: ether_type::IPV4 };
        let packet = Ipv4Header {
            tos: 0,
            total_len: 20,
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: 17,
            source: ip.into(),
            destination: [192, 0, 2, 1].into(),
        };
        let mut frame = out.pool().take(34).expect("far from the limit");
        frame.extend(&head.to_bytes()).expect("34 bytes");
        frame.extend(&packet.to_bytes()).expect("34 bytes");
        let mut packet = guests.ingress(now, frame, &mut out).expect("a packet of a guest");
        packet.bytes_mut()[12..20].copy_from_slice(&[192, 0, 2, 1, 10, 0, 2, 100 + number]);
        guests.egress(now, packet, &mut out);
        while out.next_group(&mut batch).is_some() {
            assert_eq!(batch.as_slice()[0].bytes()[..6], source.0);
            batch.give_all(out.pool());
        }
        now += Duration::from_millis(20);
    }
    assert_eq!(counting::allocations() - before, 0);
    assert_eq!(out.counts().discarded(), 0);
}
