//! UDP sockets to peers: an engine sends to and receives from `Endpoint::Udp` through them.

mod options;
pub(crate) mod sockets;
pub(crate) mod sources;
