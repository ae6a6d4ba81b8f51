//! The table that leads from a hash to a queue.

use crate::QUEUES_MAX;
use std::error::Error;
use std::fmt;

/// The maximum length of an [`IndirectionTable`], as in virtio-net and most network cards.
pub const INDIRECTION_LEN_MAX: usize = 128;

/// The queue for each value of the lowest bits of the hash.
///
/// Queues are numbered among the attached queues of the device, and the kernel takes the number
/// modulo their count. When a queue detaches, the last one takes over its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectionTable(Vec<u16>);

impl IndirectionTable {
    /// Checks a table: the number of entries is a power of two up to 128, each entry is at most
    /// 255.
    ///
    /// # Errors
    /// [`IndirectionError`]: the rule that it violates.
    pub fn new(queues: impl Into<Vec<u16>>) -> Result<Self, IndirectionError> {
        let queues = queues.into();
        let len = queues.len();
        if !len.is_power_of_two() || len > INDIRECTION_LEN_MAX {
            return Err(IndirectionError::Len { len });
        }
        if let Some(&queue) = queues.iter().find(|&&queue| queue >= QUEUES_MAX) {
            return Err(IndirectionError::Queue { queue });
        }
        Ok(Self(queues))
    }

    /// A table of 128 entries that spreads the hash evenly over the queues 0 to `queues` - 1.
    ///
    /// # Errors
    /// [`IndirectionError::Queues`] if `queues` is not 1 to 256.
    pub fn even(queues: u16) -> Result<Self, IndirectionError> {
        if queues == 0 || queues > QUEUES_MAX {
            return Err(IndirectionError::Queues { queues });
        }
        Ok(Self((0..queues).cycle().take(INDIRECTION_LEN_MAX).collect()))
    }

    /// The queues, by hash value.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }

    /// The queue for a hash.
    #[must_use]
    pub fn queue(&self, hash: u32) -> u16 {
        let mask = self.0.len() - 1;
        self.0[usize::try_from(hash).map_or(0, |hash| hash & mask)]
    }

    /// The table as the program reads it: always 128 entries, in native byte order. A shorter table
    /// is repeated, which changes no result, because the lengths are powers of two.
    pub(super) fn value(&self) -> Vec<u8> {
        self.0.iter().cycle().take(INDIRECTION_LEN_MAX).flat_map(|q| q.to_ne_bytes()).collect()
    }
}

/// The rule that an indirection table violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndirectionError {
    /// The number of entries is not a power of two up to 128.
    Len {
        /// The number of entries.
        len: usize,
    },
    /// An entry exceeds the maximum queue number.
    Queue {
        /// The first such entry.
        queue: u16,
    },
    /// The number of queues is not 1 to 256.
    Queues {
        /// The number of queues.
        queues: u16,
    },
}

impl fmt::Display for IndirectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Len { len } => write!(
                f,
                "the indirection table has {len} entries, not a power of two up to {INDIRECTION_LEN_MAX}"
            ),
            Self::Queue { queue } => write!(
                f,
                "the indirection table names queue {queue}, and a device has at most {QUEUES_MAX}"
            ),
            Self::Queues { queues } => {
                write!(f, "the table has {queues} queues; the valid range is 1 to {QUEUES_MAX}")
            }
        }
    }
}

impl Error for IndirectionError {}
