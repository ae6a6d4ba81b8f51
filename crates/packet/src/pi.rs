//! The packet information that the kernel puts before a packet unless `IFF_NO_PI` is set.

use crate::Malformed;

/// `struct tun_pi`: flags and protocol of one packet.
///
/// ```text
///  0      2          4
///  | flags | protocol |      flags: the host's byte order; protocol: big endian
/// ```
///
/// Source: Linux `include/uapi/linux/if_tun.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketInfo {
    /// [`Self::STRIP`] or nothing.
    pub flags: u16,
    /// The `EtherType` of the packet, e.g. 0x0800 for IPv4.
    pub protocol: u16,
}

impl PacketInfo {
    /// Its length in bytes.
    pub const LEN: usize = 4;
    /// Flag `TUN_PKT_STRIP`: the packet was longer than the buffer and was truncated.
    pub const STRIP: u16 = 1;

    /// Decodes it from the first [`Self::LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed::PacketInfoShort`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let &[f0, f1, p0, p1] = bytes.first_chunk().ok_or(Malformed::PacketInfoShort)?;
        Ok(Self { flags: u16::from_ne_bytes([f0, f1]), protocol: u16::from_be_bytes([p0, p1]) })
    }

    /// The bytes for the kernel.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [f0, f1] = self.flags.to_ne_bytes();
        let [p0, p1] = self.protocol.to_be_bytes();
        [f0, f1, p0, p1]
    }

    /// Whether the packet was truncated.
    #[must_use]
    pub const fn is_truncated(self) -> bool {
        self.flags & Self::STRIP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_both_ways() {
        let info = PacketInfo { flags: PacketInfo::STRIP, protocol: 0x86dd };
        let flags = 1_u16.to_ne_bytes();
        let bytes = [flags[0], flags[1], 0x86, 0xdd];
        assert_eq!(info.encode(), bytes);
        assert_eq!(PacketInfo::decode(&bytes), Ok(info));
        assert!(info.is_truncated());
        assert_eq!(PacketInfo::decode(&bytes[..3]), Err(Malformed::PacketInfoShort));
    }
}
