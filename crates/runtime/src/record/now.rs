//! The time of a packet on two clocks.

use std::time::{Duration, Instant, SystemTime};

/// A reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines: it never jumps.
    pub monotonic: Instant,
    /// For time stamps and names: since 1970.
    pub wall: Duration,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { monotonic: Instant::now(), wall: wall.unwrap_or_default() }
    }
}
