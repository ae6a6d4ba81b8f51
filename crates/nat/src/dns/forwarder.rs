//! The forwarder: own names are answered, all other queries go to the name servers of the host.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use adit_engine::{
    DropReason, Endpoint, FlowEvent, FlowId, FlowRequest, Outbox, Request, Transport, datagrams,
};
use adit_packet::{Instant, NoRoom, PacketBuf};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::dns::framing::Framing;
use crate::dns::message::{self, Code, Fault, Header, Known, QUERY_MAX, Query};
use crate::dns::names::OwnNames;
use crate::dns::waiting::{Attempt, Client, Waiting, flow_of, of_flow};

/// Queries that wait, in all and of one source: a query takes two sockets at most.
const QUERIES_MAX: usize = 512;
const QUERIES_PER_SOURCE: usize = 128;
/// After that time without an answer the next name server is asked too.
const RETRY: Duration = Duration::from_millis(750);
/// How often name servers are asked for one query, and how many of these attempts wait at a time.
const ATTEMPTS_MAX: usize = 6;
const OPEN_MAX: usize = 2;
/// After that time the client hears of the failure: before it asks again (resolv.conf(5): 5 s).
const PATIENCE: Duration = Duration::from_millis(4500);
/// How long a name server that did not answer is asked last.
const SILENT: Duration = Duration::from_secs(10);
/// Name servers that are used, and those remembered as silent.
const SERVERS_MAX: usize = 8;
/// The longest message, and a reply of our own.
pub(super) const MESSAGE_MAX: usize = 65_535;
const REPLY_MAX: usize = 1024;

/// A forwarder of DNS without I/O: see the [module](super).
#[derive(Debug)]
pub struct Forwarder {
    names: OwnNames,
    servers: Vec<SocketAddr>,
    /// Name servers that did not answer, and since when.
    silent: Vec<(SocketAddr, Instant)>,
    waiting: BTreeMap<u32, Waiting>,
    /// The number of the last query.
    last: u32,
    /// Flows that could not be closed yet: too many requests waited.
    closing: Vec<FlowId>,
    random: ChaCha8Rng,
    /// Not later than the first thing that is due.
    next: Option<Instant>,
}

impl Forwarder {
    /// The longest query in bytes, for the [`Framing`] of a client's TCP connection.
    pub const QUERY_MAX: usize = QUERY_MAX;

    /// A forwarder without name servers. `seed` is from the system's randomness: ids that can be guessed let
    /// others forge answers.
    #[must_use]
    pub fn new(names: OwnNames, seed: [u8; 32]) -> Self {
        Self {
            names,
            servers: Vec::new(),
            silent: Vec::new(),
            waiting: BTreeMap::new(),
            last: 0,
            closing: Vec::new(),
            random: ChaCha8Rng::from_seed(seed),
            next: None,
        }
    }

