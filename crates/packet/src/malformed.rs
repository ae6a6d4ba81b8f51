//! Why bytes are not what they should be.

use core::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why bytes are no header of the asked kind: one name for each fault, so that faults can be
        /// counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Malformed {
            $($(#[$doc])* $name,)*
        }

        impl Malformed {
            /// Every fault there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The same as its `Display`, for a counter's label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// Fewer than 4 bytes of `struct tun_pi`.
    PacketInfoShort => "packet information too short",
    /// Fewer bytes than the virtio-net header of this queue has.
    VnetShort => "virtio-net header too short",
    /// A GSO type that this crate (and Linux 6.18) does not know.
    VnetGso => "virtio-net header with an unknown gso type",
    /// A header that this length of virtio-net header cannot carry, e.g. a tunnel in 10 bytes.
    VnetLen => "virtio-net header too small for its fields",
    /// The checksum to be finished is past the packet's end.
    VnetChecksum => "virtio-net checksum out of range",
    /// A super-packet whose headers and virtio-net header do not agree.
    SuperPacket => "super-packet whose headers do not fit its gso type",
    /// Fewer than 14 bytes.
    EthernetShort => "ethernet header too short",
    /// A tag that ends before its 4 bytes.
    VlanShort => "vlan tag too short",
    /// Fewer than 28 bytes.
    ArpShort => "arp packet too short",
    /// Not Ethernet and IPv4, or neither request nor reply.
    ArpKind => "arp packet of another kind",
    /// A packet of no bytes, or one whose first four bits are neither 4 nor 6.
    IpVersion => "neither ipv4 nor ipv6",
    /// Fewer than 20 bytes.
    Ipv4Short => "ipv4 header too short",
    /// The version is not 4.
    Ipv4Version => "ipv4 header with another version",
    /// Fewer than 5 words, or more than there are bytes.
    Ipv4HeaderLen => "ipv4 header length out of range",
    /// The total length is less than the header or more than there is.
    Ipv4Len => "ipv4 total length out of range",
    /// Fewer than 40 bytes.
    Ipv6Short => "ipv6 header too short",
    /// The version is not 6.
    Ipv6Version => "ipv6 header with another version",
    /// The payload length is more than there is.
    Ipv6Len => "ipv6 payload length out of range",
    /// An extension header that ends before its length.
    Ipv6ExtensionShort => "ipv6 extension header too short",
    /// More extension headers than [`UpperLayer::LIMIT`](crate::UpperLayer::LIMIT).
    Ipv6Extensions => "too many ipv6 extension headers",
    /// Fewer than 20 bytes.
    TcpShort => "tcp header too short",
    /// Fewer than 5 words, or more than there are bytes.
    TcpHeaderLen => "tcp header length out of range",
    /// Fewer than 8 bytes.
    UdpShort => "udp header too short",
    /// The length is less than the header or more than there is.
    UdpLen => "udp length out of range",
    /// Fewer bytes than the message's fixed part has.
    IcmpShort => "icmp message too short",
    /// Neither a neighbour solicitation nor an advertisement.
    NeighbourKind => "no neighbour discovery message",
    /// An option of length 0 or past the end.
    NeighbourOption => "neighbour discovery option out of range",
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_fault_has_its_own_lower_case_text() {
        let texts: BTreeSet<_> = Malformed::ALL.iter().map(|fault| fault.as_str()).collect();
        assert_eq!(texts.len(), Malformed::ALL.len());
        assert!(texts.iter().all(|text| text.to_lowercase() == *text));
    }
}
