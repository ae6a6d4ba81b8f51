//! Sending frames in VXLAN, to a peer that is not adit.

use adit_engine::{DropReason, Outbox};
use adit_packet::{
    Fragment, Gso, Instant, Ipv4, Ipv4Header, Layer, PacketBuf, SuperPacket, finish_checksum,
};

use crate::frames::vxlan::Vxlan;
use crate::path::mss;
use crate::peer::Peer;
use crate::shared::Shared;

/// The longest packet that IP's 16 bits of length can say.
const IP_LEN_MAX: usize = 65_535;

impl Peer {
    /// Sends a frame from the peer's port in VXLAN.
    pub(crate) fn send_vxlan(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        vxlan: &Vxlan,
        mut frame: PacketBuf,
        out: &mut Outbox,
    ) {
        let room = usize::from(self.path.mtu()).saturating_sub(vxlan.outer_len());
        if self.config.clamp_mss {
            mss::clamp(&mut frame, Layer::Frame, room);
        }
        let vnet = frame.meta.vnet;
        if !vnet.is_super_packet() {
            return self.send_one_vxlan(shared, now, vxlan, frame, out);
        }
        // The bounds of datagrams must stay, and the whole must not exceed the maximum length of IP.
        let headers_len = usize::from(vnet.hdr_len);
        let too_long = vnet.gso == Gso::UdpL4 && headers_len + usize::from(vnet.gso_size) > room;
        if too_long || frame.len() + vxlan.outer_len() > IP_LEN_MAX {
            return self.send_vxlan_segments(shared, now, vxlan, frame, out);
        }
        match vxlan.wrap(&mut frame) {
            Ok(()) => self.send_in_turn(shared, now, frame, out),
            Err(why) => self.discard(frame, why, out),
        }
    }

    fn send_vxlan_segments(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        vxlan: &Vxlan,
        frame: PacketBuf,
        out: &mut Outbox,
    ) {
        let whole = SuperPacket::parse(frame.bytes(), &frame.meta.vnet, Layer::Frame);
        let Ok(whole) = whole else { return self.discard(frame, DropReason::MALFORMED, out) };
        for segment in whole.segments() {
            let made = out.make(segment.len()).and_then(|mut made| {
                // It has that much room.
                segment.append_to(&mut made).ok().map(|()| made)
            });
            match made {
                Some(made) => self.send_one_vxlan(shared, now, vxlan, made, out),
                None => self.drops.note(DropReason::NO_BUFFER),
            }
        }
        out.absorb(frame);
    }

    /// Sends a single frame; over IPv4 in fragments if it exceeds the path MTU, which the kernel of the other side
    /// reassembles.
    fn send_one_vxlan(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        vxlan: &Vxlan,
        mut frame: PacketBuf,
        out: &mut Outbox,
    ) {
        let wrapped = finish_checksum(&mut frame).map_err(|_| DropReason::MALFORMED);
        if let Err(why) = wrapped.and_then(|()| vxlan.wrap(&mut frame)) {
            return self.discard(frame, why, out);
        }
        let mtu = usize::from(self.path.mtu());
        if frame.len() <= mtu {
            return self.send_in_turn(shared, now, frame, out);
        }
        let size = mtu.saturating_sub(Ipv4Header::LEN) & !7;
        let header = Ipv4::parse(frame.bytes()).map(|ipv4| ipv4.header());
        let (Ok(header), true) = (header, size > 0) else {
            return self.discard(frame, DropReason::TOO_BIG, out);
        };
        let number = self.reassembly.next_number();
        let payload = frame.bytes().get(Ipv4Header::LEN..).unwrap_or_default();
        let mut offset = 0_usize;
        for piece in payload.chunks(size) {
            let fragment = Fragment {
                offset: u16::try_from(offset).unwrap_or_default(),
                more: offset + piece.len() < payload.len(),
                id: number.into(),
            };
            offset += piece.len();
            let total_len = Ipv4Header::LEN + piece.len();
            let header = Ipv4Header {
                total_len: u16::try_from(total_len).unwrap_or_default(),
                id: number,
                fragment: Some(fragment),
                ..header
            };
            match out.make(total_len) {
                Some(mut packet) => {
                    // It has room for both.
                    let _ = packet.extend(&header.to_bytes());
                    let _ = packet.extend(piece);
                    self.send_in_turn(shared, now, packet, out);
                }
                None => self.drops.note(DropReason::NO_BUFFER),
            }
        }
        out.absorb(frame);
    }
}
