//! Sockets, without any knowledge of ports.

pub(crate) mod flow;
pub(crate) mod flows;
pub(crate) mod udp;
pub(crate) mod unix;
