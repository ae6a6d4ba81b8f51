//! Events: the changes of a network namespace, as the kernel reports them.

use super::addr::Address;
use super::link::LinkInfo;
use super::message::{Message, messages};
use super::route::Route;
use super::rule::Rule;
use super::socket::{ROUTE, Socket};
use super::uapi::{
    GROUP_IPV4_IFADDR, GROUP_IPV4_ROUTE, GROUP_IPV4_RULE, GROUP_IPV6_IFADDR, GROUP_IPV6_ROUTE,
    GROUP_IPV6_RULE, GROUP_LINK, RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_DELRULE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWROUTE, RTM_NEWRULE,
};
use super::{addr, link, route, rule};
use crate::{IfIndex, Netns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, sockopt};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The receive buffer in bytes. A link counts as about 2 KiB in it. When it is full, the kernel
/// drops events and reports that. Without privileges `net.core.rmem_max` may limit it to less.
const BACKLOG_LEN: usize = 2 << 20;

/// A change in the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link was created or changed; this is its new state. The kernel does not report some
    /// changes while the link is down: alias, group, txqueuelen.
    LinkChanged(Box<LinkInfo>),
    /// A link was deleted or moved to another namespace; this is its last state.
    LinkRemoved(Box<LinkInfo>),
    /// An address was added, or changed (for example its flags, after duplicate address detection).
    AddressAdded(IfIndex, Address),
    /// An address was deleted.
    AddressRemoved(IfIndex, Address),
    /// A route was added or changed.
    RouteAdded(Route),
    /// A route was deleted. The kernel does not report IPv4 routes that disappear because their
    /// link goes down or is deleted.
    RouteRemoved(Route),
    /// A routing rule was added.
    RuleAdded(Rule),
    /// A routing rule was deleted.
    RuleRemoved(Rule),
    /// Events were lost because they came faster than they were read. A program that keeps a copy
    /// of the state must list it again.
    Lost,
}

/// A listener for the changes of one network namespace: that of the thread that opened it.
///
/// It reports no change from before it was opened: open it first, then list the state. As an
/// iterator it waits for each event without limit.
///
/// ```no_run
/// use adit_device::netlink::{Event, Monitor};
/// for event in Monitor::open()? {
///     if let Event::LinkRemoved(link) = event? {
///         println!("{} is gone", link.name);
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    /// The undelivered events of the last datagram.
    pending: VecDeque<Event>,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EMFILE, ENFILE; EPERM in a sandbox that forbids netlink.
    pub fn open() -> io::Result<Self> {
        Self::of(None)
    }

    fn of(netns: Option<&Netns>) -> io::Result<Self> {
        let groups = GROUP_LINK
            | GROUP_IPV4_IFADDR
            | GROUP_IPV4_ROUTE
            | GROUP_IPV6_IFADDR
            | GROUP_IPV6_ROUTE
            | GROUP_IPV4_RULE
            | GROUP_IPV6_RULE;
        let socket = Socket::open(netns, ROUTE, groups)?;
        // More than `net.core.rmem_max` requires CAP_NET_ADMIN in the initial user namespace.
        sockopt::set_socket_recv_buffer_size_force(&socket.fd, BACKLOG_LEN)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket.fd, BACKLOG_LEN))?;
        Ok(Self { socket, pending: VecDeque::new() })
    }

    /// Listens in `netns`. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// As [`Monitor::open`] and [`Netns::run`].
    pub fn open_in(netns: &Netns) -> io::Result<Self> {
        Self::of(Some(netns))
    }

    /// The next event. Waits at most `timeout`, or forever if it is `None`; returns `Ok(None)` if
    /// no event came.
    ///
    /// A program that polls the descriptor ([`AsFd`]) calls this with a timeout of zero until it
    /// returns `None`: one datagram may hold several events.
    ///
    /// # Errors
    /// Those of poll(2) and recv(2). Messages of the kernel cause none.
    pub fn recv(&mut self, timeout: Option<Duration>) -> io::Result<Option<Event>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            match self.socket.recv(RecvFlags::DONTWAIT) {
                Ok(datagram) => self.pending.extend(messages(datagram).filter_map(|m| event(&m))),
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::NOBUFS | Errno::MSGSIZE) => return Ok(Some(Event::Lost)),
                    Some(Errno::AGAIN) if !self.wait(deadline)? => return Ok(None),
                    Some(Errno::AGAIN) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Waits for readability; `false` at the deadline.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<bool> {
        retry_on_intr(|| {
            let left = deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
            });
            poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], left.as_ref())
        })
        .map(|ready| ready > 0)
        .map_err(Into::into)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Iterator for Monitor {
    type Item = io::Result<Event>;

    /// Waits for the next event without limit; never returns `None`.
    fn next(&mut self) -> Option<Self::Item> {
        self.recv(None).transpose()
    }
}

/// The event in a message; `None` if it is malformed or of another kind.
pub(super) fn event(message: &Message<'_>) -> Option<Event> {
    let body = message.body;
    match message.kind {
        RTM_NEWLINK => link::decode(body).map(Box::new).map(Event::LinkChanged),
        RTM_DELLINK => link::decode(body).map(Box::new).map(Event::LinkRemoved),
        RTM_NEWADDR => addr::decode(body).map(|(link, addr)| Event::AddressAdded(link, addr)),
        RTM_DELADDR => addr::decode(body).map(|(link, addr)| Event::AddressRemoved(link, addr)),
        RTM_NEWROUTE => route::decode(body).map(Event::RouteAdded),
        RTM_DELROUTE => route::decode(body).map(Event::RouteRemoved),
        RTM_NEWRULE => rule::decode(body).map(Event::RuleAdded),
        RTM_DELRULE => rule::decode(body).map(Event::RuleRemoved),
        _ => None,
    }
}
