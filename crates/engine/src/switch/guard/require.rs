//! The checks that the guards share.

use adit_packet::ip_protocol;

use crate::drop_reason::DropReason;

/// Continues if the condition holds; drops the frame `otherwise`.
pub(super) const fn require(holds: bool, otherwise: DropReason) -> Result<(), DropReason> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Whether nothing that hosts read as another header can follow: the protocols above IP that are in use.
/// ESP hides what is in it from everybody without its key.
pub(super) fn is_upper_layer(protocol: u8) -> bool {
    /// IPv4, DCCP, IPv6, RSVP, GRE, EIGRP, OSPF, PIM, VRRP, L2TP, SCTP, UDP-Lite.
    const OTHERS: [u8; 12] = [4, 33, 41, 46, 47, 88, 89, 103, 112, 115, 132, 136];
    use ip_protocol::{ESP, ICMP6, NO_NEXT_HEADER, TCP, UDP};
    matches!(protocol, TCP | UDP | ICMP6 | ESP | NO_NEXT_HEADER) || OTHERS.contains(&protocol)
}
