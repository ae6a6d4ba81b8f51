//! The links of namespaces in which there are ports: up, down, resized, deleted, moved.
//!
//! One netlink socket a namespace, while there are ports in it. It reports changes by the index of the
//! interface; the owner of the ports acts on them, and asks the kernel where an event was lost.

use crate::wake::reactor::{Interest, Reactor, Source};
use adit_device::netlink::{Event as Change, LinkFlags, LinkInfo, Monitor};
use adit_device::{IfIndex, Netns};
use adit_engine::PortId;
use adit_packet::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// The system calls of this file: netlink sockets that are open.
pub(crate) const SYSCALLS: &[&str] = &["recvfrom", "sendto"];

/// How many events are taken in one turn; the others stay readable.
const EVENTS_MAX: usize = 64;

/// How long after a query or a netlink socket failed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The namespaces that are watched, and the state of each port's link.
#[derive(Debug, Default)]
pub(crate) struct Links {
    places: Vec<Option<Namespace>>,
    /// The places by inode number.
    by_inode: BTreeMap<u64, u32>,
    /// The place of each port that is followed.
    of_port: BTreeMap<PortId, u32>,
    /// Ports whose link is asked for once more, for the last query failed.
    unknown: BTreeSet<PortId>,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Namespace {
    monitor: Monitor,
    inode: u64,
    number: u32,
    ports: BTreeMap<PortId, Followed>,
    by_index: BTreeMap<IfIndex, BTreeSet<PortId>>,
}

#[derive(Clone, Copy, Debug)]
struct Followed {
    index: IfIndex,
    is_up: bool,
    mtu: u32,
}

/// What happened to the link of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkChange {
    /// It went up or down.
    State(PortId, bool),
    /// Its MTU is this now.
    Mtu(PortId, u32),
    /// It is no longer in its namespace: moved to another one, or deleted.
    Left { id: PortId, is_moved: bool },
    /// Events were lost: its state must be asked for.
    Unknown(PortId),
}

/// Whether packets can pass.
pub(crate) fn is_up(info: &LinkInfo) -> bool {
    info.flags.contains(LinkFlags::UP | LinkFlags::LOWER_UP)
}

impl Links {
    /// Opens the netlink socket of a namespace unless it is open, before the state of a link is asked
    /// for: a change between the two is not missed.
    pub(crate) fn open(
        &mut self,
        netns: &Netns,
        reactor: &Reactor,
        number: u32,
    ) -> io::Result<u32> {
        let inode = netns.inode()?;
        if let Some(&place) = self.by_inode.get(&inode) {
            return Ok(place);
        }
        let monitor = Monitor::open_in(netns)?;
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let place = u32::try_from(free).unwrap_or(u32::MAX);
        reactor.add(&monitor, Source::Links(place, number), Interest::READ)?;
        let (ports, by_index) = (BTreeMap::new(), BTreeMap::new());
        let namespace = Namespace { monitor, inode, number, ports, by_index };
        match self.places.get_mut(free) {
            Some(place) => *place = Some(namespace),
            None => self.places.push(Some(namespace)),
        }
        self.by_inode.insert(inode, place);
        Ok(place)
    }

    /// Follows the link of a port in an open namespace.
    pub(crate) fn follow(&mut self, place: u32, id: PortId, info: &LinkInfo) {
        let Some(namespace) = self.place_mut(place) else { return };
        let followed = Followed { index: info.index, is_up: is_up(info), mtu: info.mtu };
        namespace.ports.insert(id, followed);
        namespace.by_index.entry(info.index).or_default().insert(id);
        self.of_port.insert(id, place);
        self.unknown.remove(&id);
    }

    /// No longer follows the link of a port; whether it was up.
    pub(crate) fn unfollow(&mut self, id: PortId, reactor: &Reactor) -> Option<bool> {
        self.unknown.remove(&id);
        let place = self.of_port.remove(&id)?;
        let namespace = self.place_mut(place)?;
        let followed = namespace.ports.remove(&id)?;
        if let Some(ids) = namespace.by_index.get_mut(&followed.index) {
            ids.remove(&id);
            if ids.is_empty() {
                namespace.by_index.remove(&followed.index);
            }
        }
        self.close_if_empty(place, reactor);
        Some(followed.is_up)
    }

