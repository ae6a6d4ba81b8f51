//! A peer's packets in its share of the line, to it and from it.

use adit_packet::{Instant, Layer, PacketBuf, SuperPacket};

use super::peer::Peer;
use super::shaper::{Shape, Shaper};
use super::shared::Shared;
use adit_engine::{DropReason, Endpoint, Outbox, PortId};

/// Large buffers that wait in all shapers together: a quarter of the pool's.
const LARGE_MAX: usize = 64;
/// Buffers that wait in all shapers together: half of the pool's small ones.
const HELD_MAX: usize = 2048;
/// A buffer with more memory than this is one of the large ones.
const SMALL_LEN: usize = 4096;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

/// Both directions of a peer.
#[derive(Debug, Default)]
pub(super) struct Shapers {
    /// To the peer.
    out: Option<Shaper>,
    /// From the peer.
    inward: Option<Shaper>,
}

impl Shapers {
    /// The rate of what is no longer shaped, until nothing waits.
    const OPEN: Shape = Shape { bits_per_second: u64::MAX, burst: u32::MAX };

    /// Sets both rates.
    pub(super) fn set(&mut self, out: Option<Shape>, inward: Option<Shape>, shared: &mut Shared) {
        for (shaper, shape) in [(&mut self.out, out), (&mut self.inward, inward)] {
            match (shaper, shape) {
                (Some(shaper), shape) => shaper.set(shape.unwrap_or(Self::OPEN)),
                (none, Some(shape)) => {
                    let mut key = [0; 8];
                    (shared.random)(&mut key);
                    *none = Some(Shaper::new(shape, u64::from_le_bytes(key)));
                }
                (None, None) => {}
            }
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let both = [&self.out, &self.inward].into_iter().flatten();
        both.filter_map(Shaper::next_timeout).min()
    }

    /// How many packets wait.
    pub(super) fn len(&self) -> usize {
        [&self.out, &self.inward].into_iter().flatten().map(Shaper::len).sum()
    }

    fn of(&mut self, way: Way) -> Option<&mut Shaper> {
        match way {
            Way::Out => self.out.as_mut(),
            Way::In => self.inward.as_mut(),
        }
    }
}

impl Peer {
    /// Sends a packet or frame from a port when its turn comes.
    pub(super) fn send_in_turn(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        if let Some(packet) = self.shape(shared, now, Way::Out, packet, out) {
            self.send(shared, now, packet, out);
        }
    }

    /// Gives a packet or frame from the peer to its port when its turn comes. Packets beside VXLAN are
    /// let through.
    pub(super) fn deliver_in_turn(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        layer: Layer,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        if layer != self.layer_in() {
            return self.deliver(shared.config.device, packet, out);
        }
        if let Some(packet) = self.shape(shared, now, Way::In, packet, out) {
            self.deliver(self.inside(shared), packet, out);
        }
    }

    /// Sends and delivers what may go now.
    pub(super) fn run_shapers(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        for way in [Way::Out, Way::In] {
            while let Some(shaper) = self.shapers.of(way) {
                let drops = &mut self.drops;
                let packet = shaper.pop(now, |packet| {
                    shared.released(&packet);
                    drops.note(DropReason::QUEUE_MANAGED);
                    out.discard(packet, DropReason::QUEUE_MANAGED);
                });
                let Some(packet) = packet else { break };
                shared.released(&packet);
                match way {
                    Way::Out => self.send(shared, now, packet, out),
                    Way::In => self.deliver(self.inside(shared), packet, out),
                }
            }
        }
    }

    /// Gives back all that waits.
    pub(super) fn drop_shaped(&mut self, shared: &mut Shared, out: &mut Outbox, why: DropReason) {
        for way in [Way::Out, Way::In] {
            for packet in self.shapers.of(way).into_iter().flat_map(Shaper::drain) {
                shared.released(&packet);
                out.discard(packet, why);
            }
        }
    }

    fn deliver(&mut self, to: Option<PortId>, packet: PacketBuf, out: &mut Outbox) {
        match to {
            Some(port) => out.send(Endpoint::Port(port), packet),
            None => self.discard(packet, DropReason::NO_DESTINATION, out),
        }
    }

    /// The port of what comes from the peer.
    fn inside(&self, shared: &Shared) -> Option<PortId> {
        self.config.mode.port().or(shared.config.device)
    }

    const fn layer_of(&self, way: Way) -> Layer {
        match way {
            Way::Out => self.layer_out(),
            Way::In => self.layer_in(),
        }
    }

    /// Returns a packet that may go at once, and lets it wait otherwise.
    fn shape(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        way: Way,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let layer = self.layer_of(way);
        let Some(shaper) = self.shapers.of(way) else { return Some(packet) };
        if packet.meta.vnet.is_super_packet() && shaper.wants_segments(packet.len()) {
            self.shape_segments(shared, now, way, packet, out);
            return None;
        }
        match shaper.pass(now, packet) {
            Ok(packet) => Some(packet),
            Err(packet) => {
                self.hold(shared, now, way, packet, layer, out);
                None
            }
        }
    }

    /// Cuts up a super-packet that would keep the line busy for long.
    fn shape_segments(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        way: Way,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let layer = self.layer_of(way);
        let Ok(whole) = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, layer) else {
            return self.discard(packet, DropReason::MALFORMED, out);
        };
        for segment in whole.segments() {
            let made = out.make(segment.len()).and_then(|mut made| {
                // It has room for so many.
                segment.append_to(&mut made).ok().map(|()| made)
            });
            match made {
                Some(made) => self.hold(shared, now, way, made, layer, out),
                None => self.drops.note(DropReason::NO_BUFFER),
            }
        }
        out.absorb(packet);
        self.run_shapers(shared, now, out);
        self.plan(shared);
    }

    fn hold(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        way: Way,
        packet: PacketBuf,
        layer: Layer,
        out: &mut Outbox,
    ) {
        let is_large = packet.capacity() > SMALL_LEN;
        if shared.shaped >= HELD_MAX || is_large && shared.shaped_large >= LARGE_MAX {
            return self.discard(packet, DropReason::QUEUE_FULL, out);
        }
        shared.shaped += 1;
        shared.shaped_large += usize::from(is_large);
        let over = self.shapers.of(way).and_then(|shaper| shaper.push(now, packet, layer));
        if let Some(over) = over {
            shared.released(&over);
            self.discard(over, DropReason::QUEUE_FULL, out);
        }
        self.plan(shared);
    }
}

impl Shared {
    /// A packet waits no more.
    fn released(&mut self, packet: &PacketBuf) {
        self.shaped = self.shaped.saturating_sub(1);
        let is_large = usize::from(packet.capacity() > SMALL_LEN);
        self.shaped_large = self.shaped_large.saturating_sub(is_large);
    }
}
