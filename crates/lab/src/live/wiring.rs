//! The links of a running lab: their ends, what is in between, and whether they fail.

use crate::engine::{Cable, CableId, Joint, LabEngine, SwitchId};
use crate::keeper::{NodeKey, Order};
use adit_device::IfName;
use adit_engine::PortId;
use adit_engine::netem::{Counts, Direction, Link as Emulated, Seed};
use adit_engine::switch::{PortConfig, SwitchConfig};
use adit_packet::Layer;
use adit_runtime::{ListenerId, Opened, Port, PortNetem, Runner};
use adit_service::error::{Error, Kind, Result};
use adit_service::netem::profile::Profiles;
use adit_service::netem::report::{LinkReport, Links, Netem};
use adit_service::switch::model::Counters;
use adit_topology::model::{Link as Wanted, LinkName, NodeName};
use adit_topology::report::{self, LinkState};
use std::collections::BTreeMap;
use std::io;

/// The loop of a lab.
pub(super) type Loop = Runner<LabEngine>;

/// All links, by their names, and the switches.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    links: BTreeMap<LinkName, Link>,
    switches: BTreeMap<NodeName, SwitchId>,
    /// Whose a port of the loop is.
    ports: BTreeMap<PortId, (LinkName, usize)>,
    listeners: Vec<(ListenerId, PortId)>,
}

/// Where a link that is made ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// An interface of a host.
    Interface(NodeKey, IfName),
    /// A port of a switch.
    Switch(Box<PortConfig>),
    /// A port of the loop that is open: of a NAT, a guest, or outside of the lab.
    Opened(Opened),
}

/// A link that is made.
#[derive(Debug)]
pub(super) struct NewLink {
    pub(super) name: LinkName,
    pub(super) nodes: [NodeName; 2],
    pub(super) ends: [Stop; 2],
    /// The kernel joins the ends.
    pub(super) is_veth: bool,
    pub(super) netem: Option<Profiles>,
    pub(super) seed: u64,
}

#[derive(Debug)]
struct Link {
    nodes: [NodeName; 2],
    interfaces: [Option<(NodeKey, IfName)>; 2],
    /// The ports of the loop at its ends.
    ports: [Option<PortId>; 2],
    /// Why an end that has a port is not there; `None`: it is.
    missing: [Option<String>; 2],
    /// `None`: the kernel joins its ends.
    cable: Option<CableId>,
    netem: Option<Profiles>,
    seed: u64,
    fails: bool,
    /// What the kernel has counted at a veth pair, from each end.
    kernel: [Counters; 2],
}

/// What a link counts.
#[derive(Debug)]
pub(super) struct LinkCounts {
    pub(super) name: String,
    pub(super) is_up: bool,
    /// What came from each end.
    pub(super) ways: Option<[Counters; 2]>,
    /// What the emulation did, from a to b and back.
    pub(super) emulated: Option<[Counts; 2]>,
}

/// What a TAP is before it is there.
const NOT_YET: &str = "it is being made";

impl Wiring {
    pub(super) fn add_switch(
        &mut self,
        runner: &mut Loop,
        name: NodeName,
        config: SwitchConfig,
    ) -> Result<()> {
        let id = runner.engine_mut().add_switch(config).map_err(Error::usage)?;
        self.switches.insert(name, id);
        Ok(())
    }

    pub(super) fn remove_switch(&mut self, runner: &mut Loop, name: &NodeName) {
        if let Some(id) = self.switches.remove(name) {
            runner.engine_mut().remove_switch(id);
        }
    }

    /// Changes a switch between two packets.
    pub(super) fn set_switch(
        &self,
        runner: &mut Loop,
        name: &NodeName,
        config: SwitchConfig,
    ) -> Result<()> {
        let id = self.switches.get(name);
        match id.and_then(|id| runner.engine_mut().switch_mut(*id)) {
            Some(switch) => switch.set(config).map_err(Error::usage),
            None => Ok(()),
        }
    }

