//! Receive-side scaling: a Toeplitz hash of addresses and ports, and a table, choose the queue of
//! each packet of a multi-queue device. The hash is also available for virtio-net headers.
//!
//! The kernel's tun driver has no RSS of its own (Linux 6.18), but lets an eBPF program choose the
//! queue. [`Rss`] is such a program; [`PacketHasher`] computes the same hash in this process.

mod hasher;
mod indirection;
mod program;
mod tuple;

use crate::Mode;
use crate::bpf::{EbpfProgram, LoadError};
use crate::sys::bpf::ArrayMap;
use adit_packet::{HashTypes, ToeplitzKey};
use std::io;
use std::os::fd::AsFd;

pub use hasher::PacketHasher;
pub use indirection::{INDIRECTION_LEN_MAX, IndirectionError, IndirectionTable};

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
