//! A lab in virtual time: the same plan in the simulator of adit-sim.
//!
//! # Theory of operation
//!
//! ```text
//!   host              a host of the simulator: smoltcp with our Reno
//!   router, or a host with several interfaces
//!                     a router of the simulator, and a host behind it for what is its own
//!   switch, NAT, tunnel
//!                     the engines that run live
//!   routing daemon    a model: the shortest paths, a second after a link has failed or works again
//!   link              a wire; with the profile and the seed of the plan if it is emulated
//! ```
//!
//! ```
//! use adit_lab::simulated::Virtual;
//!
//! let mut lab = Virtual::up(
//!     r#"
//!     [host.a]
//!     [host.b]
//!     [[link]]
//!     ends = ["a", "b"]
//!     delay = "20ms"
//!     "#,
//! )?;
//! assert!(lab.expect("ping a b within 41ms")?.passed());
//! assert!(!lab.expect("ping a b within 39ms by 1s")?.passed());
//! # Ok::<(), adit_service::error::Error>(())
//! ```
//!
//! Nothing here reads a clock, opens a device or needs a privilege. A scenario is played in [`Virtual`] as in a lab that
//! runs, many times faster than time, and the same seed gives the same packets at the same nanoseconds.
//!
//! [`lacks`](limits::lacks) lists what of a lab cannot be simulated: programs, guests, ports outside. [`Play`](play::Play) plays a scenario
//! with one seed or with many.

mod build;
mod daemons;
pub mod limits;
pub mod play;
mod record;
mod traffic;

use crate::owned::Source;
use adit_packet::Instant;
use adit_service::error::{Error, Result};
use adit_sim::{Fault, HostId, Sim};
use adit_topology::model::{Kind, LinkName, NodeName};
use adit_topology::plan::Plan;
use adit_topology::scenario::expect::Ping;
use adit_topology::scenario::report::Entry;
use adit_topology::scenario::run;
use adit_topology::scenario::world::{Echoes, Moved, Need, Ran, World};
use adit_topology::scenario::{Part, Setting, Target, Traffic};
use build::Net;
use record::Recorders;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use traffic::Running;

/// How far `route` looks, as `traceroute` does.
const HOPS_MAX: u8 = 30;
/// How long it waits for answers.
const HOPS_WAIT: Duration = Duration::from_secs(1);
/// Steps and packets of one wait: a day of a quiet lab, or an hour of a storm.
const EVENTS_MAX: u64 = 1_000_000_000;

/// A lab in virtual time.
#[derive(Debug)]
pub struct Virtual {
    plan: Plan,
    sim: Sim,
    net: Net,
    failed: BTreeSet<Part>,
    traffic: Vec<Running>,
    next_port: u16,
    recorders: Recorders,
    /// When routing daemons have other routes.
    reroute: Option<Instant>,
}

impl Virtual {
    /// The first port of the receivers of traffic.
    const FIRST_PORT: u16 = 5_001;

    /// Makes the lab of a plan, with all its randomness from the plan's seed.
    ///
    /// # Errors
    /// A setting of a switch, a link or a NAT is not valid.
    pub fn new(plan: &Plan) -> Result<Self> {
        let mut sim = Sim::new(plan.seed);
        sim.limit_events(EVENTS_MAX);
        let net = Net::build(plan, &mut sim)?;
        let mut world = Self {
            plan: plan.clone(),
            sim,
            net,
            failed: BTreeSet::new(),
            traffic: Vec::new(),
            next_port: Self::FIRST_PORT,
            recorders: Recorders::default(),
            reroute: None,
        };
        world.route_again();
        Ok(world)
    }

