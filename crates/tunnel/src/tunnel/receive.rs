//! The receive path: from trains of data messages to packets and super-packets.
//!
//! A train is decrypted within its own buffer. Consecutive packets of one flow are joined without a copy: a
//! packet is decrypted to a place where its payload directly follows the payload before it, so its headers
//! overwrite the end of that payload for a moment. The overwritten bytes are saved first, and restored when
//! the headers were compared.
//!
//! ```text
//! received  | hdr | packet 0 (ciphertext) | tag | hdr | packet 1 (ciphertext) | tag | ...
//! packet 0        | headers 0 | payload 0 |
//! packet 1        | headers 0 | payl| headers 1 | payload 1 |      `covered`: what headers 1 overwrote
//! joined          | headers 0 | payload 0       | payload 1 |      restored: one super-packet
//! ```
//!
//! If packet 1 does not continue packet 0, the part before leaves as a packet of its own (a copy), and
//! packet 1 starts a new super-packet.

use core::net::IpAddr;
use core::ops::Range;

use adit_packet::{Ecn, Gso, Instant, Layer, PacketBuf};

use crate::config::PeerMode;
use crate::frames::plain::{FRAME_HEADER_LEN, Plain};
use crate::frames::vxlan::{Found, OUTER_LEN_MAX};
use crate::inner::{network_in_frame, source};
use crate::join::{Candidate, Draft, HEADERS_MAX};
use crate::message::{DATA_HEADER_LEN, DataHeader, Message};
use crate::path::mss;
use crate::peer::{Peer, count};
use crate::post_quantum::NOT_POST_QUANTUM;
use crate::shared::{BULK_LEN, Shared};
use crate::tunnel::Tunnel;
use adit_engine::{DropReason, Endpoint, Outbox};

/// The longest headers of a packet, with the outer headers of a frame before them.
const COVERED_MAX: usize = HEADERS_MAX + OUTER_LEN_MAX;

/// A train that is being decrypted.
struct Train {
    packet: PacketBuf,
    /// The codepoint of its outer headers: a train has one.
    ecn: Ecn,
    /// Whether the queue that it came from stands, and no packet was marked or dropped for that yet.
    congested: bool,
    /// The packet or super-packet that was decrypted last, and that the next one may continue.
    ready: Option<Ready>,
    /// Whether a message was consumed here: a keepalive, a handshake.
    absorbed: bool,
    /// The reason of the last drop.
    why: DropReason,
    /// The last source that was found in the allowed IPs: most packets of a train have the same.
    allowed: Option<(u32, IpAddr)>,
    /// The peer of the last message. Its session and timers are updated once per train.
    last: Option<u32>,
}

impl Train {
    /// Copies the ECN mark of the outer header to the IP packet from `start` to `end`, if there is one
    /// (RFC 6040, section 4.2).
    #[inline]
    fn pass_mark(
        &mut self,
        outer: Ecn,
        placed: &Placed,
        start: usize,
        end: usize,
    ) -> Result<(), DropReason> {
        if outer == Ecn::NotEct && !self.congested {
            return Ok(());
        }
        let bytes = self.packet.bytes_mut();
        let ip = bytes.get_mut(start..end).unwrap_or_default();
        // Not IP: no mark is possible.
        if ip.is_empty() {
            return Ok(());
        }
        let inner = Ecn::of(ip);
        let passed = match inner.decapsulated(outer) {
            Some(_) if self.congested && ip.len() >= BULK_LEN => {
                self.congested = false;
                inner.decapsulated(Ecn::Ce).ok_or(DropReason::QUEUE_MANAGED)
            }
            passed => passed.ok_or(DropReason::CONGESTED),
        };
        match passed {
            Ok(ecn) if ecn == inner => {}
            Ok(ecn) => ecn.write(ip),
            Err(why) => {
                placed.restore(bytes);
                return Err(why);
            }
        }
        Ok(())
    }
}

/// A decrypted packet or super-packet in the buffer of the train.
#[derive(Clone, Copy)]
struct Ready {
    start: usize,
    end: usize,
    draft: Option<Draft>,
    layer: Layer,
    peer: u32,
}

/// A decrypted packet or frame for a port.
struct Arrived {
    slot: u32,
    layer: Layer,
    /// The offset of its IP header, if it has one.
    network: Option<usize>,
    /// Its place in the buffer.
    range: Range<usize>,
}

