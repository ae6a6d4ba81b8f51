//! All that is between the nodes: ports, the ways between them and the packets on these.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use adit_packet::{Instant, Meta, PacketBuf, Pool, PoolConfig};

use crate::agenda::Agenda;
use crate::ids::End;
use crate::outside::{Delivery, Outside};
use crate::port::{Fault, Line, Port};
use crate::trace::{Losses, Summary, Trace};
use adit_engine::netem::{Profile, ProfileError};
use adit_engine::{Counts, DropReason, Endpoint, FlowId, Outbox, Request};

/// A packet that arrives at the other end of a wire.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// When it arrives.
    pub at: Instant,
    /// Where it was sent.
    pub from: End,
    /// Where it arrives.
    pub to: End,
    /// The frame or packet.
    pub bytes: &'a [u8],
    /// Offloads that are left to be done.
    pub meta: Meta,
    /// What kind it is; `None` for a peer's datagram.
    pub layer: Option<adit_packet::Layer>,
}

/// Takes each packet that crosses a wire.
pub(crate) type Tap = Box<dyn FnMut(Crossing<'_>)>;

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) ports: Vec<Port>,
    pub(crate) trace: Trace,
    pub(crate) names: Vec<String>,
    pub(crate) tap: Option<Tap>,
    by_end: BTreeMap<End, usize>,
    agenda: Agenda,
    /// Packets at each port, and at all.
    held: Vec<usize>,
    held_in_all: usize,
    /// Its pool is the memory of the network: what the kernel holds in the real one.
    out: Outbox,
    /// The counts of `out` when its losses were last shown.
    shown: Counts,
    received: u64,
    delivered: u64,
    pub(crate) outside: Outside,
}

impl Network {
    pub(crate) fn new() -> Self {
        let config = PoolConfig {
            // No packet of a simulation needs a header before it on the wire.
            headroom: 0,
            small_limit: usize::MAX,
            large_limit: usize::MAX,
            ..PoolConfig::default()
        };
        Self {
            now: Instant::ZERO,
            ports: Vec::new(),
            trace: Trace::new(),
            names: Vec::new(),
            tap: None,
            by_end: BTreeMap::new(),
            agenda: Agenda::default(),
            held: Vec::new(),
            held_in_all: 0,
            out: Outbox::new(Pool::new(config)),
            shown: Counts::default(),
            received: 0,
            delivered: 0,
            outside: Outside::default(),
        }
    }

    /// Joins two ends; each line leads away from its end.
    pub(crate) fn join(
        &mut self,
        ends: [End; 2],
        layer: Option<adit_packet::Layer>,
        lines: [Line; 2],
    ) {
        let first = self.ports.len();
        for ((end, line), (at, peer)) in
            ends.into_iter().zip(lines).zip([(first, first + 1), (first + 1, first)])
        {
            let before = self.by_end.insert(end, at);
            assert!(before.is_none(), "there is a wire at {} already", self.show(end));
            self.ports.push(Port::new(end, layer, peer, line));
            self.held.push(0);
        }
    }

    pub(crate) fn port(&self, end: End) -> Option<&Port> {
        self.ports.get(*self.by_end.get(&end)?)
    }

    pub(crate) fn fault(&mut self, end: End, fault: Fault) {
        let now = self.now;
        let Some(at) = self.by_end.get(&end).copied() else {
            panic!("no wire at {}", self.show(end))
        };
        self.ports[at].set(fault, now);
        self.settle(at);
        let (now, name) = (self.now, self.show(end));
        self.trace.add(format_args!("{now} {name} {fault}"));
    }

    /// Changes the emulated link that leads away from an end; `None` if there is none.
    pub(crate) fn set_profile(
        &mut self,
        end: End,
        profile: &Profile,
    ) -> Option<Result<(), ProfileError>> {
        let (now, at) = (self.now, *self.by_end.get(&end)?);
        let result = self.ports.get_mut(at)?.set_profile(now, profile);
        self.settle(at);
        result
    }

    /// Notes when something is due at a port, and what it holds.
    fn settle(&mut self, at: usize) {
        let (Some(port), Some(held)) = (self.ports.get(at), self.held.get_mut(at)) else { return };
        self.agenda.set(at, port.due());
        self.held_in_all = self.held_in_all - *held + port.held();
        *held = port.held();
    }

    /// Takes a copy of what a node sends.
    ///
    /// A train of datagrams enters an emulated link as the datagrams that it stands for; a
    /// super-packet is cut up by the link itself, which knows its headers.
    pub(crate) fn send(&mut self, from: End, bytes: &[u8], meta: Meta) {
        let size = usize::from(meta.vnet.gso_size);
        let is_cut = meta.vnet.is_super_packet()
            && size > 0
            && self.port(from).is_some_and(|port| port.layer.is_none() && port.link().is_some());
        if is_cut {
            bytes.chunks(size).for_each(|datagram| self.send_one(from, datagram, Meta::default()));
        } else {
            self.send_one(from, bytes, meta);
        }
    }

    /// Takes what an engine sends to a flow.
    pub(crate) fn send_to_flow(&mut self, from: End, flow: FlowId, bytes: &[u8]) {
        let now = self.now;
        if self.outside.take(from.node, flow, bytes) {
            let (name, len) = (self.show(from), bytes.len());
            self.trace.add(format_args!("{now} {name} > {len} bytes"));
            return;
        }
        // As what is sent to no wire: counted here.
        self.send_one(from, bytes, Meta::default());
    }

