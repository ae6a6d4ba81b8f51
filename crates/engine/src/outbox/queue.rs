//! Packets that were sent and not taken out yet, grouped by destination.

use alloc::vec::Vec;

use adit_packet::{Batch, PacketBuf};

use crate::endpoint::{Endpoint, PortId};
use crate::outbox::index::Index;

/// The packets of an [`Outbox`](crate::Outbox): per destination in order, destinations in the order in
/// which they were first sent to.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Packets, each linked to the next one for the same destination.
    slots: Vec<Slot>,
    groups: Vec<Group>,
    /// The groups by destination, when there are many.
    index: Index,
    /// The group that was last sent to: most often the next packet goes there or to the one after.
    last: usize,
    /// The first group that may not be empty.
    first: usize,
}

#[derive(Debug)]
struct Slot {
    packet: Option<PacketBuf>,
    next: Option<usize>,
}

#[derive(Debug)]
struct Group {
    to: Endpoint,
    /// The first and the last slot; `None` when all was taken out.
    ends: Option<(usize, usize)>,
}

impl Queue {
    /// Destinations that are searched for one by one; with more of them there is a hash table.
    const SCANNED_MAX: usize = 32;

    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), groups: Vec::new(), index: Index::new(), last: 0, first: 0 }
    }

    /// How many packets were put in since it was last empty.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Appends a packet to those for `to`.
    pub(crate) fn push(&mut self, to: Endpoint, packet: PacketBuf) {
        let slot = self.slots.len();
        self.slots.push(Slot { packet: Some(packet), next: None });
        let at = self.group_of(to);
        let Some(group) = self.groups.get_mut(at) else { return };
        self.last = at;
        self.first = self.first.min(at);
        if let Some((first, last)) = group.ends {
            group.ends = Some((first, slot));
            if let Some(before) = self.slots.get_mut(last) {
                before.next = Some(slot);
            }
        } else {
            group.ends = Some((slot, slot));
        }
    }

    /// As [`Outbox::next_group`](crate::Outbox::next_group).
    pub(crate) fn next_group(&mut self, batch: &mut Batch) -> Option<Endpoint> {
        if batch.is_full() {
            return None;
        }
        while let Some(group) = self.groups.get_mut(self.first) {
            let Some((first, last)) = group.ends.take() else {
                self.first += 1;
                continue;
            };
            let mut next = Some(first);
            while let Some(at) = next.filter(|_| !batch.is_full()) {
                let Some(slot) = self.slots.get_mut(at) else { break };
                next = slot.next;
                if let Some(packet) = slot.packet.take() {
                    // It is not full.
                    let _ = batch.push(packet);
                }
            }
            group.ends = next.map(|next| (next, last));
            return Some(group.to);
        }
        self.slots.clear();
        self.groups.clear();
        self.index.clear();
        (self.first, self.last) = (0, 0);
        None
    }

    /// The group of a destination.
    fn group_of(&mut self, to: Endpoint) -> usize {
        // A train of packets to one destination, or a flood over all ports.
        for at in [self.last, self.last + 1] {
            if self.groups.get(at).is_some_and(|group| group.to == to) {
                return at;
            }
        }
        let found = if self.index.is_empty() {
            self.groups.iter().position(|group| group.to == to)
        } else {
            self.index.find(to, to_of(&self.groups))
        };
        found.unwrap_or_else(|| self.new_group(to))
    }

    fn new_group(&mut self, to: Endpoint) -> usize {
        let at = self.groups.len();
        self.groups.push(Group { to, ends: None });
        if at >= Self::SCANNED_MAX {
            // All that were found by a scan so far, then each as it comes.
            let first = if self.index.is_empty() { 0 } else { at };
            (first..=at).for_each(|place| self.index.insert(place, to_of(&self.groups)));
        }
        at
    }
}

/// The destination of the group at a place, which is one that there is.
fn to_of(groups: &[Group]) -> impl Fn(usize) -> Endpoint {
    |place| groups.get(place).map_or(Endpoint::Port(PortId(u16::MAX)), |group| group.to)
}
