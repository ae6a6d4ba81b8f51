//! The flows of an engine: TCP connections and UDP sockets of the host, by the engine's numbers.
//!
//! ```text
//! Request::Flow      ->  request()  -+
//! packets for a flow ->  send()      +-> Flow -> socket
//! epoll              ->  ready()    -+
//!                                    '-> events (Connected, Credit, ...), packets by recv()
//! ```
//!
//! Every flow is found by map or by index; a turn costs what is ready.

use crate::socket::flow::Flow;
use crate::socket::flow_event::{FlowRecv, flow_error};
use crate::socket::listen_flow::ListenFlow;
use crate::socket::splice::{Ends, Joint, Listener, Offered, SpliceCounts, Splices, Turn};
use crate::socket::tcp_flow::TcpFlow;
use crate::wake::reactor::{Interest, Reactor, Ready, Source};
use adit_engine::{FlowError, FlowEvent, FlowId, FlowRequest};
use adit_packet::{Batch, Instant, Pool};
use rustix::net::getsockname;
use socket2::Socket;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The most flows of one loop: a descriptor each, where a process has 1,024 by default and half a million
/// at most.
pub(crate) const FLOWS_MAX: usize = 32_768;

/// How many connections are joined to flows before others have their turn.
const ACCEPTS_MAX: usize = 64;

/// How long flows are not read after the pool was empty.
const NO_BUFFER_PAUSE: Duration = Duration::from_millis(1);

/// The flows.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<u32>,
    by_id: HashMap<FlowId, u32>,
    /// Listening sockets that nobody has asked for yet.
    given: HashMap<SocketAddr, ListenFlow>,
    /// For the engine.
    events: VecDeque<(FlowId, FlowEvent)>,
    /// Flows whose direction or whole ends behind what is sent in this turn.
    ending: Vec<(u32, End)>,
    /// Flows that are read without waiting for a change of their descriptors.
    queue: VecDeque<(u32, u32)>,
    /// Flows that are not read until there are buffers again.
    starved: Vec<u32>,
    resume_at: Option<Instant>,
    splices: Splices,
    number: u32,
    /// Where flows come from, if that is not for the routes to say.
    outbound: Vec<IpAddr>,
}

#[derive(Debug)]
struct Slot {
    /// `None` once the engine has closed it: then only what waits is sent.
    id: Option<FlowId>,
    flow: Flow,
    number: u32,
    is_queued: bool,
    is_starved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Shutdown,
    Close,
}

impl Flows {
    /// Flows to other hosts come from these addresses of the host, one of each family.
    pub(crate) fn set_outbound(&mut self, addresses: Vec<IpAddr>) {
        self.outbound = addresses;
    }

    fn outbound(&self, family_of: IpAddr) -> Option<IpAddr> {
        self.outbound.iter().find(|ip| ip.is_ipv4() == family_of.is_ipv4()).copied()
    }

    /// Carries out a request of the engine.
    pub(crate) fn request(&mut self, id: FlowId, request: FlowRequest, reactor: &Reactor) {
        match request {
            FlowRequest::Open { transport, to, port, hop_limit } => {
                self.close(id, reactor);
                // The host's loopback has no other address than its own.
                let from = self.outbound(to.ip()).filter(|_| !to.ip().is_loopback());
                self.open(id, Flow::open(transport, from, to, port, hop_limit), reactor);
            }
            FlowRequest::Bind { transport, mut local, or_any_port } => {
                self.close(id, reactor);
                // One that must have its port is published.
                if let Some(from) = self.outbound(local.ip()).filter(|_| or_any_port) {
                    local.set_ip(from);
                }
                self.open(id, Flow::bind(transport, local, or_any_port), reactor);
            }
            FlowRequest::Listen { local } => {
                self.close(id, reactor);
                let given = self.given.remove(&local).map(|one| Ok(Flow::Listen(Box::new(one))));
                self.open(id, given.unwrap_or_else(|| Flow::listen(local)), reactor);
            }
            FlowRequest::Accept { listener } => self.accept(id, listener, reactor),
            FlowRequest::Refuse => {
                if let Some((_, Slot { flow: Flow::Listen(listener), .. })) = self.of_id(id) {
                    listener.refuse();
                }
            }
            FlowRequest::Credit { until } => self.with_tcp(id, |tcp| tcp.set_credit(until)),
            FlowRequest::Splice { client, server } => self.offer(id, (client, server)),
            FlowRequest::Keep { piece_max } => {
                self.take_back(id);
                self.with_tcp(id, |tcp| tcp.keep(piece_max));
            }
            FlowRequest::Release { until } => self.with_tcp(id, |tcp| tcp.release(until)),
            FlowRequest::Seek { to, until } => self.with_tcp(id, |tcp| tcp.seek(to, until)),
            // They take effect behind the packets of this turn.
            FlowRequest::Shutdown => self.end_later(id, End::Shutdown),
            FlowRequest::Close => self.end_later(id, End::Close),
            FlowRequest::Reset => {
                if let Some((at, slot)) = self.of_id(id) {
                    match &slot.flow {
                        Flow::Tcp(tcp) => tcp.reset(),
                        Flow::Offered(offered) => offered.tcp.reset(),
                        _ => {}
                    }
                    self.remove(at, reactor);
                    self.forget(id);
                }
            }
            _ => {}
        }
    }

