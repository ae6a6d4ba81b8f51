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
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod units;
