//! Guards: what a port may claim to be.
//!
//! One stage that reads a frame from its first byte to the message inside, in order, and drops what
//! it cannot read to the end. The ways around such guards are known, and each is closed here: tags
//! without a VLAN and tags in tags, and LLC/SNAP in place of a type (CVE-2021-27853, -27854, -27861,
//! -27862); fragments that hide or split the message (RFC 6980, RFC 7112, RFC 7113); extension
//! headers, unknown ones included; IP in IP and PPPoE; a second home address; a second link-layer address in one message; a forged sender in ARP and ND under a right
//! source in the frame.

mod require;
mod routers;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_packet::{
    Arp, ArpOperation, Ipv4, Ipv6, MacAddr, UpperLayer, VlanTag, ether_type, icmp, ip_protocol,
};

use crate::drop_reason::DropReason;
use crate::switch::config::GuardConfig;
use crate::switch::guard::require::{is_upper_layer, require};
use crate::switch::head::{Head, type_at};

/// The most tags of a frame that is guarded: two, and two priority tags.
const TAGS_MAX: usize = 4;
/// Below this the type is a length, and LLC follows (IEEE 802.3, 3.2.6).
const TYPE_MIN: u16 = 0x0600;
/// Multicast listener query, report and done, and the report of version 2 (RFC 2710, RFC 3810).
const LISTENER: [u8; 4] = [130, 131, 132, 143];
/// The service access points of SNAP and of IP, without the bits for groups and responses (IEEE 802.2).
const SAP_SNAP: u8 = 0xaa;
const SAP_IP: u8 = 0x06;
/// PPPoE discovery and session (RFC 2516), MPLS, and tags before 802.1ad that some hosts still read.
const PPPOE_DISCOVERY: u16 = 0x8863;
const PPPOE_SESSION: u16 = 0x8864;
const MPLS: [u16; 2] = [0x8847, 0x8848];
const OTHER_TAGS: [u16; 2] = [0x9200, 0x9300];
/// What an access concentrator sends: offer and confirmation (RFC 2516, 5).
const PPPOE_SERVER: [u8; 2] = [0x07, 0x65];
/// RARP (RFC 903), and its request, by which hypervisors announce a machine that was moved.
const RARP: u16 = 0x8035;
const RARP_REQUEST: [u8; 2] = [0, 3];
/// An ICMPv6 redirect (RFC 4861, 4.5).
const REDIRECT: u8 = 137;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCP6_CLIENT: u16 = 546;
const DHCP6_SERVER: u16 = 547;

impl GuardConfig {
    /// Whether anything is checked at all.
    pub(super) const fn is_on(&self) -> bool {
        !self.macs.is_empty() || self.reads_inside()
    }

    pub(super) const fn reads_inside(&self) -> bool {
        !self.addresses.is_empty() || self.arp || self.nd || self.no_dhcp_server || self.no_router
    }

    /// Checks a frame that came in.
    ///
    /// # Errors
    ///
    /// The guard that drops it; [`DropReason::FILTERED`] if what is inside cannot be seen.
    pub(super) fn check(&self, head: &Head, frame: &[u8]) -> Result<(), DropReason> {
        require(self.macs.is_empty() || self.macs.contains(&head.source), DropReason::MAC_GUARD)?;
        if !self.reads_inside() {
            return Ok(());
        }
        let mut at = Head::TYPE;
        for _ in 0..=TAGS_MAX {
            let ether_type = type_at(frame, at).ok_or(DropReason::MALFORMED)?;
            if !ether_type::is_tag(ether_type) {
                let payload = frame.get(at + 2..).unwrap_or_default();
                return self.check_payload(head.source, ether_type, payload);
            }
            at += VlanTag::LEN;
        }
        Err(DropReason::FILTERED)
    }

    fn check_payload(
        &self,
        source: MacAddr,
        ether_type: u16,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        match ether_type {
            ether_type::ARP if self.arp => self.check_arp(source, payload),
            ether_type::IPV4 => self.check_ipv4(payload),
            ether_type::IPV6 => self.check_ipv6(source, payload),
            RARP if self.arp => self.check_rarp(source, payload),
            // SNAP (RFC 1042): some hosts read what is inside as they read a frame. They ignore the
            // lowest bit of both service access points.
            0..TYPE_MIN => {
                let saps = payload.get(..2).unwrap_or_default();
                let hides = saps.iter().any(|sap| matches!(sap & 0xfe, SAP_SNAP | SAP_IP));
                require(!hides, DropReason::FILTERED)
            }
            PPPOE_DISCOVERY if self.no_router => {
                let code = payload.get(1).ok_or(DropReason::MALFORMED)?;
                require(!PPPOE_SERVER.contains(code), DropReason::RA_GUARD)
            }
            PPPOE_SESSION if self.no_router => routers::refuse_routers_in_pppoe(payload),
            _ => {
                let hides = MPLS.contains(&ether_type) || OTHER_TAGS.contains(&ether_type);
                require(!hides, DropReason::FILTERED)
            }
        }
    }

