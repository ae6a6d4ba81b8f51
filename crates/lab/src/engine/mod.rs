//! All engines of a lab as one: switches, the cables between them, and the wires between two ports of the loop.
//!
//! # Theory of operation
//!
//! ```text
//!   port 1     port 2        port 3    port 4             port 5          ports of the loop: TAPs, guests, NATs
//!     |           |             |         |                  |
//!     '-- wire ---'          [3]|      [4]|                  |[5]
//!                            switch "s" (alone)      switch "t" [6] == netem == [7] switch "u"
//! ```
//!
//! Every end of a cable has a number of its own in the whole lab, and a switch numbers its ports by them. So a
//! switch whose cables all lead to ports of the loop sends to these ports directly. A switch with a patch cable is
//! run by the [`Patch`], which moves packets between its members by function calls, within limits that end a loop
//! of cables. A wire joins two ports of the loop and belongs to no member.
//!
//! What the link between a port and this engine is like (delay, loss, rate) is the loop's affair; only a patch cable,
//! which has no port of the loop, gets a [`Netem`] as a member of its own.
//!
//! A tee is put into a cable to capture there, next to its first end: a port of the loop gets a copy of each packet. The
//! switches at the cable are run by the patch meanwhile.
//!
//! A failed cable passes nothing: a wire discards with [`LINK_FAILED`], and the ports of switches are down, so that
//! a switch floods nothing there and counts what comes in as dropped at a port that is down.
//!
//! The next deadline is kept as the minimum of what each call left behind. It can be early, when a member has put
//! its deadline off; the timeout then looks at all members.

mod members;
mod tee;

use adit_engine::netem::{Direction, Netem, NetemConfig, ProfileError};
use adit_engine::patch::{self, Jack, Patch};
use adit_engine::switch::{ConfigError, PortConfig, Switch, SwitchConfig};
use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId, Reason};
use adit_packet::{Instant, Layer, PacketBuf};
use adit_service::netem::profile::Profiles;
use members::{Member, Members};
use std::collections::BTreeSet;
use tee::{SIDES, Tee};

/// A link that was made to fail.
pub const LINK_FAILED: DropReason =
    DropReason::new(&Reason::new("link failed", "Lab: the link was made to fail."));

/// A switch of a [`LabEngine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwitchId(usize);

/// A cable of a [`LabEngine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CableId(usize);

/// Where a cable ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joint {
    /// A port of the loop.
    Port(PortId),
    /// A new port of a switch.
    Switch(SwitchId, Box<PortConfig>),
}

/// A cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Between two ports of the loop.
    Wire([PortId; 2]),
    /// Between a port of the loop and the port of a switch with the same number.
    Port(PortId, SwitchId),
    /// Between two switches, with the numbers of their ports, and the emulated link that is in between.
    Patch([(SwitchId, PortId); 2], Option<usize>),
}

/// A cable that is there.
#[derive(Clone, Debug)]
struct Laid {
    cable: Cable,
    failed: bool,
    /// The members in it that copy packets, each with its port of the loop.
    tees: Vec<(usize, PortId)>,
}

/// An end of a part of a cable.
#[derive(Clone, Copy, Debug)]
enum Tip {
    /// A port of the loop.
    Outside(PortId),
    /// A port of a member.
    Inside(Jack),
}

/// Where a packet from a port of the loop goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    None,
    /// To the other end of a wire.
    Wire(PortId),
    /// Nowhere: the wire failed.
    Failed,
    /// To a switch that has no patch cable.
    Switch(usize),
    /// To a member of the patch.
    Patch,
}

/// The engine of a lab: see the [module](self).
#[derive(Debug)]
pub struct LabEngine {
    /// By port of the loop.
    ways: Vec<Way>,
    patch: Patch<Members>,
    /// By member: how many cables a switch has with other members.
    patched: Vec<usize>,
    cables: Vec<Option<Laid>>,
    /// How many numbers were handed out, and those that came back.
    numbers: (u16, BTreeSet<u16>),
    /// No member has an earlier deadline.
    due: Option<Instant>,
}

impl Default for LabEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl LabEngine {
    /// How many ports of the loop get copies of a cable: a packet crosses a bounded number of cables.
    pub const TEES_MAX: usize = 4;

