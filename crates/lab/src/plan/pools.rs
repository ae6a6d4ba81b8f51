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
