//! The cryptokey routing table: from addresses to peers (NDSS 2017, section 2).

use alloc::vec::Vec;
use core::net::IpAddr;

use adit_packet::{IpPrefix, mask_v4, mask_v6};

/// The owners of prefixes. The longest prefix that contains an address decides.
///
/// There is a sorted list for each prefix length in use, the longest first. A lookup is a binary search in
/// each list: usually two or three, and never more, whatever address an attacker chooses.
#[derive(Debug, Default)]
pub(crate) struct AllowedIps {
    v4: Vec<Level<u32>>,
    v6: Vec<Level<u128>>,
}

#[derive(Debug)]
struct Level<A> {
    len: u8,
    /// Sorted by the address.
    owners: Vec<(A, u32)>,
}

impl AllowedIps {
    /// Assigns a prefix to a peer. Returns the previous owner, which loses it.
    pub(crate) fn insert(&mut self, prefix: &IpPrefix, owner: u32) -> Option<u32> {
        let len = prefix.len();
        match prefix.network().ip() {
            IpAddr::V4(address) => insert(&mut self.v4, len, address.to_bits(), owner),
            IpAddr::V6(address) => insert(&mut self.v6, len, address.to_bits(), owner),
        }
    }

    /// Removes all prefixes of a peer.
    pub(crate) fn remove_all(&mut self, owner: u32) {
        remove_all(&mut self.v4, owner);
        remove_all(&mut self.v6, owner);
    }

    /// The owner of an address.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                self.v4.iter().find_map(|level| level.owner(bits & mask_v4(level.len)))
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.v6.iter().find_map(|level| level.owner(bits & mask_v6(level.len)))
            }
        }
    }
}

impl<A: Ord + Copy> Level<A> {
    fn owner(&self, masked: A) -> Option<u32> {
        let at = self.owners.binary_search_by_key(&masked, |&(address, _)| address).ok()?;
        self.owners.get(at).map(|&(_, owner)| owner)
    }
}

fn insert<A: Ord + Copy>(levels: &mut Vec<Level<A>>, len: u8, bits: A, owner: u32) -> Option<u32> {
    let at = match levels.binary_search_by(|level| len.cmp(&level.len)) {
        Ok(at) => at,
        Err(at) => {
            levels.insert(at, Level { len, owners: Vec::new() });
            at
        }
    };
    let level = levels.get_mut(at)?;
    match level.owners.binary_search_by_key(&bits, |&(address, _)| address) {
        Ok(at) => {
            let before = level.owners.get_mut(at)?;
            let former = core::mem::replace(&mut before.1, owner);
            (former != owner).then_some(former)
        }
        Err(at) => {
            level.owners.insert(at, (bits, owner));
            None
        }
    }
}

fn remove_all<A>(levels: &mut Vec<Level<A>>, owner: u32) {
    for level in levels.iter_mut() {
        level.owners.retain(|&(_, other)| other != owner);
    }
    levels.retain(|level| !level.owners.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    /// The oracle: all prefixes are looked at, and the longest that has the address counts.
    fn scan(all: &[(IpPrefix, u32)], address: IpAddr) -> Option<u32> {
        let mut best: Option<(IpPrefix, u32)> = None;
        for &(prefix, owner) in all.iter().filter(|(prefix, _)| prefix.contains(address)) {
            if best.is_none_or(|(longest, _)| longest.len() <= prefix.len()) {
                best = Some((prefix, owner));
            }
        }
        best.map(|(_, owner)| owner)
    }

    /// Addresses close together, so that prefixes meet.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (any::<u32>(), any::<bool>()).prop_map(|(bits, near)| {
                IpAddr::V4((if near { bits & 0x0101_0103 } else { bits }).into())
            }),
            (any::<u128>(), any::<bool>()).prop_map(|(bits, near)| {
                IpAddr::V6((if near { bits & (7 << 96 | 7) } else { bits }).into())
            }),
        ]
    }

    fn prefix() -> impl Strategy<Value = IpPrefix> {
        (address(), any::<u8>()).prop_map(|(address, len)| {
            let bits = if address.is_ipv4() { 33 } else { 129 };
            IpPrefix::new(address, u8::try_from(u16::from(len) % bits).unwrap()).unwrap().network()
        })
    }

    proptest! {
        #[test]
        fn a_look_up_is_a_linear_scan(
            entries in prop::collection::vec((prefix(), 0_u32..5), 0..40),
            removed in prop::option::of(0_u32..5),
            questions in prop::collection::vec(address(), 1..40),
        ) {
            let mut table = AllowedIps::default();
            let mut all: Vec<(IpPrefix, u32)> = vec![];
            for (prefix, owner) in entries {
                table.insert(&prefix, owner);
                all.retain(|(other, _)| *other != prefix);
                all.push((prefix, owner));
            }
            if let Some(removed) = removed {
                table.remove_all(removed);
                all.retain(|&(_, owner)| owner != removed);
            }
            let edges: Vec<_> = all.iter().map(|(prefix, _)| prefix.ip()).collect();
            for address in questions.into_iter().chain(edges) {
                prop_assert_eq!(table.owner(address), scan(&all, address), "{}", address);
            }
        }
    }

    #[test]
    fn a_prefix_has_one_owner() {
        let mut table = AllowedIps::default();
        let prefix = "10.0.0.0/8".parse().unwrap();
        assert_eq!(table.insert(&prefix, 1), None);
        assert_eq!(table.insert(&prefix, 1), None);
        assert_eq!(table.insert(&prefix, 2), Some(1));
        assert_eq!(table.owner("10.1.1.1".parse().unwrap()), Some(2));
    }
}