    /// Replaces the name servers, at most eight, in the order in which they are asked. Queries that wait may
    /// still be answered by the former ones.
    pub fn set_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        self.servers = servers.into_iter().take(SERVERS_MAX).collect();
        self.silent.clear();
    }

    /// The name servers.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Replaces the names of our own.
    pub fn set_names(&mut self, names: OwnNames) {
        self.names = names;
    }

    /// How many queries wait for name servers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a query of this client waits.
    pub(super) fn waits_for(&self, client: &Client) -> bool {
        self.waiting.values().any(|waiting| waiting.client == *client)
    }

    /// Whether a flow is one of the forwarder. Its numbers have the first bit set.
    #[must_use]
    pub fn owns(flow: FlowId) -> bool {
        of_flow(flow).is_some()
    }

    /// Takes a query: one datagram, or one message of a TCP connection without its length. Returns the reply to
    /// its client if that is known at once.
    pub fn query(
        &mut self,
        now: Instant,
        client: Client,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let mut reply = None;
        match self.read(now, client, packet.bytes(), &mut reply, out) {
            Ok(()) => out.absorb(packet),
            Err(why) => out.discard(packet, why),
        }
        reply
    }

    fn read(
        &mut self,
        now: Instant,
        client: Client,
        bytes: &[u8],
        reply: &mut Option<PacketBuf>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        if bytes.len() > QUERY_MAX {
            return Err(DropReason::TOO_BIG);
        }
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(Fault::Ignored) => return Err(DropReason::MALFORMED),
            Err(Fault::Answered(header, code)) => {
                *reply = Some(refusal(&header, code, &[], out)?);
                return Ok(());
            }
        };
        if let Some(known) = self.names.find(&query) {
            *reply = Some(answer(&query, known, out)?);
            return Ok(());
        }
        if self.servers.is_empty() {
            *reply = Some(refusal(&query.header, Code::ServerFailure, query.question, out)?);
            return Ok(());
        }
        let mut of_source =
            self.waiting.values().filter(|one| one.client.from.ip() == client.from.ip());
        if of_source.clone().any(|one| one.is_same(&client, bytes)) {
            return Err(DropReason::DNS_DUPLICATE);
        }
        let is_full = self.waiting.len() >= QUERIES_MAX;
        if is_full || of_source.nth(QUERIES_PER_SOURCE - 1).is_some() {
            return Err(DropReason::DNS_LIMIT);
        }
        let waiting = Waiting {
            client,
            message: bytes.to_vec(),
            question_len: query.question.len(),
            attempts: Vec::new(),
            next: now,
            end: now + PATIENCE,
        };
        self.last = self.last.wrapping_add(1);
        self.waiting.insert(self.last, waiting);
        self.ask(now, self.last, out);
        Ok(())
    }

    /// Asks the next name server. Without room for the request, the attempt fails as if nobody answered.
    fn ask(&mut self, now: Instant, number: u32, out: &mut Outbox) {
        let silent = &self.silent;
        let is_silent = |server: &SocketAddr| {
            silent.iter().any(|&(one, since)| one == *server && now.since(since) < SILENT)
        };
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        waiting.next = waiting.end.min(now + RETRY);
        self.next = Some(self.next.map_or(waiting.next, |next| next.min(waiting.next)));
        let Some(server) = waiting.next_server(&self.servers, is_silent) else { return };
        let at = waiting.attempts.len();
        if at >= ATTEMPTS_MAX || now >= waiting.end {
            waiting.next = waiting.end;
            return;
        }
        if let Some(at) = at.checked_sub(OPEN_MAX)
            && let Some(oldest) = waiting.attempts.get_mut(at)
        {
            close(flow_of(number, at), oldest, &mut self.closing, out);
        }
        let (flow, transport) = (flow_of(number, at), waiting.client.transport());
        let id = u16::try_from(self.random.next_u32() & 0xffff).unwrap_or_default();
        let open =
            Request::Flow(flow, FlowRequest::Open { transport, to: server, port: 0, hop_limit: 0 });
        let is_open = out.request(open).is_ok();
        let mut attempt =
            Attempt { server, id, is_open, framing: Framing::new(MESSAGE_MAX), is_sent: false };
        if is_open && transport == Transport::Udp {
            send(flow, &waiting.message, &mut attempt, transport, out);
        }
        waiting.attempts.push(attempt);
    }

    /// Takes a packet of a flow that the forwarder [owns](Self::owns). Returns the answer to the query, with
    /// the id of its client, and headroom for headers before it.
    pub fn handle(
        &mut self,
        now: Instant,
        flow: FlowId,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<(Client, PacketBuf)> {
        let found = self.take(flow, &packet).map(|found| {
            let (number, at, answer) = found?;
            let client = self.answered(now, number, at, &answer, out)?;
            Some((client, answer))
        });
        match found {
            Ok(Some(((client, id), answer))) => {
                let headroom = packet.headroom();
                packet.reset(headroom);
                // A long answer over TCP came in several packets.
                if packet.tailroom() < answer.len() {
                    let longer = out.make(answer.len());
                    let short = longer.map(|longer| core::mem::replace(&mut packet, longer));
                    short.into_iter().for_each(|short| out.absorb(short));
                }
                if packet.extend(&answer).is_err() {
                    out.discard(packet, DropReason::NO_BUFFER);
                    return None;
                }
                let id = id.to_be_bytes();
                packet.bytes_mut().iter_mut().zip(id).for_each(|(to, byte)| *to = byte);
                return Some((client, packet));
            }
            Ok(None) => out.absorb(packet),
            Err(why) => out.discard(packet, why),
        }
        None
    }

    /// The answer in a packet, if it is one and complete.
    fn take(
        &mut self,
        flow: FlowId,
        packet: &PacketBuf,
    ) -> Result<Option<(u32, usize, Vec<u8>)>, DropReason> {
        let (number, at) = of_flow(flow).ok_or(DropReason::DNS_UNWANTED)?;
        let waiting = self.waiting.get_mut(&number).ok_or(DropReason::DNS_UNWANTED)?;
        let attempt = waiting.attempts.get_mut(at).filter(|attempt| attempt.is_open);
        let attempt = attempt.ok_or(DropReason::DNS_UNWANTED)?;
        let mut found = None;
        if waiting.client.stream.is_some() {
            let mut bytes = packet.bytes();
            while !bytes.is_empty() && found.is_none() {
                found = attempt.framing.push(&mut bytes).map_err(|_| DropReason::DNS_UNWANTED)?;
            }
            if found.is_none() {
                return Ok(None);
            }
        }
        let attempt = waiting.attempts.get(at).ok_or(DropReason::DNS_UNWANTED)?;
        let is_answer = |bytes: &&[u8]| waiting.is_answered_by(attempt, bytes);
        let found = match &found {
            Some(message) => Some(message.as_slice()).filter(is_answer),
            None => datagrams(packet).find(is_answer),
        };
        let answer = found.ok_or(DropReason::DNS_UNWANTED)?;
        Ok(Some((number, at, answer.to_vec())))
    }

    /// A name server has answered. Returns the client and the id of its query, unless another name server is
    /// asked since this one failed.
    fn answered(
        &mut self,
        now: Instant,
        number: u32,
        at: usize,
        answer: &[u8],
        out: &mut Outbox,
    ) -> Option<(Client, u16)> {
        let waiting = self.waiting.get_mut(&number)?;
        let server = waiting.attempts.get(at)?.server;
        self.silent.retain(|(one, _)| *one != server);
        let is_asked =
            |one: &SocketAddr| waiting.attempts.iter().any(|attempt| attempt.server == *one);
        let has_others = self.servers.iter().any(|one| !is_asked(one));
        if has_others && Header::parse(answer)?.is_failure() {
            close(flow_of(number, at), waiting.attempts.get_mut(at)?, &mut self.closing, out);
            self.ask(now, number, out);
            return None;
        }
        let ended = self.end(now, number, out)?;
        Some((ended.client, ended.header()?.id))
    }

    /// Takes an event of a flow that the forwarder [owns](Self::owns).
    pub fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        let Some((number, at)) = of_flow(flow) else { return };
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        let Some(attempt) = waiting.attempts.get_mut(at).filter(|attempt| attempt.is_open) else {
            return;
        };
        let is_tcp = waiting.client.stream.is_some();
        match event {
            FlowEvent::Connected { .. } if is_tcp => {
                let until = u64::try_from(MESSAGE_MAX + 2).unwrap_or(u64::MAX);
                // Without room for it the attempt runs into its timeout.
                let _ = out.request(Request::Flow(flow, FlowRequest::Credit { until }));
            }
            FlowEvent::Credit { until }
                if is_tcp
                    && !attempt.is_sent
                    && usize::try_from(until)
                        .is_ok_and(|room| room >= waiting.message.len() + 2) =>
            {
                send(flow, &waiting.message, attempt, Transport::Tcp, out);
            }
            FlowEvent::Finished | FlowEvent::Error(_) => {
                close(flow, attempt, &mut self.closing, out);
                self.failed(now, number, at, out);
            }
            FlowEvent::Failed(_) => {
                attempt.is_open = false;
                self.failed(now, number, at, out);
            }
            _ => {}
        }
    }

    /// A name server cannot answer: the next one is asked at once, those that were asked before only when that
    /// is due.
    fn failed(&mut self, now: Instant, number: u32, at: usize, out: &mut Outbox) {
        let Some(waiting) = self.waiting.get(&number) else { return };
        let Some(server) = waiting.attempts.get(at).map(|attempt| attempt.server) else { return };
        let is_last = at + 1 == waiting.attempts.len();
        let has_others = waiting.attempts.len() < self.servers.len();
        self.is_silent_since(now, server);
        if is_last && has_others {
            self.ask(now, number, out);
        }
    }

    fn is_silent_since(&mut self, now: Instant, server: SocketAddr) {
        self.silent.retain(|&(one, since)| one != server && now.since(since) < SILENT);
        if self.silent.len() < SERVERS_MAX {
            self.silent.push((server, now));
        }
    }

    /// When [`Self::handle_timeout`] must be called.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Does what is due. Returns the replies to clients whose queries nobody answered.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) -> Vec<(Client, PacketBuf)> {
        let mut failed = Vec::new();
        let close = |flow: &FlowId| out.request(Request::Flow(*flow, FlowRequest::Close)).is_err();
        self.closing.retain(close);
        let due = self.waiting.iter().filter(|(_, waiting)| waiting.next <= now);
        for number in due.map(|(&number, _)| number).collect::<Vec<_>>() {
            let Some(waiting) = self.waiting.get(&number) else { continue };
            let ends = waiting.end <= now;
            if let Some(server) = waiting.attempts.last().map(|attempt| attempt.server) {
                self.is_silent_since(now, server);
            }
            if !ends {
                self.ask(now, number, out);
                continue;
            }
            let Some(ended) = self.end(now, number, out) else { continue };
            let Some(header) = ended.header() else { continue };
            // Without a buffer for it, the client runs into its own timeout.
            let reply = refusal(&header, Code::ServerFailure, ended.question(), out);
            failed.extend(reply.ok().map(|reply| (ended.client, reply)));
        }
        let closing = (!self.closing.is_empty()).then_some(now);
        self.next = self.waiting.values().map(|waiting| waiting.next).chain(closing).min();
        failed
    }

    /// A client's TCP connection has ended: its queries are not answered.
    pub fn forget(&mut self, now: Instant, stream: u64, out: &mut Outbox) {
        let is_its = |waiting: &Waiting| waiting.client.stream == Some(stream);
        let its = self.waiting.iter().filter(|(_, waiting)| is_its(waiting));
        for number in its.map(|(&number, _)| number).collect::<Vec<_>>() {
            self.end(now, number, out);
        }
    }

    fn end(&mut self, now: Instant, number: u32, out: &mut Outbox) -> Option<Waiting> {
        let mut waiting = self.waiting.remove(&number)?;
        for (at, attempt) in waiting.attempts.iter_mut().enumerate() {
            close(flow_of(number, at), attempt, &mut self.closing, out);
        }
        if !self.closing.is_empty() {
            self.next = Some(now);
        }
        Some(waiting)
    }
}

