//! `adit capture`: packets of one interface, shown, written to files, filtered and answered.
//!
//! ```text
//! source -> filter -> decode -> line, tree, JSON          source: a queue of ours, or a packet
//!   |           \---> record -> pcapng -> output                  socket on somebody else's
//!   \-> reply -> back into the queue, recorded as well
//! ```
//!
//! One thread, one loop ([`run`]): sleeping in poll(2) until a packet, a signal, a reader that can
//! take more, or a deadline. Nothing in here but the loop and the source knows of the clock.

pub(crate) mod decode;
pub(crate) mod extcap;
pub(crate) mod filter;
pub(crate) mod pcapng;
pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod units;

use std::time::{Duration, Instant, SystemTime};

/// A reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For deadlines: it never jumps.
    pub(crate) monotonic: Instant,
    /// For time stamps and names: since 1970.
    pub(crate) wall: Duration,
}

impl Now {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { monotonic: Instant::now(), wall: wall.unwrap_or_default() }
    }
}
