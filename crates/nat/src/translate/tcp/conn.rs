//! One connection: the inside's segments on one side, a flow of the host on the other.

use core::mem;
use core::net::{IpAddr, SocketAddr};

use adit_packet::{Instant, PacketBuf, TcpFlags, TcpHeader, ip_protocol};

use super::down::Down;
use super::emit::{MSS_MIN, distance, low, own_mss, put, quoted_syn, refuse, send_rst};
use super::opening::{Calling, Cx, Fate, Opening};
use super::own_syn::OwnSyn;
use super::segment::{Options, Segment};
use super::stage::Stage;
use super::up::{Taken, Up};
use crate::translate::table::Class;
use crate::translate::wire::{self, Path};
use adit_engine::flow::{FlowError, FlowEvent, FlowId, FlowRequest, Request, Transport};
use adit_engine::{DropReason, Endpoint, Outbox, PortId};

/// Our window scale: windows up to 8 MiB, in units of 128 bytes.
const SHIFT: u8 = 7;

/// SYN-ACKs that are sent at most, the last 31 s after the first.
const SYN_ACKS_MAX: u32 = 6;

/// A connection.
#[derive(Debug)]
pub(in crate::translate) struct Conn {
    flow: FlowId,
    port: PortId,
    inside: SocketAddr,
    remote: SocketAddr,
    stage: Stage,
    is_connected: bool,
    /// To be handed over when it has connected.
    own_syn: Option<OwnSyn>,
    /// The initial sequence numbers: of the inside, and ours.
    irs: u32,
    iss: u32,
    /// Payload of one segment to the inside.
    mss: u16,
    /// What the inside shifts its windows by, and whether we shift ours.
    scale: Option<u8>,
    has_sack: bool,
    /// The latest timestamp of the inside, and the start of ours.
    timestamps: Option<u32>,
    clock: u32,
    up: Up,
    down: Down,
    /// An acknowledgment is due at the end of the turn.
    ack_due: bool,
    /// Requests found no room.
    is_behind: bool,
    deadline: Option<Instant>,
    syn_acks: u32,
    answered_at: Instant,
}

/// The most bytes of a packet to the inside: without the longest headers, which are IPv6, TCP and its options.
const PIECE_MAX: u16 = 65_535 - 40 - 20 - 40;

impl Conn {
    pub(in crate::translate) fn new(flow: FlowId, opening: &Opening<'_>) -> Self {
        let &Opening { port, inside, remote, syn, may_splice, mtu, random: [iss, clock], now } =
            opening;
        let timestamps = syn.timestamps.map(|(value, _)| value);
        let own = own_mss(inside.ip(), mtu);
        let stamp_len = if timestamps.is_some() { 12 } else { 0 };
        let mss = (syn.mss.unwrap_or(536).clamp(MSS_MIN, own) - stamp_len).min(PIECE_MAX);
        let mut down = Down::new(mss, syn.has_sack);
        down.set_window(u64::from(syn.window));
        Self {
            flow,
            port,
            inside,
            remote,
            stage: Stage::Connecting,
            is_connected: false,
            own_syn: may_splice.then(|| OwnSyn::new(syn)),
            irs: syn.seq,
            iss,
            mss,
            scale: syn.scale,
            has_sack: syn.has_sack,
            timestamps,
            clock,
            up: Up::default(),
            down,
            ack_due: false,
            is_behind: false,
            deadline: None,
            syn_acks: 0,
            answered_at: now,
        }
    }

    /// A connection to the inside, which it learns of by [`Self::call`].
    pub(in crate::translate) fn calling(flow: FlowId, calling: &Calling) -> Self {
        let &Calling { port, inside, remote, mtu, random: [iss, clock], now } = calling;
        let mss = own_mss(inside.ip(), mtu);
        Self {
            flow,
            port,
            inside,
            remote,
            stage: Stage::Calling,
            is_connected: true,
            own_syn: None,
            irs: 0,
            iss,
            mss,
            scale: Some(0),
            has_sack: true,
            timestamps: Some(0),
            clock,
            up: Up::default(),
            down: Down::new(mss, true),
            ack_due: false,
            is_behind: false,
            deadline: None,
            syn_acks: 0,
            answered_at: now,
        }
    }