impl Arrived {
    fn frame(slot: u32, bytes: &[u8], range: Range<usize>) -> Self {
        let network = network_in_frame(bytes.get(range.clone()).unwrap_or_default());
        Self { slot, layer: Layer::Frame, network, range }
    }

    /// The place of its IP header in the buffer, or its end if it has none.
    fn network_at(&self) -> usize {
        self.network.map_or(self.range.end, |network| self.range.start + network)
    }
}

/// A message decrypted to `start..end`, and the bytes of the packet before that it overwrote.
struct Placed {
    start: usize,
    end: usize,
    covered: [u8; COVERED_MAX],
    covered_len: usize,
    /// Whether its session carries data.
    carries_data: bool,
}

impl Placed {
    /// Restores the overwritten bytes.
    fn restore(&self, bytes: &mut [u8]) {
        let from = self.covered.get(..self.covered_len).unwrap_or_default();
        if let Some(to) = bytes.get_mut(self.start..self.start + from.len()) {
            to.copy_from_slice(from);
        }
    }
}

impl Tunnel {
    /// Handles a datagram or a train from the network. All messages of a train have one source address, but
    /// not necessarily one peer or session.
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
            congested: self.shared.congested.inward.renew(now, packet.meta.congested),
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
        if !train.congested {
            self.shared.congested.inward.clear();
        }
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
            None => Err(DropReason::NOT_OURS.into()),
        };
        match result {
            Ok(()) => train.absorbed = true,
            Err(refused) if refused.is_counted => {}
            Err(refused) => self.drops.note(refused.why),
        }
        result.map_err(|refused| refused.why)
    }

    /// Handles a data message (NDSS 2017, 5.4.6): decrypts it in place, moves the peer to its source, and
    /// delivers its contents.
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
            // A train of one peer is finished once, not after each message.
            self.finish_train(now, train.last.replace(slot), out);
        }
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        // Before decryption: a message from the wrong place must not count as received in the replay window.
        let opened = if peer.refuses_endpoint(now, from) {
            Err(DropReason::ELSEWHERE)
        } else {
            open(peer, shared, now, train, header, range.clone())
        };
        let result = match opened {
            Ok(placed) => {
                peer.bytes_received += count(range.len());
                accept(peer, shared, now, from, header.receiver, out);
                self.handle_plain(now, slot, header.receiver, train, &placed, out)
            }
            Err(why) => Err(why),
        };
        if let (Err(why), Some((peer, _))) = (result, self.peer_mut(slot)) {
            peer.drops.note(why);
        }
        result
    }

    /// Dispatches the contents of a decrypted message by their kind. `session` is the index that it came under.
    fn handle_plain(
        &mut self,
        now: Instant,
        slot: u32,
        session: u32,
        train: &mut Train,
        placed: &Placed,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let bytes = train.packet.bytes_mut();
        let plain = Plain::parse(bytes.get(placed.start..placed.end).unwrap_or_default());
        let (peer, shared) = self.peer_mut(slot).ok_or(DropReason::NOT_OURS)?;
        if !matches!(plain, Some(Plain::Keepalive | Plain::Control { .. })) {
            if !placed.carries_data {
                placed.restore(bytes);
                peer.data_refused(shared, now);
                return Err(NOT_POST_QUANTUM);
            }
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
                self.join(now, train, placed, &arrived, out);
            }
            (Some(Plain::Fragment { end }), PeerMode::Frames(_)) => {
                let piece = bytes.get(placed.start + 1..placed.start + end).unwrap_or_default();
                let whole = peer.reassembly.take(piece).and_then(|frame| copy(frame, out));
                placed.restore(bytes);
                self.deliver_frame(now, slot, train, whole, out);
            }
            (Some(Plain::Control { end }), _) => {
                let text = bytes.get(placed.start + 1..placed.start + end).unwrap_or_default();
                peer.handle_control(shared, now, session, text, out);
                placed.restore(bytes);
                train.absorbed = true;
            }
            _ => {
                placed.restore(bytes);
                return Err(DropReason::MALFORMED);
            }
        }
        Ok(())
    }

    /// Handles an IP packet: it is for the device, or it carries a frame in VXLAN.
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
                self.join(now, train, placed, &arrived, out);
            }
            (Found::Piece { number, start, last, at }, Some(vxlan)) => {
                let piece = packet.get(at..).unwrap_or_default();
                let whole = peer.reassembly.take_piece(number, start, last, piece);
                let frame = whole.and_then(|datagram| datagram.get(vxlan.frame_in(datagram)?..));
                let frame = frame.and_then(|frame| copy(frame, out));
                placed.restore(bytes);
                self.deliver_frame(now, slot, train, frame, out);
            }
            _ => {
                let arrived = Arrived { slot, layer: Layer::Packet, network: Some(0), range };
                self.join(now, train, placed, &arrived, out);
            }
        }
        Ok(())
    }

    /// Delivers a reassembled frame, once it is complete.
    fn deliver_frame(
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

    /// Whether the source of a packet belongs to its peer: the owner of the longest matching prefix must be
    /// this peer (NDSS 2017, section 2); a shorter matching prefix of the peer is not enough.
    fn is_allowed(&self, slot: u32, train: &mut Train, packet: Range<usize>) -> bool {
        let Some(source) = train.packet.bytes().get(packet).and_then(source) else { return false };
        if train.allowed == Some((slot, source)) {
            return true;
        }
        let allowed = self.allowed.owner(source) == Some(slot);
        train.allowed = allowed.then_some((slot, source));
        allowed
    }

    /// Joins a packet to the one before it, or starts a new super-packet with it.
    fn join(
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
            // `draft` has accepted it: only its payload is kept, which lies behind `ready.end` already if the
            // message was decrypted over the packet before.
            if placed.covered_len == 0 {
                bytes.copy_within(packet.end - payload..packet.end, ready.end);
            } else {
                placed.restore(bytes);
            }
            ready.end += payload;
            return;
        }
        // It does not continue the packet before, whose end it may have overwritten: move it out of the way,
        // then restore that end.
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

    /// Sends the packet that is ready, copied to a buffer of its own: this buffer still holds ciphertext.
    fn flush(&mut self, now: Instant, train: &mut Train, out: &mut Outbox) {
        let Some(ready) = train.ready.take() else { return };
        let bytes = train.packet.bytes().get(ready.start..ready.end).unwrap_or_default();
        match out.make(bytes.len()) {
            Some(mut packet) => {
                // It has that much room.
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

    /// Sets the offload metadata of a packet and sends it to its port.
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

    /// Finishes a train of one peer: requests a new session if the current one is ending, and reschedules
    /// the timers.
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
            peer.renew(shared, now, out);
        }
        peer.schedule(shared);
    }
}

/// Decrypts a message to the place where it can best be joined to the packet before.
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
    // The new headers may overwrite payload only, never the headers of the packet before: its payload must be
    // at least as long as the new headers.
    let over = ready.and_then(|ready| {
        let headers = ready.draft.as_ref()?.header_len()?;
        let covered = headers + prefix;
        (ready.end - ready.start >= headers + covered).then_some((ready.end, covered))
    });
    let (start, covered_len) = over.map_or((text, 0), |(end, covered)| (end - covered, covered));
    let carries_data = session.carries_data;
    let mut placed =
        Placed { start, end: start, covered: [0; COVERED_MAX], covered_len, carries_data };
    let bytes = train.packet.bytes_mut();
    let under = bytes.get(start..start + covered_len).unwrap_or_default();
    placed.covered.iter_mut().zip(under).for_each(|(to, from)| *to = *from);
    let buffer = bytes.get_mut(start..range.end).unwrap_or_default();
    let Some(len) = session.open(header, buffer, text - start) else {
        placed.restore(bytes);
        return Err(DropReason::NOT_AUTHENTIC);
    };
    placed.end = start + len;
    Ok(placed)
}

/// Accounts for an authenticated message: the peer is at `from`, and it has confirmed the session.
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
    shared.end([gone]);
    if confirmed {
        peer.connected(shared, now, out);
    }
}

/// Copies bytes to a packet of their own.
fn copy(bytes: &[u8], out: &mut Outbox) -> Option<PacketBuf> {
    let mut packet = out.make(bytes.len())?;
    // It has that much room.
    let _ = packet.extend(bytes);
    Some(packet)
}
