//! The Toeplitz hash of a packet, in this process.

use super::tuple::{TUPLE_LEN_MAX, Tuple};
use super::{HashTypes, Mode, RSS_KEY_LEN};
use std::fmt;

/// What a hash is over; the numbers are `VIRTIO_NET_HASH_REPORT_*` of virtio 1.3, 5.1.6.4.3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum HashReport {
    /// IPv4 addresses.
    Ipv4 = 1,
    /// IPv4 addresses and TCP ports.
    Tcp4 = 2,
    /// IPv4 addresses and UDP ports.
    Udp4 = 3,
    /// IPv6 addresses.
    Ipv6 = 4,
    /// IPv6 addresses and TCP ports.
    Tcp6 = 5,
    /// IPv6 addresses and UDP ports.
    Udp6 = 6,
}

/// The two fields that `virtio_net_hdr_v1_hash` has for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketHash {
    /// The hash.
    pub value: u32,
    /// What it is over.
    pub report: HashReport,
}

/// Hashes packets with one key.
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
    pub fn hash(&self, packet: &[u8]) -> Option<PacketHash> {
        let tuple = Tuple::of(self.mode, self.types, packet)?;
        let bytes = self.tables.iter().zip(tuple.as_bytes());
        let value = bytes.fold(0, |sum, (table, &byte)| sum ^ table[usize::from(byte)]);
        Some(PacketHash { value, report: tuple.report() })
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