    /// Carries out what an engine asks for.
    pub(crate) fn request(&mut self, node: usize, request: Request) {
        // There is one way to each peer, and no choice of a local address.
        let Request::Flow(flow, request) = request else { return };
        let (now, name) = (self.now, self.show(End { node, at: Endpoint::Flow(flow) }));
        self.trace.add(format_args!("{now} {name} {request:?}"));
        self.outside.request(node, flow, request);
    }

    /// What is for an engine now, of a flow.
    pub(crate) fn next_from_outside(&mut self) -> Option<(usize, FlowId, Delivery)> {
        let (node, flow, delivery) = self.outside.next(self.now)?;
        let (now, name) = (self.now, self.show(End { node, at: Endpoint::Flow(flow) }));
        self.trace.add(format_args!("{now} {name} < {delivery}"));
        Some((node, flow, delivery))
    }

    fn send_one(&mut self, from: End, bytes: &[u8], meta: Meta) {
        self.received += 1;
        let Some(mut packet) = self.out.pool().take(bytes.len()) else {
            panic!("{} sends a packet of {} bytes", self.show(from), bytes.len());
        };
        packet.extend(bytes).expect("a buffer of that length was taken");
        packet.meta = meta;
        let at = self.by_end.get(&from).copied();
        match at.and_then(|at| self.ports.get_mut(at)) {
            Some(port) => port.send(self.now, packet, &mut self.out),
            None => self.out.discard(packet, DropReason::NO_DESTINATION),
        }
        self.note_losses(at, from);
        if let Some(at) = at {
            self.settle(at);
        }
    }

    /// The next packet that arrives from a port, and the end where it does.
    pub(crate) fn next_arrival(&mut self, at: usize) -> Option<(End, PacketBuf)> {
        loop {
            let port = self.ports.get_mut(at)?;
            if port.due() > self.now {
                return None;
            }
            let (from, to) = (port.end, port.peer);
            let arrived = port.next_arrival(self.now, &mut self.out);
            self.note_losses(Some(at), from);
            self.settle(at);
            let packet = arrived?;
            let peer = self.ports.get_mut(to)?;
            let (end, is_up) = (peer.end, peer.is_up());
            if !is_up {
                self.refuse(end, packet, DropReason::PORT_DOWN);
                continue;
            }
            peer.counts.received += 1;
            let layer = peer.layer;
            if self.trace.is_on() {
                let summary = Summary { bytes: packet.bytes(), meta: packet.meta, layer };
                let (now, from, to) = (self.now, show(&self.names, from), show(&self.names, end));
                self.trace.add(format_args!("{now} {from} > {to} {summary}"));
            }
            if let Some(tap) = &mut self.tap {
                let (bytes, meta) = (packet.bytes(), packet.meta);
                tap(Crossing { at: self.now, from, to: end, bytes, meta, layer });
            }
            return Some((end, packet));
        }
    }

    /// Packets that arrived and that were lost, so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.delivered + self.out.counts().discarded()
    }

    /// The node took a copy.
    pub(crate) fn deliver(&mut self, packet: PacketBuf) {
        self.delivered += 1;
        self.out.pool().give(packet);
    }

    /// The node could not take it.
    pub(crate) fn refuse(&mut self, end: End, packet: PacketBuf, why: DropReason) {
        let at = self.by_end.get(&end).copied();
        self.out.discard(packet, why);
        self.note_losses(at, end);
    }

    /// Counts and shows what was discarded since the last call.
    fn note_losses(&mut self, at: Option<usize>, end: End) {
        if self.out.counts().discarded() == self.shown.discarded() {
            return;
        }
        let losses = Losses { before: &self.shown, after: self.out.counts() };
        let count = losses.count();
        if self.trace.is_on() {
            let (now, name) = (self.now, show(&self.names, end));
            self.trace.add(format_args!("{now} {name} loses{losses}"));
        }
        self.shown.clone_from(self.out.counts());
        if let Some(port) = at.and_then(|at| self.ports.get_mut(at)) {
            port.counts.lost += count;
        }
    }

    /// When something is due; [`Instant::MAX`]: never.
    pub(crate) fn due(&mut self) -> Instant {
        self.outside.due().min(self.agenda.next())
    }

    /// The ports at which something is due now, in their order.
    pub(crate) fn due_ports(&mut self, due: &mut Vec<usize>) {
        self.agenda.take(self.now, due);
    }

    pub(crate) const fn counts(&self) -> &Counts {
        self.out.counts()
    }

    /// The law of the network: what was sent into it arrived, was discarded or is on the way.
    pub(crate) fn check(&mut self) {
        self.outside.check();
        let held = self.held_in_all;
        let counts = self.out.counts();
        let (made, lost) = (counts.made(), counts.discarded() + counts.absorbed());
        let (received, delivered) = (self.received, self.delivered);
        let held_count = u64::try_from(held).unwrap_or(u64::MAX);
        assert!(
            received + made == delivered + lost + held_count,
            "the network lost packets: {received} in + {made} made is not \
             {delivered} delivered + {lost} discarded or absorbed + {held} on the way",
        );
        let (small, large) = self.out.pool().out();
        // A link keeps its packets in memory of its own.
        assert!(small + large <= held, "the network lost buffers: more are out than it holds");
    }

    pub(crate) fn show(&self, end: End) -> String {
        show(&self.names, end)
    }
}

/// `name` of a node with one port, `name:2`, or `name@192.0.2.1:51820` towards a peer.
pub(crate) fn show(names: &[String], end: End) -> String {
    use alloc::format;
    let name = names.get(end.node).map(String::as_str).unwrap_or_default();
    match end.at {
        Endpoint::Port(port) => format!("{name}:{port}"),
        Endpoint::Udp(address) => format!("{name}@{address}"),
        Endpoint::Flow(flow) => format!("{name}#{flow}"),
    }
}
