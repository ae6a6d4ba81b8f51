//! Small parts that services share: how often a thing is reported, and seeds.

use crate::error::{Error, Result};
use adit_packet::Instant;
use std::time::Duration;

/// How long the same thing is not reported again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts something that an outsider can cause with every packet, and reports it at most once a second.
#[derive(Debug, Default)]
pub struct RateLimitedLog {
    reported: Option<Instant>,
    count: u64,
}

impl RateLimitedLog {
    /// Counts one more. `Some(count since the last report)` if it must be reported now.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.reported.is_some_and(|reported| now.since(reported) < INTERVAL) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

/// `once`, `7 times`.
#[must_use]
pub fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// A random seed below 2^53: JSON readers that use doubles keep it.
///
/// # Errors
/// Those of getrandom(2).
pub fn seed() -> Result<u64> {
    Ok(u64::from_ne_bytes(random()?) >> 11)
}

/// Random bytes, fit for secrets.
///
/// # Errors
/// Those of getrandom(2).
pub fn random<const LEN: usize>() -> Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("read", "random bytes", &errno.into()))?;
    Ok(bytes)
}
