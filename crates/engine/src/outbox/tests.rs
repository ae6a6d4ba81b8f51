use super::*;
use crate::{Engine, FlowId, FlowRequest, Handled, PortId};
use adit_packet::{Instant, PoolConfig};
use alloc::collections::{BTreeSet, VecDeque};
use core::net::SocketAddr;
use core::time::Duration;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

const PORTS: [Endpoint; 3] =
    [Endpoint::Port(PortId(0)), Endpoint::Port(PortId(1)), Endpoint::Port(PortId(2))];

fn outbox(small_limit: usize, limit: usize) -> Outbox {
    let config = PoolConfig { small_limit, large_limit: 0, ..PoolConfig::default() };
    Outbox::with_limit(Pool::new(config), limit)
}

fn packet(out: &mut Outbox, byte: u8) -> PacketBuf {
    let mut packet = out.pool().take(1).unwrap();
    packet.extend(&[byte]).unwrap();
    packet
}

/// All that is in the outbox, as (destination, first bytes) in the order of leaving.
fn taken(out: &mut Outbox, batch: usize) -> Vec<(Endpoint, Vec<u8>)> {
    let mut batch = Batch::with_capacity(batch);
    let mut groups = Vec::new();
    while let Some(to) = out.next_group(&mut batch) {
        groups.push((
            to,
            batch.iter().map(|packet| packet.bytes().first().copied().unwrap_or(0)).collect(),
        ));
        batch.give_all(out.pool());
    }
    groups
}

#[test]
fn packets_leave_by_destination_in_order() {
    let mut out = outbox(100, 100);
    let peer = Endpoint::Udp(SocketAddr::from(([192, 0, 2, 1], 51820)));
    for (byte, to) in [PORTS[1], peer, PORTS[1], PORTS[0], peer, PORTS[1]].into_iter().enumerate() {
        let packet = packet(&mut out, u8::try_from(byte).unwrap());
        out.send(to, packet);
    }
    let expected = [(PORTS[1], vec![0, 2, 5]), (peer, vec![1, 4]), (PORTS[0], vec![3])];
    assert_eq!(taken(&mut out, 64), expected);
    assert!(out.is_empty());
    assert_eq!(out.pool().out(), (0, 0));
    assert_eq!(peer.to_string(), "192.0.2.1:51820");
}

#[test]
fn a_small_batch_takes_a_group_in_pieces() {
    let mut out = outbox(100, 100);
    for byte in 0..5 {
        let packet = packet(&mut out, byte);
        out.send(PORTS[usize::from(byte == 3)], packet);
    }
    let expected = [(PORTS[0], vec![0, 1]), (PORTS[0], vec![2, 4]), (PORTS[1], vec![3])];
    assert_eq!(taken(&mut out, 2), expected);
    let mut full = Batch::with_capacity(0);
    assert_eq!(out.next_group(&mut full), None);
}

#[test]
fn sending_between_takes_loses_nothing() {
    let mut out = outbox(100, 100);
    let mut batch = Batch::with_capacity(1);
    for byte in 0..2 {
        let packet = packet(&mut out, byte);
        out.send(PORTS[0], packet);
    }
    assert_eq!(out.next_group(&mut batch), Some(PORTS[0]));
    batch.give_all(out.pool());
    let late = packet(&mut out, 9);
    out.send(PORTS[0], late);
    assert_eq!(taken(&mut out, 64), [(PORTS[0], vec![1, 9])]);
}

#[test]
fn a_full_outbox_and_an_empty_pool_are_counted() {
    let mut out = outbox(3, 2);
    for byte in 0..3 {
        let packet = packet(&mut out, byte);
        out.send(PORTS[0], packet);
    }
    let held = packet(&mut out, 3);
    out.send_copy(PORTS[0], &held);
    assert!(out.make(1).is_none());
    let expected = [(DropReason::NO_BUFFER, 1), (DropReason::OUTBOX_FULL, 1)];
    assert_eq!(out.counts().by_reason().collect::<Vec<_>>(), expected);
    assert!(out.counts().balance(4, 1));
    assert!(!out.counts().balance(4, 0));
    assert_eq!(out.pool().out(), (3, 0));
}

#[test]
fn each_reason_has_its_own_lower_case_text() {
    let texts: BTreeSet<_> = DropReason::KNOWN.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), DropReason::KNOWN.len());
    assert!(texts.iter().all(|text| text.to_lowercase() == *text));
}

