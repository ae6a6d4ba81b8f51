//! The send path: from packets and super-packets to trains of data messages.

use alloc::sync::Arc;

use adit_packet::{
    Ecn, Gso, Instant, Layer, Meta, PacketBuf, Segment, SuperPacket, finish_checksum,
};

use crate::frames::plain::{
    FRAGMENT, FRAGMENT_HEADER_LEN, FRAME, FRAME_HEADER_LEN, first_byte, padding,
};
use crate::frames::reassembly::{FRAME_LEN_MAX, LAST};
use crate::inner::{mark, network};
use crate::message::{DATA_HEADER_LEN, DATA_OVERHEAD};
use crate::noise::TAG_LEN;
use crate::path::mss;
use crate::path::too_big;
use crate::peer::Peer;
use crate::session::SendKey;
use crate::shared::{BULK_LEN, Shared};
use adit_engine::{DropReason, Endpoint, Outbox};

/// Datagrams in one train: the limit of the kernel (`UDP_MAX_SEGMENTS`).
pub(crate) const TRAIN_MAX: usize = 64;
/// Bytes in one train: the longest UDP payload over IPv4.
pub(crate) const TRAIN_LEN_MAX: usize = 65_507;

/// The longest super-packet of `mtu`-byte packets that fits one train. Set `IFLA_GSO_MAX_SIZE` of the device to it,
/// so that no super-packet needs a second, short train.
#[must_use]
pub fn gso_len_max(mtu: u16) -> usize {
    let mtu = usize::from(mtu);
    let datagrams = (TRAIN_LEN_MAX / (mtu + DATA_OVERHEAD)).clamp(1, TRAIN_MAX);
    // A super-packet has its headers once: here those of IPv6 and TCP with timestamps.
    datagrams * mtu.saturating_sub(72) + 72
}

/// The state for sending data messages to one peer.
struct SendPath {
    key: Arc<SendKey>,
    to: Endpoint,
    limit: u64,
    /// The longest packet that fits a datagram.
    max: usize,
    /// The bytes before a packet inside a message: none, or the first byte of a frame.
    prefix: usize,
    /// The ECN codepoint of the outer header: that of the packet (RFC 6040, 4.1, normal mode); not ECN-capable
    /// for our own messages and for fragments.
    ecn: Ecn,
    /// How many segments of a super-packet are left out, from its first one on.
    skip: usize,
}

/// What became of a packet that fills a queue that stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relieved {
    /// It does not fill the queue, or it was marked.
    Not,
    /// It must be dropped.
    Drop,
    /// Its first segment must be dropped.
    DropFirst,
}

/// Marks a packet as congested. One that is not ECN-capable must be dropped.
#[cold]
fn relieve(shared: &mut Shared, layer: Layer, packet: &mut PacketBuf) -> Relieved {
    if network(layer, packet.bytes()).len() < BULK_LEN {
        return Relieved::Not;
    }
    shared.congested.out.clear();
    if mark(layer, packet.bytes_mut()) {
        Relieved::Not
    } else if packet.meta.vnet.is_super_packet() {
        Relieved::DropFirst
    } else {
        Relieved::Drop
    }
}

impl Peer {
    /// Sends a packet or frame in the current session.
    pub(crate) fn send_now(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let layer = self.layer_out();
        let congested = core::mem::take(&mut packet.meta.congested);
        let relieved = if shared.congested.out.renew(now, congested) {
            relieve(shared, layer, &mut packet)
        } else {
            Relieved::Not
        };
        if relieved == Relieved::Drop {
            return self.discard(packet, DropReason::QUEUE_MANAGED, out);
        }
        let Some(mut path) = self.send_path(shared) else {
            return self.discard(packet, DropReason::NO_SESSION, out);
        };
        if relieved == Relieved::DropFirst {
            path.skip = 1;
            self.drops.note(DropReason::QUEUE_MANAGED);
        }
        path.ecn = Ecn::of(network(layer, packet.bytes()));
        if self.config.clamp_mss {
            mss::clamp(&mut packet, layer, path.max.saturating_sub(path.prefix));
        }
        let sent = if packet.meta.vnet.is_super_packet() {
            self.send_super(&path, layer, packet, out)
        } else {
            self.send_single(&path, packet, out)
        };
        let sent = match (sent, layer) {
            (Err((packet, why)), Layer::Frame) if why == DropReason::TOO_BIG => {
                self.send_fragments(&path, packet, out)
            }
            (sent, _) => sent,
        };
        match sent {
            Ok(()) => self.after_send(shared, now, true, out),
            Err((packet, why)) => {
                if why == DropReason::TOO_BIG
                    && layer == Layer::Packet
                    && let Some(device) = shared.config.device
                    && let Some(answer) = too_big::answer(packet.bytes(), path.max, out)
                {
                    out.send(Endpoint::Port(device), answer);
                }
                self.discard(packet, why, out);
            }
        }
    }

