//! Connections: found, opened, timed and ended.

use alloc::boxed::Box;
use core::net::SocketAddr;

use adit_packet::{Instant, PacketBuf, ip_protocol};

use super::{Entry, Inside, Nat, TcpEntry};
use crate::translate::news::FlowChange;
use crate::translate::table::{Class, Key};
use crate::translate::tcp::{Conn, Cx, Fate, Opening, Segment, refuse};
use crate::translate::wire::Path;
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::flow::{FlowError, FlowEvent, FlowId, FlowRequest};

impl Nat {
    pub(super) fn tcp_from_inside(
        &mut self,
        inside: &Inside<'_>,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let headers = inside.headers;
        let parsed = headers.transport().and_then(|at| {
            let segment = Segment::parse(packet.bytes(), at, headers.end())?;
            Some((segment, headers.ports(packet.bytes())?))
        });
        let Some((segment, (from_port, to_port))) = parsed else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let from = SocketAddr::new(inside.from, from_port);
        let to = SocketAddr::new(inside.to, to_port);
        let key = Key::new(ip_protocol::TCP, from, Some(to));
        if let Some(flow) = self.table.find(&key) {
            self.table.touch(flow, inside.now);
            self.with_conn(flow, inside.now, out, |conn, cx| conn.segment(&segment, packet, cx));
        } else if segment.is_syn() {
            self.open(inside, key, (from, to), &segment, packet, out);
        } else {
            let path = Path { from: inside.to, to: inside.from, protocol: ip_protocol::TCP };
            refuse(path, inside.port, (to_port, from_port), &segment, out);
            out.absorb(packet);
        }
    }

    pub(super) fn tcp_from_flow(
        &mut self,
        now: Instant,
        flow: FlowId,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        self.table.touch(flow, now);
        self.with_conn(flow, now, out, |conn, cx| conn.bytes(packet, cx));
    }

    pub(super) fn tcp_event(
        &mut self,
        now: Instant,
        flow: FlowId,
        event: FlowEvent,
        out: &mut Outbox,
    ) {
        if let (FlowEvent::Icmp { .. }, Some(Entry::Tcp(tcp))) = (event, self.table.get(flow)) {
            if tcp.conn.is_connecting() {
                // The inside learns of it as its own SYN met it.
                let (inside, port) = (tcp.conn.ends().0.ip(), tcp.conn.port());
                let (quoted, len) = tcp.conn.quoted_syn();
                let quoted = quoted.get(..len).unwrap_or_default();
                self.pass_error(now, port, inside, event, quoted, out);
                self.remove(flow, Some(FlowRequest::Reset), out);
            }
            return;
        }
        if let FlowEvent::Ended { sent, received } = event {
            self.set_moved(flow, sent, received);
            return self.remove(flow, None, out);
        }
        self.with_conn(flow, now, out, |conn, cx| conn.event(event, cx));
    }

    /// Does what is due for a flow at the end of a turn.
    pub(super) fn settle(&mut self, flow: FlowId, now: Instant, out: &mut Outbox) {
        if let Some(Entry::Tcp(tcp)) = self.table.get_mut(flow) {
            tcp.is_listed = false;
            self.with_conn(flow, now, out, Conn::settle);
        }
    }

    /// The timer of a flow has come.
    pub(super) fn timer(&mut self, flow: FlowId, now: Instant, out: &mut Outbox) {
        let Some(Entry::Tcp(tcp)) = self.table.get_mut(flow) else { return };
        if let Some(at) = tcp.timer.take() {
            self.timers.remove(&(at, flow));
        }
        let is_due = tcp.conn.deadline().is_some_and(|at| at <= now);
        self.with_conn(
            flow,
            now,
            out,
            |conn, cx| {
                if is_due { conn.timeout(cx) } else { Fate::Alive }
            },
        );
    }

    /// Resets the inside's end of a connection.
    pub(super) fn abort(&mut self, flow: FlowId, now: Instant, out: &mut Outbox) {
        self.with_conn(flow, now, out, |conn, cx| {
            conn.abort(cx);
            Fate::Alive
        });
    }

