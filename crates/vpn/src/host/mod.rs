//! A tunnel on its host: device, addresses, routes, packet filter, name servers, programs.

pub mod changes;
pub mod dns;
pub mod error;
pub mod hooks;
pub mod names;
pub mod plan;
pub mod questions;
pub mod timestamps;
