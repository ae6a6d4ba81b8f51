//! Decodes packets with etherparse, for people and programs.
//!
//! The output has only numbers, addresses and our own words, so no text from a packet reaches the terminal.

mod line;
mod tree;

pub use line::hex_dump;

use crate::icmp::Icmp;
use crate::local_time::LocalTime;
use crate::tcp::Tcp;
use adit_packet::MacAddr;
use adit_runtime::format::pcapng::{self, LinkType, Meta};
use etherparse::{
    ArpPacketSlice, EtherType, Ipv4HeaderSlice, LaxIpv6Slice, LaxLinkExtSlice, LaxNetSlice,
    LaxSlicedPacket, LinkSlice, TransportSlice,
};
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Which way a packet goes, seen from the host whose interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the host: what a program writes to a TUN queue, what comes from a wire.
    In,
    /// Out of the host: what a program reads from a TUN queue, what goes to a wire.
    Out,
}

impl From<pcapng::Direction> for Direction {
    fn from(direction: pcapng::Direction) -> Self {
        match direction {
            pcapng::Direction::In => Self::In,
            pcapng::Direction::Out => Self::Out,
        }
    }
}

/// One packet, as `--json` prints it: one object a line.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Packet {
    /// When it was seen: RFC 3339, local time with its UTC offset, nanoseconds.
    #[serde(serialize_with = "serialize_time")]
    #[schemars(with = "String")]
    pub time: Duration,
    /// The interface.
    pub interface: String,
    /// Into or out of the host, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Its length in bytes.
    pub length: usize,
    /// How many bytes of it were captured.
    pub captured_length: usize,
    /// Number of packets lost since the previous one.
    pub lost_before: u64,
    /// Segmentation left to the device, if this is a super-packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gso: Option<Gso>,
    /// The Ethernet header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethernet: Option<Ethernet>,
    /// The ARP message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arp: Option<Arp>,
    /// The IPv4 or IPv6 header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ip>,
    /// The TCP header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// The UDP header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<Udp>,
    /// The ICMP or ICMPv6 message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
    /// Why parsing ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
    /// The captured bytes in hexadecimal, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// A super-packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Gso {
    /// Payload bytes of each segment except the last.
    pub size: u16,
    /// Number of segments.
    pub segments: usize,
}

/// An Ethernet header and its VLAN tags.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Ethernet {
    /// The sender's MAC address.
    pub source: String,
    /// The receiver's MAC address.
    pub destination: String,
    /// The EtherType behind all tags; a length if below 1536.
    pub ether_type: u16,
    /// The VLAN tags, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<Vlan>,
}

/// One VLAN tag.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Vlan {
    /// The VLAN, 0 to 4095.
    pub id: u16,
    /// The priority, 0 to 7.
    pub priority: u8,
}

/// An ARP message about IPv4 over Ethernet.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Arp {
    /// 1 for a request, 2 for a reply.
    pub operation: u16,
    /// The sender's address.
    pub sender: Ipv4Addr,
    /// The sender's MAC address.
    pub sender_mac: String,
    /// The target's address.
    pub target: Ipv4Addr,
    /// The target's MAC address; zero in a request.
    pub target_mac: String,
}

/// The fields that IPv4 and IPv6 have in common, and the identification of a fragment.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Ip {
    /// 4 or 6.
    pub version: u8,
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// The protocol of the payload, behind all extension headers.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Differentiated services code point.
    pub dscp: u8,
    /// Explicit congestion notification.
    pub ecn: u8,
    /// Header and payload in bytes, as the header says.
    pub length: usize,
    /// The fragment, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<Fragment>,
}

/// A fragment of a packet.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Fragment {
    /// The identification of the whole packet.
    pub id: u32,
    /// Its offset in the payload of the whole packet, in bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// A UDP header.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Udp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Payload bytes, as the header says.
    pub payload_length: u16,
}

impl Packet {
    /// Decodes the captured bytes of a packet. Never fails.
    pub fn decode(interface: &str, link: LinkType, meta: &Meta, data: &[u8]) -> Self {
        let mut packet = Self {
            time: meta.time,
            interface: interface.to_owned(),
            direction: meta.direction.map(Direction::from),
            length: meta.original_len.max(data.len()),
            captured_length: data.len(),
            lost_before: meta.lost_before,
            gso: None,
            ethernet: None,
            arp: None,
            ip: None,
            tcp: None,
            udp: None,
            icmp: None,
            malformed: None,
            bytes: None,
        };
        match link {
            LinkType::Ethernet => match LaxSlicedPacket::from_ethernet(data) {
                Ok(sliced) => packet.take(&sliced),
                Err(error) => packet.malformed = Some(error.to_string()),
            },
            LinkType::Raw => match LaxSlicedPacket::from_ip(data) {
                Ok(sliced) => packet.take(&sliced),
                Err(error) => packet.malformed = Some(error.to_string()),
            },
        }
        packet
    }

