//! From the network to a port: trains of data messages to packets and super-packets.
//!
//! A train is decrypted within its own buffer. While packets continue one another, each is decrypted
//! to where its payload follows the one before, so joining them costs no copy:
//!
//! ```text
//! before   | header | packet 0, encrypted | tag | header | packet 1, encrypted | tag | ...
//! after             | headers | payload 0 | payload 1 | ...
//!                              its headers ^ stood here for a moment: what they covered is put back
//! ```

use core::net::IpAddr;
use core::ops::Range;

use adit_packet::{Ecn, Gso, Instant, Layer, PacketBuf};

use crate::config::PeerMode;
use crate::frames::plain::{FRAME_HEADER_LEN, Plain};
use crate::frames::vxlan::{Found, OUTER_LEN_MAX};
use crate::inner::network_in_frame;
use crate::inner::source;
use crate::join::{Candidate, Draft, HEADERS_MAX};
use crate::message::{DATA_HEADER_LEN, DataHeader, Message};
use crate::path::mss;
use crate::peer::{Peer, count};
use crate::shared::Shared;
use crate::tunnel::Tunnel;
use adit_engine::{DropReason, Endpoint, Outbox};

/// Headers, and what stands before a frame.
const COVERED_MAX: usize = HEADERS_MAX + OUTER_LEN_MAX;

/// A train that is being decrypted.
struct Train {
    packet: PacketBuf,
    /// The codepoint of its outer headers: a train has one.
    ecn: Ecn,
    /// What was decrypted last and may go on.
    ready: Option<Ready>,
    /// Whether a message was for us: a keepalive, a handshake.
    absorbed: bool,
    /// Why the last one that was dropped was.
    why: DropReason,
    /// The source that was last found to be allowed.
    allowed: Option<(u32, IpAddr)>,
    /// The peer of the last message: it is looked after when the train ends.
    last: Option<u32>,
}

impl Train {
    /// Passes a mark of the headers outside on to the IP packet inside, if there is one from `start` to
    /// `end` (RFC 6040, section 4.2).
    #[inline]
    fn pass_mark(
        &mut self,
        outer: Ecn,
        placed: &Placed,
        start: usize,
        end: usize,
    ) -> Result<(), DropReason> {
        if outer == Ecn::NotEct {
            return Ok(());
        }
        let bytes = self.packet.bytes_mut();
        let ip = bytes.get_mut(start..end).unwrap_or_default();
        let inner = Ecn::of(ip);
        match inner.decapsulated(outer) {
            Some(ecn) if ecn == inner => {}
            Some(ecn) => ecn.write(ip),
            // What is no IP has no ends that could be told.
            None if ip.is_empty() => {}
            None => {
                placed.restore(bytes);
                return Err(DropReason::CONGESTED);
            }
        }
        Ok(())
    }
}

/// A packet or super-packet that lies ready in the train's buffer.
#[derive(Clone, Copy)]
struct Ready {
    start: usize,
    end: usize,
    draft: Option<Draft>,
    layer: Layer,
    peer: u32,
}

/// A packet or frame that is for a port.
struct Arrived {
    slot: u32,
    layer: Layer,
    /// Where IP starts in it, if it does.
    network: Option<usize>,
    /// Where it is.
    range: Range<usize>,
}

impl Arrived {
    fn frame(slot: u32, bytes: &[u8], range: Range<usize>) -> Self {
        let network = network_in_frame(bytes.get(range.clone()).unwrap_or_default());
        Self { slot, layer: Layer::Frame, network, range }
    }

    /// Where IP starts in the train, or where it ends without.
    fn network_at(&self) -> usize {
        self.network.map_or(self.range.end, |network| self.range.start + network)
    }
}

/// A message decrypted to `start..end`. What it covers of the packet before is in `covered`.
struct Placed {
    start: usize,
    end: usize,
    covered: [u8; COVERED_MAX],
    covered_len: usize,
}

impl Placed {
    /// Puts back what was covered.
    fn restore(&self, bytes: &mut [u8]) {
        let from = self.covered.get(..self.covered_len).unwrap_or_default();
        if let Some(to) = bytes.get_mut(self.start..self.start + from.len()) {
            to.copy_from_slice(from);
        }
    }
}