    /// Makes a lab from what [`Lab::up`](crate::Lab::up) takes too: the text of a file, a network, a plan.
    ///
    /// # Errors
    /// All mistakes of the text; as [`Self::new`].
    pub fn up<'a>(source: impl Into<Source<'a>>) -> Result<Self> {
        Self::new(&source.into().plan()?)
    }

    /// Checks an expectation as a scenario has it: `ping a b within 20ms`.
    ///
    /// # Errors
    /// It is not an expectation.
    pub fn expect(&mut self, text: &str) -> Result<Entry> {
        let lab = self.plan.lab.clone();
        run::expect(self, &lab, text)
    }

    /// Records no trace: it takes half the time.
    #[must_use]
    pub fn without_trace(mut self) -> Self {
        self.sim.without_trace();
        self
    }

    /// Writes each event into a file, a line each.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn trace_to(&mut self, file: &Path) -> Result<()> {
        self.recorders.trace(&mut self.sim, file)
    }

    /// Records the packets of each link into `LINK.pcapng` in a folder.
    ///
    /// # Errors
    /// The folder or a file cannot be created.
    pub fn capture_to(&mut self, folder: &Path) -> Result<()> {
        self.recorders.capture(&mut self.sim, folder, &self.plan, &self.net)
    }

    /// Completes the files of [`Self::trace_to`] and [`Self::capture_to`].
    ///
    /// # Errors
    /// A file could not be written.
    pub fn finish(&mut self) -> Result<()> {
        self.recorders.finish()
    }

    /// The simulation.
    #[must_use]
    pub const fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The simulation, to send packets of another kind.
    pub const fn sim_mut(&mut self) -> &mut Sim {
        &mut self.sim
    }

    /// The simulated host of a node.
    ///
    /// # Errors
    /// The node is not simulated.
    pub fn host(&self, node: &NodeName) -> Result<HostId> {
        let host = self.net.hosts.get(node).copied();
        host.ok_or_else(|| Error::usage(format_args!("'{node}' is not a simulated host")))
    }

    fn address(&self, target: &Target, is_v6: bool) -> Result<IpAddr> {
        match target {
            Target::Address(address) => Ok(*address),
            Target::Node(node) => self.plan.address(node, is_v6).ok_or_else(|| {
                let family = if is_v6 { "IPv6 " } else { "" };
                Error::usage(format_args!("'{node}' has no {family}address"))
            }),
        }
    }

    /// Lets time pass until `done` or until a moment; whether it is done.
    fn advance(&mut self, until: Instant, mut done: impl FnMut(&Sim) -> bool) -> bool {
        loop {
            let next = self.traffic.iter().filter_map(Running::due).chain(self.reroute).min();
            let stop = next.map_or(until, |next| next.min(until));
            if self.sim.run_until(stop, &mut done) {
                return true;
            }
            if next.is_none_or(|next| next > until) {
                return false;
            }
            self.traffic.iter_mut().for_each(|running| running.act(&mut self.sim));
            if self.reroute.is_some_and(|reroute| reroute <= self.sim.now()) {
                self.route_again();
            }
        }
    }

    /// Gives the nodes with a routing daemon the routes that it finds.
    fn route_again(&mut self) {
        self.reroute = None;
        if !daemons::any(&self.plan) {
            return;
        }
        let is_failed = |name: &LinkName| {
            self.plan.lab.link(name.as_str()).is_some_and(|link| is_down(&self.failed, link))
        };
        for (node, routes) in daemons::routes(&self.plan, is_failed) {
            if let Some(&router) = self.net.routers.get(&node) {
                let routes = build::routes(routes.iter());
                self.sim.call(router, |router, _, _| router.set_routes(routes));
            }
        }
    }

    /// Makes the ports of links whose state may have changed fail or work.
    fn settle(&mut self, was: &BTreeSet<Part>) {
        self.reroute = Some(self.sim.now() + daemons::CONVERGENCE);
        for (place, (link, ends)) in self.plan.lab.links.iter().zip(&self.net.ends).enumerate() {
            let (before, now) = (is_down(was, link), is_down(&self.failed, link));
            if let (true, Some(ends)) = (before != now, ends) {
                let fault = if now { Fault::Down } else { Fault::Up };
                ends.iter().for_each(|&end| self.sim.fault(end, fault));
                for end in 0..ends.len() {
                    // A switch sees that the link of its port is down, and forgets who was there.
                    if let Some(&(switch, port)) = self.net.switch_ports.get(&(place, end)) {
                        self.sim.call(switch, |switch, _, _| switch.set_link(port, !now));
                    }
                }
            }
        }
    }
}

/// Whether a link has failed, or a node at one of its ends.
fn is_down(failed: &BTreeSet<Part>, link: &adit_topology::model::Link) -> bool {
    let at_end = |end: &adit_topology::model::End| failed.contains(&Part::Node(end.node.clone()));
    failed.contains(&Part::Link(link.name.clone())) || link.ends.iter().any(at_end)
}

impl World for Virtual {
    fn lacks(&self, need: Need<'_>) -> Option<String> {
        match need {
            Need::Station(node) => match self.plan.lab.node(node.as_str()).map(|node| &node.kind) {
                Some(Kind::Guest(_)) => Some(format!("the guest '{node}' is not simulated")),
                _ => None,
            },
            Need::Program(_) => Some("programs are not simulated".to_owned()),
            Need::Congestion("reno") => None,
            Need::Congestion(name) => Some(format!("'{name}' is not simulated, only 'reno'")),
        }
    }

