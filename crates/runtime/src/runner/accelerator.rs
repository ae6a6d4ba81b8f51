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
use adit_device::{IfIndex, Netns};
use adit_engine::fast_path::{self, FastChange, Passed, Station, StationKey};
use adit_engine::{Engine, PortId};
use adit_fastpath::{Attached, Counters, Entry, Hook, Ingress, SLOTS_MAX, Table};
use adit_packet::Instant;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

/// The system calls of tables that are there: maps are read and written; the sockets of ports get other filters.
pub const SYSCALLS: &[&str] = &["bpf", "setsockopt"];

/// The most addresses of a table: 16 MiB of memory, if all are in use.
const ADDRESSES_MAX: u32 = 1 << 16;

/// How often the kernel's table is read while there is something in it; at least eight times while an
/// address ages.
const INTERVAL: Duration = Duration::from_secs(1);

/// The length of an Ethernet header.
const HEADER_LEN: u32 = 14;

/// What the kernel forwards for a loop; nothing if it was not asked to.
#[derive(Debug, Default)]
pub(crate) struct Accelerator {
    kernel: Option<Box<Kernel>>,
    pub(crate) hook: Hook,
}

/// The part of it in the kernel.
#[derive(Debug)]
struct Kernel {
    hook: Hook,
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
    /// Whether the engine handles each of its frames.
    is_handled: bool,
    /// What its filter was made of; without one it gets all frames.
    rules: Option<fast_path::FastPort>,
    link: Option<Attached>,
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
    /// Whether what is at the interfaces must be removed at the end, which needs `CAP_NET_ADMIN` (before Linux 6.6).
    pub needs_rights: bool,
    /// The other ports that are interfaces, and why not.
    pub left_out: Vec<(PortId, LeftOut)>,
    /// How many frames it has forwarded, as of the last [`Runner::sync`](crate::Runner::sync).
    pub frames: u64,
}

/// Why the kernel does not forward from and to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// No other port is an interface of its network namespace. A program cannot send a frame out of an interface of
    /// another one.
    Alone,
    /// There is an emulated link between port and engine.
    EmulatedLink,
    /// The engine handles each of its frames, as for a guard of addresses or a copy.
    Engine,
    /// The kernel did not take the programs.
    Failed,
}

impl Accelerator {
    /// Begins with the ports that there are, or ends.
    pub(crate) fn set(&mut self, on: bool, engine: &mut impl Engine, ports: &Ports) {
        if on == self.kernel.is_some() {
            return;
        }
        if on {
            self.kernel = Some(Box::new(Kernel::new(self.hook)));
            ports.numbered().for_each(|(id, slot)| self.add(id, slot, engine));
        } else if let (Some(mut kernel), Some(engine)) = (self.kernel.take(), engine.fast_path()) {
            for (id, slot) in ports.numbered() {
                kernel.remove(id, &*slot.port);
                engine.set_port(id, false);
            }
        }
    }

