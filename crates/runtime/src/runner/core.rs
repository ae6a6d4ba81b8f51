//! The way of packets: from ports, hubs and peers to the engine, and from the engine back to them.

use crate::netem::PortNetem;
use crate::peer::sockets::{Arrival, PeerSockets, Received, TooBig};
use crate::port::{Arrivals, Cx, Gone, Hub, HubCx, HubRecv, Port, Recv, Scratch};
use crate::runner::accelerator::Accelerator;
use crate::runner::closing::Closing;
use crate::runner::event::Event;
use crate::runner::hubs::{Hubs, ListenerId};
use crate::runner::interfaces::{Interfaces, InterfacesCx};
use crate::runner::ports::{Ports, Slot};
use crate::socket::flows::Flows;
use crate::wake::clock;
use crate::wake::reactor::{Reactor, Ready};
use adit_engine::{Endpoint, Engine, Handled, Outbox, PortId, Request};
use adit_packet::{Batch, Instant, PacketBuf, Pool};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;

/// How many frames a port may bring before the next one's turn. Past 64 the cost of a wake no longer
/// shows: with four super-packets a turn 64 ports pass half as much. They are 1 ms of one core if all are
/// super-packets, 0.2 ms if none is.
const FRAMES_MAX: usize = 64;

/// How many bytes of frames are taken in before the engine's output is sent: 43 full ones. A super-packet
/// is sent on at once: it is written while it is in the cache, and joined with nothing.
const CHUNK_LEN: usize = 64 * 1024;

/// How many bytes a port or socket may bring before the next one's turn where an engine has peers, and
/// so a cipher: four super-packets, which take it 0.3 ms; the other direction waits no longer than that.
const SHARE_LEN: usize = 256 * 1024;

/// What a datagram counts for beside its bytes: a short one costs as much as a kilobyte, for the call,
/// the headers and the cipher's start.
const DATAGRAM_COST: usize = 1024;

/// How many times the events of flows are handed to the engine before other ports have their turn: each
/// time it may send, and be given credit to send more.
const FLOW_ROUNDS_MAX: usize = 4;

/// How many ports a listener may bring in one turn; other connections wait in its backlog.
const ACCEPTS_MAX: usize = 16;

/// An engine, all that is attached to it, and the packets between them.
pub(crate) struct Core<E> {
    pub(crate) engine: E,
    pub(crate) out: Outbox,
    pub(crate) ports: Ports,
    pub(crate) hubs: Hubs,
    /// The sockets for peers.
    pub(crate) peers: Option<PeerSockets>,
    /// The sockets of the engine's flows.
    pub(crate) flows: Flows,
    interfaces: Interfaces,
    pub(crate) accelerator: Accelerator,
    pub(crate) reactor: Reactor,
    pub(crate) events: VecDeque<Event>,
    pub(crate) now: Instant,
    /// Packets sent to a port or peer that is not attached.
    pub(crate) misrouted: u64,
    /// The last number that a port or socket was given.
    last_number: u32,
    scratch: Scratch,
    /// Packets of one destination on their way out.
    batch: Batch,
    /// Packets of one hub on their way in.
    arrivals: Arrivals,
    /// Ports whose deadline has come.
    due: Vec<PortId>,
    pub(super) closing: Closing,
}

impl<E: Engine> Core<E> {
    pub(crate) fn new(engine: E, pool: Pool) -> io::Result<Self> {
        Ok(Self {
            engine,
            out: Outbox::new(pool),
            ports: Ports::default(),
            hubs: Hubs::default(),
            peers: None,
            flows: Flows::default(),
            interfaces: Interfaces::default(),
            accelerator: Accelerator::default(),
            reactor: Reactor::new()?,
            events: VecDeque::new(),
            now: clock::now(),
            misrouted: 0,
            last_number: 0,
            scratch: Scratch::new(),
            batch: Batch::new(),
            arrivals: Arrivals::default(),
            due: Vec::new(),
            closing: Closing::default(),
        })
    }