    /// Makes a link. What it ends at in hosts is ordered by the caller, and attached once it is there.
    pub(super) fn add(&mut self, runner: &mut Loop, new: NewLink) -> Result<()> {
        let NewLink { name, nodes, ends, is_veth, netem, seed } = new;
        let mut link = Link {
            nodes,
            interfaces: [None, None],
            ports: [None, None],
            missing: [None, None],
            cable: None,
            netem,
            seed,
            fails: false,
            kernel: <[Counters; 2]>::default(),
        };
        let mut joints = Vec::with_capacity(2);
        let mut opened = [None, None];
        for (end, stop) in ends.into_iter().enumerate() {
            let joint = match stop {
                Stop::Switch(config) => {
                    let id = self.switches.get(&link.nodes[end]);
                    let id = id.ok_or_else(|| not_there(&link.nodes[end]))?;
                    Joint::Switch(*id, config)
                }
                Stop::Interface(node, interface) => {
                    link.interfaces[end] = Some((node, interface));
                    if is_veth {
                        continue;
                    }
                    Joint::Port(new_port(runner)?)
                }
                Stop::Opened(port) => {
                    opened[end] = Some(port);
                    Joint::Port(new_port(runner)?)
                }
            };
            if let Joint::Port(port) = joint {
                link.ports[end] = Some(port);
                link.missing[end] = Some(NOT_YET.to_owned());
                self.ports.insert(port, (name.clone(), end));
            }
            joints.push(joint);
        }
        if let Ok(joints) = <[Joint; 2]>::try_from(joints) {
            let cable = runner.engine_mut().join(joints).map_err(Error::usage)?;
            link.cable = Some(cable);
            if let (Some(profiles), [None, None]) = (&link.netem, link.ports) {
                let (engine, now, out) = runner.engine_and_outbox();
                engine.set_netem(cable, Some(profiles), seed, now, out).map_err(Error::usage)?;
            }
        }
        self.links.insert(name.clone(), link);
        for (end, opened) in opened.into_iter().enumerate() {
            if let Some(opened) = opened {
                self.open(runner, &name, end, opened)?;
            }
        }
        Ok(())
    }

    /// Makes what was opened an end of a link.
    fn open(
        &mut self,
        runner: &mut Loop,
        name: &LinkName,
        end: usize,
        opened: Opened,
    ) -> Result<()> {
        match opened {
            Opened::Ports(ports) => {
                let mut ports = ports.into_iter();
                let (Some(port), None) = (ports.next(), ports.next()) else {
                    let message = format!("'{name}' cannot end at several ports");
                    return Err(Error::usage(message).hint("Give it a port alone."));
                };
                self.attach(runner, name, end, port)
            }
            Opened::Listener(listener) => {
                let shown = listener.name().to_owned();
                let id = runner.listen(listener);
                let id = id.map_err(|error| Error::io("listen at", shown, &error))?;
                let port = self.links.get(name).and_then(|link| link.ports[end]);
                self.listeners.extend(port.map(|port| (id, port)));
                self.set_missing(name, end, "nobody has connected");
                Ok(())
            }
        }
    }

    fn set_missing(&mut self, name: &LinkName, end: usize, why: &str) {
        if let Some(link) = self.links.get_mut(name) {
            link.missing[end] = Some(why.to_owned());
        }
    }

    /// Makes a port an end of a link.
    pub(super) fn attach(
        &mut self,
        runner: &mut Loop,
        name: &LinkName,
        end: usize,
        port: Box<dyn Port>,
    ) -> Result<()> {
        // It may have been removed meanwhile.
        let Some(link) = self.links.get_mut(name) else { return Ok(()) };
        let Some(id) = link.ports[end] else { return Ok(()) };
        let shown = port.name().to_owned();
        runner.attach(id, port).map_err(|error| Error::io("use", shown, &error))?;
        link.missing[end] = None;
        if let Some(profiles) = link.netem.clone() {
            runner.set_netem(id, link.netem_at(end, &profiles)?);
        }
        Ok(())
    }

    /// Takes a link away; returns the interfaces that end with it.
    pub(super) fn remove(&mut self, runner: &mut Loop, name: &LinkName) -> Vec<Order> {
        let Some(link) = self.links.remove(name) else { return Vec::new() };
        if let Some(cable) = link.cable {
            let (engine, now, out) = runner.engine_and_outbox();
            engine.part(cable, now, out);
        }
        for port in link.ports.into_iter().flatten() {
            runner.detach(port);
            for (listener, _) in self.listeners.extract_if(.., |(_, of)| *of == port) {
                runner.close_listener(listener);
            }
            runner.engine_mut().free(port);
            self.ports.remove(&port);
        }
        let interfaces = link.interfaces.into_iter().flatten();
        interfaces.map(|(node, interface)| Order::RemoveInterface(node, interface)).collect()
    }

