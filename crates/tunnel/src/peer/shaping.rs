//! Rate limits of the packets to and from a peer.

use adit_engine::{DropReason, Endpoint, Outbox, PortId};
use adit_packet::{Instant, Layer, PacketBuf, SuperPacket};

use crate::peer::Peer;
use crate::shape::Way;
use crate::shape::shaper::Shaper;
use crate::shared::Shared;

impl Peer {
    /// Sends a packet or frame to the peer, within its rate.
    pub(crate) fn send_in_turn(
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

    /// Delivers a packet or frame from the peer to its port, within its rate. IP packets of a VXLAN peer are not
    /// limited.
    pub(crate) fn deliver_in_turn(
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

    /// Sends and delivers the queued packets whose time has come.
    pub(crate) fn run_shapers(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        for way in [Way::Out, Way::In] {
            let layer = self.layer_of(way);
            while let Some(shaper) = self.shapers.of(way) {
                let drops = &mut self.drops;
                let packet = shaper.pop(now, layer, |packet| {
                    shared.shaped.release(&packet);
                    drops.note(DropReason::QUEUE_MANAGED);
                    out.discard(packet, DropReason::QUEUE_MANAGED);
                });
                let Some(packet) = packet else { break };
                shared.shaped.release(&packet);
                match way {
                    Way::Out => self.send(shared, now, packet, out),
                    Way::In => self.deliver(self.inside(shared), packet, out),
                }
            }
        }
    }

    /// Discards all queued packets.
    pub(crate) fn drop_shaped(&mut self, shared: &mut Shared, out: &mut Outbox, why: DropReason) {
        for way in [Way::Out, Way::In] {
            for packet in self.shapers.of(way).into_iter().flat_map(Shaper::drain) {
                shared.shaped.release(&packet);
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

    /// The port for packets from the peer.
    fn inside(&self, shared: &Shared) -> Option<PortId> {
        self.config.mode.port().or(shared.config.device)
    }

    const fn layer_of(&self, way: Way) -> Layer {
        match way {
            Way::Out => self.layer_out(),
            Way::In => self.layer_in(),
        }
    }

    /// Returns the packet if it may go at once, and queues it otherwise.
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

    /// Segments a super-packet that would occupy the line for long.
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
                // It has that much room.
                segment.append_to(&mut made).ok().map(|()| made)
            });
            match made {
                Some(made) => self.hold(shared, now, way, made, layer, out),
                None => self.drops.note(DropReason::NO_BUFFER),
            }
        }
        out.absorb(packet);
        self.run_shapers(shared, now, out);
        self.schedule(shared);
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
        if !shared.shaped.admits(&packet) {
            return self.discard(packet, DropReason::QUEUE_FULL, out);
        }
        let over = self.shapers.of(way).and_then(|shaper| shaper.push(now, packet, layer));
        if let Some(over) = over {
            shared.shaped.release(&over);
            self.discard(over, DropReason::QUEUE_FULL, out);
        }
        self.schedule(shared);
    }
}
