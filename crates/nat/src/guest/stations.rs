//! Which addresses the stations of a port have.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use adit_engine::DropReason;
use adit_packet::{Instant, MacAddr};

/// Addresses of one station: IPv4, link-local, and what SLAAC, DHCPv6 and privacy extensions add.
const ADDRESSES_MAX: usize = 16;
/// How long a silent station keeps an address against another one. A machine that was replaced can take
/// the address soon, and one that is there cannot be robbed of it.
const HOLD: Duration = Duration::from_secs(10);
/// After that silence a station leaves the table if that is full.
const IDLE: Duration = Duration::from_secs(300);
/// How exact the times are. A station that sends without pause is looked up once in that time.
const GRAIN: Duration = Duration::from_millis(500);

/// The stations of a port and their addresses, learned from what they send.
#[derive(Debug, Default)]
pub(super) struct Stations {
    stations: BTreeMap<MacAddr, Station>,
    claims: BTreeMap<IpAddr, Claim>,
    /// The last sender, so that a train of packets costs one lookup.
    recent: Option<(MacAddr, IpAddr, Instant)>,
}

#[derive(Debug, Default)]
struct Station {
    seen: Instant,
    /// The one that was claimed first is the first to go.
    addresses: Vec<IpAddr>,
}

#[derive(Debug)]
struct Claim {
    mac: MacAddr,
    seen: Instant,
    /// The end of its lease.
    leased: Instant,
}

impl Claim {
    /// Whether no other station can take the address.
    fn holds(&self, now: Instant) -> bool {
        self.leased > now || now.since(self.seen) < HOLD
    }
}

