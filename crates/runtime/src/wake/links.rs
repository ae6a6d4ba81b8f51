//! The links of namespaces in which there are ports: up, down, deleted.

use crate::event::{Event, Gone, Interest};
use crate::runner::Runner;
use crate::wake::clock;
use crate::wake::reactor::Source;
use adit_device::netlink::{Event as Change, LinkFlags, LinkInfo, Monitor};
use adit_device::{IfIndex, Netns};
use adit_engine::{Engine, PortId};
use std::io;
use std::time::Duration;

/// How many events are taken in one turn; the others stay readable.
const EVENTS_MAX: usize = 64;

/// One namespace, while there are ports in it.
pub struct Links {
    monitor: Monitor,
    netns: Netns,
    number: u32,
    ports: Vec<LinkedPort>,
}

struct LinkedPort {
    id: PortId,
    index: IfIndex,
    is_up: bool,
}

/// Whether packets can pass.
fn is_up(info: &LinkInfo) -> bool {
    info.flags.contains(LinkFlags::UP | LinkFlags::LOWER_UP)
}

impl<E: Engine> Runner<E> {
    /// Listens for what happens to the link of a port, which `was_up` as far as the owner knows.
    /// Where that is not allowed, nothing is told but that it is gone.
    pub fn follow_link(&mut self, id: PortId, was_up: bool) -> io::Result<()> {
        let Some((port, _)) = self.port(id) else { return Ok(()) };
        let Some(netns) = port.netns() else { return Ok(()) };
        let place = self.links.iter().position(|links| {
            links.as_ref().is_some_and(|links| links.netns.is_same(&netns).unwrap_or(false))
        });
        let place = match place {
            Some(place) => place,
            None => self.open_links(netns)?,
        };
        // After the monitor was opened: nothing falls between.
        let Some(Ok(info)) = self.port(id).and_then(|(port, _)| port.link_info()) else {
            return Ok(());
        };
        let port = LinkedPort { id, index: info.index, is_up: is_up(&info) };
        if port.is_up != was_up {
            self.events.push_back(state(&port));
        }
        if let Some(Some(links)) = self.links.get_mut(place) {
            links.ports.push(port);
        }
        Ok(())
    }

    fn open_links(&mut self, netns: Netns) -> io::Result<usize> {
        let monitor = Monitor::open_in(&netns)?;
        let place = self.links.iter().position(Option::is_none).unwrap_or(self.links.len());
        let number = self.next_number();
        let source = Source::Links(u16::try_from(place).unwrap_or(u16::MAX), number);
        self.reactor.add(&monitor, source, Interest { readable: true, writable: false })?;
        let links = Links { monitor, netns, number, ports: Vec::new() };
        match self.links.get_mut(place) {
            Some(free) => *free = Some(links),
            None => self.links.push(Some(links)),
        }
        Ok(place)
    }

    /// A port was detached.
    pub fn unfollow_link(&mut self, id: PortId) {
        for place in &mut self.links {
            let Some(links) = place else { continue };
            links.ports.retain(|port| port.id != id);
            if links.ports.is_empty() {
                self.reactor.remove(&links.monitor);
                *place = None;
            }
        }
    }

    /// Takes what happened in one namespace.
    pub fn read_links(&mut self, place: u16, number: u32) {
        let place = usize::from(place);
        for _ in 0..EVENTS_MAX {
            let Some(Some(links)) = self.links.get_mut(place) else { return };
            if links.number != number {
                return;
            }
            match links.monitor.recv(Some(Duration::ZERO)) {
                Ok(Some(Change::LinkChanged(info))) => {
                    let ports = links.ports.iter_mut().filter(|port| port.index == info.index);
                    for port in ports.filter(|port| port.is_up != is_up(&info)) {
                        port.is_up = is_up(&info);
                        self.events.push_back(state(port));
                    }
                }
                Ok(Some(Change::LinkRemoved(info))) => self.check_links(place, Some(info.index)),
                Ok(Some(Change::Lost)) => self.check_links(place, None),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.reopen_links(place),
            }
        }
    }

    /// Asks for the links of one namespace, or for one of them, which may be gone or elsewhere.
    fn check_links(&mut self, place: usize, only: Option<IfIndex>) {
        let Some(Some(links)) = self.links.get(place) else { return };
        let asked = links.ports.iter().filter(|port| only.is_none_or(|index| index == port.index));
        let ids: Vec<PortId> = asked.map(|port| port.id).collect();
        for id in ids {
            self.check_link(place, id, only.is_some());
        }
    }

    /// `was_removed`: it is not in this namespace any more; a device may have been moved.
    fn check_link(&mut self, place: usize, id: PortId, was_removed: bool) {
        let Some((port, _)) = self.port(id) else { return };
        let info = match port.link_info() {
            Some(Ok(info)) if !was_removed || port.follows_moves() => info,
            _ => return self.end(id, Gone::Deleted),
        };
        if was_removed {
            // The monitor of this namespace may go with it.
            let was_up =
                self.links.get(place).and_then(Option::as_ref).is_some_and(|links| {
                    links.ports.iter().any(|port| port.id == id && port.is_up)
                });
            self.unfollow_link(id);
            let _ = self.follow_link(id, was_up);
            return;
        }
        if let Some(Some(links)) = self.links.get_mut(place)
            && let Some(port) = links.ports.iter_mut().find(|port| port.id == id)
            && port.is_up != is_up(&info)
        {
            port.is_up = is_up(&info);
            self.events.push_back(state(port));
        }
    }

    /// A netlink socket failed, of which no case is known: a new one, or none.
    fn reopen_links(&mut self, place: usize) {
        let Some(links) = self.links.get_mut(place).and_then(Option::take) else { return };
        self.reactor.remove(&links.monitor);
        for port in links.ports {
            let _ = self.follow_link(port.id, port.is_up);
        }
    }

    /// Looks whether the names of the ports' namespaces still mean them, from time to time.
    pub fn check_namespaces(&mut self) {
        let due = self.namespace_check.is_some_and(|at| at <= self.now);
        if !due {
            return;
        }
        let mut is_any = false;
        for index in 0..self.slots.len() {
            let slot = self.slots.get(index).and_then(Option::as_ref);
            let Some(name) = slot.and_then(|slot| slot.port.namespace()) else { continue };
            is_any = true;
            if !name.is_valid() {
                self.end(PortId(u16::try_from(index).unwrap_or(u16::MAX)), Gone::NamespaceDeleted);
            }
        }
        self.namespace_check = is_any.then(|| clock::now() + crate::wake::namespaces::PERIOD);
    }
}

fn state(port: &LinkedPort) -> Event {
    if port.is_up { Event::PortUp(port.id) } else { Event::PortDown(port.id) }
}
