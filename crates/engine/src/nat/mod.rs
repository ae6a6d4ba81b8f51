//! User-mode NAT.
//!
//! # Theory of operation
//!
//! [`guest`] is the layer-2 side: ARP, neighbour discovery, DHCP and DHCPv6 for a port that carries frames.
//! [`dns`] is the name server of the inside: names of its own, and a forwarder for all others.

pub mod dns;
pub mod guest;