    /// Makes `port` the engine's port `id`, from the next turn on.
    ///
    /// # Errors
    /// EEXIST: there is one with that number, or to that VXLAN remote; EADDRINUSE: another program has
    /// the UDP port; EPERM: its descriptor is a file, which epoll cannot wait for; ENOMEM, ENOSPC.
    pub(crate) fn attach(&mut self, id: PortId, port: Box<dyn Port>) -> io::Result<()> {
        if self.ports.get(id).is_some() {
            return Err(Errno::EXIST.into());
        }
        let number = self.next_number();
        self.ports.insert(id, port, number, &self.reactor)?;
        if let Err(error) = self.join_hub(id) {
            self.detach(id);
            return Err(error);
        }
        self.read_clock();
        self.ports.serve_later(id);
        self.with_interfaces(|interfaces, cx| interfaces.add(id, cx));
        if let Some(slot) = self.ports.get(id) {
            self.accelerator.add(id, slot, &mut self.engine);
        }
        Ok(())
    }

    /// Takes a port out and ends it; packets queued there are lost. Nothing is in its emulated links any
    /// more. `None` if there is no such port.
    pub(crate) fn detach(&mut self, id: PortId) -> Option<Box<Slot>> {
        self.sync();
        let mut slot = self.ports.remove(id, &self.reactor)?;
        self.accelerator.remove(id, &*slot.port);
        self.read_clock();
        self.closing.extend(slot.close(self.out.pool()));
        slot.netem.clear(self.now, &mut self.out);
        self.interfaces.remove(id, slot.port.namespace(), &self.reactor);
        if let Some(hub) = slot.hub {
            self.hubs.leave(hub, id);
            if self.hubs.is_unused(hub) {
                self.close_listener(hub);
            }
        }
        Some(slot)
    }

    /// Accepts ports at a listener from now on; each is reported with [`Event::Accepted`].
    ///
    /// # Errors
    /// EEXIST: there is one with that name; ENOMEM, ENOSPC of epoll.
    pub(crate) fn listen(&mut self, listener: Box<dyn Hub>) -> io::Result<ListenerId> {
        let number = self.next_number();
        self.hubs.add(listener, false, number, &self.reactor)
    }

    /// Closes a listener. Connections stay; ports that share its socket end, and are reported as any port
    /// that ends.
    pub(crate) fn close_listener(&mut self, listener: ListenerId) {
        let Some(slot) = self.hubs.remove(listener, &self.reactor) else { return };
        for id in slot.into_members() {
            self.end(id, Gone::Closed);
        }
    }

    /// Sends to and receives from peers by these sockets, in the place of those before.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: those before are closed as well.
    pub(crate) fn set_peers(&mut self, sockets: Option<PeerSockets>) -> io::Result<()> {
        if let Some(mut before) = self.peers.take() {
            before.unregister(&self.reactor);
            before.close(self.out.pool());
            self.ports.release(&self.reactor);
        }
        let Some(mut sockets) = sockets else { return Ok(()) };
        let number = self.next_number();
        sockets.register(&self.reactor, number)?;
        self.peers = Some(sockets);
        Ok(())
    }

    /// Puts emulated links between a port and the engine; returns the old ones.
    pub(crate) fn set_netem(&mut self, id: PortId, netem: PortNetem) -> Option<PortNetem> {
        self.read_clock();
        let slot = self.ports.get_mut(id)?;
        self.accelerator.set_netem(id, &netem, &mut self.engine);
        let mut old = std::mem::replace(&mut slot.netem, netem);
        old.clear(self.now, &mut self.out);
        self.ports.retime(id);
        Some(old)
    }

    /// Looks at the clock; the time of the loop never goes back.
    pub(crate) fn read_clock(&mut self) {
        self.now = self.now.max(clock::now());
    }

