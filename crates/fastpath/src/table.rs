//! The table, and how interfaces are joined to it.

use crate::entry::{
    Address, COUNTERS_LEN, Entry, Ingress, KEY_LEN, SLOTS_MAX, VALUE_LEN, key_bytes,
};
use crate::hook::{Attached, Hook};
use crate::program;
use adit_device::bpf::{ArrayMap, HashMap, IngressProgram, LICENCE};
use adit_device::{ClassicFilter, EbpfProgram, IfIndex, LoadError, Netns};
use adit_engine::fast_path::StationKey;
use std::io;
use std::os::fd::AsFd;

/// How many entries are read at once.
const PAGE_LEN: usize = 1024;

/// What a kernel forwards between interfaces of one network namespace.
#[derive(Debug)]
pub struct Table {
    addresses: HashMap<KEY_LEN, VALUE_LEN>,
    /// The epoch: a number of 64 bits.
    state: ArrayMap,
    /// By slot.
    counters: ArrayMap,
    redirect: IngressProgram,
    /// What marks a buffer.
    secret: [i32; 2],
    scratch: Box<Scratch>,
}

#[derive(Debug)]
struct Scratch {
    keys: [[u8; KEY_LEN]; PAGE_LEN],
    values: [[u8; VALUE_LEN]; PAGE_LEN],
    counters: [u8; COUNTERS_LEN * SLOTS_MAX as usize],
}

/// Frames and bytes that the kernel forwarded from and to an interface. A super-packet is one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came in.
    pub ingress_frames: u64,
    /// Their bytes, with tags.
    pub ingress_bytes: u64,
    /// Frames that left.
    pub egress_frames: u64,
    /// Their bytes, with tags.
    pub egress_bytes: u64,
}

impl Table {
    /// Makes an empty table for `addresses_max` addresses, and loads the program for ingress. `secret` is
    /// a random number.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` and `CAP_NET_ADMIN` in the initial user namespace; EINVAL on a kernel without
    /// what the programs need.
    pub fn new(addresses_max: u32, secret: u64) -> Result<Self, LoadError> {
        let half = |bits: u64| i32::try_from(bits & 0x7fff_ffff).unwrap_or(0);
        let secret = [half(secret), half(secret >> 32)];
        let redirect = program::redirect(secret);
        Ok(Self {
            addresses: HashMap::new(addresses_max)?,
            state: ArrayMap::new(8)?,
            counters: ArrayMap::new(u32::try_from(size_of_counters()).unwrap_or(u32::MAX))?,
            redirect: IngressProgram::from_instructions(&redirect, LICENCE)?,
            secret,
            scratch: Box::new(Scratch {
                keys: [[0; KEY_LEN]; PAGE_LEN],
                values: [[0; VALUE_LEN]; PAGE_LEN],
                counters: [0; size_of_counters()],
            }),
        })
    }

    /// Lets marked frames of an interface leave by others. Without [`Self::decide`] none is marked.
    ///
    /// # Errors
    /// ENODEV: there is no such interface in `netns`; EPERM. Where the kernel has no tcx: EINVAL if the first priority
    /// belongs to a filter of another kind; EOPNOTSUPP without the packet classifier.
    pub fn link(&self, netns: &Netns, index: IfIndex, hook: Hook) -> io::Result<Attached> {
        Attached::new(&self.redirect, netns, index, hook)
    }

    /// Lets frames that come in at a port be forwarded by the table, in place of the rules before; the
    /// packet socket no longer gets those.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn decide(&self, socket: impl AsFd, port: &Ingress) -> Result<(), LoadError> {
        let maps = program::Maps {
            addresses: self.addresses.as_fd(),
            state: &self.state,
            counters: &self.counters,
            secret: self.secret,
        };
        let filter = program::filter(&maps, port);
        let filter = EbpfProgram::from_instructions(&filter, LICENCE)?;
        Ok(filter.attach_to_socket(socket)?)
    }

    /// Gives all frames to the packet socket again.
    ///
    /// # Errors
    /// ENOENT: it does already.
    pub fn undecide(socket: impl AsFd) -> io::Result<()> {
        ClassicFilter::detach_from_socket(socket)
    }

    /// Makes all entries of other epochs invalid, at once and on all processors but for the frame that each
    /// works on.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn set_epoch(&self, epoch: u64) -> io::Result<()> {
        self.state.update(&epoch.to_ne_bytes())
    }

    /// Adds an address or replaces it.
    ///
    /// # Errors
    /// E2BIG: the table is full.
    pub fn insert(&self, entry: &Entry) -> io::Result<()> {
        self.addresses.insert(&key_bytes(entry.station.key), &entry.to_bytes())
    }

    /// Removes an address; `false` if it is not in the table.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn remove(&self, key: StationKey) -> io::Result<bool> {
        match self.addresses.remove(&key_bytes(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Visits some addresses, from the place `from` on or from the start, and says where to go on.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn page(
        &mut self,
        from: Option<u32>,
        mut visit: impl FnMut(Address),
    ) -> io::Result<Option<u32>> {
        let Scratch { keys, values, .. } = &mut *self.scratch;
        let (count, next) = self.addresses.page(from, keys, values)?;
        keys.iter().zip(values).take(count).for_each(|(key, value)| {
            visit(Address::from_bytes(key, value));
        });
        Ok(next)
    }

    /// Calls `each` with the counters of each slot below `count`.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn counters(&mut self, count: u16, mut each: impl FnMut(u16, Counters)) -> io::Result<()> {
        self.counters.read(&mut self.scratch.counters)?;
        let (slots, _) = self.scratch.counters.as_chunks::<COUNTERS_LEN>();
        for (slot, bytes) in (0..count).zip(slots) {
            let (words, _) = bytes.as_chunks::<8>();
            let [a, b, c, d] = [0, 1, 2, 3]
                .map(|at| words.get(at).map_or(0, |word: &[u8; 8]| u64::from_ne_bytes(*word)));
            let counters =
                Counters { ingress_frames: a, ingress_bytes: b, egress_frames: c, egress_bytes: d };
            each(slot, counters);
        }
        Ok(())
    }
}

const fn size_of_counters() -> usize {
    COUNTERS_LEN * SLOTS_MAX as usize
}