impl Stations {
    /// Records that the station sent something. A new one needs room in the table.
    ///
    /// # Errors
    ///
    /// [`DropReason::MAC_GUARD`] if `max` stations are known, and none of them has been silent for long.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        mac: MacAddr,
        max: usize,
    ) -> Result<(), DropReason> {
        if self.recent.is_some_and(|(recent, _, at)| recent == mac && now.since(at) < GRAIN) {
            return Ok(());
        }
        if let Some(station) = self.stations.get_mut(&mac) {
            station.seen = now;
            return Ok(());
        }
        if self.stations.len() >= max {
            let idle = self.stations.iter().min_by_key(|(_, station)| station.seen);
            let idle = idle.filter(|(_, station)| now.since(station.seen) >= IDLE);
            let idle = *idle.ok_or(DropReason::MAC_GUARD)?.0;
            for ip in self.stations.remove(&idle).into_iter().flat_map(|gone| gone.addresses) {
                self.claims.remove(&ip);
            }
        }
        self.stations.insert(mac, Station { seen: now, addresses: Vec::new() });
        Ok(())
    }

    /// Records that the station uses `ip` as its own. It was [admitted](Self::admit).
    ///
    /// # Errors
    ///
    /// [`DropReason::IP_GUARD`] if another station has it.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        mac: MacAddr,
        ip: IpAddr,
    ) -> Result<(), DropReason> {
        if self
            .recent
            .is_some_and(|(recent, its, at)| (recent, its) == (mac, ip) && now.since(at) < GRAIN)
        {
            return Ok(());
        }
        match self.claims.get_mut(&ip) {
            Some(claim) if claim.mac == mac => claim.seen = now,
            Some(claim) if claim.holds(now) => return Err(DropReason::IP_GUARD),
            _ => self.assign(now, mac, ip, Instant::ZERO),
        }
        self.recent = Some((mac, ip, now));
        Ok(())
    }

    /// Gives `ip` to the station until its lease ends.
    pub(super) fn lease(&mut self, now: Instant, mac: MacAddr, ip: IpAddr, until: Instant) {
        match self.claims.get_mut(&ip) {
            Some(claim) if claim.mac == mac => claim.leased = until,
            _ => self.assign(now, mac, ip, until),
        }
    }

    /// Takes `ip` from the station.
    pub(super) fn release(&mut self, mac: MacAddr, ip: IpAddr) {
        if self.claims.get(&ip).is_some_and(|claim| claim.mac == mac) {
            self.claims.remove(&ip);
            self.disown(mac, ip);
        }
    }

    fn assign(&mut self, now: Instant, mac: MacAddr, ip: IpAddr, leased: Instant) {
        self.recent = None;
        if let Some(former) = self.claims.remove(&ip) {
            self.disown(former.mac, ip);
        }
        let Some(station) = self.stations.get_mut(&mac) else { return };
        if station.addresses.len() >= ADDRESSES_MAX {
            let claims = &self.claims;
            let is_leased = |ip: &IpAddr| claims.get(ip).is_some_and(|claim| claim.leased > now);
            // At most one address of each family has a lease.
            let oldest = station.addresses.iter().position(|ip| !is_leased(ip)).unwrap_or(0);
            let oldest = station.addresses.remove(oldest);
            self.claims.remove(&oldest);
        }
        station.addresses.push(ip);
        self.claims.insert(ip, Claim { mac, seen: now, leased });
    }

    fn disown(&mut self, mac: MacAddr, ip: IpAddr) {
        self.recent = None;
        if let Some(station) = self.stations.get_mut(&mac) {
            station.addresses.retain(|&its| its != ip);
        }
    }

    /// The station that has `ip`, as far as is known.
    pub(super) fn mac_of(&self, ip: IpAddr) -> Option<MacAddr> {
        self.claims.get(&ip).map(|claim| claim.mac)
    }

    /// Whether a station other than `mac` has `ip` and could not lose it now.
    pub(super) fn is_held_by_another(&self, now: Instant, mac: MacAddr, ip: IpAddr) -> bool {
        self.claims.get(&ip).is_some_and(|claim| claim.mac != mac && claim.holds(now))
    }

    /// All addresses with their stations.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, MacAddr)> + '_ {
        self.claims.iter().map(|(&ip, claim)| (ip, claim.mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const TWO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn ip(last: u8) -> IpAddr {
        [10, 0, 2, last].into()
    }

    #[test]
    fn an_address_stays_with_its_station_while_that_is_there() {
        let (mut stations, now) = (Stations::default(), Instant::ZERO + Duration::from_secs(1));
        for mac in [ONE, TWO] {
            stations.admit(now, mac, 2).unwrap();
        }
        stations.claim(now, ONE, ip(9)).unwrap();
        let later = now + HOLD / 2;
        assert_eq!(stations.claim(later, TWO, ip(9)), Err(DropReason::IP_GUARD));
        assert!(stations.is_held_by_another(later, TWO, ip(9)));
        stations.claim(later, ONE, ip(9)).unwrap();
        assert_eq!(stations.claim(now + HOLD, TWO, ip(9)), Err(DropReason::IP_GUARD));
        stations.claim(later + HOLD, TWO, ip(9)).unwrap();
        assert_eq!(stations.mac_of(ip(9)), Some(TWO));
        // A lease outlives silence.
        stations.lease(later, ONE, ip(10), later + 100 * HOLD);
        assert_eq!(stations.claim(later + 99 * HOLD, TWO, ip(10)), Err(DropReason::IP_GUARD));
        stations.release(TWO, ip(10));
        assert_eq!(stations.mac_of(ip(10)), Some(ONE), "only its station releases it");
        stations.release(ONE, ip(10));
        stations.claim(later, TWO, ip(10)).unwrap();
    }

    #[test]
    fn the_table_is_bounded_and_honest_stations_stay() {
        let (mut stations, mut now) = (Stations::default(), Instant::ZERO);
        stations.admit(now, ONE, 2).unwrap();
        stations.claim(now, ONE, ip(1)).unwrap();
        stations.lease(now, ONE, ip(1), Instant::MAX);
        // Another station uses many addresses: it loses its own.
        stations.admit(now, TWO, 2).unwrap();
        for last in 2..=255 {
            stations.claim(now, TWO, ip(last)).unwrap();
        }
        assert_eq!(stations.iter().count(), 1 + ADDRESSES_MAX);
        assert_eq!((stations.mac_of(ip(1)), stations.mac_of(ip(255))), (Some(ONE), Some(TWO)));
        // A third one finds no room until one of them is silent for long.
        let three = MacAddr([2, 0, 0, 0, 0, 3]);
        assert_eq!(stations.admit(now, three, 2), Err(DropReason::MAC_GUARD));
        now += IDLE;
        stations.admit(now, ONE, 2).unwrap();
        stations.admit(now, three, 2).unwrap();
        assert_eq!(stations.iter().collect::<Vec<_>>(), [(ip(1), ONE)]);
    }
}