    /// The names of all links.
    pub(super) fn names(&self) -> impl Iterator<Item = &LinkName> {
        self.links.keys()
    }

    /// What a link is set to; `None` if it has no emulation, or is not there.
    pub(super) fn profiles(&self, name: &LinkName) -> Option<&Profiles> {
        self.links.get(name)?.netem.as_ref()
    }

    /// The cable of a link; `None`: the kernel joins its ends, so that it has no emulation.
    pub(super) fn cable(&self, name: &LinkName) -> Option<CableId> {
        self.links.get(name)?.cable
    }

    /// Changes what a link is like, between two packets: both directions, or none.
    ///
    /// # Errors
    /// The settings exclude each other; there is no such link.
    pub(super) fn set_netem(
        &mut self,
        runner: &mut Loop,
        name: &LinkName,
        profiles: Profiles,
    ) -> Result<()> {
        let link = self.links.get_mut(name).ok_or_else(|| not_there(name))?;
        profiles.a_to_b.check().and(profiles.b_to_a.check()).map_err(Error::usage)?;
        if let (Some(cable), [None, None]) = (link.cable, link.ports) {
            let (engine, now, out) = runner.engine_and_outbox();
            let set = engine.set_netem(cable, Some(&profiles), link.seed, now, out);
            set.map_err(Error::usage)?;
        }
        for (end, port) in link.ports.into_iter().enumerate() {
            let Some(port) = port else { continue };
            let now = runner.now();
            let Some(netem) = runner.netem_mut(port) else { continue };
            if netem.ingress.is_none() && netem.egress.is_none() {
                runner.set_netem(port, link.netem_at(end, &profiles)?);
                continue;
            }
            let (inwards, outwards) = link.directions(end, &profiles);
            for (emulated, profile) in
                [(&mut netem.ingress, inwards), (&mut netem.egress, outwards)]
            {
                if let (Some(emulated), Some(profile)) = (emulated, profile) {
                    emulated.set(now, profile).map_err(Error::usage)?;
                }
            }
        }
        link.netem = Some(profiles);
        Ok(())
    }

    /// Changes the ports of switches at a link.
    pub(super) fn set_ports(&self, runner: &mut Loop, wanted: &Wanted) -> Result<()> {
        let Some(link) = self.links.get(&wanted.name) else { return Ok(()) };
        let Some((cable, _)) = link.cable.and_then(|cable| runner.engine().cable(cable)) else {
            return Ok(());
        };
        let ports = match cable {
            Cable::Wire(_) => [None, None],
            Cable::Port(port, switch) => {
                let end = usize::from(link.ports[0].is_some());
                let mut ports = [None, None];
                ports[end] = Some((switch, port));
                ports
            }
            Cable::Patch(ends, _) => ends.map(Some),
        };
        for (end, port) in wanted.ends.iter().zip(ports) {
            let Some((switch, port)) = port else { continue };
            if let Some(switch) = runner.engine_mut().switch_mut(switch) {
                switch.set_port(port, end.port.clone()).map_err(Error::usage)?;
            }
        }
        Ok(())
    }

    /// Begins the schedules of all links.
    pub(super) fn start(&self, runner: &mut Loop) {
        let now = runner.now();
        for port in self.links.values().flat_map(|link| link.ports).flatten() {
            if let Some(netem) = runner.netem_mut(port) {
                let both = [&mut netem.ingress, &mut netem.egress];
                both.into_iter().flatten().for_each(|emulated| emulated.start(now));
            }
        }
    }

    /// Lets a link fail or heals it; returns what interfaces do, if that changes.
    pub(super) fn set_failed(
        &mut self,
        runner: &mut Loop,
        name: &LinkName,
        fails: bool,
    ) -> Vec<Order> {
        let Some(link) = self.links.get_mut(name).filter(|link| link.fails != fails) else {
            return Vec::new();
        };
        link.fails = fails;
        if let Some(cable) = link.cable {
            runner.engine_mut().set_failed(cable, fails);
        }
        if fails {
            for port in link.ports.into_iter().flatten() {
                // What is on its way is lost with the cable, and counted.
                if let Some(emulated) = runner.set_netem(port, PortNetem::default()) {
                    runner.set_netem(port, emulated);
                }
            }
        }
        let interfaces = link.interfaces.iter().flatten();
        interfaces.map(|&(node, interface)| Order::Up(node, interface, !fails)).collect()
    }

