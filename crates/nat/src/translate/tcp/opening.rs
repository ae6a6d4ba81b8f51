//! What a connection is made with.

use core::net::SocketAddr;

use adit_packet::Instant;

use super::segment::Segment;
use adit_engine::PortId;

/// What a connection of the inside is made with.
#[derive(Debug)]
pub(in crate::translate) struct Opening<'a> {
    pub(in crate::translate) port: PortId,
    pub(in crate::translate) inside: SocketAddr,
    /// The remote address as the inside knows it.
    pub(in crate::translate) remote: SocketAddr,
    pub(in crate::translate) syn: &'a Segment,
    pub(in crate::translate) mtu: u16,
    /// Our initial sequence number, and that of our timestamps.
    pub(in crate::translate) random: [u32; 2],
    pub(in crate::translate) now: Instant,
}

/// What a connection to the inside is made with.
#[derive(Debug)]
pub(in crate::translate) struct Calling {
    pub(in crate::translate) port: PortId,
    pub(in crate::translate) inside: SocketAddr,
    /// The client's address as the inside knows it.
    pub(in crate::translate) remote: SocketAddr,
    pub(in crate::translate) mtu: u16,
    /// As in [`Opening`].
    pub(in crate::translate) random: [u32; 2],
    pub(in crate::translate) now: Instant,
}
