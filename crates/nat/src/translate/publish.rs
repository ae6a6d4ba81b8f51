//! Ports of the host that lead to the inside.

use core::fmt;
use core::net::SocketAddr;

use adit_engine::PortId;
use adit_engine::flow::{FlowError, FlowId, Transport};

/// A port of the host that leads to the inside. The inside sees the client's true address; a client on
/// the host's loopback, or with an address of the inside, comes from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// TCP or UDP.
    pub transport: Transport,
    /// The host's address and port.
    pub local: SocketAddr,
    /// The inside address and port.
    pub inside: SocketAddr,
    /// The engine's port behind which the inside address is.
    pub port: PortId,
}

/// What became of a [`Publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishState {
    /// The host was asked for the port.
    Opening,
    /// Clients reach the inside at this address of the host.
    Open(SocketAddr),
    /// The host has no such port, or another program has it.
    Failed(FlowError),
}

/// A port that leads to the inside, as the NAT shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number to end it by: [`Nat::unpublish`](super::Nat::unpublish).
    pub flow: FlowId,
    /// What was asked for.
    pub publish: Publish,
    /// What became of it.
    pub state: PublishState,
}

/// Why a port cannot lead to the inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The inside address is none of the inside.
    NotInside,
    /// One address is IPv4 and the other IPv6.
    Families,
    /// Only TCP and UDP have ports.
    Transport,
    /// The inside address and port talks already, or is published.
    InUse,
    /// The flow table is full.
    OutOfFlows,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInside => "the address is none of the inside",
            Self::Families => "both addresses must be IPv4, or both IPv6",
            Self::Transport => "only TCP and UDP have ports",
            Self::InUse => "it is published already, or the inside port is in use",
            Self::OutOfFlows => "the flow table is full",
        })
    }
}

impl core::error::Error for PublishError {}
