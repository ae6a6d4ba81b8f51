//! UDP sockets to peers: an engine sends to and receives from `Endpoint::Udp` through them.

pub(crate) mod counters;
pub(crate) mod options;
pub(crate) mod sockets;
pub(crate) mod sources;