    /// Closes the netlink socket of a namespace without ports.
    pub(crate) fn close_if_empty(&mut self, place: u32, reactor: &Reactor) {
        if self.place_mut(place).is_some_and(|namespace| namespace.ports.is_empty()) {
            self.close(place, reactor);
        }
    }

    fn close(&mut self, place: u32, reactor: &Reactor) -> Option<Namespace> {
        let namespace = self.places.get_mut(index(place))?.take()?;
        reactor.remove(&namespace.monitor);
        self.by_inode.remove(&namespace.inode);
        Some(namespace)
    }

    /// Notes the state of a link that was asked for; what of it is news.
    pub(crate) fn note(&mut self, id: PortId, info: &LinkInfo) -> Vec<LinkChange> {
        self.unknown.remove(&id);
        let mut changes = Vec::new();
        if let Some(&place) = self.of_port.get(&id)
            && let Some(namespace) = self.place_mut(place)
            && let Some(followed) = namespace.ports.get_mut(&id)
        {
            followed.note(id, info, &mut changes);
        }
        changes
    }

    /// A query failed for a reason that may pass: it is repeated at [`Self::next_retry`].
    pub(crate) fn ask_again(&mut self, id: PortId, now: Instant) {
        self.unknown.insert(id);
        self.retry_at.get_or_insert(now + RETRY_AFTER);
    }

    /// When [`Self::take_unknown`] has something.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The ports whose links must be asked for now.
    pub(crate) fn take_unknown(&mut self, now: Instant) -> Vec<PortId> {
        if self.retry_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.retry_at = None;
        self.unknown.iter().copied().collect()
    }

    /// Reads what happened in one namespace.
    pub(crate) fn read(
        &mut self,
        place: u32,
        number: u32,
        reactor: &Reactor,
        now: Instant,
    ) -> Vec<LinkChange> {
        let mut changes = Vec::new();
        for _ in 0..EVENTS_MAX {
            let Some(namespace) = self.place_mut(place).filter(|n| n.number == number) else {
                break;
            };
            match namespace.monitor.recv(Some(Duration::ZERO)) {
                Ok(Some(Change::LinkChanged(info))) => namespace.changed(&info, &mut changes),
                Ok(Some(Change::LinkRemoved(info))) => {
                    let ids = namespace.by_index.get(&info.index).into_iter().flatten();
                    let is_moved = info.is_moved;
                    changes.extend(ids.map(|&id| LinkChange::Left { id, is_moved }));
                }
                Ok(Some(Change::Lost)) => {
                    changes.extend(namespace.ports.keys().map(|&id| LinkChange::Unknown(id)));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.reopen_later(place, reactor, now);
                    break;
                }
            }
        }
        changes
    }

    /// A netlink socket failed: a new one after a while, and the links are asked for then.
    fn reopen_later(&mut self, place: u32, reactor: &Reactor, now: Instant) {
        let Some(namespace) = self.close(place, reactor) else { return };
        for &id in namespace.ports.keys() {
            self.of_port.remove(&id);
            self.ask_again(id, now);
        }
    }

    /// Whether the link of a port is followed.
    pub(crate) fn follows(&self, id: PortId) -> bool {
        self.of_port.contains_key(&id)
    }

    fn place_mut(&mut self, place: u32) -> Option<&mut Namespace> {
        self.places.get_mut(index(place))?.as_mut()
    }
}

impl Namespace {
    fn changed(&mut self, info: &LinkInfo, changes: &mut Vec<LinkChange>) {
        let Some(ids) = self.by_index.get(&info.index) else { return };
        for id in ids {
            if let Some(followed) = self.ports.get_mut(id) {
                followed.note(*id, info, changes);
            }
        }
    }
}

impl Followed {
    fn note(&mut self, id: PortId, info: &LinkInfo, changes: &mut Vec<LinkChange>) {
        let before = *self;
        (self.is_up, self.mtu) = (is_up(info), info.mtu);
        if self.mtu != before.mtu {
            changes.push(LinkChange::Mtu(id, self.mtu));
        }
        if self.is_up != before.is_up {
            changes.push(LinkChange::State(id, self.is_up));
        }
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}