    fn has(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.addresses.is_empty() || self.addresses.iter().any(|prefix| prefix.contains(address))
    }

    fn check_arp(&self, source: MacAddr, payload: &[u8]) -> Result<(), DropReason> {
        let arp = Arp::parse(payload).map_err(|_| DropReason::ARP_GUARD)?;
        // A probe (RFC 5227) has no sender address yet and asks for the one that it wants to use.
        let claimed = match (arp.operation, arp.sender_ip) {
            (ArpOperation::Request, Ipv4Addr::UNSPECIFIED) => arp.target_ip,
            (_, sender) => sender,
        };
        require(arp.sender_mac == source && self.has(claimed), DropReason::ARP_GUARD)
    }

    fn check_rarp(&self, source: MacAddr, payload: &[u8]) -> Result<(), DropReason> {
        let operation = payload.get(6..8) == Some(&RARP_REQUEST);
        let sender = payload.get(8..14) == Some(&source.0);
        let ip = payload.get(14..).and_then(|rest| rest.first_chunk::<4>().copied());
        let is_ours = ip.map(Ipv4Addr::from).is_some_and(|ip| ip.is_unspecified() || self.has(ip));
        require(operation && sender && is_ours, DropReason::ARP_GUARD)
    }

    fn check_ipv4(&self, payload: &[u8]) -> Result<(), DropReason> {
        if self.addresses.is_empty() && !self.no_dhcp_server && !self.no_router {
            return Ok(());
        }
        let ipv4 = Ipv4::parse(payload).map_err(|_| DropReason::MALFORMED)?;
        let offset = ipv4.fragment().map_or(0, |fragment| fragment.offset);
        let ports = match (ipv4.protocol(), offset) {
            (ip_protocol::UDP, 0) => {
                // A fragment so short that it hides the ports is no honest one.
                Some(ports(ipv4.payload()).ok_or(DropReason::MALFORMED)?)
            }
            _ => None,
        };
        let is_dhcp_client = ipv4.source().is_unspecified()
            && ipv4.fragment().is_none()
            && ports == Some((DHCP_CLIENT, DHCP_SERVER));
        require(is_dhcp_client || self.has(ipv4.source()), DropReason::IP_GUARD)?;
        let is_server = ports.is_some_and(|(from, to)| from == DHCP_SERVER || to == DHCP_CLIENT);
        require(!(self.no_dhcp_server && is_server), DropReason::DHCP_GUARD)?;
        if self.no_router && offset == 0 {
            routers::refuse_routers(ipv4.protocol(), ipv4.payload())?;
        }
        Ok(())
    }

    fn check_ipv6(&self, source: MacAddr, payload: &[u8]) -> Result<(), DropReason> {
        if self.addresses.is_empty() && !(self.nd || self.no_dhcp_server || self.no_router) {
            return Ok(());
        }
        let ipv6 = Ipv6::parse(payload).map_err(|_| DropReason::MALFORMED)?;
        let upper = ipv6.upper_layer().map_err(|_| DropReason::MALFORMED)?;
        let offset = upper.fragment.map_or(0, |fragment| fragment.offset);
        let message = match (upper.protocol, offset) {
            (ip_protocol::ICMP6, 0) => Message::Icmp(*upper.payload.first().ok_or(HIDDEN)?),
            (ip_protocol::UDP, 0) => Message::Udp(ports(upper.payload).ok_or(HIDDEN)?),
            _ => Message::Other,
        };
        // RFC 7113, 3: what follows an unknown header cannot be seen.
        require(offset != 0 || is_upper_layer(upper.protocol), DropReason::FILTERED)?;
        // Routers advertise from link-local addresses; encrypted, they could not be seen.
        let is_hidden = upper.protocol == ip_protocol::ESP && ipv6.source().is_unicast_link_local();
        require(!(self.no_router && is_hidden), DropReason::FILTERED)?;
        let is_start = ipv6.source().is_unspecified() && is_start_of_a_host(message);
        require(is_start || self.has(ipv6.source()), DropReason::IP_GUARD)?;
        if upper.home_address_options != 0 {
            let home = home_address(&ipv6, &upper).filter(|_| upper.home_address_options == 1);
            require(home.is_some_and(|home| self.has(home)), DropReason::IP_GUARD)?;
        }
        if self.no_router && offset == 0 {
            routers::refuse_routers(upper.protocol, upper.payload)?;
        }
        match message {
            Message::Icmp(kind) => self.check_icmp6(source, &ipv6, &upper, kind),
            Message::Udp((from, to)) => {
                let is_server = from == DHCP6_SERVER || to == DHCP6_CLIENT;
                require(!(self.no_dhcp_server && is_server), DropReason::DHCP_GUARD)
            }
            Message::Other => Ok(()),
        }
    }