    /// Keeps a listening socket for the flow that listens at its address, which is returned.
    pub(crate) fn give(&mut self, socket: OwnedFd) -> io::Result<SocketAddr> {
        let listener = ListenFlow::adopt(socket)?;
        let local = listener.local();
        self.given.insert(local, listener);
        Ok(local)
    }

    fn open(&mut self, id: FlowId, flow: Result<Flow, FlowError>, reactor: &Reactor) {
        if let Err(error) = flow.and_then(|flow| self.add(id, flow, reactor)) {
            self.events.push_back((id, FlowEvent::Failed(error)));
        }
    }

    fn add(&mut self, id: FlowId, flow: Flow, reactor: &Reactor) -> Result<(), FlowError> {
        if self.by_id.len() >= FLOWS_MAX {
            return Err(FlowError::Exhausted);
        }
        self.number = self.number.wrapping_add(1);
        let fresh = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let at = self.free.pop().unwrap_or(fresh);
        let source = Source::Flow(at, self.number);
        let added = match &flow {
            // It is ready for as long as the engine keeps bytes in it: only changes are news.
            Flow::Tcp(_) => reactor.add_edge(flow.fd(), source),
            _ => reactor.add(flow.fd(), source, Interest::READ),
        };
        if added.is_err() {
            self.free.extend((at != fresh).then_some(at));
            return Err(FlowError::Exhausted);
        }
        match &flow {
            Flow::Tcp(_) | Flow::Offered(_) | Flow::Spliced(_) => {}
            Flow::Udp(udp) => self.events.push_back((id, udp.connected())),
            Flow::Ping(ping) => self.events.push_back((id, ping.connected())),
            Flow::Listen(listener) => self.events.push_back((id, listener.connected())),
        }
        let slot =
            Slot { id: Some(id), flow, number: self.number, is_queued: false, is_starved: false };
        match self.slots.get_mut(index(at)) {
            Some(place) => *place = Some(Box::new(slot)),
            None => self.slots.push(Some(Box::new(slot))),
        }
        self.by_id.insert(id, at);
        Ok(())
    }

    /// Takes connections at this socket for flows that are offered.
    pub(crate) fn splice_at(&mut self, listener: Listener, reactor: &Reactor) -> io::Result<()> {
        reactor.add(&listener, Source::Splices, Interest::READ)?;
        self.splices.listener = Some(listener);
        Ok(())
    }

    /// A flow waits for the connection of its client.
    fn offer(&mut self, id: FlowId, ends: Ends) {
        let Some((at, _)) = self.of_id(id) else { return };
        self.replace(at, |flow| match flow {
            Flow::Tcp(tcp) => Flow::Offered(Box::new(Offered { tcp, ends })),
            flow => flow,
        });
        self.splices.offered.insert(ends, at);
    }

    /// A flow waits for the connection of its client no more.
    fn take_back(&mut self, id: FlowId) {
        let Some((at, Slot { flow: Flow::Offered(offered), .. })) = self.of_id(id) else { return };
        let ends = offered.ends;
        self.splices.offered.remove(&ends);
        self.replace(at, |flow| match flow {
            Flow::Offered(offered) => Flow::Tcp(offered.tcp),
            flow => flow,
        });
    }

