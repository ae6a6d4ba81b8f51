//! Pages of memory.

use rustix::mm::{Advice, madvise, mlock};
use std::io;
use std::ops::Range;

/// Keeps the pages that hold these addresses in RAM, and out of core files.
pub(crate) fn lock(addresses: Range<usize>) -> io::Result<()> {
    let page = rustix::param::page_size();
    let start = addresses.start / page * page;
    let len = addresses.end.next_multiple_of(page).saturating_sub(start);
    let at = std::ptr::without_provenance_mut(start);
    // SAFETY: neither call reads, writes or unmaps the memory; addresses without a page are ENOMEM.
    unsafe { mlock(at, len)? };
    // SAFETY: as above. This advice changes what a core file has, and nothing else.
    unsafe { madvise(at, len, Advice::LinuxDontDump)? };
    Ok(())
}
