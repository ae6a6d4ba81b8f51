//! The simulation: its nodes, the network between them, and time.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use adit_engine::netem::{Link, Profile, Report, Seed};
use adit_engine::{Counts, DropReason, Endpoint, Engine, FlowId, Outbox, PortId};
use adit_packet::{Instant, Layer, Meta, PacketBuf, PoolConfig};

use crate::agenda::Agenda;
use crate::host::{Host, HostConfig};
use crate::ids::{End, EngineId, HopsId, HostId, PingId, ProbeId, TcpId, UdpId};
use crate::network::{Crossing, Network};
use crate::node::{AnyEngine, EngineNode, Node, Probe};
use crate::outside::{Delivery, Outside};
use crate::port::{self, Fault, Line, PortCounts};
use crate::random::Random;
use crate::seeds;

/// A simulated network in virtual time: see the [crate](crate).
///
/// Mistakes of a scenario panic, since it is part of a test: a second wire at one end, an invalid address of a
/// host.
pub struct Sim {
    seed: u64,
    random: Random,
    nodes: Vec<Node>,
    network: Network,
    /// Faults to come, in their order.
    script: BTreeMap<(Instant, usize), (End, Fault)>,
    /// The steps that were done at this moment.
    steps: usize,
    events_max: u64,
    agenda: Agenda,
    /// Nodes for which something has changed.
    stirred: Vec<usize>,
    /// Of one step: kept for its memory.
    due: Vec<usize>,
}

impl Sim {
    /// The delay of a wire without a netem profile. It is above 0, so that a packet in a loop of wires does not
    /// stop the clock.
    pub const WIRE_DELAY: Duration = port::WIRE_DELAY;
    /// Packets on such a wire in one direction; further ones are lost. It equals the queue of a TAP device
    /// (`txqueuelen`), and bounds what a loop can multiply.
    pub const WIRE_LIMIT: usize = port::WIRE_LIMIT;
    /// Packets that wait at a port that accepts nothing; further ones are lost.
    pub const PORT_QUEUE: usize = port::QUEUE_LIMIT;
    /// Steps at one moment: as many as the hops of the longest way through links without any delay.
    pub const STEPS_AT_ONCE: usize = 64;
    /// The default limit of steps and packets in one call of [`Self::run_for`] or [`Self::run_until`]: a TCP
    /// transfer of 500 MB through one engine stays below. It ends a packet storm.
    pub const EVENTS_MAX: u64 = 5_000_000;

