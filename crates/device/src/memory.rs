//! Memory that holds secrets.

use std::io;
use std::ops::Range;

/// Locks the pages that hold these addresses: they are not swapped out (mlock(2)), and are left out of
/// core files (MADV_DONTDUMP). Does not wait if they are in RAM.
///
/// They stay locked until they are unmapped. Locking a page twice counts once.
///
/// # Errors
/// ENOMEM: more than RLIMIT_MEMLOCK, or the addresses have no memory; EPERM: the limit is 0.
pub fn lock_memory(addresses: Range<usize>) -> io::Result<()> {
    crate::sys::memory::lock(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_locked_and_left_out_of_core_files() {
        let secret = Box::new([7_u8; 32]);
        let start = (&raw const *secret).addr();
        lock_memory(start..start + 32).unwrap();
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_inside = false;
        let flags = smaps.lines().find_map(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let hex = |text| usize::from_str_radix(text, 16).ok();
            if let Some((Some(from), Some(to))) = range.map(|(from, to)| (hex(from), hex(to))) {
                is_inside = (from..to).contains(&start);
            }
            line.strip_prefix("VmFlags:").filter(|_| is_inside)
        });
        let flags: Vec<&str> = flags.unwrap().split_whitespace().collect();
        assert!(flags.contains(&"lo") && flags.contains(&"dd"), "{flags:?}");
        assert!(lock_memory(0..1).is_err(), "there is no memory");
    }
}
