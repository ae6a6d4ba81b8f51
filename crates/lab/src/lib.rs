//! Virtual networks: hosts, routers, switches, NATs, guests, and the links between them.
//!
//! ```text
//! file/    the wanted network from a file
//! model/   the wanted network: plain data, whatever it comes from
//! plan/    the same with everything filled in: addresses, routes, seeds, and how each link is made
//! ```
#![forbid(unsafe_code)]

pub mod file;
pub mod model;
pub mod plan;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
