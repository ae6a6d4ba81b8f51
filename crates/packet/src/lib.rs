//! Packets as bytes: no operating system, no clock, no sockets.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod mac;

pub use mac::{MacAddr, ParseMacError};
