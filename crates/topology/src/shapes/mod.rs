//! Networks of a regular shape: `tree,3`, `star,100`, `dumbbell,2`.

use crate::model::{Lab, Link, Node, NodeName};
use adit_engine::netem::Rate;
use adit_packet::units::Bitrate;
use adit_service::config::suggest::nearest;
use adit_service::netem::profile::Profiles;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The rate of a dumbbell's bar: slow enough that every machine fills it.
const BOTTLENECK_RATE: Bitrate = Bitrate::from_bits_per_second(10_000_000);

/// The delay of a dumbbell's bar in each direction.
const BOTTLENECK_DELAY: Duration = Duration::from_millis(20);

/// A network of a regular shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Switches as a tree of this depth, each with this many below it, and hosts at the leaves.
    Tree {
        /// How many switches are on the way from the root to a host.
        depth: u32,
        /// How many switches or hosts are below each switch.
        fanout: u32,
    },
    /// Hosts at one switch.
    Star(u32),
    /// Switches in a row, with hosts at each.
    Linear {
        /// How many switches.
        switches: u32,
        /// How many hosts at each.
        hosts: u32,
    },
    /// Routers of which each has a link to every other one, and a host at each.
    Mesh(u32),
    /// Routers in a circle, and a host at each.
    Ring(u32),
    /// Pairs of hosts at two routers with a slow link between them.
    Dumbbell(u32),
}

/// The shapes, and what their numbers are.
const SHAPES: [(&str, &str); 6] = [
    ("tree", "tree,DEPTH[,FANOUT]"),
    ("star", "star,HOSTS"),
    ("linear", "linear,SWITCHES[,HOSTS]"),
    ("mesh", "mesh,ROUTERS"),
    ("ring", "ring,ROUTERS"),
    ("dumbbell", "dumbbell,PAIRS"),
];

impl Topology {
    /// The names of all shapes.
    pub fn shapes() -> impl Iterator<Item = &'static str> {
        SHAPES.iter().map(|(name, _)| *name)
    }

    /// The network.
    ///
    /// # Errors
    /// It would be larger than a lab may be.
    pub fn lab(self) -> Result<Lab, String> {
        self.check()?;
        let mut drawing = Drawing::default();
        match self {
            Self::Tree { depth, fanout } => drawing.tree(depth, fanout),
            Self::Star(hosts) => drawing.linear(1, hosts),
            Self::Linear { switches, hosts } => drawing.linear(switches, hosts),
            Self::Mesh(routers) => {
                drawing.routers(routers);
                for one in 1..=routers {
                    (one + 1..=routers).for_each(|other| drawing.link("r", one, "r", other));
                }
            }
            Self::Ring(routers) => {
                drawing.routers(routers);
                (1..routers).for_each(|one| drawing.link("r", one, "r", one + 1));
                if routers > 2 {
                    drawing.link("r", routers, "r", 1);
                }
            }
            Self::Dumbbell(pairs) => drawing.dumbbell(pairs),
        }
        Ok(drawing.0)
    }

    fn check(self) -> Result<(), String> {
        let fits = |count: u32, max: usize| usize::try_from(count).is_ok_and(|count| count <= max);
        let (stations, links) = (Lab::STATIONS_MAX, Lab::LINKS_MAX);
        match self.sizes() {
            Some((hosts, cables)) if fits(hosts, stations) && fits(cables, links) => Ok(()),
            _ => Err(format!(
                "{self} is too large: a lab has at most {stations} hosts and routers and {links} links"
            )),
        }
    }

    /// How many hosts and routers, and links, it has; `None` if a number does not fit.
    fn sizes(self) -> Option<(u32, u32)> {
        Some(match self {
            Self::Tree { depth, fanout } => {
                let hosts = fanout.checked_pow(depth)?;
                // The switches are fewer than twice the hosts, unless each has one below it.
                let below = if fanout == 1 { depth } else { hosts.checked_mul(2)? };
                (hosts, below)
            }
            Self::Star(hosts) => (hosts, hosts),
            Self::Linear { switches, hosts } => {
                let hosts = switches.checked_mul(hosts)?;
                (hosts, hosts.checked_add(switches)?)
            }
            Self::Mesh(routers) => {
                let pairs = routers.checked_mul(routers.checked_sub(1)?)? / 2;
                (routers.checked_mul(2)?, pairs.checked_add(routers)?)
            }
            Self::Ring(routers) => (routers.checked_mul(2)?, routers.checked_mul(2)?),
            Self::Dumbbell(pairs) => {
                let hosts = pairs.checked_mul(2)?;
                (hosts.checked_add(2)?, hosts.checked_add(1)?)
            }
        })
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let Some((name, usage)) = SHAPES.iter().find(|(known, _)| *known == name) else {
            return Err(match nearest(name, Self::shapes()) {
                Some(near) => format!("unknown shape `{name}`; did you mean `{near}`?"),
                None => {
                    let known = Self::shapes().collect::<Vec<_>>().join(", ");
                    format!("unknown shape `{name}`; known are {known}")
                }
            });
        };
        let wrong = || format!("write {usage}, with numbers from 1 on");
        let numbers: Option<Vec<u32>> =
            words.map(|word| word.parse().ok().filter(|number| *number > 0)).collect();
        let topology = match (*name, numbers.ok_or_else(wrong)?.as_slice()) {
            ("tree", &[depth]) => Self::Tree { depth, fanout: 2 },
            ("tree", &[depth, fanout]) => Self::Tree { depth, fanout },
            ("star", &[hosts]) => Self::Star(hosts),
            ("linear", &[switches]) => Self::Linear { switches, hosts: 1 },
            ("linear", &[switches, hosts]) => Self::Linear { switches, hosts },
            ("mesh", &[routers]) => Self::Mesh(routers),
            ("ring", &[routers]) => Self::Ring(routers),
            ("dumbbell", &[pairs]) => Self::Dumbbell(pairs),
            _ => return Err(wrong()),
        };
        topology.check()?;
        Ok(topology)
    }
}

