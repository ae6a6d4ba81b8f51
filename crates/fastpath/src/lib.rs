#![doc = include_str!("../README.md")]
//!
//! # Theory of operation
//!
//! ```text
//! interface -> packet socket: filter   looks both addresses up: not forwarded -> the socket gets the frame
//!                  | forwarded: counts, marks the buffer, keeps the frame from the socket
//!                  v
//!              ingress: redirect       a marked frame leaves by its interface; any other goes on as usual
//! ```
//!
//! One program decides, and the other follows a mark that only the first can make: whatever happens to the
//! table between the two, a frame is neither forwarded twice nor lost. The first ends with its socket, so
//! nothing is forwarded after the death of the process. The second ends with a descriptor too, unless the kernel is older
//! than Linux 6.6. There it is a filter of the packet classifier, which does nothing after a kill until the next start
//! removes it.
//!
//! | file | what |
//! |---|---|
//! | `table` | [`Table`]: the maps, the programs on interfaces and sockets |
//! | `hook` | [`Attached`]: the program at an interface, by the means that the kernel has |
//! | `entry` | [`Entry`], [`Ingress`], [`Address`]: what is in the maps, byte by byte |
//! | `program` | the two programs |
#![forbid(unsafe_code)]

mod entry;
mod hook;
mod program;
mod table;

pub use entry::{Address, Entry, Ingress, SLOTS_MAX};
pub use hook::{Attached, Hook};
pub use table::{Counters, Table};

#[cfg(test)]
mod tests;
