//! The other ends of engines' flows: servers in memory, in virtual time.
//!
//! It stands where a runtime has the host's sockets. Each stimulus of a flow (a request, bytes, a call of
//! the test) makes it due a moment later, the delay of its server; then everything that can happen to it
//! happens: the server reads, credit is raised, bytes and events go to the engine.

mod address;
mod bound;
mod kept;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use adit_engine::{FlowError, FlowEvent, FlowId, FlowRequest, Transport};
use adit_packet::{Instant, icmp};

use address::addressed;
use kept::{Kept, count};

/// The servers that the flows of engines reach, and the flows.
///
/// An address at which nobody listens refuses.
#[derive(Debug, Default)]
pub struct Outside {
    pub(crate) now: Instant,
    servers: BTreeMap<(Transport, SocketAddr), Server>,
    /// All flows that ever were, by [`RemoteId`].
    flows: Vec<Flow>,
    /// The numbers that were ever used, and the flows that the engines can still name.
    numbers: BTreeSet<(usize, FlowId)>,
    open: BTreeMap<(usize, FlowId), usize>,
    due: BTreeSet<(Instant, usize)>,
    /// For the engines, in order.
    ready: VecDeque<(usize, Delivery)>,
    next_port: u16,
}

/// A server of the [`Outside`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Why every flow to it fails; `None` if it accepts.
    pub fails: Option<FlowError>,
    /// Whether it sends back what it reads, and ends its direction when the engine has.
    pub echo: bool,
    /// Bytes that its socket takes before it reads them: what the engine gets as credit.
    pub buffer: usize,
    /// From anything that happens to a flow until it acts.
    pub delay: Duration,
    /// Bytes that it reads at a time, each after [`Self::delay`]: a slow reader has few.
    pub reads: usize,
    /// The path MTU to it.
    pub path_mtu: u16,
}

impl Server {
    /// A server that accepts, reads everything after 1 ms and sends what the test says.
    pub const ACCEPTS: Self = Self {
        fails: None,
        echo: false,
        buffer: 64 << 10,
        delay: Duration::from_millis(1),
        reads: usize::MAX,
        path_mtu: 1500,
    };
    /// One that sends everything back.
    pub const ECHOES: Self = Self { echo: true, ..Self::ACCEPTS };

    /// One at which every flow fails, after 1 ms.
    #[must_use]
    pub const fn fails(error: FlowError) -> Self {
        Self { fails: Some(error), ..Self::ACCEPTS }
    }
}

/// A flow as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteId(usize);

/// What goes to an engine.
#[derive(Debug)]
pub(crate) enum Delivery {
    Event(FlowEvent),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
struct Flow {
    node: usize,
    id: FlowId,
    transport: Transport,
    to: SocketAddr,
    server: Server,
    stage: Stage,
    due: Option<Instant>,
    /// From the engine, not yet read; pieces of a stream, or datagrams.
    buffer: VecDeque<Vec<u8>>,
    buffered: usize,
    /// Bytes that the engine sent, may send, and those that a reset discarded.
    taken: u64,
    credit: u64,
    discarded: u64,
    received: Vec<u8>,
    /// The engine ended its direction, and the server has read that.
    ended: bool,
    end_read: bool,
    /// For the engine: pieces of a stream, or datagrams.
    pending: VecDeque<Vec<u8>>,
    /// Bytes that the engine got, and may get.
    kept: Option<Kept>,
    delivered: u64,
    allowed: u64,
    /// The server ends its direction, and the engine knows.
    finishes: bool,
    finished: bool,
    /// It is bound: it has no server, but a flow for each remote that it talks to.
    is_bound: bool,
    /// The bound flow of which it is one remote.
    bound: Option<usize>,
    /// Of a listener: the connections that wait.
    clients: VecDeque<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    /// The engine closed it: what it sent is still read.
    Lingering,
    Closed,
}

impl Outside {
    /// The longest piece of a stream that goes to an engine in one packet: the room of a pipe.
    const PIECE_MAX: usize = 64 << 10;

    /// Has a server listen at an address, in the place of the one that was there.
    pub fn listen(&mut self, transport: Transport, at: SocketAddr, server: Server) {
        self.servers.insert((transport, at), server);
    }

