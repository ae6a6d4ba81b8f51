//! A packet on one line, and its bytes.
//!
//! ```text
//! 05:13:20.123456 > ICMP   192.0.2.1 > 192.0.2.77  echo request, id 3, seq 1, 84 bytes
//! local time      direction, protocol, from > to   contents,                its length
//! ```
//!
//! `{:#}` adds the offset of the local time to UTC.
//!
//! `>` leaves the host, `<` enters it.

use crate::icmp::Icmp;
use crate::local_time::LocalTime;
use crate::packet::Direction;
use crate::packet::{Arp, Gso, Ip, Packet};
use crate::tcp::Tcp;
use etherparse::IpNumber;
use std::fmt::{self, Display, Formatter};

impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", LocalTime::new(self.time).clock(f.alternate()))?;
        f.write_str(match self.direction {
            Some(Direction::In) => "< ",
            Some(Direction::Out) => "> ",
            None => "  ",
        })?;
        write!(f, "{:<6} ", self.protocol())?;
        self.fmt_message(f)?;
        if let Some(Gso { size, segments }) = &self.gso {
            write!(f, ", gso {size} x {segments}")?;
        }
        write!(f, ", {} bytes", self.length)?;
        if self.is_cut() {
            write!(f, " ({} captured)", self.captured_length)?;
        }
        if self.lost_before > 0 {
            write!(f, " [{} lost before]", self.lost_before)?;
        }
        match &self.malformed {
            // A packet cut by the snap length is not malformed.
            Some(problem) if !self.is_cut() => write!(f, " [malformed: {problem}]"),
            _ => Ok(()),
        }
    }
}

impl Packet {
    /// The name of the innermost decoded protocol.
    pub(super) fn protocol(&self) -> String {
        if let Some(Ip { version, protocol, fragment, .. }) = &self.ip {
            let is_later = fragment.as_ref().is_some_and(|fragment| fragment.offset > 0);
            return match IpNumber(*protocol).keyword_str() {
                _ if is_later => format!("IPv{version}"),
                Some("IPv6-ICMP") => "ICMPv6".to_owned(),
                Some(name) => name.to_owned(),
                None => format!("IP {protocol}"),
            };
        }
        match &self.ethernet {
            _ if self.arp.is_some() => "ARP".to_owned(),
            Some(ethernet) if ethernet.ether_type < 0x600 => "LLC".to_owned(),
            Some(ethernet) => match ethernet.ether_type {
                0x0800 => "IPv4".to_owned(),
                0x86dd => "IPv6".to_owned(),
                0x0806 => "ARP".to_owned(),
                0x88cc => "LLDP".to_owned(),
                other => format!("0x{other:04x}"),
            },
            None => "?".to_owned(),
        }
    }

    fn fmt_message(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for vlan in self.ethernet.iter().flat_map(|ethernet| &ethernet.vlans) {
            write!(f, "vlan {} ", vlan.id)?;
        }
        match (&self.arp, &self.ip, &self.ethernet) {
            (Some(arp), _, _) => arp.fmt(f),
            (None, Some(ip), _) => self.fmt_ip(ip, f),
            (None, None, Some(ethernet)) => {
                write!(f, "{} > {}", ethernet.source, ethernet.destination)
            }
            (None, None, None) => f.write_str("not an IP packet"),
        }
    }

    fn fmt_ip(&self, ip: &Ip, f: &mut Formatter<'_>) -> fmt::Result {
        let ports = match (&self.tcp, &self.udp) {
            (Some(tcp), _) => Some((tcp.source_port, tcp.destination_port)),
            (None, Some(udp)) => Some((udp.source_port, udp.destination_port)),
            (None, None) => None,
        };
        match ports {
            Some((from, to)) => {
                let from = std::net::SocketAddr::new(ip.source, from);
                let to = std::net::SocketAddr::new(ip.destination, to);
                write!(f, "{from} > {to}")?;
            }
            None => write!(f, "{} > {}", ip.source, ip.destination)?,
        }
        if let Some(tcp) = &self.tcp {
            write!(f, "  {tcp}")?;
        }
        if let Some(udp) = &self.udp {
            write!(f, "  length {}", udp.payload_length)?;
        }
        if let Some(icmp) = &self.icmp {
            write!(f, "  {icmp}")?;
        }
        if let Some(fragment) = &ip.fragment {
            let more = if fragment.more { "+" } else { "" };
            write!(f, "  fragment {:#x}@{}{more}", fragment.id, fragment.offset)?;
        }
        Ok(())
    }
}

impl Display for Arp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.operation {
            1 => write!(f, "who has {}? tell {}", self.target, self.sender),
            2 => write!(f, "{} is at {}", self.sender, self.sender_mac),
            other => write!(f, "operation {other}, {} > {}", self.sender, self.target),
        }
    }
}

impl Display for Tcp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] seq {}", self.flags, self.sequence)?;
        if let Some(acknowledgment) = self.acknowledgment {
            write!(f, ", ack {acknowledgment}")?;
        }
        write!(f, ", win {}", self.window)?;
        if !self.options.is_empty() {
            write!(f, " <{}>", self.options)?;
        }
        write!(f, ", length {}", self.payload_length)
    }
}

impl Display for Icmp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.name == "message" {
            write!(f, " type {} code {}", self.kind, self.code)?;
        }
        if let (Some(id), Some(sequence)) = (self.id, self.sequence) {
            write!(f, ", id {id}, seq {sequence}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, ", mtu {mtu}")?;
        }
        if let Some(target) = self.target {
            write!(f, ", {target}")?;
        }
        if let Some(address) = &self.link_address {
            write!(f, ", {address}")?;
        }
        Ok(())
    }
}

/// Bytes in rows of 16, as `tcpdump -X` prints them, each row ended by a line feed.
pub fn hex_dump(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (row, chunk) in bytes.chunks(16).enumerate() {
        out.push_str(&format!("    0x{:04x}: ", row * 16));
        for at in 0..16 {
            if at % 2 == 0 {
                out.push(' ');
            }
            match chunk.get(at) {
                Some(byte) => {
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
                None => out.push_str("  "),
            }
        }
        out.push_str("  ");
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        out.extend(chunk.iter().map(|byte| if is_text(byte) { char::from(*byte) } else { '.' }));
        out.push('\n');
    }
}
