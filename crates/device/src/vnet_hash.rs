//! The kernel's own flow hash: hash reports in the virtio-net header, and RSS without a program.
//!
//! No release up to Linux 6.18 has it; [`crate::PacketHasher`] and [`crate::Rss`] do the same.

use crate::steering::RssConfig;
use crate::sys;
use crate::sys::filter::{
    TUN_VNET_HASH_REPORT, TUN_VNET_HASH_RSS, TunVnetHash, VnetHashArgument, VnetRssArgument,
};
use adit_packet::HashTypes;
use std::io;
use std::os::fd::AsFd;

/// The capabilities of the kernel's flow hash (`struct tun_vnet_hash` of TUNGETVNETHASHCAP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VnetHashCap {
    /// It fills in hash and report type of a virtio-net header of at least 20 bytes.
    pub report: bool,
    /// It chooses queues by the hash.
    pub rss: bool,
    /// The packet types that it can hash.
    pub types: HashTypes,
}

impl VnetHashCap {
    /// Reads the capabilities from the kernel.
    ///
    /// # Errors
    /// EINVAL if the kernel has no flow hash; EBADFD if the descriptor has no device; ENOTTY if it
    /// is not of `/dev/net/tun`.
    pub fn probe(queue: impl AsFd) -> io::Result<Self> {
        sys::filter::vnet_hash_capabilities(queue.as_fd()).map(Self::from)
    }
}

impl From<TunVnetHash> for VnetHashCap {
    fn from(hash: TunVnetHash) -> Self {
        Self {
            report: hash.flags & TUN_VNET_HASH_REPORT != 0,
            rss: hash.flags & TUN_VNET_HASH_RSS != 0,
            types: HashTypes(hash.types),
        }
    }
}

/// The configuration of the kernel's flow hash (TUNSETVNETHASH).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VnetHashConfig {
    /// Turns it off.
    Off,
    /// Fills in the hash of the virtio-net header.
    Report(HashTypes),
    /// Chooses queues, and with `report` also fills in the hash of the header.
    Rss {
        /// Key, table and types.
        config: RssConfig,
        /// Whether to fill in the hash too.
        report: bool,
    },
}

impl VnetHashConfig {
    /// Applies the configuration to the device of `queue`.
    ///
    /// # Errors
    /// As [`VnetHashCap::probe`]; EINVAL also for what the kernel does not support, such as RSS
    /// together with a steering program.
    pub fn set(&self, queue: impl AsFd) -> io::Result<()> {
        sys::filter::set_vnet_hash(queue.as_fd(), &self.argument()?)
    }

    fn argument(&self) -> io::Result<VnetHashArgument> {
        match self {
            Self::Off => VnetHashArgument::new(false, 0, None),
            Self::Report(types) => VnetHashArgument::new(true, types.0, None),
            Self::Rss { config, report } => {
                let rss = VnetRssArgument {
                    unclassified_queue: config.unclassified_queue,
                    table: config.indirection.as_slice(),
                    key: &config.key.0,
                };
                VnetHashArgument::new(*report, config.types.0, Some(&rss))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::IndirectionTable;
    use adit_packet::ToeplitzKey;

    #[test]
    fn argument_is_laid_out_as_the_kernel_reads_it() {
        assert_eq!(VnetHashConfig::Off.argument().unwrap().as_bytes(), [0; 8]);

        let report = VnetHashConfig::Report(HashTypes::TCP4 | HashTypes::TCP6).argument().unwrap();
        let mut wanted = Vec::new();
        wanted.extend(1_u16.to_ne_bytes());
        wanted.extend([0, 0]);
        wanted.extend(0x12_u32.to_ne_bytes());
        assert_eq!(report.as_bytes(), wanted);

        let mut config = RssConfig::new(IndirectionTable::new([0, 1, 2, 0x1f]).unwrap());
        config.unclassified_queue = 3;
        let rss = VnetHashConfig::Rss { config, report: true }.argument().unwrap();
        let mut wanted = Vec::new();
        wanted.extend(3_u16.to_ne_bytes());
        wanted.extend([0, 0]);
        wanted.extend(0x3f_u32.to_ne_bytes());
        for half in [3_u16, 3, 0, 1, 2, 0x1f] {
            wanted.extend(half.to_ne_bytes());
        }
        wanted.extend(ToeplitzKey::MICROSOFT.0);
        assert_eq!(rss.as_bytes(), wanted);
    }

    #[test]
    fn capabilities_are_distinguished() {
        let hash = TunVnetHash { flags: 3, padding: [0; 2], types: 0x1ff };
        let cap = VnetHashCap::from(hash);
        assert_eq!(cap, VnetHashCap { report: true, rss: true, types: HashTypes::ALL });
    }
}
