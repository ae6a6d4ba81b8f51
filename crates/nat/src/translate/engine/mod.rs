//! The engine: packets of the inside to flows, and back.

mod echo;
mod publish;
mod tcp;
mod udp;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use adit_packet::{Headers, Instant, IpVersion, Ipv4, PacketBuf, checksum, icmp, ip_protocol};

use super::config::{Config, timeout};
use super::echo::Echo;
use super::fragments::{self, Reassembler};
use super::hash::SipKey;
use super::limiter::{Limiter, PerSource, SourceRates};
use super::news::{FlowChange, FlowNews, News};
use super::policy::{Policy, Verdict};
use super::publish::Published;
use super::report::FlowRow;
use super::table::{Class, Table};
use super::tcp::Conn;
use super::udp::Mapping;
use super::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::flow::{FlowEvent, FlowId, FlowRequest, Request, Transport};
use adit_engine::{Endpoint, PortId};
use adit_engine::{Engine, Handled};

/// How long what found no buffer or room waits.
const RETRY: Duration = Duration::from_millis(1);

/// A NAT: hosts inside reach the outside through sockets of this host.
#[derive(Debug)]
pub struct Nat {
    config: Config,
    secret: SipKey,
    table: Table<Entry>,
    /// When connections must be looked at.
    timers: BTreeSet<(Instant, FlowId)>,
    /// Flows with something due at the end of the turn, and when that is.
    due: Vec<FlowId>,
    due_at: Instant,
    /// Flows that found no room to say that they end.
    ending: Vec<Request>,
    reassembler: Reassembler,
    /// What reordered bytes of all connections may still take.
    reorder_budget: usize,
    errors: Limiter,
    new_flows: PerSource,
    rates: SourceRates,
    counter: u64,
    /// When connections may be handed over to the runtime.
    splice_after: Instant,
    /// By flow.
    published: BTreeMap<FlowId, Published>,
    /// For a log of flows, if there is one.
    news: Option<News>,
}

/// A flow of the table.
#[derive(Debug)]
enum Entry {
    Tcp(Box<TcpEntry>),
    Udp(Box<Mapping>),
    Echo(Box<Echo>),
    /// It waits for connections: what for is in [`Nat::published`].
    Listener,
}

#[derive(Debug)]
struct TcpEntry {
    conn: Conn,
    /// Its place among the timers.
    timer: Option<Instant>,
    /// Whether it is in the list of those that have something due.
    is_listed: bool,
    /// Bytes that the runtime has moved, from the inside and to it.
    spliced: Option<(u64, u64)>,
}

/// A packet of the inside, parsed.
struct Inside<'a> {
    now: Instant,
    port: PortId,
    headers: &'a Headers,
    from: IpAddr,
    to: IpAddr,
    /// It came in fragments, or the network may make some of it.
    may_fragment: bool,
    /// The hop limit with which a router passes it on.
    hop_limit: u8,
}