    /// Sends a SYN to the inside.
    pub(in crate::translate) fn call(&mut self, cx: &mut Cx<'_>) -> Fate {
        self.answer(cx);
        Fate::Alive
    }

    /// The inside has answered our SYN.
    fn called(&mut self, segment: &Segment, cx: &mut Cx<'_>) -> Fate {
        let is_ours = segment.ack == self.iss.wrapping_add(1);
        if !is_ours {
            refuse(self.path(), self.port, self.ports(), segment, cx.out);
            return Fate::Alive;
        }
        let stamp_len = if segment.timestamps.is_some() { 12 } else { 0 };
        self.mss = segment.mss.unwrap_or(536).clamp(MSS_MIN, self.mss) - stamp_len;
        self.mss = self.mss.min(PIECE_MAX);
        (self.scale, self.has_sack) = (segment.scale, segment.has_sack);
        self.timestamps = segment.timestamps.map(|(value, _)| value);
        self.irs = segment.seq;
        self.down = Down::new(self.mss, self.has_sack);
        self.down.set_window(u64::from(segment.window));
        if self.syn_acks == 1 {
            self.down.opened(cx.now.since(self.answered_at));
        }
        self.stage = Stage::Open;
        if !self.ask(self.keep(), cx.out) {
            return self.end(Some(FlowRequest::Reset), cx);
        }
        self.acknowledge(cx);
        self.go_on(true, cx)
    }

    /// The requests that open its flow to a destination.
    pub(in crate::translate) fn open(&self, to: SocketAddr, hop_limit: u8) -> [Option<Request>; 2] {
        let port = self.inside.port();
        let open = FlowRequest::Open { transport: Transport::Tcp, to, port, hop_limit };
        let keep = self.own_syn.is_none().then(|| self.keep());
        [Some(open), keep].map(|request| Some(Request::Flow(self.flow, request?)))
    }

    fn keep(&self) -> FlowRequest {
        FlowRequest::Keep { piece_max: self.piece_max() }
    }

    /// The longest piece of the stream to the inside: whole segments, so that none of a super-packet is
    /// short but the last.
    fn piece_max(&self) -> u32 {
        u32::from(PIECE_MAX - PIECE_MAX % self.mss)
    }

    pub(in crate::translate) const fn port(&self) -> PortId {
        self.port
    }

