//! A tunnel on its host: device, addresses, routes, packet filter, name servers, programs.

pub mod error;
pub mod guard;
pub mod hooks;
pub mod names;
pub mod program;
pub mod setup;
pub mod stamps;
