//! A port of a node, its faults, and the wire from it to the other end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

use adit_packet::{Instant, Layer, PacketBuf};

use crate::ids::End;
use adit_engine::netem::{Link, Profile, ProfileError};
use adit_engine::{DropReason, Outbox};

/// The delay of a wire without a netem profile.
pub(crate) const WIRE_DELAY: Duration = Duration::from_micros(1);
/// Packets on such a wire in one direction.
pub(crate) const WIRE_LIMIT: usize = 1000;
/// Packets that wait at a port that takes nothing.
pub(crate) const QUEUE_LIMIT: usize = 256;

/// A fault of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The link goes down: nothing leaves or arrives ([`DropReason::PORT_DOWN`]).
    Down,
    /// The link comes back, if the device is still there.
    Up,
    /// The device is deleted: as [`Self::Down`], forever.
    Gone,
    /// The port accepts nothing for this time (`EAGAIN`): packets wait in its queue, at most
    /// [`Sim::PORT_QUEUE`](crate::Sim::PORT_QUEUE) of them.
    Full(Duration),
    /// The reader of the port is slow: it takes one packet in this time. Zero ends the fault.
    Slow(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
            Self::Gone => f.write_str("gone"),
            Self::Full(time) => write!(f, "takes nothing for {time:?}"),
            Self::Slow(time) => write!(f, "takes a packet every {time:?}"),
        }
    }
}

/// The counts of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Packets that the node sent here.
    pub sent: u64,
    /// Packets that arrived for the node.
    pub received: u64,
    /// Packets lost at the port, in its queue, or on the wire to the other end.
    pub lost: u64,
}

pub(crate) struct Port {
    pub(crate) end: End,
    /// What kind of packets it carries; `None` for a peer's datagrams.
    pub(crate) layer: Option<Layer>,
    /// The port at the other end, by its index.
    pub(crate) peer: usize,
    pub(crate) counts: PortCounts,
    line: Line,
    state: State,
    /// Until when it takes nothing.
    full_until: Instant,
    /// How long its reader needs for a packet.
    pace: Duration,
    /// What waits for the two above.
    queue: VecDeque<PacketBuf>,
    /// When something is due here: asked for at every step, so it is kept. [`Instant::MAX`]: never.
    due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Gone,
}

impl Port {
    pub(crate) const fn new(end: End, layer: Option<Layer>, peer: usize, line: Line) -> Self {
        Self {
            end,
            layer,
            peer,
            counts: PortCounts { sent: 0, received: 0, lost: 0 },
            line,
            state: State::Up,
            full_until: Instant::ZERO,
            pace: Duration::ZERO,
            queue: VecDeque::new(),
            due: Instant::MAX,
        }
    }

    /// The emulated link that leads away from it.
    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.line {
            Line::Plain(_) => None,
            Line::Emulated(link) => Some(link),
        }
    }

    /// Changes the emulated link; `None` if there is none.
    pub(crate) fn set_profile(
        &mut self,
        now: Instant,
        profile: &Profile,
    ) -> Option<Result<(), ProfileError>> {
        let Line::Emulated(link) = &mut self.line else { return None };
        let result = link.set(now, profile);
        self.settle();
        Some(result)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(crate) fn set(&mut self, fault: Fault, now: Instant) {
        match fault {
            Fault::Down | Fault::Up if self.state == State::Gone => {}
            Fault::Down => self.state = State::Down,
            Fault::Up => self.state = State::Up,
            Fault::Gone => self.state = State::Gone,
            Fault::Full(time) => self.full_until = now + time,
            Fault::Slow(time) => self.pace = time,
        }
        self.settle();
    }

    /// Takes a packet that the node sends, or says why not.
    pub(crate) fn send(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        self.counts.sent += 1;
        if !self.is_up() {
            out.discard(packet, DropReason::PORT_DOWN);
        } else if !self.queue.is_empty() || self.full_until > now {
            if self.queue.len() < QUEUE_LIMIT {
                self.queue.push_back(packet);
            } else {
                out.discard(packet, DropReason::QUEUE_FULL);
            }
        } else {
            self.take(now, packet, out);
        }
        self.settle();
    }

    /// Moves what is due: from the queue to the way, and from there out.
    pub(crate) fn next_arrival(&mut self, now: Instant, out: &mut Outbox) -> Option<PacketBuf> {
        while self.full_until <= now
            && let Some(packet) = self.queue.pop_front()
        {
            if self.is_up() {
                self.take(now, packet, out);
            } else {
                out.discard(packet, DropReason::PORT_DOWN);
            }
        }
        let packet = self.line.pop(now, out);
        self.settle();
        packet
    }

    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    fn settle(&mut self) {
        let queued = if self.queue.is_empty() { Instant::MAX } else { self.full_until };
        self.due = queued.min(self.line.next_timeout().unwrap_or(Instant::MAX));
    }

    pub(crate) fn held(&self) -> usize {
        self.queue.len() + self.line.held()
    }

    /// The reader takes a packet: then it is busy with it.
    fn take(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        if !self.pace.is_zero() {
            self.full_until = now + self.pace;
        }
        self.line.push(now, packet, out);
    }
}

/// The way from a port to the one at the other end.
pub(crate) enum Line {
    /// All arrive a moment later, in order.
    Plain(VecDeque<(Instant, PacketBuf)>),
    /// As a netem profile says.
    Emulated(Box<Link>),
}

impl Line {
    pub(crate) const fn plain() -> Self {
        Self::Plain(VecDeque::new())
    }

    fn push(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        match self {
            Self::Plain(flying) if flying.len() < WIRE_LIMIT => {
                flying.push_back((now + WIRE_DELAY, packet));
            }
            Self::Plain(_) => out.discard(packet, DropReason::QUEUE_FULL),
            Self::Emulated(link) => link.push(now, packet, out),
        }
    }

    fn pop(&mut self, now: Instant, out: &mut Outbox) -> Option<PacketBuf> {
        match self {
            Self::Plain(flying) => {
                flying.front().filter(|(due, _)| *due <= now)?;
                flying.pop_front().map(|(_, packet)| packet)
            }
            Self::Emulated(link) => link.pop(now, out),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Plain(flying) => flying.front().map(|&(due, _)| due),
            Self::Emulated(link) => link.next_timeout(),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Plain(flying) => flying.len(),
            Self::Emulated(link) => link.held(),
        }
    }
}
