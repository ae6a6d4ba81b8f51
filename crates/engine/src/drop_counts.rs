//! How many packets were dropped, by reason.

use alloc::vec::Vec;

use crate::drop_reason::DropReason;

/// Packets dropped, by reason: one set for each place where drops are counted, e.g. a port or a peer.
///
/// The reasons in [`DropReason::KNOWN`] are counted in an array. A reason from elsewhere is searched
/// for among [`Self::OTHERS_MAX`] at most; its first occurrence allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounts {
    total: u64,
    known: [u64; DropReason::KNOWN.len()],
    others: Vec<(DropReason, u64)>,
}

impl DropCounts {
    /// How many reasons from elsewhere are counted separately; further ones count as
    /// [`DropReason::OTHER`]. An engine has a dozen of its own.
    pub const OTHERS_MAX: usize = 64;

    /// Nothing dropped.
    #[must_use]
    pub const fn new() -> Self {
        Self { total: 0, known: [0; DropReason::KNOWN.len()], others: Vec::new() }
    }

    /// Counts one packet.
    #[inline]
    pub fn note(&mut self, why: DropReason) {
        self.add(why, 1);
    }

    /// Counts several packets.
    #[inline]
    pub fn add(&mut self, why: DropReason, packets: u64) {
        self.total += packets;
        match self.known.get_mut(why.number()) {
            Some(count) => *count += packets,
            None => self.add_other(why, packets),
        }
    }

    #[cold]
    fn add_other(&mut self, why: DropReason, packets: u64) {
        if let Some((_, count)) = self.others.iter_mut().find(|(other, _)| *other == why) {
            *count += packets;
        } else if self.others.len() < Self::OTHERS_MAX {
            self.others.push((why, packets));
        } else if let Some(count) = self.known.get_mut(DropReason::OTHER.number()) {
            *count += packets;
        }
    }

    /// All packets, for any reason.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Packets dropped for that reason.
    #[must_use]
    pub fn count(&self, why: DropReason) -> u64 {
        let other = || self.others.iter().find(|(other, _)| *other == why).map(|&(_, count)| count);
        self.known.get(why.number()).copied().or_else(other).unwrap_or(0)
    }

    /// The reasons that occurred, each with its count: first the known ones, in their order, then
    /// others as they first occurred.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        let known = DropReason::KNOWN.into_iter().zip(self.known);
        known.filter(|&(_, count)| count != 0).chain(self.others.iter().copied())
    }
}

impl Default for DropCounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;
    use std::boxed::Box;
    use std::format;

    #[test]
    fn known_and_other_reasons_are_counted_alike() {
        const MINE: DropReason = DropReason::new(&Reason::new("mine", "It is mine."));
        let mut counts = DropCounts::new();
        for why in [DropReason::LOSS, MINE, DropReason::LOSS, MINE, MINE] {
            counts.note(why);
        }
        assert_eq!(counts.total(), 5);
        assert_eq!((counts.count(DropReason::LOSS), counts.count(MINE)), (2, 3));
        assert_eq!(counts.count(DropReason::STORM), 0);
        assert_eq!(counts.iter().collect::<Vec<_>>(), [(DropReason::LOSS, 2), (MINE, 3)]);
    }

    #[test]
    fn reasons_without_number_are_bounded() {
        let mut counts = DropCounts::new();
        for number in 0..DropCounts::OTHERS_MAX + 3 {
            let name = Box::leak(format!("reason {number}").into_boxed_str());
            counts.note(DropReason::new(Box::leak(Box::new(Reason::new(name, "A reason.")))));
        }
        assert_eq!(counts.count(DropReason::OTHER), 3);
        assert_eq!(counts.iter().count(), DropCounts::OTHERS_MAX + 1);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), counts.total());
    }
}
