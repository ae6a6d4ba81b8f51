//! All that is between the nodes: ports, the ways between them and the packets on these.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use adit_packet::{Instant, Meta, PacketBuf, Pool, PoolConfig};

use crate::ids::End;
use crate::outside::{Delivery, Outside};
use crate::port::{Fault, Line, Port};
use crate::trace::{Losses, Summary, Trace};
use adit_engine::{Counts, DropReason, Endpoint, FlowId, Outbox, Request};

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) ports: Vec<Port>,
    pub(crate) trace: Trace,
    pub(crate) names: Vec<String>,
    by_end: BTreeMap<End, usize>,
    /// Its pool is the memory of the network: what the kernel holds in the real one.
    out: Outbox,
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
            by_end: BTreeMap::new(),
            out: Outbox::new(Pool::new(config)),
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
        }
    }

    pub(crate) fn port(&self, end: End) -> Option<&Port> {
        self.ports.get(*self.by_end.get(&end)?)
    }

    pub(crate) fn fault(&mut self, end: End, fault: Fault) {
        let now = self.now;
        match self.port_mut(end) {
            Some(port) => port.set(fault, now),
            None => panic!("no wire at {}", self.show(end)),
        }
        let (now, name) = (self.now, self.show(end));
        self.trace.add(format_args!("{now} {name} {fault}"));
    }

    /// The port at an end.
    pub(crate) fn port_mut(&mut self, end: End) -> Option<&mut Port> {
        self.ports.get_mut(*self.by_end.get(&end)?)
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
        let before = self.out.counts().clone();
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
        self.note_losses(at, from, &before);
    }

    /// The next packet that arrives from a port, and the end where it does.
    pub(crate) fn next_arrival(&mut self, at: usize) -> Option<(End, PacketBuf)> {
        loop {
            let port = self.ports.get_mut(at)?;
            if port.due() > self.now {
                return None;
            }
            let before = self.out.counts().clone();
            let (from, to) = (port.end, port.peer);
            let arrived = port.next_arrival(self.now, &mut self.out);
            self.note_losses(Some(at), from, &before);
            let packet = arrived?;
            let peer = self.ports.get_mut(to)?;
            let (end, is_up) = (peer.end, peer.is_up());
            if !is_up {
                self.refuse(end, packet, DropReason::PORT_DOWN);
                continue;
            }
            peer.counts.received += 1;
            let layer = peer.layer;
            let summary = Summary { bytes: packet.bytes(), meta: packet.meta, layer };
            let (now, from, to) = (self.now, show(&self.names, from), show(&self.names, end));
            self.trace.add(format_args!("{now} {from} > {to} {summary}"));
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
        let before = self.out.counts().clone();
        self.out.discard(packet, why);
        self.note_losses(at, end, &before);
    }

    /// Counts and shows what was discarded since `before`.
    fn note_losses(&mut self, at: Option<usize>, end: End, before: &Counts) {
        let losses = Losses { before, after: self.out.counts() };
        let count = losses.count();
        if count == 0 {
            return;
        }
        let (now, name) = (self.now, show(&self.names, end));
        self.trace.add(format_args!("{now} {name} loses{losses}"));
        if let Some(port) = at.and_then(|at| self.ports.get_mut(at)) {
            port.counts.lost += count;
        }
    }

    /// When something is due at a port; [`Instant::MAX`]: never.
    pub(crate) fn due(&self) -> Instant {
        let mut due = self.outside.due();
        for port in &self.ports {
            due = due.min(port.due());
        }
        due
    }

    pub(crate) const fn counts(&self) -> &Counts {
        self.out.counts()
    }

    /// The law of the network: what was sent into it arrived, was discarded or is on the way.
    pub(crate) fn check(&mut self) {
        self.outside.check();
        let held: usize = self.ports.iter().map(Port::held).sum();
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
