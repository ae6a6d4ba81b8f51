//! Virtual networks: hosts, routers, switches, NATs, guests, and the links between them.
//!
//! ```text
//! file/    the wanted network from a file
//! limits   whether this machine allows a plan
//! model/   the wanted network: plain data, whatever it comes from
//! keeper/  the process that makes namespaces and runs programs
//! plan/    the same with everything filled in: addresses, routes, seeds, and how each link is made
//! import/  networks of other programs: containerlab, the Internet Topology Zoo
//! export/  a plan as a shell script
//! graph/   pictures
//! routing/  configurations of BIRD and FRR from a plan
//! scenario/  what happens in it, and what must be true then
//! simulated/  the plan in virtual time
//! enter    a command in a node of a lab that runs
//! live/    a lab that runs: the service, its links, its programs
//! trial/   a scenario in a lab that runs
//! topology/  networks of a regular shape
//! engine/  switches and cables as one engine
//! probe/   pings from many namespaces at once
//! ```
#![forbid(unsafe_code)]

pub mod engine;
mod enter;
pub mod export;
pub mod file;
pub mod graph;
pub mod import;
pub mod keeper;
pub mod limits;
pub mod live;
pub mod model;
pub mod plan;
pub mod probe;
pub mod routing;
pub mod scenario;
pub mod simulated;
pub mod topology;
pub mod trial;

pub use enter::enter;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
