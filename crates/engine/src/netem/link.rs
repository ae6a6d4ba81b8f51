//! One direction of a link.

use alloc::collections::VecDeque;

use adit_packet::{Instant, Layer, PacketBuf};

use super::{Profile, ProfileError, Report, Seed};
use crate::Outbox;

/// One direction of a link, without input or output.
///
/// ```
/// use adit_engine::Outbox;
/// use adit_engine::netem::{Delay, Link, Profile, Seed};
/// use adit_packet::{Instant, Pool, PoolConfig};
/// use core::time::Duration;
///
/// let profile = Profile { delay: Delay::constant(Duration::from_millis(20)), ..Profile::default() };
/// let mut link = Link::new(&profile, Seed::new(1))?;
/// let mut out = Outbox::new(Pool::new(PoolConfig::default()));
///
/// let mut packet = out.pool().take(5).expect("a fresh pool");
/// packet.extend(b"hello").expect("there is room");
/// link.push(Instant::ZERO, packet, &mut out);
/// assert_eq!(link.next_timeout(), Some(Instant::from_nanos(20_000_000)));
/// assert!(link.pop(Instant::from_nanos(19_999_999), &mut out).is_none());
/// let packet = link.pop(Instant::from_nanos(20_000_000), &mut out).expect("it is due");
/// assert_eq!(packet.bytes(), b"hello");
/// # Ok::<(), adit_engine::netem::ProfileError>(())
/// ```
#[derive(Debug)]
pub struct Link {
    profile: Profile,
    seed: Seed,
    layer: Layer,
    way: VecDeque<(Instant, PacketBuf)>,
}

impl Link {
    /// A link with nothing in it, for Ethernet frames. Its schedules begin with the first packet.
    ///
    /// # Errors
    ///
    /// What [`Profile::check`] finds.
    pub fn new(profile: &Profile, seed: Seed) -> Result<Self, ProfileError> {
        profile.check()?;
        Ok(Self { profile: profile.clone(), seed, layer: Layer::Frame, way: VecDeque::new() })
    }

    /// The same for packets that start as `layer` says (a TUN device has no Ethernet header).
    #[must_use]
    pub fn with_layer(self, layer: Layer) -> Self {
        Self { layer, ..self }
    }

    /// Takes a packet that came at `now`; `now` never goes back from one call to the next.
    ///
    /// What is lost goes to `out.discard`; super-packets are cut up and duplicates made with `out`.
    pub fn push(&mut self, now: Instant, packet: PacketBuf, _out: &mut Outbox) {
        self.way.push_back((now + self.profile.delay.base, packet));
    }

    /// The next packet that is due at `now`; call it until there is none.
    #[must_use]
    pub fn pop(&mut self, now: Instant, _out: &mut Outbox) -> Option<PacketBuf> {
        let (_, packet) = self.way.pop_front_if(|(due, _)| *due <= now)?;
        Some(packet)
    }

    /// When [`Self::pop`] may next have a packet; `None` if there is none in the link.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.way.front().map(|(due, _)| *due)
    }

    /// How many packets are in the link.
    #[must_use]
    pub fn held(&self) -> usize {
        self.way.len()
    }

    /// Changes the profile, between two packets: what is in the queue is sent as the new one says,
    /// what the line has sent arrives as it would have. Schedules that changed begin at `now`.
    ///
    /// # Errors
    ///
    /// What [`Profile::check`] finds; then nothing changes.
    pub fn set(&mut self, _now: Instant, profile: &Profile) -> Result<(), ProfileError> {
        profile.check()?;
        self.profile = profile.clone();
        Ok(())
    }

    /// What was asked for, as set last.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What its random decisions are drawn from.
    #[must_use]
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// What was asked for and what happened.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            asked: self.profile.clone(),
            time: core::time::Duration::ZERO,
            counts: super::Counts::default(),
            loss: None,
            duplicates: None,
            corrupted: None,
            reordered: None,
            delay: super::Histogram::default(),
            late: super::Histogram::default(),
            waiting: super::Histogram::default(),
            line_rate: None,
            goodput: super::Bitrate::default(),
            decisions: 0,
        }
    }
}
