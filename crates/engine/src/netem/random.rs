//! A stream of random numbers for each effect and direction, all from one seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What all random decisions of one direction of a link are drawn from.
///
/// The seed is the key of `ChaCha8`, and each effect of each direction has a stream number of its own:
/// to add loss does not change the delays that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed {
    key: u64,
    direction: u32,
}

impl Seed {
    /// The first direction of this seed.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key, direction: 0 }
    }

    /// Another direction (of the same link or another one) of the same seed.
    #[must_use]
    pub const fn direction(self, direction: u32) -> Self {
        Self { direction, ..self }
    }

    /// The number it was made with.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.key
    }

    pub(super) fn stream(self, effect: Effect) -> Stream {
        let mut key = [0; 32];
        if let Some(first) = key.first_chunk_mut() {
            *first = self.key.to_le_bytes();
        }
        let mut random = ChaCha8Rng::from_seed(key);
        random.set_stream(u64::from(self.direction) << 8 | u64::from(effect as u8));
        Stream(random)
    }
}

/// What draws random numbers. The numbers are those of the streams: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Effect {
    Corrupt = 0,
    Bit = 1,
    Loss = 2,
    LossState = 3,
    Duplicate = 4,
    Delay = 5,
    Reorder = 6,
    Flows = 7,
}

/// The random numbers of one effect.
#[derive(Clone, Debug)]
pub(super) struct Stream(ChaCha8Rng);

/// 2^53: how many numbers [`Stream::unit`] has.
const UNIT: f64 = 9_007_199_254_740_992.0;

impl Stream {
    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 53 random bits.
    fn bits(&mut self) -> u64 {
        self.next() >> 11
    }

    /// A number above 0 and below 1, symmetric around the middle.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(super) fn unit(&mut self) -> f64 {
        // The highest would round to 1.
        ((self.bits() as f64 + 0.5) / UNIT).min(1.0 - f64::EPSILON / 2.0)
    }

    /// A whole number below `limit`, which is not 0. The bias is below `limit / 2^64`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let high = (u128::from(self.next()) * u128::from(limit)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }

    /// Whether something of this chance happens.
    pub(super) fn happens(&mut self, chance: Chance) -> bool {
        self.bits() < chance.0
    }
}

/// A probability, made ready to be compared with 53 random bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chance(u64);

impl Chance {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 2^53, both exact"
    )]
    pub(super) fn new(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * UNIT) as u64)
    }

    pub(super) const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with an old seed gets the same numbers.
    #[test]
    fn the_numbers_never_change() {
        let first = |seed: Seed, effect| seed.stream(effect).next();
        let seed = Seed::new(1);
        // ChaCha8, key 0, nonce 0: the keystream's first eight bytes (draft-strombergson-chacha-test-
        // vectors-01, TC1).
        let zero = first(Seed::new(0), Effect::Corrupt);
        assert_eq!(zero.to_le_bytes(), [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
        let others = [
            first(seed, Effect::Loss),
            first(seed, Effect::Delay),
            first(seed.direction(1), Effect::Loss),
            first(Seed::new(2), Effect::Loss),
        ];
        for (index, one) in others.iter().enumerate() {
            assert!(!others[index + 1..].contains(one), "each stream is its own");
        }
    }

    #[test]
    fn a_chance_is_what_it_says() {
        let mut stream = Seed::new(3).stream(Effect::Loss);
        assert!((0..1000).all(|_| stream.happens(Chance::new(1.0))));
        assert!(!(0..1000).any(|_| stream.happens(Chance::new(0.0))));
        let hits = (0..100_000).filter(|_| stream.happens(Chance::new(0.01))).count();
        // Five standard deviations of a binomial variable.
        assert!((843..=1157).contains(&hits), "{hits}");
        assert!((0..100_000).map(|_| stream.unit()).all(|unit| unit > 0.0 && unit < 1.0));
        assert!((0..1000).all(|_| stream.below(3) < 3));
    }
}
