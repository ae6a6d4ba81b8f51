#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod dns;
mod gateway;
pub mod guest;
mod translate;

pub use gateway::Gateway;
pub use translate::*;
