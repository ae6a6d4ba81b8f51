//! Which flow a packet belongs to.

use core::net::IpAddr;

use adit_packet::{Headers, Layer, MacAddr, PacketBuf};

use super::random::{Effect, Seed};

/// Hashes packets by their flow, with a key of its own, so that nobody can choose packets that meet
/// in one queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher {
    key: u64,
}

impl Hasher {
    pub(super) fn new(seed: Seed) -> Self {
        Self { key: seed.stream(Effect::Flows).next() }
    }

    /// The hash of addresses, protocol and ports; of what is not IP, of its MAC addresses.
    pub(super) fn hash(self, packet: &PacketBuf, layer: Layer) -> u32 {
        let bytes = packet.bytes();
        let flow = layer.parse(bytes).ok().and_then(|headers: Headers| headers.flow(bytes));
        let hash = if let Some(flow) = flow {
            let ports = u64::from(flow.source_port) << 16 | u64::from(flow.destination_port);
            let hash = self.address(self.key, flow.source);
            let hash = self.address(hash, flow.destination);
            mix(hash ^ ports ^ u64::from(flow.protocol) << 32)
        } else {
            let addresses = bytes.get(..2 * size_of::<MacAddr>()).unwrap_or_default();
            addresses.chunks(6).fold(self.key, |hash, part| {
                mix(hash ^ part.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
            })
        };
        u32::try_from(hash >> 32).unwrap_or(0)
    }

    fn address(self, hash: u64, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(address) => mix(hash ^ u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                let [high, low] = halves(address.to_bits());
                mix(mix(hash ^ high) ^ low ^ self.key)
            }
        }
    }
}

fn halves(value: u128) -> [u64; 2] {
    let bytes = value.to_be_bytes();
    let (high, low) = bytes.split_at(8);
    [high, low].map(|half| half.try_into().map_or(0, u64::from_be_bytes))
}

/// The finalizer of splitmix64: every bit of the input changes each bit of the output with
/// probability one half.
///
/// Source: S. Vigna, <https://prng.di.unimi.it/splitmix64.c>.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