impl Nat {
    /// A NAT without flows.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let secret = SipKey::new(config.secret);
        let limits = config.limits;
        Self {
            secret,
            table: Table::new(limits.flows, limits.flows_per_source, secret),
            timers: BTreeSet::new(),
            due: Vec::new(),
            due_at: Instant::ZERO,
            ending: Vec::new(),
            reassembler: Reassembler::new(limits.fragment_bytes),
            reorder_budget: limits.reorder_bytes,
            errors: Limiter::new(limits.errors_per_second),
            new_flows: PerSource::new(limits.new_flows_per_second),
            rates: SourceRates::new(limits.source_rate),
            counter: 0,
            splice_after: Instant::ZERO,
            published: BTreeMap::new(),
            news: None,
            config,
        }
    }

    /// Whether an inside address may send so many bytes now ([`Limits::source_rate`](super::Limits::source_rate)).
    pub(crate) fn may_send(&mut self, source: IpAddr, len: usize, now: Instant) -> bool {
        self.rates.pass_from(source, len, now)
    }

    /// Whether an inside address may be sent so many bytes now.
    pub(crate) fn may_receive(&mut self, source: IpAddr, len: usize, now: Instant) -> bool {
        self.rates.pass_to(source, len, now)
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Serves these inside addresses and ports: see [`Config::served`].
    pub(crate) fn serve(&mut self, served: Vec<SocketAddr>) {
        self.config.served = served;
    }

    /// Decides by another policy about flows that begin from now on, and about the next datagram to each remote
    /// address that it denies. Connections go on.
    pub fn set_policy(&mut self, policy: Policy) {
        for entry in self.table.entries_mut() {
            let remotes = match entry {
                Entry::Udp(mapping) => mapping.remotes(),
                Entry::Echo(echo) => echo.remotes(),
                Entry::Tcp(_) | Entry::Listener => continue,
            };
            remotes.retain(|seen| policy.verdict(seen) != Verdict::Denied);
        }
        self.config.policy = policy;
    }

    /// Lets the runtime take connections, or no more of them ([`Config::splice`]).
    pub const fn set_splice(&mut self, on: bool) {
        self.config.splice = on;
    }

    /// The runtime has moved these bytes of a spliced flow so far.
    pub fn set_moved(&mut self, flow: FlowId, sent: u64, received: u64) {
        if let Some(Entry::Tcp(tcp)) = self.table.get_mut(flow) {
            tcp.spliced = Some((sent, received));
        }
    }

    /// How many flows there are: as many as [`Self::flows`] lists.
    #[must_use]
    pub fn flow_count(&self) -> usize {
        let is_listener = |one: &&FlowId| matches!(self.table.get(**one), Some(Entry::Listener));
        self.table.len() - self.published.keys().filter(is_listener).count()
    }

    /// The flows, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = FlowRow> + '_ {
        self.table.iter().filter_map(|(flow, entry)| self.row(flow, entry))
    }

    fn row(&self, flow: FlowId, entry: &Entry) -> Option<FlowRow> {
        let used = self.table.used(flow).unwrap_or(Instant::ZERO);
        match entry {
            Entry::Tcp(tcp) => {
                let mut row = FlowRow::tcp(flow, &tcp.conn, used);
                let moved = tcp.spliced.unwrap_or((row.sent_bytes, row.received_bytes));
                (row.sent_bytes, row.received_bytes) = moved;
                Some(row)
            }
            Entry::Udp(mapping) => Some(FlowRow::udp(flow, mapping, used)),
            Entry::Echo(echo) => Some(FlowRow::echo(flow, echo, used)),
            Entry::Listener => None,
        }
    }

    /// Keeps news of flows from now on, for [`Self::poll_news`]: a bounded number until they are taken.
    pub fn keep_news(&mut self) {
        self.news.get_or_insert_with(News::new);
    }

    /// The next news of flows.
    pub fn poll_news(&mut self) -> Option<FlowNews> {
        self.news.as_mut()?.poll()
    }

    /// How many news were lost, because they came too fast.
    #[must_use]
    pub fn news_lost(&self) -> u64 {
        self.news.as_ref().map_or(0, News::lost)
    }

    /// A flow is in the table, or leaves it.
    fn note(&mut self, flow: FlowId, change: FlowChange) {
        if self.news.is_none() {
            return;
        }
        let row = self.table.get(flow).and_then(|entry| self.row(flow, entry));
        if let (Some(row), Some(all)) = (row, &mut self.news) {
            all.add(FlowNews::of(change, &row));
        }
    }

    fn note_denied(&mut self, inside: &Inside<'_>, to: SocketAddr, packet: &PacketBuf) {
        let Some(news) = &mut self.news else { return };
        let transport = match inside.headers.protocol() {
            Some(ip_protocol::TCP) => Transport::Tcp,
            Some(ip_protocol::UDP) => Transport::Udp,
            _ => Transport::Echo,
        };
        let (port, _) = inside.headers.ports(packet.bytes()).unwrap_or_default();
        let from = SocketAddr::new(inside.from, port);
        news.deny(inside.now, FlowNews::denied(transport, from, to));
    }

    fn handle_inside(&mut self, now: Instant, port: PortId, packet: PacketBuf, out: &mut Outbox) {
        let bytes = packet.bytes();
        let Ok(headers) = Headers::parse_packet(bytes) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let has_valid_head = headers.version() != Some(IpVersion::V4)
            || Ipv4::parse(bytes).is_ok_and(|head| head.has_valid_checksum());
        let Some((from, to)) = headers.addresses(bytes).filter(|_| has_valid_head) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        // Each system sends some on a link of its own: MLD, router solicitations.
        if is_group(to) {
            return out.discard(packet, DropReason::MULTICAST);
        }
        if !self.config.is_inside(from) {
            return out.discard(packet, DropReason::FORGED_SOURCE);
        }
        if !self.may_send(from, packet.len(), now) {
            return out.discard(packet, DropReason::SOURCE_RATE);
        }
        let may_fragment = Ipv4::parse(bytes).is_ok_and(|head| !head.dont_fragment());
        let hops = hops(bytes);
        let hop_limit = hops.saturating_sub(1).max(1);
        let inside = Inside { now, port, headers: &headers, from, to, may_fragment, hop_limit };
        if hops <= 1 && self.config.gateway(to) != Some(to) {
            // Of a datagram in fragments, the first one is answered (RFC 1122, 3.2.2).
            if headers.fragment().is_none_or(|fragment| fragment.offset == 0) {
                self.error(&inside, wire::Error::time_exceeded(to.is_ipv4()), &packet, out);
            }
            return out.discard(packet, DropReason::HOP_LIMIT);
        }
        if headers.fragment().is_some() {
            self.fragment(&inside, packet, out);
        } else {
            self.whole(&inside, packet, out);
        }
    }

    fn fragment(&mut self, inside: &Inside<'_>, packet: PacketBuf, out: &mut Outbox) {
        if !fragments::is_translated(inside.headers.protocol().unwrap_or(0)) {
            return out.discard(packet, DropReason::NOT_TRANSLATED);
        }
        let whole = self.reassembler.take(inside.now, inside.headers, packet, out);
        let Some(whole) = whole else { return };
        match Headers::parse_packet(whole.bytes()) {
            Ok(headers) if headers.fragment().is_none() => {
                let inside = Inside { headers: &headers, may_fragment: true, ..*inside };
                self.whole(&inside, whole, out);
            }
            _ => out.discard(whole, DropReason::MALFORMED),
        }
    }

    fn whole(&mut self, inside: &Inside<'_>, packet: PacketBuf, out: &mut Outbox) {
        let protocol = inside.headers.protocol().unwrap_or(0);
        if self.config.without.contains(&protocol) {
            return out.discard(packet, DropReason::NOT_TRANSLATED);
        }
        if !is_sound(&packet, inside.headers, protocol) {
            return out.discard(packet, DropReason::MALFORMED);
        }
        match protocol {
            ip_protocol::TCP => self.tcp_from_inside(inside, packet, out),
            ip_protocol::UDP => self.udp_from_inside(inside, packet, out),
            ip_protocol::ICMP if inside.from.is_ipv4() => {
                self.icmp_from_inside(inside, packet, out)
            }
            ip_protocol::ICMP6 if inside.from.is_ipv6() => {
                self.icmp_from_inside(inside, packet, out);
            }
            _ => out.discard(packet, DropReason::NOT_TRANSLATED),
        }
    }

    /// Where a new flow of the inside goes. A destination that is denied is answered, and `None`.
    fn destination(
        &mut self,
        inside: &Inside<'_>,
        port: u16,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) -> Option<SocketAddr> {
        let is_v4 = inside.to.is_ipv4();
        let to = SocketAddr::new(inside.to, port);
        let why = match self.config.policy.verdict(to) {
            Verdict::Reached(at) if self.is_outside(inside, at.ip()) => {
                return Some(at);
            }
            Verdict::Reached(_) if self.config.gateway(inside.to) == Some(inside.to) => {
                wire::Error::port_unreachable(is_v4)
            }
            Verdict::Reached(_) => wire::Error::host_unreachable(is_v4),
            Verdict::Denied => {
                self.note_denied(inside, to, packet);
                wire::Error::prohibited(is_v4)
            }
        };
        self.error(inside, why, packet, out);
        None
    }

    /// Whether a destination is reached by a socket. A redirect leads outside, also to an address of the host that
    /// the inside has as well.
    fn is_outside(&self, inside: &Inside<'_>, at: IpAddr) -> bool {
        let is_neighbour = self.config.has_neighbours && at != inside.from;
        at != inside.to || is_neighbour || !self.config.is_inside(at)
    }

    /// Answers a packet of the inside with an ICMP error, if the limit allows.
    fn error(
        &mut self,
        inside: &Inside<'_>,
        error: wire::Error,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) {
        let Some(gateway) = self.config.gateway(inside.to) else { return };
        if self.errors.pass(inside.now) {
            let answer = error.packet(gateway, inside.from, packet.bytes(), out);
            answer.into_iter().for_each(|answer| out.send(Endpoint::Port(inside.port), answer));
        }
    }

    /// Passes an error that a datagram of the inside met on, about the packet that begins with `quoted`.
    fn pass_error(
        &mut self,
        now: Instant,
        port: PortId,
        inside: IpAddr,
        event: FlowEvent,
        quoted: &[u8],
        out: &mut Outbox,
    ) {
        let FlowEvent::Icmp { from, kind, code, mtu, .. } = event else { return };
        let from = from.filter(|ip| ip.is_ipv4() == inside.is_ipv4());
        let from = from.or_else(|| self.config.gateway(inside));
        let Some(from) = from.filter(|_| self.errors.pass(now)) else { return };
        let is_too_big = match inside {
            IpAddr::V4(_) => (kind, code) == (icmp::v4::UNREACHABLE, icmp::v4::CODE_TOO_BIG),
            IpAddr::V6(_) => kind == icmp::v6::TOO_BIG,
        };
        let error = if is_too_big {
            wire::Error::too_big(inside.is_ipv4(), mtu)
        } else {
            wire::Error { kind, code, rest: [0; 4] }
        };
        if let Some(packet) = error.packet(from, inside, quoted, out) {
            out.send(Endpoint::Port(port), packet);
        }
    }

    /// Whether a source may begin a flow now, for which there is room then.
    fn admit(&mut self, source: IpAddr, now: Instant, out: &mut Outbox) -> bool {
        self.new_flows.pass(source, now) && self.make_room(Some(source), now, out)
    }

    /// Makes room for another flow of a source: the flow that is least missed goes, one of its own if the
    /// source has as many as it may have. `false`: there is none.
    fn make_room(&mut self, source: Option<IpAddr>, now: Instant, out: &mut Outbox) -> bool {
        let is_source_full = source.is_some_and(|source| self.table.is_source_full(source));
        if !is_source_full && !self.table.is_full() {
            return true;
        }
        // What opens before what talks: a flood of SYNs ends none of the connections that are open.
        let order = [Class::TcpOpening, Class::Echo, Class::Dns, Class::Udp];
        let oldest = order.into_iter().find_map(|class| self.table.oldest(class));
        let may_go = |flow| !is_source_full || self.table.source(flow) == source;
        let Some((flow, _)) = oldest.filter(|&(flow, _)| may_go(flow)) else { return false };
        self.end(flow, now, out);
        true
    }

    /// Ends a flow as if its time were over.
    fn end(&mut self, flow: FlowId, now: Instant, out: &mut Outbox) {
        if matches!(self.table.get(flow), Some(Entry::Tcp(_))) {
            self.abort(flow, now, out);
        }
        self.remove(flow, Some(FlowRequest::Reset), out);
    }

    /// Takes a flow out of the table; the runtime ends it so.
    fn remove(&mut self, flow: FlowId, end: Option<FlowRequest>, out: &mut Outbox) {
        self.note(flow, FlowChange::Closed);
        match self.table.remove(flow) {
            Some(Entry::Tcp(mut tcp)) => {
                tcp.conn.clear(&mut self.reorder_budget);
                if let Some(at) = tcp.timer {
                    self.timers.remove(&(at, flow));
                }
            }
            Some(Entry::Udp(_) | Entry::Echo(_) | Entry::Listener) => {}
            None => return,
        }
        if let Some(end) = end {
            self.ask(Request::Flow(flow, end), out);
        }
    }

    /// Asks the runtime for something that must not be forgotten.
    fn ask(&mut self, request: Request, out: &mut Outbox) {
        let refused =
            if self.ending.is_empty() { out.request(request).err() } else { Some(request) };
        self.ending.extend(refused);
    }

    /// Numbers that nobody outside of this NAT can guess.
    fn random(&mut self, inside: SocketAddr, remote: SocketAddr, now: Instant) -> [u32; 2] {
        self.counter += 1;
        let ports = u64::from(inside.port()) << 16 | u64::from(remote.port());
        let word = self.secret.hash([self.counter, ports, now.as_nanos(), 1]);
        [u32::try_from(word >> 32), u32::try_from(word & 0xffff_ffff)].map(|half| half.unwrap_or(0))
    }

    /// Ends the flows that were not used for too long.
    fn expire(&mut self, now: Instant, out: &mut Outbox) {
        for class in Class::MORTAL {
            while let Some((flow, used)) = self.table.oldest(class)
                && used + lifetime(class) <= now
            {
                self.end(flow, now, out);
            }
        }
        self.reassembler.expire(now);
    }
}

