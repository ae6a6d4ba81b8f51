//! The Toeplitz hash of a packet, in this process.

use super::tuple::{TUPLE_LEN_MAX, Tuple};
use crate::Mode;
use adit_packet::{HashTypes, Toeplitz, ToeplitzKey, VnetHash, VnetHeader};

/// Hashes packets with one key: what a network card with RSS reports with each packet.
///
/// It agrees with the eBPF program of [`crate::Rss`] on every packet, broken ones too;
/// [`adit_packet::rss_hash`] hashes only what parses without a fault.
#[derive(Clone, Debug)]
pub struct PacketHasher {
    mode: Mode,
    types: HashTypes,
    toeplitz: Toeplitz,
}

impl PacketHasher {
    /// Prepares the tables for a key. Of `types` only [`HashTypes::PLAIN`] count.
    #[must_use]
    pub fn new(mode: Mode, key: &ToeplitzKey, types: HashTypes) -> Self {
        Self { mode, types, toeplitz: Toeplitz::new(key) }
    }

    /// The hash of a packet as a queue delivers it (without packet information and virtio-net
    /// header), or `None` if it is of no type that is hashed.
    #[must_use]
    pub fn hash(&self, packet: &[u8]) -> Option<VnetHash> {
        let tuple = Tuple::of(self.mode, self.types, packet)?;
        Some((self.toeplitz.hash(&[tuple.as_bytes()]), tuple.report()).into())
    }

    /// Fills in the hash of a received packet's header, which [`adit_packet::VnetLen::Hash`] and
    /// longer ones carry on: to a guest, say. Report 0 means that the packet is not hashed.
    pub fn fill(&self, header: &mut VnetHeader, packet: &[u8]) {
        header.hash = self.hash(packet).unwrap_or_default();
    }

    /// The tables of the eBPF program, in the machine's byte order: for each place in the tuple what
    /// each value of the byte there adds to the hash, which is linear.
    pub(super) fn tables_value(&self) -> Vec<u8> {
        let before = [0; TUPLE_LEN_MAX];
        let places =
            (0..TUPLE_LEN_MAX).flat_map(|place| (0..=u8::MAX).map(move |byte| (place, byte)));
        let entries = places.map(|(place, byte)| self.toeplitz.hash(&[&before[..place], &[byte]]));
        entries.flat_map(u32::to_ne_bytes).collect()
    }
}
