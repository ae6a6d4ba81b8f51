//! Frames that the kernel forwards in the engine's stead: what the engine declares is put into a table of the
//! kernel, and what the kernel did is reported to the engine.
//!
//! ```text
//! engine --epoch, stations--> Accelerator --table, filters--> kernel, one table for each namespace
//!        <--last seen, counts--                <--times, counters--
//! ```
//!
//! The loop calls [`Accelerator::apply`] before it sends anything of the engine, and [`Accelerator::sync`] once
//! a second and before counters are read. A namespace has a table while two ports or more are in it.

use crate::netem::PortNetem;
use crate::port::{Port, PortLink};
use crate::runner::ports::{Ports, Slot};
use adit_device::bpf::IngressLink;
use adit_device::{IfIndex, Netns};
use adit_engine::fast_path::{self, FastChange, Passed, Station, StationKey};
use adit_engine::{Engine, PortId};
use adit_fastpath::{Counters, Entry, Ingress, SLOTS_MAX, Table};
use adit_packet::Instant;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

/// The system calls of tables that are there: maps are read and written; the sockets of ports get other filters.
pub(crate) const SYSCALLS: &[&str] = &["bpf", "setsockopt"];

/// The most addresses of a table: 16 MiB of memory, if all are in use.
const ADDRESSES_MAX: u32 = 1 << 16;

/// How often the kernel's table is read while there is something in it; at least eight times while an
/// address ages.
const INTERVAL: Duration = Duration::from_secs(1);

/// The length of an Ethernet header.
const HEADER_LEN: u32 = 14;

/// What the kernel forwards for a loop; nothing if it was not asked to.
#[derive(Debug, Default)]
pub(crate) struct Accelerator(Option<Box<Kernel>>);

/// The part of it in the kernel.
#[derive(Debug)]
struct Kernel {
    tables: Vec<Namespace>,
    members: BTreeMap<PortId, Member>,
    /// That of the engine, as the kernel knows it.
    epoch: u64,
    next_sync: Option<Instant>,
    interval: Duration,
    /// From `CLOCK_MONOTONIC`, the kernel's, to the clock of the loop: the time that the machine has slept.
    slept: Duration,
    failure: Option<io::Error>,
    /// How many frames were reported to the engine.
    frames: u64,
    /// Entries of earlier epochs, to be removed.
    stale: Vec<StationKey>,
}

/// A namespace and its table.
#[derive(Debug)]
struct Namespace {
    netns: Netns,
    path: Option<Table>,
    slots: Vec<Option<PortId>>,
    /// Where the next page begins.
    place: Option<u32>,
}

/// A port that may be passed by.
#[derive(Debug)]
struct Member {
    table: usize,
    slot: u16,
    index: IfIndex,
    len_max: u32,
    /// Whether there is no emulated link between port and engine.
    is_direct: bool,
    /// What its filter was made of; without one it gets all frames.
    rules: Option<fast_path::FastPort>,
    link: Option<IngressLink>,
    /// What was reported to the engine.
    reported: Counters,
}

/// Whether a kernel forwards frames for a loop.
#[derive(Debug)]
pub struct Acceleration<'a> {
    /// Why it does not, or not all that it could.
    pub failure: Option<&'a io::Error>,
    /// The ports between which it may.
    pub ports: Vec<PortId>,
    /// How many frames it has forwarded, as of the last [`Runner::sync`](crate::Runner::sync).
    pub frames: u64,
}

impl Accelerator {
    /// Begins with the ports that there are, or ends.
    pub(crate) fn set(&mut self, on: bool, engine: &mut impl Engine, ports: &Ports) {
        if on == self.0.is_some() {
            return;
        }
        if on {
            self.0 = Some(Box::new(Kernel::new()));
            ports.numbered().for_each(|(id, slot)| self.add(id, slot, engine));
        } else if let (Some(mut kernel), Some(engine)) = (self.0.take(), engine.fast_path()) {
            for (id, slot) in ports.numbered() {
                kernel.remove(id, &*slot.port);
                engine.set_port(id, false);
            }
        }
    }

