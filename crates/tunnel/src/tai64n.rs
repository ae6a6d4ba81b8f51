//! The timestamp in an initiation, which never decreases.

use core::time::Duration;

use crate::codec::{Codec, Decoder, Encoder};

/// A wall clock time as TAI64N: 8 bytes of seconds, 4 of nanoseconds, big endian.
///
/// A responder accepts only a greater timestamp than the last one of a peer, so a recorded initiation is
/// useless (NDSS 2017, 5.1 and 5.4.2). Source: Bernstein, "TAI64, TAI64N, and TAI64NA".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64n([u8; Self::LEN]);

impl Tai64n {
    /// Its length.
    pub const LEN: usize = 12;
    /// 1970-01-01 00:00:00 UTC, 10 s behind TAI then.
    const EPOCH: u64 = (1 << 62) + 10;
    /// The low 24 bits of the nanoseconds (16.8 ms) are cleared: they would reveal our processing speed.
    const GRANULE: u32 = 1 << 24;

    /// The timestamp of a time since 1970-01-01 00:00:00 UTC, rounded down to 16.8 ms.
    #[must_use]
    pub fn from_unix(time: Duration) -> Self {
        let seconds = Self::EPOCH.saturating_add(time.as_secs());
        Self::from_parts(seconds, time.subsec_nanos() / Self::GRANULE * Self::GRANULE)
    }

    /// The bytes as in a message.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// A timestamp from a message or from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The next greater timestamp.
    #[must_use]
    pub fn next(self) -> Self {
        let [.., n0, n1, n2, n3] = self.0;
        let seconds = self.seconds();
        let nanos = u32::from_be_bytes([n0, n1, n2, n3]).saturating_add(Self::GRANULE);
        if nanos < 1_000_000_000 {
            Self::from_parts(seconds, nanos)
        } else {
            Self::from_parts(seconds.saturating_add(1), 0)
        }
    }

    /// The whole seconds from `earlier` to this timestamp; zero if it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.seconds().saturating_sub(earlier.seconds()))
    }

    fn seconds(self) -> u64 {
        let [s0, s1, s2, s3, s4, s5, s6, s7, ..] = self.0;
        u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7])
    }

    fn from_parts(seconds: u64, nanos: u32) -> Self {
        let mut bytes = [0; Self::LEN];
        let (first, last) = bytes.split_at_mut(8);
        first.copy_from_slice(&seconds.to_be_bytes());
        last.copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }
}

impl Codec for Tai64n {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_greater() {
        let mut last = Tai64n::default();
        for millis in [0, 17, 999, 1000, 5000, 1_700_000_000_000] {
            let stamp = Tai64n::from_unix(Duration::from_millis(millis));
            assert!(stamp > last);
            last = stamp;
        }
        for _ in 0..1000 {
            assert!(last.next() > last);
            last = last.next();
        }
    }

    #[test]
    fn the_epoch_as_bernstein_has_it() {
        let bytes = Tai64n::from_unix(Duration::ZERO).to_bytes();
        assert_eq!(bytes, [0x40, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0]);
    }
}
