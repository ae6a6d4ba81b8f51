//! Packets of several flows that wait for one reader: each flow has its turn, and one that sends little does not wait for
//! those that send much.
//!
//! Source: RFC 8290, 4, without its `CoDel` and without drops: the reader pushes only while there is room.

use alloc::boxed::Box;

use adit_packet::{Layer, PacketBuf};

use crate::flow_hash::Hasher;

/// The number of queues: of five flows, one in seven shares a queue with another.
const FLOWS: u8 = 64;
/// How many packets wait at most: a fraction of the large buffers of a pool.
const PACKETS_MAX: u8 = 64;
/// How many bytes a flow sends in its turn: a flow that sends less between two turns of the others is first each time. A
/// super-packet takes several turns.
const QUANTUM: i32 = 16 * 1024;

/// No index.
const NONE: u8 = u8::MAX;

/// Packets by flow, at most 64. Their order within a flow is kept.
#[derive(Debug)]
pub struct FlowQueue {
    packets: [Option<PacketBuf>; PACKETS_MAX as usize],
    next_packet: [u8; PACKETS_MAX as usize],
    free: List,
    flows: Box<[Flow; FLOWS as usize]>,
    next_flow: [u8; FLOWS as usize],
    /// Flows that came lately, served first.
    new: List,
    old: List,
    count: u8,
    hasher: Hasher,
    layer: Layer,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    list: List,
    /// What it may still send in this round.
    deficit: i32,
    /// It is in one of the two turns.
    waits: bool,
}

/// Indices in order, linked by an array of the next ones.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u8,
    last: u8,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE };

    fn push(&mut self, at: u8, next: &mut [u8]) {
        next[usize::from(at)] = NONE;
        if self.first == NONE {
            self.first = at;
        } else {
            next[usize::from(self.last)] = at;
        }
        self.last = at;
    }

    fn pop(&mut self, next: &[u8]) -> Option<u8> {
        let at = self.first;
        self.first = *next.get(usize::from(at))?;
        Some(at)
    }
}

impl FlowQueue {
    /// An empty queue for packets or frames. A sender that does not know `key` cannot choose flows that share a queue.
    #[must_use]
    pub fn new(layer: Layer, key: u64) -> Self {
        let mut free = List::EMPTY;
        let mut next_packet = [NONE; PACKETS_MAX as usize];
        (0..PACKETS_MAX).for_each(|at| free.push(at, &mut next_packet));
        let flow = Flow { list: List::EMPTY, deficit: 0, waits: false };
        Self {
            packets: [const { None }; PACKETS_MAX as usize],
            next_packet,
            free,
            flows: Box::new([flow; FLOWS as usize]),
            next_flow: [NONE; FLOWS as usize],
            new: List::EMPTY,
            old: List::EMPTY,
            count: 0,
            hasher: Hasher::new(key),
            layer,
        }
    }

