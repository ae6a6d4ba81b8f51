//! The ports that are attached to a loop, and when each must be served.

use crate::netem::PortNetem;
use crate::peer::options::LAW;
use crate::port::{Port, PortCounters, Wait};
use crate::runner::ahead::Ahead;
use crate::runner::hubs::ListenerId;
use crate::wake::backoff::Backoff;
use crate::wake::reactor::{Interest, Reactor, Source};
use crate::wake::timers::Timers;
use adit_engine::netem::Link;
use adit_engine::{PortId, Sojourn};
use adit_packet::{Instant, Pool};
use std::collections::VecDeque;
use std::io;
use std::thread::JoinHandle;

/// The ports by their numbers. Each is found without a search, so a turn costs what is ready and not
/// what is there.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    slots: Vec<Option<Box<Slot>>>,
    /// Ports that have more although no descriptor is ready, each once.
    queue: VecDeque<PortId>,
    /// The deadlines of ports, of their emulated links and of their pauses.
    timers: Timers,
    /// Ports whose deadline the loop's owner may have changed.
    touched: Vec<PortId>,
    /// Ports that are not read until the sockets to peers have room.
    held: Vec<PortId>,
}

/// A port in its place.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) port: Box<dyn Port>,
    pub(crate) netem: PortNetem,
    pub(crate) counters: PortCounters,
    /// The IP MTU of the device behind it, as last reported.
    pub(crate) mtu: Option<u32>,
    /// The hub that it has joined.
    pub(crate) hub: Option<ListenerId>,
    pub(crate) backoff: Backoff,
    number: u32,
    /// What its descriptors are waited for.
    interest: Interest,
    is_queued: bool,
    /// It is not read until the sockets to peers have room.
    is_held: bool,
    pub(crate) ahead: Ahead,
    /// Whether what it brings has waited too long.
    sojourn: Sojourn,
    /// The next packet must be marked as congested, or dropped.
    pub(crate) congested: bool,
}

impl Slot {
    /// Ends the port, and gives all buffers back.
    pub(crate) fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        self.ahead.clear(pool);
        self.port.close(pool)
    }

    fn is_read(&self) -> bool {
        self.backoff.until().is_none() && !self.is_held
    }

    /// Notes that the port had nothing more at `now`, or that it had more than its share. A device does not report how
    /// long its packets have waited. So its queue stands if it was not empty for an interval.
    #[inline]
    pub(crate) fn drained(&mut self, now: Instant, is_empty: bool) {
        if is_empty {
            self.sojourn.rest();
        } else {
            self.congested |= self.sojourn.must_drop(now, LAW.target, LAW);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let own = if self.backoff.until().is_some() {
            self.backoff.until()
        } else {
            self.port.next_timeout()
        };
        own.into_iter().chain(self.netem.next_timeout()).min()
    }
}

impl Ports {
    #[inline]
    pub(crate) fn get(&self, id: PortId) -> Option<&Slot> {
        self.slots.get(usize::from(id.0))?.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: PortId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    /// The emulated link between a port and the engine.
    #[inline]
    pub(crate) fn ingress_link(&mut self, id: PortId) -> Option<&mut Link> {
        self.get_mut(id)?.netem.ingress.as_deref_mut()
    }

    /// The emulated link between the engine and a port.
    #[inline]
    pub(crate) fn egress_link(&mut self, id: PortId) -> Option<&mut Link> {
        self.get_mut(id)?.netem.egress.as_deref_mut()
    }

    /// All of them with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (PortId, &Slot)> {
        (0..=u16::MAX)
            .zip(&self.slots)
            .filter_map(|(id, slot)| Some((PortId(id), &**slot.as_ref()?)))
    }

    /// Waits for the descriptors of a port from now on.
    pub(crate) fn insert(
        &mut self,
        id: PortId,
        port: Box<dyn Port>,
        number: u32,
        reactor: &Reactor,
    ) -> io::Result<()> {
        let (source, mut added) = (Source::Port(u32::from(id.0), number), Ok(()));
        port.descriptors(&mut |fd, wait| {
            let interest = interest_in(wait, Interest::READ);
            if added.is_ok() {
                added = reactor.add(fd, source, interest);
            }
        });
        if let Err(error) = added {
            port.descriptors(&mut |fd, _| reactor.remove(fd));
            return Err(error);
        }
        let slot = Slot {
            mtu: port.mtu(),
            port,
            netem: PortNetem::default(),
            counters: PortCounters::default(),
            hub: None,
            backoff: Backoff::default(),
            number,
            interest: Interest::READ,
            is_queued: false,
            is_held: false,
            ahead: Ahead::default(),
            sojourn: Sojourn::default(),
            congested: false,
        };
        let index = usize::from(id.0);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(index) {
            *place = Some(Box::new(slot));
        }
        self.retime(id);
        Ok(())
    }

