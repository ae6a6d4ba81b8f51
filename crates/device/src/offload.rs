//! What a queue takes and gives whole: checksums left open and super-packets.

use std::fmt;

bitflags::bitflags! {
    /// `TUNSETOFFLOAD`: what the kernel may leave to the reader of a queue.
    ///
    /// The kernel takes only certain sets: everything but [`Offload::CSUM`] needs it, the two USO
    /// flags go together only, [`Offload::UDP_TUNNEL_GSO`] needs one of TSO and USO. Sets are
    /// therefore probed as sets, from [`Offload::LADDER`]. The set belongs to the device, not to
    /// the queue, and outlives a detach of a persistent device.
    ///
    /// Source: `set_offload` of Linux `drivers/net/tun.c`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Offload: u32 {
        /// Checksums left to be finished (`TUN_F_CSUM`).
        const CSUM = 0x01;
        /// TCP over IPv4 super-packets (`TUN_F_TSO4`).
        const TSO4 = 0x02;
        /// TCP over IPv6 super-packets (`TUN_F_TSO6`).
        const TSO6 = 0x04;
        /// And those with ECN (`TUN_F_TSO_ECN`).
        const TSO_ECN = 0x08;
        /// UDP fragmentation: taken and ignored since Linux 4.14 (`TUN_F_UFO`).
        const UFO = 0x10;
        /// UDP super-packets over IPv4 (`TUN_F_USO4`, Linux 6.2).
        const USO4 = 0x20;
        /// UDP super-packets over IPv6 (`TUN_F_USO6`).
        const USO6 = 0x40;
        /// Super-packets inside VXLAN or Geneve (`TUN_F_UDP_TUNNEL_GSO`, Linux 6.17); needs a
        /// virtio-net header of 24 bytes, or each such packet is lost with EFAULT.
        const UDP_TUNNEL_GSO = 0x80;
        /// And those with an outer checksum (`TUN_F_UDP_TUNNEL_GSO_CSUM`).
        const UDP_TUNNEL_GSO_CSUM = 0x100;
    }
}

impl Offload {
    /// TCP super-packets of both families.
    pub const TSO: Self = Self::CSUM.union(Self::TSO4).union(Self::TSO6);
    /// And UDP super-packets of both families.
    pub const USO: Self = Self::TSO.union(Self::USO4).union(Self::USO6);
    /// And those inside UDP tunnels.
    pub const TUNNEL: Self = Self::USO.union(Self::UDP_TUNNEL_GSO).union(Self::UDP_TUNNEL_GSO_CSUM);

    /// The set that a device shows among its `ethtool` features: all but [`Offload::UFO`], which the
    /// kernel takes and forgets. Both USO flags are one feature.
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

    /// The sets that are tried in turn by [`OffloadChoice::Auto`], the richest first.
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

/// Which offloads to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffloadChoice {
    /// None: whatever an earlier holder of the device left is cleared.
    #[default]
    Off,
    /// The richest set that this kernel takes and that the header of the queue has room for.
    Auto,
    /// Exactly this set, or an error.
    Exact(Offload),
}
