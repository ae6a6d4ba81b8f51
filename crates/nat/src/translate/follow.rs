//! Ports of the host that follow what listens inside.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::publish::Publish;
use adit_engine::PortId;
use adit_engine::flow::{FlowId, Transport};

/// Ports that are published at most: each takes a descriptor, and the inside decides how many there are.
const PORTS_MAX: usize = 1024;

/// Decides which ports of the host lead inside, by what listens there: a port that listens at any address, or at that
/// of the device, has the port of the same number outside.
#[derive(Debug)]
pub struct FollowListeners {
    locals: Vec<IpAddr>,
    devices: Vec<IpAddr>,
    port: PortId,
    transport: Transport,
    /// What is published, by the address of the host; without a flow, what could not be.
    known: BTreeMap<SocketAddr, (SocketAddr, Option<FlowId>)>,
}

impl FollowListeners {
    /// For a device inside with these addresses; at no address of the host yet.
    #[must_use]
    pub const fn new(devices: Vec<IpAddr>, port: PortId, transport: Transport) -> Self {
        Self { locals: Vec::new(), devices, port, transport, known: BTreeMap::new() }
    }

    /// Publishes what listens at an address of the host too, `None` for all. `false`: it does so already.
    pub fn add(&mut self, address: Option<IpAddr>) -> bool {
        let mut new = locals(address);
        new.retain(|local| !self.locals.contains(local));
        self.locals.extend(&new);
        !new.is_empty()
    }

    /// Publishes what listens at that address no more: [`Self::update`] closes it. `false`: it did not.
    pub fn remove(&mut self, address: Option<IpAddr>) -> bool {
        let (before, gone) = (self.locals.len(), locals(address));
        self.locals.retain(|local| !gone.contains(local));
        self.locals.len() != before
    }

    /// Whether no address is added, and nothing is published.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.locals.is_empty() && self.known.is_empty()
    }

    /// Takes what listens inside now: returns the ports to close, then those to open, whose outcome goes to
    /// [`Self::opened`].
    pub fn update(&mut self, listening: &[SocketAddr]) -> (Vec<FlowId>, Vec<Publish>) {
        let pairs = listening.iter().flat_map(|at| self.pairs(*at));
        let wanted: BTreeMap<SocketAddr, SocketAddr> = pairs.collect();
        let (mut close, mut open) = (Vec::new(), Vec::new());
        self.known.retain(|local, (inside, flow)| {
            let stays = wanted.get(local) == Some(inside);
            close.extend(flow.filter(|_| !stays));
            stays
        });
        let (transport, port) = (self.transport, self.port);
        let new = wanted.into_iter().filter(|(local, _)| !self.known.contains_key(local));
        let new = new.map(|(local, inside)| Publish { transport, local, inside, port });
        open.extend(new.take(PORTS_MAX.saturating_sub(self.known.len())));
        (close, open)
    }

    /// What became of a port: its flow, or `None`, after which it is not tried again while it listens inside.
    pub fn opened(&mut self, publish: &Publish, flow: Option<FlowId>) {
        self.known.insert(publish.local, (publish.inside, flow));
    }

    /// The addresses of the host that lead to one inside.
    fn pairs(&self, at: SocketAddr) -> impl Iterator<Item = (SocketAddr, SocketAddr)> + use<'_> {
        let of_family = move |ip: &&IpAddr| ip.is_ipv4() == at.is_ipv4();
        let is_reached = |device: &&IpAddr| at.ip().is_unspecified() || at.ip() == **device;
        let device = self.devices.iter().find(of_family).filter(is_reached).copied();
        let inside = device.map(|device| SocketAddr::new(device, at.port()));
        let locals = self.locals.iter().filter(of_family);
        locals.filter_map(move |local| Some((SocketAddr::new(*local, at.port()), inside?)))
    }
}

/// An address of the host; those for all addresses without one.
fn locals(address: Option<IpAddr>) -> Vec<IpAddr> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    address.map_or_else(|| any.to_vec(), |address| [address].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use std::vec;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn follow(address: Option<&str>) -> FollowListeners {
        let devices = ["10.0.2.100", "fd00::100"].map(|ip| ip.parse().unwrap()).to_vec();
        let mut new = FollowListeners::new(devices, PortId(0), Transport::Tcp);
        assert!(new.is_idle() && new.add(address.map(|ip| ip.parse().unwrap())));
        new
    }

    fn opened(follow: &mut FollowListeners, listening: &[&str]) -> (Vec<FlowId>, Vec<String>) {
        let listening: Vec<SocketAddr> = listening.iter().map(|text| at(text)).collect();
        let (close, open) = follow.update(&listening);
        for publish in &open {
            assert_eq!(publish.local.port(), publish.inside.port());
            follow.opened(publish, Some(FlowId(publish.local.port().into())));
        }
        (close, open.iter().map(|publish| publish.local.to_string()).collect())
    }

    #[test]
    fn what_listens_is_published_until_it_ends() {
        let mut all = follow(None);
        let listening = [
            "0.0.0.0:80",
            "[::]:80",
            "10.0.2.100:81",
            "127.0.0.1:82",
            "[::1]:83",
            "192.0.2.1:84",
            "[fe80::1]:85",
        ];
        let open = ["0.0.0.0:80", "0.0.0.0:81", "[::]:80"].map(String::from).to_vec();
        assert_eq!(opened(&mut all, &listening), (vec![], open));
        assert_eq!(opened(&mut all, &listening), (vec![], vec![]));
        let (mut close, open) = opened(&mut all, &["0.0.0.0:80", "0.0.0.0:90"]);
        close.sort();
        assert_eq!((close, open), (vec![FlowId(80), FlowId(81)], vec!["0.0.0.0:90".into()]));
        assert_eq!(opened(&mut follow(Some("::1")), &listening).1, ["[::1]:80"]);
        assert!(!all.add(None) && all.remove(None) && !all.remove(None) && !all.is_idle());
        assert_eq!(opened(&mut all, &listening), (vec![FlowId(80), FlowId(90)], vec![]));
        assert!(all.is_idle());
    }

    #[test]
    fn a_port_that_failed_is_tried_again_when_it_listens_again() {
        let mut all = follow(None);
        let (_, open) = all.update(&[at("0.0.0.0:80")]);
        all.opened(&open[0], None);
        assert_eq!(all.update(&[at("0.0.0.0:80")]), (vec![], vec![]));
        assert_eq!(all.update(&[]), (vec![], vec![]));
        assert_eq!(all.update(&[at("0.0.0.0:80")]).1, open);
        let many: Vec<SocketAddr> = (1..5000).map(|port| ([0; 4], port).into()).collect();
        assert_eq!(follow(None).update(&many).1.len(), PORTS_MAX);
    }
}
