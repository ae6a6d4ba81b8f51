//! Events: what changes in a network namespace, as the kernel tells it.

use super::addr::Address;
use super::link::LinkInfo;
use super::message::{Message, messages};
use super::route::Route;
use super::rule::Rule;
use super::socket::Socket;
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

/// How many bytes of events the kernel keeps for a slow reader, before it loses some and says so;
/// it counts about 2 KiB for a link. Without privilege `net.core.rmem_max` may allow less.
const BACKLOG_LEN: usize = 2 << 20;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link is new or has changed; this is all of what it is now. The kernel does not tell of
    /// some changes while the link is down: alias, group, txqueuelen.
    LinkChanged(Box<LinkInfo>),
    /// A link was deleted or moved to another namespace; this is what it was.
    LinkRemoved(Box<LinkInfo>),
    /// A link has a new address, or an address has changed (its flags, once it is checked).
    AddressAdded(IfIndex, Address),
    /// A link has lost an address.
    AddressRemoved(IfIndex, Address),
    /// A route is new or has changed.
    RouteAdded(Route),
    /// A route is gone. The kernel does not tell of the IPv4 routes that go because their link goes
    /// down or is deleted.
    RouteRemoved(Route),
    /// A routing rule is new.
    RuleAdded(Rule),
    /// A routing rule is gone.
    RuleRemoved(Rule),
    /// Events came faster than they were read, and some were lost: whoever keeps a picture must
    /// list anew.
    Lost,
}

/// A listener to the changes of one network namespace: that of the thread that opened it, for good.
///
/// What changed before it was opened it does not tell: open it first, then list. As an iterator it
/// waits for each event without limit.
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
    /// What one datagram brought, less what was handed out.
    pending: VecDeque<Event>,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EMFILE, ENFILE; EPERM where a sandbox forbids netlink.
    pub fn open() -> io::Result<Self> {
        let groups = GROUP_LINK
            | GROUP_IPV4_IFADDR
            | GROUP_IPV4_ROUTE
            | GROUP_IPV6_IFADDR
            | GROUP_IPV6_ROUTE
            | GROUP_IPV4_RULE
            | GROUP_IPV6_RULE;
        let socket = Socket::open(groups)?;
        // Beyond `net.core.rmem_max` only with CAP_NET_ADMIN over the whole machine.
        sockopt::set_socket_recv_buffer_size_force(&socket.fd, BACKLOG_LEN)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket.fd, BACKLOG_LEN))?;
        Ok(Self { socket, pending: VecDeque::new() })
    }

    /// Listens in `netns`; the calling thread stays where it is.
    ///
    /// # Errors
    /// As [`Monitor::open`] and [`Netns::run`].
    pub fn open_in(netns: &Netns) -> io::Result<Self> {
        netns.run(Self::open)?
    }

    /// The next event; waits for it at most `timeout`, or for ever if that is `None`. `Ok(None)` if
    /// none came in time.
    ///
    /// Whoever polls the descriptor ([`AsFd`]) and finds it readable calls this with a timeout of
    /// zero until it gives `None`: one datagram may hold more than one event.
    ///
    /// # Errors
    /// Those of poll(2) and recv(2); none that the kernel's messages could cause.
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

    /// Waits until there is something to read; `false` if the deadline came first.
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

    /// Waits for the next event, without limit; never `None`.
    fn next(&mut self) -> Option<Self::Item> {
        self.recv(None).transpose()
    }
}

/// The event in a message; `None` if it is malformed or about something else.
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