    pub(in crate::translate) const fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.inside, self.remote)
    }

    /// Bytes from the inside, and to it.
    pub(in crate::translate) const fn bytes_moved(&self) -> (u64, u64) {
        (self.up.next, self.down.una)
    }

    /// How long it lives without use.
    pub(in crate::translate) fn class(&self) -> Class {
        let is_closing = self.up.fin.is_some() && self.down.end.is_some();
        match self.stage {
            Stage::Open if !is_closing => Class::TcpOpen,
            Stage::Spliced => Class::Lasting,
            _ => Class::TcpOpening,
        }
    }

    /// A word for what it does.
    pub(in crate::translate) const fn state(&self) -> &'static str {
        self.stage.word(self.up.fin.is_some(), self.down.end.is_some())
    }

    pub(in crate::translate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the inside's SYN was not answered yet.
    pub(in crate::translate) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    /// Whether something is due at the end of the turn.
    pub(in crate::translate) fn is_due(&self) -> bool {
        self.ack_due || self.is_behind || self.up.is_stuck()
    }

    /// Gives back what it holds.
    pub(in crate::translate) fn clear(&mut self, budget: &mut usize) {
        self.up.clear(budget);
    }

    /// Takes a segment of the inside.
    pub(in crate::translate) fn segment(
        &mut self,
        segment: &Segment,
        packet: PacketBuf,
        cx: &mut Cx<'_>,
    ) -> Fate {
        if matches!(self.stage, Stage::HandedOver | Stage::Spliced) {
            return self.astray(segment, packet, cx);
        }
        let offset = distance(self.irs.wrapping_add(1), self.up.next, segment.seq);
        if segment.has(TcpFlags::RST) {
            cx.out.absorb(packet);
            return self.reset(offset, cx);
        }
        if self.stage == Stage::Connecting {
            // Its SYN again, most likely.
            cx.out.absorb(packet);
            return Fate::Alive;
        }
        if self.stage == Stage::Calling {
            cx.out.absorb(packet);
            if segment.has(TcpFlags::SYN.with(TcpFlags::ACK)) {
                return self.called(segment, cx);
            }
            // What an earlier connection left; the inside resets it when it is answered.
            refuse(self.path(), self.port, self.ports(), segment, cx.out);
            return Fate::Alive;
        }
        let ack = distance(self.iss.wrapping_add(1), self.down.una, segment.ack);
        if segment.has(TcpFlags::SYN) || self.is_old(segment) || !segment.has(TcpFlags::ACK) {
            cx.out.absorb(packet);
            if self.stage == Stage::Answered {
                self.answer(cx);
            } else {
                self.acknowledge(cx);
            }
            return Fate::Alive;
        }
        let sent = self.down.max + u64::from(self.down.fin_sent);
        let is_valid = ack <= i64::try_from(sent).unwrap_or(i64::MAX) && ack >= -(1 << 30);
        if !is_valid || (self.stage == Stage::Answered && ack < 0) {
            cx.out.absorb(packet);
            if self.stage == Stage::Answered {
                refuse(self.path(), self.port, self.ports(), segment, cx.out);
            } else {
                self.acknowledge(cx);
            }
            return Fate::Alive;
        }
        self.note_timestamp(segment, offset);
        let is_first = self.stage == Stage::Answered;
        if is_first {
            self.stage = Stage::Open;
            if self.syn_acks == 1 {
                self.down.opened(cx.now.since(self.answered_at));
            }
        }
        let advanced = self.note_ack(segment, offset, ack, cx.now) || is_first;
        let must_answer = self.take_bytes(segment, offset, packet, cx);
        self.up_end(segment, offset);
        if must_answer {
            self.acknowledge(cx);
        }
        self.go_on(advanced, cx)
    }

    /// Takes bytes of the flow.
    pub(in crate::translate) fn bytes(&mut self, mut packet: PacketBuf, cx: &mut Cx<'_>) -> Fate {
        let at = self.down.position;
        self.down.sent(cx.now, u64::try_from(packet.len()).unwrap_or(0));
        let urgent = if mem::take(&mut packet.meta.urgent) { TcpFlags::URG } else { TcpFlags(0) };
        let flags = TcpFlags::ACK.with(TcpFlags::PSH).with(urgent);
        if cx.rates.pass_to(self.inside.ip(), packet.len(), cx.now) {
            self.send(flags, self.down_seq(at), packet, cx);
        } else {
            cx.out.discard(packet, DropReason::SOURCE_RATE);
        }
        self.go_on(false, cx)
    }

    /// Takes an event of the flow.
    pub(in crate::translate) fn event(&mut self, event: FlowEvent, cx: &mut Cx<'_>) -> Fate {
        match event {
            FlowEvent::Connected { .. } => self.is_connected = true,
            FlowEvent::Credit { until } => {
                self.up.credit = self.up.credit.max(until);
                if self.stage == Stage::Connecting && self.is_connected {
                    return match self.own_syn.take() {
                        Some(syn) => self.hand_over(syn, cx),
                        None => self.connected(cx),
                    };
                }
                let left = self.up.edge.saturating_sub(self.up.next);
                let window = self.up.credit - self.up.next;
                if self.stage == Stage::Open && (self.ack_due || left < window / 2) {
                    self.acknowledge(cx);
                }
            }
            FlowEvent::Finished => {
                self.down.end = Some(self.down.position);
                return self.go_on(false, cx);
            }
            FlowEvent::Spliced => self.stage = Stage::Spliced,
            FlowEvent::Failed(error) if self.stage == Stage::Connecting => {
                return Fate::Refused(error);
            }
            FlowEvent::Failed(_) => return self.end(None, cx),
            _ => {}
        }
        Fate::Alive
    }

    /// Answers the inside's SYN: the flow has connected.
    fn connected(&mut self, cx: &mut Cx<'_>) -> Fate {
        (self.stage, self.answered_at) = (Stage::Answered, cx.now);
        self.answer(cx);
        Fate::Alive
    }

    /// Leaves the connection to the runtime: the inside's own SYN goes back to it.
    fn hand_over(&mut self, syn: OwnSyn, cx: &mut Cx<'_>) -> Fate {
        let splice = FlowRequest::Splice { client: self.inside, server: self.remote };
        if !self.ask(splice, cx.out) {
            return self.take_back(cx);
        }
        self.stage = Stage::HandedOver;
        syn.send(self.path().reversed(), self.port, self.ports(), cx.out);
        Fate::Alive
    }

    /// Does without the runtime.
    fn take_back(&mut self, cx: &mut Cx<'_>) -> Fate {
        let is_kept = self.ask(self.keep(), cx.out);
        if is_kept { self.connected(cx) } else { Fate::Over(Some(FlowRequest::Reset)) }
    }

    /// Takes a segment of a connection that is the runtime's.
    fn astray(&mut self, segment: &Segment, packet: PacketBuf, cx: &mut Cx<'_>) -> Fate {
        if self.stage == Stage::Spliced && segment.is_syn() {
            // The inside has forgotten the old one: the socket that has not answers, and is reset.
            cx.out.send(Endpoint::Port(self.port), packet);
            return Fate::Alive;
        }
        cx.out.absorb(packet);
        if self.stage == Stage::HandedOver && segment.is_syn() {
            cx.pause_splices();
            return self.take_back(cx);
        }
        // The rules that lead it to the runtime are gone.
        Fate::Over(Some(FlowRequest::Reset))
    }

    /// Does what is due at the end of a turn. `false`: not all of it, there was no buffer.
    pub(in crate::translate) fn settle(&mut self, cx: &mut Cx<'_>) -> Fate {
        self.up.drain(self.flow, cx.budget, cx.out);
        if self.ack_due {
            self.acknowledge(cx);
        }
        self.go_on(false, cx)
    }

    /// Its time has come.
    pub(in crate::translate) fn timeout(&mut self, cx: &mut Cx<'_>) -> Fate {
        self.deadline = None;
        match self.stage {
            Stage::Connecting | Stage::HandedOver | Stage::Spliced => return Fate::Alive,
            Stage::Answered | Stage::Calling if self.syn_acks >= SYN_ACKS_MAX => {
                return self.end(Some(FlowRequest::Reset), cx);
            }
            Stage::Answered | Stage::Calling => {
                self.answer(cx);
                return Fate::Alive;
            }
            Stage::Open => {}
        }
        let must_probe = self.down.must_probe();
        if (must_probe || self.down.is_in_flight()) && !self.down.timed_out() {
            return self.end(Some(FlowRequest::Reset), cx);
        }
        if must_probe {
            // A byte that was acknowledged long ago: the answer has the window.
            let seq = self.down_seq(self.down.una).wrapping_sub(1);
            self.send_empty(TcpFlags::ACK, seq, cx);
        }
        self.go_on(false, cx)
    }

    /// Resets the inside's end, and ends the flow so.
    fn end(&mut self, flow: Option<FlowRequest>, cx: &mut Cx<'_>) -> Fate {
        self.abort(cx);
        Fate::Over(flow)
    }

    /// Resets the inside's end.
    pub(in crate::translate) fn abort(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.stage, Stage::Answered | Stage::Open) {
            let seq = self.down_seq(self.down.max).wrapping_add(u32::from(self.down.fin_sent));
            self.send_empty(TcpFlags::RST.with(TcpFlags::ACK), seq, cx);
        }
    }

    /// Resets the inside's SYN, or tells why it is not answered.
    pub(in crate::translate) fn fail(
        &self,
        error: FlowError,
        gateway: Option<IpAddr>,
        cx: &mut Cx<'_>,
    ) -> bool {
        let is_v4 = self.inside.is_ipv4();
        let message = match error {
            FlowError::NetUnreachable => wire::Error::net_unreachable(is_v4),
            FlowError::HostUnreachable => wire::Error::host_unreachable(is_v4),
            FlowError::Prohibited => wire::Error::prohibited(is_v4),
            // The inside asks again, and there may be an answer, or a descriptor, then.
            FlowError::TimedOut | FlowError::Exhausted => return true,
            _ => {
                let ack = Some(self.irs.wrapping_add(1));
                return send_rst(self.path(), self.port, self.ports(), (0, ack), cx.out);
            }
        };
        let (quoted, len) = self.quoted_syn();
        let quoted = quoted.get(..len).unwrap_or_default();
        let from = gateway.unwrap_or_else(|| self.remote.ip());
        let packet = message.packet(from, self.inside.ip(), quoted, cx.out);
        let is_sent = packet.is_some();
        packet.into_iter().for_each(|packet| cx.out.send(Endpoint::Port(self.port), packet));
        is_sent
    }

    /// The inside resets: exactly at the next byte, or it must prove that it knows it (RFC 5961, 3).
    fn reset(&mut self, offset: i64, cx: &mut Cx<'_>) -> Fate {
        let next = i64::try_from(self.up.acknowledged()).unwrap_or(i64::MAX);
        if matches!(self.stage, Stage::Connecting | Stage::Calling) || offset == next {
            return Fate::Over(Some(FlowRequest::Reset));
        }
        if offset > next && offset < i64::try_from(self.up.edge.max(1)).unwrap_or(i64::MAX) {
            self.acknowledge(cx);
        }
        Fate::Alive
    }

    /// Whether a segment is older than one that came before (RFC 7323, 5: PAWS).
    fn is_old(&self, segment: &Segment) -> bool {
        let (Some(recent), Some((value, _))) = (self.timestamps, segment.timestamps) else {
            return false;
        };
        value.wrapping_sub(recent) > 1 << 31
    }

    fn note_timestamp(&mut self, segment: &Segment, offset: i64) {
        let is_next = offset <= i64::try_from(self.up.acknowledged()).unwrap_or(i64::MAX);
        if let (Some(recent), Some((value, _)), true) =
            (&mut self.timestamps, segment.timestamps, is_next)
        {
            *recent = value;
        }
    }

    /// Whether the segment acknowledges something that was not before.
    fn note_ack(&mut self, segment: &Segment, offset: i64, ack: i64, now: Instant) -> bool {
        let window = u64::from(segment.window) << self.scale.unwrap_or(0);
        let una = self.down.una;
        let is_pure = segment.len == 0 && !segment.has(TcpFlags::FIN);
        let advanced = u64::try_from(ack)
            .is_ok_and(|ack| self.down.acknowledged(now, offset, ack, window, is_pure));
        if self.has_sack {
            let base = self.iss.wrapping_add(1);
            for (start, end) in segment.blocks() {
                let [start, end] = [start, end].map(|seq| distance(base, una, seq));
                if let (Ok(start), Ok(end)) = (u64::try_from(start), u64::try_from(end)) {
                    self.down.sacked(start, end);
                }
            }
        }
        self.down.detect_loss();
        advanced
    }

    /// Takes the bytes of a segment. Whether it must be acknowledged at once.
    fn take_bytes(
        &mut self,
        segment: &Segment,
        offset: i64,
        mut packet: PacketBuf,
        cx: &mut Cx<'_>,
    ) -> bool {
        if segment.len == 0 || self.up.has_finished {
            cx.out.absorb(packet);
            let next = i64::try_from(self.up.acknowledged()).unwrap_or(i64::MAX);
            // A keepalive, a probe of a window, or what was received long ago.
            return offset < next && (segment.len != 0 || !segment.has(TcpFlags::FIN));
        }
        packet.truncate(segment.start + segment.len);
        packet.advance(segment.start);
        // As Linux, BSD and Windows read it, it points behind the urgent byte (RFC 6093, 3.2).
        let urgent = (segment.has(TcpFlags::URG) && segment.urgent > 0)
            .then(|| u64::try_from(offset + i64::from(segment.urgent) - 1).ok())
            .flatten();
        match self.up.take(self.flow, offset, urgent, packet, cx.budget, cx.out) {
            Taken::InOrder => {
                self.ack_due = true;
                false
            }
            Taken::OutOfOrder | Taken::Dropped => true,
        }
    }

    fn up_end(&mut self, segment: &Segment, offset: i64) {
        if segment.has(TcpFlags::FIN) {
            self.up.end_at(offset + i64::try_from(segment.len).unwrap_or(0));
            self.ack_due = true;
        }
    }

    /// Asks for what the state says: bytes, the end of a direction. Ends the connection if both have.
    fn go_on(&mut self, restart: bool, cx: &mut Cx<'_>) -> Fate {
        self.is_behind = false;
        if self.stage == Stage::Open {
            let wish = self.down.wish();
            for request in [wish.release, wish.deliver].into_iter().flatten() {
                if self.ask(request, cx.out) {
                    self.down.wished(request);
                }
            }
            if self.up.is_at_end() && !self.up.has_finished {
                self.up.has_finished = self.ask(FlowRequest::Shutdown, cx.out);
            }
            if self.down.must_finish() {
                let seq = self.down_seq(self.down.max);
                let flags = TcpFlags::FIN.with(TcpFlags::ACK);
                if self.send_empty(flags, seq, cx) {
                    self.down.finished();
                } else {
                    self.is_behind = true;
                }
            }
        }
        if self.up.has_finished && self.down.fin_acknowledged {
            if self.ack_due {
                self.acknowledge(cx);
            }
            return Fate::Over(Some(FlowRequest::Close));
        }
        self.rearm(restart, cx.now);
        Fate::Alive
    }

    /// Sets the timer for what is waited for; `restart` if something of it came.
    fn rearm(&mut self, restart: bool, now: Instant) {
        let is_waiting = matches!(self.stage, Stage::Answered | Stage::Calling)
            || (self.stage == Stage::Open && (self.down.is_in_flight() || self.down.must_probe()));
        if !is_waiting {
            self.deadline = None;
        } else if restart || self.deadline.is_none() {
            self.deadline = Some(now + self.down.timeout());
        }
    }

    /// Asks the runtime for something of the flow; `false`: later.
    fn ask(&mut self, request: FlowRequest, out: &mut Outbox) -> bool {
        let is_asked = out.request(Request::Flow(self.flow, request)).is_ok();
        self.is_behind |= !is_asked;
        is_asked
    }

    /// Answers the inside's SYN, or sends it ours.
    fn answer(&mut self, cx: &mut Cx<'_>) {
        self.syn_acks += 1;
        let Some(packet) = cx.out.make(0) else { return self.wait_for_ack(cx.now) };
        let mut options = Options::new();
        options.mss(own_mss(self.inside.ip(), cx.mtu));
        if self.has_sack {
            options.sack_permitted();
        }
        if let Some(echo) = self.timestamps {
            options.timestamps(self.stamp(cx.now), echo);
        }
        if self.scale.is_some() {
            options.scale(SHIFT);
        }
        let window = u16::try_from(self.up.credit).unwrap_or(u16::MAX);
        self.up.edge = u64::from(window);
        let header = if self.stage == Stage::Calling {
            TcpHeader { acknowledgment: 0, ..self.header(TcpFlags::SYN, self.iss, window) }
        } else {
            self.header(TcpFlags::SYN.with(TcpFlags::ACK), self.iss, window)
        };
        self.put(&header, &options, packet, cx.out);
        self.wait_for_ack(cx.now);
    }

    fn wait_for_ack(&mut self, now: Instant) {
        let doubled = self.down.timeout().saturating_mul(1 << self.syn_acks.min(8)) / 2;
        self.deadline = Some(now + doubled);
    }

    /// Sends an acknowledgment now.
    fn acknowledge(&mut self, cx: &mut Cx<'_>) {
        let seq = self.down_seq(self.down.max).wrapping_add(u32::from(self.down.fin_sent));
        self.ack_due = !self.send_empty(TcpFlags::ACK, seq, cx);
    }

    /// Sends a segment without bytes. `false`: there was no buffer.
    fn send_empty(&mut self, flags: TcpFlags, seq: u32, cx: &mut Cx<'_>) -> bool {
        let Some(packet) = cx.out.make(0) else { return false };
        self.send(flags, seq, packet, cx);
        true
    }

    /// Sends a segment with the bytes of `packet`.
    fn send(&mut self, flags: TcpFlags, seq: u32, packet: PacketBuf, cx: &mut Cx<'_>) {
        let mut options = Options::new();
        if let Some(echo) = self.timestamps {
            options.timestamps(self.stamp(cx.now), echo);
        }
        if self.has_sack && packet.is_empty() {
            let base = self.irs.wrapping_add(1);
            let seq = |offset| base.wrapping_add(low(offset));
            options.sack(self.up.blocks().map(|(start, end)| (seq(start), seq(end))));
        }
        let window = self.up.credit.saturating_sub(self.up.next);
        let shift = self.scale.map_or(0, |_| SHIFT);
        let window = u16::try_from(window >> shift).unwrap_or(u16::MAX);
        self.up.edge = self.up.edge.max(self.up.next + (u64::from(window) << shift));
        self.ack_due = false;
        let mut header = self.header(flags, seq, window);
        if flags.contains(TcpFlags::URG) {
            // It points behind the urgent byte, the last one (RFC 6093, 3.2).
            header.urgent = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        }
        self.put(&header, &options, packet, cx.out);
    }

    fn header(&self, flags: TcpFlags, sequence: u32, window: u16) -> TcpHeader {
        let (source_port, destination_port) = self.ports();
        let acknowledgment = self.irs.wrapping_add(1).wrapping_add(low(self.up.acknowledged()));
        TcpHeader {
            source_port,
            destination_port,
            sequence,
            acknowledgment,
            flags,
            window,
            checksum: 0,
            urgent: 0,
        }
    }

    /// Puts the headers before the bytes of `packet` and sends it to the inside.
    fn put(&self, header: &TcpHeader, options: &Options, packet: PacketBuf, out: &mut Outbox) {
        put(self.path(), self.port, self.mss, header, options, packet, out);
    }

    /// The IP path to the inside.
    const fn path(&self) -> Path {
        Path { from: self.remote.ip(), to: self.inside.ip(), protocol: ip_protocol::TCP }
    }

    /// Source and destination port of segments to the inside.
    const fn ports(&self) -> (u16, u16) {
        (self.remote.port(), self.inside.port())
    }

    fn down_seq(&self, offset: u64) -> u32 {
        self.iss.wrapping_add(1).wrapping_add(low(offset))
    }

    /// Our timestamp: milliseconds.
    fn stamp(&self, now: Instant) -> u32 {
        self.clock.wrapping_add(low(now.as_nanos() / 1_000_000))
    }

    /// The inside's SYN as an ICMP error quotes it, and its length.
    pub(in crate::translate) fn quoted_syn(&self) -> ([u8; 48], usize) {
        quoted_syn(self.path().reversed(), self.ports(), self.irs)
    }
}
