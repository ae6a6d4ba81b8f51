//! Pings from many network namespaces at once, by one thread.
//!
//! Each namespace has a raw ICMP socket, which stays there when the thread has left. So all pairs of 100 hosts
//! are 9,900 packets and no process.
//!
//! A kernel keeps 1,024 neighbors at most, of all namespaces together, and forgets none that is younger than 5
//! seconds. All pairs of 46 hosts need more. So a batch of pings has at most [`BATCH`] of them, and the neighbors
//! are forgotten after it, if there are more.

mod packet;

use adit_device::Netns;
use adit_device::netlink::Netlink;
use adit_service::error::{Error, Result};
use adit_topology::report::Network;
use packet::Echo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
    socket_with,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The most pings that wait for replies: with two neighbors each, half of what a kernel keeps.
pub const BATCH: usize = 256;

/// How long a batch waits for replies while others wait for their turn; what is missing then is tried again last.
const BATCH_WAIT: Duration = Duration::from_millis(400);

/// How often an echo is sent.
const TRIES: usize = 3;

/// A ping from a namespace, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The namespace that sends.
    pub from: usize,
    /// Who should answer.
    pub to: IpAddr,
}

/// Sockets in namespaces.
#[derive(Debug)]
pub struct Prober {
    sources: Vec<Source>,
    /// Tells replies to us from those to others.
    token: u32,
}

/// The sockets in one namespace.
#[derive(Debug)]
struct Source {
    v4: OwnedFd,
    /// `None`: it has no IPv6.
    v6: Option<OwnedFd>,
    netlink: Netlink,
}

/// A ping on its way.
#[derive(Debug)]
struct Waiting {
    ping: Ping,
    /// When each echo was sent.
    sent: Vec<Instant>,
    time: Option<Duration>,
}

/// Opens the namespaces of the hosts, which come before the guests, and enters the user namespace that owns them, for good: the process must have a
/// single thread.
///
/// # Errors
/// The lab has ended; it is another user's.
pub fn namespaces(networks: &[Network]) -> Result<Vec<Netns>> {
    let open = |net: &PathBuf| {
        let failed = |error| Error::io("open", net.display(), &error);
        Netns::open(net).map_err(failed)
    };
    let nets = networks.iter().map_while(|network| network.net.as_ref());
    let namespaces: Result<Vec<Netns>> = nets.map(open).collect();
    let namespaces = namespaces?;
    if let Some(first) = namespaces.first() {
        let entered = first.enter_as_owner();
        entered.map_err(|error| Error::io("enter", "the namespaces of the nodes", &error))?;
    }
    Ok(namespaces)
}

