//! The greatest timestamps of one peer's initiations, which recorded initiations do not exceed (NDSS 2017, 5.1).

use core::time::Duration;

use crate::codec::codec;
use crate::tai64n::Tai64n;

/// The tolerance for a peer's clock. A timestamp later than our clock plus this is kept apart: the peer's clock
/// is wrong, and once it is right, the peer must not be refused until our clock reaches that timestamp.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The greatest timestamps of one peer.
#[derive(Debug, Default)]
pub(crate) struct PeerTimestamps {
    /// The greatest timestamp up to our clock plus [`AHEAD_MAX`].
    latest: Option<Tai64n>,
    /// The greatest timestamp beyond, which only limits others beyond.
    ahead: Option<Tai64n>,
    /// Whether the owner knows that the clocks differ.
    reported: bool,
}

codec! { PeerTimestamps { latest, ahead, reported } }

impl PeerTimestamps {
    /// The greatest timestamp, of those that our clock allows.
    pub(crate) const fn latest(&self) -> Option<Tai64n> {
        self.latest
    }

    /// The greatest timestamp, of those too far ahead of our clock.
    pub(crate) const fn ahead(&self) -> Option<Tai64n> {
        self.ahead
    }

    /// Whether a timestamp is no greater than one before. `unix` is our wall clock; `None` if it is unknown.
    pub(crate) fn has_seen(&mut self, unix: Option<Duration>, timestamp: Tai64n) -> bool {
        self.settle(unix);
        let greatest = if is_ahead(unix, timestamp) { self.ahead } else { self.latest };
        greatest.is_some_and(|greatest| timestamp <= greatest)
    }

    /// Notes a timestamp. Returns how far the peer's clock is ahead of ours, the first time that it is.
    pub(crate) fn note(&mut self, unix: Option<Duration>, timestamp: Tai64n) -> Option<Duration> {
        self.raise(unix, timestamp);
        let is_ahead = is_ahead(unix, timestamp);
        let was_reported = core::mem::replace(&mut self.reported, is_ahead);
        let unix = unix.filter(|_| is_ahead && !was_reported)?;
        Some(timestamp.since(Tai64n::from_unix(unix)))
    }

    /// Refuses this timestamp and all before it from now on.
    pub(crate) fn raise(&mut self, unix: Option<Duration>, timestamp: Tai64n) {
        let greatest = if is_ahead(unix, timestamp) { &mut self.ahead } else { &mut self.latest };
        *greatest = (*greatest).max(Some(timestamp));
    }

    /// Sorts the two again after our clock has passed one of them or was set.
    fn settle(&mut self, unix: Option<Duration>) {
        if let Some(latest) = self.latest.take_if(|latest| is_ahead(unix, *latest)) {
            self.ahead = self.ahead.max(Some(latest));
        }
        if let Some(ahead) = self.ahead.take_if(|ahead| !is_ahead(unix, *ahead)) {
            self.latest = self.latest.max(Some(ahead));
        }
    }
}

fn is_ahead(unix: Option<Duration>, timestamp: Tai64n) -> bool {
    unix.is_some_and(|unix| timestamp > Tai64n::from_unix(unix.saturating_add(AHEAD_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(count: u64) -> Duration {
        AHEAD_MAX * u32::try_from(count).unwrap()
    }

    fn stamp(day: u64) -> Tai64n {
        Tai64n::from_unix(days(day))
    }

    #[test]
    fn a_clock_that_is_ahead_refuses_no_timestamp_of_the_right_clock() {
        let (mut seen, now) = (PeerTimestamps::default(), Some(days(100)));
        assert_eq!(seen.note(now, stamp(5000)), Some(days(4900)));
        assert_eq!(seen.note(now, stamp(5001)), None, "reported once");
        assert!(seen.has_seen(now, stamp(5000)), "a replay");
        assert!(!seen.has_seen(now, stamp(100)));
        assert_eq!(seen.note(now, stamp(100)), None);
        assert!(seen.has_seen(now, stamp(99)) && seen.has_seen(now, stamp(100)));
        assert!(seen.has_seen(now, stamp(5001)), "still a replay");
        assert_eq!((seen.latest(), seen.ahead()), (Some(stamp(100)), Some(stamp(5001))));
        assert_eq!(seen.note(now, stamp(5002)), Some(days(4902)), "reported again");
    }

    /// A machine without a clock starts in 1970; what it saw then counts once its clock is set.
    #[test]
    fn timestamps_count_once_our_clock_reaches_them() {
        let mut seen = PeerTimestamps::default();
        seen.raise(Some(days(0)), stamp(100));
        assert!(!seen.has_seen(Some(days(0)), stamp(0)));
        assert!(seen.has_seen(Some(days(101)), stamp(100)));
        assert!(!seen.has_seen(Some(days(101)), stamp(101)));
        assert_eq!((seen.latest(), seen.ahead()), (Some(stamp(100)), None));
    }

    #[test]
    fn our_clock_goes_back() {
        let mut seen = PeerTimestamps::default();
        seen.raise(Some(days(100)), stamp(100));
        assert!(!seen.has_seen(Some(days(10)), stamp(10)));
        assert!(seen.has_seen(Some(days(10)), stamp(100)), "a replay");
    }

    #[test]
    fn a_day_of_difference_is_allowed() {
        let mut seen = PeerTimestamps::default();
        assert_eq!(seen.note(Some(days(1)), stamp(2)), None);
        assert_eq!(seen.latest(), Some(stamp(2)));
        assert_eq!(seen.note(None, stamp(9)), None, "without a clock nothing is ahead");
        assert_eq!(seen.latest(), Some(stamp(9)));
    }
}
