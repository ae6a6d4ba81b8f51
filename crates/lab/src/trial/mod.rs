//! A scenario in a lab that runs, in real time.
//!
//! ```text
//! this process, in the user namespace of the lab
//!    |-- requests to the lab's control socket: fail, heal, set, commands
//!    '-- sockets in the nodes' network namespaces, opened by threads that enter them:
//!        pings and hops (raw ICMP), traffic (TCP and UDP), captures (AF_PACKET)
//! ```

mod ask;
mod capture;
mod hops;
mod process;
mod traffic;

pub use process::Process;

use crate::live::LAB;
use crate::probe::{self, Prober};
use adit_device::Netns;
use adit_service::control::client::Client;
use adit_service::control::http::{Method, escape};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_topology::model::{LinkName, NodeName};
use adit_topology::report::{CommandOutput, Lab, Network};
use adit_topology::scenario::expect::Ping;
use adit_topology::scenario::world::{Echoes, Moved, Ran, World};
use adit_topology::scenario::{Part, Setting, Target, Traffic};
use ask::{ask, read};
use capture::Captures;
use hops::Hops;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use traffic::Running;

/// A lab that runs, as a world for scenarios.
#[derive(Debug)]
pub struct Trial {
    client: Client,
    seed: u64,
    start: Instant,
    /// By node.
    places: BTreeMap<String, usize>,
    networks: Vec<Network>,
    namespaces: Vec<Netns>,
    prober: Prober,
    traffic: Vec<Running>,
    next_port: u16,
    captures: Captures,
}

impl Trial {
    /// The first port of the receivers of traffic.
    const FIRST_PORT: u16 = 5_001;

    /// A running lab. This process enters the lab's user namespace for good; it must have a single thread.
    ///
    /// # Errors
    /// No lab of this name runs; it is another user's.
    pub fn of(name: &Name) -> Result<Self> {
        let client = Client::find(Some(name.clone()), LAB)?;
        let lab: Lab = ask(&client, "/lab")?;
        let networks: Vec<Network> = ask(&client, "/lab/networks")?;
        let namespaces = probe::namespaces(&networks)?;
        let prober = Prober::open(&namespaces);
        let prober = prober.map_err(|error| Error::io("ping", "from the nodes", &error))?;
        let places = networks.iter().enumerate();
        let places = places.map(|(place, network)| (network.node.clone(), place)).collect();
        Ok(Self {
            client,
            seed: lab.seed,
            start: Instant::now(),
            places,
            networks,
            namespaces,
            prober,
            traffic: Vec::new(),
            next_port: Self::FIRST_PORT,
            captures: Captures::default(),
        })
    }

    /// Keeps captures of what fails in a folder.
    #[must_use]
    pub fn capture_to(mut self, folder: &Path) -> Self {
        self.captures = Captures::new(folder);
        self
    }

    /// The seed of the lab.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The place of a host among the namespaces.
    fn place(&self, node: &NodeName) -> Result<usize> {
        let place = self.places.get(node.as_str()).copied();
        place
            .filter(|place| *place < self.namespaces.len())
            .ok_or_else(|| Error::usage(format_args!("'{node}' is not a host")))
    }

    fn address(&self, target: &Target, is_v6: bool) -> Result<IpAddr> {
        let node = match target {
            Target::Address(address) => return Ok(*address),
            Target::Node(node) => node,
        };
        let network = self.places.get(node.as_str()).map(|place| &self.networks[*place]);
        let addresses = network.map_or(&[][..], |network| &network.addresses);
        let of_family = |v6: bool| addresses.iter().find(|ip| ip.is_ipv6() == v6).copied();
        let found = if is_v6 { of_family(true) } else { of_family(false).or(of_family(true)) };
        found.ok_or_else(|| {
            let family = if is_v6 { "IPv6 " } else { "" };
            Error::usage(format_args!("'{node}' has no {family}address"))
        })
    }

    fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        self.client.send(method, path, body)
    }

    fn fail_or_heal(&self, part: &Part, verb: &str) -> Result<()> {
        let body = match part {
            Part::Node(node) => json!({ "nodes": [node.as_str()] }),
            Part::Link(link) => json!({ "links": [link.as_str()] }),
        };
        self.send(Method::Post, &format!("/lab/{verb}"), &body).map(|_| ())
    }
}

impl World for Trial {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait_until(&mut self, moment: Duration) -> Result<()> {
        std::thread::sleep(moment.saturating_sub(self.now()));
        Ok(())
    }