    fn now(&self) -> Duration {
        self.sim.now().since(Instant::ZERO)
    }

    fn wait_until(&mut self, moment: Duration) -> Result<()> {
        self.advance(Instant::ZERO + moment, |_| false);
        Ok(())
    }

    fn fail(&mut self, part: &Part) -> Result<()> {
        let was = self.failed.clone();
        self.failed.insert(part.clone());
        self.settle(&was);
        Ok(())
    }

    fn heal(&mut self, part: &Part) -> Result<()> {
        let was = self.failed.clone();
        self.failed.remove(part);
        self.settle(&was);
        Ok(())
    }

    fn set(&mut self, link: &LinkName, setting: &Setting) -> Result<()> {
        let of_name = |wanted: &adit_topology::model::Link| wanted.name == *link;
        let place = self.plan.lab.links.iter().position(of_name);
        let ends = place.and_then(|place| self.net.ends[place]);
        let Some([a, b]) = ends else {
            return Err(Error::usage(format_args!("the link '{link}' is not simulated")));
        };
        for (end, profile) in [(a, &setting.profiles.a_to_b), (b, &setting.profiles.b_to_a)] {
            profile.check().map_err(Error::usage)?;
            self.sim.set_profile(end, profile);
        }
        Ok(())
    }

    fn start(&mut self, traffic: &Traffic) -> Result<usize> {
        let (from, to) = (self.host(&traffic.from)?, self.host(&traffic.to)?);
        let address = self.address(&Target::Node(traffic.to.clone()), false)?;
        let ports = self.next_port..self.next_port.saturating_add(traffic.streams);
        self.next_port = ports.end;
        if self.next_port > u16::MAX - Traffic::STREAMS_MAX {
            self.next_port = Self::FIRST_PORT;
        }
        let running = Running::start(&mut self.sim, traffic, (from, to), address, ports);
        self.traffic.push(running);
        Ok(self.traffic.len() - 1)
    }

    fn traffic(&mut self, number: usize, until: Duration) -> Result<Moved> {
        let Some(running) = self.traffic.get(number) else {
            return Err(Error::usage("no such traffic"));
        };
        let until = Instant::ZERO + until;
        let until = running.last_datagrams().map_or(until, |last| last.min(until));
        let done = running.done();
        self.advance(until, done);
        let sim = &mut self.sim;
        let running = self.traffic.get_mut(number).expect("it was there");
        Ok(running.end(sim))
    }

    fn ping(&mut self, ping: &Ping) -> Result<Echoes> {
        let (from, to) = (self.host(&ping.from)?, self.address(&ping.to, ping.is_v6)?);
        let mut echoes = Vec::new();
        for number in 0..ping.count {
            if number > 0 {
                let next = self.sim.now() + Ping::INTERVAL;
                self.advance(next, |_| false);
            }
            echoes.push(self.sim.ping(from, to));
        }
        let until = self.sim.now() + ping.wait();
        self.advance(until, |sim| echoes.iter().all(|&echo| sim.rtt(echo).is_some()));
        let times = echoes.iter().filter_map(|&echo| self.sim.rtt(echo)).collect();
        Ok(Echoes { sent: ping.count, times })
    }

    fn route(&mut self, from: &NodeName, to: &Target) -> Result<Vec<NodeName>> {
        let (host, to) = (self.host(from)?, self.address(to, false)?);
        let hops = self.sim.hops(host, to, HOPS_MAX);
        let until = self.sim.now() + HOPS_WAIT;
        let is_found = |sim: &Sim| {
            let seen = sim.hops_seen(hops);
            let end = seen.iter().position(|hop| *hop == Some(to));
            end.is_some_and(|end| seen[..end].iter().all(Option::is_some))
        };
        self.advance(until, is_found);
        let mut route = vec![from.clone()];
        for hop in self.sim.hops_seen(hops) {
            let Some(node) = hop.and_then(|hop| self.net.owner(hop)) else { break };
            route.push(self.plan.lab.nodes[node].name.clone());
            if *hop == Some(to) {
                break;
            }
        }
        Ok(route)
    }

    fn run(&mut self, node: &NodeName, _: &str, _: Duration) -> Result<Ran> {
        Err(Error::usage(format_args!("a program of '{node}' is not simulated")))
    }
}

#[cfg(test)]
mod tests;