/// As it is written.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { depth, fanout } => write!(f, "tree,{depth},{fanout}"),
            Self::Star(hosts) => write!(f, "star,{hosts}"),
            Self::Linear { switches, hosts } => write!(f, "linear,{switches},{hosts}"),
            Self::Mesh(routers) => write!(f, "mesh,{routers}"),
            Self::Ring(routers) => write!(f, "ring,{routers}"),
            Self::Dumbbell(pairs) => write!(f, "dumbbell,{pairs}"),
        }
    }
}

/// A network that is drawn: hosts `h1`, switches `s1`, routers `r1` and so on.
#[derive(Default)]
struct Drawing(Lab);

fn name(stem: &str, number: u32) -> NodeName {
    format!("{stem}{number}").parse().expect("a letter and a number")
}

impl Drawing {
    fn nodes(&mut self, stem: &str, count: u32, new: fn(NodeName) -> Node) {
        self.0.nodes.extend((1..=count).map(|number| new(name(stem, number))));
    }

    fn link(&mut self, a: &str, at_a: u32, b: &str, at_b: u32) {
        let (a, b) = (name(a, at_a), name(b, at_b));
        let text = format!("{a}-{b}").parse().expect("two short names");
        self.0.links.push(Link::new(text, a, b));
    }

    /// Switches in the order of their distance from the root, `s1`.
    fn tree(&mut self, depth: u32, fanout: u32) {
        let switches = (0..depth).map(|level| fanout.pow(level)).sum();
        let hosts = fanout.pow(depth);
        self.nodes("s", switches, Node::switch);
        self.nodes("h", hosts, Node::host);
        (1..switches).for_each(|below| self.link("s", (below - 1) / fanout + 1, "s", below + 1));
        let leaves = switches - hosts / fanout;
        (0..hosts).for_each(|host| self.link("h", host + 1, "s", leaves + host / fanout + 1));
    }

    fn linear(&mut self, switches: u32, hosts: u32) {
        self.nodes("s", switches, Node::switch);
        self.nodes("h", switches * hosts, Node::host);
        (0..switches * hosts).for_each(|host| self.link("h", host + 1, "s", host / hosts + 1));
        (1..switches).for_each(|switch| self.link("s", switch, "s", switch + 1));
    }

