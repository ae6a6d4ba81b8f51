//! Engines of one process joined by patch cables: no device and no system call between them.
//!
//! # Theory of operation
//!
//! A [`Patch`] is an engine made of engines, its members. Each member has ports of its own, numbered as
//! it likes. A port of a member is
//!
//! ```text
//!    port 1 of the patch                                          Endpoint::Udp, Flow, ports 0, 2, ...
//!           |                                                                   |
//!     +-----|------------- patch -----------------------------------------------|----+
//!     |  [port 1] switch (member 1) [port 3] ======== [port 2] tunnel (member 0, main)   |
//!     +------------------------------------------------------------------------------+
//!      exposed                      joined by a cable             everything else of the main member
//! ```
//!
//! - *joined* to a port of another member: what one sends there comes from the other, by a function call
//!   within the same turn;
//! - *exposed* as a port of the patch; or
//! - neither. Then a port of the main member (the first) is the port of the patch with the same number,
//!   and what another member sends there is discarded. Only the main member has peers and flows.
//!
//! While a member runs, its sends go into a queue of the patch; those for a cable are then handed to the
//! other member, which may send in turn. Two bounds keep a loop of cables from running forever: a packet
//! crosses at most [`PatchBay::HOPS_MAX`] cables, and one call moves at most [`PatchBay::CROSSINGS_MAX`]
//! packets across cables. What exceeds them is discarded ([`DropReason::PATCH_LOOP`]).
//!
//! It allocates nothing once its queues have been as long as they get.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use adit_packet::{Batch, Instant, PacketBuf};

use crate::contract::{Engine, Handled};
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::flow::{FlowEvent, FlowId};
use crate::outbox::{Outbox, Queue};

/// A port of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jack {
    /// The number of the member.
    pub member: usize,
    /// The port, as the member numbers it.
    pub port: PortId,
}

impl Jack {
    /// A port of a member.
    #[must_use]
    pub const fn new(member: usize, port: PortId) -> Self {
        Self { member, port }
    }
}

/// The engines of a patch, by their numbers; member 0 is the main one.
pub trait Members {
    /// How many there are.
    fn count(&self) -> usize;

    /// One of them.
    fn get(&self, member: usize) -> Option<&dyn Engine>;

    /// One of them, to hand it a packet.
    fn get_mut(&mut self, member: usize) -> Option<&mut dyn Engine>;
}

impl<A: Engine, B: Engine> Members for (A, B) {
    fn count(&self) -> usize {
        2
    }

    fn get(&self, member: usize) -> Option<&dyn Engine> {
        match member {
            0 => Some(&self.0),
            1 => Some(&self.1),
            _ => None,
        }
    }

    fn get_mut(&mut self, member: usize) -> Option<&mut dyn Engine> {
        match member {
            0 => Some(&mut self.0),
            1 => Some(&mut self.1),
            _ => None,
        }
    }
}

impl Members for Vec<Box<dyn Engine>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, member: usize) -> Option<&dyn Engine> {
        <[_]>::get(self, member).map(|engine| &**engine)
    }

    fn get_mut(&mut self, member: usize) -> Option<&mut dyn Engine> {
        <[_]>::get_mut(self, member).map(|engine| &mut **engine as &mut dyn Engine)
    }
}

/// An engine made of engines: see the [module](self).
///
/// ```
/// use adit_engine::patch::{Jack, Patch};
/// use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
/// use adit_engine::{Endpoint, Engine, Outbox, PortId};
/// use adit_packet::{Batch, Instant, Pool, PoolConfig};
///
/// let mut switches = [0, 1].map(|_| Switch::new(SwitchConfig::default()).expect("a valid default"));
/// for switch in &mut switches {
///     switch.add_port(PortId(0), PortConfig::default())?;
///     switch.add_port(PortId(9), PortConfig::default())?;
/// }
/// let [left, right] = switches;
/// let mut patch = Patch::new((left, right));
/// patch.bay_mut().expose(PortId(1), Jack::new(1, PortId(0)));
/// patch.bay_mut().join(Jack::new(0, PortId(9)), Jack::new(1, PortId(9)));
///
/// // A broadcast into the left switch comes out of the right one.
/// let mut out = Outbox::new(Pool::new(PoolConfig::default()));
/// let mut frame = out.pool().take(60).expect("a fresh pool");
/// frame.extend(&[0xff; 6]).and_then(|()| frame.extend(&[2; 54])).expect("room");
/// patch.handle(Instant::ZERO, Endpoint::Port(PortId(0)), frame, &mut out);
/// let mut batch = Batch::new();
/// assert_eq!(out.next_group(&mut batch), Some(Endpoint::Port(PortId(1))));
/// # batch.give_all(out.pool());
/// # Ok::<(), adit_engine::switch::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Patch<M> {
    members: M,
    bay: PatchBay,
}

impl<M: Members> Patch<M> {
    /// Members without cables.
    #[must_use]
    pub fn new(members: M) -> Self {
        Self { members, bay: PatchBay::new() }
    }

