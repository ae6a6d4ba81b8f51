//! Which station has which address of a pool.

use alloc::collections::BTreeMap;
use core::time::Duration;

use adit_packet::{Instant, MacAddr};

use crate::guest::config::{Address, AddressPool, GuestConfig};

/// How long an offered address waits for its request.
const OFFER: Duration = Duration::from_secs(60);
/// How long an address that a guest found in use is not assigned.
const DECLINED: Duration = Duration::from_secs(600);

/// The leases of one pool.
///
/// A station is known by its MAC address, whatever client identifier it sends: a machine keeps its address
/// from its firmware to its system. A lease that ended stays reserved until every address has been used once, so a
/// station gets the same address again.
#[derive(Debug)]
pub(super) struct Leases<A> {
    pool: AddressPool<A>,
    size: u32,
    /// Places in the pool.
    by_mac: BTreeMap<MacAddr, u32>,
    slots: BTreeMap<u32, Slot>,
}

#[derive(Debug)]
struct Slot {
    /// `None` for an address that was declined.
    mac: Option<MacAddr>,
    until: Instant,
}

impl<A: Address> Leases<A> {
    pub(super) fn new(pool: AddressPool<A>) -> Self {
        let last = pool.last.since(pool.first).unwrap_or(u32::MAX);
        let size = last.saturating_add(1).min(GuestConfig::LEASES_MAX);
        Self { pool, size, by_mac: BTreeMap::new(), slots: BTreeMap::new() }
    }

    pub(super) const fn pool(&self) -> &AddressPool<A> {
        &self.pool
    }

    /// The address that the station has or had last.
    pub(super) fn of(&self, mac: MacAddr) -> Option<A> {
        self.by_mac.get(&mac).map(|&at| self.ip(at))
    }

    fn ip(&self, at: u32) -> A {
        self.pool.first.plus(at)
    }

    fn place(&self, ip: A) -> Option<u32> {
        ip.since(self.pool.first).filter(|&at| at < self.size)
    }

    /// Whether the station can have the address of this place now.
    fn is_free(&self, now: Instant, mac: MacAddr, at: u32) -> bool {
        self.slots.get(&at).is_none_or(|slot| slot.until <= now || slot.mac == Some(mac))
    }

