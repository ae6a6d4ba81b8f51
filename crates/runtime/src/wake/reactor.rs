//! epoll, with names for the descriptors.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The system calls of this file.
pub(crate) const SYSCALLS: &[&str] = &["epoll_ctl", "epoll_pwait"];

/// How many descriptors one wake reports; the others stay ready.
const READY_MAX: usize = 64;

/// How many of those of the owner, of other threads and of signals.
const FIRST_MAX: usize = 16;

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What is reported of descriptors that are edge-triggered.
const EDGE: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);

/// The name of a watched descriptor, chosen by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// What a descriptor is waited for, or is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// There is something to read, or the other end has closed.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

impl Interest {
    /// Waits for something to read.
    pub const READ: Self = Self { readable: true, writable: false };
}

/// The owner of a descriptor. The number beside an index tells a port from the one that had the index
/// before: an event of the earlier one may still be pending. Indexes are below 2^24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Timer,
    /// Some of those of [`Reactor::take_first`].
    First,
    Signals,
    /// Another thread has a request ([`Remote`](crate::Remote)).
    Remote,
    /// A port's own descriptors.
    Port(u32, u32),
    /// A socket that several ports share, or a listener.
    Hub(u32, u32),
    /// The links of a namespace.
    Links(u32, u32),
    /// One of the sockets for peers.
    Peers(u32, u32),
    /// A flow's socket.
    Flow(u32, u32),
    /// The socket to which connections are led that are joined to flows.
    Splices,
    /// A descriptor of the loop's owner.
    Watched(Token),
}

impl Source {
    const fn encode(self) -> u64 {
        let (kind, index, number): (u64, u32, u32) = match self {
            Self::Timer => (0, 0, 0),
            Self::Signals => (1, 0, 0),
            Self::Port(index, number) => (2, index, number),
            Self::Hub(index, number) => (3, index, number),
            Self::Links(index, number) => (4, index, number),
            Self::Watched(Token(number)) => (5, 0, number),
            Self::Peers(index, number) => (6, index, number),
            Self::Remote => (7, 0, 0),
            Self::Flow(index, number) => (8, index, number),
            Self::Splices => (9, 0, 0),
            Self::First => (10, 0, 0),
        };
        let [_, i2, i1, i0] = index.to_be_bytes();
        let [n3, n2, n1, n0] = number.to_be_bytes();
        kind << 56 | u64::from_be_bytes([0, i2, i1, i0, n3, n2, n1, n0])
    }

    const fn decode(data: u64) -> Self {
        let [kind, i2, i1, i0, n3, n2, n1, n0] = data.to_be_bytes();
        let index = u32::from_be_bytes([0, i2, i1, i0]);
        let number = u32::from_be_bytes([n3, n2, n1, n0]);
        match kind {
            0 => Self::Timer,
            1 => Self::Signals,
            2 => Self::Port(index, number),
            3 => Self::Hub(index, number),
            4 => Self::Links(index, number),
            6 => Self::Peers(index, number),
            7 => Self::Remote,
            8 => Self::Flow(index, number),
            9 => Self::Splices,
            10 => Self::First,
            _ => Self::Watched(Token(number)),
        }
    }
}

/// What one descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub source: Source,
    pub readable: bool,
    pub writable: bool,
    /// An error or a hang-up, which epoll reports until the descriptor is closed.
    pub failed: bool,
    /// The end of the stream, urgent data, or a failure: what comes without a further change.
    pub is_special: bool,
    /// Urgent data.
    pub is_urgent: bool,
}

impl Ready {
    /// A descriptor that failed is ready for both: the next read or write reports why.
    fn of(event: &Event) -> Self {
        let (flags, data) = (event.flags, event.data);
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        Self {
            source: Source::decode(data.u64()),
            readable: failed || flags.contains(EventFlags::IN),
            writable: failed || flags.contains(EventFlags::OUT),
            failed,
            is_special: failed || flags.intersects(EventFlags::RDHUP | EventFlags::PRI),
            is_urgent: flags.contains(EventFlags::PRI),
        }
    }
}