    pub(crate) fn state(&self) -> Option<Acceleration<'_>> {
        let Kernel { members, failure, frames, .. } = self.0.as_deref()?;
        let linked = members.iter().filter(|(_, member)| member.link.is_some());
        let ports = linked.map(|(id, _)| *id).collect();
        Some(Acceleration { failure: failure.as_ref(), ports, frames: *frames })
    }

    pub(crate) fn next_sync(&self) -> Option<Instant> {
        self.0.as_ref()?.next_sync
    }

    /// Takes a port in, if the kernel can forward for it.
    pub(crate) fn add(&mut self, id: PortId, slot: &Slot, engine: &mut impl Engine) {
        if let (Some(kernel), Some(engine)) = (&mut self.0, engine.fast_path()) {
            let added = kernel.add(id, &*slot.port, engine);
            kernel.set_netem(id, &slot.netem, engine);
            kernel.note(added);
        }
    }

    /// Takes a port out. What it has forwarded must have been read ([`Self::sync`]).
    pub(crate) fn remove(&mut self, id: PortId, port: &dyn Port) {
        self.0.iter_mut().for_each(|kernel| kernel.remove(id, port));
    }

    /// Frames of a port with an emulated link do not pass by it.
    pub(crate) fn set_netem(&mut self, id: PortId, netem: &PortNetem, engine: &mut impl Engine) {
        if let (Some(kernel), Some(engine)) = (&mut self.0, engine.fast_path()) {
            kernel.set_netem(id, netem, engine);
        }
    }

    /// Brings the kernel to what the engine declares now.
    #[inline]
    pub(crate) fn apply(&mut self, now: Instant, engine: &mut impl Engine, ports: &Ports) {
        if let (Some(kernel), Some(engine)) = (&mut self.0, engine.fast_path()) {
            kernel.apply(now, engine, ports);
        }
    }

    /// As [`Self::sync`], if it is time to.
    pub(crate) fn run_due(&mut self, now: Instant, engine: &mut impl Engine, ports: &mut Ports) {
        if self.next_sync().is_some_and(|at| at <= now) {
            self.sync(now, engine, ports);
        }
    }

    /// Reports to the engine what the kernel has forwarded and, if it is time, addresses that it has seen.
    pub(crate) fn sync(&mut self, now: Instant, engine: &mut impl Engine, ports: &mut Ports) {
        if let (Some(kernel), Some(engine)) = (&mut self.0, engine.fast_path()) {
            kernel.report_counts(engine, ports);
            kernel.report_seen(now, engine);
        }
    }
}

