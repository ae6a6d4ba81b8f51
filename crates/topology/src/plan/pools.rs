//! Networks out of pools.

use adit_packet::{IpFamily, IpPrefix};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as a number.
pub(super) const fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of a number.
pub(super) fn ip_of(family: IpFamily, bits: u128) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpFamily::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The address with this number in a network.
pub(super) fn address_at(network: IpPrefix, number: u128) -> Option<IpPrefix> {
    let ip = ip_of(network.family(), bits_of(network.network().ip()).checked_add(number)?);
    IpPrefix::new(ip, network.len()).ok().filter(|_| network.contains(ip))
}

/// The last address of a network as a number.
pub(super) fn last_of(network: IpPrefix) -> u128 {
    let host = u32::from(network.family().bits() - network.len());
    let mask = 1_u128.checked_shl(host).map_or(u128::MAX, |size| size - 1);
    bits_of(network.network().ip()) | mask
}

/// Gives one network of each length in `lens`, in their order, from `pools`, without any part of `taken`; `None` if the
/// pools are too small.
pub(super) fn carve(
    family: IpFamily,
    pools: &[IpPrefix],
    taken: &[IpPrefix],
    lens: &[u8],
) -> Option<Vec<IpPrefix>> {
    let of_family = |prefix: &&IpPrefix| prefix.family() == family;
    let mut taken: Vec<(u128, u128)> = taken
        .iter()
        .filter(of_family)
        .map(|prefix| (bits_of(prefix.network().ip()), last_of(*prefix)))
        .collect();
    // Prefixes are nested or apart. The outer ones are enough, and of them only one can reach into a free place.
    taken.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    taken.dedup_by(|next, outer| next.1 <= outer.1);
    let mut pools = pools.iter().filter(of_family);
    let mut open: Option<(u128, u128)> = None;
    let mut networks = Vec::with_capacity(lens.len());
    for &len in lens {
        loop {
            let (next, last) = match open {
                Some(open) => open,
                None => {
                    let pool = pools.next()?;
                    (bits_of(pool.ip()), last_of(*pool))
                }
            };
            match free(family, (next, last), len, &taken) {
                Some(network) => {
                    let end = last_of(network);
                    open = (end < last).then(|| (end + 1, last));
                    networks.push(network);
                    break;
                }
                None => open = None,
            }
        }
    }
    Some(networks)
}

/// The first network of a length in a range that has no part of `taken`, which is sorted and without overlap.
fn free(
    family: IpFamily,
    (mut next, last): (u128, u128),
    len: u8,
    taken: &[(u128, u128)],
) -> Option<IpPrefix> {
    let size = 1_u128.checked_shl(u32::from(family.bits() - len))?;
    loop {
        let start = next.checked_next_multiple_of(size)?;
        let end = start.checked_add(size - 1).filter(|end| *end <= last)?;
        let before = taken.partition_point(|(first, _)| *first <= end);
        match taken[..before].last().filter(|(_, taken)| *taken >= start) {
            Some((_, taken)) => next = taken.checked_add(1)?,
            None => return IpPrefix::new(ip_of(family, start), len).ok(),
        }
    }
}

/// The same addresses with the same values in as few prefixes as can be: halves are joined, and what is in another one
/// with the same value is left out.
pub(super) fn merged<T: Copy + Eq>(mut list: Vec<(IpPrefix, T)>) -> Vec<(IpPrefix, T)> {
    list.sort_by_key(|(prefix, _)| (prefix.family(), bits_of(prefix.ip()), prefix.len()));
    let mut merged: Vec<(IpPrefix, T)> = Vec::new();
    for (mut prefix, value) in list {
        // Prefixes around this one are before it; the nearest of them decides.
        let mut around = merged.iter().rev().filter(|(of, _)| of.contains(prefix.ip()));
        if around.next().is_some_and(|(_, of)| *of == value) {
            continue;
        }
        while let Some(&(last, of)) = merged.last() {
            if last == prefix {
                // Its two halves have another value, so nothing has its own.
                merged.pop();
                continue;
            }
            let is_half = last.len() == prefix.len() && prefix.len() > 0 && of == value;
            let whole = IpPrefix::new(prefix.ip(), prefix.len().saturating_sub(1));
            let whole = whole.map(IpPrefix::network).ok().filter(|_| is_half);
            let Some(whole) = whole.filter(|whole| whole.contains(last.ip())) else { break };
            merged.pop();
            prefix = whole;
        }
        merged.push((prefix, value));
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{carve, ip_of, merged};
    use adit_packet::{IpFamily, IpPrefix};
    use proptest::prelude::{prop, proptest};
    use std::collections::BTreeSet;

    fn prefixes(texts: &[&str]) -> Vec<IpPrefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn networks_come_from_the_pools_in_order_around_what_is_taken() {
        let pools = prefixes(&["10.0.0.0/22", "192.168.0.0/23", "fd00::/48"]);
        let taken = prefixes(&["10.0.1.7/32", "10.0.1.128/25", "10.0.2.9/30"]);
        let carved = carve(IpFamily::V4, &pools, &taken, &[24, 24, 25, 24]).unwrap();
        let expected =
            prefixes(&["10.0.0.0/24", "10.0.3.0/24", "192.168.0.0/25", "192.168.1.0/24"]);
        assert_eq!(carved, expected);
        assert_eq!(carve(IpFamily::V4, &pools, &taken, &[24; 5]), None);
        let v6 = carve(IpFamily::V6, &pools, &taken, &[64, 64]).unwrap();
        assert_eq!(v6, prefixes(&["fd00::/64", "fd00:0:0:1::/64"]));
    }

    /// The value of the longest prefix of an address.
    fn value_of(list: &[(IpPrefix, u8)], ip: u32) -> Option<u8> {
        let ip = ip_of(IpFamily::V4, ip.into());
        let found = list.iter().filter(|(prefix, _)| prefix.contains(ip));
        found.max_by_key(|(prefix, _)| prefix.len()).map(|(_, value)| *value)
    }

    proptest! {
        #[test]
        fn merged_prefixes_have_the_same_values(list in prop::collection::vec((0..64_u32, 26..33_u8, 0..2_u8), 0..20)) {
            let mut given: Vec<(IpPrefix, u8)> = Vec::new();
            for (host, len, value) in list {
                let prefix = IpPrefix::new(ip_of(IpFamily::V4, host.into()), len).unwrap().network();
                if given.iter().all(|(known, _)| *known != prefix) {
                    given.push((prefix, value));
                }
            }
            let merged = merged(given.clone());
            let prefixes: BTreeSet<IpPrefix> = merged.iter().map(|(prefix, _)| *prefix).collect();
            assert!(prefixes.len() == merged.len() && merged.len() <= given.len());
            for ip in 0..64 {
                assert_eq!(value_of(&merged, ip), value_of(&given, ip), "{given:?} {merged:?}");
            }
        }
    }
}
