//! What connections are made and work with.

use core::net::SocketAddr;
use core::time::Duration;

use adit_packet::Instant;

use super::segment::Segment;
use crate::translate::limiter::SourceRates;
use adit_engine::{FlowError, FlowRequest, Outbox, PortId};

/// What a connection works with.
pub(in crate::translate) struct Cx<'a> {
    pub(in crate::translate) now: Instant,
    pub(in crate::translate) out: &'a mut Outbox,
    pub(in crate::translate) mtu: u16,
    /// What reordered bytes of all connections may still take.
    pub(in crate::translate) budget: &'a mut usize,
    /// What the inside may receive; what exceeds it counts as lost on its way, and is sent again.
    pub(in crate::translate) rates: &'a mut SourceRates,
    /// When connections may be handed over again.
    pub(in crate::translate) splice_after: &'a mut Instant,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Fate {
    Alive,
    /// It is over; the flow, if there still is one, ends so.
    Over(Option<FlowRequest>),
    /// Its connect failed: what the inside learns.
    Refused(FlowError),
}

/// How long no connection is handed over after one did not reach the runtime: the packet filter of the inside
/// may be the cause, and each try costs its client the second after which it repeats its SYN.
const SPLICE_PAUSE: Duration = Duration::from_secs(60);

impl Cx<'_> {
    /// Hands no connections over for a while.
    pub(super) fn pause_splices(&mut self) {
        *self.splice_after = self.now + SPLICE_PAUSE;
    }
}

/// What a connection is made with.
#[derive(Debug)]
pub(in crate::translate) struct Opening<'a> {
    pub(in crate::translate) port: PortId,
    pub(in crate::translate) inside: SocketAddr,
    /// The remote address as the inside knows it.
    pub(in crate::translate) remote: SocketAddr,
    pub(in crate::translate) syn: &'a Segment,
    /// The runtime may move its bytes.
    pub(in crate::translate) may_splice: bool,
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
