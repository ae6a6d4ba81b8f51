//! What waits for the line.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::codel::{Law, List, State};
use super::fq_codel::FlowQueues;
use super::profile::{Discipline, Queue, QueueLimit};
use super::store::{Handle, Store};

/// Packets that wait for the line, in the order of their discipline.
#[derive(Debug)]
pub(super) struct LineQueue {
    config: Queue,
    order: Order,
    packets: u32,
    bytes: u64,
}

#[derive(Debug)]
enum Order {
    DropTail(List),
    CoDel(List, State, Law),
    FqCoDel(Box<FlowQueues>),
}

impl LineQueue {
    pub(super) fn new(config: Queue) -> Self {
        let order = match config.discipline {
            Discipline::DropTail => Order::DropTail(List::default()),
            Discipline::CoDel(codel) => {
                Order::CoDel(List::default(), State::default(), Law::new(codel, config.ecn))
            }
            Discipline::FqCoDel(fq) => Order::FqCoDel(Box::new(FlowQueues::new(fq, config.ecn))),
        };
        Self { config, order, packets: 0, bytes: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    #[cfg(test)]
    pub(super) const fn packets(&self) -> u32 {
        self.packets
    }

    /// Whether packets are queued by flow.
    pub(super) const fn has_flows(&self) -> bool {
        matches!(self.order, Order::FqCoDel(_))
    }

    /// Whether packets may be marked.
    pub(super) const fn marks(&self) -> bool {
        self.config.ecn
    }

    /// Adds a packet, whose `hash` is that of its flow; those that are dropped because it is too much
    /// are added to `dropped`. `rate` is that of the line, in bits a second.
    pub(super) fn push(
        &mut self,
        packet: Handle,
        hash: u32,
        rate: u64,
        store: &mut Store,
        dropped: &mut Vec<Handle>,
    ) {
        let wire_len = store.slot(packet).wire_len;
        let fits = self.fits(1, u64::from(wire_len), rate);
        match &mut self.order {
            Order::DropTail(_) | Order::CoDel(..) if !fits => return dropped.push(packet),
            Order::DropTail(list) => list.push(packet, store),
            Order::CoDel(list, state, _) => {
                state.note(wire_len);
                list.push(packet, store);
            }
            Order::FqCoDel(flows) => flows.push(packet, hash, store),
        }
        self.packets += 1;
        self.bytes += u64::from(wire_len);
        while !self.fits(0, 0, rate) {
            let Order::FqCoDel(flows) = &mut self.order else { return };
            let before = dropped.len();
            flows.drop_longest(store, dropped);
            self.forget(&dropped[before..], store);
        }
    }

    /// The packet to be sent at `now`; those that the discipline dropped before it are added to
    /// `dropped`.
    pub(super) fn pop(
        &mut self,
        now: u64,
        store: &mut Store,
        dropped: &mut Vec<Handle>,
    ) -> Option<Handle> {
        let before = dropped.len();
        let packet = match &mut self.order {
            Order::DropTail(list) => list.pop(store),
            Order::CoDel(list, state, law) => state.dequeue(now, *law, list, store, dropped),
            Order::FqCoDel(flows) => flows.dequeue(now, store, dropped),
        };
        self.forget(&dropped[before..], store);
        self.forget(packet.as_slice(), store);
        packet
    }

    /// Takes another configuration. What waits goes on waiting, in the order in which it came; with
    /// flows it is one flow, for its headers are not looked at again.
    pub(super) fn set(&mut self, config: Queue, store: &mut Store) {
        if config == self.config {
            return;
        }
        let limit_only =
            config.discipline == self.config.discipline && config.ecn == self.config.ecn;
        self.config = config;
        if limit_only {
            return;
        }
        let mut packets = Vec::new();
        self.take_all(store, &mut packets);
        packets.sort_by_key(|&packet| store.slot(packet).number);
        self.order = Self::new(config).order;
        for packet in packets {
            match &mut self.order {
                Order::DropTail(list) | Order::CoDel(list, ..) => list.push(packet, store),
                Order::FqCoDel(flows) => flows.push(packet, 0, store),
            }
        }
    }

    /// Adds all that waits to `packets`; nothing waits any more.
    pub(super) fn drain(&mut self, store: &mut Store, packets: &mut Vec<Handle>) {
        self.take_all(store, packets);
        *self = Self::new(self.config);
    }

    /// Takes the packets out of their order, though they still count.
    fn take_all(&mut self, store: &mut Store, packets: &mut Vec<Handle>) {
        match &mut self.order {
            Order::DropTail(list) | Order::CoDel(list, ..) => {
                while let Some(packet) = list.pop(store) {
                    packets.push(packet);
                }
            }
            Order::FqCoDel(flows) => flows.drain(store, packets),
        }
    }

    fn forget(&mut self, gone: &[Handle], store: &Store) {
        for &packet in gone {
            self.packets -= 1;
            self.bytes -= u64::from(store.slot(packet).wire_len);
        }
    }

    /// Whether so much more is within the limit. The only packet always is.
    fn fits(&self, packets: u32, bytes: u64, rate: u64) -> bool {
        let (packets, bytes) = (self.packets + packets, self.bytes + bytes);
        packets <= 1
            || match self.config.limit {
                QueueLimit::Packets(limit) => packets <= limit,
                QueueLimit::Bytes(limit) => bytes <= limit,
                QueueLimit::Time(limit) => {
                    u128::from(bytes) * 8_000_000_000 <= limit.as_nanos() * u128::from(rate)
                }
            }
    }
}
