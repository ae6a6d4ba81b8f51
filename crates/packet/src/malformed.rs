//! Why bytes are not what they should be.

use core::fmt;

/// Why bytes are no header of the asked kind: one name for each fault, so that faults can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer than 4 bytes of `struct tun_pi`.
    PacketInfoShort,
    /// Fewer bytes than the virtio-net header of this queue has.
    VnetShort,
    /// A GSO type that this crate (and Linux 6.18) does not know.
    VnetGso,
    /// A header that this length of virtio-net header cannot carry, e.g. a tunnel in 10 bytes.
    VnetLen,
}

impl Malformed {
    /// The same as its `Display`, for a counter's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PacketInfoShort => "packet information too short",
            Self::VnetShort => "virtio-net header too short",
            Self::VnetGso => "virtio-net header with an unknown GSO type",
            Self::VnetLen => "virtio-net header too small for its fields",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Malformed {}
