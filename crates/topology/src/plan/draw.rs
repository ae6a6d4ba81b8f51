//! What is drawn from the seed of a lab: the same for the same seed and the same names, whatever else there is.

use crate::model::Lab;
use adit_device::MacAddr;

/// Numbers that depend on the seed of a lab and on names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The number for these names. Not for secrets.
    pub(super) fn number(self, names: &[&str]) -> u64 {
        // FNV-1a, and the mix of SplitMix64, by which each bit of a name changes half of the bits.
        let mut hash = self.0 ^ 0xcbf2_9ce4_8422_2325;
        // A byte that is in no name separates them.
        for byte in names.iter().flat_map(|name| name.bytes().chain([0xff])) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    /// The seed of a link: readers of JSON keep it.
    pub(super) fn seed(self, link: &str) -> u64 {
        self.number(&["link", link]) % Lab::SEED_LIMIT
    }

    /// A MAC address that no vendor has (locally administered): the `attempt`-th of this interface.
    pub(super) fn mac(self, node: &str, interface: &str, attempt: u32) -> MacAddr {
        let attempt = attempt.to_string();
        let [a, b, c, d, e, ..] = self.number(&["mac", node, interface, &attempt]).to_be_bytes();
        MacAddr([0x02, a, b, c, d, e])
    }

    /// 32 bytes for the key of a tunnel.
    pub(super) fn key(self, tunnel: &str, node: &str) -> [u8; 32] {
        let mut key = [0; 32];
        for (part, chunk) in ["1", "2", "3", "4"].into_iter().zip(key.chunks_exact_mut(8)) {
            chunk.copy_from_slice(&self.number(&["key", tunnel, node, part]).to_be_bytes());
        }
        key
    }
}
