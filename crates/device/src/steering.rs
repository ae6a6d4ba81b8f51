//! Receive-side scaling: a Toeplitz hash of addresses and ports, and a table, choose the queue of
//! each packet of a multi-queue device. The hash is also available for virtio-net headers.
//!
//! The kernel's tun driver has no RSS of its own (Linux 6.18), but lets an eBPF program choose the
//! queue. [`Rss`] is such a program; [`PacketHasher`] computes the same hash in this process.

mod hasher;
mod program;
mod tuple;

use crate::bpf::{EbpfProgram, LoadError};
use crate::sys::bpf::ArrayMap;
use crate::{Mode, QUEUES_MAX};
use adit_packet::{HashTypes, ToeplitzKey};
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::AsFd;

pub use hasher::PacketHasher;

/// The maximum length of an [`IndirectionTable`], as in virtio-net and most network cards.
pub const INDIRECTION_LEN_MAX: usize = 128;

/// The configuration of [`Rss`]. Minor versions may add fields: start from [`RssConfig::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RssConfig {
    /// The secret key of the Toeplitz hash.
    pub key: ToeplitzKey,
    /// The queue for each hash value.
    pub indirection: IndirectionTable,
    /// The hashed packet types, out of [`HashTypes::PLAIN`]: home addresses (`_EX`) are ignored.
    pub types: HashTypes,
    /// The queue of packets that are not hashed: ARP, malformed packets, types left out.
    pub unclassified_queue: u16,
}

impl RssConfig {
    /// All plain types, Microsoft's key, and queue 0 for packets that are not hashed.
    #[must_use]
    pub fn new(indirection: IndirectionTable) -> Self {
        Self {
            key: ToeplitzKey::MICROSOFT,
            indirection,
            types: HashTypes::PLAIN,
            unclassified_queue: 0,
        }
    }

    /// Like [`RssConfig::new`], but both directions of a flow go to the same queue.
    #[must_use]
    pub fn symmetric(indirection: IndirectionTable) -> Self {
        Self { key: ToeplitzKey::SYMMETRIC, ..Self::new(indirection) }
    }
}

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
    fn value(&self) -> Vec<u8> {
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

/// RSS as a loaded eBPF program.
///
/// A device keeps the attached program and its tables alive; this handle is needed only to change
/// the table.
#[derive(Debug)]
pub struct Rss {
    program: EbpfProgram,
    hasher: PacketHasher,
    indirection: IndirectionTable,
    /// The map that the program reads, with [`IndirectionTable::value`].
    indirection_map: ArrayMap,
}

impl Rss {
    /// Loads the program for devices of one mode.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` in the initial user namespace. Leave the choice to the kernel then:
    /// it keeps a flow on the queue that the program answers it on.
    pub fn load(mode: Mode, config: &RssConfig) -> Result<Self, LoadError> {
        let hasher = PacketHasher::new(mode, &config.key, config.types);
        let hash_map = map_with(&hasher.tables_value())?;
        let indirection_map = map_with(&config.indirection.value())?;
        let answer = program::Answer::Queue { table: &indirection_map };
        let instructions =
            program::assemble(mode, config.types, config.unclassified_queue, &hash_map, answer);
        let program = EbpfProgram::from_instructions(&instructions, crate::bpf::LICENCE)?;
        Ok(Self { program, hasher, indirection: config.indirection.clone(), indirection_map })
    }

    /// Lets the program choose the queues of a device; `queue` is any attached queue of it.
    ///
    /// # Errors
    /// As [`EbpfProgram::attach_steering`].
    pub fn attach(&self, queue: impl AsFd) -> io::Result<()> {
        self.program.attach_steering(queue)
    }

    /// Changes the table for all devices that the program is attached to, from the next packet on.
    ///
    /// # Errors
    /// Those of bpf(2); none is known for a loaded table.
    pub fn set_indirection(&mut self, table: IndirectionTable) -> io::Result<()> {
        self.indirection_map.update(&table.value())?;
        self.indirection = table;
        Ok(())
    }

    /// The queue that the program chooses for a packet or frame (without the queue's headers),
    /// before the kernel takes it modulo the number of attached queues. `None` if the packet is not
    /// hashed and goes to [`RssConfig::unclassified_queue`].
    #[must_use]
    pub fn queue_for(&self, packet: &[u8]) -> Option<u16> {
        self.hasher.hash(packet).map(|hash| self.indirection.queue(hash.value))
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &EbpfProgram {
        &self.program
    }
}

/// A map that holds `value`.
fn map_with(value: &[u8]) -> io::Result<ArrayMap> {
    let len = u32::try_from(value.len()).expect("tables of a few thousand bytes");
    let map = ArrayMap::new(len)?;
    map.update(value)?;
    Ok(map)
}

#[cfg(test)]
mod tests;
