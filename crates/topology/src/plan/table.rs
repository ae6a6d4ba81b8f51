//! The routes of nodes, small: a lab of a thousand routers has millions of them.

use adit_packet::IpPrefix;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpPrefix,
    /// The next hop; `None`: it is on the link.
    pub via: Option<IpAddr>,
    /// The interface, by its place among those of the node.
    pub interface: usize,
    /// Its metric.
    pub metric: Option<u32>,
}

/// The routes of a node: to the destinations of all nodes a number each, and others as they are.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Destinations, the same for all nodes.
    known: Arc<[IpPrefix]>,
    /// By destination: the place of its hop plus 1, or 0 for no route.
    by_destination: Box<[u16]>,
    hops: Box<[Hop]>,
    /// Routes that follow.
    others: Box<[Route]>,
}

/// By which packets leave the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hop {
    via: Option<IpAddr>,
    interface: usize,
    metric: Option<u32>,
}

impl Routes {
    /// Iterates over the routes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = Route> + Clone + '_ {
        let known = self.known.iter().zip(&self.by_destination).filter_map(|(&to, &place)| {
            let Hop { via, interface, metric } =
                *self.hops.get(usize::from(place).checked_sub(1)?)?;
            Some(Route { to, via, interface, metric })
        });
        known.chain(self.others.iter().copied())
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// The destinations of all nodes.
#[derive(Debug)]
pub(super) struct Destinations {
    known: Arc<[IpPrefix]>,
    places: HashMap<IpPrefix, usize>,
}

impl Destinations {
    /// In the order in which routes to them are found.
    pub(super) fn new(all: impl Iterator<Item = IpPrefix>) -> Self {
        let mut places = HashMap::new();
        let mut known = Vec::new();
        for one in all {
            places.entry(one).or_insert_with(|| {
                known.push(one);
                known.len() - 1
            });
        }
        Self { known: known.into(), places }
    }

    /// Packs routes to destinations, which come first and once each, and others.
    pub(super) fn pack(&self, routes: Vec<Route>) -> Routes {
        let mut by_destination = vec![0; self.known.len()];
        let (mut hops, mut numbers) = (Vec::new(), HashMap::new());
        let mut routes = routes.into_iter().peekable();
        let mut next = 0;
        while let Some(route) = routes.peek() {
            let hop = Hop { via: route.via, interface: route.interface, metric: route.metric };
            let number = *numbers.entry(hop).or_insert_with(|| {
                hops.push(hop);
                hops.len()
            });
            // In another order, or twice: it is one of the others, and so are those after it.
            let place = self.places.get(&route.to).copied().filter(|place| *place >= next);
            let (Some(place), Ok(number)) = (place, u16::try_from(number)) else { break };
            by_destination[place] = number;
            next = place + 1;
            routes.next();
        }
        by_destination.truncate(next);
        Routes {
            known: Arc::clone(&self.known),
            by_destination: by_destination.into(),
            hops: hops.into(),
            others: routes.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn packed_routes_are_the_same_in_the_same_order() {
        let all: Vec<IpPrefix> = (0..9).map(|n| prefix(&format!("10.0.{n}.0/24"))).collect();
        let destinations = Destinations::new(all.iter().copied().chain([all[3]]));
        let route = |to: IpPrefix, via: u8| Route {
            to,
            via: Some(IpAddr::from([192, 0, 2, via])),
            interface: usize::from(via),
            metric: (via == 2).then_some(7),
        };
        let (usual, twice) = (prefix("0.0.0.0/0"), all[5]);
        let lists = [
            vec![],
            vec![route(all[0], 1)],
            vec![route(usual, 1)],
            vec![route(all[1], 1), route(all[2], 2), route(all[8], 1), route(usual, 2)],
            vec![route(all[5], 1), route(twice, 2), route(all[7], 1)],
            vec![route(all[5], 1), route(all[2], 1), route(all[6], 1)],
        ];
        for list in lists {
            let packed = destinations.pack(list.clone());
            assert_eq!(packed.iter().collect::<Vec<_>>(), list);
            assert_eq!(packed.is_empty(), list.is_empty());
        }
        // Two bytes a route.
        let many = destinations.pack(all.iter().map(|to| route(*to, 1)).collect());
        assert_eq!((many.by_destination.len(), many.hops.len(), many.others.len()), (9, 1, 0));
    }
}
