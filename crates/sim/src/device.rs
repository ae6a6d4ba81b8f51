//! A host's network device: what the kernel's TAP or TUN device does between a stack and a queue.
//!
//! With super-packets on, segments that the stack sends at one moment leave joined, and checksums
//! are left to be finished, as TSO and checksum offload do it. Super-packets that arrive are cut up
//! and checksums finished in any case, so that the stack judges every segment and its checksum.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use adit_packet::{
    Coalescer, Layer, Meta, PacketBuf, SuperPacket, VnetHeader, checksum::Sum, finish_checksum,
    ip_protocol,
};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use adit_engine::DropReason;

pub(crate) struct Device {
    layer: Layer,
    mtu: usize,
    /// How segments are joined; `None` if they are not.
    coalescer: Option<Coalescer>,
    inbox: VecDeque<PacketBuf>,
    outbox: Vec<PacketBuf>,
}

impl Device {
    /// Ethernet with two tags.
    const LINK_HEADER_MAX: usize = 22;
    /// What a TCP or UDP packet is at most, with a link header before it.
    const LEN_MAX: usize = 65_535 + Self::LINK_HEADER_MAX;

    pub(crate) const fn new(layer: Layer, mtu: usize, super_packets: bool) -> Self {
        let coalescer = if super_packets { Some(Coalescer::new(layer)) } else { None };
        Self { layer, mtu, coalescer, inbox: VecDeque::new(), outbox: Vec::new() }
    }

    /// Takes a packet that arrived, cut up if it is a super-packet.
    pub(crate) fn receive(&mut self, packet: &PacketBuf) -> Result<(), DropReason> {
        let (bytes, vnet) = (packet.bytes(), packet.meta.vnet);
        let len_max = self.mtu + if self.layer == Layer::Frame { Self::LINK_HEADER_MAX } else { 0 };
        if vnet.is_super_packet() {
            let whole = SuperPacket::parse(bytes, &vnet, self.layer);
            let whole = whole.map_err(|_| DropReason::MALFORMED)?;
            for segment in whole.segments() {
                if segment.len() > len_max {
                    return Err(DropReason::TOO_BIG);
                }
                let mut copy = PacketBuf::new(0, segment.len());
                segment.append_to(&mut copy).map_err(|_| DropReason::MALFORMED)?;
                self.inbox.push_back(copy);
            }
            return Ok(());
        }
        if bytes.len() > len_max {
            return Err(DropReason::TOO_BIG);
        }
        let mut copy = PacketBuf::new(0, bytes.len());
        copy.extend(bytes).map_err(|_| DropReason::TOO_BIG)?;
        copy.meta = packet.meta;
        finish_checksum(&mut copy).map_err(|_| DropReason::MALFORMED)?;
        self.inbox.push_back(copy);
        Ok(())
    }

    /// Lets `each` take what has arrived and is not read yet, and say what of it the stack reads.
    pub(crate) fn review(&mut self, mut each: impl FnMut(PacketBuf, &mut VecDeque<PacketBuf>)) {
        for packet in mem::take(&mut self.inbox) {
            each(packet, &mut self.inbox);
        }
    }

    /// What the stack reads next.
    pub(crate) const fn inbox_mut(&mut self) -> &mut VecDeque<PacketBuf> {
        &mut self.inbox
    }

    /// Lets `each` see what the stack sent after the first `count` packets, and say whether it leaves.
    pub(crate) fn review_outgoing(&mut self, count: usize, mut each: impl FnMut(&[u8]) -> bool) {
        let mut number = 0;
        self.outbox.retain(|packet| {
            number += 1;
            number <= count || each(packet.bytes())
        });
    }

    /// Sends a packet that the stack does not send.
    pub(crate) fn repeat(&mut self, bytes: &[u8]) {
        let mut packet = PacketBuf::new(0, bytes.len());
        if packet.extend(bytes).is_ok() {
            self.outbox.push(packet);
        }
    }

    /// How many packets were sent since they were last taken out.
    pub(crate) fn outgoing(&self) -> usize {
        self.outbox.len()
    }

    /// What the stack sent since the last call.
    pub(crate) fn sent(&mut self, mut each: impl FnMut(&[u8], Meta)) {
        let Some(coalescer) = &mut self.coalescer else {
            self.outbox.drain(..).for_each(|packet| each(packet.bytes(), packet.meta));
            return;
        };
        self.outbox.iter_mut().for_each(|packet| leave_checksum(packet, self.layer));
        let mut whole = PacketBuf::new(0, Self::LEN_MAX);
        for train in coalescer.join(&self.outbox).iter() {
            whole.reset(0);
            if train.pieces().all(|piece| whole.extend(piece).is_ok()) {
                each(whole.bytes(), Meta { vnet: train.vnet(), ..Meta::default() });
            }
        }
        self.outbox.clear();
    }
}

/// Takes the checksum of a TCP or UDP packet back to what checksum offload starts with.
fn leave_checksum(packet: &mut PacketBuf, layer: Layer) {
    let Ok(headers) = layer.parse(packet.bytes()) else { return };
    let (Some(at), Some(protocol), None) =
        (headers.transport(), headers.protocol(), headers.fragment())
    else {
        return;
    };
    let offset = match protocol {
        ip_protocol::TCP => 16,
        ip_protocol::UDP => 6,
        _ => return,
    };
    let len = u16::try_from(headers.end() - at).unwrap_or(u16::MAX);
    let sum = match headers.addresses(packet.bytes()) {
        Some((core::net::IpAddr::V4(from), core::net::IpAddr::V4(to))) => {
            Sum::pseudo_v4(from, to, protocol, len)
        }
        Some((core::net::IpAddr::V6(from), core::net::IpAddr::V6(to))) => {
            Sum::pseudo_v6(from, to, protocol, u32::from(len))
        }
        _ => return,
    };
    let (Ok(start), field) = (u16::try_from(at), at + usize::from(offset)) else { return };
    if let Some(field) = packet.bytes_mut().get_mut(field..field + 2) {
        field.copy_from_slice(&sum.fold().to_be_bytes());
        packet.meta.vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: start,
            csum_offset: offset,
            ..VnetHeader::default()
        };
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let packet = self.inbox.pop_front()?;
        Some((Arrived(packet), Leaving(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = match self.layer {
            Layer::Frame => (Medium::Ethernet, self.mtu + 14),
            Layer::Packet => (Medium::Ip, self.mtu),
        };
        capabilities
    }
}

pub(crate) struct Arrived(PacketBuf);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0.bytes())
    }
}

pub(crate) struct Leaving<'a>(&'a mut Vec<PacketBuf>);

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = PacketBuf::new(0, len);
        let result = write(packet.grow(len).unwrap_or_default());
        self.0.push(packet);
        result
    }
}