    /// The members.
    pub const fn members(&self) -> &M {
        &self.members
    }

    /// The members, to change them between two packets. Calls that make one send something go through
    /// [`PatchBay::call`].
    pub const fn members_mut(&mut self) -> &mut M {
        &mut self.members
    }

    /// The cables.
    pub const fn bay(&self) -> &PatchBay {
        &self.bay
    }

    /// The cables, to change them.
    pub const fn bay_mut(&mut self) -> &mut PatchBay {
        &mut self.bay
    }

    /// Members and cables, for [`PatchBay::call`].
    pub const fn split(&mut self) -> (&mut M, &mut PatchBay) {
        (&mut self.members, &mut self.bay)
    }
}

impl<M: Members> Engine for Patch<M> {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        self.bay.handle(&mut self.members, now, from, packet, out)
    }

    fn next_timeout(&self) -> Option<Instant> {
        next_timeout(&self.members)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.bay.handle_timeout(&mut self.members, now, out);
    }

    fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        self.bay.handle_flow(&mut self.members, now, flow, event, out);
    }

    fn held(&self) -> usize {
        held(&self.members)
    }
}

/// The earliest deadline of all members.
pub fn next_timeout(members: &impl Members) -> Option<Instant> {
    let members = (0..members.count()).filter_map(|member| members.get(member));
    members.filter_map(Engine::next_timeout).min()
}

/// How many packets all members hold.
pub fn held(members: &impl Members) -> usize {
    let members = (0..members.count()).filter_map(|member| members.get(member));
    members.map(Engine::held).sum()
}

/// What crossed cables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchCounters {
    /// Packets that crossed a cable.
    pub crossed: u64,
    /// Packets that exceeded a bound, most likely in a loop.
    pub looped: u64,
}

/// The cables of a [`Patch`], for an engine that keeps its members itself and hands them to each call.
#[derive(Debug)]
pub struct PatchBay {
    /// By member, then by port.
    routes: Vec<Vec<Route>>,
    /// By port of the patch.
    exposed: Vec<Option<Jack>>,
    /// What was sent out of the patch, while members run; empty between two calls.
    outside: Queue,
    /// Packets in cables.
    cables: VecDeque<Crossing>,
    batch: Batch,
    counters: PatchCounters,
}

/// Where what a member sends to one of its ports goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Route {
    #[default]
    None,
    Exposed(PortId),
    Joined(Jack),
}

/// A packet in a cable, with its number of cables so far.
#[derive(Debug)]
struct Crossing {
    to: Jack,
    hops: u8,
    packet: PacketBuf,
}

impl Default for PatchBay {
    fn default() -> Self {
        Self::new()
    }
}

impl PatchBay {
    /// How many cables a packet crosses at most: more than any chain of engines in one process has.
    pub const HOPS_MAX: u8 = 16;

    /// How many packets one call moves across cables at most: a super-packet cut up, flooded to 64 ports.
    /// About 0.5 ms, so that a loop delays others by no more.
    pub const CROSSINGS_MAX: usize = 4096;

