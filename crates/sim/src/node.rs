//! What packets are for: engines, hosts and probes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::any::Any;

use adit_packet::{Batch, Instant, Meta, PacketBuf, Pool, PoolConfig};

use crate::host::Host;
use crate::ids::End;
use crate::network::Network;
use crate::trace::Losses;
use crate::udp;
use adit_engine::{
    Counts, DropReason, Endpoint, Engine, FlowId, FlowRequest, Outbox, PortId, Request, datagrams,
};

pub(crate) enum Node {
    Engine(Box<EngineNode>),
    Host(Box<Host>),
    Probe(Probe),
}

/// An engine of any type.
pub(crate) trait AnyEngine: Engine {
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
pub(crate) struct EngineNode {
    pub(crate) engine: Box<dyn AnyEngine>,
    pub(crate) out: Outbox,
    batch: Batch,
    received: u64,
    /// When it wants to be woken: asked for at every step, so it is kept. [`Instant::MAX`]: never.
    due: Instant,
    /// How often in a row it wanted to be woken at a moment that had passed.
    impatient: usize,
    /// Its counts when its losses were last shown.
    shown: Counts,
    /// Its UDP port, and the port through which its datagrams travel as packets.
    pub(crate) socket: Option<(u16, PortId)>,
}

impl EngineNode {
    /// More often than that in a row an engine may not ask for a moment that has passed: it works
    /// through a backlog of so many steps, or it spins.
    const IMPATIENT_MAX: usize = 10_000;

    pub(crate) fn new(engine: Box<dyn AnyEngine>, pool: PoolConfig) -> Self {
        let out = Outbox::new(Pool::new(pool));
        let due = engine.next_timeout().unwrap_or(Instant::MAX);
        let (batch, shown) = (Batch::new(), Counts::default());
        Self { engine, out, batch, received: 0, due, impatient: 0, shown, socket: None }
    }

    /// Hands it a copy of a packet.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: &PacketBuf,
    ) -> Result<(), DropReason> {
        if self.socket.is_some_and(|(_, port)| from == Endpoint::Port(port)) {
            let (from, payload) = udp::parse(packet.bytes()).ok_or(DropReason::MALFORMED)?;
            let copy = self.out.pool().take(payload.len());
            let mut copy = copy.ok_or(DropReason::NO_BUFFER)?;
            copy.extend(payload).expect("a buffer of that length was taken");
            self.received += 1;
            self.engine.handle(now, Endpoint::Udp(from), copy, &mut self.out);
            return Ok(());
        }
        let copy = self.out.pool().copy_of(packet).ok_or(DropReason::NO_BUFFER)?;
        self.received += 1;
        self.engine.handle(now, from, copy, &mut self.out);
        Ok(())
    }

    /// Hands it bytes of a flow; gives them back if there is no buffer for them.
    pub(crate) fn handle_bytes(
        &mut self,
        now: Instant,
        flow: FlowId,
        bytes: Vec<u8>,
    ) -> Result<(), Vec<u8>> {
        let Some(mut packet) = self.out.pool().take(bytes.len()) else { return Err(bytes) };
        packet.extend(&bytes).expect("a buffer of that length was taken");
        self.received += 1;
        self.engine.handle(now, Endpoint::Flow(flow), packet, &mut self.out);
        Ok(())
    }

    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.engine.handle_timeout(now, &mut self.out);
        if self.engine.next_timeout().is_some_and(|next| next <= now) {
            self.impatient += 1;
        } else {
            self.impatient = 0;
        }
    }

    /// The law of timeouts.
    pub(crate) fn check_patience(&self, name: &str) {
        assert!(
            self.impatient < Self::IMPATIENT_MAX,
            "{name} was woken {} times and still asks for a moment that has passed",
            self.impatient,
        );
    }

    /// Sends what is in its outbox, then checks that nothing was lost.
    pub(crate) fn flush(&mut self, node: usize, network: &mut Network) {
        let mut ends = Vec::new();
        while let Some(request) = self.out.next_request() {
            match request {
                // Behind the bytes that were sent before it.
                Request::Flow(_, FlowRequest::Shutdown | FlowRequest::Close) => ends.push(request),
                _ => network.request(node, request),
            }
        }
        while let Some(at) = self.out.next_group(&mut self.batch) {
            for packet in self.batch.drain(..) {
                let from = End { node, at };
                match (at, self.socket) {
                    (Endpoint::Udp(to), Some((from, port))) => {
                        let from_port = End { node, at: Endpoint::Port(port) };
                        let carried = datagrams(&packet)
                            .filter_map(|datagram| udp::packet(from, to, datagram));
                        carried.for_each(|packet| {
                            network.send(from_port, &packet, Meta::default());
                        });
                    }
                    (Endpoint::Flow(flow), _) => network.send_to_flow(from, flow, packet.bytes()),
                    _ => network.send(from, packet.bytes(), packet.meta),
                }
                self.out.pool().give(packet);
            }
        }
        ends.into_iter().for_each(|request| network.request(node, request));
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

    /// What it discarded since the last call, for the trace.
    pub(crate) fn note_losses(&mut self, node: usize, network: &mut Network) {
        if self.out.counts().discarded() != self.shown.discarded() {
            let losses = Losses { before: &self.shown, after: self.out.counts() };
            let (now, name) = (network.now, network.names.get(node).map_or("", |name| name));
            network.trace.add(format_args!("{now} {name} loses{losses}"));
            self.shown.clone_from(self.out.counts());
        }
    }
}

/// A device that a test reads from and writes to by hand.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) received: VecDeque<(Vec<u8>, Meta)>,
}

impl Probe {
    /// Packets that it keeps: as many as a wire carries at a time, ten times over.
    pub(crate) const LIMIT: usize = 10_000;

    pub(crate) fn receive(&mut self, packet: &PacketBuf) -> Result<(), DropReason> {
        if self.received.len() >= Self::LIMIT {
            return Err(DropReason::QUEUE_FULL);
        }
        self.received.push_back((packet.bytes().to_vec(), packet.meta));
        Ok(())
    }
}
