//! The time that all cores of the machine were busy.

use std::fs;
use std::io;
use std::time::Duration;

/// `USER_HZ`, the unit of `/proc/stat` on every machine that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// Busy time since the machine started: user, nice, system, interrupts and what was stolen from us,
/// not idle and not waiting for a disk.
///
/// # Errors
/// Those of reading `/proc/stat`.
pub(crate) fn busy() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal; guest time is in user time already.
    let ticks: u32 = fields
        .take(8)
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4))
        .filter_map(|(_, field)| field.parse::<u32>().ok())
        .fold(0, u32::saturating_add);
    Ok(TICK.saturating_mul(ticks))
}
