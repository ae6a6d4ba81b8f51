//! TCP connections of clients to the name server.
//!
//! The NAT ends them as it ends all connections of the inside, and opens a flow for each. [`Streams`] is to these
//! flows what the runtime with its sockets is to others: it takes the requests and the bytes, and returns events
//! and bytes.
//!
//! ```text
//! client <-- segments --> Nat <-- requests, events, bytes --> Streams <-- messages --> Forwarder
//! ```

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use adit_engine::{DropReason, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, Request};
use adit_packet::{Instant, PacketBuf};

use crate::dns::forwarder::{Forwarder, MESSAGE_MAX};
use crate::dns::framing::Framing;
use crate::dns::waiting::Client;

/// Connections in all. A further one ends the one that was not used for the longest time.
const STREAMS_MAX: usize = 64;
/// Bytes that a client may send before those it has sent are read: a dozen of queries.
const WINDOW: u64 = 4096;
/// Answers in bytes that the client has not acknowledged. With half of that, no more queries are read; beyond it
/// the connection is reset.
const ANSWERS_MAX: usize = 4 * MESSAGE_MAX;
/// How long answers wait for a buffer.
const RETRY: Duration = Duration::from_millis(1);

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    all: BTreeMap<FlowId, Stream>,
    /// The client whose packet the NAT handles now.
    caller: Option<Client>,
    /// Counts what was received: the order of use.
    clock: u64,
    /// Connections that have ended, whose queries are still to be forgotten.
    ended: Vec<FlowId>,
    /// Answers wait for a buffer until then.
    retry: Option<Instant>,
}

/// One connection.
#[derive(Debug)]
struct Stream {
    client: Client,
    used: u64,
    is_connected: bool,
    framing: Framing,
    /// Bytes that came, and how many the client may send.
    received: u64,
    credit: u64,
    /// Bytes of answers, the first at offset `released`, the next to deliver at `position`.
    answers: VecDeque<u8>,
    released: u64,
    position: u64,
    /// The NAT takes bytes before `until`, at most `piece_max` in a packet.
    until: u64,
    piece_max: usize,
    /// The client sends no more.
    has_finished: bool,
    /// The NAT knows that we send no more.
    is_over: bool,
    is_broken: bool,
}

/// What the NAT must handle of a connection.
#[derive(Debug)]
pub(crate) enum Step {
    Event(FlowEvent),
    Bytes(PacketBuf),
}

impl Streams {
    /// The next packet that the NAT handles is a segment of this client.
    pub(crate) const fn expect(&mut self, client: Client) {
        self.caller = Some(client);
    }

    /// Whether the NAT handles a segment of a client next.
    pub(crate) const fn has_caller(&self) -> bool {
        self.caller.is_some()
    }

    /// Forgets the client of that segment.
    pub(crate) const fn take_caller(&mut self) -> Option<Client> {
        self.caller.take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn owns(&self, flow: FlowId) -> bool {
        self.all.contains_key(&flow)
    }

    pub(crate) const fn next_timeout(&self) -> Option<Instant> {
        self.retry
    }

    /// Takes a request of the NAT; `false`: it is of another flow. `caller` has sent the segment that the NAT
    /// has handled.
    pub(crate) fn request(&mut self, caller: Option<Client>, request: Request) -> bool {
        let Request::Flow(flow, request) = request else { return false };
        if let FlowRequest::Open { to, .. } = request {
            let Some(client) = caller.filter(|client| client.to == to) else { return false };
            self.open(flow, client);
            return true;
        }
        let Some(stream) = self.all.get_mut(&flow) else { return false };
        if matches!(request, FlowRequest::Close | FlowRequest::Reset) {
            self.all.remove(&flow);
            self.ended.push(flow);
        } else {
            stream.request(request);
        }
        true
    }

    fn open(&mut self, flow: FlowId, client: Client) {
        if self.all.len() >= STREAMS_MAX
            && let Some(oldest) = self.all.values_mut().min_by_key(|stream| stream.used)
        {
            oldest.is_broken = true;
        }
        self.clock += 1;
        let client = Client { stream: Some(flow.0), ..client };
        self.all.insert(flow, Stream::new(client, self.clock));
    }

    /// Takes bytes of a client, with the queries in them.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        flow: FlowId,
        packet: PacketBuf,
        forwarder: &mut Forwarder,
        out: &mut Outbox,
    ) {
        let Some(stream) = self.all.get_mut(&flow) else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        self.clock += 1;
        stream.used = self.clock;
        stream.received += count(packet.len());
        let mut bytes = packet.bytes();
        while !bytes.is_empty() && !stream.is_broken {
            let Ok(message) = stream.framing.push(&mut bytes) else {
                stream.is_broken = true;
                break;
            };
            let Some(message) = message else { continue };
            let Some(mut query) = out.make(message.len()) else {
                stream.is_broken = true;
                break;
            };
            // It has room for as much.
            let _ = query.extend(&message);
            if let Some(reply) = forwarder.query(now, stream.client, query, out) {
                stream.answer(reply.bytes());
                out.absorb(reply);
            }
        }
        out.absorb(packet);
    }

