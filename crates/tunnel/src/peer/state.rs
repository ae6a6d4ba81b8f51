//! The state of a peer as bytes, for a process that continues in the place of this one.
//!
//! Packets that wait for a handshake or for their turn stay in this process: the state counts them as dropped.

use alloc::vec::Vec;

use adit_engine::{DropCounts, DropReason};

use crate::codec::{Codec, Decoder, Encoder};
use crate::peer::Peer;
use crate::post_quantum::NOT_POST_QUANTUM;
use crate::session::COUNT_MAX;
use crate::shared::Shared;

impl Peer {
    /// Encodes everything but packets that wait and fragments of frames.
    pub(crate) fn encode(&self, to: &mut Encoder) {
        self.config.encode(to);
        // It follows from the keys, but to derive it for 1000 peers takes a tenth of a second.
        self.shared_secret.encode(to);
        (self.endpoint, self.last_udp).encode(to);
        self.cookie.encode(to);
        self.initiated.encode(to);
        (self.last_initiation, self.last_accepted).encode(to);
        self.timestamps.encode(to);
        self.sessions.encode(to);
        self.timers.encode(to);
        self.path.encode(to);
        (self.ungreeted, self.reported_suite).encode(to);
        self.hybrid.encode(to);
        self.reassembly.sent().encode(to);
        (self.bytes_sent, self.bytes_received).encode(to);
        (self.last_handshake, self.last_authentic).encode(to);
        self.round_trip.encode(to);
        self.is_awaited.encode(to);
        let mut drops = self.drops.clone();
        let waiting = self.queue.len() + self.shapers.len();
        drops.add(DropReason::HANDED_OVER, super::count(waiting));
        encode_drops(&drops, to);
    }

    /// The peer of [`Self::encode`], in a slot of its own. Its indices are taken.
    pub(crate) fn decode(slot: u32, from: &mut Decoder<'_>, shared: &mut Shared) -> Option<Self> {
        let (config, secret) = Codec::decode(from)?;
        let mut peer = Self::with(slot, config, secret, shared);
        (peer.endpoint, peer.last_udp) = Codec::decode(from)?;
        peer.cookie.restore(from)?;
        peer.initiated = Codec::decode(from)?;
        (peer.last_initiation, peer.last_accepted) = Codec::decode(from)?;
        peer.timestamps = Codec::decode(from)?;
        peer.sessions = Codec::decode(from)?;
        peer.timers = Codec::decode(from)?;
        peer.path = Codec::decode(from)?;
        (peer.ungreeted, peer.reported_suite) = Codec::decode(from)?;
        peer.hybrid = Codec::decode(from)?;
        peer.reassembly.restore(Codec::decode(from)?);
        (peer.bytes_sent, peer.bytes_received) = Codec::decode(from)?;
        (peer.last_handshake, peer.last_authentic) = Codec::decode(from)?;
        peer.round_trip = Codec::decode(from)?;
        peer.is_awaited = Codec::decode(from)?;
        peer.drops = decode_drops(from)?;
        let indices: Vec<u32> = peer.indices().collect();
        let is_new = indices.into_iter().all(|index| shared.take_index(index, slot));
        let is_sane = peer.bytes_sent.max(peer.bytes_received) <= COUNT_MAX;
        let (out, inward) = (peer.config.shape_out, peer.config.shape_in);
        peer.shapers.set(out, inward, || shared.random_u64());
        (is_new && is_sane).then_some(peer)
    }

    /// Reports the memory of the keys, and schedules the timers.
    pub(crate) fn settle(&mut self, shared: &mut Shared) {
        shared.holds_keys(&*self);
        shared.holds_keys(self.preshared.as_bytes());
        for session in self.sessions.all() {
            shared.holds_keys(&*session.send);
            shared.holds_keys(&*session.recv);
        }
        self.schedule(shared);
    }

    fn indices(&mut self) -> impl Iterator<Item = u32> {
        let initiated = self.initiated.as_ref().map(|initiated| initiated.index);
        let sessions = self.sessions.all().flat_map(|session| session.indices());
        initiated.into_iter().chain(sessions.flatten())
    }
}

/// The reasons that the engine counts by.
fn reasons() -> impl Iterator<Item = DropReason> {
    DropReason::KNOWN.into_iter().chain([NOT_POST_QUANTUM])
}

/// Encodes counts by the names of their reasons, which do not change between versions.
pub(crate) fn encode_drops(drops: &DropCounts, to: &mut Encoder) {
    let named = drops.iter().map(|(why, count)| (why.as_str().as_bytes().to_vec(), count));
    named.collect::<Vec<_>>().encode(to);
}

/// The counts of [`encode_drops`]; those of unknown reasons count as [`DropReason::OTHER`].
pub(crate) fn decode_drops(from: &mut Decoder<'_>) -> Option<DropCounts> {
    let mut drops = DropCounts::new();
    let mut all = 0_u64;
    for (name, count) in Vec::<(Vec<u8>, u64)>::decode(from)? {
        let why = reasons().find(|why| why.as_str().as_bytes() == name);
        all = all.checked_add(count).filter(|all| *all <= COUNT_MAX)?;
        drops.add(why.unwrap_or(DropReason::OTHER), count);
    }
    Some(drops)
}