impl Tunnel {
    /// Takes a datagram or a train of them from the network.
    pub(crate) fn handle_network(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let len = packet.len();
        let vnet = packet.meta.vnet;
        let stride = match (vnet.gso, usize::from(vnet.gso_size)) {
            (Gso::UdpL4, size) if size > 0 => size,
            _ => len.max(1),
        };
        let mut train = Train {
            ecn: packet.meta.ecn,
            packet,
            ready: None,
            absorbed: false,
            why: DropReason::NOT_OURS,
            allowed: None,
            last: None,
        };
        for start in (0..len).step_by(stride) {
            let range = start..len.min(start + stride);
            if let Err(why) = self.handle_message(now, from, &mut train, range, out) {
                train.why = why;
            }
        }
        self.finish_train(now, train.last, out);
        let Train { mut packet, ready, absorbed, why, .. } = train;
        if let Some(ready) = ready {
            packet.advance(ready.start);
            packet.truncate(ready.end - ready.start);
            self.deliver(now, &ready, packet, out);
        } else if absorbed {
            out.absorb(packet);
        } else {
            out.discard(packet, why);
        }
    }

    fn handle_message(
        &mut self,
        now: Instant,
        from: Endpoint,
        train: &mut Train,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let bytes = train.packet.bytes().get(range.clone()).unwrap_or_default();
        let result = match Message::parse(bytes) {
            Some(Message::Data) => return self.handle_data(now, from, train, range, out),
            Some(message) => self.handle_handshake(now, from, &message, out),
            None => Err(DropReason::NOT_OURS),
        };
        match result {
            Ok(()) => train.absorbed = true,
            Err(why) => self.drops.note(why),
        }
        result
    }

    /// Decrypts a data message in its train (NDSS 2017, 5.4.6) and makes something of it.
    fn handle_data(
        &mut self,
        now: Instant,
        from: Endpoint,
        train: &mut Train,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let bytes = train.packet.bytes().get(range.clone()).unwrap_or_default();
        let header = DataHeader::parse(bytes);
        let slot = header.and_then(|header| self.shared.peer_of(header.receiver));
        let (Some(header), Some(slot)) = (header, slot) else {
            self.drops.note(DropReason::NOT_OURS);
            return Err(DropReason::NOT_OURS);
        };
        if train.last != Some(slot) {
            self.finish_train(now, train.last.replace(slot), out);
        }
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        let opened = if peer.refuses_endpoint(now, from) {
            Err(DropReason::ELSEWHERE)
        } else {
            open(peer, shared, now, train, header, range.clone())
        };
        let result = match opened {
            Ok(placed) => {
                peer.bytes_received += count(range.len());
                accept(peer, shared, now, from, header.receiver, out);
                self.handle_plain(now, slot, train, &placed, out)
            }
            Err(why) => Err(why),
        };
        if let (Err(why), Some((peer, _))) = (result, self.peer_mut(slot)) {
            peer.drops.note(why);
        }
        result
    }

    /// Makes something of a decrypted message.
    fn handle_plain(
        &mut self,
        now: Instant,
        slot: u32,
        train: &mut Train,
        placed: &Placed,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let bytes = train.packet.bytes_mut();
        let plain = Plain::parse(bytes.get(placed.start..placed.end).unwrap_or_default());
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        if !matches!(plain, Some(Plain::Keepalive | Plain::Control { .. })) {
            peer.timers.received_data(now, &shared.config.timing);
        }
        match (plain, peer.config.mode) {
            (Some(Plain::Keepalive), _) => {
                placed.restore(bytes);
                train.absorbed = true;
            }
            (Some(Plain::Packet { len }), PeerMode::Packets | PeerMode::Vxlan(_)) => {
                let range = placed.start..placed.start + len;
                if !self.is_allowed(slot, train, range.clone()) {
                    placed.restore(train.packet.bytes_mut());
                    return Err(DropReason::SOURCE_NOT_ALLOWED);
                }
                train.pass_mark(train.ecn, placed, range.start, range.end)?;
                self.handle_packet(now, slot, train, placed, range, out)?;
            }
            (Some(Plain::Frame { end }), PeerMode::Frames(_)) => {
                let range = placed.start + FRAME_HEADER_LEN..placed.start + end;
                let arrived = Arrived::frame(slot, bytes, range);
                train.pass_mark(train.ecn, placed, arrived.network_at(), arrived.range.end)?;
                self.take(now, train, placed, &arrived, out);
            }
            (Some(Plain::Fragment { end }), PeerMode::Frames(_)) => {
                let piece = bytes.get(placed.start + 1..placed.start + end).unwrap_or_default();
                let whole = peer.reassembly.take(piece).and_then(|frame| copy(frame, out));
                placed.restore(bytes);
                self.take_whole(now, slot, train, whole, out);
            }
            (Some(Plain::Control { end }), _) => {
                let mut control = [0; 16];
                let from = placed.start + 1..placed.start + end.min(control.len());
                let from = bytes.get(from).unwrap_or_default();
                let len = from.len();
                control.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                placed.restore(bytes);
                train.absorbed = true;
                peer.handle_control(shared, now, control.get(..len).unwrap_or_default(), out);
            }
            _ => {
                placed.restore(bytes);
                return Err(DropReason::MALFORMED);
            }
        }
        Ok(())
    }

