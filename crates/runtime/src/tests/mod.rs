//! The loop with a hub for an engine, real devices and sockets, each test in namespaces of its own.

mod accelerated;
mod back_pressure;
mod devices;
mod flows;
mod guests;
mod inherited;
mod many;
mod nat;
mod nat_kept;
mod nested;
mod nonblocking;
mod replay;
mod sockets;
mod support;
mod vxlan;
