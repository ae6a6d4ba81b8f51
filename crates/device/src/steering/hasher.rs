//! The Toeplitz hash of a packet, in this process.

use super::tuple::{TUPLE_LEN_MAX, Tuple};
use super::{HashTypes, RSS_KEY_LEN};
use crate::Mode;
use adit_packet::{VnetHash, VnetHeader};
use std::fmt;

/// Hashes packets with one key: what a network card with RSS reports with each packet.
pub struct PacketHasher {
    mode: Mode,
    types: HashTypes,
    /// The hash is linear: it is the XOR of what each byte, by place and value, contributes.
    tables: Box<[[u32; 256]; TUPLE_LEN_MAX]>,
}

impl PacketHasher {
    /// Prepares the 36 KiB of tables for a key.
    #[must_use]
    pub fn new(mode: Mode, key: &[u8; RSS_KEY_LEN], types: HashTypes) -> Self {
        let mut tables = Box::new([[0; 256]; TUPLE_LEN_MAX]);
        for (place, table) in tables.iter_mut().enumerate() {
            let windows: [u32; 8] = std::array::from_fn(|bit| window(key, place, bit));
            for (value, entry) in (0..=u8::MAX).zip(table) {
                *entry = (0..8).filter(|bit| value & (0x80 >> bit) != 0).fold(0, |sum, bit| {
                    let bit: usize = bit;
                    sum ^ windows[bit]
                });
            }
        }
        Self { mode, types, tables }
    }

    /// The hash of a packet as a queue delivers it (without packet information and virtio-net
    /// header), or `None` if it is of no type that is hashed.
    #[must_use]
    pub fn hash(&self, packet: &[u8]) -> Option<VnetHash> {
        let tuple = Tuple::of(self.mode, self.types, packet)?;
        let bytes = self.tables.iter().zip(tuple.as_bytes());
        let value = bytes.fold(0, |sum, (table, &byte)| sum ^ table[usize::from(byte)]);
        Some(VnetHash { value, report: tuple.report().to_wire() })
    }

    /// Fills in the hash of a received packet's header, which [`adit_packet::VnetLen::Hash`] and
    /// longer ones carry on: to a guest, say. Report 0 means that the packet is not hashed.
    pub fn fill(&self, header: &mut VnetHeader, packet: &[u8]) {
        header.hash = self.hash(packet).unwrap_or_default();
    }

    /// The tables as the eBPF program reads them, in the machine's byte order.
    pub(super) fn tables_value(&self) -> Vec<u8> {
        self.tables.iter().flatten().flat_map(|entry| entry.to_ne_bytes()).collect()
    }
}

impl fmt::Debug for PacketHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key, and so the tables, may be a secret.
        f.debug_struct("PacketHasher")
            .field("mode", &self.mode)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}

/// The 32 bits of the key from bit `bit` of byte `place` on.
fn window(key: &[u8; RSS_KEY_LEN], place: usize, bit: usize) -> u32 {
    let bytes = key[place..].iter().take(5).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    u32::try_from(bytes >> (8 - bit) & 0xffff_ffff).expect("masked to 32 bits")
}