    /// An address for the station: the one that it has, the one that it wants, or a free one. `None` if there
    /// is none; `is_taken` says that it cannot be assigned, or is in use without a lease.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        mac: MacAddr,
        wanted: Option<A>,
        is_taken: impl Fn(A) -> bool,
    ) -> Option<A> {
        let can_have = |at: &u32| self.is_free(now, mac, *at) && !is_taken(self.ip(*at));
        let known = self.by_mac.get(&mac).copied().filter(can_have);
        let at = known
            .or_else(|| wanted.and_then(|ip| self.place(ip)).filter(can_have))
            .or_else(|| (0..self.size).find(|at| !self.slots.contains_key(at) && can_have(at)))
            .or_else(|| {
                let ended = self.slots.iter().filter(|(at, _)| can_have(at));
                ended.min_by_key(|(_, slot)| slot.until).map(|(&at, _)| at)
            })?;
        let until = self.slots.get(&at).filter(|_| known.is_some()).map(|slot| slot.until);
        self.set(mac, at, until.unwrap_or(now).max(now + OFFER));
        Some(self.ip(at))
    }

    /// Gives the station this very address, if it can have it; until when.
    pub(super) fn bind(
        &mut self,
        now: Instant,
        mac: MacAddr,
        ip: A,
        is_taken: impl Fn(A) -> bool,
    ) -> Option<Instant> {
        let at = self.place(ip)?;
        let until = now + self.pool.lease;
        let can_have = self.is_free(now, mac, at) && !is_taken(ip);
        can_have.then(|| {
            self.set(mac, at, until);
            until
        })
    }

    /// Ends the lease; the address stays reserved for its station while others are free.
    pub(super) fn release(&mut self, now: Instant, mac: MacAddr, ip: A) {
        let slot = self.place(ip).and_then(|at| self.slots.get_mut(&at));
        if let Some(slot) = slot.filter(|slot| slot.mac == Some(mac)) {
            slot.until = now;
        }
    }

    /// The station found another host with its address: that is assigned to nobody for a while.
    pub(super) fn decline(&mut self, now: Instant, mac: MacAddr, ip: A) {
        let slot = self.place(ip).and_then(|at| self.slots.get_mut(&at));
        if let Some(slot) = slot.filter(|slot| slot.mac == Some(mac)) {
            *slot = Slot { mac: None, until: now + DECLINED };
            self.by_mac.remove(&mac);
        }
    }

    fn set(&mut self, mac: MacAddr, at: u32, until: Instant) {
        if let Some(old) = self.by_mac.insert(mac, at).filter(|&old| old != at) {
            self.slots.remove(&old);
        }
        let former = self.slots.insert(at, Slot { mac: Some(mac), until });
        if let Some(other) = former.and_then(|slot| slot.mac).filter(|&other| other != mac) {
            self.by_mac.remove(&other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const HOUR: Duration = Duration::from_secs(3600);

    fn mac(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn free(_: Ipv4Addr) -> bool {
        false
    }

    fn leases(first: u8, last: u8) -> Leases<Ipv4Addr> {
        Leases::new(AddressPool { first: ip(first), last: ip(last), lease: HOUR })
    }

    #[test]
    fn a_station_keeps_its_address_and_the_pool_has_an_end() {
        let (mut leases, now) = (leases(4, 5), Instant::ZERO);
        assert_eq!(leases.offer(now, mac(1), None, free), Some(ip(4)));
        assert_eq!(leases.bind(now, mac(1), ip(4), free), Some(now + HOUR));
        assert_eq!(leases.offer(now, mac(1), Some(ip(5)), free), Some(ip(4)), "it has one");
        assert_eq!(leases.bind(now, mac(2), ip(4), free), None, "another has it");
        assert_eq!(leases.offer(now, mac(2), Some(ip(4)), free), Some(ip(5)));
        assert_eq!(leases.offer(now, mac(3), None, free), None, "the pool is used up");
        // An offer that nobody requested ends.
        let later = now + OFFER;
        assert_eq!(leases.offer(later, mac(3), None, free), Some(ip(5)));
        leases.release(later, mac(2), ip(4));
        assert_eq!(leases.bind(later, mac(2), ip(4), free), None, "only its station ends it");
        leases.release(later, mac(1), ip(4));
        assert_eq!(leases.offer(later, mac(1), None, free), Some(ip(4)), "the same again");
    }

    #[test]
    fn an_ended_lease_goes_to_others_last() {
        let (mut leases, now) = (leases(4, 5), Instant::ZERO);
        assert!(leases.bind(now, mac(1), ip(4), free).is_some());
        let later = now + 2 * HOUR;
        assert_eq!(leases.offer(later, mac(2), None, free), Some(ip(5)), "4 is reserved");
        assert_eq!(leases.offer(later, mac(3), None, free), Some(ip(4)), "until it is needed");
        for outside in [3, 6] {
            assert_eq!(leases.bind(later, mac(4), ip(outside), free), None);
        }
    }

    #[test]
    fn what_is_in_use_is_not_assigned() {
        let (mut leases, now) = (leases(4, 6), Instant::ZERO);
        let is_four = |one| one == ip(4);
        assert_eq!(leases.offer(now, mac(1), Some(ip(4)), is_four), Some(ip(5)));
        leases.decline(now, mac(2), ip(5));
        leases.decline(now, mac(1), ip(5));
        assert_eq!(leases.offer(now, mac(1), Some(ip(5)), is_four), Some(ip(6)));
        assert!(leases.bind(now + DECLINED, mac(3), ip(5), free).is_some());
    }

    #[test]
    fn a_wide_pool_is_used_in_part() {
        let first = "fd00::15".parse().unwrap();
        let last = core::net::Ipv6Addr::from_bits(u128::MAX);
        let mut leases = Leases::new(AddressPool { first, last, lease: HOUR });
        assert_eq!(leases.size, GuestConfig::LEASES_MAX);
        let offered = leases.offer(Instant::ZERO, mac(1), Some(last), |_| false);
        assert_eq!(offered, Some(first));
    }
}
