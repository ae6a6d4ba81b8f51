//! The addresses of interfaces that have none.
//!
//! Each segment has a network of each family: that of the first address that is given in it, or the next one of the
//! pools. A host whose name ends in a number has that number in its networks if it is free (`h7`: `10.0.0.7`,
//! `fd00:ad17::7`), others the first free one; routers and NATs have the last ones, downwards. So a node that is added at the end
//! changes no other one, and a group can grow.

use crate::model::{At, Attachments, Fault, Kind, Lab, Node};
use crate::plan::pools::{address_at, bits_of, carve, last_of};
use crate::plan::segments::{Member, Segments};
use adit_packet::{IpFamily, IpPrefix};
use std::collections::{BTreeSet, HashMap};

/// The networks that IPv4 segments get, if they are large enough: three numbers of four are the same for all.
const LEN_V4: u8 = 24;

/// The networks of IPv6 segments: what SLAAC needs.
const LEN_V6: u8 = 64;

/// A network of 24 bits with more hosts than that gets a larger one, so that there is room for more.
const HOSTS_MAX: usize = 200;

/// The first number from above in a network so large that its own last one is unreadable.
const TOP_MAX: u128 = 65_534;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

/// The addresses of all ends of links.
#[derive(Debug)]
pub(super) struct Addresses {
    /// The addresses at each end of each link: of an interface, or of a NAT.
    pub(super) of_end: Vec<[Vec<IpPrefix>; 2]>,
    /// The name servers of NATs, for each end.
    pub(super) resolvers: HashMap<(usize, usize), Vec<IpPrefix>>,
    /// The networks of each segment.
    pub(super) networks: Vec<Vec<IpPrefix>>,
    /// The networks of tunnels.
    pub(super) tunnels: Vec<Vec<IpPrefix>>,
}

/// The pools of a lab.
pub(super) fn pools(lab: &Lab) -> Vec<IpPrefix> {
    let usual = || Lab::POOLS.iter().filter_map(|pool| pool.parse().ok()).collect();
    if lab.pools.is_empty() { usual() } else { lab.pools.clone() }
}

/// The addresses that are given for an end of a link.
fn given(
    lab: &Lab,
    attachments: &Attachments,
    Member { node, link, end }: Member,
) -> Vec<IpPrefix> {
    let Some((addresses, interfaces)) = lab.nodes[node].given() else { return Vec::new() };
    let name = attachments.names[link][end];
    let of_interface = name.and_then(|name| interfaces.get(&name));
    let of_interface = of_interface.map_or(&[][..], |interface| &interface.addresses);
    let of_node = if attachments.ends[node].len() == 1 { addresses.as_slice() } else { &[] };
    of_node.iter().chain(of_interface).copied().collect()
}

/// All addresses that are given for nodes.
fn all_given(lab: &Lab) -> Vec<IpPrefix> {
    let all = lab.nodes.iter().filter_map(Node::given).flat_map(|(addresses, interfaces)| {
        addresses.iter().chain(interfaces.values().flat_map(|interface| &interface.addresses))
    });
    all.copied().collect()
}