    /// The flows that reached the server at an address, in order, those that ended included.
    pub fn flows(&self, transport: Transport, at: SocketAddr) -> impl Iterator<Item = RemoteId> {
        let is_there = move |flow: &Flow| {
            (flow.transport, flow.to) == (transport, at) && flow.stage != Stage::Opening
        };
        let flows = self.flows.iter().enumerate();
        flows.filter(move |(_, flow)| is_there(flow)).map(|(at, _)| RemoteId(at))
    }

    /// All bytes that the server has read.
    #[must_use]
    pub fn received(&self, flow: RemoteId) -> &[u8] {
        &self.flow(flow).received
    }

    /// Whether the engine has ended its direction and the server has read everything before that.
    #[must_use]
    pub fn is_finished(&self, flow: RemoteId) -> bool {
        self.flow(flow).end_read
    }

    /// Whether the flow is over.
    #[must_use]
    pub fn is_closed(&self, flow: RemoteId) -> bool {
        self.flow(flow).stage == Stage::Closed
    }

    /// The server sends bytes, or one datagram.
    pub fn send(&mut self, flow: RemoteId, bytes: &[u8]) {
        self.flow_mut(flow).pending.push_back(bytes.to_vec());
        self.stir(flow.0);
    }

    /// The server ends its direction of a stream when everything was sent.
    pub fn finish(&mut self, flow: RemoteId) {
        self.flow_mut(flow).finishes = true;
        self.stir(flow.0);
    }

    /// The flow fails, now: for a stream its end, for a UDP flow one error of the network.
    pub fn fail(&mut self, flow: RemoteId, error: FlowError) {
        if self.flow(flow).stage != Stage::Open {
            return;
        }
        if self.flow(flow).bound.is_some() {
            return self.report(flow, error);
        }
        if self.flow(flow).transport == Transport::Udp {
            return self.ready.push_back((flow.0, Delivery::Event(FlowEvent::Error(error))));
        }
        self.end(flow.0, error);
    }

    /// The path MTU of a flow changes, now.
    pub fn set_path_mtu(&mut self, flow: RemoteId, mtu: u16) {
        if self.flow(flow).stage == Stage::Open {
            self.ready.push_back((flow.0, Delivery::Event(FlowEvent::PathMtu(mtu))));
        }
    }

    /// Carries out what an engine asks for.
    ///
    /// # Panics
    ///
    /// If it breaks the contract: opens a number twice, lowers its credit.
    pub(crate) fn request(&mut self, node: usize, id: FlowId, request: FlowRequest) {
        let place = self.open.get(&(node, id)).copied();
        match (request, place) {
            (FlowRequest::Open { transport, to, .. }, _) => {
                self.claim(node, id);
                let server = self.server(transport, to);
                self.open.insert((node, id), self.flows.len());
                self.begin(node, id, transport, to, server);
            }
            (FlowRequest::Bind { transport, local, .. }, _) => {
                self.bind(node, id, transport, local)
            }
            (FlowRequest::Listen { local }, _) => self.bind(node, id, Transport::Tcp, local),
            (FlowRequest::Accept { listener }, _) => self.accept(node, id, listener),
            (FlowRequest::Refuse, Some(at)) => {
                if let Some(client) = self.at(at).clients.pop_front() {
                    self.discard(client);
                }
            }
            (FlowRequest::Keep { piece_max }, Some(at)) => {
                let piece_max = usize::try_from(piece_max).unwrap_or(usize::MAX);
                self.at(at).kept = Some(Kept { piece_max, bytes: VecDeque::new(), start: 0 });
            }
            (FlowRequest::Release { until }, Some(at)) => self.release(at, until),
            (FlowRequest::Seek { to, until }, Some(at)) => self.seek(at, to, until),
            // It has failed.
            (_, None) => {}
            (FlowRequest::Credit { until }, Some(at)) => {
                let flow = self.at(at);
                assert!(until >= flow.allowed, "flow {id}: the credit goes back to {until}");
                flow.allowed = until;
                self.stir(at);
            }
            (FlowRequest::Shutdown, Some(at)) => {
                self.at(at).ended = true;
                self.stir(at);
            }
            (FlowRequest::Close, Some(at)) if self.at(at).stage == Stage::Open => {
                let flow = self.at(at);
                (flow.ended, flow.stage) = (true, Stage::Lingering);
                self.forget(at);
                self.stir(at);
            }
            (FlowRequest::Close, Some(at)) => self.close(at),
            (FlowRequest::Reset, Some(at)) => self.close(at),
            (request, Some(_)) => panic!("flow {id}: the simulator does not know {request:?}"),
        }
    }