    /// Makes something of a packet: it is for the device, or has a frame in VXLAN in it.
    fn handle_packet(
        &mut self,
        now: Instant,
        slot: u32,
        train: &mut Train,
        placed: &Placed,
        range: Range<usize>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let (peer, _) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        let bytes = train.packet.bytes_mut();
        let packet = bytes.get(range.clone()).unwrap_or_default();
        let (vxlan, found) = match peer.config.mode {
            PeerMode::Vxlan(vxlan) => (Some(vxlan), vxlan.find(packet)),
            _ => (None, Found::Other),
        };
        match (found, vxlan) {
            (Found::Frame(at), _) => {
                let frame = range.start + at..range.end;
                let (outer, arrived) = (Ecn::of(packet), Arrived::frame(slot, bytes, frame));
                train.pass_mark(outer, placed, arrived.network_at(), arrived.range.end)?;
                self.take(now, train, placed, &arrived, out);
            }
            (Found::Piece { number, start, last, at }, Some(vxlan)) => {
                let piece = packet.get(at..).unwrap_or_default();
                let whole = peer.reassembly.take_piece(number, start, last, piece);
                let frame = whole.and_then(|datagram| datagram.get(vxlan.frame_in(datagram)?..));
                let frame = frame.and_then(|frame| copy(frame, out));
                placed.restore(bytes);
                self.take_whole(now, slot, train, frame, out);
            }
            _ => {
                let arrived = Arrived { slot, layer: Layer::Packet, network: Some(0), range };
                self.take(now, train, placed, &arrived, out);
            }
        }
        Ok(())
    }

    /// Delivers a frame that was put together, if it is whole.
    fn take_whole(
        &mut self,
        now: Instant,
        slot: u32,
        train: &mut Train,
        frame: Option<PacketBuf>,
        out: &mut Outbox,
    ) {
        train.absorbed = true;
        if let Some(frame) = frame {
            self.flush(now, train, out);
            let (end, layer) = (frame.len(), Layer::Frame);
            let ready = Ready { start: 0, end, draft: None, layer, peer: slot };
            self.deliver(now, &ready, frame, out);
        }
    }

    /// Whether the packet's source is the peer's: the longest prefix that has it decides (NDSS 2017,
    /// section 2), and not any prefix of the peer.
    fn is_allowed(&self, slot: u32, train: &mut Train, packet: Range<usize>) -> bool {
        let Some(source) = train.packet.bytes().get(packet).and_then(source) else { return false };
        if train.allowed == Some((slot, source)) {
            return true;
        }
        let allowed = self.allowed.owner(source) == Some(slot);
        train.allowed = allowed.then_some((slot, source));
        allowed
    }

    /// Joins a packet to the one before, or makes it the next one that may grow.
    fn take(
        &mut self,
        now: Instant,
        train: &mut Train,
        placed: &Placed,
        arrived: &Arrived,
        out: &mut Outbox,
    ) {
        let &Arrived { slot, layer, network, range: ref packet } = arrived;
        let bytes = train.packet.bytes_mut();
        let found = bytes.get(packet.clone()).unwrap_or_default();
        let candidate = network
            .filter(|_| self.shared.config.join)
            .and_then(|network| Candidate::new(found, network));
        if let (Some(ready), Some(candidate)) = (&mut train.ready, &candidate)
            && ready.peer == slot
            && let Some(draft) = &mut ready.draft
            && let Some(before) = bytes.get(ready.start..ready.end)
            && let Some(payload) = draft.take(before, found, candidate)
        {
            if placed.covered_len == 0 {
                bytes.copy_within(packet.end - payload..packet.end, ready.end);
            } else {
                placed.restore(bytes);
            }
            ready.end += payload;
            return;
        }
        let mut start = packet.start;
        if placed.covered_len != 0
            && let Some(ready) = &train.ready
        {
            start = ready.end;
            bytes.copy_within(packet.clone(), start);
            placed.restore(bytes);
        }
        self.flush(now, train, out);
        let end = start + packet.len();
        train.ready =
            Some(Ready { start, end, draft: candidate.map(Draft::new), layer, peer: slot });
    }