impl Addresses {
    /// Gives addresses to all ends of links.
    ///
    /// # Errors
    /// The pools, or a network that is given, are too small; networks that are given overlap.
    pub(super) fn new(
        lab: &Lab,
        attachments: &Attachments,
        segments: &Segments,
    ) -> Result<Self, Vec<Fault>> {
        let mut of_end: Vec<[Vec<IpPrefix>; 2]> = vec![[Vec::new(), Vec::new()]; lab.links.len()];
        for member in segments.members.iter().flatten() {
            of_end[member.link][member.end] = given(lab, attachments, *member);
        }
        check_overlaps(lab, segments, &of_end)?;
        let mut own = vec![[None; 2]; segments.members.len()];
        for (segment, members) in segments.members.iter().enumerate() {
            for (family, network) in FAMILIES.into_iter().zip(&mut own[segment]) {
                let addresses = members.iter().flat_map(|at| &of_end[at.link][at.end]);
                let mut addresses = addresses.filter(|address| address.family() == family);
                // An address alone, or one of two on a cable, says nothing of other hosts.
                *network =
                    addresses.find(|of| of.len() <= family.bits() - 2).map(|of| of.network());
            }
        }
        let (pools, taken) = (pools(lab), all_given(lab));
        let tunnels_at = segments.members.len();
        own.extend(vec![[None; 2]; lab.tunnels.len()]);
        for (at, family) in FAMILIES.into_iter().enumerate() {
            if pools.iter().all(|pool| pool.family() != family) {
                continue;
            }
            let sizes: Vec<(usize, usize)> = own
                .iter()
                .enumerate()
                .filter(|(_, networks)| networks[at].is_none())
                .map(|(segment, _)| (segment, segments.members.get(segment).map_or(2, Vec::len)))
                .collect();
            let usual = sizes.iter().map(|(_, size)| usual_len(family, *size)).collect::<Vec<_>>();
            let tight =
                || sizes.iter().map(|(_, size)| tight_len(family, *size)).collect::<Vec<_>>();
            let networks = carve(family, &pools, &taken, &usual)
                .or_else(|| carve(family, &pools, &taken, &tight()));
            let Some(networks) = networks else {
                let list: Vec<String> = pools.iter().map(ToString::to_string).collect();
                let count = sizes.len();
                let pools = list.join(", ");
                let message = format!("{count} segments do not fit in the pools {pools}");
                return Err(fault(At::Lab, message));
            };
            for ((segment, _), network) in sizes.iter().zip(networks) {
                own[*segment][at] = Some(network);
            }
        }
        let mut resolvers = HashMap::new();
        for (segment, members) in segments.members.iter().enumerate() {
            let mut numbers = Numbers::new(own[segment], members, &of_end, &taken);
            numbers.fill(lab, members, &mut of_end, &mut resolvers)?;
        }
        of_end.iter_mut().flatten().for_each(|addresses| addresses.sort_by_key(|of| of.family()));
        let networks_of = |members: &Vec<Member>| {
            let all = members.iter().flat_map(|member| &of_end[member.link][member.end]);
            let networks: BTreeSet<IpPrefix> = all.map(|address| address.network()).collect();
            networks.into_iter().collect()
        };
        let networks = segments.members.iter().map(networks_of).collect();
        let flat = |networks: &[Option<IpPrefix>; 2]| networks.iter().flatten().copied().collect();
        let tunnels = own[tunnels_at..].iter().map(flat).collect();
        Ok(Self { of_end, resolvers, networks, tunnels })
    }
}

fn fault(at: At, message: String) -> Vec<Fault> {
    vec![Fault { at, message, help: None }]
}