    /// Sends a message of our own in the current session: an empty one (a keepalive), or a control message, padded
    /// with zeros to `len` bytes.
    pub(crate) fn send_message(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        plain: &[u8],
        len: usize,
        out: &mut Outbox,
    ) {
        if let Some(session) = &self.sessions.current {
            let key = Arc::clone(&session.send);
            self.send_under(&key, shared, now, plain, len, out);
        }
    }

    /// Sends a message of our own under the key of one session.
    pub(crate) fn send_under(
        &mut self,
        key: &SendKey,
        shared: &mut Shared,
        now: Instant,
        plain: &[u8],
        len: usize,
        out: &mut Outbox,
    ) {
        let Some(to) = self.endpoint else { return };
        let limit = shared.config.timing.reject_after_messages;
        let Some(counter) = key.reserve(1, limit) else { return };
        let Some(mut packet) = out.make(len + DATA_OVERHEAD) else { return };
        if let Some(message) = packet.grow(len + DATA_OVERHEAD) {
            message.fill(0);
            if let Some(text) = message.get_mut(DATA_HEADER_LEN..DATA_HEADER_LEN + plain.len()) {
                text.copy_from_slice(plain);
            }
            key.seal(counter, message);
        }
        // A long one, which is no probe, may be cut where the path is narrower than 1280.
        packet.meta.may_fragment = self.path.may_fragment(plain.len(), true);
        self.count_sent(packet.len());
        out.send(to, packet);
        self.after_send(shared, now, false, out);
    }

    fn send_path(&self, shared: &Shared) -> Option<SendPath> {
        let session = self.sessions.current.as_ref()?;
        let prefix = match self.layer_out() {
            Layer::Packet => 0,
            Layer::Frame => FRAME_HEADER_LEN,
        };
        Some(SendPath {
            key: Arc::clone(&session.send),
            to: self.endpoint?,
            limit: shared.config.timing.reject_after_messages,
            max: usize::from(self.path.mtu()),
            prefix,
            ecn: Ecn::NotEct,
            skip: 0,
        })
    }

    /// Updates the timers, and starts a new session if this one is old.
    fn after_send(&mut self, shared: &mut Shared, now: Instant, data: bool, out: &mut Outbox) {
        self.timers.sent(now, self.config.persistent_keepalive);
        if data {
            self.path.used(now);
        }
        if data && self.timers.answer.is_none() {
            let jitter = shared.jitter();
            self.timers.sent_data(now, &shared.config.timing, jitter);
        }
        let timing = &shared.config.timing;
        if self.sessions.current.as_ref().is_some_and(|session| session.is_worn(now, timing)) {
            self.renew(shared, now, out);
        }
        self.schedule(shared);
    }