    /// Sends what lies ready, in a buffer of its own: more is to come from this one.
    fn flush(&mut self, now: Instant, train: &mut Train, out: &mut Outbox) {
        let Some(ready) = train.ready.take() else { return };
        let bytes = train.packet.bytes().get(ready.start..ready.end).unwrap_or_default();
        match out.make(bytes.len()) {
            Some(mut packet) => {
                // It has room for so many.
                let _ = packet.extend(bytes);
                train.absorbed = true;
                self.deliver(now, &ready, packet, out);
            }
            None => {
                train.why = DropReason::NO_BUFFER;
                if let Some((peer, _)) = self.peer_mut(ready.peer) {
                    peer.drops.note(DropReason::NO_BUFFER);
                }
            }
        }
    }

    /// Makes a packet what its device is to be told, and sends it there.
    fn deliver(&mut self, now: Instant, ready: &Ready, mut packet: PacketBuf, out: &mut Outbox) {
        packet.meta = adit_packet::Meta::default();
        if let Some(draft) = &ready.draft {
            packet.meta.vnet = draft.finish(packet.bytes_mut());
        }
        let Some((peer, shared)) = self.peer_mut(ready.peer) else {
            return out.discard(packet, DropReason::NO_PEER);
        };
        if peer.config.clamp_mss {
            let before = if ready.layer == Layer::Frame { peer.prefix_len() } else { 0 };
            let most = usize::from(peer.path.mtu()).saturating_sub(before);
            mss::clamp(&mut packet, ready.layer, most);
        }
        peer.deliver_in_turn(shared, now, ready.layer, packet, out);
    }

    /// After a train of a peer's messages: asks for a new session if this one is ending, and plans.
    fn finish_train(&mut self, now: Instant, slot: Option<u32>, out: &mut Outbox) {
        let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) else { return };
        let timing = &shared.config.timing;
        let asks = peer
            .sessions
            .current
            .as_mut()
            .filter(|session| !session.asked_late && session.is_ending(now, timing));
        if let Some(session) = asks {
            session.asked_late = true;
            peer.want_session(shared, now, out);
        }
        peer.schedule(shared);
    }
}

/// Decrypts a message to where it can best go on from.
fn open(
    peer: &mut Peer,
    shared: &Shared,
    now: Instant,
    train: &mut Train,
    header: DataHeader,
    range: Range<usize>,
) -> Result<Placed, DropReason> {
    let timing = &shared.config.timing;
    let (prefix, layer) = (peer.prefix_len(), peer.layer_in());
    let slot = peer.slot;
    let session = peer.sessions.by_index(header.receiver).ok_or(DropReason::NO_SESSION)?;
    // NDSS 2017, 6.2: neither too old nor with a counter too near its end.
    if !session.is_alive(now, timing) || header.counter >= timing.reject_after_messages {
        return Err(DropReason::NO_SESSION);
    }
    if !session.window.is_new(header.counter) {
        return Err(DropReason::REPLAYED);
    }
    let text = range.start + DATA_HEADER_LEN;
    let ready = train.ready.as_ref().filter(|ready| ready.peer == slot && ready.layer == layer);
    // Its headers go over the end of the payload before, never over headers.
    let over = ready.and_then(|ready| {
        let headers = ready.draft.as_ref()?.header_len()?;
        let covered = headers + prefix;
        (ready.end - ready.start >= headers + covered).then_some((ready.end, covered))
    });
    let (start, covered_len) = over.map_or((text, 0), |(end, covered)| (end - covered, covered));
    let mut placed = Placed { start, end: start, covered: [0; COVERED_MAX], covered_len };
    let bytes = train.packet.bytes_mut();
    let under = bytes.get(start..start + covered_len).unwrap_or_default();
    placed.covered.iter_mut().zip(under).for_each(|(to, from)| *to = *from);
    let buffer = bytes.get_mut(start..range.end).unwrap_or_default();
    let Some(len) = session.recv.open(header.counter, buffer, text - start) else {
        placed.restore(bytes);
        return Err(DropReason::NOT_AUTHENTIC);
    };
    placed.end = start + len;
    session.window.note(header.counter);
    Ok(placed)
}

/// A message authenticated: its sender is there, and it knows the session.
fn accept(
    peer: &mut Peer,
    shared: &mut Shared,
    now: Instant,
    from: Endpoint,
    index: u32,
    out: &mut Outbox,
) {
    peer.heard(shared, now, from);
    let (confirmed, gone) = peer.sessions.confirm(index);
    shared.free([gone]);
    if confirmed {
        peer.connected(shared, now, out);
    }
}

/// A packet of its own for bytes.
fn copy(bytes: &[u8], out: &mut Outbox) -> Option<PacketBuf> {
    let mut packet = out.make(bytes.len())?;
    // It has room for so many.
    let _ = packet.extend(bytes);
    Some(packet)
}