    /// Makes another flow of one, with the same number and descriptor.
    fn replace(&mut self, at: u32, make: impl FnOnce(Flow) -> Flow) {
        if let Some(place) = self.slots.get_mut(index(at))
            && let Some(slot) = place.take()
        {
            let slot = *slot;
            *place = Some(Box::new(Slot { flow: make(slot.flow), ..slot }));
        }
    }

    /// Joins the connections that came to flows that wait for them.
    pub(crate) fn accept_splices(&mut self, now: Instant, reactor: &Reactor) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &self.splices.listener else { return };
            match listener.accept() {
                Ok(Some((inside, ends))) => self.join(inside, ends, now, reactor),
                Ok(None) => return,
                Err(_) => {
                    // It stays readable, so it must rest.
                    let _ = reactor.change(listener, Source::Splices, Interest::default());
                    self.resume_at.get_or_insert(now + NO_BUFFER_PAUSE);
                    return;
                }
            }
        }
    }

    /// Joins a connection of the inside to its flow; one that is not expected is reset.
    fn join(&mut self, inside: Socket, ends: Ends, now: Instant, reactor: &Reactor) {
        let Some(at) = self.splices.offered.remove(&ends) else { return };
        self.replace(at, |flow| match flow {
            Flow::Offered(offered) => {
                Flow::Spliced(Box::new(Joint::new(offered.tcp.into_socket(), inside, now)))
            }
            flow => flow,
        });
        let Some(Some(slot)) = self.slots.get(index(at)) else { return };
        let Flow::Spliced(joint) = &slot.flow else { return };
        // Its first event comes at once.
        if reactor.add_edge(joint.inside(), Source::Flow(at, slot.number)).is_err() {
            return self.fail(at, FlowError::Exhausted, reactor);
        }
        self.events.extend(slot.id.map(|id| (id, FlowEvent::Spliced)));
    }

    /// A spliced flow has had its turn.
    fn turned(&mut self, at: u32, id: FlowId, turn: Turn, reactor: &Reactor) {
        if turn == Turn::Ended {
            let (sent, received, _) = self.spliced(id).unwrap_or_default();
            self.remove(at, reactor);
            self.events.push_back((id, FlowEvent::Ended { sent, received }));
        }
    }

    /// The bytes that a spliced flow has moved, from its client and to it, and when it did.
    pub(crate) fn spliced(&self, id: FlowId) -> Option<(u64, u64, Instant)> {
        let slot = self.slots.get(index(*self.by_id.get(&id)?))?.as_deref()?;
        let Flow::Spliced(joint) = &slot.flow else { return None };
        let (sent, received) = joint.moved();
        Some((sent, received, joint.used()))
    }

    /// The address of this host that a flow's socket has.
    pub(crate) fn local_of(&self, id: FlowId) -> Option<SocketAddr> {
        let slot = self.slots.get(index(*self.by_id.get(&id)?))?.as_deref()?;
        getsockname(slot.flow.fd()).ok()?.try_into().ok()
    }

    /// What all spliced flows have moved.
    pub(crate) fn splice_counts(&self) -> SpliceCounts {
        let mut counts = self.splices.past;
        for slot in self.slots.iter().flatten() {
            if let Flow::Spliced(joint) = &slot.flow {
                counts.add(joint);
            }
        }
        counts
    }

    /// Makes a flow of the connection that waits longest at a listener.
    fn accept(&mut self, id: FlowId, listener: FlowId, reactor: &Reactor) {
        let accepted = match self.of_id(listener) {
            Some((_, Slot { flow: Flow::Listen(listener), .. })) => listener.accept(),
            _ => Err(rustix::io::Errno::BADF.into()),
        };
        let accepted = accepted.map_err(|error| flow_error(&error));
        let flow = accepted.map(|tcp| Flow::Tcp(Box::new(tcp)));
        self.open(id, flow, reactor);
    }

    /// Changes what is read of a stream, and reads it if there is something.
    fn with_tcp(&mut self, id: FlowId, work: impl FnOnce(&mut TcpFlow)) {
        let Some((at, slot)) = self.of_id(id) else { return };
        if let Flow::Tcp(tcp) = &mut slot.flow {
            work(tcp);
            self.enqueue(at);
        }
    }

    /// Reads a flow without waiting for a change of its descriptor, if there is something to read.
    pub(crate) fn enqueue(&mut self, at: u32) {
        let Some(Some(slot)) = self.slots.get_mut(index(at)) else { return };
        let wants_read = match &slot.flow {
            Flow::Tcp(tcp) => tcp.wants_read(),
            Flow::Spliced(joint) => joint.has_more(),
            _ => false,
        };
        if wants_read && !slot.is_queued && !slot.is_starved {
            slot.is_queued = true;
            self.queue.push_back((at, slot.number));
        }
    }

    /// How many flows are read without waiting.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next one of them.
    pub(crate) fn pop_queued(&mut self) -> Option<u32> {
        let (at, number) = self.queue.pop_front()?;
        let slot = self.slots.get_mut(index(at))?.as_deref_mut()?;
        slot.is_queued &= slot.number != number;
        Some(at)
    }

    fn end_later(&mut self, id: FlowId, end: End) {
        if let Some(&at) = self.by_id.get(&id) {
            self.ending.push((at, end));
        }
    }

    /// Sends a batch to a flow. `false`: there is none, and the batch is as it was.
    pub(crate) fn send(
        &mut self,
        id: FlowId,
        batch: &mut Batch,
        pool: &mut Pool,
        reactor: &Reactor,
    ) -> bool {
        let Some(&at) = self.by_id.get(&id) else { return false };
        let Self { slots, events, .. } = self;
        let Some(Some(slot)) = slots.get_mut(index(at)) else { return false };
        let mut report = |event| events.push_back((id, event));
        let mut result = Ok(());
        for mut packet in batch.drain(..) {
            match &mut slot.flow {
                Flow::Tcp(tcp) if result.is_ok() => {
                    result = tcp.send(&packet, &mut report);
                }
                Flow::Tcp(_) => {}
                Flow::Udp(udp) => udp.send(&mut packet, &mut report),
                Flow::Ping(ping) => ping.send(&mut packet, &mut report),
                // It has no bytes, or they pass elsewhere.
                Flow::Listen(_) | Flow::Offered(_) | Flow::Spliced(_) => {}
            }
            pool.give(packet);
        }
        if let Err(error) = result {
            self.fail(at, error, reactor);
        }
        true
    }

    /// Ends what the engine has ended, now that all packets of this turn were sent.
    pub(crate) fn end(&mut self, reactor: &Reactor) {
        let mut ending = std::mem::take(&mut self.ending);
        for (at, end) in ending.drain(..) {
            let Some(Some(slot)) = self.slots.get_mut(index(at)) else { continue };
            let shut = match &mut slot.flow {
                Flow::Tcp(tcp) if end == End::Shutdown => tcp.shut_down(),
                _ => Ok(()),
            };
            match (end, shut, slot.id) {
                (End::Close, _, Some(id)) => self.close(id, reactor),
                (_, Err(error), _) => self.fail(at, error, reactor),
                _ => {}
            }
        }
        self.ending = ending;
    }

    /// Frees a number; its socket stays until what waits was sent.
    fn close(&mut self, id: FlowId, reactor: &Reactor) {
        let Some((at, slot)) = self.of_id(id) else { return };
        slot.id = None;
        let is_waiting = match &mut slot.flow {
            Flow::Tcp(tcp) => tcp.linger(),
            _ => false,
        };
        self.forget(id);
        if !is_waiting {
            self.remove(at, reactor);
        }
    }

    /// A number is free: no event of it comes any more.
    fn forget(&mut self, id: FlowId) {
        self.by_id.remove(&id);
        self.events.retain(|(of, _)| *of != id);
    }

    /// A flow's socket is ready: sends what waits. Whether it must be read.
    pub(crate) fn ready(&mut self, at: u32, number: u32, ready: Ready, reactor: &Reactor) -> bool {
        let Self { slots, events, .. } = self;
        let slot = slots.get_mut(index(at)).and_then(Option::as_deref_mut);
        let Some(slot) = slot.filter(|slot| slot.number == number) else { return false };
        let tcp = match &mut slot.flow {
            Flow::Tcp(tcp) => tcp,
            Flow::Spliced(joint) => {
                joint.note(ready);
                return true;
            }
            // All of it is looked at when its client has come.
            Flow::Offered(_) => return false,
            _ => return true,
        };
        let id = slot.id;
        let mut report = |event| events.extend(id.map(|id| (id, event)));
        if ready.readable {
            tcp.note_readable(ready.is_special);
        }
        if ready.is_urgent {
            tcp.find_urgent();
        }
        let written =
            if ready.writable && tcp.wants_write() { tcp.writable(&mut report) } else { Ok(()) };
        let is_over = id.is_none() && !tcp.is_waiting();
        let wants_read = id.is_some() && tcp.wants_read();
        let failed = if ready.failed && !wants_read { tcp.take_error() } else { None };
        if let Some(error) = written.err().or(failed) {
            self.fail(at, error, reactor);
        } else if is_over {
            self.remove(at, reactor);
        } else {
            return wants_read;
        }
        false
    }

    /// The next packet of a flow that is ready. `None`: nothing more now.
    pub(crate) fn recv(
        &mut self,
        at: u32,
        pool: &mut Pool,
        now: Instant,
        reactor: &Reactor,
    ) -> Option<(FlowId, adit_packet::PacketBuf)> {
        let Self { slots, events, splices, .. } = self;
        let slot = slots.get_mut(index(at))?.as_deref_mut()?;
        let id = slot.id?;
        if let Flow::Spliced(joint) = &mut slot.flow {
            let turn = joint.run(&mut splices.pipes, now);
            self.turned(at, id, turn, reactor);
            return None;
        }
        match slot.flow.recv(pool, &mut |event| events.push_back((id, event))) {
            FlowRecv::Packet(packet) => return Some((id, packet)),
            FlowRecv::Nothing => {}
            FlowRecv::Event(FlowEvent::Failed(error)) => {
                self.fail(at, error, reactor);
                return None;
            }
            FlowRecv::Event(event) => self.events.push_back((id, event)),
            FlowRecv::NoBuffer if !slot.is_starved => {
                slot.is_starved = true;
                if !matches!(slot.flow, Flow::Tcp(_)) {
                    let source = Source::Flow(at, slot.number);
                    let _ = reactor.change(slot.flow.fd(), source, Interest::default());
                }
                self.starved.push(at);
                self.resume_at.get_or_insert(now + NO_BUFFER_PAUSE);
            }
            FlowRecv::NoBuffer => {}
        }
        None
    }

    /// When flows that had no buffer are read again.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Reads flows again that had no buffer.
    pub(crate) fn resume(&mut self, now: Instant, reactor: &Reactor) {
        if self.resume_at.is_none_or(|at| at > now) {
            return;
        }
        self.resume_at = None;
        if let Some(listener) = &self.splices.listener {
            let _ = reactor.change(listener, Source::Splices, Interest::READ);
        }
        while let Some(at) = self.starved.pop() {
            if let Some(Some(slot)) = self.slots.get_mut(index(at)) {
                slot.is_starved = false;
                if !matches!(slot.flow, Flow::Tcp(_)) {
                    let source = Source::Flow(at, slot.number);
                    let _ = reactor.change(slot.flow.fd(), source, Interest::READ);
                }
                self.enqueue(at);
            }
        }
    }

    /// The next event for the engine.
    pub(crate) fn next_event(&mut self) -> Option<(FlowId, FlowEvent)> {
        self.events.pop_front()
    }

    /// How many events wait for the engine.
    pub(crate) fn event_count(&self) -> usize {
        self.events.len()
    }

    fn of_id(&mut self, id: FlowId) -> Option<(u32, &mut Slot)> {
        let at = *self.by_id.get(&id)?;
        Some((at, self.slots.get_mut(index(at))?.as_deref_mut()?))
    }

    /// A flow has ended by an error: its number is free.
    fn fail(&mut self, at: u32, error: FlowError, reactor: &Reactor) {
        if let Some(id) = self.remove(at, reactor) {
            self.events.push_back((id, FlowEvent::Failed(error)));
        }
    }

    fn remove(&mut self, at: u32, reactor: &Reactor) -> Option<FlowId> {
        let mut slot = self.slots.get_mut(index(at))?.take()?;
        reactor.remove(slot.flow.fd());
        match &mut slot.flow {
            Flow::Offered(offered) => drop(self.splices.offered.remove(&offered.ends)),
            Flow::Spliced(joint) => {
                self.splices.past.add(joint);
                joint.clear(&mut self.splices.pipes);
            }
            _ => {}
        }
        self.free.push(at);
        self.starved.retain(|&starved| starved != at);
        let id = slot.id?;
        self.by_id.remove(&id);
        Some(id)
    }
}

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