/// The descriptors that are waited for, level-triggered but for those of [`Reactor::add_edge`].
pub(crate) struct Reactor {
    epoll: OwnedFd,
    /// Within it those of signals, of other threads and of the owner, which do not wait for packets.
    first: OwnedFd,
    /// Some of `first` may be ready.
    ask_first: bool,
    ready: VecDeque<Ready>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let (epoll, first) =
            (epoll::create(CreateFlags::CLOEXEC)?, epoll::create(CreateFlags::CLOEXEC)?);
        let data = EventData::new_u64(Source::First.encode());
        epoll::add(&epoll, &first, data, flags(Interest::READ))?;
        Ok(Self { epoll, first, ask_first: false, ready: VecDeque::with_capacity(READY_MAX) })
    }

    /// Waits for a descriptor from now on. An interest in nothing still reports its failure.
    pub(crate) fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        let is_first = matches!(source, Source::Signals | Source::Remote | Source::Watched(_));
        let epoll = if is_first { &self.first } else { &self.epoll };
        Ok(epoll::add(epoll, fd, EventData::new_u64(source.encode()), flags(interest))?)
    }

    /// Reports a descriptor once for each change from now on (edge-triggered).
    pub(crate) fn add_edge(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(source.encode()), EDGE)?)
    }

    /// Reports once more what a descriptor of [`Self::add_edge`] is ready for now.
    pub(crate) fn renew_edge(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(source.encode()), EDGE)?)
    }

    /// Changes what a descriptor is waited for.
    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        source: Source,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(source.encode()), flags(interest))?)
    }

    /// No longer waits for a descriptor. One that was never added is no error.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        if epoll::delete(&self.epoll, &fd).is_err() {
            let _ = epoll::delete(&self.first, fd);
        }
    }

    /// Waits until a descriptor is ready; with `poll` it does not wait. If [`Self::next`] has not returned all of
    /// the last time yet, these are ready.
    pub(crate) fn wait(&mut self, poll: bool) -> io::Result<()> {
        if self.has_ready() {
            self.ask_first = true;
            return Ok(());
        }
        let mut events = [MaybeUninit::<Event>::uninit(); READY_MAX];
        match epoll::wait(&self.epoll, &mut events, poll.then_some(&NO_TIME)) {
            Ok((events, _)) => {
                for ready in events.iter().map(Ready::of) {
                    match ready.source {
                        Source::First => self.ask_first = true,
                        _ => self.ready.push_back(ready),
                    }
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether there are descriptors that [`Self::next`] has not returned.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next one that is ready.
    pub(crate) fn next(&mut self) -> Option<Ready> {
        self.ready.pop_front()
    }

    /// Signals, requests of other threads and descriptors of the owner that are ready: after each
    /// [`Self::wait`], ahead of the others.
    pub(crate) fn take_first(&mut self) -> impl Iterator<Item = Ready> + use<> {
        let mut events = [MaybeUninit::<Event>::uninit(); FIRST_MAX];
        let mut ready = [None; FIRST_MAX];
        if std::mem::take(&mut self.ask_first)
            && let Ok((events, _)) = epoll::wait(&self.first, &mut events, Some(&NO_TIME))
        {
            for (place, event) in ready.iter_mut().zip(&*events) {
                *place = Some(Ready::of(event));
            }
        }
        ready.into_iter().flatten()
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.readable);
    flags.set(EventFlags::OUT, interest.writable);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_epoll() {
        let sources = [
            Source::Timer,
            Source::Signals,
            Source::Remote,
            Source::Port(65_535, u32::MAX),
            Source::Hub(1, 2),
            Source::Links(3, 4),
            Source::Peers(1, 5),
            Source::Flow((1 << 24) - 1, 6),
            Source::Splices,
            Source::First,
            Source::Watched(Token(u32::MAX)),
        ];
        for source in sources {
            assert_eq!(Source::decode(source.encode()), source);
        }
    }
}
