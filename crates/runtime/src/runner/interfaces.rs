//! The kernel interfaces behind ports: up, down, deleted, moved, and the names of their namespaces.

use crate::port::{Gone, PortLink};
use crate::runner::event::Event;
use crate::runner::ports::Ports;
use crate::wake::links::{LinkChange, Links, is_up};
use crate::wake::namespaces::{NamespaceName, Namespaces};
use crate::wake::reactor::Reactor;
use adit_device::ErrorKind;
use adit_engine::PortId;
use adit_packet::Instant;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;

/// The links and namespaces of all ports.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    links: Links,
    namespaces: Namespaces,
}

/// What it needs of the loop, and where it reports.
pub(crate) struct InterfacesCx<'a> {
    pub(crate) now: Instant,
    /// A number for a netlink socket that is opened.
    pub(crate) number: u32,
    pub(crate) ports: &'a Ports,
    pub(crate) reactor: &'a Reactor,
    pub(crate) events: &'a mut VecDeque<Event>,
    /// The ports that have ended.
    pub(crate) ended: &'a mut Vec<(PortId, Gone)>,
    /// The ports whose MTU is another one now.
    pub(crate) resized: &'a mut Vec<(PortId, u32)>,
}

impl InterfacesCx<'_> {
    fn link(&self, id: PortId) -> Option<PortLink<'_>> {
        self.ports.get(id).and_then(|slot| slot.port.link())
    }

    fn end(&mut self, id: PortId, why: Gone) {
        self.ended.push((id, why));
    }
}

impl Interfaces {
    /// A port was attached, and its link is up as far as the owner knows.
    pub(crate) fn add(&mut self, id: PortId, cx: &mut InterfacesCx<'_>) {
        if let Some(name) = cx.ports.get(id).and_then(|slot| slot.port.namespace()) {
            self.namespaces.add(name, id, cx.now);
        }
        self.follow(id, true, cx);
    }

    /// A port was detached.
    pub(crate) fn remove(
        &mut self,
        id: PortId,
        namespace: Option<&NamespaceName>,
        reactor: &Reactor,
    ) {
        self.links.unfollow(id, reactor);
        if let Some(name) = namespace {
            self.namespaces.remove(name, id);
        }
    }

    /// When [`Self::run_due`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.links.next_retry().into_iter().chain(self.namespaces.next_check()).min()
    }

    /// Checks what must be checked now.
    pub(crate) fn run_due(&mut self, cx: &mut InterfacesCx<'_>) {
        for id in self.namespaces.lost(cx.now) {
            cx.end(id, Gone::NamespaceDeleted);
        }
        for id in self.links.take_unknown(cx.now) {
            self.check(id, cx);
        }
    }

    /// Reads the netlink socket of a namespace.
    pub(crate) fn read(&mut self, place: u32, number: u32, cx: &mut InterfacesCx<'_>) {
        for change in self.links.read(place, number, cx.reactor, cx.now) {
            self.changed(change, cx);
        }
    }

    fn changed(&mut self, change: LinkChange, cx: &mut InterfacesCx<'_>) {
        match change {
            LinkChange::State(id, true) => cx.events.push_back(Event::PortUp(id)),
            LinkChange::State(id, false) => cx.events.push_back(Event::PortDown(id)),
            LinkChange::Mtu(id, mtu) => cx.resized.push((id, mtu)),
            LinkChange::Unknown(id) => self.check(id, cx),
            LinkChange::Left { id, .. } if cx.link(id).is_some_and(|link| link.follows_moves()) => {
                // Deleted, or in another namespace.
                let was_up = self.links.unfollow(id, cx.reactor);
                self.follow(id, was_up.unwrap_or(true), cx);
            }
            LinkChange::Left { id, is_moved } => {
                cx.end(id, if is_moved { Gone::Moved } else { Gone::Deleted });
            }
        }
    }

    /// Follows the link of a port. Without permission, as in a sandbox, only a deletion is reported.
    fn follow(&mut self, id: PortId, was_up: bool, cx: &mut InterfacesCx<'_>) {
        let Some(link) = cx.link(id) else { return };
        let opened = link.netns().and_then(|netns| self.links.open(&netns, cx.reactor, cx.number));
        let place = match opened {
            Ok(place) => place,
            Err(error) if may_pass(&error) => return self.links.ask_again(id, cx.now),
            Err(_) => return,
        };
        // After the netlink socket was opened: no change falls between.
        match link.info() {
            Ok(info) => {
                self.links.follow(place, id, &info);
                self.changed(LinkChange::Mtu(id, info.mtu), cx);
                if is_up(&info) != was_up {
                    self.changed(LinkChange::State(id, !was_up), cx);
                }
            }
            Err(error) => {
                self.links.close_if_empty(place, cx.reactor);
                self.not_found(id, error.kind(), cx);
            }
        }
    }

    /// Asks for the state of a port's link.
    fn check(&mut self, id: PortId, cx: &mut InterfacesCx<'_>) {
        if !self.links.follows(id) {
            return self.follow(id, true, cx);
        }
        let Some(link) = cx.link(id) else { return };
        match link.info() {
            Ok(info) => {
                for change in self.links.note(id, &info) {
                    self.changed(change, cx);
                }
            }
            Err(error) => self.not_found(id, error.kind(), cx),
        }
    }

    /// Only the kernel's answer that there is no such interface ends a port: a query that failed for
    /// another reason is repeated.
    fn not_found(&mut self, id: PortId, why: ErrorKind, cx: &mut InterfacesCx<'_>) {
        match why {
            ErrorKind::NotFound | ErrorKind::DeviceGone => cx.end(id, Gone::Deleted),
            _ => self.links.ask_again(id, cx.now),
        }
    }
}

/// Whether an error is one of a shortage that may pass.
fn may_pass(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::INTR)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deletion_ends_a_port() -> io::Result<()> {
        let (mut interfaces, reactor, ports) =
            (Interfaces::default(), Reactor::new()?, Ports::default());
        let (mut events, mut ended, mut resized) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut cx = InterfacesCx {
            now: Instant::ZERO,
            number: 1,
            ports: &ports,
            reactor: &reactor,
            events: &mut events,
            ended: &mut ended,
            resized: &mut resized,
        };
        for why in [ErrorKind::Other, ErrorKind::Limit, ErrorKind::NotPermitted] {
            interfaces.not_found(PortId(0), why, &mut cx);
            assert!(cx.ended.is_empty(), "{why:?} may pass");
        }
        assert!(interfaces.next_timeout().is_some(), "the query is repeated");
        interfaces.not_found(PortId(0), ErrorKind::NotFound, &mut cx);
        assert!(matches!(ended[..], [(PortId(0), Gone::Deleted)]));
        Ok(())
    }
}
