#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod dns;
mod gateway;
pub mod guest;
mod inside;
mod translate;

pub use gateway::Gateway;
pub use inside::InsideAddresses;
pub use translate::*;