    pub(crate) fn state(&self) -> Option<Acceleration<'_>> {
        let kernel = self.kernel.as_deref()?;
        let (mut ports, mut left_out) = (Vec::new(), Vec::new());
        for (id, member) in &kernel.members {
            match kernel.left_out(member) {
                Some(why) => left_out.push((*id, why)),
                None => ports.push(*id),
            }
        }
        let Kernel { failure, frames, .. } = kernel;
        let mut links = kernel.members.values().filter_map(|member| member.link.as_ref());
        let needs_rights = links.any(Attached::needs_rights);
        let (failure, frames) = (failure.as_ref(), *frames);
        Some(Acceleration { failure, ports, needs_rights, left_out, frames })
    }

    pub(crate) fn next_sync(&self) -> Option<Instant> {
        self.kernel.as_ref()?.next_sync
    }

    /// Takes a port in, if the kernel can forward for it.
    pub(crate) fn add(&mut self, id: PortId, slot: &Slot, engine: &mut impl Engine) {
        if let (Some(kernel), Some(engine)) = (&mut self.kernel, engine.fast_path()) {
            let added = kernel.add(id, slot, engine);
            kernel.set_netem(id, &slot.netem, engine);
            kernel.note(added);
        }
    }

    /// Takes a port out. What it has forwarded must have been read ([`Self::sync`]).
    pub(crate) fn remove(&mut self, id: PortId, port: &dyn Port) {
        self.kernel.iter_mut().for_each(|kernel| kernel.remove(id, port));
    }

    /// Frames of a port with an emulated link do not pass by it.
    pub(crate) fn set_netem(&mut self, id: PortId, netem: &PortNetem, engine: &mut impl Engine) {
        if let (Some(kernel), Some(engine)) = (&mut self.kernel, engine.fast_path()) {
            kernel.set_netem(id, netem, engine);
        }
    }

    /// The interface of a port has another MTU.
    pub(crate) fn resize(
        &mut self,
        id: PortId,
        mtu: u32,
        now: Instant,
        engine: &mut impl Engine,
        ports: &mut Ports,
    ) {
        ports.get_mut(id).into_iter().for_each(|slot| slot.mtu = Some(mtu));
        if let (Some(kernel), Some(engine)) = (&mut self.kernel, engine.fast_path())
            && let Some(member) = kernel.members.get_mut(&id)
            && member.len_max != len_max(mtu)
        {
            member.len_max = len_max(mtu);
            member.declare_again(id, engine);
            kernel.apply(now, engine, ports);
        }
    }

    /// Brings the kernel to what the engine declares now.
    #[inline]
    pub(crate) fn apply(&mut self, now: Instant, engine: &mut impl Engine, ports: &Ports) {
        if let (Some(kernel), Some(engine)) = (&mut self.kernel, engine.fast_path()) {
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
        if let (Some(kernel), Some(engine)) = (&mut self.kernel, engine.fast_path()) {
            kernel.report_counts(engine, ports);
            kernel.report_seen(now, engine);
        }
    }
}

impl Kernel {
    fn new(hook: Hook) -> Self {
        Self {
            hook,
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
        slot: &Slot,
        engine: &mut dyn fast_path::FastPath,
    ) -> io::Result<()> {
        let (Some(PortLink::Interface(link, netns)), Some(mtu)) = (slot.port.link(), slot.mtu)
        else {
            return Ok(());
        };
        if slot.port.packet_socket().is_none() {
            return Ok(());
        }
        let index = link.index().map_err(io::Error::other)?;
        let table = self.table_of(netns)?;
        let slot = self.slot_in(table, id).ok_or_else(|| io::Error::other("too many ports"))?;
        let member = Member {
            table,
            slot,
            index,
            len_max: len_max(mtu),
            is_direct: true,
            is_handled: false,
            rules: None,
            link: None,
            reported: self.counters_of(table, slot),
        };
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

    /// Why frames of a port do not pass by it.
    fn left_out(&self, member: &Member) -> Option<LeftOut> {
        match member {
            _ if self.count_of(member.table) < 2 => Some(LeftOut::Alone),
            Member { link: None, .. } => Some(LeftOut::Failed),
            Member { is_direct: false, .. } => Some(LeftOut::EmulatedLink),
            Member { is_handled: true, .. } => Some(LeftOut::Engine),
            _ => None,
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
            let rules = engine.port(*id);
            member.is_handled = rules.is_none();
            if member.rules.is_some()
                && member.rules != rules
                && let Err(error) = member.decide(*id, rules, tables, ports)
            {
                failure.get_or_insert(error);
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
                member.declare_again(*id, engine);
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

    /// How many ports are in a namespace.
    fn count_of(&self, table: usize) -> usize {
        self.members.values().filter(|member| member.table == table).count()
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
        if self.count_of(table) < 2 {
            return Ok(());
        }
        let hook = self.hook;
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
                member.link = Some(path.link(netns, member.index, hook)?);
                engine.set_port(*id, member.is_direct);
            }
        }
        Ok(())
    }
}

impl Member {
    /// Lets the engine begin another epoch, in which it declares all addresses again.
    fn declare_again(&self, id: PortId, engine: &mut dyn fast_path::FastPath) {
        engine.set_port(id, false);
        engine.set_port(id, self.is_direct && self.link.is_some());
    }

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

/// The longest frame without VLAN tag.
const fn len_max(mtu: u32) -> u32 {
    mtu.saturating_add(HEADER_LEN)
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