    /// Takes a packet that an engine sends to a flow; whether there is one.
    ///
    /// # Panics
    ///
    /// If it breaks the contract: bytes past its credit, or after it has ended its direction.
    pub(crate) fn take(&mut self, node: usize, id: FlowId, bytes: &[u8]) -> bool {
        let Some(&at) = self.open.get(&(node, id)) else { return false };
        if self.at(at).is_bound {
            self.take_bound(at, bytes);
            return true;
        }
        let flow = self.at(at);
        assert!(!flow.ended, "flow {id}: bytes after the end");
        flow.taken += count(bytes.len());
        if flow.stage == Stage::Closed {
            // It has failed, and the engine will learn of that.
            flow.discarded += count(bytes.len());
            return true;
        }
        if flow.transport == Transport::Tcp {
            let (taken, credit) = (flow.taken, flow.credit);
            assert!(taken <= credit, "flow {id}: {taken} bytes sent, with a credit of {credit}");
        } else if flow.buffered >= flow.server.buffer {
            flow.discarded += count(bytes.len());
            return true;
        }
        flow.buffered += bytes.len();
        flow.buffer.push_back(bytes.to_vec());
        self.stir(at);
        true
    }

    /// What is for an engine at `now`: which one, of which flow, what.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(usize, FlowId, Delivery)> {
        loop {
            if let Some((at, delivery)) = self.ready.pop_front() {
                let flow = self.at(at);
                let (node, id, owner) = (flow.node, flow.id, flow.bound.unwrap_or(at));
                if self.open.get(&(node, id)) != Some(&owner) {
                    // The engine has ended it in the meantime.
                    continue;
                }
                if matches!(delivery, Delivery::Event(FlowEvent::Failed(_))) {
                    self.forget(at);
                }
                return Some((node, id, delivery));
            }
            let at = self.due.first().filter(|(due, _)| *due <= now)?.1;
            self.due.pop_first();
            self.at(at).due = None;
            self.run(at);
        }
    }

    /// Bytes that the engine had no buffer for: a stream keeps them, a datagram is lost.
    pub(crate) fn give_back(&mut self, node: usize, id: FlowId, bytes: Vec<u8>) {
        let Some(&at) = self.open.get(&(node, id)) else { return };
        if self.at(at).transport != Transport::Tcp {
            return;
        }
        // Those behind them come after them.
        let mut pieces = self.take_back(at);
        pieces.insert(0, bytes);
        let flow = self.at(at);
        for piece in pieces.into_iter().rev() {
            flow.delivered -= count(piece.len());
            if flow.kept.is_none() {
                flow.pending.push_front(piece);
            }
        }
        self.stir(at);
    }

    /// When something is due; [`Instant::MAX`]: never.
    pub(crate) fn due(&self) -> Instant {
        if !self.ready.is_empty() {
            return self.now;
        }
        self.due.first().map_or(Instant::MAX, |&(due, _)| due)
    }

    /// The law of flows: what an engine sent was read, is in a buffer or was discarded.
    pub(crate) fn check(&self) {
        for flow in &self.flows {
            let (read, held) = (count(flow.received.len()), count(flow.buffered));
            assert!(
                flow.taken == read + held + flow.discarded,
                "flow {} lost bytes: {} sent is not {read} read + {held} held + {} discarded",
                flow.id,
                flow.taken,
                flow.discarded,
            );
        }
    }

    fn claim(&mut self, node: usize, id: FlowId) {
        let is_new = self.numbers.insert((node, id));
        assert!(is_new, "flow {id} is opened twice");
    }

    fn server(&self, transport: Transport, to: SocketAddr) -> Server {
        let refuses = Server::fails(FlowError::Refused);
        self.servers.get(&(transport, to)).copied().unwrap_or(refuses)
    }

