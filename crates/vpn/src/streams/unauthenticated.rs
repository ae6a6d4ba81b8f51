//! Hosts that connected by TCP and have not authenticated, counted by address.
//!
//! ```text
//! connected --> table --> authenticated as a peer: its stream replaces the peer's earlier one
//!                 |
//!                 |--> 10 s are over, or it sent what no peer sends: closed
//!                 '--> the table is full: the address with the most connections loses its oldest
//! ```
//!
//! What a connection costs: 2.5 KiB and one of 256 places, one message in each turn of the loop, and
//! what the limits of handshakes permit its address, which are the same by UDP. So an address with any number
//! of connections takes the places of no other, and hosts that share an address with an attacker have the time of
//! 256 further connections to authenticate.

use adit_engine::PortId;
use adit_packet::Instant;
use adit_tunnel::Source;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a host may take to authenticate as a peer: two handshakes.
const AUTHENTICATION_TIME: Duration = Duration::from_secs(10);

/// How many hosts there may be; less if the process may have fewer than 1024 descriptors.
pub(super) const UNAUTHENTICATED_MAX: usize = 256;

/// The hosts, by their ports.
#[derive(Debug)]
pub(super) struct Unauthenticated {
    hosts_max: usize,
    hosts: BTreeMap<PortId, Source>,
    /// When each must have authenticated, the earliest first.
    deadlines: VecDeque<(Instant, PortId)>,
    /// The ports of each address, the oldest first.
    ports: BTreeMap<Source, VecDeque<PortId>>,
}

impl Unauthenticated {
    /// No host yet, and never more than this many.
    pub(super) fn new(hosts_max: usize) -> Self {
        let (hosts, ports) = (BTreeMap::new(), BTreeMap::new());
        Self { hosts_max, hosts, deadlines: VecDeque::new(), ports }
    }

    /// Adds a host; returns the one that must give way if there are too many.
    pub(super) fn insert(&mut self, now: Instant, port: PortId, source: Source) -> Option<PortId> {
        self.remove(port);
        self.hosts.insert(port, source);
        self.ports.entry(source).or_default().push_back(port);
        self.deadlines.push_back((now + AUTHENTICATION_TIME, port));
        let gone = (self.hosts.len() > self.hosts_max).then(|| self.busiest()).flatten()?;
        self.remove(gone);
        Some(gone)
    }

    /// The oldest host of the address that has the most.
    fn busiest(&self) -> Option<PortId> {
        self.ports.values().max_by_key(|ports| ports.len())?.front().copied()
    }

    /// Removes a host: it is authenticated, or gone. Returns whether it was here.
    pub(super) fn remove(&mut self, port: PortId) -> bool {
        let Some(source) = self.hosts.remove(&port) else { return false };
        if let Some(ports) = self.ports.get_mut(&source) {
            ports.retain(|other| *other != port);
            if ports.is_empty() {
                self.ports.remove(&source);
            }
        }
        self.deadlines.retain(|(_, other)| *other != port);
        true
    }

    /// Whether a host is here.
    pub(super) fn contains(&self, port: PortId) -> bool {
        self.hosts.contains_key(&port)
    }

    /// How many hosts there are.
    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// When [`Self::expired`] returns the next one.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Removes the next host whose time is over.
    pub(super) fn expired(&mut self, now: Instant) -> Option<PortId> {
        let (_, port) = *self.deadlines.front().filter(|(at, _)| *at <= now)?;
        self.remove(port);
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn source(number: u32) -> Source {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn port(number: usize) -> PortId {
        PortId(u16::try_from(number).unwrap())
    }

    #[test]
    fn the_busiest_address_gives_way() {
        let mut hosts = Unauthenticated::new(UNAUTHENTICATED_MAX);
        let attacker = source(1);
        assert!((0..UNAUTHENTICATED_MAX).all(|n| hosts.insert(at(0), port(n), attacker).is_none()));
        // A host from elsewhere takes the place of the attacker's oldest, and keeps its own.
        assert_eq!(hosts.insert(at(1), port(1000), source(2)), Some(port(0)));
        for n in 1..UNAUTHENTICATED_MAX {
            assert_eq!(hosts.insert(at(2), port(1000 + n), attacker), Some(port(n)));
        }
        assert!(hosts.contains(port(1000)) && hosts.count() == UNAUTHENTICATED_MAX);
        assert_eq!(hosts.insert(at(3), port(2000), source(3)), Some(port(1001)));
        // Time takes what is left.
        assert_eq!((hosts.next_due(), hosts.expired(at(10))), (Some(at(11)), None));
        assert_eq!((hosts.expired(at(11)), hosts.expired(at(11))), (Some(port(1000)), None));
        assert!(hosts.remove(port(1002)) && !hosts.remove(port(1002)));
        while hosts.expired(at(13)).is_some() {}
        assert!(hosts.count() == 0 && hosts.next_due().is_none() && hosts.ports.is_empty());
    }

    proptest! {
        /// Whatever connects, an address with fewer connections than another keeps all of them.
        #[test]
        fn an_address_loses_nothing_to_a_busier_one(
            steps in prop::collection::vec((0..12_u32, any::<bool>()), 0..2000),
        ) {
            let mut hosts = Unauthenticated::new(UNAUTHENTICATED_MAX);
            for (number, (from, stays)) in steps.into_iter().enumerate() {
                // The higher half of the addresses is one.
                let from = source(from.min(6));
                let before = hosts.ports.clone();
                let gone = hosts.insert(at(0), port(number), from);
                if let Some(gone) = gone {
                    let most = hosts.ports.values().map(VecDeque::len).max().unwrap_or(0);
                    let (source, ports) =
                        before.iter().find(|(_, ports)| ports.contains(&gone)).unwrap();
                    prop_assert!(ports.len() + usize::from(*source == from) >= most);
                    prop_assert_eq!(ports.front(), Some(&gone));
                }
                if !stays {
                    hosts.remove(port(number));
                }
                prop_assert!(hosts.count() <= UNAUTHENTICATED_MAX);
                let ports: usize = hosts.ports.values().map(VecDeque::len).sum();
                prop_assert_eq!((ports, hosts.deadlines.len()), (hosts.count(), hosts.count()));
            }
        }
    }
}
