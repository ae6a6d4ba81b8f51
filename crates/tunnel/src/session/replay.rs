//! Which counters were seen (RFC 6479, without moving bits).

use crate::codec::{Codec, Decoder, Encoder};

/// The counters of the last [`Self::LEN`] messages of one session.
///
/// A ring of words; one more than the window is long, so that the word that is being started never
/// holds counters that are still in it.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow {
    words: [u64; Self::WORDS],
    /// One more than the greatest counter that was seen; 0 for none.
    next: u64,
}

impl ReplayWindow {
    /// How far behind the greatest one a counter may be. A train of 64 datagrams can overtake another a
    /// hundred times.
    pub(crate) const LEN: u64 = 8192;
    const WORDS: usize = 129;

    pub(crate) const fn new() -> Self {
        Self { words: [0; Self::WORDS], next: 0 }
    }

    /// Whether a counter was not seen and is not too old.
    pub(crate) fn is_new(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        self.next - counter <= Self::LEN && self.word(counter) & bit(counter) == 0
    }

    /// Records a counter; returns whether it was new. Only for authenticated messages.
    pub(crate) fn note(&mut self, counter: u64) -> bool {
        if !self.is_new(counter) {
            return false;
        }
        if counter >= self.next {
            let (first, last) = (self.next.div_ceil(64), counter / 64);
            // All words between are from the round before; a jump of more than a round clears each once.
            let words = u64::try_from(Self::WORDS).unwrap_or(u64::MAX);
            for word in first.max((last + 1).saturating_sub(words))..=last {
                if let Some(word) = self.words.get_mut(place(word)) {
                    *word = 0;
                }
            }
            self.next = counter.saturating_add(1);
        }
        if let Some(word) = self.words.get_mut(place(counter / 64)) {
            *word |= bit(counter);
        }
        true
    }

    fn word(&self, counter: u64) -> u64 {
        self.words.get(place(counter / 64)).copied().unwrap_or_default()
    }
}

impl Codec for ReplayWindow {
    fn encode(&self, to: &mut Encoder) {
        self.next.encode(to);
        self.words.iter().for_each(|word| word.encode(to));
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let mut window = Self { next: Codec::decode(from)?, ..Self::new() };
        for word in &mut window.words {
            *word = Codec::decode(from)?;
        }
        Some(window)
    }
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

fn place(word: u64) -> usize {
    usize::try_from(word % 129).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The oracle: the set of all that was accepted.
    #[derive(Default)]
    struct Seen {
        all: BTreeSet<u64>,
    }

    impl Seen {
        fn note(&mut self, counter: u64) -> bool {
            let greatest = self.all.last().copied();
            let too_old =
                greatest.is_some_and(|greatest| u128::from(counter) + 8192 <= u128::from(greatest));
            !too_old && self.all.insert(counter)
        }
    }

    /// Steps of all sizes, forwards and back.
    fn steps() -> impl Strategy<Value = std::vec::Vec<i64>> {
        prop::collection::vec(
            prop_oneof![-3_i64..6, -200_i64..200, -9000_i64..9000, -70_000_i64..70_000],
            1..300,
        )
    }

    proptest! {
        #[test]
        fn a_window_is_a_set(
            start in prop_oneof![Just(0), Just(u64::MAX - 9000), any::<u64>()],
            steps in steps(),
        ) {
            let (mut window, mut seen, mut counter) = (ReplayWindow::new(), Seen::default(), start);
            for step in steps {
                counter = counter.saturating_add_signed(step).min(u64::MAX - 1);
                prop_assert_eq!(window.is_new(counter), window.clone().note(counter));
                prop_assert_eq!(window.note(counter), seen.note(counter), "{}", counter);
            }
        }
    }

    #[test]
    fn the_edges_of_the_window() {
        let mut window = ReplayWindow::new();
        assert!(window.note(0));
        assert!(!window.note(0));
        assert!(window.note(8192));
        assert!(!window.note(0), "8192 behind");
        assert!(window.note(1), "8191 behind");
        assert!(window.note(u64::MAX - 8193));
        assert!(!window.note(u64::MAX - 8193));
    }
}
