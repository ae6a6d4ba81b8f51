//! A queue for each flow, served in turn, each with `CoDel`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::codel::{Law, List, State};
use super::profile::FqCoDel;
use super::store::{Handle, NONE, Store};

/// How many packets are dropped at once from the longest flow, so that the search for it is paid for
/// by many (RFC 8290, 4.1.3 and Linux `fq_codel_drop`).
const DROP_BATCH: u32 = 64;

/// Source: RFC 8290, 4 and 5.
#[derive(Debug)]
pub(super) struct FlowQueues {
    flows: Box<[Flow]>,
    /// Flows that came lately, served first.
    new: Turn,
    old: Turn,
    law: Law,
    quantum: i64,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    list: List,
    state: State,
    /// What it may still send in this round.
    deficit: i64,
    next: u32,
    /// It is in one of the two turns.
    waits: bool,
}

/// Flows in the order of their turn, linked by [`Flow::next`].
#[derive(Clone, Copy, Debug)]
struct Turn {
    first: u32,
    last: u32,
}

impl Turn {
    const EMPTY: Self = Self { first: NONE, last: NONE };
}

impl FlowQueues {
    pub(super) fn new(config: FqCoDel, ecn: bool) -> Self {
        let flow = Flow {
            list: List::default(),
            state: State::default(),
            deficit: 0,
            next: NONE,
            waits: false,
        };
        let count = usize::try_from(config.flows).unwrap_or(1);
        Self {
            flows: alloc::vec![flow; count].into_boxed_slice(),
            new: Turn::EMPTY,
            old: Turn::EMPTY,
            law: Law::new(config.codel, ecn),
            quantum: i64::from(config.quantum),
        }
    }

    pub(super) fn push(&mut self, packet: Handle, hash: u32, store: &mut Store) {
        let count = u64::try_from(self.flows.len()).unwrap_or(1);
        // The high half of a product is even over all flows, as a remainder is.
        let index = u32::try_from((u64::from(hash) * count) >> 32).unwrap_or(0);
        let quantum = self.quantum;
        let flow = self.flow(index);
        flow.state.note(store.slot(packet).wire_len);
        flow.list.push(packet, store);
        if !flow.waits {
            flow.waits = true;
            flow.deficit = quantum;
            self.add(index, true);
        }
    }

    /// The packet to be sent at `now`; those that were dropped before it are added to `dropped`.
    pub(super) fn dequeue(
        &mut self,
        now: u64,
        store: &mut Store,
        dropped: &mut Vec<Handle>,
    ) -> Option<Handle> {
        loop {
            let is_new = self.new.first != NONE;
            let index = if is_new { self.new.first } else { self.old.first };
            if index == NONE {
                return None;
            }
            let (law, quantum) = (self.law, self.quantum);
            let flow = self.flow(index);
            if flow.deficit <= 0 {
                flow.deficit += quantum;
                self.remove_first(is_new);
                self.add(index, false);
                continue;
            }
            if let Some(packet) = flow.state.dequeue(now, law, &mut flow.list, store, dropped) {
                flow.deficit -= i64::from(store.slot(packet).wire_len);
                return Some(packet);
            }
            // A new flow that ran empty takes one turn as an old one, or it could come back as a
            // new one at once and starve the others (RFC 8290, 4.2).
            self.remove_first(is_new);
            if is_new && self.old.first != NONE {
                self.add(index, false);
            } else {
                self.flow(index).waits = false;
            }
        }
    }

    /// Drops from the head of the flow with the most bytes: half of them, but no more than a batch.
    pub(super) fn drop_longest(&mut self, store: &Store, dropped: &mut Vec<Handle>) {
        let Some(flow) = self.flows.iter_mut().max_by_key(|flow| flow.list.bytes()) else { return };
        let enough = flow.list.bytes() / 2;
        for _ in 0..DROP_BATCH {
            dropped.extend(flow.list.pop(store));
            if flow.list.bytes() <= enough {
                break;
            }
        }
    }

    /// Takes all packets out, flow by flow.
    pub(super) fn drain(&mut self, store: &Store, into: &mut Vec<Handle>) {
        for flow in &mut self.flows {
            while let Some(packet) = flow.list.pop(store) {
                into.push(packet);
            }
        }
    }

    fn flow(&mut self, index: u32) -> &mut Flow {
        // All numbers come from a hash, which is brought below the number of flows.
        &mut self.flows[usize::try_from(index).unwrap_or(usize::MAX)]
    }

    fn add(&mut self, index: u32, new: bool) {
        self.flow(index).next = NONE;
        let turn = if new { &mut self.new } else { &mut self.old };
        let last = core::mem::replace(&mut turn.last, index);
        if last == NONE {
            turn.first = index;
        } else {
            self.flow(last).next = index;
        }
    }

    fn remove_first(&mut self, new: bool) {
        let first = if new { self.new.first } else { self.old.first };
        let next = self.flow(first).next;
        let turn = if new { &mut self.new } else { &mut self.old };
        turn.first = next;
        if next == NONE {
            turn.last = NONE;
        }
    }
}
