//! The hubs of a loop: sockets that several ports share, and listeners.

use crate::port::{Hub, Port};
use crate::wake::backoff::Backoff;
use crate::wake::reactor::{Interest, Reactor, Source};
use crate::wake::timers::Timers;
use adit_engine::PortId;
use adit_packet::Instant;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;

/// The most hubs of one loop: what the name of a descriptor has room for.
const HUBS_MAX: usize = 1 << 24;

/// The number of a listener, valid until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) u32);

/// The hubs by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Hubs {
    slots: Vec<Option<HubSlot>>,
    free: Vec<u32>,
    by_name: BTreeMap<Box<str>, ListenerId>,
    /// When hubs that are paused are read again.
    timers: Timers,
}

/// A hub in its place.
#[derive(Debug)]
pub(crate) struct HubSlot {
    pub(crate) hub: Box<dyn Hub>,
    members: BTreeSet<PortId>,
    /// Whether a port has opened it: then it is closed with the last one.
    is_of_ports: bool,
    number: u32,
    backoff: Backoff,
    /// Whether the owner knows that nothing is accepted.
    pub(crate) is_exhausted: bool,
}

impl HubSlot {
    /// Its ports.
    pub(crate) fn into_members(self) -> BTreeSet<PortId> {
        self.members
    }
}

impl Hubs {
    /// Waits for a hub from now on.
    pub(crate) fn add(
        &mut self,
        hub: Box<dyn Hub>,
        is_of_ports: bool,
        number: u32,
        reactor: &Reactor,
    ) -> io::Result<ListenerId> {
        if self.by_name.contains_key(hub.name()) {
            return Err(Errno::EXIST.into());
        }
        let fresh = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let place = self.free.last().copied().unwrap_or(fresh);
        if index(place) >= HUBS_MAX {
            return Err(Errno::NOSPC.into());
        }
        reactor.add(hub.fd(), Source::Hub(place, number), Interest::READ)?;
        self.by_name.insert(hub.name().into(), ListenerId(place));
        let slot = HubSlot {
            hub,
            members: BTreeSet::new(),
            is_of_ports,
            number,
            backoff: Backoff::default(),
            is_exhausted: false,
        };
        match self.slots.get_mut(index(place)) {
            Some(free) => {
                *free = Some(slot);
                self.free.pop();
            }
            None => self.slots.push(Some(slot)),
        }
        Ok(ListenerId(place))
    }

    /// Takes a hub out.
    pub(crate) fn remove(&mut self, id: ListenerId, reactor: &Reactor) -> Option<HubSlot> {
        let slot = self.slots.get_mut(index(id.0))?.take()?;
        reactor.remove(slot.hub.fd());
        self.by_name.remove(slot.hub.name());
        self.timers.set(id.0, None);
        self.free.push(id.0);
        Some(slot)
    }

    /// The descriptor of a hub.
    pub(crate) fn get(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        self.slots.get(index(id.0))?.as_ref().map(|slot| slot.hub.fd())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ListenerId) -> Option<&mut HubSlot> {
        self.slots.get_mut(index(id.0))?.as_mut()
    }

    /// The hub that an event belongs to; `None` if it is that of an earlier one with its number.
    pub(crate) fn of_event(&self, place: u32, number: u32) -> Option<ListenerId> {
        let slot = self.slots.get(index(place))?.as_ref()?;
        (slot.number == number).then_some(ListenerId(place))
    }

    pub(crate) fn find(&self, name: &str) -> Option<ListenerId> {
        self.by_name.get(name).copied()
    }

    /// Adds a port to a hub.
    pub(crate) fn join(
        &mut self,
        hub: ListenerId,
        id: PortId,
        port: &mut dyn Port,
    ) -> io::Result<()> {
        let slot = self.get_mut(hub).ok_or(Errno::NOTCONN)?;
        slot.hub.join(id, port)?;
        slot.members.insert(id);
        Ok(())
    }

    /// Removes a port from its hub.
    pub(crate) fn leave(&mut self, hub: ListenerId, id: PortId) {
        if let Some(slot) = self.get_mut(hub) {
            slot.hub.leave(id);
            slot.members.remove(&id);
        }
    }

    /// Whether a hub is there for ports only, and none is left.
    pub(crate) fn is_unused(&self, hub: ListenerId) -> bool {
        let slot = self.slots.get(index(hub.0)).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.is_of_ports && slot.members.is_empty())
    }

    /// How many packets were for no port, in all hubs.
    pub(crate) fn refused(&self) -> u64 {
        self.slots.iter().flatten().map(|slot| slot.hub.refused()).sum()
    }

    /// A read worked.
    pub(crate) fn succeeded(&mut self, id: ListenerId) {
        if let Some(slot) = self.get_mut(id) {
            slot.backoff.succeeded();
            slot.is_exhausted = false;
        }
    }

    /// A read failed: whether the hub is paused now.
    pub(crate) fn failed(&mut self, id: ListenerId, now: Instant, reactor: &Reactor) -> bool {
        let Some(slot) = self.get_mut(id) else { return true };
        slot.backoff.failed(now);
        self.settle(id, reactor)
    }

    /// Pauses a hub at once; whether the owner does not know yet.
    pub(crate) fn exhausted(&mut self, id: ListenerId, now: Instant, reactor: &Reactor) -> bool {
        let Some(slot) = self.get_mut(id) else { return false };
        slot.backoff.pause(now);
        let is_news = !std::mem::replace(&mut slot.is_exhausted, true);
        self.settle(id, reactor);
        is_news
    }

    /// When a hub that is paused is read again.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Reads hubs again whose pause is over.
    pub(crate) fn resume(&mut self, now: Instant, reactor: &Reactor) {
        while let Some(place) = self.timers.pop_due(now) {
            if let Some(slot) = self.get_mut(ListenerId(place)) {
                slot.backoff.resume(now);
                self.settle(ListenerId(place), reactor);
            }
        }
    }

    /// Waits for a hub unless it is paused; whether it is.
    fn settle(&mut self, id: ListenerId, reactor: &Reactor) -> bool {
        let Some(slot) = self.get_mut(id) else { return true };
        let until = slot.backoff.until();
        let interest = Interest { readable: until.is_none(), writable: false };
        // One that cannot be changed is ready again at once, and fails again.
        let _ = reactor.change(slot.hub.fd(), Source::Hub(id.0, slot.number), interest);
        self.timers.set(id.0, until);
        until.is_some()
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
