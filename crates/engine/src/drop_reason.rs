//! Why a packet went no further.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

/// Why a packet was discarded: a stable name, and a sentence that explains it.
///
/// The engines of this workspace use the constants below. An engine elsewhere adds reasons of its own:
///
/// ```
/// use adit_engine::{DropReason, Reason};
///
/// const NO_MAPPING: DropReason =
///     DropReason::new(&Reason::new("no mapping", "No inside host has opened this port."));
///
/// assert_eq!(NO_MAPPING.to_string(), "no mapping");
/// assert_ne!(NO_MAPPING, DropReason::NO_DESTINATION);
/// ```
///
/// Two reasons of the same name are equal. It is a pointer to static text, so it is copied and stored
/// like a number, and [`DropCounts`](crate::DropCounts) counts the constants without a search.
#[derive(Clone, Copy)]
pub struct DropReason(&'static Reason);

/// The texts of a [`DropReason`].
#[derive(Debug)]
pub struct Reason {
    name: &'static str,
    meaning: &'static str,
    /// The place among [`DropReason::KNOWN`]; [`Self::FOREIGN`] for a reason from elsewhere.
    number: usize,
}

impl Reason {
    const FOREIGN: usize = usize::MAX;

    /// A reason of an engine outside this crate.
    ///
    /// `name` is the label of its counter, in lower case, and does not change between versions;
    /// `meaning` is a sentence for a person.
    #[must_use]
    pub const fn new(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, number: Self::FOREIGN }
    }
}

impl DropReason {
    /// A reason of an engine outside this crate: see the [example](Self).
    #[must_use]
    pub const fn new(reason: &'static Reason) -> Self {
        Self(reason)
    }

    /// The stable name: what `Display` prints and what a counter is labelled with.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// A sentence that explains the reason to a person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.0.meaning
    }

    /// Its place in [`Self::KNOWN`], or a number beyond them all.
    pub(crate) const fn number(self) -> usize {
        self.0.number
    }

    const fn key(self) -> (usize, &'static str) {
        (self.0.number, self.0.name)
    }
}

impl PartialEq for DropReason {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // The number alone decides between two constants of this crate.
        self.0.number == other.0.number
            && (self.0.number != Reason::FOREIGN || self.0.name == other.0.name)
    }
}

impl Eq for DropReason {}