    /// Encrypts one packet in its own buffer: header and tag go to its headroom and tailroom.
    fn send_single(
        &mut self,
        path: &SendPath,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        if finish_checksum(&mut packet).is_err() {
            return Err((packet, DropReason::MALFORMED));
        }
        let len = packet.len() + path.prefix;
        let must_not_be_cut = path.prefix != 0 || too_big::must_not_be_cut(packet.bytes(), len);
        if len > path.max && must_not_be_cut {
            return Err((packet, DropReason::TOO_BIG));
        }
        let may_fragment = self.path.may_fragment(len, !must_not_be_cut);
        let pad = padding(len, path.max);
        if packet.headroom() < DATA_HEADER_LEN + path.prefix || packet.tailroom() < pad + TAG_LEN {
            let roomy = out.pool().take(len + pad + DATA_OVERHEAD);
            let Some(mut roomy) = roomy else { return Err((packet, DropReason::NO_BUFFER)) };
            // It has room for more.
            let _ = roomy.extend(packet.bytes());
            out.pool().give(core::mem::replace(&mut packet, roomy));
        }
        let Some(counter) = path.key.reserve(1, path.limit) else {
            return Err((packet, DropReason::NO_SESSION));
        };
        if path.prefix != 0 {
            packet.prepend(path.prefix).into_iter().for_each(|at| at.fill(first_byte(FRAME, pad)));
        }
        packet.grow(pad).into_iter().for_each(|at| at.fill(0));
        let room = packet.prepend(DATA_HEADER_LEN).is_some() && packet.grow(TAG_LEN).is_some();
        if !room {
            return Err((packet, DropReason::NO_BUFFER));
        }
        path.key.seal(counter, packet.bytes_mut());
        packet.meta = Meta { ecn: path.ecn, may_fragment, ..Meta::default() };
        self.count_sent(packet.len());
        out.send(path.to, packet);
        Ok(())
    }

    /// Segments a super-packet directly into trains of messages: the only copy of its payload.
    fn send_super(
        &mut self,
        path: &SendPath,
        layer: Layer,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        match self.send_trains(path, layer, &packet, out) {
            Ok(()) => {
                out.absorb(packet);
                Ok(())
            }
            Err(why) => Err((packet, why)),
        }
    }

    fn send_trains(
        &mut self,
        path: &SendPath,
        layer: Layer,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let whole = cut_to_fit(packet, layer, path)?;
        let first_len = whole.segment(0).map(|segment| segment.len()).unwrap_or_default();
        let plain = path.prefix + first_len;
        let inside_may =
            layer == Layer::Packet && !too_big::must_not_be_cut(packet.bytes(), first_len);
        let may_fragment = self.path.may_fragment(plain, inside_may);
        let datagram = plain + padding(plain, path.max) + DATA_OVERHEAD;
        let per_train = match path.to {
            Endpoint::Udp(_) => (TRAIN_LEN_MAX / datagram).clamp(1, TRAIN_MAX),
            // Streams have no trains: one message per buffer.
            Endpoint::Port(_) | Endpoint::Flow(_) => 1,
        };
        let mut left = whole.count().saturating_sub(path.skip);
        let mut segments = whole.segments().skip(path.skip);
        while left > 0 {
            let in_train = left.min(per_train);
            let counters = u64::try_from(in_train).unwrap_or(u64::MAX);
            let first = path.key.reserve(counters, path.limit).ok_or(DropReason::NO_SESSION)?;
            let mut train = out.make(in_train * datagram).ok_or(DropReason::NO_BUFFER)?;
            for (counter, segment) in (first..).zip(segments.by_ref().take(in_train)) {
                append(&mut train, path, counter, &segment);
            }
            train.meta.ecn = path.ecn;
            train.meta.may_fragment = may_fragment;
            if in_train > 1 {
                train.meta.vnet.gso = Gso::UdpL4;
                train.meta.vnet.gso_size = u16::try_from(datagram).unwrap_or(u16::MAX);
            }
            self.count_sent(train.len());
            out.send(path.to, train);
            left -= in_train;
        }
        Ok(())
    }

    /// Fragments a frame that exceeds the path MTU; each frame of a super-packet alone.
    fn send_fragments(
        &mut self,
        path: &SendPath,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), Refused> {
        let sent = if packet.meta.vnet.is_super_packet() {
            self.fragment_super(path, &packet, out)
        } else if finish_checksum(&mut packet).is_err() {
            Err(DropReason::MALFORMED)
        } else {
            self.fragment(path, packet.bytes(), out)
        };
        match sent {
            Ok(()) => {
                out.absorb(packet);
                Ok(())
            }
            Err(why) => Err((packet, why)),
        }
    }

