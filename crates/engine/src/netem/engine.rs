//! The engine of two ports with a link in each direction.

use core::fmt;

use adit_packet::{Instant, Layer, PacketBuf};

use super::link::Link;
use super::profile::{Profile, ProfileError};
use super::random::Seed;
use super::report::{Counts, Report};
use crate::contract::{Engine, Handled};
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::outbox::Outbox;

/// A direction through a [`Netem`].
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

/// The configuration of a [`Netem`].
///
/// Later versions may add fields: build it with `..NetemConfig::default()`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetemConfig {
    /// The first and the second port.
    pub ports: [PortId; 2],
    /// From the first port to the second.
    pub a_to_b: Profile,
    /// From the second port to the first.
    pub b_to_a: Profile,
    /// The seed of all random decisions.
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

/// Two ports with a link in each direction.
#[derive(Debug)]
pub struct Netem {
    ports: [PortId; 2],
    a_to_b: Link,
    b_to_a: Link,
}

impl Netem {
    /// Creates two empty links.
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

    /// Begins the schedules of both directions ([`Link::start`]).
    pub fn start(&mut self, now: Instant) {
        self.a_to_b.start(now);
        self.b_to_a.start(now);
    }

    /// One direction.
    #[must_use]
    pub const fn link(&self, direction: Direction) -> &Link {
        match direction {
            Direction::AToB => &self.a_to_b,
            Direction::BToA => &self.b_to_a,
        }
    }

    /// The report of one direction: what was configured, and what happened.
    #[must_use]
    pub fn report(&self, direction: Direction) -> Report {
        self.link(direction).report()
    }

    /// The counts of the report alone ([`Link::counts`]).
    #[must_use]
    pub fn counts(&self, direction: Direction) -> Counts {
        self.link(direction).counts()
    }

    /// A report for each profile that a direction had ([`Link::reports`]).
    pub fn reports(&self, direction: Direction) -> impl Iterator<Item = Report> {
        self.link(direction).reports()
    }

    /// Drops what is in both directions; their reports count it ([`Link::clear`]).
    pub fn clear(&mut self, now: Instant, out: &mut Outbox) {
        for direction in Direction::BOTH {
            self.link_mut(direction).clear(now, out);
        }
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
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let [a, b] = self.ports.map(Endpoint::Port);
        let direction = match from {
            from if from == a => Direction::AToB,
            from if from == b => Direction::BToA,
            _ => {
                out.discard(packet, DropReason::NO_DESTINATION);
                return Handled::NOTHING;
            }
        };
        self.link_mut(direction).push(now, packet, out);
        self.send_due(now, direction, out);
        Handled::NOTHING
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::{Bitrate, Delay, Loss, Rate};
    use adit_packet::{Batch, Pool, PoolConfig};
    use core::time::Duration;
    use std::string::ToString;
    use std::vec;

    const A: Endpoint = Endpoint::Port(PortId(7));
    const B: Endpoint = Endpoint::Port(PortId(9));

    fn packet(out: &mut Outbox) -> PacketBuf {
        let mut packet = out.pool().take(100).unwrap();
        packet.set_len(100).unwrap();
        packet
    }

    /// How many packets were sent to each port since the last call.
    fn sent(out: &mut Outbox) -> [usize; 2] {
        let (mut batch, mut counts) = (Batch::new(), [0, 0]);
        while let Some(to) = out.next_group(&mut batch) {
            counts[usize::from(to == B)] += batch.as_slice().len();
            batch.give_all(out.pool());
        }
        counts
    }

    fn config() -> NetemConfig {
        let delay = |ms| Delay::constant(Duration::from_millis(ms));
        NetemConfig {
            ports: [PortId(7), PortId(9)],
            a_to_b: Profile { delay: delay(20), ..Profile::default() },
            b_to_a: Profile { delay: delay(5), ..Profile::default() },
            ..NetemConfig::default()
        }
    }

    #[test]
    fn each_direction_is_its_own() {
        let mut netem = Netem::new(&config()).unwrap();
        let mut out = Outbox::new(Pool::new(PoolConfig::default()));
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        for from in [A, B, A] {
            let packet = packet(&mut out);
            netem.handle(at(0), from, packet, &mut out);
        }
        assert_eq!((netem.held(), netem.next_timeout()), (3, Some(at(5))));
        netem.handle_timeout(at(5), &mut out);
        assert_eq!(sent(&mut out), [1, 0]);
        assert_eq!(netem.next_timeout(), Some(at(20)));
        netem.handle_timeout(at(20), &mut out);
        assert_eq!(sent(&mut out), [0, 2]);
        assert_eq!((netem.held(), netem.next_timeout()), (0, None));

        let lossy = Profile { loss: Loss::Random { share: 1.0 }, ..Profile::default() };
        netem.set(at(30), Direction::AToB, &lossy).unwrap();
        for from in [A, B, Endpoint::Port(PortId(1))] {
            let packet = packet(&mut out);
            netem.handle(at(30), from, packet, &mut out);
        }
        assert!(out.counts().balance(6, netem.held()));
        let why: vec::Vec<_> = out.counts().by_reason().collect();
        assert_eq!(why, [(DropReason::NO_DESTINATION, 1), (DropReason::LOSS, 1)]);
        assert_eq!(netem.report(Direction::AToB).counts.received, 3);
        assert_eq!(netem.report(Direction::BToA).counts.received, 2);
        assert_eq!(Direction::AToB.to_string(), "a to b");
    }

    #[test]
    fn directions_draw_from_streams_of_their_own() {
        let loss = Profile { loss: Loss::Random { share: 0.5 }, ..Profile::default() };
        let config = NetemConfig { a_to_b: loss.clone(), b_to_a: loss, ..NetemConfig::default() };
        let mut netem = Netem::new(&config).unwrap();
        let mut out = Outbox::new(Pool::new(PoolConfig::default()));
        for port in [0, 1].into_iter().cycle().take(200) {
            let packet = packet(&mut out);
            netem.handle(Instant::ZERO, Endpoint::Port(PortId(port)), packet, &mut out);
        }
        let decisions = Direction::BOTH.map(|direction| netem.report(direction).decisions);
        assert_ne!(decisions[0], decisions[1]);
    }

    #[test]
    fn a_wrong_profile_is_refused() {
        let rate = Rate::Fixed(Bitrate::from_bits_per_second(0));
        let wrong = Profile { rate, ..Profile::default() };
        let config = NetemConfig { b_to_a: wrong.clone(), ..config() };
        assert_eq!(Netem::new(&config).unwrap_err().field, "rate");
    }
}