    /// Whether no packet waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it takes another packet.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.count < PACKETS_MAX
    }

    /// Adds a packet behind those of its flow.
    ///
    /// # Errors
    /// There is no room; returns the packet.
    pub fn push(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        let Some(at) = self.free.pop(&self.next_packet) else { return Err(packet) };
        let index = self.index(&packet);
        self.packets[usize::from(at)] = Some(packet);
        self.count += 1;
        let flow = &mut self.flows[usize::from(index)];
        flow.list.push(at, &mut self.next_packet);
        if !flow.waits {
            (flow.waits, flow.deficit) = (true, QUANTUM);
            self.new.push(index, &mut self.next_flow);
        }
        Ok(())
    }

    /// The queue of a packet's flow.
    fn index(&self, packet: &PacketBuf) -> u8 {
        let [.., high] = self.hasher.hash(packet, self.layer).to_le_bytes();
        high % FLOWS
    }

    /// Takes out the packet whose turn it is.
    pub fn pop(&mut self) -> Option<PacketBuf> {
        loop {
            let is_new = self.new.first != NONE;
            let turn = if is_new { &mut self.new } else { &mut self.old };
            let index = turn.first;
            let flow = self.flows.get_mut(usize::from(index))?;
            if flow.deficit <= 0 {
                flow.deficit += QUANTUM;
                turn.pop(&self.next_flow);
                self.old.push(index, &mut self.next_flow);
            } else if let Some(at) = flow.list.pop(&self.next_packet) {
                self.free.push(at, &mut self.next_packet);
                self.count -= 1;
                let packet = self.packets[usize::from(at)].take()?;
                flow.deficit -= i32::try_from(packet.len()).unwrap_or(i32::MAX);
                return Some(packet);
            } else {
                turn.pop(&self.next_flow);
                // A new flow that ran empty takes one turn as an old one, or it could come back as a new one at once
                // and starve the others (RFC 8290, 4.2).
                if is_new && self.old.first != NONE {
                    self.old.push(index, &mut self.next_flow);
                } else {
                    flow.waits = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, VecDeque};
    use std::vec::Vec;

    /// A frame that is not IP: its flow is that of its MAC addresses.
    fn packet(flow: u8, number: u8, len: usize) -> PacketBuf {
        let mut packet = PacketBuf::new(0, len);
        let bytes = packet.grow(len).unwrap();
        (bytes[5], bytes[15]) = (flow, number);
        packet
    }

    fn label(packet: &PacketBuf) -> (u8, u8) {
        (packet.bytes()[5], packet.bytes()[15])
    }

    /// A key with which these flows have queues of their own.
    fn apart(flows: u8) -> FlowQueue {
        let is_apart = |queue: &FlowQueue| {
            let index = |flow| queue.index(&packet(flow, 0, 20));
            (1..flows).all(|flow| (0..flow).all(|other| index(flow) != index(other)))
        };
        (0..).map(|key| FlowQueue::new(Layer::Frame, key)).find(is_apart).unwrap()
    }

    /// Whatever is pushed and popped: what comes out is the first packet of its flow, all comes out, and no more is held
    /// than there is room for.
    #[test]
    fn random_operations_keep_the_order_of_each_flow() {
        for seed in 0..200_u64 {
            let mut queue = FlowQueue::new(Layer::Frame, seed);
            let mut flows = BTreeMap::<u8, VecDeque<u8>>::new();
            let (mut random, mut held) = (seed, 0);
            for number in 0..3000_u32 {
                random = crate::flow_hash::mix(random + 1);
                let [flow, len, what, ..] = random.to_le_bytes();
                // Phases in which it fills, and in which it runs empty.
                let fills = number / 100 % 2 == 0;
                if (what < 160) == fills {
                    let (flow, number) = (flow % 9, number.to_le_bytes()[0]);
                    let pushed = queue.push(packet(flow, number, 20 + usize::from(len) * 200));
                    assert_eq!(pushed.is_ok(), held < PACKETS_MAX, "{seed}");
                    if pushed.is_ok() {
                        flows.entry(flow).or_default().push_back(number);
                        held += 1;
                    }
                } else if let Some(packet) = queue.pop() {
                    let (flow, number) = label(&packet);
                    assert_eq!(flows.get_mut(&flow).unwrap().pop_front(), Some(number), "{seed}");
                    held -= 1;
                } else {
                    assert_eq!(held, 0, "{seed}");
                }
                assert_eq!((queue.is_empty(), queue.has_room()), (held == 0, held < PACKETS_MAX));
            }
        }
    }

    /// A packet now and then comes out next, however much of others waits.
    #[test]
    fn a_flow_that_sends_little_is_next() {
        let mut queue = apart(4);
        let mut number = 0;
        for round in 0..100 {
            while queue.count < 60 {
                queue.push(packet(round % 3, 0, 60_000)).unwrap();
            }
            for _ in 0..4 {
                assert_ne!(label(&queue.pop().unwrap()).0, 3);
            }
            number += 1;
            queue.push(packet(3, number, 100)).unwrap();
            assert_eq!(label(&queue.pop().unwrap()), (3, number));
        }
    }

    /// Flows that always have more send the same, whatever the length of their packets.
    #[test]
    fn greedy_flows_share_alike() {
        let lens = [60_000, 1500, 9000, 30_000];
        let mut queue = apart(4);
        let mut sent = [0_usize; 4];
        for flow in 0..4 {
            (0..10).for_each(|_| queue.push(packet(flow, 0, lens[usize::from(flow)])).unwrap());
        }
        while sent.iter().sum::<usize>() < 20_000_000 {
            let next = queue.pop().unwrap();
            let (flow, len) = (label(&next).0, next.len());
            sent[usize::from(flow)] += len;
            queue.push(packet(flow, 0, len)).unwrap();
        }
        let differ = sent.iter().max().unwrap() - sent.iter().min().unwrap();
        assert!(differ < 60_000 + 2 * 16 * 1024, "{sent:?}");
    }

    /// A flow that sends single packets as often as it can is no more than one of the others.
    #[test]
    fn single_packets_do_not_starve_others() {
        let mut queue = apart(2);
        let mut sent = [0_usize; 2];
        queue.push(packet(0, 0, 1500)).unwrap();
        queue.push(packet(1, 0, 1500)).unwrap();
        for _ in 0..10_000 {
            let next: Vec<_> = queue.pop().into_iter().collect();
            let flow = label(&next[0]).0;
            sent[usize::from(flow)] += 1;
            queue.push(packet(flow, 0, 1500)).unwrap();
        }
        assert!(sent[0].abs_diff(sent[1]) < 30, "{sent:?}");
    }
}
