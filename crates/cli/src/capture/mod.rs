//! `adit capture`: shows, records, filters and answers the packets of one interface.
//!
//! ```text
//! source -> filter -> decode -> line, tree, JSON          source: our queue, or a packet socket
//!   |           \---> record -> pcapng -> output          on an interface of other programs
//!   \-> reply -> back into the queue, recorded as well
//! ```
//!
//! A recording ([`read`]) takes the place of the source without that loop.
//!
//! One thread and one loop ([`run`]) that sleeps in poll(2) until a packet, a signal, a writable output or a
//! deadline. Only the loop and the source read the clock.

pub(crate) mod extcap;
pub(crate) mod lab;
pub(crate) mod read;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod units;