    fn fragment_super(
        &mut self,
        path: &SendPath,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let whole = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, Layer::Frame)
            .map_err(|_| DropReason::MALFORMED)?;
        let longest = whole.header_len() + whole.segment_size();
        let mut frame = out.pool().take(longest).ok_or(DropReason::NO_BUFFER)?;
        let headroom = frame.headroom();
        let mut sent = Ok(());
        for segment in whole.segments() {
            frame.reset(headroom);
            if sent.is_ok() && segment.append_to(&mut frame).is_ok() {
                sent = self.fragment(path, frame.bytes(), out);
            }
        }
        out.pool().give(frame);
        sent
    }

    /// Sends a frame as fragments of equal length (the last one may be shorter).
    fn fragment(
        &mut self,
        path: &SendPath,
        frame: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let room = path.max.saturating_sub(FRAGMENT_HEADER_LEN);
        if room == 0 || frame.len() > FRAME_LEN_MAX {
            return Err(DropReason::TOO_BIG);
        }
        let size = frame.len().div_ceil(frame.len().div_ceil(room)).max(1);
        let [n0, n1] = self.reassembly.next_number().to_be_bytes();
        let mut at = 0;
        for piece in frame.chunks(size) {
            let plain = FRAGMENT_HEADER_LEN + piece.len();
            let pad = padding(plain, path.max);
            let counter = path.key.reserve(1, path.limit).ok_or(DropReason::NO_SESSION)?;
            let mut message = out.make(plain + pad + DATA_OVERHEAD).ok_or(DropReason::NO_BUFFER)?;
            let last = at + piece.len() == frame.len();
            let offset = u16::try_from(at).unwrap_or_default() | if last { LAST } else { 0 };
            let [o0, o1] = offset.to_be_bytes();
            // It has room for all of it.
            let _ = message.extend(&[0; DATA_HEADER_LEN]);
            let _ = message.extend(&[first_byte(FRAGMENT, pad), n0, n1, o0, o1]);
            let _ = message.extend(piece);
            message.grow(pad + TAG_LEN).into_iter().for_each(|rest| rest.fill(0));
            path.key.seal(counter, message.bytes_mut());
            message.meta.may_fragment = self.path.may_fragment(plain, false);
            self.count_sent(message.len());
            out.send(path.to, message);
            at += piece.len();
        }
        Ok(())
    }
}

/// A packet that could not be sent, and the reason.
type Refused = (PacketBuf, DropReason);

/// A super-packet whose segments fit the path. TCP segments may be made shorter than requested, since the receiver
/// sees a stream. The bounds of datagrams must stay: the network fragments those that may be fragmented.
fn cut_to_fit<'a>(
    packet: &'a PacketBuf,
    layer: Layer,
    path: &SendPath,
) -> Result<SuperPacket<'a>, DropReason> {
    let mut vnet = packet.meta.vnet;
    let whole = SuperPacket::parse(packet.bytes(), &vnet, layer);
    let whole = whole.map_err(|_| DropReason::MALFORMED)?;
    let room = path.max.saturating_sub(path.prefix + whole.header_len());
    if whole.segment_size().min(whole.payload().len()) <= room {
        return Ok(whole);
    }
    let is_tcp = matches!(vnet.gso, Gso::Tcp4 | Gso::Tcp6);
    let len = whole.segment(0).map(|segment| segment.len()).unwrap_or_default();
    if !is_tcp && layer == Layer::Packet && !too_big::must_not_be_cut(packet.bytes(), len) {
        return Ok(whole);
    }
    if room == 0 || !is_tcp {
        return Err(DropReason::TOO_BIG);
    }
    vnet.gso_size = u16::try_from(room).unwrap_or(u16::MAX);
    SuperPacket::parse(packet.bytes(), &vnet, layer).map_err(|_| DropReason::MALFORMED)
}

/// Appends one segment to a train as a message.
fn append(train: &mut PacketBuf, path: &SendPath, counter: u64, segment: &Segment<'_>) {
    let len = path.prefix + segment.len();
    let pad = padding(len, path.max);
    let Some(message) = train.grow(len + pad + DATA_OVERHEAD) else { return };
    if let Some(text) = message.get_mut(DATA_HEADER_LEN..DATA_HEADER_LEN + len + pad) {
        let (prefix, rest) = text.split_at_mut(path.prefix);
        prefix.fill(first_byte(FRAME, pad));
        let written = segment.write(rest).unwrap_or_default();
        rest.get_mut(written..).into_iter().for_each(|zeros| zeros.fill(0));
    }
    path.key.seal(counter, message);
}