    fn take(&mut self, sliced: &LaxSlicedPacket<'_>) {
        if let Some(LinkSlice::Ethernet2(header)) = &sliced.link {
            let mut ethernet = Ethernet {
                source: MacAddr(header.source()).to_string(),
                destination: MacAddr(header.destination()).to_string(),
                ether_type: header.ether_type().0,
                vlans: Vec::new(),
            };
            for extension in &sliced.link_exts {
                if let LaxLinkExtSlice::Vlan(tag) = extension {
                    let (id, priority) = (tag.vlan_identifier(), tag.priority_code_point());
                    ethernet.vlans.push(Vlan { id: id.value(), priority: priority.value() });
                    ethernet.ether_type = tag.ether_type().0;
                }
            }
            self.ethernet = Some(ethernet);
        }
        match &sliced.net {
            Some(LaxNetSlice::Ipv4(v4)) => {
                self.ip = Some(Ip::v4(&v4.header(), v4.payload_ip_number().0));
            }
            Some(LaxNetSlice::Ipv6(v6)) => self.ip = Some(Ip::v6(v6)),
            Some(LaxNetSlice::Arp(arp)) => self.arp = Arp::decode(arp),
            None => {}
        }
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => self.tcp = Some(Tcp::decode(tcp)),
            Some(TransportSlice::Udp(udp)) => {
                self.udp = Some(Udp {
                    source_port: udp.source_port(),
                    destination_port: udp.destination_port(),
                    payload_length: udp.length().saturating_sub(8),
                });
            }
            Some(TransportSlice::Icmpv4(icmp)) => self.icmp = Some(Icmp::v4(icmp)),
            Some(TransportSlice::Icmpv6(icmp)) => self.icmp = Some(Icmp::v6(icmp)),
            Some(TransportSlice::Igmp(_)) | None => {}
        }
        if let Some((error, _)) = &sliced.stop_err {
            self.malformed = Some(error.to_string());
        }
    }

    /// Whether part of it was not captured.
    pub fn is_cut(&self) -> bool {
        self.captured_length < self.length
    }
}

impl Ip {
    fn v4(header: &Ipv4HeaderSlice<'_>, protocol: u8) -> Self {
        let offset = header.fragments_offset().value() * 8;
        let more = header.more_fragments();
        let fragment = (more || offset > 0).then(|| Fragment {
            id: u32::from(header.identification()),
            offset,
            more,
        });
        Self {
            version: 4,
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol,
            ttl: header.ttl(),
            dscp: header.dcp().value(),
            ecn: header.ecn().value(),
            length: usize::from(header.total_len()),
            fragment,
        }
    }

    fn v6(slice: &LaxIpv6Slice<'_>) -> Self {
        let header = slice.header();
        let fragment = fragment_v6(header.next_header().0, slice.extensions().slice());
        Self {
            version: 6,
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
            protocol: slice.payload().ip_number.0,
            ttl: header.hop_limit(),
            dscp: header.dscp().value(),
            ecn: header.ecn().value(),
            length: 40 + usize::from(header.payload_length()),
            fragment,
        }
    }
}

/// Finds the fragment header among complete extension headers. etherparse's own iterator (0.21) reads past
/// the end of the slice if the chain is truncated.
fn fragment_v6(mut kind: u8, mut headers: &[u8]) -> Option<Fragment> {
    const AUTHENTICATION: u8 = 51;
    const FRAGMENT: u8 = 44;
    while let [next, len, ..] = *headers {
        if kind == FRAGMENT {
            let &[_, _, a, b, c, d, e, f, ..] = headers else { return None };
            let offset = u16::from_be_bytes([a, b]);
            let id = u32::from_be_bytes([c, d, e, f]);
            return Some(Fragment { id, offset: offset & !7, more: offset & 1 == 1 });
        }
        // RFC 4302, section 2.2, counts in words of 4 bytes; RFC 8200, section 4, of 8.
        let len = match kind {
            AUTHENTICATION => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        headers = headers.get(len..)?;
        kind = next;
    }
    None
}

impl Arp {
    /// Returns `None` unless it is ARP for IPv4 over Ethernet.
    fn decode(arp: &ArpPacketSlice<'_>) -> Option<Self> {
        if arp.proto_addr_type() != EtherType::IPV4 {
            return None;
        }
        let mac = |bytes: &[u8]| Some(MacAddr(bytes.try_into().ok()?).to_string());
        let ip = |bytes: &[u8]| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?));
        Some(Self {
            operation: arp.operation().0,
            sender: ip(arp.sender_protocol_addr())?,
            sender_mac: mac(arp.sender_hw_addr())?,
            target: ip(arp.target_protocol_addr())?,
            target_mac: mac(arp.target_hw_addr())?,
        })
    }
}

fn serialize_time<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&LocalTime::new(*time).rfc3339())
}
