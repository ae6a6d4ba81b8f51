//! Where packets leave an engine.

mod index;
mod queue;

use alloc::collections::VecDeque;

use adit_packet::{Batch, PacketBuf, Pool};

use crate::drop_counts::DropCounts;
use crate::drop_reason::DropReason;
use crate::endpoint::Endpoint;
use crate::flow::Request;
pub(crate) use crate::outbox::queue::Queue;

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
    /// Packets sent and not yet taken out.
    queue: Queue,
    /// What the engine wants of the runtime beside packets.
    requests: VecDeque<Request>,
    counts: Counts,
}

impl Outbox {
    /// The default limit of packets: a batch of 64, flooded to 256 ports.
    pub const LIMIT: usize = 64 * 256;

    /// Requests that wait at most: four for each of 256 flows.
    pub const REQUESTS_MAX: usize = 1024;

    /// An empty outbox for at most [`Self::LIMIT`] packets.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self::with_limit(pool, Self::LIMIT)
    }

    /// An empty outbox for at most `limit` packets.
    #[must_use]
    pub const fn with_limit(pool: Pool, limit: usize) -> Self {
        let counts = Counts { made: 0, sent: 0, absorbed: 0, drops: DropCounts::new() };
        Self { pool, limit, queue: Queue::new(), requests: VecDeque::new(), counts }
    }

    /// Sends a packet. If the outbox is full it is discarded ([`DropReason::OUTBOX_FULL`]).
    pub fn send(&mut self, to: Endpoint, packet: PacketBuf) {
        if self.queue.len() >= self.limit {
            return self.discard(packet, DropReason::OUTBOX_FULL);
        }
        self.counts.sent += 1;
        self.queue.push(to, packet);
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

    /// How many requests wait.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Lets one of the engines that an engine is made of `work`, and hands each packet that it sends to `route`,
    /// which sends or discards it again.
    pub fn relay<T>(
        &mut self,
        relay: &mut Relay,
        work: impl FnOnce(&mut Self) -> T,
        mut route: impl FnMut(&mut Self, Endpoint, PacketBuf),
    ) -> T {
        self.swap_queue(&mut relay.queue);
        let result = work(self);
        self.swap_queue(&mut relay.queue);
        while let Some(to) = relay.queue.next_group(&mut relay.batch) {
            for packet in relay.batch.drain(..) {
                self.take_back();
                route(self, to, packet);
            }
        }
        result
    }

    /// Puts another queue in the place of this one, for an engine that is made of engines: what its
    /// members send comes into a queue of their own.
    pub(crate) const fn swap_queue(&mut self, queue: &mut Queue) {
        core::mem::swap(&mut self.queue, queue);
    }

    /// A packet that was counted as sent has not left the engine.
    pub(crate) const fn take_back(&mut self) {
        self.counts.sent -= 1;
    }

    /// How many packets it holds at most.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// The pool, for the loop that feeds the engine. An engine uses [`Self::make`], which counts.
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
        self.queue.len() == 0
    }

    /// Appends to `batch` packets for one destination, in order, as many as it takes, and returns
    /// the destination; `None` when there are no more (or the batch is full).
    ///
    /// Take the packets out of the batch before the next call: it may be for another destination.
    pub fn next_group(&mut self, batch: &mut Batch) -> Option<Endpoint> {
        self.queue.next_group(batch)
    }
}

/// What an engine sends on its way through [`Outbox::relay`]. Keep it: its memory is used again.
#[derive(Debug)]
pub struct Relay {
    queue: Queue,
    batch: Batch,
}

impl Relay {
    /// Without a packet.
    #[must_use]
    pub fn new() -> Self {
        Self { queue: Queue::new(), batch: Batch::new() }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
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