    /// Routers with a host each.
    fn routers(&mut self, count: u32) {
        self.nodes("r", count, Node::router);
        self.nodes("h", count, Node::host);
        (1..=count).for_each(|number| self.link("h", number, "r", number));
    }

    fn dumbbell(&mut self, pairs: u32) {
        self.nodes("a", pairs, Node::host);
        self.nodes("r", 2, Node::router);
        self.nodes("b", pairs, Node::host);
        (1..=pairs).for_each(|number| self.link("a", number, "r", 1));
        (1..=pairs).for_each(|number| self.link("r", 2, "b", number));
        self.link("r", 1, "r", 2);
        let mut profiles = Profiles::default();
        for profile in [&mut profiles.a_to_b, &mut profiles.b_to_a] {
            profile.rate = Rate::Fixed(BOTTLENECK_RATE);
            profile.delay.base = BOTTLENECK_DELAY;
        }
        if let Some(bar) = self.0.links.last_mut() {
            bar.name = "bottleneck".parse().expect("a word");
            bar.netem = Some(profiles);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Topology;
    use crate::model::Kind;
    use crate::plan::Plan;
    use proptest::prelude::proptest;
    use std::collections::BTreeSet;

    /// How many switches, hosts and routers, and links a shape has.
    fn sizes(text: &str) -> (usize, usize, usize) {
        let lab = text.parse::<Topology>().unwrap().lab().unwrap();
        let switches = lab.nodes.iter().filter(|node| matches!(node.kind, Kind::Switch(_))).count();
        (switches, lab.nodes.len() - switches, lab.links.len())
    }

    #[test]
    fn shapes_have_the_sizes_that_they_say() {
        assert_eq!(sizes("tree,3"), (7, 8, 14));
        assert_eq!(sizes("tree,2,4"), (5, 16, 20));
        assert_eq!(sizes("tree,3,1"), (3, 1, 3));
        assert_eq!(sizes("tree,3,10"), (111, 1000, 1110));
        assert_eq!(sizes("star,100"), (1, 100, 100));
        assert_eq!(sizes("linear,5"), (5, 5, 9));
        assert_eq!(sizes("linear,2,3"), (2, 6, 7));
        assert_eq!(sizes("mesh,4"), (0, 8, 10));
        assert_eq!(sizes("ring,6"), (0, 12, 12));
        assert_eq!(sizes("ring,2"), (0, 4, 3));
        assert_eq!(sizes("dumbbell,2"), (0, 6, 5));
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        let refused = |text: &str| text.parse::<Topology>().unwrap_err();
        assert_eq!(refused("treee,3"), "unknown shape `treee`; did you mean `tree`?");
        assert_eq!(refused("star"), "write star,HOSTS, with numbers from 1 on");
        assert_eq!(refused("ring,0"), "write ring,ROUTERS, with numbers from 1 on");
        for large in ["star,1001", "tree,40", "tree,5,4000000000", "mesh,90", "linear,70000,70000"]
        {
            assert!(refused(large).contains("at most 1000 hosts"), "{large}");
        }
    }

    proptest! {
        #[test]
        fn every_shape_is_a_lab_in_one_part(shape in 0..6_usize, one in 1..7_u32, other in 1..4_u32) {
            let name = Topology::shapes().nth(shape).unwrap();
            let two = if matches!(name, "tree" | "linear") { format!(",{other}") } else { String::new() };
            let Ok(topology) = format!("{name},{one}{two}").parse::<Topology>() else { return Ok(()) };
            let plan = Plan::with_seed(topology.lab().unwrap(), 1).unwrap();
            assert_eq!(plan.warnings(), Vec::<String>::new());
            let mut reached = BTreeSet::from([plan.lab.nodes[0].name.clone()]);
            for _ in &plan.lab.nodes {
                for link in &plan.lab.links {
                    let ends = link.ends.each_ref().map(|end| end.node.clone());
                    if ends.iter().any(|end| reached.contains(end)) {
                        reached.extend(ends);
                    }
                }
            }
            assert_eq!(reached.len(), plan.lab.nodes.len());
        }
    }
}