impl Engine for Nat {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        match from {
            Endpoint::Port(port) => self.handle_inside(now, port, packet, out),
            Endpoint::Flow(flow) => match self.table.get(flow) {
                Some(Entry::Tcp(_)) => self.tcp_from_flow(now, flow, packet, out),
                Some(Entry::Udp(_)) => self.udp_from_flow(now, flow, packet, out),
                Some(Entry::Echo(_)) => self.echo_from_flow(now, flow, packet, out),
                Some(Entry::Listener) | None => out.discard(packet, DropReason::NO_DESTINATION),
            },
            Endpoint::Udp(_) => out.discard(packet, DropReason::NO_DESTINATION),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        let due = (!self.due.is_empty() || !self.ending.is_empty()).then_some(self.due_at);
        let timer = self.timers.first().map(|&(at, _)| at);
        let ages = Class::MORTAL.into_iter().filter_map(|class| {
            let (_, used) = self.table.oldest(class)?;
            Some(used + lifetime(class))
        });
        ages.chain(due).chain(timer).chain(self.reassembler.next_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        // What is still due after this has found no room.
        self.due_at = now + RETRY;
        let ending = mem::take(&mut self.ending);
        ending.into_iter().for_each(|request| self.ask(request, out));
        let mut due = mem::take(&mut self.due);
        due.drain(..).for_each(|flow| self.settle(flow, now, out));
        if self.due.is_empty() {
            // Its memory is kept.
            self.due = due;
        }
        while let Some((_, flow)) = self.timers.first().copied().filter(|&(at, _)| at <= now) {
            self.timer(flow, now, out);
        }
        self.expire(now, out);
    }

    fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        self.note_published(flow, event);
        match self.table.get(flow) {
            Some(Entry::Tcp(_)) => self.tcp_event(now, flow, event, out),
            Some(Entry::Udp(_)) => self.udp_event(now, flow, event, out),
            Some(Entry::Echo(_)) => self.echo_event(now, flow, event, out),
            Some(Entry::Listener) => self.listener_event(now, flow, event, out),
            None => {}
        }
    }
}

/// How long flows of a class live without use.
const fn lifetime(class: Class) -> Duration {
    match class {
        Class::TcpOpening => timeout::TCP_OPENING,
        Class::TcpOpen => timeout::TCP_OPEN,
        Class::Udp => timeout::UDP,
        Class::Dns => timeout::DNS,
        Class::Echo => timeout::ECHO,
        Class::Lasting => Duration::MAX,
    }
}

/// Whether an address is one of many hosts.
const fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// The hop limit (TTL) of a packet.
fn hops(packet: &[u8]) -> u8 {
    let at = if packet.first().is_some_and(|byte| byte >> 4 == 4) { 8 } else { 7 };
    packet.get(at).copied().unwrap_or(0)
}

/// Whether the transport checksum of a packet is valid, or left to be finished by whom it passes on to.
fn is_sound(packet: &PacketBuf, headers: &Headers, protocol: u8) -> bool {
    let vnet = &packet.meta.vnet;
    if vnet.needs_csum() || vnet.flags & adit_packet::VnetHeader::DATA_VALID != 0 {
        return true;
    }
    let bytes = packet.bytes();
    let Some(at) = headers.transport() else { return true };
    let segment = bytes.get(at..headers.end()).unwrap_or_default();
    let Some((from, to)) = headers.addresses(bytes) else { return false };
    let path = Path { from, to, protocol };
    match protocol {
        ip_protocol::ICMP => checksum::of(segment) == 0,
        // None was computed (RFC 768).
        ip_protocol::UDP if to.is_ipv4() && segment.get(6..8) == Some(&[0, 0]) => true,
        ip_protocol::TCP | ip_protocol::UDP | ip_protocol::ICMP6 => {
            path.pseudo(segment.len()).add_bytes(segment).finish() == 0
        }
        _ => true,
    }
}