    fn check_icmp6(
        &self,
        source: MacAddr,
        ipv6: &Ipv6<'_>,
        upper: &UpperLayer<'_>,
        kind: u8,
    ) -> Result<(), DropReason> {
        use icmp::v6;
        let options_at = match kind {
            v6::ROUTER_SOLICITATION => 8,
            v6::ROUTER_ADVERTISEMENT => 16,
            v6::NEIGHBOUR_SOLICITATION | v6::NEIGHBOUR_ADVERTISEMENT => 24,
            REDIRECT => 40,
            _ => return Ok(()),
        };
        let is_start = ipv6.source().is_unspecified() && !self.addresses.is_empty();
        if !self.nd && !is_start {
            return Ok(());
        }
        // No neighbour discovery in fragments, not even in one (RFC 6980).
        require(upper.fragment.is_none(), DropReason::ND_GUARD)?;
        let claims_target = kind == v6::NEIGHBOUR_ADVERTISEMENT
            || kind == v6::NEIGHBOUR_SOLICITATION && ipv6.source().is_unspecified();
        if claims_target {
            let target = address_at(upper.payload, 8).ok_or(DropReason::ND_GUARD)?;
            require(self.has(target), DropReason::ND_GUARD)?;
        }
        let options = upper.payload.get(options_at..).ok_or(DropReason::ND_GUARD)?;
        // A redirect names the link-layer address of another host: that is what it is for.
        require(kind == REDIRECT || link_addresses_are(options, source), DropReason::ND_GUARD)
    }
}

/// A first fragment that does not show what it carries (RFC 7112).
const HIDDEN: DropReason = DropReason::MALFORMED;

/// What a guard has to know of what is above IP.
#[derive(Clone, Copy)]
enum Message {
    Icmp(u8),
    Udp((u16, u16)),
    Other,
}

/// What a host sends from `::` before it has an address. That a solicitation asks for a listed one
/// is checked where it is read.
fn is_start_of_a_host(message: Message) -> bool {
    use icmp::v6;
    match message {
        Message::Icmp(v6::NEIGHBOUR_SOLICITATION | v6::ROUTER_SOLICITATION) => true,
        Message::Icmp(kind) => LISTENER.contains(&kind),
        _ => false,
    }
}

/// Whether each link-layer address among the options is `mac`. The receiver may use any of them.
fn link_addresses_are(mut options: &[u8], mac: MacAddr) -> bool {
    const SOURCE: u8 = 1;
    const TARGET: u8 = 2;
    while let [kind, words, ..] = *options {
        let len = usize::from(words) * 8;
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len != 0) else {
            return false;
        };
        if matches!(kind, SOURCE | TARGET) && option.get(2..) != Some(&mac.0) {
            return false;
        }
        options = rest;
    }
    options.is_empty()
}

/// Whose packet it is for a host with mobility (RFC 6275, 6.3).
fn home_address(ipv6: &Ipv6<'_>, upper: &UpperLayer<'_>) -> Option<Ipv6Addr> {
    address_at(ipv6.payload(), upper.home_address?)
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|&octets| octets.into())
}

/// The two ports of a UDP header of which at least these are there.
fn ports(datagram: &[u8]) -> Option<(u16, u16)> {
    let &[f0, f1, t0, t1] = datagram.first_chunk()?;
    Some((u16::from_be_bytes([f0, f1]), u16::from_be_bytes([t0, t1])))
}
