//! Frames between interfaces, forwarded by the kernel as a program says: a table of addresses in a BPF map,
//! and two programs on each interface.
//!
//! ```text
//! interface -> packet socket: filter   looks both addresses up: not forwarded -> the socket gets the frame
//!                  | forwarded: counts, marks the buffer, keeps the frame from the socket
//!                  v
//!              ingress: redirect       a marked frame leaves by its interface; any other goes on as usual
//! ```
//!
//! One program decides, and the other follows a mark that only the first can make: whatever happens to the
//! table between the two, a frame is neither forwarded twice nor lost. A filter ends with its socket, so
//! nothing is forwarded after the death of the process, even where the other program stays behind.

mod attach;
mod entry;
mod program;

use crate::bpf::{self, EbpfProgram, LoadError};
use crate::sys::bpf::{ArrayMap, HashMap, PROG_TYPE_SCHED_CLS};
use crate::sys::filter;
use crate::{IfIndex, Netns};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

pub use attach::FastLink;
use entry::{COUNTERS_LEN, KEY_LEN, VALUE_LEN};
pub use entry::{FAST_SLOTS_MAX, FastAddress, FastEntry, FastForm, FastKey, FastPort, FastTags};

/// How many entries are read at once.
const PAGE_LEN: usize = 1024;

/// What a kernel forwards between interfaces of one network namespace.
#[derive(Debug)]
pub struct FastPath {
    addresses: HashMap<KEY_LEN, VALUE_LEN>,
    /// The epoch: a number of 64 bits.
    state: ArrayMap,
    /// By slot.
    counters: ArrayMap,
    redirect: OwnedFd,
    /// What marks a buffer.
    secret: [i32; 2],
    scratch: Box<Scratch>,
}

#[derive(Debug)]
struct Scratch {
    keys: [[u8; KEY_LEN]; PAGE_LEN],
    values: [[u8; VALUE_LEN]; PAGE_LEN],
    counters: [u8; COUNTERS_LEN * FAST_SLOTS_MAX as usize],
}

/// Frames and bytes that the kernel forwarded from and to an interface. A super-packet is one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastCounters {
    /// Frames that came in.
    pub ingress_frames: u64,
    /// Their bytes, with tags.
    pub ingress_bytes: u64,
    /// Frames that left.
    pub egress_frames: u64,
    /// Their bytes, with tags.
    pub egress_bytes: u64,
}

impl FastPath {
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
            redirect: bpf::load(PROG_TYPE_SCHED_CLS, &redirect, bpf::LICENCE)?,
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
    /// ENODEV: there is no such interface in `netns`; EINVAL on a kernel without tcx and without clsact.
    pub fn link(&self, netns: &Netns, index: IfIndex) -> io::Result<FastLink> {
        FastLink::new(self.redirect.as_fd(), netns, index)
    }

    /// Lets frames that come in at a port be forwarded by the table, in place of the rules before; the
    /// packet socket no longer gets those.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn decide(&self, socket: impl AsFd, port: &FastPort) -> Result<(), LoadError> {
        let maps = program::Maps {
            addresses: self.addresses.as_fd(),
            state: &self.state,
            counters: &self.counters,
            secret: self.secret,
        };
        let filter = program::filter(&maps, port);
        let filter = EbpfProgram::from_instructions(&filter, bpf::LICENCE)?;
        Ok(filter::attach_socket_program(socket.as_fd(), filter.as_fd())?)
    }

    /// Gives all frames to the packet socket again.
    ///
    /// # Errors
    /// ENOENT: it does already.
    pub fn undecide(socket: impl AsFd) -> io::Result<()> {
        filter::detach_socket_filter(socket.as_fd())
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
    pub fn insert(&self, entry: &FastEntry) -> io::Result<()> {
        self.addresses.insert(&entry.key.to_bytes(), &entry.to_bytes())
    }

    /// Removes an address; `false` if it is not in the table.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn remove(&self, key: FastKey) -> io::Result<bool> {
        match self.addresses.remove(&key.to_bytes()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
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
        mut visit: impl FnMut(FastAddress),
    ) -> io::Result<Option<u32>> {
        let Scratch { keys, values, .. } = &mut *self.scratch;
        let (count, next) = self.addresses.page(from, keys, values)?;
        keys.iter().zip(values).take(count).for_each(|(key, value)| {
            visit(FastAddress::from_bytes(key, value));
        });
        Ok(next)
    }

    /// Calls `each` with the counters of each slot below `count`.
    ///
    /// # Errors
    /// None is known for a map of our own.
    pub fn counters(
        &mut self,
        count: u16,
        mut each: impl FnMut(u16, FastCounters),
    ) -> io::Result<()> {
        self.counters.read(&mut self.scratch.counters)?;
        let (slots, _) = self.scratch.counters.as_chunks::<COUNTERS_LEN>();
        for (slot, bytes) in (0..count).zip(slots) {
            let (words, _) = bytes.as_chunks::<8>();
            let [a, b, c, d] = [0, 1, 2, 3]
                .map(|at| words.get(at).map_or(0, |word: &[u8; 8]| u64::from_ne_bytes(*word)));
            let counters = FastCounters {
                ingress_frames: a,
                ingress_bytes: b,
                egress_frames: c,
                egress_bytes: d,
            };
            each(slot, counters);
        }
        Ok(())
    }
}

const fn size_of_counters() -> usize {
    COUNTERS_LEN * FAST_SLOTS_MAX as usize
}

#[cfg(test)]
mod tests;