impl Prober {
    /// Opens sockets in these namespaces.
    ///
    /// # Errors
    /// EPERM: a namespace is not ours; EMFILE: three descriptors for each are too many.
    pub fn open(namespaces: &[Netns]) -> io::Result<Self> {
        let open = || -> io::Result<Vec<Source>> {
            let open = |netns: &Netns| netns.enter().and_then(|()| Source::open());
            namespaces.iter().map(open).collect()
        };
        let sources = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, open)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let [a, b, c, d] = adit_service::supervisor::random().map_err(io::Error::other)?;
        Ok(Self { sources, token: u32::from_be_bytes([a, b, c, d]) })
    }

    /// Sends all pings, each up to three times, and returns the time of each reply, in the same order; `None` if
    /// none came `within` that time. Of few pings, it is the time of one that followed.
    ///
    /// # Errors
    /// Those of poll(2); that a packet cannot be sent is no error, but a ping without a reply.
    pub fn ping(&mut self, pings: &[Ping], within: Duration) -> io::Result<Vec<Option<Duration>>> {
        let waiting = |&ping| Waiting { ping, sent: Vec::new(), time: None };
        let mut all: Vec<Waiting> = pings.iter().map(waiting).collect();
        let is_many = all.len() > BATCH;
        let numbers: Vec<usize> = (0..all.len()).collect();
        if is_many {
            for batch in numbers.chunks(BATCH) {
                self.run(&mut all, batch, within.min(BATCH_WAIT), 1)?;
                self.forget()?;
            }
        }
        let missing: Vec<usize> =
            numbers.into_iter().filter(|&at| all[at].time.is_none()).collect();
        for batch in missing.chunks(BATCH) {
            self.run(&mut all, batch, within, TRIES)?;
            if is_many {
                self.forget()?;
            }
        }
        let mut times: Vec<Option<Duration>> = all.iter().map(|one| one.time).collect();
        if !is_many {
            // The first echo waited for the addresses of neighbors.
            let numbers: Vec<usize> = (0..all.len()).filter(|&at| times[at].is_some()).collect();
            let mut again: Vec<Waiting> = pings.iter().map(waiting).collect();
            self.run(&mut again, &numbers, within, 1)?;
            for (time, again) in times.iter_mut().zip(again) {
                *time = again.time.or(*time);
            }
        }
        Ok(times)
    }

    /// Sends all pings once, at most [`BATCH`], and returns the time of each reply.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub fn ping_once(
        &mut self,
        pings: &[Ping],
        within: Duration,
    ) -> io::Result<Vec<Option<Duration>>> {
        let waiting = |&ping| Waiting { ping, sent: Vec::new(), time: None };
        let mut all: Vec<Waiting> = pings.iter().take(BATCH).map(waiting).collect();
        let numbers: Vec<usize> = (0..all.len()).collect();
        self.run(&mut all, &numbers, within, 1)?;
        Ok(all.into_iter().map(|one| one.time).collect())
    }

    /// Sends a batch, and waits until all have their reply, or the time is over.
    fn run(
        &mut self,
        all: &mut [Waiting],
        batch: &[usize],
        within: Duration,
        tries: usize,
    ) -> io::Result<()> {
        let begin = Instant::now();
        let used: BTreeSet<usize> = batch.iter().map(|&at| all[at].ping.from).collect();
        for round in 0..tries {
            for &at in batch.iter().filter(|&&at| all[at].time.is_none()).collect::<Vec<_>>() {
                self.send(all, at);
                // What is read while others are sent does not fill a socket.
                self.receive(all, [all[at].ping.from].into_iter());
            }
            let share =
                within * u32::try_from(round + 1).unwrap_or(1) / u32::try_from(tries).unwrap_or(1);
            let end = begin + share;
            while batch.iter().any(|&at| all[at].time.is_none()) {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let ready = self.wait(&used, left)?;
                self.receive(all, ready.into_iter());
            }
        }
        Ok(())
    }

    fn send(&self, all: &mut [Waiting], at: usize) {
        let one = &mut all[at];
        let Some(source) = self.sources.get(one.ping.from) else { return };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let echo =
            Echo { token: self.token, number, attempt: u16::try_from(one.sent.len()).unwrap_or(0) };
        one.sent.push(Instant::now());
        let socket = match one.ping.to {
            IpAddr::V4(_) => Some(&source.v4),
            IpAddr::V6(_) => source.v6.as_ref(),
        };
        if let Some(socket) = socket {
            // Without a route nothing is sent, and no reply comes.
            let to = SocketAddr::new(one.ping.to, 0);
            let _ = sendto(socket, &echo.request(one.ping.to.is_ipv6()), SendFlags::empty(), &to);
        }
    }

    /// Reads what has come to these sources.
    fn receive(&self, all: &mut [Waiting], sources: impl Iterator<Item = usize>) {
        let mut bytes = [0; 256];
        for number in sources {
            let Some(source) = self.sources.get(number) else { continue };
            for (socket, is_v6) in [(Some(&source.v4), false), (source.v6.as_ref(), true)] {
                let Some(socket) = socket else { continue };
                while let Ok((len, _, from)) = recvfrom(socket, &mut bytes, RecvFlags::empty()) {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                    let echo = bytes.get(..len).and_then(|bytes| Echo::of_reply(bytes, is_v6));
                    let Some(echo) = echo.filter(|echo| echo.token == self.token) else { continue };
                    let at = usize::try_from(echo.number).unwrap_or(usize::MAX);
                    let Some(one) = all.get_mut(at) else { continue };
                    let is_it = one.ping.from == number
                        && from.is_some_and(|from| from.ip() == one.ping.to);
                    if let Some(sent) = one.sent.get(usize::from(echo.attempt)).filter(|_| is_it) {
                        one.time.get_or_insert(sent.elapsed());
                    }
                }
            }
        }
    }

    /// Waits until something has come to one of the sources; returns which.
    fn wait(&self, used: &BTreeSet<usize>, left: Duration) -> io::Result<Vec<usize>> {
        let sockets = used.iter().filter_map(|&number| Some((number, self.sources.get(number)?)));
        let sockets = sockets.flat_map(|(number, source)| {
            [Some(&source.v4), source.v6.as_ref()].into_iter().flatten().map(move |fd| (number, fd))
        });
        let (numbers, mut fds): (Vec<usize>, Vec<PollFd<'_>>) =
            sockets.map(|(number, fd)| (number, PollFd::new(fd, PollFlags::IN))).unzip();
        match poll(&mut fds, Some(&Timespec::try_from(left).map_err(|_| Errno::INVAL)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = numbers.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(number, _)| number).collect())
    }

    /// Forgets the neighbors of all namespaces.
    fn forget(&mut self) -> io::Result<()> {
        self.sources.iter_mut().try_for_each(|source| source.netlink.flush_neighbors().map(drop))
    }
}

impl Source {
    /// Opens the sockets in the namespace of this thread.
    fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let raw = |family, protocol| socket_with(family, SocketType::RAW, flags, Some(protocol));
        Ok(Self {
            v4: raw(AddressFamily::INET, ipproto::ICMP)?,
            v6: raw(AddressFamily::INET6, ipproto::ICMPV6).ok(),
            netlink: Netlink::open()?,
        })
    }
}

#[cfg(test)]
mod tests;