    /// The engine gives up kept bytes.
    fn release(&mut self, at: usize, until: u64) {
        let flow = self.at(at);
        let id = flow.id;
        let Some(kept) = &mut flow.kept else { panic!("flow {id} releases, and keeps nothing") };
        let known = kept.start..=kept.end();
        assert!(known.contains(&until), "flow {id} releases up to {until} of {known:?}");
        let gone = usize::try_from(until - kept.start).unwrap_or(usize::MAX);
        kept.bytes.drain(..gone);
        kept.start = until;
        flow.delivered = flow.delivered.max(until);
    }

    /// The engine wants kept bytes again.
    fn seek(&mut self, at: usize, to: u64, until: u64) {
        // What is on the way is kept, and comes again in its place.
        self.take_back(at);
        let flow = self.at(at);
        let id = flow.id;
        let Some(kept) = &mut flow.kept else { panic!("flow {id} seeks, and keeps nothing") };
        let known = kept.start..=kept.end();
        assert!(known.contains(&to), "flow {id} seeks {to} of {known:?}");
        (flow.delivered, flow.allowed) = (to, until);
        self.stir(at);
    }

    /// Takes the bytes of a stream that are on the way to an engine, and its end, out of the queue.
    fn take_back(&mut self, at: usize) -> Vec<Vec<u8>> {
        let (mut pieces, mut has_end) = (Vec::new(), false);
        let waiting = core::mem::take(&mut self.ready);
        for (flow, delivery) in waiting {
            match delivery {
                Delivery::Bytes(bytes) if flow == at => pieces.push(bytes),
                Delivery::Event(FlowEvent::Finished) if flow == at => has_end = true,
                delivery => self.ready.push_back((flow, delivery)),
            }
        }
        self.at(at).finished &= !has_end;
        pieces
    }

    fn begin(
        &mut self,
        node: usize,
        id: FlowId,
        transport: Transport,
        to: SocketAddr,
        server: Server,
    ) {
        self.flows.push(Flow {
            node,
            id,
            transport,
            to,
            server,
            stage: Stage::Opening,
            due: None,
            buffer: VecDeque::new(),
            buffered: 0,
            taken: 0,
            credit: 0,
            discarded: 0,
            received: Vec::new(),
            ended: false,
            end_read: false,
            pending: VecDeque::new(),
            kept: None,
            delivered: 0,
            allowed: 0,
            finishes: false,
            finished: false,
            is_bound: false,
            bound: None,
            clients: VecDeque::new(),
        });
        self.stir(self.flows.len() - 1);
    }

    /// Something happened to a flow: it acts a moment later.
    fn stir(&mut self, at: usize) {
        let now = self.now;
        let flow = self.at(at);
        if flow.due.is_none() && flow.stage != Stage::Closed {
            let due = now + flow.server.delay;
            flow.due = Some(due);
            self.due.insert((due, at));
        }
    }

    /// Does what can be done for a flow now.
    fn run(&mut self, at: usize) {
        let (stage, waits) = (self.at(at).stage, self.at(at).is_bound);
        match stage {
            Stage::Opening if waits => {}
            Stage::Opening => self.answer(at),
            Stage::Open => {
                self.read(at);
                self.deliver(at);
            }
            Stage::Lingering => {
                self.read(at);
                if self.at(at).end_read {
                    self.close(at);
                }
            }
            Stage::Closed => {}
        }
    }

    fn answer(&mut self, at: usize) {
        let port = 32768 + self.next_port % 28000;
        self.next_port = self.next_port.wrapping_add(1);
        let flow = self.at(at);
        if let Some(error) = flow.server.fails {
            return self.end(at, error);
        }
        flow.stage = Stage::Open;
        let path_mtu = flow.server.path_mtu;
        let ip: IpAddr = match flow.to {
            SocketAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
            SocketAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        };
        let connected = FlowEvent::Connected { local: (ip, port).into(), path_mtu };
        self.ready.push_back((at, Delivery::Event(connected)));
        self.read(at);
        self.deliver(at);
    }