    /// Without switches and cables.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ways: Vec::new(),
            patch: Patch::new(Members::new()),
            patched: Vec::new(),
            cables: Vec::new(),
            numbers: (0, BTreeSet::new()),
            due: None,
        }
    }

    /// A free number for a port of the loop; `None` if all 65,535 are in use.
    pub fn number(&mut self) -> Option<PortId> {
        let (next, freed) = &mut self.numbers;
        if let Some(free) = freed.pop_first() {
            return Some(PortId(free));
        }
        let number = *next;
        *next = number.checked_add(1)?;
        Some(PortId(number))
    }

    /// Gives the number of a port of the loop back, once no cable ends there.
    pub fn free(&mut self, port: PortId) {
        self.numbers.1.insert(port.0);
    }

    /// Adds a switch.
    ///
    /// # Errors
    /// A limit of its configuration is out of range.
    pub fn add_switch(&mut self, config: SwitchConfig) -> Result<SwitchId, ConfigError> {
        let switch = Member::Switch(Box::new(Switch::new(config)?));
        Ok(SwitchId(self.patch.members_mut().add(switch)))
    }

    /// Removes a switch, once no cable ends there.
    pub fn remove_switch(&mut self, id: SwitchId) {
        self.patch.members_mut().remove(id.0);
    }

    /// A switch.
    #[must_use]
    pub fn switch(&self, id: SwitchId) -> Option<&Switch> {
        self.patch.members().switch(id.0)
    }

    /// A switch, to change it between two packets.
    pub fn switch_mut(&mut self, id: SwitchId) -> Option<&mut Switch> {
        self.due = Some(Instant::ZERO);
        self.patch.members_mut().switch_mut(id.0)
    }

    /// Joins two ends.
    ///
    /// # Errors
    /// A switch has no room for a port more, or its configuration is out of range; all numbers are in use
    /// ([`ConfigError::TooManyPorts`]).
    pub fn join(&mut self, ends: [Joint; 2]) -> Result<CableId, ConfigError> {
        let cable = match ends {
            [Joint::Port(a), Joint::Port(b)] => Cable::Wire([a, b]),
            [Joint::Port(port), Joint::Switch(switch, config)]
            | [Joint::Switch(switch, config), Joint::Port(port)] => {
                self.add_port(switch, port, *config)?;
                Cable::Port(port, switch)
            }
            [Joint::Switch(a, config_a), Joint::Switch(b, config_b)] => {
                let one = self.new_port(a, *config_a)?;
                let other = self.new_port(b, *config_b).inspect_err(|_| self.drop_port(a, one))?;
                Cable::Patch([(a, one), (b, other)], None)
            }
        };
        let place = self.cables.iter().position(Option::is_none);
        let place = place.unwrap_or(self.cables.len());
        if place == self.cables.len() {
            self.cables.push(None);
        }
        self.cables[place] = Some(Laid { cable, failed: false, tees: Vec::new() });
        self.count_patched(cable, 1);
        self.route(place);
        Ok(CableId(place))
    }

    /// Takes a cable away, with the ports of switches where it ends; packets in an emulated patch cable are
    /// discarded. Ports of the loop that got copies get no more.
    pub fn part(&mut self, id: CableId, now: Instant, out: &mut Outbox) {
        let Some(Laid { cable, tees, .. }) = self.cables.get_mut(id.0).and_then(Option::take)
        else {
            return;
        };
        tees.iter().for_each(|(member, _)| self.remove_tee(cable, *member));
        match cable {
            Cable::Wire(ends) => ends.into_iter().for_each(|port| self.set_way(port, Way::None)),
            Cable::Port(port, switch) => {
                self.set_way(port, Way::None);
                self.patch.bay_mut().part(Jack::new(switch.0, port));
                self.switch_mut(switch).map(|switch| switch.remove_port(port));
            }
            Cable::Patch(ends, netem) => {
                self.remove_netem(netem, now, out);
                for (switch, port) in ends {
                    self.patch.bay_mut().part(Jack::new(switch.0, port));
                    self.drop_port(switch, port);
                }
                self.count_patched(cable, -1);
            }
        }
    }

    /// A cable, and whether it failed.
    #[must_use]
    pub fn cable(&self, id: CableId) -> Option<(Cable, bool)> {
        self.cables.get(id.0)?.as_ref().map(|laid| (laid.cable, laid.failed))
    }

    /// Lets a cable fail, or heals it.
    pub fn set_failed(&mut self, id: CableId, failed: bool) {
        let Some(Some(laid)) = self.cables.get_mut(id.0) else { return };
        laid.failed = failed;
        let cable = laid.cable;
        let mut set_link = |switch, port| {
            self.switch_mut(switch).map(|switch| switch.set_link(port, !failed));
        };
        match cable {
            Cable::Wire(_) => self.route(id.0),
            Cable::Port(port, switch) => set_link(switch, port),
            Cable::Patch(ends, _) => ends.into_iter().for_each(|(at, port)| set_link(at, port)),
        }
    }

    /// Sends a copy of each packet in a cable to a port of the loop, between two packets; false if the cable has
    /// [`Self::TEES_MAX`] of them, or is not there.
    pub fn add_tee(&mut self, id: CableId, copies: PortId) -> bool {
        let laid = self.cables.get(id.0).and_then(Option::as_ref);
        let Some(laid) = laid.filter(|laid| laid.tees.len() < Self::TEES_MAX) else { return false };
        let cable = laid.cable;
        let member = self.patch.members_mut().add(Member::Tee(Tee));
        self.patch.bay_mut().expose(copies, Jack::new(member, Tee::COPIES));
        self.count_tee(cable, 1);
        if let Some(Some(laid)) = self.cables.get_mut(id.0) {
            laid.tees.push((member, copies));
        }
        self.route(id.0);
        true
    }

    /// Sends no more copies to a port of the loop, between two packets.
    pub fn drop_tee(&mut self, id: CableId, copies: PortId) {
        let Some(Some(laid)) = self.cables.get_mut(id.0) else { return };
        let Some(place) = laid.tees.iter().position(|(_, port)| *port == copies) else { return };
        let ((member, _), cable) = (laid.tees.remove(place), laid.cable);
        self.remove_tee(cable, member);
        self.route(id.0);
    }

    fn remove_tee(&mut self, cable: Cable, member: usize) {
        self.remove_member(member, &[SIDES[0], SIDES[1], Tee::COPIES]);
        self.count_tee(cable, -1);
    }

    fn remove_member(&mut self, member: usize, ports: &[PortId]) {
        for &port in ports {
            self.patch.bay_mut().part(Jack::new(member, port));
        }
        self.patch.members_mut().remove(member);
    }

    /// What is in a patch cable.
    #[must_use]
    pub fn netem(&self, id: CableId) -> Option<&Netem> {
        match self.cable(id)?.0 {
            Cable::Patch(_, Some(member)) => self.patch.members().netem(member),
            _ => None,
        }
    }

    /// Gives a patch cable these properties, between two packets; `None`: it is a plain cable again, and what was
    /// in it is discarded. Other cables have none here.
    ///
    /// # Errors
    /// Settings that exclude each other; then nothing changes.
    pub fn set_netem(
        &mut self,
        id: CableId,
        profiles: Option<&Profiles>,
        seed: u64,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<(), ProfileError> {
        let Some((Cable::Patch(ends, member), _)) = self.cable(id) else { return Ok(()) };
        let present = member.and_then(|member| self.patch.members_mut().netem_mut(member));
        let member = match (profiles, present) {
            (Some(profiles), Some(netem)) => {
                profiles.a_to_b.check().and(profiles.b_to_a.check())?;
                netem.set(now, Direction::AToB, &profiles.a_to_b)?;
                netem.set(now, Direction::BToA, &profiles.b_to_a)?;
                self.due = Some(Instant::ZERO);
                return Ok(());
            }
            (Some(profiles), None) => {
                let mut netem = Netem::new(&NetemConfig {
                    ports: SIDES,
                    a_to_b: profiles.a_to_b.clone(),
                    b_to_a: profiles.b_to_a.clone(),
                    seed,
                    layer: Layer::Frame,
                })?;
                netem.start(now);
                Some(self.patch.members_mut().add(Member::Netem(Box::new(netem))))
            }
            (None, _) => {
                self.remove_netem(member, now, out);
                None
            }
        };
        if let Some(Some(laid)) = self.cables.get_mut(id.0) {
            laid.cable = Cable::Patch(ends, member);
        }
        self.route(id.0);
        Ok(())
    }

    fn remove_netem(&mut self, member: Option<usize>, now: Instant, out: &mut Outbox) {
        let Some(member) = member else { return };
        if let Some(netem) = self.patch.members_mut().netem_mut(member) {
            netem.clear(now, out);
        }
        self.remove_member(member, &SIDES);
    }

    fn new_port(&mut self, switch: SwitchId, config: PortConfig) -> Result<PortId, ConfigError> {
        let port = self.number().ok_or(ConfigError::TooManyPorts)?;
        self.add_port(switch, port, config).inspect_err(|_| self.free(port))?;
        Ok(port)
    }

    fn add_port(
        &mut self,
        switch: SwitchId,
        port: PortId,
        config: PortConfig,
    ) -> Result<(), ConfigError> {
        match self.switch_mut(switch) {
            Some(switch) => switch.add_port(port, config),
            None => Ok(()),
        }
    }

    /// Removes a port of a switch at a patch cable.
    fn drop_port(&mut self, switch: SwitchId, port: PortId) {
        self.switch_mut(switch).map(|switch| switch.remove_port(port));
        self.free(port);
    }

    /// Decides where packets from the ends of a cable go, after anything of it has changed.
    fn route(&mut self, place: usize) {
        let Some(Some(Laid { cable, failed, tees })) = self.cables.get(place).cloned() else {
            return;
        };
        let mut between: Vec<usize> = tees.iter().map(|(member, _)| *member).collect();
        match cable {
            Cable::Wire([a, b]) => {
                let is_direct = between.is_empty();
                for (from, to) in [(a, b), (b, a)] {
                    let way = if is_direct { Way::Wire(to) } else { Way::Patch };
                    self.set_way(from, if failed { Way::Failed } else { way });
                }
                if !is_direct {
                    self.plug(Tip::Outside(a), &between, Tip::Outside(b));
                }
            }
            Cable::Port(port, switch) => {
                self.plug(Tip::Outside(port), &between, Tip::Inside(Jack::new(switch.0, port)));
                self.set_way(port, self.way_to(switch));
            }
            Cable::Patch(ends, netem) => {
                between.extend(netem);
                let [a, b] = ends.map(|(switch, port)| Tip::Inside(Jack::new(switch.0, port)));
                self.plug(a, &between, b);
            }
        }
        self.due = Some(Instant::ZERO);
    }

    /// Joins two ends by the members in between, in their order.
    fn plug(&mut self, first: Tip, between: &[usize], last: Tip) {
        let bay = self.patch.bay_mut();
        let mut join = |one: Tip, other: Tip| match (one, other) {
            (Tip::Inside(one), Tip::Inside(other)) => bay.join(one, other),
            (Tip::Outside(port), Tip::Inside(jack)) | (Tip::Inside(jack), Tip::Outside(port)) => {
                bay.expose(port, jack);
            }
            // A wire without members in it: its ways lead from port to port.
            (Tip::Outside(_), Tip::Outside(_)) => {}
        };
        let mut left = first;
        for &member in between {
            let [near, far] = SIDES.map(|port| Tip::Inside(Jack::new(member, port)));
            join(left, near);
            left = far;
        }
        join(left, last);
    }

    /// Counts a new patch cable, or one that is gone.
    fn count_patched(&mut self, cable: Cable, change: isize) {
        if let Cable::Patch(ends, _) = cable {
            ends.into_iter().for_each(|(switch, _)| self.set_patched(switch, change));
        }
    }

    /// Counts a member in the cable between a port of the loop and a switch: the switch must not send to the port past it.
    fn count_tee(&mut self, cable: Cable, change: isize) {
        if let Cable::Port(_, switch) = cable {
            self.set_patched(switch, change);
        }
    }

    /// Counts the cables of a switch with other members; the first and the last one change the way to it.
    fn set_patched(&mut self, switch: SwitchId, change: isize) {
        let place = switch.0;
        if self.patched.len() <= place {
            self.patched.resize(place + 1, 0);
        }
        let before = self.patched[place];
        self.patched[place] = before.saturating_add_signed(change);
        if (before == 0) == (self.patched[place] == 0) {
            return;
        }
        let way = self.way_to(switch);
        let cables = self.cables.iter().flatten().filter_map(|laid| match laid.cable {
            Cable::Port(port, at) if at == switch => Some(port),
            _ => None,
        });
        let ports: Vec<PortId> = cables.collect();
        ports.into_iter().for_each(|port| self.set_way(port, way));
    }

    fn way_to(&self, switch: SwitchId) -> Way {
        match self.patched.get(switch.0) {
            None | Some(0) => Way::Switch(switch.0),
            Some(_) => Way::Patch,
        }
    }

    fn set_way(&mut self, port: PortId, way: Way) {
        let place = usize::from(port.0);
        if self.ways.len() <= place {
            self.ways.resize(place + 1, Way::None);
        }
        self.ways[place] = way;
    }
}

/// The earlier of two deadlines.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl Engine for LabEngine {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let way = match from {
            Endpoint::Port(port) => self.ways.get(usize::from(port.0)).copied(),
            Endpoint::Udp(_) | Endpoint::Flow(_) => None,
        };
        match way.unwrap_or_default() {
            Way::Wire(to) => out.send(Endpoint::Port(to), packet),
            Way::Switch(member) => match self.patch.members_mut().switch_mut(member) {
                Some(switch) => {
                    switch.handle(now, from, packet, out);
                    self.due = earlier(self.due, switch.next_timeout());
                }
                None => out.discard(packet, DropReason::NO_DESTINATION),
            },
            Way::Patch => {
                self.patch.handle(now, from, packet, out);
                self.due = earlier(self.due, self.patch.members_mut().next_of_used());
            }
            Way::Failed => out.discard(packet, LINK_FAILED),
            Way::None => out.discard(packet, DropReason::NO_DESTINATION),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.patch.handle_timeout(now, out);
        self.patch.members_mut().next_of_used();
        self.due = patch::next_timeout(self.patch.members());
    }

    fn held(&self) -> usize {
        self.patch.held()
    }
}

#[cfg(test)]
mod tests;
