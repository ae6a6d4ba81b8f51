//! The Toeplitz hash of a packet, in this process.

use super::tuple::{TUPLE_LEN_MAX, Tuple};
use crate::Mode;
use adit_packet::{HashTypes, Toeplitz, ToeplitzKey, VnetHash, VnetHeader};

/// Hashes packets with one key, like a network card with RSS.
///
/// It agrees with the eBPF program of [`crate::Rss`] on every packet, including malformed ones,
/// while [`adit_packet::rss_hash`] hashes only packets that parse without a fault.
#[derive(Clone, Debug)]
pub struct PacketHasher {
    mode: Mode,
    types: HashTypes,
    toeplitz: Toeplitz,
}

impl PacketHasher {
    /// Builds the tables for a key. Of `types` only [`HashTypes::PLAIN`] count.
    #[must_use]
    pub fn new(mode: Mode, key: &ToeplitzKey, types: HashTypes) -> Self {
        Self { mode, types, toeplitz: Toeplitz::new(key) }
    }

    /// The hash of a packet or frame (without the queue's headers); `None` if its type is not
    /// hashed.
    #[must_use]
    pub fn hash(&self, packet: &[u8]) -> Option<VnetHash> {
        let tuple = Tuple::of(self.mode, self.types, packet)?;
        Some((self.toeplitz.hash(&[tuple.as_bytes()]), tuple.report()).into())
    }

    /// Fills in the hash of a received packet's virtio-net header, for headers of at least 20 bytes
    /// ([`adit_packet::VnetLen::Hash`]). Report type 0 means that the packet is not hashed.
    pub fn fill(&self, header: &mut VnetHeader, packet: &[u8]) {
        header.hash = self.hash(packet).unwrap_or_default();
    }

    /// The tables of the eBPF program, in native byte order: what each value of each byte of the
    /// tuple adds to the hash, which is linear.
    pub(super) fn tables_value(&self) -> Vec<u8> {
        let before = [0; TUPLE_LEN_MAX];
        let places =
            (0..TUPLE_LEN_MAX).flat_map(|place| (0..=u8::MAX).map(move |byte| (place, byte)));
        let entries = places.map(|(place, byte)| self.toeplitz.hash(&[&before[..place], &[byte]]));
        entries.flat_map(u32::to_ne_bytes).collect()
    }
}