    /// The earliest deadline.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let all = [
            self.engine.next_timeout(),
            self.ports.next_timeout(),
            self.hubs.next_resume(),
            self.peers.as_ref().and_then(PeerSockets::next_resume),
            self.interfaces.next_timeout(),
            self.flows.next_resume(),
            self.accelerator.next_sync(),
            // Events that the last turn left.
            (self.flows.event_count() > 0).then_some(self.now),
        ];
        all.into_iter().flatten().min()
    }

    /// Does what is due at `self.now`.
    pub(crate) fn run_due(&mut self) {
        self.accelerator.run_due(self.now, &mut self.engine, &mut self.ports);
        if self.engine.next_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now, &mut self.out);
        }
        if self.interfaces.next_timeout().is_some_and(|at| at <= self.now) {
            self.with_interfaces(Interfaces::run_due);
        }
        self.hubs.resume(self.now, &self.reactor);
        self.flows.resume(self.now, &self.reactor);
        if let Some(peers) = &mut self.peers {
            peers.resume(self.now, &self.reactor);
        }
        self.flush();
        self.run_ports();
    }

    /// Does what is due at ports, each of them once.
    fn run_ports(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.ports.take_due(self.now, &mut due);
        for id in due.drain(..) {
            let Some(slot) = self.ports.get_mut(id) else { continue };
            let is_due = |timeout: Option<Instant>| timeout.is_some_and(|at| at <= self.now);
            let has_resumed = slot.backoff.resume(self.now);
            let netem = is_due(slot.netem.next_timeout());
            let port = has_resumed || is_due(slot.port.next_timeout());
            if netem {
                self.run_ingress(id);
                self.run_egress(id);
            }
            if port {
                self.flush_port(id);
                self.serve(id);
            }
            self.ports.retime(id);
        }
        self.due = due;
        self.flush();
    }

    /// A number that no port or socket had before, as far back as events may be pending.
    fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// Takes out a port that ended, and reports it.
    pub(crate) fn end(&mut self, port: PortId, why: Gone) {
        if let Some(Slot { netem, counters, .. }) = self.detach(port).map(|slot| *slot) {
            self.events.push_back(Event::PortGone { port, why, netem, counters });
        }
    }

    /// Serves the ports and flows that have more although no descriptor is ready, ports until `until`.
    pub(crate) fn serve_queued(&mut self, until: Instant) {
        let mut turns = 0..self.ports.queued();
        while self.now < until
            && turns.next().is_some()
            && let Some(id) = self.ports.pop_queued()
        {
            self.read_clock();
            self.serve(id);
        }
        for _ in 0..self.flows.queued() {
            if let Some(at) = self.flows.pop_queued() {
                self.read_clock();
                self.read_flow(at);
            }
        }
    }

    /// Whether ports or flows have more although no descriptor is ready.
    pub(crate) fn has_more(&self) -> bool {
        self.ports.queued() > 0 || self.flows.queued() > 0
    }

    /// Reads the netlink socket of a namespace.
    pub(crate) fn serve_links(&mut self, place: u32, number: u32) {
        self.with_interfaces(|interfaces, cx| interfaces.read(place, number, cx));
    }

    fn with_interfaces(&mut self, work: impl FnOnce(&mut Interfaces, &mut InterfacesCx<'_>)) {
        let (number, mut ended, mut resized) = (self.next_number(), Vec::new(), Vec::new());
        let mut cx = InterfacesCx {
            now: self.now,
            number,
            ports: &self.ports,
            reactor: &self.reactor,
            events: &mut self.events,
            ended: &mut ended,
            resized: &mut resized,
        };
        work(&mut self.interfaces, &mut cx);
        for (id, mtu) in resized {
            self.accelerator.resize(id, mtu, self.now, &mut self.engine, &mut self.ports);
        }
        ended.into_iter().for_each(|(id, why)| self.end(id, why));
    }

    // The way in: from ports, hubs and peers to the engine.

    pub(crate) fn serve_port(&mut self, index: u32, number: u32, ready: Ready) {
        let Some((id, slot)) = self.ports.of_event(index, number) else { return };
        if ready.failed
            && let Some(why) = slot.port.failed()
        {
            return self.end(id, why);
        }
        if ready.writable {
            self.flush_port(id);
        }
        if ready.readable {
            self.serve(id);
        }
    }

    /// Reads a port until it has nothing more, or has had its share.
    pub(crate) fn serve(&mut self, id: PortId) {
        let share_max = if self.peers.is_some() { SHARE_LEN } else { usize::MAX };
        self.ports.begin_turn(id, self.peers.is_some());
        let (mut chunk, mut share, mut handled) = (0, 0, Handled::NOTHING);
        let mut frames = 0..FRAMES_MAX;
        while share < share_max && frames.next().is_some() {
            if self.peers.as_ref().is_some_and(PeerSockets::is_full) {
                // What the port has waits in its own queue until the sockets to peers have room.
                self.ports.hold(id);
                self.flush();
                return self.used(id, Ok(()));
            }
            let Some(slot) = self.ports.get_mut(id) else { return };
            let cx = Cx::new(self.now, self.out.pool(), &mut self.scratch, &mut slot.counters);
            let mut cx = Cx { handled, ..cx };
            match slot.ahead.recv(&mut *slot.port, &mut cx) {
                Recv::Packet(packet) => {
                    slot.backoff.succeeded();
                    let is_whole = packet.meta.vnet.is_super_packet();
                    chunk += packet.len();
                    share += packet.len();
                    handled = self.take_in(id, packet);
                    if is_whole || chunk >= CHUNK_LEN {
                        self.flush();
                        self.read_clock();
                        chunk = 0;
                    }
                }
                Recv::Dropped => {}
                Recv::Nothing => {
                    slot.drained(self.now, true);
                    self.flush();
                    return self.ports.retime(id);
                }
                Recv::Failed(_) => {
                    slot.counters.malformed += 1;
                    slot.backoff.failed(self.now);
                    if slot.backoff.until().is_some() {
                        self.flush();
                        return self.used(id, Ok(()));
                    }
                }
                Recv::Gone(why) => {
                    self.end(id, why);
                    return self.flush();
                }
            }
        }
        self.flush();
        self.ports.end_turn(id, self.now, share_max == usize::MAX);
    }

    /// Hands a packet that came from a port to the engine, through the port's link if it has one.
    #[inline]
    fn take_in(&mut self, id: PortId, mut packet: PacketBuf) -> Handled {
        let Some(slot) = self.ports.get_mut(id) else {
            self.out.pool().give(packet);
            return Handled::NOTHING;
        };
        slot.counters.received += 1;
        slot.counters.received_bytes += u64::try_from(packet.len()).unwrap_or(0);
        packet.meta.congested = std::mem::take(&mut slot.congested);
        if let Some(link) = &mut slot.netem.ingress {
            link.push(self.now, packet, &mut self.out);
            self.run_ingress(id);
            self.ports.retime(id);
            Handled::NOTHING
        } else {
            self.engine.handle(self.now, Endpoint::Port(id), packet, &mut self.out)
        }
    }

    /// Hands the packets that have crossed a port's link to the engine.
    fn run_ingress(&mut self, id: PortId) {
        let Some(link) = self.ports.ingress_link(id) else { return };
        while let Some(packet) = link.pop(self.now, &mut self.out) {
            self.engine.handle(self.now, Endpoint::Port(id), packet, &mut self.out);
        }
    }

    /// Reads a hub until it has nothing more, or has had its share.
    pub(crate) fn serve_hub(&mut self, place: u32, number: u32) {
        let Some(id) = self.hubs.of_event(place, number) else { return };
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let (mut chunk, mut accepted) = (0, 0);
        let mut frames = 0..FRAMES_MAX;
        while accepted < ACCEPTS_MAX && frames.next().is_some() {
            let Some(slot) = self.hubs.get_mut(id) else { break };
            let mut cx = HubCx {
                now: self.now,
                pool: self.out.pool(),
                scratch: &mut self.scratch,
                arrivals: &mut arrivals,
            };
            let found = slot.hub.recv(&mut cx);
            for (to, packet) in arrivals.0.drain(..) {
                if let Some(packet) = packet {
                    chunk += packet.len();
                    self.take_in(to, packet);
                } else if let Some(slot) = self.ports.get_mut(to) {
                    slot.counters.no_buffer += 1;
                }
            }
            accepted += usize::from(matches!(found, HubRecv::Accepted(_)));
            if !self.hub_has_more(id, found) {
                break;
            }
            if chunk >= CHUNK_LEN {
                self.flush();
                self.read_clock();
                chunk = 0;
            }
        }
        self.arrivals = arrivals;
        self.flush();
    }

    /// Acts on what a hub found; whether it is read again in this turn.
    #[inline]
    fn hub_has_more(&mut self, id: ListenerId, found: HubRecv) -> bool {
        match found {
            HubRecv::Some => {
                self.hubs.succeeded(id);
                true
            }
            HubRecv::Nothing => false,
            HubRecv::Accepted(port) => {
                self.hubs.succeeded(id);
                self.events.push_back(Event::Accepted(id, port));
                true
            }
            HubRecv::Failed(_) => !self.hubs.failed(id, self.now, &self.reactor),
            HubRecv::Exhausted(error) => {
                // Reported once until a port was accepted again.
                if self.hubs.exhausted(id, self.now, &self.reactor) {
                    self.events.push_back(Event::AcceptPaused(error));
                }
                false
            }
            HubRecv::Gone(error) => {
                self.close_listener(id);
                self.events.push_back(Event::ListenerGone(id, error));
                false
            }
        }
    }

    pub(crate) fn serve_peers(&mut self, place: u32, number: u32, ready: Ready) {
        let place = usize::try_from(place).unwrap_or(0);
        let Some(peers) = self.peers.as_mut().filter(|peers| peers.number() == number) else {
            return;
        };
        if ready.writable {
            peers.flush(place, self.out.pool(), &self.reactor);
            if !peers.is_full() {
                self.ports.release(&self.reactor);
            }
        }
        if ready.readable {
            self.receive_from_peers(place);
        }
    }

    /// Reads a socket until it has nothing more, or has had its share.
    fn receive_from_peers(&mut self, place: usize) {
        let (mut chunk, mut share) = (0, 0);
        while let Some(peers) = &mut self.peers {
            if share >= SHARE_LEN && !peers.has_received(place) {
                break;
            }
            let Arrival { from, at, packet } = match peers.recv(place, self.out.pool(), self.now) {
                Received::Train(arrival) => arrival,
                Received::Nothing => break,
                Received::Failed => {
                    peers.failed(place, self.now, &self.reactor);
                    break;
                }
            };
            chunk += packet.len();
            share += packet.len() + DATAGRAM_COST;
            let handled = self.engine.handle(self.now, Endpoint::Udp(from), packet, &mut self.out);
            if handled.authenticated {
                peers.heard(from, at, handled.began);
            }
            if chunk >= CHUNK_LEN {
                self.flush();
                self.read_clock();
                chunk = 0;
            }
        }
        self.flush();
    }

    /// A flow's socket is ready: sends what waits, and reads until it has nothing more or has had its share.
    pub(crate) fn serve_flow(&mut self, at: u32, number: u32, ready: Ready) {
        if self.flows.ready(at, number, ready, &self.reactor) {
            self.read_flow(at);
        } else {
            self.flush();
        }
    }

    /// Reads a flow until it has nothing more or has had its share.
    fn read_flow(&mut self, at: u32) {
        let (mut chunk, mut share) = (0, 0);
        while share < SHARE_LEN {
            let pool = self.out.pool();
            let Some((id, packet)) = self.flows.recv(at, pool, self.now, &self.reactor) else {
                break;
            };
            chunk += packet.len();
            share += packet.len() + DATAGRAM_COST;
            // Most of a super-packet is sent on while it is in the cache.
            let is_large = packet.len() >= CHUNK_LEN / 2;
            self.engine.handle(self.now, Endpoint::Flow(id), packet, &mut self.out);
            if is_large || chunk >= CHUNK_LEN {
                self.flush();
                self.read_clock();
                chunk = 0;
            }
        }
        self.flush();
        self.flows.enqueue(at);
    }

    // The way out: from the engine to ports and peers.

    /// Does what the engine asked for, sends all that it has sent, and hands it the events of its flows.
    #[inline]
    pub(crate) fn flush(&mut self) {
        self.send_all();
        for _ in 0..FLOW_ROUNDS_MAX {
            let count = self.flows.event_count();
            if count == 0 {
                return;
            }
            for (id, event) in (0..count).map_while(|_| self.flows.next_event()) {
                self.engine.handle_flow(self.now, id, event, &mut self.out);
            }
            self.send_all();
        }
    }

    /// Reads what the kernel has forwarded.
    pub(crate) fn sync(&mut self) {
        self.accelerator.sync(self.now, &mut self.engine, &mut self.ports);
    }

    fn send_all(&mut self) {
        // First: who gets an answer of the engine must not meet what held before.
        self.accelerator.apply(self.now, &mut self.engine, &self.ports);
        while let Some(request) = self.out.next_request() {
            match request {
                Request::Flow(id, request) => self.flows.request(id, request, &self.reactor),
                Request::Reroute(peer) => {
                    if let Some(peers) = &mut self.peers {
                        peers.reroute(peer);
                    }
                }
                _ => {}
            }
        }
        while let Some(to) = self.out.next_group(&mut self.batch) {
            match to {
                Endpoint::Port(id) => self.deliver(id),
                Endpoint::Udp(peer) => {
                    let (batch, pool) = (&mut self.batch, self.out.pool());
                    let peers = self.peers.as_mut();
                    let sent = peers.map(|peers| peers.send(peer, batch, pool, &self.reactor));
                    let (went, too_big) = sent.unwrap_or_default();
                    if let Some(TooBig { to, len_max }) = too_big {
                        self.events.push_back(Event::TooBig { to, len_max });
                    }
                    if !went {
                        self.misroute();
                    }
                }
                Endpoint::Flow(id) => {
                    let pool = self.out.pool();
                    if !self.flows.send(id, &mut self.batch, pool, &self.reactor) {
                        self.misroute();
                    }
                }
            }
        }
        self.flows.end(&self.reactor);
    }

    /// Drops `self.batch`: its destination is not attached.
    #[cold]
    fn misroute(&mut self) {
        self.misrouted += u64::try_from(self.batch.len()).unwrap_or(0);
        self.batch.give_all(self.out.pool());
    }

    /// Sends `self.batch` to a port, through its link if it has one.
    #[inline]
    fn deliver(&mut self, id: PortId) {
        let Some(link) = self.ports.egress_link(id) else { return self.send_batch(id) };
        for packet in self.batch.drain(..) {
            link.push(self.now, packet, &mut self.out);
        }
        self.run_egress(id);
    }

    /// Sends the packets that have crossed a port's link.
    fn run_egress(&mut self, id: PortId) {
        loop {
            let Some(link) = self.ports.egress_link(id) else { return };
            while !self.batch.is_full()
                && let Some(packet) = link.pop(self.now, &mut self.out)
            {
                if let Err(packet) = self.batch.push(packet) {
                    self.out.pool().give(packet);
                }
            }
            if self.batch.is_empty() {
                return self.ports.retime(id);
            }
            self.send_batch(id);
        }
    }

    /// Sends `self.batch` to a port.
    fn send_batch(&mut self, id: PortId) {
        let Some(slot) = self.ports.get_mut(id) else { return self.misroute() };
        let mut cx = Cx::new(self.now, self.out.pool(), &mut self.scratch, &mut slot.counters);
        let sent = slot.port.send(&mut cx, &mut self.batch);
        let has_more = slot.port.has_more();
        self.used(id, sent);
        if has_more {
            // The engine behind it may have answered.
            self.ports.serve_later(id);
        }
    }

    /// Sends what is queued at a port; writes what is buffered for a recording.
    pub(crate) fn flush_port(&mut self, id: PortId) {
        let Some(slot) = self.ports.get_mut(id) else { return };
        let mut cx = Cx::new(self.now, self.out.pool(), &mut self.scratch, &mut slot.counters);
        let sent = slot.port.flush(&mut cx);
        self.used(id, sent);
    }

    /// After a call of a port: waits for what it needs now, or ends it.
    #[inline]
    fn used(&mut self, id: PortId, result: Result<(), Gone>) {
        let result =
            result.and_then(|()| self.ports.settle(id, &self.reactor).map_err(Gone::Failed));
        if let Err(why) = result {
            self.end(id, why);
        }
    }

    /// Adds a port to the hub that it names, which it may have to open.
    fn join_hub(&mut self, id: PortId) -> io::Result<()> {
        let number = self.next_number();
        let Some(slot) = self.ports.get_mut(id) else { return Ok(()) };
        let Some(name) = slot.port.hub() else { return Ok(()) };
        let hub = match self.hubs.find(name) {
            Some(hub) => hub,
            None => self.hubs.add(slot.port.open_hub()?, true, number, &self.reactor)?,
        };
        let joined = self.hubs.join(hub, id, &mut *slot.port);
        slot.hub = Some(hub);
        joined
    }
}
