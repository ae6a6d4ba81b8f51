//! Sockets to peers by UDP: where an engine sends to and receives from `Endpoint::Udp`.

mod options;
pub(crate) mod sockets;
pub(crate) mod sources;
