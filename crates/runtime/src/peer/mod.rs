//! UDP sockets by which an engine reaches its peers.

pub mod peers;
pub mod reach;
pub mod sources;
