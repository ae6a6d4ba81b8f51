//! What the NAT shows of its flows.

use core::net::SocketAddr;

use adit_packet::Instant;

use super::echo::Echo;
use super::tcp::Conn;
use super::udp::Mapping;
use adit_engine::flow::{FlowId, Transport};

/// A flow as the NAT shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowRow {
    /// Its number.
    pub flow: FlowId,
    /// Its transport.
    pub transport: Transport,
    /// The inside address and port; of an echo, its identifier.
    pub inside: SocketAddr,
    /// The remote one as the inside knows it; of a UDP mapping, the latest.
    pub remote: Option<SocketAddr>,
    /// What it does, in a word or two: `open`, `inside finished`.
    pub state: &'static str,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
    /// When a packet of it passed last.
    pub used: Instant,
}

impl FlowRow {
    pub(super) const fn tcp(flow: FlowId, conn: &Conn, used: Instant) -> Self {
        let (inside, remote) = conn.ends();
        let (sent_bytes, received_bytes) = conn.bytes_moved();
        Self {
            flow,
            transport: Transport::Tcp,
            inside,
            remote: Some(remote),
            state: conn.state(),
            sent_bytes,
            received_bytes,
            used,
        }
    }

    pub(super) fn echo(flow: FlowId, echo: &Echo, used: Instant) -> Self {
        let (sent_bytes, received_bytes) = echo.bytes_moved();
        Self {
            flow,
            transport: Transport::Echo,
            inside: SocketAddr::new(echo.inside(), echo.identifier()),
            remote: echo.latest(),
            state: "open",
            sent_bytes,
            received_bytes,
            used,
        }
    }

    pub(super) fn udp(flow: FlowId, mapping: &Mapping, used: Instant) -> Self {
        let (sent_bytes, received_bytes) = mapping.bytes_moved();
        Self {
            flow,
            transport: Transport::Udp,
            inside: mapping.inside(),
            remote: mapping.remote(),
            state: "open",
            sent_bytes,
            received_bytes,
            used,
        }
    }
}
