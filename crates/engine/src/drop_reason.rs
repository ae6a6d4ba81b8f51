//! Why a packet went no further.

use core::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a packet was discarded: one flat list for all engines, so that it can be counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason there is, in the order of their numbers.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name,)*];

            /// The same as its `Display`, for a counter's label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Its headers are not what they should be.
    Malformed => "malformed",
    /// No buffer was left for it.
    NoBuffer => "no buffer",
    /// The outbox was full.
    OutboxFull => "outbox full",
    /// The engine's queue for it was full.
    QueueFull => "queue full",
    /// There is nowhere to send it.
    NoDestination => "no destination",
    /// It is longer than what it goes to takes.
    TooBig => "too big",
    /// A rule forbids it.
    Filtered => "filtered",
    /// The port, or where it goes to, is down or gone.
    PortDown => "port down",
    /// Switch: the port is blocked because of a loop.
    PortBlocked => "port blocked",
    /// Switch: it would go back to where it came from.
    SamePort => "same port",
    /// Switch: both ports are isolated, or of one group.
    Isolated => "isolated",
    /// Switch: an address that bridges keep for themselves (IEEE 802.1Q, table 8-1).
    ReservedAddress => "reserved address",
    /// Switch: a VLAN that the port is not a member of, or a tag where none may be.
    VlanFiltered => "vlan filtered",
    /// Switch: a source MAC address that the port may not use.
    MacGuard => "mac guard",
    /// Switch: a source IP address that the port may not use.
    IpGuard => "ip guard",
    /// Switch: an ARP message that claims what the port may not use.
    ArpGuard => "arp guard",
    /// Switch: a neighbour discovery message that claims what the port may not use.
    NdGuard => "nd guard",
    /// Switch: a DHCP server's message from a port that has none.
    DhcpGuard => "dhcp guard",
    /// Switch: a router advertisement from a port that has no router.
    RaGuard => "ra guard",
    /// Switch: more broadcast, multicast or unknown unicast than the port may send.
    Storm => "storm",
    /// Netem: lost as asked for.
    Loss => "loss",
    /// Netem: the link was out.
    Outage => "outage",
    /// Netem: the queue's discipline (CoDel, FQ-CoDel) dropped it.
    QueueManaged => "queue managed",
    /// Tunnel: no message of the protocol, or not for us.
    NotOurs => "not ours",
    /// Tunnel: it did not authenticate.
    NotAuthentic => "not authentic",
    /// Tunnel: from elsewhere than a peer is that may not move.
    Elsewhere => "from elsewhere than the peer",
    /// Tunnel: seen before, or older than the replay window.
    Replayed => "replayed",
    /// Tunnel: no peer has that destination among its allowed IPs.
    NoPeer => "no peer",
    /// Tunnel: the peer's allowed IPs do not have that source.
    SourceNotAllowed => "source not allowed",
    /// Tunnel: there is no session, and none could be made in time.
    NoSession => "no session",
    /// Tunnel: handshakes come faster than they may.
    RateLimited => "rate limited",
    /// Tunnel: a router marked it as congested, and its ends would not understand (RFC 6040).
    Congested => "congested",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
