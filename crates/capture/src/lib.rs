//! Captures: shows, records, filters and answers the packets of one interface. This is what `adit capture` does.
//!
//! A crate because a program that captures needs this part alone.
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
#![forbid(unsafe_code)]

pub mod extcap;
pub mod lab;
pub mod read;
pub mod reply;
pub mod run;
pub mod source;
pub mod units;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