/// Networks that are given overlap in one segment only: else no route tells where an address is.
fn check_overlaps(
    lab: &Lab,
    segments: &Segments,
    of_end: &[[Vec<IpPrefix>; 2]],
) -> Result<(), Vec<Fault>> {
    let mut all = Vec::new();
    for (segment, members) in segments.members.iter().enumerate() {
        for member in members {
            let given = of_end[member.link][member.end].iter();
            let given = given.filter(|address| address.len() < address.family().bits());
            all.extend(given.map(|address| (address.network(), segment, member.node, *address)));
        }
    }
    // A network comes after those around it.
    all.sort_by_key(|(network, segment, ..)| {
        (network.family(), bits_of(network.ip()), network.len(), *segment)
    });
    let mut faults = Vec::new();
    let mut around: Vec<(IpPrefix, usize)> = Vec::new();
    for (network, segment, node, address) in all {
        while around.last().is_some_and(|(outer, _)| !outer.contains(network.ip())) {
            around.pop();
        }
        if let Some((outer, _)) = around.last().filter(|(_, other)| *other != segment) {
            let name = &lab.nodes[node].name;
            let message =
                format!("'{name}' has {address}, but {outer} is the network of another link");
            let help =
                Some("each link, and each VLAN of a switch, needs a network of its own".to_owned());
            faults.push(Fault { at: At::Node(node), message, help });
        } else {
            around.push((network, segment));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn usual_len(family: IpFamily, size: usize) -> u8 {
    match family {
        IpFamily::V6 => LEN_V6,
        IpFamily::V4 if size <= HOSTS_MAX => LEN_V4,
        IpFamily::V4 => tight_len(family, 2 * size),
    }
}

/// The smallest network with that many hosts, and what a NAT and a broadcast need.
fn tight_len(family: IpFamily, size: usize) -> u8 {
    let bits = (size + 4).next_power_of_two().trailing_zeros();
    family.bits() - u8::try_from(bits).unwrap_or(family.bits())
}

/// The numbers of hosts in the networks of a segment; where it can be, the same in both families.
struct Numbers {
    networks: [Option<IpPrefix>; 2],
    /// What is taken in each.
    used: [BTreeSet<u128>; 2],
    /// The last number that a host may have.
    last: u128,
    /// Where the search goes on, from below and from above.
    next: u128,
    top: u128,
}

impl Numbers {
    fn new(
        networks: [Option<IpPrefix>; 2],
        members: &[Member],
        of_end: &[[Vec<IpPrefix>; 2]],
        taken: &[IpPrefix],
    ) -> Self {
        let used = networks.map(|network| {
            let all = members.iter().flat_map(|member| &of_end[member.link][member.end]);
            // Addresses of `lo` may be in the network as well.
            let all = all.chain(taken);
            let inside = all.filter(|address| network.is_some_and(|of| of.contains(address.ip())));
            inside.map(|address| number_of(*address, network)).collect()
        });
        let size = |network: &IpPrefix| last_of(*network) - bits_of(network.ip());
        let size = networks.iter().flatten().map(size).min().unwrap_or(0);
        // The last one is the broadcast address of IPv4.
        let last = size.saturating_sub(1);
        Self { networks, used, last, next: 1, top: last.min(TOP_MAX) }
    }

    fn fill(
        &mut self,
        lab: &Lab,
        members: &[Member],
        of_end: &mut [[Vec<IpPrefix>; 2]],
        resolvers: &mut HashMap<(usize, usize), Vec<IpPrefix>>,
    ) -> Result<(), Vec<Fault>> {
        let full = |node: usize| {
            let name = &lab.nodes[node].name;
            fault(At::Node(node), format!("no address is free for '{name}' on its link"))
        };
        let mut rest = Vec::new();
        for &Member { node, link, end } in members {
            let is_nat = matches!(lab.nodes[node].kind, Kind::Nat(_));
            let forwards = lab.nodes[node].as_host().is_some_and(|host| host.forward);
            let missing = self.missing(&of_end[link][end]);
            let given = of_end[link][end].first().copied();
            if missing.is_empty() {
                continue;
            }
            // Its number in the other family.
            let number = given.map(|given| number_of(given, Some(given)));
            if let Some(number) = number.filter(|number| self.take(*number, &missing)) {
                of_end[link][end].extend(at(&missing, number));
            } else if is_nat || forwards {
                let number = self.downwards(&missing).ok_or_else(|| full(node))?;
                of_end[link][end].extend(at(&missing, number));
            } else {
                rest.push((node, link, end, missing));
                continue;
            }
            if is_nat {
                let number = self.downwards(&missing).ok_or_else(|| full(node))?;
                resolvers.insert((link, end), at(&missing, number).collect());
            }
        }
        // Numbers in names are taken before others take the first free one.
        let mut others = Vec::new();
        for (node, link, end, missing) in rest {
            let number = number_in(lab.nodes[node].name.as_str());
            match number.filter(|number| self.take(*number, &missing)) {
                Some(number) => of_end[link][end].extend(at(&missing, number)),
                None => others.push((node, link, end, missing)),
            }
        }
        for (node, link, end, missing) in others {
            let number = self.upwards(&missing).ok_or_else(|| full(node))?;
            of_end[link][end].extend(at(&missing, number));
        }
        Ok(())
    }

    /// The networks of the families of which nothing is given.
    fn missing(&self, given: &[IpPrefix]) -> Vec<IpPrefix> {
        let networks = self.networks.iter().flatten().copied();
        networks.filter(|network| given.iter().all(|of| of.family() != network.family())).collect()
    }

    /// Takes a number in these networks if it is free in all.
    fn take(&mut self, number: u128, networks: &[IpPrefix]) -> bool {
        let of = |network: &IpPrefix| usize::from(network.family() == IpFamily::V6);
        let is_free = |network: &IpPrefix| !self.used[of(network)].contains(&number);
        if number == 0 || number > self.last || !networks.iter().all(is_free) {
            return false;
        }
        for network in networks {
            self.used[of(network)].insert(number);
        }
        true
    }

    fn upwards(&mut self, networks: &[IpPrefix]) -> Option<u128> {
        while self.next <= self.last {
            let number = self.next;
            self.next += 1;
            if self.take(number, networks) {
                return Some(number);
            }
        }
        None
    }

    fn downwards(&mut self, networks: &[IpPrefix]) -> Option<u128> {
        while self.top > 0 {
            let number = self.top;
            self.top -= 1;
            if self.take(number, networks) {
                return Some(number);
            }
        }
        None
    }
}

/// The number of an address in its network.
fn number_of(address: IpPrefix, network: Option<IpPrefix>) -> u128 {
    network.map_or(0, |network| bits_of(address.ip()) - bits_of(network.network().ip()))
}

/// The addresses with this number.
fn at(networks: &[IpPrefix], number: u128) -> impl Iterator<Item = IpPrefix> + use<'_> {
    networks.iter().filter_map(move |network| address_at(*network, number))
}

/// The number that a name ends in.
fn number_in(name: &str) -> Option<u128> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.get(stem.len()..)?;
    let is_plain = !digits.starts_with('0') && digits.len() <= 6;
    digits.parse().ok().filter(|_| is_plain)
}
