//! Faults of packets.

use core::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why bytes are not the expected header: one variant for each fault, so that faults can be
        /// counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Malformed {
            $($(#[$doc])* $name,)*
        }

        impl Malformed {
            /// All faults.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The text of `Display`, as a counter's label.
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
    /// Fewer bytes than the virtio-net header of the queue.
    VnetShort => "virtio-net header too short",
    /// A GSO type that this crate (and Linux 6.18) does not know.
    VnetGso => "virtio-net header with an unknown gso type",
    /// Fields that a virtio-net header of that length cannot carry, such as a tunnel in 10 bytes.
    VnetLen => "virtio-net header too small for its fields",
    /// The partial checksum lies beyond the end of the packet.
    VnetChecksum => "virtio-net checksum out of range",
    /// A super-packet whose headers contradict its virtio-net header.
    SuperPacket => "super-packet whose headers do not fit its gso type",
    /// Fewer than 14 bytes.
    EthernetShort => "ethernet header too short",
    /// A VLAN tag of fewer than 4 bytes.
    VlanShort => "vlan tag too short",
    /// Fewer than 28 bytes.
    ArpShort => "arp packet too short",
    /// Not for Ethernet and IPv4, or neither request nor reply.
    ArpKind => "arp packet of another kind",
    /// An empty packet, or one whose first four bits are neither 4 nor 6.
    IpVersion => "neither ipv4 nor ipv6",
    /// Fewer than 20 bytes.
    Ipv4Short => "ipv4 header too short",
    /// The version is not 4.
    Ipv4Version => "ipv4 header with another version",
    /// Fewer than 5 words, or more than the packet has.
    Ipv4HeaderLen => "ipv4 header length out of range",
    /// The total length is less than the header or exceeds the packet.
    Ipv4Len => "ipv4 total length out of range",
    /// Fewer than 40 bytes.
    Ipv6Short => "ipv6 header too short",
    /// The version is not 6.
    Ipv6Version => "ipv6 header with another version",
    /// The payload length exceeds the packet.
    Ipv6Len => "ipv6 payload length out of range",
    /// An extension header that exceeds the packet.
    Ipv6ExtensionShort => "ipv6 extension header too short",
    /// More extension headers than [`UpperLayer::LIMIT`](crate::UpperLayer::LIMIT).
    Ipv6Extensions => "too many ipv6 extension headers",
    /// Fewer than 20 bytes.
    TcpShort => "tcp header too short",
    /// Fewer than 5 words, or more than the packet has.
    TcpHeaderLen => "tcp header length out of range",
    /// Fewer than 8 bytes.
    UdpShort => "udp header too short",
    /// The length is less than the header or exceeds the packet.
    UdpLen => "udp length out of range",
    /// Fewer bytes than the fixed part of the message.
    IcmpShort => "icmp message too short",
    /// Neither a neighbor solicitation nor an advertisement.
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
