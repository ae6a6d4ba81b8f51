//! Where packets leave an engine.

mod index;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use adit_packet::{Batch, PacketBuf, Pool};

use crate::drop_counts::DropCounts;
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::flow::Request;
use crate::outbox::index::Index;

/// The two doors of an engine: packets sent, grouped by destination, and packets discarded.
///
/// It owns the thread's [`Pool`]: what is discarded goes back there at once, and packets that an
/// engine makes come from there. After a batch of calls to an engine its owner takes the packets out
/// with [`Self::next_group`]. Per destination they keep their order; destinations come in the order
/// in which they were first sent to.
#[derive(Debug)]
pub struct Outbox {
    pool: Pool,
    limit: usize,
    /// Packets sent and not yet taken out, each linked to the next one for the same destination.
    slots: Vec<Slot>,
    groups: Vec<Group>,
    /// The groups by destination, when there are many.
    index: Index,
    /// The group that was last sent to: most often the next packet goes there or to the one after.
    last: usize,
    /// The first group that may not be empty.
    first: usize,
    /// What the engine wants of the runtime beside packets.
    requests: VecDeque<Request>,
    counts: Counts,
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

impl Outbox {
    /// How many packets it holds unless told otherwise: a batch of 64, flooded to 256 ports.
    pub const LIMIT: usize = 64 * 256;

    /// Requests that wait at most: four for each of 256 flows.
    pub const REQUESTS_MAX: usize = 1024;

    /// Destinations that are searched for one by one; with more of them there is a hash table.
    const SCANNED_MAX: usize = 32;

    /// An empty outbox for at most [`Self::LIMIT`] packets.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self::with_limit(pool, Self::LIMIT)
    }

    /// An empty outbox for at most `limit` packets.
    #[must_use]
    pub const fn with_limit(pool: Pool, limit: usize) -> Self {
        let counts = Counts { made: 0, sent: 0, absorbed: 0, drops: DropCounts::new() };
        Self {
            pool,
            limit,
            slots: Vec::new(),
            groups: Vec::new(),
            index: Index::new(),
            last: 0,
            first: 0,
            requests: VecDeque::new(),
            counts,
        }
    }

    /// Sends a packet. If the outbox is full it is discarded ([`DropReason::OUTBOX_FULL`]).
    pub fn send(&mut self, to: Endpoint, packet: PacketBuf) {
        if self.slots.len() >= self.limit {
            return self.discard(packet, DropReason::OUTBOX_FULL);
        }
        self.counts.sent += 1;
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

    /// Sends a copy of `packet` with its meta. Without a buffer for it, or if the outbox is full, that
    /// is counted as a packet made and discarded ([`DropReason::NO_BUFFER`], [`DropReason::OUTBOX_FULL`]).
    pub fn send_copy(&mut self, to: Endpoint, packet: &PacketBuf) {
        self.counts.made += 1;
        match self.pool.copy_of(packet) {
            Some(copy) => self.send(to, copy),
            None => self.counts.drops.note(DropReason::NO_BUFFER),
        }
    }

    /// Discards a packet: counts why and gives its buffer back to the pool.
    pub fn discard(&mut self, packet: PacketBuf, why: DropReason) {
        self.counts.drops.note(why);
        self.pool.give(packet);
    }

    /// Takes back a packet that has served its purpose: it was for the engine itself, or what was in
    /// it went on in packets that the engine made.
    pub fn absorb(&mut self, packet: PacketBuf) {
        self.counts.absorbed += 1;
        self.pool.give(packet);
    }

    /// An empty buffer with room for `len` bytes for a packet that the engine makes itself and then
    /// sends, discards or holds; `None` if the pool has none left.
    #[must_use]
    pub fn make(&mut self, len: usize) -> Option<PacketBuf> {
        let packet = self.pool.take(len)?;
        self.counts.made += 1;
        Some(packet)
    }

    /// Asks the runtime for something beside sending packets, e.g. to open a flow.
    ///
    /// # Errors
    /// [`Self::REQUESTS_MAX`] requests wait already: the request comes back, to be made in a later
    /// call, e.g. a [`handle_timeout`](crate::Engine::handle_timeout) that is due at once.
    pub fn request(&mut self, request: Request) -> Result<(), Request> {
        if self.requests.len() >= Self::REQUESTS_MAX {
            return Err(request);
        }
        self.requests.push_back(request);
        Ok(())
    }

    /// The next request, in the order in which they were made. A runtime takes all of them before the
    /// packets ([`Self::next_group`]).
    #[inline]
    pub fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The pool, for the feeder of the engine. An engine uses [`Self::make`], which counts.
    #[must_use]
    pub const fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// What was made, sent and discarded since the start.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether all that was sent was taken out: [`Self::next_group`] said `None`.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Appends to `batch` packets for one destination, in order, as many as it takes, and returns
    /// the destination; `None` when there are no more (or the batch is full).
    ///
    /// Take the packets out of the batch before the next call: it may be for another destination.
    pub fn next_group(&mut self, batch: &mut Batch) -> Option<Endpoint> {
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

/// What went through an [`Outbox`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    made: u64,
    sent: u64,
    absorbed: u64,
    drops: DropCounts,
}

impl Counts {
    /// Packets that the engine made itself, copies included.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// Packets sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Packets that were for the engine itself, or went on in others that it made.
    #[must_use]
    pub const fn absorbed(&self) -> u64 {
        self.absorbed
    }

    /// Packets discarded, for any reason.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.drops.total()
    }

    /// Packets discarded for that reason.
    #[must_use]
    pub fn discarded_for(&self, why: DropReason) -> u64 {
        self.drops.count(why)
    }

    /// Packets discarded, by reason; only the reasons that occurred.
    pub fn by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.drops.iter()
    }

    /// The law of every engine: what came in and what was made left by one of the doors or is held.
    #[must_use]
    pub fn balance(&self, received: u64, held: usize) -> bool {
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        received + self.made == self.sent + self.absorbed + self.drops.total() + held
    }
}

#[cfg(test)]
mod tests;
