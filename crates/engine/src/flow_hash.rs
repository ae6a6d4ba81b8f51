//! Which flow a packet belongs to.

use core::net::IpAddr;

use adit_packet::{Headers, Layer, MacAddr, PacketBuf};

/// Hashes packets by their flow, with a key of its own, so that nobody can choose packets that meet
/// in one queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    key: u64,
}

impl Hasher {
    pub(crate) const fn new(key: u64) -> Self {
        Self { key }
    }

    /// The hash of addresses, protocol and ports; of what is not IP, of its MAC addresses.
    pub(crate) fn hash(self, packet: &PacketBuf, layer: Layer) -> u32 {
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
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Ipv4Header, Ipv6Header, ip_protocol};
    use std::vec;
    use std::vec::Vec;

    /// A UDP packet of `version` between two hosts, from a port.
    fn udp(version: u8, host: u8, port: u16) -> PacketBuf {
        let ports = [port.to_be_bytes(), [0, 9], [0, 8], [0, 0]].concat();
        let header = if version == 4 {
            let header = Ipv4Header {
                tos: 0,
                total_len: 28,
                id: port,
                dont_fragment: true,
                fragment: None,
                ttl: 64,
                protocol: ip_protocol::UDP,
                source: [192, 0, 2, host].into(),
                destination: [192, 0, 2, 200].into(),
            };
            header.to_bytes().to_vec()
        } else {
            let header = Ipv6Header {
                class: 0,
                flow_label: 0,
                payload_len: 8,
                next_header: ip_protocol::UDP,
                hop_limit: 64,
                source: [0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()].into(),
                destination: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 200].into(),
            };
            header.to_bytes().to_vec()
        };
        let mut packet = PacketBuf::new(0, 100);
        packet.extend(&[header, ports].concat()).unwrap();
        packet
    }

    #[test]
    fn flows_are_spread_evenly_and_stay_where_they_are() {
        let hasher = Hasher::new(mix(1));
        for version in [4, 6] {
            let mut buckets = vec![0_u32; 16];
            for port in 0..16_000 {
                let hash = hasher.hash(&udp(version, 1, port), Layer::Packet);
                assert_eq!(hash, hasher.hash(&udp(version, 1, port), Layer::Packet));
                buckets[usize::try_from(hash >> 28).unwrap()] += 1;
            }
            // Five standard deviations around 1000.
            assert!(buckets.iter().all(|count| (847..1153).contains(count)), "{buckets:?}");
        }
    }

    #[test]
    fn hosts_versions_and_keys_differ() {
        let hasher = Hasher::new(mix(1));
        let frame = |last| {
            let mut frame = PacketBuf::new(0, 100);
            frame.extend(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, last, 8, 6]).unwrap();
            frame
        };
        let hashes: Vec<u32> = [udp(4, 1, 7), udp(4, 2, 7), udp(6, 1, 7), udp(6, 2, 7)]
            .iter()
            .map(|packet| hasher.hash(packet, Layer::Packet))
            .chain([1, 2].map(|last| hasher.hash(&frame(last), Layer::Frame)))
            .chain([Hasher::new(mix(2)).hash(&udp(4, 1, 7), Layer::Packet)])
            .collect();
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[index + 1..].contains(hash), "{hashes:?}");
        }
        // What is too short for an address has a hash as well.
        let _ = hasher.hash(&PacketBuf::new(0, 0), Layer::Frame);
    }
}
