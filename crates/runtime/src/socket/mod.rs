//! Sockets, without any knowledge of ports.

pub(crate) mod udp;
pub(crate) mod unix;