    /// Takes an answer for the client of a connection.
    pub(crate) fn answer(&mut self, stream: u64, reply: PacketBuf, out: &mut Outbox) {
        match self.all.get_mut(&FlowId(stream)) {
            Some(stream) => {
                stream.answer(reply.bytes());
                out.absorb(reply);
            }
            None => out.discard(reply, DropReason::NO_DESTINATION),
        }
    }

    /// What the NAT must handle next.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        forwarder: &mut Forwarder,
        out: &mut Outbox,
    ) -> Option<(FlowId, Step)> {
        self.retry = None;
        let mut is_short = false;
        let found = self.all.iter_mut().find_map(|(&flow, stream)| {
            let step = stream.next(forwarder, out, &mut is_short)?;
            Some((flow, step))
        });
        if let Some((flow, Step::Event(FlowEvent::Failed(_)))) = found {
            self.all.remove(&flow);
            self.ended.push(flow);
        }
        self.ended.drain(..).for_each(|flow| forwarder.forget(now, flow.0, out));
        self.retry = is_short.then(|| now + RETRY);
        found
    }
}

impl Stream {
    const fn new(client: Client, used: u64) -> Self {
        Self {
            client,
            used,
            is_connected: false,
            framing: Framing::new(Forwarder::QUERY_MAX),
            received: 0,
            credit: 0,
            answers: VecDeque::new(),
            released: 0,
            position: 0,
            until: 0,
            piece_max: usize::MAX,
            has_finished: false,
            is_over: false,
            is_broken: false,
        }
    }

    fn request(&mut self, request: FlowRequest) {
        match request {
            FlowRequest::Keep { piece_max } => {
                self.piece_max = usize::try_from(piece_max).unwrap_or(usize::MAX).max(1);
            }
            FlowRequest::Release { until } => {
                let gone = usize::try_from(until.saturating_sub(self.released)).unwrap_or(0);
                self.answers.drain(..gone.min(self.answers.len()));
                self.released = self.released.max(until);
                self.position = self.position.max(until);
            }
            FlowRequest::Credit { until } => self.until = self.until.max(until),
            FlowRequest::Seek { to, until } => {
                (self.position, self.until) = (to.max(self.released), until);
            }
            FlowRequest::Shutdown => self.has_finished = true,
            _ => {}
        }
    }

    fn answer(&mut self, message: &[u8]) {
        let Ok(len) = u16::try_from(message.len()) else { return };
        if self.answers.len() + message.len() > ANSWERS_MAX {
            self.is_broken = true;
            return;
        }
        self.answers.extend(len.to_be_bytes());
        self.answers.extend(message);
    }

    /// Where the answers end.
    fn end(&self) -> u64 {
        self.released + count(self.answers.len())
    }

    fn next(
        &mut self,
        forwarder: &Forwarder,
        out: &mut Outbox,
        is_short: &mut bool,
    ) -> Option<Step> {
        if self.is_broken {
            return Some(Step::Event(FlowEvent::Failed(FlowError::Reset)));
        }
        if !self.is_connected {
            self.is_connected = true;
            let connected = FlowEvent::Connected { local: self.client.to, path_mtu: 0 };
            return Some(Step::Event(connected));
        }
        let until = self.received + WINDOW;
        if self.answers.len() < ANSWERS_MAX / 2 && until >= self.credit + WINDOW / 2 {
            self.credit = until;
            return Some(Step::Event(FlowEvent::Credit { until }));
        }
        if self.position < self.until.min(self.end()) {
            let packet = self.piece(out);
            *is_short |= packet.is_none();
            return packet.map(Step::Bytes);
        }
        let is_over = self.has_finished && !forwarder.waits_for(&self.client);
        if is_over && !self.is_over && self.position == self.end() {
            self.is_over = true;
            return Some(Step::Event(FlowEvent::Finished));
        }
        None
    }

    /// The next bytes of the answers; `None` without a buffer for them.
    fn piece(&mut self, out: &mut Outbox) -> Option<PacketBuf> {
        let start = usize::try_from(self.position - self.released).ok()?;
        let len = self.until.min(self.end()) - self.position;
        let len = usize::try_from(len).ok()?.min(self.piece_max);
        let mut packet = out.make(len)?;
        let (first, second) = self.answers.as_slices();
        let rest = start.saturating_sub(first.len());
        for part in [first.get(start..), second.get(rest..)].into_iter().flatten() {
            let left = len - packet.len();
            // It has room for as much.
            let _ = packet.extend(part.get(..left).unwrap_or(part));
        }
        self.position += count(len);
        Some(packet)
    }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
