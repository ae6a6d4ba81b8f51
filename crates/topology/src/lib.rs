//! Virtual networks described: hosts, routers, switches, NATs, guests, the links between them, and what happens there.
//!
//! ```text
//! file/      the wanted network from a file
//! shapes/    networks of a regular shape
//! import/    networks of other programs: containerlab, the Internet Topology Zoo
//! model/     the wanted network: plain data, whatever it comes from
//! plan/      the same with everything filled in: addresses, routes, seeds, and how each link is made
//! routing/   configurations of BIRD and FRR from a plan
//! export/    a plan as a shell script
//! graph/     pictures
//! report     what a network that runs reports
//! health     what is wrong with it
//! scenario/  what happens in it, and what must be true then
//! ```
//!
//! The crate `adit-lab` makes these networks, of the kernel's namespaces or in virtual time.
#![forbid(unsafe_code)]

pub mod export;
pub mod file;
pub mod graph;
pub mod health;
pub mod import;
pub mod model;
pub mod plan;
pub mod report;
pub mod routing;
pub mod scenario;
pub mod shapes;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
