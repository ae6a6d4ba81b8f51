//! A packet's decoded fields, one line a header, for `-v`.

use crate::packet::Packet;
use std::fmt::Write;

impl Packet {
    /// Appends one indented line for each header that was understood.
    pub fn tree(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = self.write_link(out);
        let _ = self.write_ip(out);
        let _ = self.write_transport(out);
    }

    fn write_link(&self, out: &mut String) -> std::fmt::Result {
        if let Some(header) = &self.ethernet {
            let (source, destination) = (&header.source, &header.destination);
            writeln!(
                out,
                "    Ethernet  {source} > {destination}, type {:#06x}",
                header.ether_type
            )?;
            for vlan in &header.vlans {
                writeln!(out, "    VLAN      id {}, priority {}", vlan.id, vlan.priority)?;
            }
        }
        if let Some(arp) = &self.arp {
            writeln!(
                out,
                "    ARP       operation {}, sender {} at {}, target {} at {}",
                arp.operation, arp.sender, arp.sender_mac, arp.target, arp.target_mac
            )?;
        }
        Ok(())
    }

    fn write_ip(&self, out: &mut String) -> std::fmt::Result {
        let Some(ip) = &self.ip else { return Ok(()) };
        write!(
            out,
            "    IPv{}      {} > {}, protocol {}, ttl {}, dscp {}, ecn {}, length {}",
            ip.version, ip.source, ip.destination, ip.protocol, ip.ttl, ip.dscp, ip.ecn, ip.length
        )?;
        if let Some(fragment) = &ip.fragment {
            let (id, offset, more) = (fragment.id, fragment.offset, fragment.more);
            write!(out, ", fragment id {id}, offset {offset}, more {more}")?;
        }
        writeln!(out)
    }

    fn write_transport(&self, out: &mut String) -> std::fmt::Result {
        if let Some(tcp) = &self.tcp {
            writeln!(out, "    TCP       {} > {} {tcp}", tcp.source_port, tcp.destination_port)?;
        }
        if let Some(udp) = &self.udp {
            let (from, to) = (udp.source_port, udp.destination_port);
            writeln!(out, "    UDP       {from} > {to}, length {}", udp.payload_length)?;
        }
        if let Some(icmp) = &self.icmp {
            writeln!(out, "    ICMP      type {}, code {}: {icmp}", icmp.kind, icmp.code)?;
        }
        Ok(())
    }
}
