//! The headers before each packet on a queue.

pub use crate::netlink::Mode;
use adit_packet::{Endian, Layer, Malformed, PacketInfo, VnetHeader, VnetLen};

impl Mode {
    /// The layer that the bytes of a queue begin with.
    pub(crate) const fn layer(self) -> Layer {
        match self {
            Self::Tun => Layer::Packet,
            Self::Tap => Layer::Frame,
        }
    }
}

/// The virtio-net header of a queue: its length and byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VnetFormat {
    /// Its length in bytes.
    pub len: VnetLen,
    /// The byte order of its fields.
    pub endian: Endian,
}

/// The headers before each packet, in both directions:
///
/// ```text
/// | packet information (4), if on | virtio-net header (10, 12, 20, 24), if on | packet ...
/// ```
///
/// Source: `tun_put_user` and `tun_get_user` of Linux `drivers/net/tun.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Whether each packet has its [`PacketInfo`] before it.
    pub packet_info: bool,
    /// The virtio-net header before each packet.
    pub vnet_hdr: Option<VnetFormat>,
}

/// A record of a queue, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The packet information, if the queue has it.
    pub info: Option<PacketInfo>,
    /// The virtio-net header, if the queue has it.
    pub vnet: Option<VnetHeader>,
    /// The packet or frame itself.
    pub packet: &'a [u8],
}

impl Layout {
    /// The maximum length of the headers in bytes: packet information and the longest virtio-net
    /// header.
    pub const LEN_MAX: usize = PacketInfo::LEN + VnetHeader::LEN_MAX;

    /// The length of the headers in bytes: 0 to 28.
    #[must_use]
    pub const fn len(&self) -> usize {
        let info = if self.packet_info { PacketInfo::LEN } else { 0 };
        match self.vnet_hdr {
            Some(format) => info + format.len.bytes(),
            None => info,
        }
    }

    /// Whether packets have no headers.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes a record that [`Queue::recv`](crate::Queue::recv) returned.
    ///
    /// # Errors
    /// [`Malformed`] if the record is shorter than its headers, or a header is invalid.
    pub fn decode<'a>(&self, mut bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let mut record = Record { info: None, vnet: None, packet: bytes };
        if self.packet_info {
            record.info = Some(PacketInfo::decode(bytes)?);
            bytes = &bytes[PacketInfo::LEN..];
        }
        if let Some(format) = self.vnet_hdr {
            record.vnet = Some(VnetHeader::decode(bytes, format.len, format.endian)?);
            bytes = &bytes[format.len.bytes()..];
        }
        record.packet = bytes;
        Ok(record)
    }

    /// Writes the headers of one packet to the start of `out`, and returns their length in bytes.
    ///
    /// # Errors
    /// [`Malformed`] if `out` is shorter than [`Layout::len`], or `vnet` does not fit the header.
    pub fn encode(
        &self,
        info: PacketInfo,
        vnet: &VnetHeader,
        out: &mut [u8],
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        if self.packet_info {
            let bytes = out.get_mut(..PacketInfo::LEN).ok_or(Malformed::PacketInfoShort)?;
            bytes.copy_from_slice(&info.encode());
            at = PacketInfo::LEN;
        }
        if let Some(format) = self.vnet_hdr {
            vnet.encode(&mut out[at..], format.len, format.endian)?;
            at += format.len.bytes();
        }
        Ok(at)
    }
}

crate::wire_structs! { VnetFormat { len, endian } }
