//! Traffic between two nodes.

use crate::model::NodeName;
use adit_packet::units::Bitrate;
use std::time::Duration;

/// A transfer in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Its name, for expectations about it.
    pub name: Option<String>,
    /// The sender.
    pub from: NodeName,
    /// The receiver: a host of the lab.
    pub to: NodeName,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// When it ends.
    pub amount: Amount,
    /// The rate of the payload of all streams together; UDP has one always.
    pub rate: Option<Bitrate>,
    /// The number of connections, or of UDP flows.
    pub streams: u16,
    /// TCP's congestion control, as `reno`; `None`: that of the sender.
    pub congestion: Option<String>,
}

impl Traffic {
    /// The bytes of a UDP datagram's payload.
    pub const DATAGRAM: usize = 1_400;

    /// The most streams at once.
    pub const STREAMS_MAX: u16 = 128;

    /// One TCP connection.
    #[must_use]
    pub const fn tcp(from: NodeName, to: NodeName, amount: Amount) -> Self {
        Self {
            name: None,
            from,
            to,
            protocol: Protocol::Tcp,
            amount,
            rate: None,
            streams: 1,
            congestion: None,
        }
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// When a transfer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// After so many bytes, of all streams together.
    Bytes(u64),
    /// After this time.
    For(Duration),
}
