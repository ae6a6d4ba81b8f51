//! Receive-side scaling: the Toeplitz hash of a packet's addresses and ports.

use core::ops::BitOr;

use crate::ipv6::address;
use crate::{HashReport, Headers, IpVersion, VnetHash, ip_protocol};

/// The secret key of a Toeplitz hash: 40 bytes, enough for two IPv6 addresses and two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ToeplitzKey(pub [u8; Self::LEN]);

impl ToeplitzKey {
    /// Its length in bytes.
    pub const LEN: usize = 40;

    /// The key of Microsoft's verification suite, which most network cards use by default.
    pub const MICROSOFT: Self = Self([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// A key with a period of 16 bits: both directions of a flow have the same hash
    /// (Woo and Park, "Scalable TCP session monitoring with symmetric RSS", 2012).
    pub const SYMMETRIC: Self = {
        let mut key = [0x6d; Self::LEN];
        let mut pairs = key.as_chunks_mut::<2>().0;
        while let [pair, rest @ ..] = pairs {
            pair[1] = 0x5a;
            pairs = rest;
        }
        Self(key)
    };
}

/// A Toeplitz hash with prepared tables: 4.5 KiB, two look-ups per byte.
///
/// Source: Microsoft, "RSS hashing functions"; virtio 1.3, 5.1.6.4.3.
#[derive(Clone)]
pub struct Toeplitz {
    /// For each half byte of the input, what each of its values adds to the hash.
    tables: [[u32; 16]; Self::INPUT_MAX * 2],
}

impl Toeplitz {
    /// The maximum length of the input in bytes: two IPv6 addresses and two ports.
    pub const INPUT_MAX: usize = 36;

    /// Computes the tables of a key.
    #[must_use]
    pub fn new(key: &ToeplitzKey) -> Self {
        let mut tables = [[0; 16]; Self::INPUT_MAX * 2];
        let windows = key.0.windows(5).flat_map(|window| {
            // The 32 key bits that start at each half byte, and the three after them.
            let bits = window.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
            [bits << 24, bits << 28]
        });
        for (table, window) in tables.iter_mut().zip(windows) {
            for (value, part) in (0_u8..).zip(table.iter_mut()) {
                for bit in (0..4).filter(|bit| value & 8 >> bit != 0) {
                    *part ^= high_word(window << bit);
                }
            }
        }
        Self { tables }
    }

    /// The hash of the concatenated `pieces`; bytes past [`Self::INPUT_MAX`] are ignored.
    #[must_use]
    pub fn hash(&self, pieces: &[&[u8]]) -> u32 {
        let mut tables = self.tables.as_chunks::<2>().0.iter();
        let mut hash = 0;
        for piece in pieces {
            for (&byte, [high, low]) in piece.iter().zip(&mut tables) {
                hash ^= high.get(usize::from(byte >> 4)).unwrap_or(&0);
                hash ^= low.get(usize::from(byte & 15)).unwrap_or(&0);
            }
        }
        hash
    }
}

fn high_word(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl core::fmt::Debug for Toeplitz {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Toeplitz")
    }
}

/// The fields that are hashed (`VIRTIO_NET_RSS_HASH_TYPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HashTypes(pub u32);

impl HashTypes {
    /// IPv4 addresses.
    pub const IPV4: Self = Self(1);
    /// IPv4 addresses and TCP ports.
    pub const TCP4: Self = Self(1 << 1);
    /// IPv4 addresses and UDP ports.
    pub const UDP4: Self = Self(1 << 2);
    /// IPv6 addresses.
    pub const IPV6: Self = Self(1 << 3);
    /// IPv6 addresses and TCP ports.
    pub const TCP6: Self = Self(1 << 4);
    /// IPv6 addresses and UDP ports.
    pub const UDP6: Self = Self(1 << 5);
    /// IPv6 home addresses.
    pub const IPV6_EX: Self = Self(1 << 6);
    /// IPv6 home addresses and TCP ports.
    pub const TCP6_EX: Self = Self(1 << 7);
    /// IPv6 home addresses and UDP ports.
    pub const UDP6_EX: Self = Self(1 << 8);
    /// All types without home addresses.
    pub const PLAIN: Self = Self(0x3f);
    /// All types.
    pub const ALL: Self = Self(0x1ff);

    /// Whether it includes all of `types`.
    #[must_use]
    pub const fn contains(self, types: Self) -> bool {
        self.0 & types.0 == types.0
    }
}

impl BitOr for HashTypes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The hash of `bytes`, whose parsed headers are `headers`, and its type; `None` if no enabled type
/// applies.
///
/// The most specific enabled type applies. Of fragments only the addresses are hashed, so that all
/// fragments of a packet reach the same queue. The `_EX` types apply to packets with any IPv6
/// extension header; they replace the source by the home address (destination option 201) and the
/// destination by the address of a routing header of type 2, if present.
///
/// Source: virtio 1.3, 5.1.6.4.3.
#[must_use]
pub fn rss_hash(
    headers: &Headers,
    bytes: &[u8],
    types: HashTypes,
    toeplitz: &Toeplitz,
) -> Option<(u32, HashReport)> {
    let ports = headers.ports(bytes).and_then(|_| bytes.get(headers.transport()?..)?.first_chunk());
    let report = report_for(headers, types, ports.is_some())?;
    let ports: &[u8] = match report {
        HashReport::Ipv4 | HashReport::Ipv6 | HashReport::Ipv6Ex => &[],
        _ => ports.map(|ports: &[u8; 4]| ports.as_slice()).unwrap_or_default(),
    };
    let network = headers.network();
    let value = match report {
        HashReport::None => return None,
        HashReport::Ipv4 | HashReport::Tcp4 | HashReport::Udp4 => {
            toeplitz.hash(&[bytes.get(network + 12..network + 20)?, ports])
        }
        HashReport::Ipv6 | HashReport::Tcp6 | HashReport::Udp6 => {
            toeplitz.hash(&[bytes.get(network + 8..network + 40)?, ports])
        }
        HashReport::Ipv6Ex | HashReport::Tcp6Ex | HashReport::Udp6Ex => {
            let source = address(bytes, headers.home_address().unwrap_or(network + 8))?;
            let destination = address(bytes, headers.routing_address().unwrap_or(network + 24))?;
            toeplitz.hash(&[&source.octets(), &destination.octets(), ports])
        }
    };
    Some((value, report))
}

impl From<(u32, HashReport)> for VnetHash {
    fn from((value, report): (u32, HashReport)) -> Self {
        Self { value, report: report.to_wire() }
    }
}

/// The most specific type among `types` that applies.
fn report_for(headers: &Headers, types: HashTypes, has_ports: bool) -> Option<HashReport> {
    let protocol = headers.protocol().filter(|_| has_ports);
    let tcp = protocol == Some(ip_protocol::TCP);
    let udp = protocol == Some(ip_protocol::UDP);
    let extended = headers.extensions_len() != 0;
    let v4 = headers.version() == Some(IpVersion::V4);
    let v6 = headers.version() == Some(IpVersion::V6);
    [
        (v4 && tcp, HashTypes::TCP4, HashReport::Tcp4),
        (v4 && udp, HashTypes::UDP4, HashReport::Udp4),
        (v4, HashTypes::IPV4, HashReport::Ipv4),
        (v6 && extended && tcp, HashTypes::TCP6_EX, HashReport::Tcp6Ex),
        (v6 && extended && udp, HashTypes::UDP6_EX, HashReport::Udp6Ex),
        (v6 && extended, HashTypes::IPV6_EX, HashReport::Ipv6Ex),
        (v6 && tcp, HashTypes::TCP6, HashReport::Tcp6),
        (v6 && udp, HashTypes::UDP6, HashReport::Udp6),
        (v6, HashTypes::IPV6, HashReport::Ipv6),
    ]
    .into_iter()
    .find(|&(fits, kind, _)| fits && types.contains(kind))
    .map(|(_, _, report)| report)
}

#[cfg(test)]
mod tests;