    /// Creates an empty network at time zero; all its randomness comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            nodes: Vec::new(),
            network: Network::new(),
            script: BTreeMap::new(),
            steps: 0,
            events_max: Self::EVENTS_MAX,
            agenda: Agenda::default(),
            stirred: Vec::new(),
            due: Vec::new(),
        }
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The time that passed since the start.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.network.now
    }

    /// The randomness of the seed, for the scenario.
    #[must_use]
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Sets the limit of events; the default is [`Self::EVENTS_MAX`].
    pub const fn limit_events(&mut self, events: u64) {
        self.events_max = events;
    }

    /// Adds a host by its configuration, or just its address: `sim.host("a", "192.0.2.1/24")`.
    pub fn host(&mut self, name: &str, config: impl Into<HostConfig>) -> HostId {
        let (node, seed) = (self.nodes.len(), self.random.next());
        let host = Host::new(&config.into(), node, seed, self.now());
        HostId(self.add(name, Node::Host(Box::new(host))))
    }

    /// All hosts, in the order in which they were added.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostId> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| matches!(node, Node::Host(_))).map(|(at, _)| HostId(at)).collect()
    }

    /// Adds an engine with a pool of the default limits.
    pub fn engine<E: Engine + 'static>(&mut self, name: &str, engine: E) -> EngineId<E> {
        self.engine_with(name, engine, PoolConfig::default())
    }

    /// Adds an engine with a pool of other limits, e.g. without large buffers.
    pub fn engine_with<E: Engine + 'static>(
        &mut self,
        name: &str,
        engine: E,
        pool: PoolConfig,
    ) -> EngineId<E> {
        let node = Node::Engine(Box::new(EngineNode::new(Box::new(engine), pool)));
        EngineId::new(self.add(name, node))
    }

    /// Carries the datagrams of an engine, from a UDP port, as packets through one of its ports: join it to a
    /// [`Router`](crate::Router), which sets their source address. Without it they leave by [`EngineId::peer`].
    pub fn carry<E>(&mut self, id: EngineId<E>, udp_port: u16, port: PortId) {
        if let Some(Node::Engine(node)) = self.nodes.get_mut(id.0) {
            node.socket = Some((udp_port, port));
        }
    }

    /// Adds a probe.
    pub fn probe(&mut self, name: &str) -> ProbeId {
        ProbeId(self.add(name, Node::Probe(Probe::default())))
    }

    /// Joins two ends by a wire that takes [`Self::WIRE_DELAY`].
    ///
    /// # Panics
    ///
    /// If one of them has a wire.
    pub fn wire(&mut self, a: impl Into<End>, b: impl Into<End>) {
        self.join([a.into(), b.into()], [Line::plain(), Line::plain()]);
    }

    /// As [`Self::wire`], between ports of engines that carry packets without Ethernet.
    ///
    /// # Panics
    ///
    /// As [`Self::wire`].
    pub fn wire_packets(&mut self, a: impl Into<End>, b: impl Into<End>) {
        let lines = [Line::plain(), Line::plain()];
        self.network.join([a.into(), b.into()], Some(Layer::Packet), lines);
    }

    /// Joins two ends by a wire with a link each way: from `a` to `b`, and back.
    ///
    /// # Panics
    ///
    /// If one of the ends has a wire, or if a profile has a mistake.
    pub fn wire_through(&mut self, a: impl Into<End>, b: impl Into<End>, profiles: [&Profile; 2]) {
        let seed = self.random.next();
        self.wire_seeded(a, b, profiles, seed);
    }

    /// As [`Self::wire_through`], with random decisions drawn from a seed of its own, as those of `adit netem`.
    ///
    /// # Panics
    ///
    /// As [`Self::wire_through`].
    pub fn wire_seeded(
        &mut self,
        a: impl Into<End>,
        b: impl Into<End>,
        profiles: [&Profile; 2],
        seed: u64,
    ) {
        let seed = Seed::new(seed);
        let ends = [a.into(), b.into()];
        let layer = self.layer_of(ends).unwrap_or(Layer::Packet);
        let lines =
            [(profiles[0], 0), (profiles[1], 1)].map(|(profile, direction)| {
                match Link::new(profile, seed.direction(direction)) {
                    Ok(link) => Line::Emulated(Box::new(link.with_layer(layer))),
                    Err(mistake) => panic!("{mistake}"),
                }
            });
        self.join(ends, lines);
    }

    /// Changes the profile of the link that leads away from an end.
    ///
    /// # Panics
    ///
    /// If there is none, or if the profile has a mistake.
    pub fn set_profile(&mut self, end: impl Into<End>, profile: &Profile) {
        let end = end.into();
        match self.network.set_profile(end, profile) {
            Some(Ok(())) => {}
            Some(Err(mistake)) => panic!("{mistake}"),
            None => panic!("no link at {}", self.network.show(end)),
        }
    }

    /// The report of the link that leads away from an end.
    #[must_use]
    pub fn report(&self, end: impl Into<End>) -> Option<Report> {
        self.network.port(end.into())?.link().map(Link::report)
    }

    /// Causes a fault at an end now.
    ///
    /// # Panics
    ///
    /// If there is no wire.
    pub fn fault(&mut self, end: impl Into<End>, fault: Fault) {
        self.network.fault(end.into(), fault);
    }

    /// Schedules a fault at an end.
    pub fn fault_at(&mut self, at: Instant, end: impl Into<End>, fault: Fault) {
        let order = self.script.len();
        self.script.insert((at, order), (end.into(), fault));
    }

    /// The counts of a port.
    #[must_use]
    pub fn port_counts(&self, end: impl Into<End>) -> PortCounts {
        self.network.port(end.into()).map_or_else(PortCounts::default, |port| port.counts)
    }

    /// Losses between the nodes: at ports, in their queues and on the wires.
    #[must_use]
    pub const fn lost(&self) -> &Counts {
        self.network.counts()
    }

    /// All losses, between the nodes and by the engines.
    #[must_use]
    pub fn losses(&self) -> BTreeMap<DropReason, u64> {
        let mut losses = BTreeMap::new();
        let engines = self.nodes.iter().filter_map(|node| match node {
            Node::Engine(engine) => Some(engine.out.counts()),
            _ => None,
        });
        for (why, count) in engines.chain([self.lost()]).flat_map(Counts::by_reason) {
            *losses.entry(why).or_default() += count;
        }
        losses
    }

    /// Returns an engine.
    #[must_use]
    pub fn get<E: Engine + 'static>(&self, id: EngineId<E>) -> &E {
        let engine: &dyn AnyEngine = &*self.engine_node(id.0).engine;
        engine.as_any().downcast_ref().expect("its type is in the id")
    }

    /// The counts of an engine.
    #[must_use]
    pub fn counts<E>(&self, id: EngineId<E>) -> &Counts {
        self.engine_node(id.0).out.counts()
    }

    /// Calls a closure with an engine, e.g. to change its configuration. Packets that it sends are forwarded.
    pub fn call<E: Engine + 'static, R>(
        &mut self,
        id: EngineId<E>,
        call: impl FnOnce(&mut E, Instant, &mut Outbox) -> R,
    ) -> R {
        let now = self.now();
        self.with_engine(id.0, |node| {
            let engine: &mut dyn AnyEngine = &mut *node.engine;
            let engine = engine.as_any_mut().downcast_mut().expect("its type is in the id");
            call(engine, now, &mut node.out)
        })
    }

    /// Sends a packet from a probe.
    pub fn send(&mut self, probe: ProbeId, bytes: &[u8], meta: Meta) {
        self.network.send(probe.into(), bytes, meta);
    }

    /// The next packet that a probe received.
    pub fn recv(&mut self, probe: ProbeId) -> Option<(Vec<u8>, Meta)> {
        match self.nodes.get_mut(probe.0) {
            Some(Node::Probe(probe)) => probe.received.pop_front(),
            _ => None,
        }
    }

    /// Sends an echo request, which waits 3 s for its answer.
    pub fn ping(&mut self, from: HostId, to: IpAddr) -> PingId {
        let now = self.now();
        PingId(from, self.host_mut(from).ping(now, to))
    }

    /// The round trip time; `None` without an answer yet.
    #[must_use]
    pub fn rtt(&self, ping: PingId) -> Option<Duration> {
        self.host_ref(ping.0).rtt(ping.1)
    }

    /// Sends a datagram with each hop limit from 1 to `count` to a port at which nobody listens, as `traceroute` does.
    pub fn hops(&mut self, from: HostId, to: IpAddr, count: u8) -> HopsId {
        HopsId(from, self.host_mut(from).hops(to, count))
    }

    /// Who answered to each of these datagrams, the one with hop limit 1 first: routers, then the destination.
    #[must_use]
    pub fn hops_seen(&self, hops: HopsId) -> &[Option<IpAddr>] {
        self.host_ref(hops.0).hops_seen(hops.1)
    }

    /// Opens a UDP socket.
    pub fn udp_bind(&mut self, host: HostId, port: u16) -> UdpId {
        UdpId(host, self.host_mut(host).udp_bind(port))
    }

    /// Sends a datagram; returns whether the socket had room for it. A datagram to a neighbour that does not answer
    /// holds up those of the same socket.
    pub fn udp_send(&mut self, socket: UdpId, to: SocketAddr, payload: &[u8]) -> bool {
        self.host_mut(socket.0).udp_send(socket.1, to, payload)
    }

    /// Takes the next received datagram and its source.
    pub fn udp_recv(&mut self, socket: UdpId) -> Option<(SocketAddr, Vec<u8>)> {
        self.host_mut(socket.0).udp_recv(socket.1)
    }

    /// Counts what a socket receives from now on, and does not keep it.
    pub fn udp_discard(&mut self, socket: UdpId) {
        self.host_mut(socket.0).udp_discard(socket.1);
    }

    /// The number of bytes that such a socket received, and when the last ones arrived.
    #[must_use]
    pub fn udp_read(&self, socket: UdpId) -> (u64, Instant) {
        self.host_ref(socket.0).udp_read(socket.1)
    }

    /// Waits for one TCP connection to a port.
    pub fn tcp_listen(&mut self, host: HostId, port: u16) -> TcpId {
        TcpId(host, self.host_mut(host).tcp_listen(port))
    }

    /// Opens a TCP connection.
    pub fn tcp_connect(&mut self, host: HostId, to: SocketAddr) -> TcpId {
        TcpId(host, self.host_mut(host).tcp_connect(to))
    }

    /// Sends bytes as the connection accepts them.
    pub fn tcp_send(&mut self, stream: TcpId, bytes: &[u8]) {
        self.host_mut(stream.0).tcp_send(stream.1, bytes);
    }

    /// Sends zeros as the connection accepts them: so many bytes, or until [`Self::tcp_close`]. Together with
    /// [`Self::tcp_discard`] at the other end, this needs no memory.
    pub fn tcp_fill(&mut self, stream: TcpId, bytes: Option<u64>) {
        self.host_mut(stream.0).tcp_fill(stream.1, bytes);
    }

    /// Counts what is received from now on, and does not keep it.
    pub fn tcp_discard(&mut self, stream: TcpId) {
        self.host_mut(stream.0).tcp_discard(stream.1);
    }

    /// The number of received bytes, and when the last one arrived.
    #[must_use]
    pub fn tcp_read(&self, stream: TcpId) -> (u64, Instant) {
        self.host_ref(stream.0).tcp_read(stream.1)
    }

    /// Closes our side when everything was sent.
    pub fn tcp_close(&mut self, stream: TcpId) {
        self.host_mut(stream.0).tcp_close(stream.1);
    }

    /// Ends a connection at once.
    pub fn tcp_abort(&mut self, stream: TcpId) {
        self.host_mut(stream.0).tcp_abort(stream.1);
    }

    /// All received bytes.
    #[must_use]
    pub fn tcp_received(&self, stream: TcpId) -> &[u8] {
        self.host_ref(stream.0).tcp_received(stream.1)
    }

    /// Whether the peer has closed, and all its bytes were received.
    #[must_use]
    pub fn tcp_is_finished(&self, stream: TcpId) -> bool {
        self.host_ref(stream.0).tcp_is_finished(stream.1)
    }

    /// The servers that flows of engines reach ([`Endpoint::Flow`]).
    #[must_use]
    pub const fn outside(&self) -> &Outside {
        &self.network.outside
    }

    /// The servers that flows of engines reach, mutable: add servers, send bytes, cause errors.
    #[must_use]
    pub const fn outside_mut(&mut self) -> &mut Outside {
        &mut self.network.outside
    }

    /// Lets time pass.
    ///
    /// # Panics
    ///
    /// If a law is broken, if there are more events than allowed, if an engine asks again and
    /// again for a moment that has passed.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until `done` or until `end`; returns whether `done` was true.
    ///
    /// # Panics
    ///
    /// As [`Self::run_for`].
    pub fn run_until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        let arrived = self.network.arrived();
        for steps in 0.. {
            let events = steps + self.network.arrived() - arrived;
            assert!(events < self.events_max, "{events} events: does a packet run in circles?");
            if done(self) {
                return true;
            }
            let next = self.next_step();
            if next > end || next == Instant::MAX {
                self.move_to(end);
                break;
            }
            self.move_to(next);
            self.step();
        }
        false
    }

    /// The events so far, a line each: of many the last 10,000.
    ///
    /// `0.000002000 a:0 > hub:1 42 #1f0c33d7 arp`: time, from, to, length, a hash of the bytes and what
    /// the headers say. The same scenario and seed give the same text, whatever the machine.
    #[must_use]
    pub fn trace(&self) -> String {
        let mut text = String::new();
        self.network.trace.lines().for_each(|line| {
            text.push_str(line);
            text.push('\n');
        });
        text
    }

    /// The hash of all events so far.
    #[must_use]
    pub const fn trace_hash(&self) -> u64 {
        self.network.trace.hash()
    }

    /// Passes each line of the trace to a closure.
    pub fn trace_to(&mut self, sink: impl FnMut(&str) + 'static) {
        self.network.trace.pass_to(Box::new(sink));
    }

    /// Records no trace from now on: a simulation takes half the time without it.
    pub fn without_trace(&mut self) {
        self.network.trace.turn_off();
    }

    /// Passes each packet that crosses a wire to a closure.
    pub fn tap(&mut self, tap: impl FnMut(Crossing<'_>) + 'static) {
        self.network.tap = Some(Box::new(tap));
    }

    fn add(&mut self, name: &str, node: Node) -> usize {
        self.nodes.push(node);
        self.network.names.push(name.to_owned());
        self.stirred.push(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn join(&mut self, ends: [End; 2], lines: [Line; 2]) {
        let layer = self.layer_of(ends);
        self.network.join(ends, layer, lines);
    }

    /// What a wire between these ends carries; `None` for a peer's datagrams. An engine's port takes
    /// what the host at the other end has.
    fn layer_of(&self, ends: [End; 2]) -> Option<Layer> {
        let layers = ends.map(|end| match (end.at, self.nodes.get(end.node)) {
            (Endpoint::Udp(_), _) => None,
            (_, Some(Node::Host(host))) => Some(host.layer),
            _ => Some(Layer::Frame),
        });
        layers.into_iter().find(|&layer| layer != Some(Layer::Frame)).unwrap_or(Some(Layer::Frame))
    }

    /// The next moment at which something is due; [`Instant::MAX`]: never.
    fn next_step(&mut self) -> Instant {
        self.settle();
        let now = self.now();
        let script = self.script.first_key_value().map_or(Instant::MAX, |(&(at, _), _)| at);
        let due = script.min(self.network.due()).min(self.agenda.next());
        let earliest =
            if self.steps < Self::STEPS_AT_ONCE { now } else { now + Duration::from_nanos(1) };
        due.max(earliest)
    }

    /// Notes when the nodes that have changed want to be woken.
    fn settle(&mut self) {
        let now = self.now();
        for node in self.stirred.drain(..) {
            let due = match self.nodes.get(node) {
                Some(Node::Engine(engine)) => engine.due(),
                Some(Node::Host(host)) => host.due(now),
                Some(Node::Probe(_)) | None => Instant::MAX,
            };
            self.agenda.set(node, due);
        }
    }

    fn move_to(&mut self, moment: Instant) {
        if moment > self.now() {
            self.network.now = moment;
            self.network.outside.now = moment;
            self.steps = 0;
        }
    }

    /// Does what is due now.
    fn step(&mut self) {
        let now = self.now();
        self.steps += 1;
        while let Some(entry) = self.script.first_entry().filter(|entry| entry.key().0 <= now) {
            let (end, fault) = entry.remove();
            self.network.fault(end, fault);
        }
        let mut due = core::mem::take(&mut self.due);
        self.network.due_ports(&mut due);
        for &port in &due {
            while let Some((end, packet)) = self.network.next_arrival(port) {
                self.arrive(end, packet);
            }
        }
        while let Some((node, flow, delivery)) = self.network.next_from_outside() {
            self.arrive_from_flow(node, flow, delivery);
        }
        self.settle();
        self.agenda.take(now, &mut due);
        for &node in &due {
            self.wake(node);
        }
        self.due = due;
        self.network.check();
    }

    fn arrive(&mut self, end: End, packet: PacketBuf) {
        let now = self.now();
        let taken = match self.nodes.get_mut(end.node) {
            Some(Node::Engine(_)) => {
                self.with_engine(end.node, |node| node.handle(now, end.at, &packet))
            }
            Some(Node::Host(host)) => {
                self.stirred.push(end.node);
                host.receive(&packet)
            }
            Some(Node::Probe(probe)) => probe.receive(&packet),
            None => Ok(()),
        };
        match taken {
            Ok(()) => self.network.deliver(packet),
            Err(why) => self.network.refuse(end, packet, why),
        }
    }

    fn arrive_from_flow(&mut self, node: usize, flow: FlowId, delivery: Delivery) {
        let now = self.now();
        let taken = self.with_engine(node, |engine| match delivery {
            Delivery::Bytes(bytes) => engine.handle_bytes(now, flow, bytes),
            Delivery::Event(event) => {
                engine.engine.handle_flow(now, flow, event, &mut engine.out);
                Ok(())
            }
        });
        if let Err(bytes) = taken {
            self.network.outside.give_back(node, flow, bytes);
        }
    }

    fn wake(&mut self, node: usize) {
        let now = self.now();
        self.stirred.push(node);
        match self.nodes.get_mut(node) {
            Some(Node::Engine(engine)) if engine.due() <= now => {
                self.with_engine(node, |engine| engine.wake(now));
                let name = self.network.names.get(node).map_or("", |name| name);
                self.engine_node(node).check_patience(name);
            }
            Some(Node::Host(host)) if host.due(now) <= now => {
                let end = End::from(HostId(node));
                host.poll(now, |bytes, meta| self.network.send(end, bytes, meta));
            }
            _ => {}
        }
    }

    /// Calls an engine, sends what comes out of it and checks its books.
    fn with_engine<R>(&mut self, node: usize, call: impl FnOnce(&mut EngineNode) -> R) -> R {
        let Some(Node::Engine(engine)) = self.nodes.get_mut(node) else {
            panic!("an id of another simulation")
        };
        let result = call(engine);
        engine.note_losses(node, &mut self.network);
        engine.flush(node, &mut self.network);
        self.stirred.push(node);
        result
    }

    fn engine_node(&self, node: usize) -> &EngineNode {
        match self.nodes.get(node) {
            Some(Node::Engine(engine)) => engine,
            _ => panic!("an id of another simulation"),
        }
    }

    fn host_mut(&mut self, host: HostId) -> &mut Host {
        self.stirred.push(host.0);
        match self.nodes.get_mut(host.0) {
            Some(Node::Host(host)) => host,
            _ => panic!("an id of another simulation"),
        }
    }

    fn host_ref(&self, host: HostId) -> &Host {
        match self.nodes.get(host.0) {
            Some(Node::Host(host)) => host,
            _ => panic!("an id of another simulation"),
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .field("nodes", &self.network.names)
            .finish_non_exhaustive()
    }
}

impl Drop for Sim {
    /// In a test that fails: says where the simulation stood.
    fn drop(&mut self) {
        if std::thread::panicking() {
            seeds::tell_failure(self.seed, self.now(), self.network.trace.lines());
        }
    }
}

#[cfg(test)]
mod tests;