    /// A connection to a listener becomes that end, unless the end has one; returns the link.
    pub(super) fn accepted(
        &mut self,
        runner: &mut Loop,
        listener: ListenerId,
        port: Box<dyn Port>,
    ) -> Option<Result<LinkName>> {
        let (_, id) = *self.listeners.iter().find(|(known, _)| *known == listener)?;
        if runner.port(id).is_some() {
            return None;
        }
        let (name, end) = self.ports.get(&id)?.clone();
        Some(self.attach(runner, &name, end, port).map(|()| name))
    }

    /// A port of the loop has ended; returns its link.
    pub(super) fn port_gone(&mut self, port: PortId, why: &str) -> Option<LinkName> {
        let (name, end) = self.ports.get(&port)?.clone();
        self.set_missing(&name, end, why);
        Some(name)
    }

    /// The interfaces of plain links between hosts, whose counters the kernel has: the link and which end.
    pub(super) fn kernel_ends(&self) -> impl Iterator<Item = (&LinkName, usize, NodeKey, IfName)> {
        self.links.iter().filter(|(_, link)| link.cable.is_none()).flat_map(|(name, link)| {
            let ends = link.interfaces.iter().enumerate();
            ends.filter_map(move |(end, at)| {
                at.map(|(node, interface)| (name, end, node, interface))
            })
        })
    }

    /// Keeps what the kernel has counted.
    pub(super) fn set_kernel(&mut self, name: &LinkName, end: usize, counters: Counters) {
        if let Some(link) = self.links.get_mut(name) {
            link.kernel[end] = counters;
        }
    }

    /// The report of a link.
    pub(super) fn report(&self, runner: &Loop, name: &LinkName) -> Option<report::Link> {
        let link = self.links.get(name)?;
        let shown = |end: usize| match &link.interfaces[end] {
            Some((_, interface)) => format!("{}:{interface}", link.nodes[end]),
            None => link.nodes[end].to_string(),
        };
        let medium = match (link.cable, link.ports) {
            (None, _) => "veth",
            (Some(_), [Some(_), Some(_)]) => "taps",
            (Some(_), [None, None]) => "patch",
            (Some(_), _) => "port",
        };
        let state = if link.fails {
            LinkState::Failed
        } else if link.missing.iter().any(Option::is_some) {
            LinkState::Down
        } else {
            LinkState::Up
        };
        let [from_a, from_b] = [0, 1].map(|end| self.counters(runner, link, end));
        Some(report::Link {
            name: name.to_string(),
            ends: [shown(0), shown(1)],
            medium: medium.to_owned(),
            state,
            netem: link.netem.as_ref().map(Netem::new),
            link: link.emulated(runner),
            from_a,
            from_b,
        })
    }

    /// What links count, for `/metrics`; nothing of those that the kernel joins, which this process does not see.
    pub(super) fn samples(&self, runner: &Loop) -> Vec<LinkCounts> {
        let sample = |(name, link): (&LinkName, &Link)| LinkCounts {
            name: name.to_string(),
            is_up: !link.fails && link.missing.iter().all(Option::is_none),
            ways: link.cable.map(|_| [0, 1].map(|end| self.counters(runner, link, end))),
            emulated: link.emulated_counts(runner),
        };
        self.links.iter().map(sample).collect()
    }

    /// Whether all links have an end at a node.
    pub(super) fn is_connected(&self, node: &NodeName) -> bool {
        let ends = self.links.values().flat_map(|link| link.nodes.iter().zip(&link.missing));
        ends.filter(|(of, _)| *of == node).all(|(_, missing)| missing.is_none())
    }

    /// Why an end of a link is not there.
    pub(super) fn problem(&self, name: &LinkName) -> Option<String> {
        let link = self.links.get(name)?;
        let end = link.missing.iter().position(Option::is_some)?;
        let why = link.missing[end].as_deref().unwrap_or_default();
        Some(format!("link {name} has no end at {}: {why}", link.nodes[end]))
    }