    /// The server reads, and answers if that is what it does.
    fn read(&mut self, at: usize) {
        let flow = self.at(at);
        let mut room = flow.server.reads;
        while room > 0
            && let Some(mut piece) = flow.buffer.pop_front()
        {
            if let (Transport::Echo, true, [kind, ..]) =
                (flow.transport, flow.server.echo, &mut *piece)
            {
                *kind = if flow.to.is_ipv4() { icmp::v4::ECHO_REPLY } else { icmp::v6::ECHO_REPLY };
            }
            if piece.len() > room && flow.transport == Transport::Tcp {
                flow.buffer.push_front(piece.split_off(room));
            }
            room = room.saturating_sub(piece.len().max(1));
            flow.buffered -= piece.len();
            flow.received.extend_from_slice(&piece);
            if flow.server.echo {
                flow.pending.push_back(piece);
            }
        }
        if flow.buffer.is_empty() && flow.ended {
            flow.end_read = true;
            flow.finishes |= flow.server.echo;
        }
        let is_done = flow.buffer.is_empty();
        let credit = count(flow.received.len() + flow.server.buffer);
        if flow.transport == Transport::Tcp && credit > flow.credit {
            flow.credit = credit;
            self.ready.push_back((at, Delivery::Event(FlowEvent::Credit { until: credit })));
        }
        if !is_done {
            self.stir(at);
        }
    }

    /// Gives the engine what it may have.
    fn deliver(&mut self, at: usize) {
        let flow = self.at(at);
        let (bound, from) = (flow.bound, flow.to);
        let piece_max = flow.kept.as_ref().map_or(Self::PIECE_MAX, |kept| kept.piece_max);
        let mut ready = Vec::new();
        while let Some(kept) = flow.kept.as_ref().filter(|kept| flow.delivered < kept.end()) {
            let room = flow.allowed.saturating_sub(flow.delivered);
            let most = usize::try_from(room).unwrap_or(usize::MAX).min(piece_max);
            if most == 0 {
                break;
            }
            let piece = kept.again(flow.delivered, most);
            flow.delivered += count(piece.len());
            ready.push(Delivery::Bytes(piece));
        }
        let is_at_new = flow.kept.as_ref().is_none_or(|kept| flow.delivered == kept.end());
        while is_at_new && let Some(mut piece) = flow.pending.pop_front() {
            if flow.transport == Transport::Tcp {
                let room = flow.allowed.saturating_sub(flow.delivered);
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                let most = room.min(piece_max);
                if most == 0 && !piece.is_empty() {
                    flow.pending.push_front(piece);
                    break;
                }
                if piece.len() > most {
                    flow.pending.push_front(piece.split_off(most));
                }
            }
            flow.delivered += count(piece.len());
            if let Some(kept) = &mut flow.kept {
                kept.bytes.extend(&piece);
            }
            let piece = if bound.is_some() { addressed(from, &piece) } else { piece };
            ready.push(Delivery::Bytes(piece));
        }
        if flow.finishes && !flow.finished && is_at_new && flow.pending.is_empty() {
            flow.finished = true;
            if flow.transport == Transport::Tcp {
                ready.push(Delivery::Event(FlowEvent::Finished));
            }
        }
        self.ready.extend(ready.into_iter().map(|delivery| (at, delivery)));
    }

    /// Ends a flow by an error: its number is free when the engine learns of it.
    fn end(&mut self, at: usize, error: FlowError) {
        self.discard(at);
        self.ready.push_back((at, Delivery::Event(FlowEvent::Failed(error))));
    }

    /// Ends a flow as the engine wants it.
    fn close(&mut self, at: usize) {
        self.forget(at);
        self.discard(at);
    }

    /// Discards what was not read.
    fn discard(&mut self, at: usize) {
        let flow = self.at(at);
        flow.stage = Stage::Closed;
        flow.discarded += count(flow.buffered);
        flow.buffered = 0;
        flow.buffer.clear();
        flow.pending.clear();
    }

    fn forget(&mut self, at: usize) {
        let flow = self.at(at);
        let key = (flow.node, flow.id);
        if self.open.get(&key) == Some(&at) {
            self.open.remove(&key);
        }
    }

    fn at(&mut self, at: usize) -> &mut Flow {
        self.flows.get_mut(at).expect("flows are never removed")
    }

    fn flow(&self, id: RemoteId) -> &Flow {
        self.flows.get(id.0).expect("an id of this simulation")
    }

    fn flow_mut(&mut self, id: RemoteId) -> &mut Flow {
        self.at(id.0)
    }
}

/// How a delivery stands in the trace.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "{event:?}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests;