    /// Takes a port out; no longer waits for its descriptors.
    pub(crate) fn remove(&mut self, id: PortId, reactor: &Reactor) -> Option<Box<Slot>> {
        let slot = self.slots.get_mut(usize::from(id.0))?.take()?;
        slot.port.descriptors(&mut |fd, _| reactor.remove(fd));
        self.timers.set(u32::from(id.0), None);
        if slot.is_queued {
            self.queue.retain(|&queued| queued != id);
        }
        if slot.is_held {
            self.held.retain(|&held| held != id);
        }
        Some(slot)
    }

    /// The port that an event belongs to; `None` if it is that of an earlier one with its number.
    #[inline]
    pub(crate) fn of_event(&mut self, index: u32, number: u32) -> Option<(PortId, &mut Slot)> {
        let id = PortId(u16::try_from(index).ok()?);
        let slot = self.get_mut(id)?;
        (slot.number == number).then_some((id, slot))
    }

    /// After a port was used: waits for what its descriptors must be waited for now, and until when.
    #[inline]
    pub(crate) fn settle(&mut self, id: PortId, reactor: &Reactor) -> io::Result<()> {
        let Some(slot) = self.get_mut(id) else { return Ok(()) };
        let interest = Interest { readable: slot.is_read(), writable: slot.port.wants_room() };
        let changed = if interest == slot.interest {
            Ok(())
        } else {
            slot.interest = interest;
            change(id, slot, reactor)
        };
        self.retime(id);
        changed
    }

    /// Notes the deadline of a port, which a call of it may have changed.
    #[inline]
    pub(crate) fn retime(&mut self, id: PortId) {
        let at = self.get(id).and_then(Slot::next_timeout);
        self.timers.set(u32::from(id.0), at);
    }

    /// Notes the deadline of a port at the next turn, after the owner has changed its links.
    pub(crate) fn touch(&mut self, id: PortId) {
        self.touched.push(id);
    }

    /// Notes the deadlines that the owner may have changed.
    #[inline]
    pub(crate) fn retime_touched(&mut self) {
        while let Some(id) = self.touched.pop() {
            self.retime(id);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Puts the ports whose deadline has come into `due`; each needs [`Self::retime`] afterwards.
    pub(crate) fn take_due(&mut self, now: Instant, due: &mut Vec<PortId>) {
        while let Some(key) = self.timers.pop_due(now) {
            due.extend(u16::try_from(key).map(PortId));
        }
    }

    /// Begins a turn of a port.
    #[inline]
    pub(crate) fn begin_turn(&mut self, id: PortId, has_peers: bool) {
        if let Some(slot) = self.get_mut(id) {
            slot.ahead.begin(&*slot.port, has_peers);
        }
    }

    /// Ends a turn of a port that may have more. `is_empty`: how long it was not empty does not matter.
    #[inline]
    pub(crate) fn end_turn(&mut self, id: PortId, now: Instant, is_empty: bool) {
        if let Some(slot) = self.get_mut(id) {
            slot.drained(now, is_empty);
            if slot.port.has_more() || slot.ahead.has_more() {
                self.serve_later(id);
            }
        }
        self.retime(id);
    }

    /// Serves a port in the next turn, whatever its descriptors say.
    pub(crate) fn serve_later(&mut self, id: PortId) {
        if let Some(slot) = self.get_mut(id)
            && !slot.is_queued
        {
            slot.is_queued = true;
            self.queue.push_back(id);
        }
    }

    /// Does not read a port until [`Self::release`], from the next [`Self::settle`] on.
    pub(crate) fn hold(&mut self, id: PortId) {
        if let Some(slot) = self.get_mut(id)
            && !slot.is_held
        {
            slot.is_held = true;
            self.held.push(id);
        }
    }

    /// Reads the ports again that were not read.
    pub(crate) fn release(&mut self, reactor: &Reactor) {
        while let Some(id) = self.held.pop() {
            if let Some(slot) = self.get_mut(id) {
                slot.is_held = false;
                // A failure shows when the port is served.
                let _ = self.settle(id, reactor);
                self.serve_later(id);
            }
        }
    }

    /// How many ports have more.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next port that has more.
    pub(crate) fn pop_queued(&mut self) -> Option<PortId> {
        let id = self.queue.pop_front()?;
        if let Some(slot) = self.get_mut(id) {
            slot.is_queued = false;
        }
        Some(id)
    }
}

fn interest_in(wait: Wait, of_port: Interest) -> Interest {
    Interest {
        readable: of_port.readable && wait.reads(),
        writable: of_port.writable && wait.writes(),
    }
}

fn change(id: PortId, slot: &Slot, reactor: &Reactor) -> io::Result<()> {
    let (source, mut changed) = (Source::Port(u32::from(id.0), slot.number), Ok(()));
    slot.port.descriptors(&mut |fd, wait| {
        let result = reactor.change(fd, source, interest_in(wait, slot.interest));
        if changed.is_ok() {
            changed = result;
        }
    });
    changed
}