impl PartialOrd for DropReason {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The constants in the order of [`DropReason::KNOWN`], then all others by name.
impl Ord for DropReason {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for DropReason {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DropReason({})", self.as_str())
    }
}

/// Defines the constants: their numbers, names and sentences come from one list.
macro_rules! reasons {
    ($($constant:ident $name:literal $meaning:literal)*) => {
        /// Numbers the constants in the order of the list.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the constants")]
        #[derive(Clone, Copy)]
        enum Number {
            $($constant,)*
        }

        impl DropReason {
            $(
                #[doc = $meaning]
                pub const $constant: Self = Self(&Reason {
                    name: $name,
                    meaning: $meaning,
                    number: Number::$constant as usize,
                });
            )*

            /// The reasons of this crate and of adit-tunnel: those that are counted by number.
            pub const KNOWN: [Self; [$($name),*].len()] = [$(Self::$constant,)*];
        }
    };
}

reasons! {
    MALFORMED "malformed" "A header is incomplete or contradicts itself."
    NO_BUFFER "no buffer" "The pool had no buffer left for the packet or for its copy."
    OUTBOX_FULL "outbox full" "The outbox had no room left."
    QUEUE_FULL "queue full" "The queue that the packet had to wait in was full."
    NO_DESTINATION "no destination" "No port or peer takes the packet."
    TOO_BIG "too big" "The packet is longer than the next hop accepts."
    FILTERED "filtered" "A rule forbids the packet."
    PORT_DOWN "port down" "The port, or its link, is down or has been removed."
    PORT_BLOCKED "port blocked" "Switch: the port is blocked because of a loop."
    SAME_PORT "same port" "Switch: the destination is on the port that the frame came from."
    ISOLATED "isolated" "Switch: both ports are isolated, or belong to one group."
    RESERVED_ADDRESS "reserved address"
        "Switch: the destination is reserved for bridges (IEEE 802.1Q, table 8-1)."
    VLAN_FILTERED "vlan filtered"
        "Switch: the port is not a member of the VLAN, or does not accept the tag."
    MAC_GUARD "mac guard" "Switch, NAT: the port may not use the source MAC address."
    IP_GUARD "ip guard" "Switch, NAT: the port may not use the source IP address."
    ARP_GUARD "arp guard" "Switch, NAT: an ARP message claims an address that the port may not use."
    ND_GUARD "nd guard"
        "Switch, NAT: a neighbour discovery message claims an address that the port may not use."
    DHCP_GUARD "dhcp guard" "Switch, NAT: a DHCP server message from a port without a DHCP server."
    RA_GUARD "ra guard" "Switch, NAT: a router advertisement from a port without a router."
    STORM "storm" "Switch: the port exceeded its limit of broadcast, multicast or unknown unicast."
    PATCH_LOOP "patch loop" "Patch: the packet crossed between engines too often, most likely in a loop."
    LOSS "loss" "Netem: lost as configured."
    OUTAGE "outage" "Netem: the link had a configured outage."
    QUEUE_MANAGED "queue managed" "Netem, tunnel: dropped by CoDel or FQ-CoDel."
    NOT_OURS "not ours" "Tunnel: not a WireGuard message, or not for this interface."
    NOT_AUTHENTIC "not authentic" "Tunnel: the message failed authentication."
    ELSEWHERE "from elsewhere than the peer"
        "Tunnel: the peer is pinned to its endpoint, and the message came from another one."
    REPLAYED "replayed" "Tunnel: the message was received before, or is older than the replay window."
    NO_PEER "no peer" "Tunnel: the destination is in no peer's allowed IPs."
    SOURCE_NOT_ALLOWED "source not allowed" "Tunnel: the source is not in the peer's allowed IPs."
    NO_SESSION "no session" "Tunnel: no session exists, and no handshake completed in time."
    HANDED_OVER "handed over" "Tunnel: the packet waited in a process when another one took over."
    RATE_LIMITED "rate limited" "Tunnel: handshake messages exceeded their rate limit."
    CONGESTED "congested"
        "Tunnel: the outer header is marked as congested, and the inner packet is not ECN-capable (RFC 6040)."
    FORGED_SOURCE "forged source" "NAT: the source is no address of the inside."
    HOP_LIMIT "hop limit" "NAT: the packet may go no further (TTL)."
    UNSOLICITED "unsolicited" "NAT: the inside has not sent to the address that the packet is from."
    NOT_TRANSLATED "not translated" "NAT: the protocol or message has no translation."
    OUT_OF_FLOWS "out of flows" "NAT: the source has as many flows as it may have, or the table is full."
    SOURCE_RATE "source rate" "NAT: the address inside sent or received more than its rate allows."
    NO_NEIGHBOUR "no neighbour" "NAT: no guest answers for the address."
    MULTICAST "multicast" "NAT: broadcast and multicast stay on their link."
    NO_FREE_ADDRESS "no free address" "NAT: the DHCP server has no address left."
    DNS_LIMIT "dns limit" "NAT: too many queries wait for name servers, in all or of this guest."
    DNS_DUPLICATE "dns duplicate" "NAT: the same query waits for an answer."
    DNS_UNWANTED "dns unwanted" "NAT: a name server's answer that matches no query."
    OTHER "other" "Reasons beyond the number that can be counted separately."
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const MINE: DropReason = DropReason::new(&Reason::new("mine", "It is mine."));
    const MINE_AGAIN: DropReason = DropReason::new(&Reason::new("mine", "Another text."));
    const YOURS: DropReason = DropReason::new(&Reason::new("yours", "It is yours."));
    /// A foreign reason that took the name of a known one.
    const LOSS: DropReason = DropReason::new(&Reason::new("loss", "It is lost."));

    #[test]
    fn names_are_unique_and_in_the_order_of_the_numbers() {
        for (at, one) in DropReason::KNOWN.into_iter().enumerate() {
            assert_eq!(one.number(), at);
            assert!(one.meaning().ends_with('.'), "{one}");
            assert_eq!(
                DropReason::KNOWN.iter().filter(|other| other.as_str() == one.as_str()).count(),
                1
            );
        }
    }

    #[test]
    fn reasons_from_elsewhere_are_equal_by_name() {
        assert_eq!(MINE, MINE_AGAIN);
        assert_ne!(MINE, YOURS);
        assert_ne!(LOSS, DropReason::LOSS);
        assert!(DropReason::OTHER < MINE && MINE < YOURS);
        assert_eq!(YOURS.to_string(), "yours");
    }
}
