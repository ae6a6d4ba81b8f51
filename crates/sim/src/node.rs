//! What packets are for: engines, hosts and probes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::any::Any;

use adit_packet::{Batch, Instant, Meta, PacketBuf, Pool, PoolConfig};

use super::End;
use super::host::Host;
use super::network::Network;
use super::trace::Losses;
use adit_engine::{Counts, DropReason, Endpoint, Engine, Outbox};

pub(super) enum Node {
    Engine(Box<EngineNode>),
    Host(Box<Host>),
    Probe(Probe),
}

/// An engine of any type.
pub(super) trait AnyEngine: Engine {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<E: Engine + 'static> AnyEngine for E {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// An engine, its outbox and its books.
pub(super) struct EngineNode {
    pub(super) engine: Box<dyn AnyEngine>,
    pub(super) out: Outbox,
    batch: Batch,
    received: u64,
    /// When it wants to be woken: asked for at every step, so it is kept. [`Instant::MAX`]: never.
    due: Instant,
    /// How often in a row it wanted to be woken at a moment that had passed.
    impatient: usize,
}

impl EngineNode {
    /// More often than that in a row an engine may not ask for a moment that has passed: it works
    /// through a backlog of so many steps, or it spins.
    const IMPATIENT_MAX: usize = 10_000;

    pub(super) fn new(engine: Box<dyn AnyEngine>, pool: PoolConfig) -> Self {
        let out = Outbox::new(Pool::new(pool));
        let due = engine.next_timeout().unwrap_or(Instant::MAX);
        Self { engine, out, batch: Batch::new(), received: 0, due, impatient: 0 }
    }

    /// Hands it a copy of a packet.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: &PacketBuf,
    ) -> Result<(), DropReason> {
        let copy = self.out.pool().copy_of(packet).ok_or(DropReason::NO_BUFFER)?;
        self.received += 1;
        self.engine.handle(now, from, copy, &mut self.out);
        Ok(())
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Does what is due.
    pub(super) fn wake(&mut self, now: Instant, name: &str) {
        self.engine.handle_timeout(now, &mut self.out);
        if self.engine.next_timeout().is_some_and(|next| next <= now) {
            self.impatient += 1;
        } else {
            self.impatient = 0;
        }
        assert!(
            self.impatient < Self::IMPATIENT_MAX,
            "{name} was woken {} times and still asks for a moment that has passed",
            self.impatient,
        );
    }

    /// Sends what is in its outbox, then checks that nothing was lost.
    pub(super) fn flush(&mut self, node: usize, network: &mut Network) {
        while let Some(at) = self.out.next_group(&mut self.batch) {
            for packet in self.batch.drain(..) {
                network.send(End { node, at }, packet.bytes(), packet.meta);
                self.out.pool().give(packet);
            }
        }
        self.due = self.engine.next_timeout().unwrap_or(Instant::MAX);
        self.check(network.names.get(node).map_or("", |name| name));
    }

    /// The law of engines.
    fn check(&mut self, name: &str) {
        let (held, counts) = (self.engine.held(), self.out.counts());
        let (made, sent, discarded) = (counts.made(), counts.sent(), counts.discarded());
        assert!(
            counts.balance(self.received, held),
            "{name} lost packets: {} in + {made} made is not \
             {sent} sent + {discarded} discarded + {} absorbed + {held} held",
            self.received,
            counts.absorbed(),
        );
        let (small, large) = self.out.pool().out();
        // It may keep packets in memory of its own.
        assert!(small + large <= held, "{name} lost buffers: more are out than it holds");
    }

    /// What it discarded since `before`, for the trace.
    pub(super) fn note_losses(&self, before: &Counts, node: usize, network: &mut Network) {
        let losses = Losses { before, after: self.out.counts() };
        if losses.count() > 0 {
            let (now, name) = (network.now, network.names.get(node).map_or("", |name| name));
            network.trace.add(format_args!("{now} {name} loses{losses}"));
        }
    }
}

/// A device that a test reads from and writes to by hand.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) received: VecDeque<(Vec<u8>, Meta)>,
}

impl Probe {
    /// Packets that it keeps: as many as a wire carries at a time, ten times over.
    pub(super) const LIMIT: usize = 10_000;

    pub(super) fn receive(&mut self, packet: &PacketBuf) -> Result<(), DropReason> {
        if self.received.len() >= Self::LIMIT {
            return Err(DropReason::QUEUE_FULL);
        }
        self.received.push_back((packet.bytes().to_vec(), packet.meta));
        Ok(())
    }
}
