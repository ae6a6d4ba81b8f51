//! epoll, with names for what is ready.

use crate::event::{Interest, Token};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How many descriptors one wake tells of; the others stay ready.
const READY_MAX: usize = 64;

/// What a descriptor belongs to. The number beside an index tells a port from the one that had its
/// index before, of which an event may still be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Timer,
    Signals,
    /// A port's own descriptor.
    Port(u16, u32),
    /// A socket that several ports share, or a listener.
    Shared(u16, u32),
    /// The links of a namespace.
    Links(u16, u32),
    /// One of the sockets for peers.
    Peers(u16, u32),
    /// Of the owner.
    Watched(Token),
}

impl Source {
    const fn encode(self) -> u64 {
        let (kind, index, number) = match self {
            Self::Timer => (0, 0, 0),
            Self::Signals => (1, 0, 0),
            Self::Port(index, number) => (2, index, number),
            Self::Shared(index, number) => (3, index, number),
            Self::Links(index, number) => (4, index, number),
            Self::Watched(Token(number)) => (5, 0, number),
            Self::Peers(index, number) => (6, index, number),
        };
        let (kind, index, number): (u64, u16, u32) = (kind, index, number);
        let [i1, i0] = index.to_be_bytes();
        let [n3, n2, n1, n0] = number.to_be_bytes();
        kind << 48 | u64::from_be_bytes([0, 0, i1, i0, n3, n2, n1, n0])
    }

    const fn decode(data: u64) -> Self {
        let [_, kind, i1, i0, n3, n2, n1, n0] = data.to_be_bytes();
        let index = u16::from_be_bytes([i1, i0]);
        let number = u32::from_be_bytes([n3, n2, n1, n0]);
        match kind {
            0 => Self::Timer,
            1 => Self::Signals,
            2 => Self::Port(index, number),
            3 => Self::Shared(index, number),
            4 => Self::Links(index, number),
            6 => Self::Peers(index, number),
            _ => Self::Watched(Token(number)),
        }
    }
}

/// What one descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub source: Source,
    pub readable: bool,
    pub writable: bool,
    /// An error or a hang-up, which stays until the descriptor is closed.
    pub failed: bool,
}

/// The descriptors that are waited for, level-triggered.
pub struct Reactor {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(READY_MAX) })
    }

    /// Waits for a descriptor from now on. An interest in nothing still hears that it failed.
    pub fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(source.encode()), flags(interest))?)
    }

    /// Waits for something else of it.
    pub fn change(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(source.encode()), flags(interest))?)
    }

    /// No longer waits for it. One that was never there is no error: it is what is wanted.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something is ready, or with `poll` only looks.
    pub fn wait(&mut self, poll: bool) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, poll.then_some(&zero)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many are ready after [`Self::wait`].
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// One of them. A descriptor that failed is ready for both: whoever tries learns why.
    pub fn ready(&self, at: usize) -> Option<Ready> {
        let event = *self.events.get(at)?;
        let (flags, data) = (event.flags, event.data);
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        Some(Ready {
            source: Source::decode(data.u64()),
            readable: failed || flags.contains(EventFlags::IN),
            writable: failed || flags.contains(EventFlags::OUT),
            failed,
        })
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.readable);
    flags.set(EventFlags::OUT, interest.writable);
    flags
}
