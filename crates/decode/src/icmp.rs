//! An ICMP or ICMPv6 message.

use adit_packet::MacAddr;
use etherparse::{Icmpv4Slice, Icmpv6Slice};
use serde::Serialize;
use std::net::Ipv6Addr;

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Icmp {
    /// The type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// The meaning of type and code.
    pub name: &'static str,
    /// The identifier of an echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// The sequence number of an echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u16>,
    /// The MTU that the packet exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The address that a neighbor solicitation or advertisement is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Ipv6Addr>,
    /// The link-layer address in neighbor discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_address: Option<String>,
}

impl Icmp {
    pub(super) fn v4(icmp: &Icmpv4Slice<'_>) -> Self {
        let (kind, code) = (icmp.type_u8(), icmp.code_u8());
        let mut message = Self::new(kind, code, name_v4(kind, code));
        match (kind, code) {
            (0 | 8, 0) => message.set_echo(icmp.bytes5to8()),
            // RFC 1191, section 4: the lower half.
            (3, 4) => message.mtu = Some(u32::from_be_bytes(icmp.bytes5to8()) & 0xffff),
            _ => {}
        }
        message
    }

    pub(super) fn v6(icmp: &Icmpv6Slice<'_>) -> Self {
        let (kind, code) = (icmp.type_u8(), icmp.code_u8());
        let mut message = Self::new(kind, code, name_v6(kind, code));
        match (kind, code) {
            (128 | 129, 0) => message.set_echo(icmp.bytes5to8()),
            (2, 0) => message.mtu = Some(u32::from_be_bytes(icmp.bytes5to8())),
            (135 | 136, 0) => {
                // RFC 4861, sections 4.3 and 4.4: target, then options.
                if let Some((target, options)) =
                    icmp.slice().get(8..).and_then(|b| b.split_first_chunk::<16>())
                {
                    message.target = Some(Ipv6Addr::from(*target));
                    message.link_address = link_address(options);
                }
            }
            (133, 0) => message.link_address = icmp.slice().get(8..).and_then(link_address),
            _ => {}
        }
        message
    }

    fn new(kind: u8, code: u8, name: &'static str) -> Self {
        let (id, sequence, mtu, target, link_address) = (None, None, None, None, None);
        Self { kind, code, name, id, sequence, mtu, target, link_address }
    }

    fn set_echo(&mut self, [a, b, c, d]: [u8; 4]) {
        self.id = Some(u16::from_be_bytes([a, b]));
        self.sequence = Some(u16::from_be_bytes([c, d]));
    }
}

/// The address in the first source or target link-layer address option (RFC 4861, section 4.6.1).
fn link_address(mut options: &[u8]) -> Option<String> {
    while let [kind, len, ..] = *options {
        let option = options.get(..usize::from(len) * 8).filter(|option| !option.is_empty())?;
        if let (1 | 2, [_, _, mac @ ..]) = (kind, option) {
            return Some(MacAddr(mac.try_into().ok()?).to_string());
        }
        options = &options[option.len()..];
    }
    None
}

/// RFC 792, RFC 1122, RFC 1812.
fn name_v4(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (0, _) => "echo reply",
        (8, _) => "echo request",
        (3, 0) => "net unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "packet too big",
        (3, 9 | 10 | 13) => "administratively prohibited",
        (3, _) => "destination unreachable",
        (5, _) => "redirect",
        (9, _) => "router advertisement",
        (10, _) => "router solicitation",
        (11, 0) => "time to live exceeded",
        (11, _) => "reassembly time exceeded",
        (12, _) => "parameter problem",
        (13, _) => "timestamp request",
        (14, _) => "timestamp reply",
        _ => "message",
    }
}

/// RFC 4443, RFC 4861, RFC 3810.
fn name_v6(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "administratively prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "destination unreachable",
        (2, _) => "packet too big",
        (3, 0) => "hop limit exceeded",
        (3, _) => "reassembly time exceeded",
        (4, _) => "parameter problem",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (130, _) => "multicast listener query",
        (131 | 143, _) => "multicast listener report",
        (132, _) => "multicast listener done",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbor solicitation",
        (136, _) => "neighbor advertisement",
        (137, _) => "redirect",
        _ => "message",
    }
}