/// Ends the flow of an attempt, or notes that this must be done later.
fn close(flow: FlowId, attempt: &mut Attempt, closing: &mut Vec<FlowId>, out: &mut Outbox) {
    if core::mem::take(&mut attempt.is_open)
        && out.request(Request::Flow(flow, FlowRequest::Close)).is_err()
    {
        closing.push(flow);
    }
}

/// Sends the query to a name server, under the id of the attempt. Without a buffer, the attempt runs into its
/// timeout.
fn send(
    flow: FlowId,
    waiting: &[u8],
    attempt: &mut Attempt,
    transport: Transport,
    out: &mut Outbox,
) {
    let Some(mut packet) = out.make(waiting.len() + 2) else { return };
    let len = u16::try_from(waiting.len()).unwrap_or_default().to_be_bytes();
    let prefix = if transport == Transport::Tcp { &len[..] } else { &[] };
    let body = waiting.get(2..).unwrap_or_default();
    let pieces = [prefix, &attempt.id.to_be_bytes(), body];
    if pieces.into_iter().try_for_each(|piece| packet.extend(piece)).is_err() {
        return out.discard(packet, DropReason::NO_BUFFER);
    }
    attempt.is_sent = true;
    out.send(Endpoint::Flow(flow), packet);
}

fn answer(query: &Query<'_>, known: Known<'_>, out: &mut Outbox) -> Result<PacketBuf, DropReason> {
    make(out, |packet| message::answer(query, known, packet))
}

fn refusal(
    query: &Header,
    code: Code,
    question: &[u8],
    out: &mut Outbox,
) -> Result<PacketBuf, DropReason> {
    make(out, |packet| message::refuse(query, code, question, packet))
}

fn make(
    out: &mut Outbox,
    write: impl FnOnce(&mut PacketBuf) -> Result<(), NoRoom>,
) -> Result<PacketBuf, DropReason> {
    let mut packet = out.make(REPLY_MAX).ok_or(DropReason::NO_BUFFER)?;
    match write(&mut packet) {
        Ok(()) => Ok(packet),
        Err(NoRoom) => {
            out.absorb(packet);
            Err(DropReason::NO_BUFFER)
        }
    }
}