    /// No cables.
    #[must_use]
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            exposed: Vec::new(),
            outside: Queue::new(),
            cables: VecDeque::new(),
            batch: Batch::new(),
            counters: PatchCounters::default(),
        }
    }

    /// Joins two ports by a cable; neither can be exposed meanwhile. Cables and exposures that the two
    /// had before are taken away.
    pub fn join(&mut self, one: Jack, other: Jack) {
        self.part(one);
        self.part(other);
        self.set(one, Route::Joined(other));
        self.set(other, Route::Joined(one));
    }

    /// Makes a port of a member the port `outside` of the patch.
    pub fn expose(&mut self, outside: PortId, jack: Jack) {
        self.part(jack);
        if let Some(before) = self.exposed_at(outside) {
            self.part(before);
        }
        let at = usize::from(outside.0);
        if self.exposed.len() <= at {
            self.exposed.resize(at + 1, None);
        }
        if let Some(place) = self.exposed.get_mut(at) {
            *place = Some(jack);
        }
        self.set(jack, Route::Exposed(outside));
    }

    /// Takes away the cable or the exposure of a port.
    pub fn part(&mut self, jack: Jack) {
        match self.route(jack) {
            Route::None => {}
            Route::Joined(other) => self.set(other, Route::None),
            Route::Exposed(outside) => {
                if let Some(place) = self.exposed.get_mut(usize::from(outside.0)) {
                    *place = None;
                }
            }
        }
        self.set(jack, Route::None);
    }

    /// What crossed cables since the start.
    #[must_use]
    pub const fn counters(&self) -> PatchCounters {
        self.counters
    }

    /// As [`Engine::handle`], for the member that `from` belongs to.
    pub fn handle(
        &mut self,
        members: &mut impl Members,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let (member, from) = match from {
            Endpoint::Port(outside) => match self.exposed_at(outside) {
                Some(Jack { member, port }) => (member, Endpoint::Port(port)),
                None => (0, from),
            },
            _ => (0, from),
        };
        // A port of the main member that is not one of the patch.
        let is_inside = matches!(from, Endpoint::Port(port)
            if member == 0 && matches!(self.route(Jack::new(0, port)), Route::Joined(_)));
        if is_inside {
            out.discard(packet, DropReason::NO_DESTINATION);
            return Handled::NOTHING;
        }
        self.run(members, now, member, out, |engine, out| match engine {
            Some(engine) => engine.handle(now, from, packet, out),
            None => {
                out.discard(packet, DropReason::NO_DESTINATION);
                Handled::NOTHING
            }
        })
    }

    /// As [`Engine::handle_timeout`], for every member for which it is time.
    pub fn handle_timeout(&mut self, members: &mut impl Members, now: Instant, out: &mut Outbox) {
        for member in 0..members.count() {
            let at = members.get(member).and_then(Engine::next_timeout);
            if at.is_some_and(|at| at <= now) {
                self.run(members, now, member, out, |engine, out| {
                    if let Some(engine) = engine {
                        engine.handle_timeout(now, out);
                    }
                });
            }
        }
    }

    /// As [`Engine::handle_flow`], for the main member.
    pub fn handle_flow(
        &mut self,
        members: &mut impl Members,
        now: Instant,
        flow: FlowId,
        event: FlowEvent,
        out: &mut Outbox,
    ) {
        self.run(members, now, 0, out, |engine, out| {
            if let Some(engine) = engine {
                engine.handle_flow(now, flow, event, out);
            }
        });
    }

    /// Does `work`, which makes a member send, and brings what it sends to where it goes.
    pub fn call<T>(
        &mut self,
        members: &mut impl Members,
        now: Instant,
        member: usize,
        out: &mut Outbox,
        work: impl FnOnce(&mut Outbox) -> T,
    ) -> T {
        self.run(members, now, member, out, |_, out| work(out))
    }

    fn run<T>(
        &mut self,
        members: &mut impl Members,
        now: Instant,
        member: usize,
        out: &mut Outbox,
        work: impl FnOnce(Option<&mut dyn Engine>, &mut Outbox) -> T,
    ) -> T {
        // From here on `out` has an empty queue for the members, and `outside` what was sent before.
        out.swap_queue(&mut self.outside);
        let result = work(members.get_mut(member), out);
        let mut crossings = 0;
        self.distribute(member, 0, &mut crossings, out);
        while let Some(Crossing { to, hops, packet }) = self.cables.pop_front() {
            match members.get_mut(to.member) {
                Some(engine) => {
                    engine.handle(now, Endpoint::Port(to.port), packet, out);
                }
                None => out.discard(packet, DropReason::NO_DESTINATION),
            }
            self.distribute(to.member, hops, &mut crossings, out);
        }
        out.swap_queue(&mut self.outside);
        result
    }

    /// Moves what a member sent out of the patch or into cables.
    fn distribute(&mut self, member: usize, hops: u8, crossings: &mut usize, out: &mut Outbox) {
        while let Some(to) = out.next_group(&mut self.batch) {
            let (outside, joined) = match to {
                Endpoint::Port(port) => match self.route(Jack::new(member, port)) {
                    Route::Exposed(outside) => (Some(Endpoint::Port(outside)), None),
                    Route::Joined(other) => (None, Some(other)),
                    Route::None => ((member == 0).then_some(to), None),
                },
                _ => ((member == 0).then_some(to), None),
            };
            for packet in self.batch.drain(..) {
                if let Some(to) = outside
                    && self.outside.len() < out.limit()
                {
                    self.outside.push(to, packet);
                    continue;
                }
                out.take_back();
                let Some(to) = joined else {
                    let is_full = outside.is_some();
                    let why =
                        if is_full { DropReason::OUTBOX_FULL } else { DropReason::NO_DESTINATION };
                    out.discard(packet, why);
                    continue;
                };
                if hops >= Self::HOPS_MAX || *crossings >= Self::CROSSINGS_MAX {
                    self.counters.looped += 1;
                    out.discard(packet, DropReason::PATCH_LOOP);
                    continue;
                }
                *crossings += 1;
                self.counters.crossed += 1;
                self.cables.push_back(Crossing { to, hops: hops + 1, packet });
            }
        }
    }

    fn route(&self, jack: Jack) -> Route {
        let ports = self.routes.get(jack.member);
        ports.and_then(|ports| ports.get(usize::from(jack.port.0))).copied().unwrap_or_default()
    }

    fn exposed_at(&self, outside: PortId) -> Option<Jack> {
        self.exposed.get(usize::from(outside.0)).copied().flatten()
    }

    fn set(&mut self, jack: Jack, route: Route) {
        if self.routes.len() <= jack.member {
            self.routes.resize_with(jack.member + 1, Vec::new);
        }
        let at = usize::from(jack.port.0);
        if let Some(ports) = self.routes.get_mut(jack.member) {
            if ports.len() <= at {
                ports.resize(at + 1, Route::None);
            }
            if let Some(place) = ports.get_mut(at) {
                *place = route;
            }
        }
    }
}

#[cfg(test)]
mod tests;