impl Kernel {
    fn new() -> Self {
        Self {
            tables: Vec::new(),
            members: BTreeMap::new(),
            epoch: 0,
            next_sync: None,
            interval: INTERVAL,
            slept: slept(),
            failure: None,
            frames: 0,
            stale: Vec::with_capacity(1024),
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    fn add(
        &mut self,
        id: PortId,
        port: &dyn Port,
        engine: &mut dyn fast_path::FastPath,
    ) -> io::Result<()> {
        let (Some(PortLink::Interface(link, netns)), Some(mtu)) = (port.link(), port.mtu()) else {
            return Ok(());
        };
        if port.packet_socket().is_none() {
            return Ok(());
        }
        let index = link.index().map_err(io::Error::other)?;
        let table = self.table_of(netns)?;
        let slot = self.slot_in(table, id).ok_or_else(|| io::Error::other("too many ports"))?;
        let len_max = mtu.saturating_add(HEADER_LEN);
        let reported = self.counters_of(table, slot);
        let (rules, link, is_direct) = (None, None, true);
        let member = Member { table, slot, index, len_max, is_direct, rules, link, reported };
        self.members.insert(id, member);
        self.link_all(table, engine)
    }

    fn remove(&mut self, id: PortId, port: &dyn Port) {
        let Some(member) = self.members.remove(&id) else { return };
        if let (Some(_), Some(socket)) = (member.rules, port.packet_socket()) {
            // First, so that no frame is marked any more; its socket is about to be closed anyway.
            let _ = Table::undecide(socket);
        }
        let table = self.tables.get_mut(member.table);
        if let Some(slot) = table.and_then(|table| table.slots.get_mut(usize::from(member.slot))) {
            *slot = None;
        }
    }

    fn set_netem(&mut self, id: PortId, netem: &PortNetem, engine: &mut dyn fast_path::FastPath) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.is_direct = netem.ingress.is_none() && netem.egress.is_none();
        engine.set_port(id, member.is_direct && member.link.is_some());
    }

    #[inline]
    fn apply(&mut self, now: Instant, engine: &mut dyn fast_path::FastPath, ports: &Ports) {
        if engine.epoch() != self.epoch {
            self.renew(engine, ports);
        }
        while let Some(change) = engine.next_change() {
            match change {
                FastChange::Declare(station) => self.declare(now, &station, engine, ports),
                FastChange::Withdraw(key) => self.withdraw(key),
            }
        }
    }

    /// Another epoch: voids all that is in the kernel, and fits the filters to the ports as they are now.
    #[cold]
    fn renew(&mut self, engine: &mut dyn fast_path::FastPath, ports: &Ports) {
        self.epoch = engine.epoch();
        self.interval = INTERVAL;
        for path in self.tables.iter().filter_map(|table| table.path.as_ref()) {
            if let Err(error) = path.set_epoch(self.epoch) {
                self.failure.get_or_insert(error);
            }
        }
        let (tables, failure) = (&self.tables, &mut self.failure);
        for (id, member) in &mut self.members {
            if member.rules.is_some() && member.rules != engine.port(*id) {
                let rules = engine.port(*id);
                if let Err(error) = member.decide(*id, rules, tables, ports) {
                    failure.get_or_insert(error);
                }
            }
        }
    }

    #[cold]
    fn declare(
        &mut self,
        now: Instant,
        station: &Station,
        engine: &mut dyn fast_path::FastPath,
        ports: &Ports,
    ) {
        let Some(member) = self.members.get_mut(&station.port) else { return };
        let Some(rules) = engine.port(station.port) else { return };
        let table = self.tables.get(member.table);
        let Some(path) = table.and_then(|table| table.path.as_ref()) else { return };
        let decided = match member.rules {
            Some(_) => Ok(()),
            None => member.decide(station.port, Some(rules), &self.tables, ports),
        };
        let entry = Entry {
            station: *station,
            rules,
            epoch: self.epoch,
            seen: station.seen.since_origin().saturating_sub(self.slept),
            index: member.index,
            slot: member.slot,
            len_max: member.len_max,
        };
        match decided.and_then(|()| path.insert(&entry)) {
            // The table is full: the engine forwards for this address.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::TOOBIG) => {}
            Err(error) => self.note(Err(error)),
            Ok(()) => {
                let eighth = station.lifetime.map_or(INTERVAL, |lifetime| lifetime / 8);
                self.interval = self.interval.min(eighth);
                self.next_sync.get_or_insert(now + self.interval);
            }
        }
    }

    #[cold]
    fn withdraw(&mut self, key: StationKey) {
        for path in self.tables.iter().filter_map(|table| table.path.as_ref()) {
            if let Err(error) = path.remove(key) {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn report_counts(&mut self, engine: &mut dyn fast_path::FastPath, ports: &mut Ports) {
        let (members, frames) = (&mut self.members, &mut self.frames);
        for Namespace { path, slots, .. } in &mut self.tables {
            let Some(path) = path else { continue };
            let count = u16::try_from(slots.len()).unwrap_or(SLOTS_MAX);
            let read = path.counters(count, |slot, counters| {
                let Some(Some(id)) = slots.get(usize::from(slot)) else { return };
                let Some(member) = members.get_mut(id) else { return };
                let before = std::mem::replace(&mut member.reported, counters);
                let ingress = Passed {
                    frames: counters.ingress_frames.wrapping_sub(before.ingress_frames),
                    bytes: counters.ingress_bytes.wrapping_sub(before.ingress_bytes),
                };
                let egress = Passed {
                    frames: counters.egress_frames.wrapping_sub(before.egress_frames),
                    bytes: counters.egress_bytes.wrapping_sub(before.egress_bytes),
                };
                *frames += ingress.frames;
                engine.note_passed(*id, ingress, egress);
                if let Some(slot) = ports.get_mut(*id) {
                    slot.counters.received += ingress.frames;
                    slot.counters.received_bytes += ingress.bytes;
                    slot.counters.sent += egress.frames;
                    slot.counters.sent_bytes += egress.bytes;
                }
            });
            if let Err(error) = read {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Reads a page of each table; the next one at once, or the first one after the interval.
    fn report_seen(&mut self, now: Instant, engine: &mut dyn fast_path::FastPath) {
        if self.next_sync.is_none_or(|at| at > now) {
            return;
        }
        self.next_sync = None;
        let slept = slept();
        if slept.saturating_sub(self.slept) > Duration::from_millis(100) {
            // All addresses are older than the kernel takes them to be.
            self.slept = slept;
            if let Some((id, member)) = self.members.iter().find(|(_, member)| member.is_direct) {
                engine.set_port(*id, false);
                engine.set_port(*id, member.link.is_some());
            }
            return;
        }
        let (epoch, stale) = (self.epoch, &mut self.stale);
        for Namespace { path, place, .. } in &mut self.tables {
            let Some(path) = path else { continue };
            let mut found = false;
            let next = path.page(*place, |address| {
                found = true;
                if address.epoch == epoch {
                    let at = Instant::ZERO + (address.seen + slept);
                    engine.note_seen(address.key, address.port, at);
                } else {
                    stale.push(address.key);
                }
            });
            for key in stale.drain(..) {
                let _ = path.remove(key);
            }
            match next {
                Ok(next) => *place = next,
                Err(error) => drop(self.failure.get_or_insert(error)),
            }
            let at = match *place {
                Some(_) => Some(now),
                None => found.then_some(now + self.interval),
            };
            self.next_sync = self.next_sync.into_iter().chain(at).min();
        }
    }

    /// The table of a namespace, which may be a new one.
    fn table_of(&mut self, netns: &Netns) -> io::Result<usize> {
        for (at, table) in self.tables.iter().enumerate() {
            if table.netns.is_same(netns)? {
                return Ok(at);
            }
        }
        let netns = netns.try_clone()?;
        self.tables.push(Namespace { netns, path: None, slots: Vec::new(), place: None });
        Ok(self.tables.len() - 1)
    }

    fn slot_in(&mut self, table: usize, id: PortId) -> Option<u16> {
        let slots = &mut self.tables.get_mut(table)?.slots;
        let at = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        let slot = u16::try_from(at).ok().filter(|slot| *slot < SLOTS_MAX)?;
        if at == slots.len() {
            slots.push(None);
        }
        *slots.get_mut(at)? = Some(id);
        Some(slot)
    }

    /// What a slot has counted for the ports before.
    fn counters_of(&mut self, table: usize, slot: u16) -> Counters {
        let path = self.tables.get_mut(table).and_then(|table| table.path.as_mut());
        let mut found = Counters::default();
        if let Some(path) = path {
            let _ = path.counters(slot + 1, |_, counters| found = counters);
        }
        found
    }

    /// Links the ports of a table that are not linked, if there are two or more.
    fn link_all(&mut self, table: usize, engine: &mut dyn fast_path::FastPath) -> io::Result<()> {
        if self.members.values().filter(|member| member.table == table).count() < 2 {
            return Ok(());
        }
        let Some(Namespace { netns, path, .. }) = self.tables.get_mut(table) else { return Ok(()) };
        let path = match path {
            Some(path) => path,
            None => {
                let secret = RandomState::new().hash_one(0);
                let made = Table::new(ADDRESSES_MAX, secret)?;
                made.set_epoch(self.epoch)?;
                path.insert(made)
            }
        };
        for (id, member) in &mut self.members {
            if member.table == table && member.link.is_none() {
                member.link = Some(path.link(netns, member.index)?);
                engine.set_port(*id, member.is_direct);
            }
        }
        Ok(())
    }
}

impl Member {
    /// Lets frames that come in here be forwarded by these rules, or none.
    #[cold]
    fn decide(
        &mut self,
        id: PortId,
        rules: Option<fast_path::FastPort>,
        tables: &[Namespace],
        ports: &Ports,
    ) -> io::Result<()> {
        let socket = ports.get(id).and_then(|slot| slot.port.packet_socket());
        let path = tables.get(self.table).and_then(|table| table.path.as_ref());
        let (Some(socket), Some(path)) = (socket, path) else { return Ok(()) };
        match rules {
            Some(rules) => path.decide(socket, &Ingress { port: id, slot: self.slot, rules })?,
            None => Table::undecide(socket)?,
        }
        self.rules = rules;
        Ok(())
    }
}

/// How long the machine has slept since its start.
fn slept() -> Duration {
    let at = |clock| {
        let now = clock_gettime(clock);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
    };
    let running = at(ClockId::Monotonic);
    at(ClockId::Boottime).saturating_sub(running)
}