/// Holds packets for a while, copies some, discards some, makes some.
#[derive(Default)]
struct Anything {
    held: VecDeque<(Instant, PacketBuf)>,
}

impl Anything {
    const HELD_MAX: usize = 8;
    const DELAY: Duration = Duration::from_micros(50);
}

impl Engine for Anything {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        match packet.bytes().first().map(|byte| byte % 5) {
            Some(0) => out.discard(packet, DropReason::FILTERED),
            Some(1) => {
                out.send_copy(PORTS[0], &packet);
                out.send_copy(PORTS[1], &packet);
                out.send(PORTS[2], packet);
            }
            Some(2) if self.held.len() < Self::HELD_MAX => {
                self.held.push_back((now + Self::DELAY, packet));
            }
            Some(2) => out.discard(packet, DropReason::QUEUE_FULL),
            Some(3) => {
                out.send(from, packet);
                if let Some(answer) = out.make(1) {
                    out.send(from, answer);
                }
            }
            _ => out.send(PORTS[0], packet),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.front().map(|&(due, _)| due)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            if let Some((_, packet)) = self.held.pop_front() {
                out.send(PORTS[1], packet);
            }
        }
    }

    fn held(&self) -> usize {
        self.held.len()
    }
}

#[test]
fn in_and_made_is_sent_discarded_and_held() {
    let mut engine = Anything::default();
    let mut out = outbox(36, 30);
    let (mut now, mut received, mut random) = (Instant::ZERO, 0_u64, 1_u32);
    for round in 0..10_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [byte, port, ..] = random.to_be_bytes();
        if let Some(mut packet) = out.pool().take(1) {
            packet.extend(&[byte]).unwrap();
            received += 1;
            engine.handle(now, PORTS[usize::from(port % 3)], packet, &mut out);
        }
        assert!(out.counts().balance(received, engine.held()), "round {round}");
        now += Duration::from_micros(1);
        if engine.next_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now, &mut out);
            assert!(out.counts().balance(received, engine.held()), "round {round}");
        }
        if round % 16 == 0 {
            taken(&mut out, 4);
            assert_eq!(out.pool().out(), (engine.held(), 0), "no buffer is lost, round {round}");
        }
    }
    assert!(received > 5_000 && out.counts().by_reason().count() >= 4);
}

#[test]
fn requests_keep_their_order_and_are_bounded() {
    let mut out = outbox(1, 1);
    let request = |number| Request::Flow(FlowId(number), FlowRequest::Close);
    let most = u64::try_from(Outbox::REQUESTS_MAX).unwrap();
    for number in 0..most {
        assert_eq!(out.request(request(number)), Ok(()));
    }
    assert_eq!(out.request(request(most)), Err(request(most)), "it comes back");
    assert_eq!(out.next_request(), Some(request(0)));
    assert_eq!(out.request(request(most)), Ok(()));
    for number in 1..=most {
        assert_eq!(out.next_request(), Some(request(number)));
    }
    assert_eq!(out.next_request(), None);
}

#[test]
fn thousands_of_destinations_are_grouped() {
    let mut out = outbox(20_000, 20_000);
    let mut to = Vec::new();
    for number in 0..3000_u16 {
        let [high, low] = number.to_be_bytes();
        to.push(Endpoint::Port(PortId(number)));
        to.push(Endpoint::Flow(FlowId(u64::from(number) << 32)));
        to.push(Endpoint::Udp(([192, 0, high, low], 7).into()));
    }
    // Twice the same, on an outbox that had few groups before and after.
    for few in [0, 40] {
        for round in 0..2 {
            for &to in &to {
                let mut packet = out.pool().take(1).unwrap();
                packet.extend(&[round]).unwrap();
                out.send(to, packet);
            }
        }
        let mut batch = Batch::new();
        for &to in &to {
            assert_eq!(out.next_group(&mut batch), Some(to));
            let bytes: Vec<_> = batch.as_slice().iter().map(|packet| packet.bytes()[0]).collect();
            assert_eq!(bytes, [0, 1], "both packets, in order");
            batch.give_all(out.pool());
        }
        assert_eq!(out.next_group(&mut batch), None);
        for &to in to.iter().take(few) {
            let packet = out.pool().take(1).unwrap();
            out.send(to, packet);
        }
        taken(&mut out, 64);
    }
}