    fn fail(&mut self, part: &Part) -> Result<()> {
        self.fail_or_heal(part, "fail")
    }

    fn heal(&mut self, part: &Part) -> Result<()> {
        self.fail_or_heal(part, "heal")
    }

    fn set(&mut self, link: &LinkName, setting: &Setting) -> Result<()> {
        let path = format!("/lab/links/{}", escape(link.as_str()));
        self.send(Method::Patch, &path, &Value::Object(setting.keys.clone())).map(|_| ())
    }

    fn start(&mut self, traffic: &Traffic) -> Result<usize> {
        let places = [self.place(&traffic.from)?, self.place(&traffic.to)?];
        let address = self.address(&Target::Node(traffic.to.clone()), false)?;
        let ports = self.next_port..self.next_port.saturating_add(traffic.streams);
        self.next_port = ports.end;
        if self.next_port > u16::MAX - Traffic::STREAMS_MAX {
            self.next_port = Self::FIRST_PORT;
        }
        let [from, to] = places.map(|place| &self.namespaces[place]);
        let running = Running::start(traffic, [from, to], address, ports);
        let failed = |error| Error::io("send traffic from", &traffic.from, &error);
        self.traffic.push(running.map_err(failed)?);
        Ok(self.traffic.len() - 1)
    }

    fn traffic(&mut self, number: usize, until: Duration) -> Result<Moved> {
        let until = self.start + until;
        let running = self.traffic.get_mut(number);
        let running = running.ok_or_else(|| Error::usage("no such traffic"))?;
        running.end(until).map_err(|error| Error::io("send", "traffic", &error))
    }

    fn ping(&mut self, ping: &Ping) -> Result<Echoes> {
        let (from, to) = (self.place(&ping.from)?, self.address(&ping.to, ping.is_v6)?);
        let mut times: Vec<Duration> = Vec::new();
        for number in 0..ping.count {
            let begun = Instant::now();
            // What is lost is not awaited as long as what may come.
            let wait = times.iter().max().map_or(ping.wait(), |longest| {
                (*longest * 4).clamp(Duration::from_millis(200), ping.wait())
            });
            let one = [probe::Ping { from, to }];
            let answered = self.prober.ping_once(&one, wait);
            let answered = answered.map_err(|error| Error::io("ping", to, &error))?;
            times.extend(answered.into_iter().flatten());
            if number + 1 < ping.count {
                std::thread::sleep(Ping::INTERVAL.saturating_sub(begun.elapsed()));
            }
        }
        Ok(Echoes { sent: ping.count, times })
    }

    fn route(&mut self, from: &NodeName, to: &Target) -> Result<Vec<NodeName>> {
        let (place, to) = (self.place(from)?, self.address(to, false)?);
        let failed = |error| Error::io("find the way to", to, &error);
        let mut hops = Hops::open(&self.namespaces[place], to).map_err(failed)?;
        let mut route = vec![from.clone()];
        for hop in 1..=hops::HOPS_MAX {
            let Some(address) = hops.at(hop).map_err(failed)? else { break };
            let owner = self.networks.iter().find(|network| network.addresses.contains(&address));
            match owner.map(|network| network.node.parse()) {
                Some(Ok(node)) => route.push(node),
                _ => break,
            }
            if address == to {
                break;
            }
        }
        Ok(route)
    }

    fn run(&mut self, node: &NodeName, command: &str, limit: Duration) -> Result<Ran> {
        let path = format!("/lab/nodes/{}/exec", escape(node.as_str()));
        let words = ["sh", "-c", command];
        let body = json!({ "words": words, "within_s": limit.as_secs_f64() });
        let reply = self.send(Method::Post, &path, &body)?;
        let output: CommandOutput = read(reply)?;
        let mut text = output.stdout + &output.stderr;
        let is_end = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=Ran::OUTPUT_MAX.min(text.len())).rev().find(is_end).unwrap_or_default();
        text.truncate(end);
        Ok(Ran { status: output.status.map(i32::from), output: text })
    }

    fn begin_capture(&mut self, nodes: &[NodeName], title: &str) -> Result<bool> {
        // The packets of a guest are also at the other end.
        let places: Vec<usize> = nodes.iter().filter_map(|node| self.place(node).ok()).collect();
        let of_node = |place: usize| (&*self.networks[place].node, &self.namespaces[place]);
        self.captures.begin(places.into_iter().map(of_node), title)
    }

    fn end_capture(&mut self, keep: bool) -> Result<Vec<PathBuf>> {
        self.captures.end(keep)
    }
}