    fn open(
        &mut self,
        inside: &Inside<'_>,
        key: Key,
        (from, to): (SocketAddr, SocketAddr),
        syn: &Segment,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let now = inside.now;
        let is_own = self.config.gateway(inside.to) == Some(inside.to);
        let verdict = self.config.policy.verdict(to);
        if is_own && verdict == crate::translate::policy::Verdict::Reached(to) {
            // No service of the NAT itself: a host answers so.
            let path = Path { from: inside.to, to: inside.from, protocol: ip_protocol::TCP };
            refuse(path, inside.port, (to.port(), from.port()), syn, out);
            return out.absorb(packet);
        }
        let served = self.config.served.contains(&to).then_some(to);
        let Some(at) = served.or_else(|| self.destination(inside, to.port(), &packet, out)) else {
            return out.discard(packet, DropReason::FILTERED);
        };
        if !self.admit(inside.from, now, out) {
            return out.discard(packet, DropReason::OUT_OF_FLOWS);
        }
        let random = self.random(from, to, now);
        // Services of the NAT's own addresses may be no sockets of the host.
        let is_offered = self.config.splice && !self.config.is_inside(to.ip());
        let may_splice = is_offered && syn.is_for_splice() && self.splice_after <= now;
        let mtu = self.config.mtu;
        let port = inside.port;
        let opening = Opening { port, inside: from, remote: to, syn, may_splice, mtu, random, now };
        let new = self.table.insert(key, inside.from, Class::TcpOpening, now, |flow| {
            let conn = Conn::new(flow, &opening);
            Entry::Tcp(Box::new(TcpEntry { conn, timer: None, is_listed: false, spliced: None }))
        });
        let Some(Entry::Tcp(tcp)) = new.and_then(|flow| self.table.get(flow)) else {
            return out.discard(packet, DropReason::OUT_OF_FLOWS);
        };
        let requests = tcp.conn.open(at, inside.hop_limit);
        new.into_iter().for_each(|flow| self.note(flow, FlowChange::Opened));
        let is_asked = requests.into_iter().flatten().all(|request| out.request(request).is_ok());
        if !is_asked {
            // The inside asks again.
            new.into_iter().for_each(|flow| {
                self.remove(flow, Some(FlowRequest::Reset), out);
            });
            return out.discard(packet, DropReason::OUT_OF_FLOWS);
        }
        out.absorb(packet);
    }

    /// Works on a connection, then does what follows: timers, lists, its end.
    pub(super) fn with_conn(
        &mut self,
        flow: FlowId,
        now: Instant,
        out: &mut Outbox,
        work: impl FnOnce(&mut Conn, &mut Cx<'_>) -> Fate,
    ) {
        let Self {
            table, reorder_budget, timers, due, due_at, config, rates, splice_after, ..
        } = self;
        let Some(Entry::Tcp(tcp)) = table.get_mut(flow) else { return };
        let (mtu, budget) = (config.mtu, reorder_budget);
        let mut cx = Cx { now, out, mtu, budget, rates, splice_after };
        let before = tcp.conn.class();
        match work(&mut tcp.conn, &mut cx) {
            Fate::Alive => {
                if let Some(at) = tcp.conn.deadline()
                    && tcp.timer.is_none_or(|set| at < set)
                {
                    if let Some(set) = tcp.timer.replace(at) {
                        timers.remove(&(set, flow));
                    }
                    timers.insert((at, flow));
                }
                if tcp.conn.is_due() && !tcp.is_listed {
                    tcp.is_listed = true;
                    if due.is_empty() && *due_at < now {
                        *due_at = now;
                    }
                    due.push(flow);
                }
                let class = tcp.conn.class();
                if class != before {
                    table.reclass(flow, class, now);
                }
            }
            Fate::Over(end) => self.remove(flow, end, out),
            Fate::Refused(error) => self.refuse(flow, error, now, out),
        }
    }

    /// The connect of a flow failed: the inside learns why.
    fn refuse(&mut self, flow: FlowId, error: FlowError, now: Instant, out: &mut Outbox) {
        let Self { table, reorder_budget, config, errors, rates, splice_after, .. } = self;
        if let Some(Entry::Tcp(tcp)) = table.get_mut(flow)
            && errors.pass(now)
        {
            let gateway = config.gateway(tcp.conn.ends().1.ip());
            let (mtu, budget) = (config.mtu, reorder_budget);
            let mut cx = Cx { now, out, mtu, budget, rates, splice_after };
            tcp.conn.fail(error, gateway, &mut cx);
        }
        self.remove(flow, None, out);
    }
}
