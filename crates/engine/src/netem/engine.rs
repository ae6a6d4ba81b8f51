//! The engine of two ports with a link each way.

use core::fmt;

use adit_packet::{Instant, Layer, PacketBuf};

use super::{Link, Profile, ProfileError, Report, Seed};
use crate::{DropReason, Endpoint, Engine, Outbox, PortId};

/// One of the two ways through a [`Netem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the first port to the second.
    AToB,
    /// From the second port to the first.
    BToA,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::AToB, Self::BToA];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AToB => "a to b",
            Self::BToA => "b to a",
        })
    }
}

/// What a [`Netem`] is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NetemConfig {
    /// The first and the second port.
    pub ports: [PortId; 2],
    /// From the first port to the second.
    pub a_to_b: Profile,
    /// From the second port to the first.
    pub b_to_a: Profile,
    /// What all random decisions are drawn from.
    pub seed: u64,
    /// Whether the ports carry frames or packets.
    pub layer: Layer,
}

impl Default for NetemConfig {
    /// Ports 0 and 1, frames, a perfect link.
    fn default() -> Self {
        Self {
            ports: [PortId(0), PortId(1)],
            a_to_b: Profile::default(),
            b_to_a: Profile::default(),
            seed: 0,
            layer: Layer::Frame,
        }
    }
}

/// Two ports with a link each way: what comes from one goes to the other.
#[derive(Debug)]
pub struct Netem {
    ports: [PortId; 2],
    a_to_b: Link,
    b_to_a: Link,
}

impl Netem {
    /// Two links with nothing in them.
    ///
    /// # Errors
    ///
    /// What [`Profile::check`] finds in either profile.
    pub fn new(config: &NetemConfig) -> Result<Self, ProfileError> {
        let seed = Seed::new(config.seed);
        Ok(Self {
            ports: config.ports,
            a_to_b: Link::new(&config.a_to_b, seed)?.with_layer(config.layer),
            b_to_a: Link::new(&config.b_to_a, seed.direction(1))?.with_layer(config.layer),
        })
    }

    /// Changes one direction's profile, between two packets ([`Link::set`]).
    ///
    /// # Errors
    ///
    /// What [`Profile::check`] finds; then nothing changes.
    pub fn set(
        &mut self,
        now: Instant,
        direction: Direction,
        profile: &Profile,
    ) -> Result<(), ProfileError> {
        self.link_mut(direction).set(now, profile)
    }

    /// One direction.
    #[must_use]
    pub const fn link(&self, direction: Direction) -> &Link {
        match direction {
            Direction::AToB => &self.a_to_b,
            Direction::BToA => &self.b_to_a,
        }
    }

    /// What was asked of one direction, and what happened.
    #[must_use]
    pub fn report(&self, direction: Direction) -> Report {
        self.link(direction).report()
    }

    const fn link_mut(&mut self, direction: Direction) -> &mut Link {
        match direction {
            Direction::AToB => &mut self.a_to_b,
            Direction::BToA => &mut self.b_to_a,
        }
    }

    fn send_due(&mut self, now: Instant, direction: Direction, out: &mut Outbox) {
        let [a, b] = self.ports;
        let to = Endpoint::Port(if direction == Direction::AToB { b } else { a });
        let link = self.link_mut(direction);
        while let Some(packet) = link.pop(now, out) {
            out.send(to, packet);
        }
    }
}

impl Engine for Netem {
    fn handle(&mut self, now: Instant, from: Endpoint, packet: PacketBuf, out: &mut Outbox) {
        let [a, b] = self.ports.map(Endpoint::Port);
        let direction = match from {
            from if from == a => Direction::AToB,
            from if from == b => Direction::BToA,
            _ => return out.discard(packet, DropReason::NoDestination),
        };
        self.link_mut(direction).push(now, packet, out);
        self.send_due(now, direction, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let both = [self.a_to_b.next_timeout(), self.b_to_a.next_timeout()];
        both.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        for direction in Direction::BOTH {
            self.send_due(now, direction, out);
        }
    }

    fn held(&self) -> usize {
        self.a_to_b.held() + self.b_to_a.held()
    }
}
