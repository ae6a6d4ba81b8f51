//! Receive-side scaling: which queue of a multi-queue device gets a packet, chosen by a Toeplitz
//! hash of its addresses and ports and a table, and that hash itself for a virtio-net header.
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

/// The most entries of an [`IndirectionTable`], as in virtio-net and most network cards.
pub const INDIRECTION_LEN_MAX: usize = 128;

/// How to spread packets over queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RssConfig {
    /// The secret of the Toeplitz hash.
    pub key: ToeplitzKey,
    /// Which queue each value of the hash means.
    pub indirection: IndirectionTable,
    /// What is hashed, out of [`HashTypes::PLAIN`]: home addresses (`_EX`) are not looked for.
    pub types: HashTypes,
    /// The queue of all that is not hashed: ARP, broken packets, types left out.
    pub unclassified_queue: u16,
}

impl RssConfig {
    /// All plain types, Microsoft's key, queue 0 for what is not hashed.
    #[must_use]
    pub fn new(indirection: IndirectionTable) -> Self {
        Self {
            key: ToeplitzKey::MICROSOFT,
            indirection,
            types: HashTypes::PLAIN,
            unclassified_queue: 0,
        }
    }

    /// As [`RssConfig::new`], but both directions of a flow go to one queue.
    #[must_use]
    pub fn symmetric(indirection: IndirectionTable) -> Self {
        Self { key: ToeplitzKey::SYMMETRIC, ..Self::new(indirection) }
    }
}

/// The queue for each value of the lowest bits of the hash.
///
/// A queue here is its index among the attached queues of the device. The kernel takes it modulo
/// their number; when a queue detaches, the last one takes its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectionTable(Vec<u16>);

impl IndirectionTable {
    /// Checks a table: a power of two of entries, at most 128, each at most 255.
    ///
    /// # Errors
    /// [`IndirectionError`] says which rule it breaks.
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

    /// 128 entries that spread the hash evenly over the queues 0 to `queues` - 1.
    ///
    /// # Errors
    /// [`IndirectionError::Queues`] if `queues` is not 1 to 256.
    pub fn even(queues: u16) -> Result<Self, IndirectionError> {
        if queues == 0 || queues > QUEUES_MAX {
            return Err(IndirectionError::Queues { queues });
        }
        Ok(Self((0..queues).cycle().take(INDIRECTION_LEN_MAX).collect()))
    }

    /// The queues, in order of the hash.
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

    /// The table as the program reads it: always 128 entries, in the machine's byte order. A shorter
    /// one is repeated, which changes no answer: the lengths are powers of two.
    fn value(&self) -> Vec<u8> {
        self.0.iter().cycle().take(INDIRECTION_LEN_MAX).flat_map(|q| q.to_ne_bytes()).collect()
    }
}

/// The rule that an indirection table breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndirectionError {
    /// The number of entries is not a power of two up to 128.
    Len {
        /// How many entries it has.
        len: usize,
    },
    /// An entry names a queue that no device can have.
    Queue {
        /// The first such entry.
        queue: u16,
    },
    /// The number of queues to spread over is not 1 to 256.
    Queues {
        /// The number.
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

/// RSS as an eBPF program, loaded.
///
/// A device that it is attached to keeps program and tables alive; this handle is needed only to
/// change the table.
#[derive(Debug)]
pub struct Rss {
    program: EbpfProgram,
    hasher: PacketHasher,
    indirection: IndirectionTable,
    /// What the program reads: [`IndirectionTable::value`].
    indirection_map: ArrayMap,
}

impl Rss {
    /// Loads a program for devices of one mode.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` in the initial user namespace; leave the choice to the kernel then: it
    /// keeps a flow on the queue on which the program answers it.
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

    /// Changes the table under every device that the program is attached to, from the next packet on.
    ///
    /// # Errors
    /// Those of bpf(2); none is known for a table once loaded.
    pub fn set_indirection(&mut self, table: IndirectionTable) -> io::Result<()> {
        self.indirection_map.update(&table.value())?;
        self.indirection = table;
        Ok(())
    }

    /// The queue that the program chooses for a packet as a queue delivers it (without packet
    /// information and virtio-net header), or `None` if it is not hashed and goes to the queue for
    /// those. It is yet to be taken modulo the number of attached queues.
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