    /// What came from an end.
    fn counters(&self, runner: &Loop, link: &Link, end: usize) -> Counters {
        let Some(cable) = link.cable else { return link.kernel[end].clone() };
        let mut counters = Counters::default();
        let port = |end: usize| link.ports[end].and_then(|port| Some(runner.port(port)?.1));
        let mut note = |why: &str, count: u64| {
            if count > 0 {
                *counters.drops.entry(why.to_owned()).or_default() += count;
            }
        };
        let (near, far) = (port(end), port(1 - end));
        near.iter().flat_map(|of| of.ingress_drops()).for_each(|(why, count)| note(why, count));
        far.iter().flat_map(|of| of.egress_drops()).for_each(|(why, count)| note(why, count));
        if let Some(near) = near {
            (counters.frames, counters.bytes) = (near.received, near.received_bytes);
        } else {
            // It came from a switch: what the link then lost is not missing.
            let (switch, port) = match runner.engine().cable(cable) {
                Some((Cable::Patch(ends, _), _)) => ends[end],
                Some((Cable::Port(port, switch), _)) => (switch, port),
                Some((Cable::Wire(_), _)) | None => return counters,
            };
            let of_port = runner.engine().switch(switch).and_then(|switch| switch.counters(port));
            if let Some(of_port) = of_port {
                (counters.frames, counters.bytes) = (of_port.egress_frames, of_port.egress_bytes);
            }
        }
        counters
    }
}

impl Link {
    /// The profiles of what comes in at the port of an end, and of what goes out there. With a port at each end,
    /// each emulates what comes from it.
    fn directions<'a>(
        &self,
        end: usize,
        profiles: &'a Profiles,
    ) -> (Option<&'a adit_engine::netem::Profile>, Option<&'a adit_engine::netem::Profile>) {
        let from = |end: usize| if end == 0 { &profiles.a_to_b } else { &profiles.b_to_a };
        (Some(from(end)), self.ports[1 - end].is_none().then(|| from(1 - end)))
    }

    /// What is emulated at the port of an end.
    fn netem_at(&self, end: usize, profiles: &Profiles) -> Result<PortNetem> {
        let seed = Seed::new(self.seed);
        // The streams of random numbers are those of `adit netem`: 0 from a to b, 1 back.
        let make = |profile: Option<&adit_engine::netem::Profile>, from: u8| {
            let make = |profile| {
                let link =
                    Emulated::new(profile, seed.direction(from.into())).map_err(Error::usage)?;
                Ok::<_, Error>(Box::new(link.with_layer(Layer::Frame)))
            };
            profile.map(make).transpose()
        };
        let (inwards, outwards) = self.directions(end, profiles);
        let (near, far) = if end == 0 { (0, 1) } else { (1, 0) };
        Ok(PortNetem { ingress: make(inwards, near)?, egress: make(outwards, far)? })
    }

    /// What happened on it.
    fn emulated(&self, runner: &Loop) -> Option<Links> {
        if let ([None, None], Some(cable)) = (self.ports, self.cable) {
            let netem = runner.engine().netem(cable)?;
            let report = |direction| LinkReport::of_engine(netem, direction);
            return Some(Links {
                ingress: report(Direction::AToB),
                egress: report(Direction::BToA),
            });
        }
        let find = |from| self.emulated_from(runner, from).map(LinkReport::new);
        Some(Links { ingress: find(0)?, egress: find(1)? })
    }

    /// The counts of the same.
    fn emulated_counts(&self, runner: &Loop) -> Option<[Counts; 2]> {
        if let ([None, None], Some(cable)) = (self.ports, self.cable) {
            let netem = runner.engine().netem(cable)?;
            return Some([netem.counts(Direction::AToB), netem.counts(Direction::BToA)]);
        }
        let find = |from| self.emulated_from(runner, from).map(Emulated::counts);
        Some([find(0)?, find(1)?])
    }

    /// What emulates the direction from an end, if that is at a port.
    fn emulated_from<'a>(&self, runner: &'a Loop, end: usize) -> Option<&'a Emulated> {
        let at = |end: usize| runner.netem(self.ports[end]?);
        let near = at(end).and_then(|netem| netem.ingress.as_deref());
        near.or_else(|| at(1 - end)?.egress.as_deref())
    }
}

/// A free number for a port of the loop.
pub(super) fn new_port(runner: &mut Loop) -> Result<PortId> {
    let number = runner.engine_mut().number();
    number.ok_or_else(|| Error::usage("the lab has too many links"))
}

fn not_there(name: impl std::fmt::Display) -> Error {
    let error = io::Error::from(io::ErrorKind::NotFound);
    let mut new = Error::io("find", &name, &error);
    new.kind = Kind::NotFound;
    new.report.message = format!("the lab has no part called '{name}'");
    new
}
