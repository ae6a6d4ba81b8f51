//! Offloads: partial checksums and super-packets.

use std::fmt;

bitflags::bitflags! {
    /// The work that the kernel may leave to the reader of a queue (`TUNSETOFFLOAD`).
    ///
    /// The kernel accepts only certain sets: all flags require [`Offload::CSUM`], the two USO flags
    /// require each other, and [`Offload::UDP_TUNNEL_GSO`] requires TSO or USO. So support is
    /// probed set by set, along [`Offload::LADDER`]. The set belongs to the device, not to a queue;
    /// a persistent device keeps it after the last queue is closed.
    ///
    /// Source: `set_offload` of Linux `drivers/net/tun.c`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Offload: u32 {
        /// Partial checksums (`TUN_F_CSUM`).
        const CSUM = 0x01;
        /// TCP super-packets over IPv4 (`TUN_F_TSO4`).
        const TSO4 = 0x02;
        /// TCP super-packets over IPv6 (`TUN_F_TSO6`).
        const TSO6 = 0x04;
        /// TCP super-packets with ECN's CWR flag (`TUN_F_TSO_ECN`).
        const TSO_ECN = 0x08;
        /// UDP fragmentation: accepted and ignored since Linux 4.14 (`TUN_F_UFO`).
        const UFO = 0x10;
        /// UDP super-packets over IPv4 (`TUN_F_USO4`, Linux 6.2).
        const USO4 = 0x20;
        /// UDP super-packets over IPv6 (`TUN_F_USO6`).
        const USO6 = 0x40;
        /// Super-packets inside VXLAN or Geneve (`TUN_F_UDP_TUNNEL_GSO`, Linux 6.17). Requires a
        /// virtio-net header of 24 bytes; otherwise the kernel drops each such packet with EFAULT.
        const UDP_TUNNEL_GSO = 0x80;
        /// Those with an outer checksum (`TUN_F_UDP_TUNNEL_GSO_CSUM`).
        const UDP_TUNNEL_GSO_CSUM = 0x100;
    }
}

impl Offload {
    /// Partial checksums, and TCP super-packets over IPv4 and IPv6.
    pub const TSO: Self = Self::CSUM.union(Self::TSO4).union(Self::TSO6);
    /// [`Offload::TSO`], and UDP super-packets over IPv4 and IPv6.
    pub const USO: Self = Self::TSO.union(Self::USO4).union(Self::USO6);
    /// [`Offload::USO`], and super-packets inside UDP tunnels.
    pub const TUNNEL: Self = Self::USO.union(Self::UDP_TUNNEL_GSO).union(Self::UDP_TUNNEL_GSO_CSUM);

    /// The set that the `ethtool` features of a device express: all but [`Offload::UFO`], which the
    /// kernel accepts and forgets. Both USO flags are one feature.
    pub(crate) fn of_features(features: &[String]) -> Self {
        let names = [
            ("tx-checksum-ip-generic", Self::CSUM),
            ("tx-tcp-segmentation", Self::TSO4),
            ("tx-tcp6-segmentation", Self::TSO6),
            ("tx-tcp-ecn-segmentation", Self::TSO_ECN),
            ("tx-udp-segmentation", Self::USO4.union(Self::USO6)),
            ("tx-udp_tnl-segmentation", Self::UDP_TUNNEL_GSO),
            ("tx-udp_tnl-csum-segmentation", Self::UDP_TUNNEL_GSO_CSUM),
        ];
        let is_on = |name: &str| features.iter().any(|feature| feature == name);
        names.into_iter().filter(|(name, _)| is_on(name)).map(|(_, flag)| flag).collect()
    }

    /// The sets that [`OffloadChoice::Auto`] tries in order, richest first.
    pub const LADDER: [Self; 5] = [Self::TUNNEL, Self::USO, Self::TSO, Self::CSUM, Self::empty()];
}

impl fmt::Display for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.pad("none");
        }
        let names: Vec<_> = self.iter_names().map(|(name, _)| name.to_lowercase()).collect();
        f.pad(&names.join(" "))
    }
}

/// Which offloads to request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffloadChoice {
    /// None. Clears those that an earlier user of the device enabled.
    #[default]
    Off,
    /// The richest set that the kernel supports and the header of the queue can describe.
    Auto,
    /// Exactly this set; fail if the kernel does not support it.
    Exact(Offload),
}

crate::wire_as! { Offload as u32: |offload| offload.bits(), Self::from_bits; }
crate::wire_enum! { OffloadChoice { 0 = Off, 1 = Auto, 2 = Exact(offload) } }
