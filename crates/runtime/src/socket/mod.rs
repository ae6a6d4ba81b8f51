//! Sockets, without any knowledge of ports.

pub(crate) mod flow;
mod flow_event;
pub(crate) mod flows;
mod hop_limit;
mod listen_flow;
mod ping_flow;
pub(crate) mod relay;
pub(crate) mod splice;
mod tcp_flow;
pub(crate) mod udp;
mod udp_flow;
pub(crate) mod unix;
