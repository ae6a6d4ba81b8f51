//! The positions of a packet's headers, found in one pass; and the flow that it belongs to.

use core::net::{IpAddr, Ipv4Addr};

use crate::ipv6::address;
use crate::{
    Ethernet, Fragment, IcmpHeader, Ipv4, Ipv6, Ipv6Header, Malformed, Tcp, Udp, UdpHeader,
    ether_type, ip_protocol,
};

/// The version of the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The positions of the headers of one packet or frame, found in one pass.
///
/// ```text
///  0        network         transport      payload       end
///  | [ethernet, tags] | IPv4, or IPv6 and extensions | TCP, UDP, ICMP | payload | [padding] |
/// ```
///
/// Offsets count from the first parsed byte, and stay valid while the headers keep their lengths.
/// The value does not keep the bytes: pass the same ones to the methods that take them.
///
/// ```
/// use adit_packet::{Headers, ip_protocol};
///
/// # let packet = [0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
/// #               0, 53, 0xc0, 0, 0, 12, 0, 0, 1, 2, 3, 4];
/// let headers = Headers::parse_packet(&packet)?;
/// assert_eq!((headers.transport(), headers.payload()), (Some(20), 28));
/// assert_eq!(headers.protocol(), Some(ip_protocol::UDP));
/// let flow = headers.flow(&packet).expect("an IP packet");
/// assert_eq!((flow.source_port, flow.destination_port), (53, 0xc000));
/// # Ok::<(), adit_packet::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Headers {
    ether_type: u16,
    tag_count: u8,
    version: Option<IpVersion>,
    protocol: u8,
    fragment: Option<Fragment>,
    network: u16,
    transport: Option<u16>,
    payload: u16,
    extensions_len: u16,
    home_address: Option<u16>,
    routing_address: Option<u16>,
    end: u32,
}

impl Headers {
    /// Parses an Ethernet frame. A frame that is not IP (such as ARP) has only a payload.
    ///
    /// # Errors
    ///
    /// The fault of the first malformed header.
    pub fn parse_frame(frame: &[u8]) -> Result<Self, Malformed> {
        let ethernet = Ethernet::parse(frame)?;
        let mut headers = Self::without_network(ethernet.ether_type(), ethernet.header_len());
        headers.tag_count = u8::try_from(ethernet.tags().count()).unwrap_or_default();
        match ethernet.ether_type() {
            ether_type::IPV4 => headers.read_ipv4(frame)?,
            ether_type::IPV6 => headers.read_ipv6(frame)?,
            _ => headers.end = u32::try_from(frame.len()).unwrap_or(u32::MAX),
        }
        Ok(headers)
    }

    /// Parses an IP packet, whose version is in its first four bits.
    ///
    /// # Errors
    ///
    /// [`Malformed::IpVersion`], or the fault of the first malformed header.
    pub fn parse_packet(packet: &[u8]) -> Result<Self, Malformed> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => {
                let mut headers = Self::without_network(ether_type::IPV4, 0);
                headers.read_ipv4(packet)?;
                Ok(headers)
            }
            Some(6) => {
                let mut headers = Self::without_network(ether_type::IPV6, 0);
                headers.read_ipv6(packet)?;
                Ok(headers)
            }
            _ => Err(Malformed::IpVersion),
        }
    }

    /// The type of the payload after the Ethernet header and its tags; without one, of the packet
    /// itself.
    #[must_use]
    pub const fn ether_type(&self) -> u16 {
        self.ether_type
    }

    /// The number of VLAN tags, 0 to 2.
    #[must_use]
    pub const fn tag_count(&self) -> u8 {
        self.tag_count
    }

    /// The version of the network header; `None` if it is not IP.
    #[must_use]
    pub const fn version(&self) -> Option<IpVersion> {
        self.version
    }

    /// The protocol above IP and its extension headers; `None` if the packet is not IP.
    #[must_use]
    pub const fn protocol(&self) -> Option<u8> {
        match self.version {
            Some(_) => Some(self.protocol),
            None => None,
        }
    }

    /// The fragment information; `None` for a whole packet.
    #[must_use]
    pub const fn fragment(&self) -> Option<Fragment> {
        self.fragment
    }

    /// The offset of the network header, after the Ethernet header and its tags.
    #[must_use]
    pub fn network(&self) -> usize {
        usize::from(self.network)
    }

    /// The offset of the TCP, UDP or ICMP header; `None` for other protocols, and in a fragment
    /// without the complete header.
    #[must_use]
    pub fn transport(&self) -> Option<usize> {
        self.transport.map(usize::from)
    }

    /// The offset of the payload of the last parsed header.
    #[must_use]
    pub fn payload(&self) -> usize {
        usize::from(self.payload)
    }

    /// The end of the packet by its own lengths; padding may follow.
    #[must_use]
    pub fn end(&self) -> usize {
        usize::try_from(self.end).unwrap_or(usize::MAX)
    }

    /// The total length of the IPv6 extension headers in bytes.
    #[must_use]
    pub fn extensions_len(&self) -> usize {
        usize::from(self.extensions_len)
    }

    /// The offset of the home address in an IPv6 destination option (RFC 6275, 6.3).
    #[must_use]
    pub fn home_address(&self) -> Option<usize> {
        self.home_address.map(usize::from)
    }

    /// The offset of the address in an IPv6 routing header of type 2 (RFC 6275, 6.4).
    #[must_use]
    pub fn routing_address(&self) -> Option<usize> {
        self.routing_address.map(usize::from)
    }

    /// The source and destination address; `None` if the packet is not IP.
    #[must_use]
    pub fn addresses(&self, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let network = self.network();
        match self.version? {
            IpVersion::V4 => {
                let at = |at| bytes.get(at..).and_then(|tail: &[u8]| tail.first_chunk::<4>());
                let source = Ipv4Addr::from(*at(network + 12)?);
                Some((source.into(), Ipv4Addr::from(*at(network + 16)?).into()))
            }
            IpVersion::V6 => {
                let source = address(bytes, network + 8)?;
                Some((source.into(), address(bytes, network + 24)?.into()))
            }
        }
    }

    /// The source and destination port; `None` without TCP or UDP, and for fragments.
    #[must_use]
    pub fn ports(&self, bytes: &[u8]) -> Option<(u16, u16)> {
        if self.fragment.is_some() || !matches!(self.protocol, ip_protocol::TCP | ip_protocol::UDP)
        {
            return None;
        }
        let &[s0, s1, d0, d1] = bytes.get(self.transport()?..)?.first_chunk()?;
        Some((u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
    }

    /// The flow; `None` if the packet is not IP. All fragments of a packet have the same flow,
    /// without ports.
    #[must_use]
    pub fn flow(&self, bytes: &[u8]) -> Option<FlowKey> {
        let (source, destination) = self.addresses(bytes)?;
        let (source_port, destination_port) = self.ports(bytes).unwrap_or_default();
        let protocol = self.protocol;
        Some(FlowKey { source, destination, protocol, source_port, destination_port })
    }

    fn without_network(ether_type: u16, len: usize) -> Self {
        let network = offset(len);
        Self {
            ether_type,
            tag_count: 0,
            version: None,
            protocol: 0,
            fragment: None,
            network,
            transport: None,
            payload: network,
            extensions_len: 0,
            home_address: None,
            routing_address: None,
            end: 0,
        }
    }

    fn read_ipv4(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let ipv4 = Ipv4::parse(bytes.get(self.network()..).unwrap_or_default())?;
        self.version = Some(IpVersion::V4);
        self.fragment = ipv4.fragment();
        self.read_transport(ipv4.protocol(), self.network() + ipv4.header_len(), ipv4.payload())
    }

    fn read_ipv6(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let ipv6 = Ipv6::parse(bytes.get(self.network()..).unwrap_or_default())?;
        let upper = ipv6.upper_layer()?;
        let extensions = self.network() + Ipv6Header::LEN;
        self.version = Some(IpVersion::V6);
        self.fragment = upper.fragment;
        self.extensions_len = offset(upper.extensions_len);
        self.home_address = upper.home_address.map(|at| offset(extensions + at));
        self.routing_address = upper.routing_address.map(|at| offset(extensions + at));
        self.read_transport(upper.protocol, extensions + upper.extensions_len, upper.payload)
    }

    /// Parses the header above IP. `at` is the offset of `bytes`, the IP payload.
    fn read_transport(&mut self, protocol: u8, at: usize, bytes: &[u8]) -> Result<(), Malformed> {
        self.protocol = protocol;
        self.payload = offset(at);
        self.end = u32::try_from(at + bytes.len()).unwrap_or(u32::MAX);
        let header_len = match (protocol, self.fragment) {
            (_, Some(fragment)) if fragment.offset != 0 => return Ok(()),
            (ip_protocol::TCP, None) => Tcp::parse(bytes)?.header_len(),
            // A first fragment may end inside the header, and a length in it is that of the whole
            // packet.
            (ip_protocol::TCP, Some(_)) => match Tcp::parse(bytes) {
                Ok(tcp) => tcp.header_len(),
                Err(_) => return Ok(()),
            },
            (ip_protocol::UDP, None) => Udp::parse(bytes).map(|_| UdpHeader::LEN)?,
            (ip_protocol::UDP, Some(_)) => UdpHeader::LEN,
            (ip_protocol::ICMP | ip_protocol::ICMP6, None) if bytes.len() < IcmpHeader::LEN => {
                return Err(Malformed::IcmpShort);
            }
            (ip_protocol::ICMP | ip_protocol::ICMP6, _) => IcmpHeader::LEN,
            _ => return Ok(()),
        };
        if bytes.len() >= header_len {
            self.transport = Some(offset(at));
            self.payload = offset(at + header_len);
        }
        Ok(())
    }
}

/// The offset of a header: at most 22 + 40 + 8 * 2048 + 60, which fits 16 bits.
fn offset(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// The key of a flow. Protocols without ports, and fragments, have ports of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The protocol above IP.
    pub protocol: u8,
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
}

impl FlowKey {
    /// The key of the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }

    /// The same key for both directions: the lower endpoint is the source.
    #[must_use]
    pub fn symmetric(self) -> Self {
        if (self.source, self.source_port) <= (self.destination, self.destination_port) {
            self
        } else {
            self.reversed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EthernetHeader, Ipv4Header, MacAddr, VlanTag};
    use std::vec::Vec;

    fn ipv4(protocol: u8, fragment: Option<Fragment>, payload: &[u8]) -> Vec<u8> {
        let header = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(20 + payload.len()).unwrap(),
            id: 0,
            dont_fragment: false,
            fragment,
            ttl: 64,
            protocol,
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(192, 0, 2, 2),
        };
        [&header.to_bytes(), payload].concat()
    }

    fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            class: 0,
            flow_label: 0,
            payload_len: payload.len().try_into().unwrap(),
            next_header,
            hop_limit: 64,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        };
        [&header.to_bytes(), payload].concat()
    }

    const UDP: [u8; 10] = [0, 7, 0, 9, 0, 10, 0, 0, 1, 2];

    #[test]
    fn a_tagged_frame_with_padding() {
        let ether_type = ether_type::SERVICE_VLAN;
        let mut frame = EthernetHeader {
            destination: MacAddr::BROADCAST,
            source: MacAddr::default(),
            ether_type,
        }
        .to_bytes()[..12]
            .to_vec();
        frame.extend(VlanTag { tpid: ether_type, tci: 1 }.to_bytes());
        frame.extend(VlanTag { tpid: ether_type::VLAN, tci: 2 }.to_bytes());
        frame.extend([8, 0]);
        frame.extend(ipv4(ip_protocol::UDP, None, &UDP));
        frame.extend([0; 8]);
        let headers = Headers::parse_frame(&frame).unwrap();
        assert_eq!((headers.network(), headers.transport()), (22, Some(42)));
        assert_eq!((headers.payload(), headers.end(), headers.tag_count()), (50, 52, 2));
        assert_eq!(headers.ports(&frame), Some((7, 9)));
        assert_eq!(headers.version(), Some(IpVersion::V4));
    }

    #[test]
    fn a_frame_that_is_not_ip() {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&[8, 6]);
        let headers = Headers::parse_frame(&frame).unwrap();
        assert_eq!((headers.payload(), headers.end()), (14, 60));
        assert_eq!(
            (headers.version(), headers.protocol(), headers.flow(&frame)),
            (None, None, None)
        );
    }

    #[test]
    fn extension_headers_move_the_transport() {
        let packet = ipv6(0, &[&[17, 0, 5, 2, 0, 0, 1, 0][..], &UDP].concat());
        let headers = Headers::parse_packet(&packet).unwrap();
        assert_eq!((headers.extensions_len(), headers.transport()), (8, Some(48)));
        let flow = headers.flow(&packet).unwrap();
        assert_eq!((flow.protocol, flow.source_port), (ip_protocol::UDP, 7));
    }

    #[test]
    fn fragments_have_no_ports() {
        let first = Fragment { offset: 0, more: true, id: 1 };
        let later = Fragment { offset: 1480, more: false, id: 1 };
        for (fragment, transport) in [(first, Some(20)), (later, None)] {
            // The length field is the whole datagram's: longer than the fragment.
            let packet = ipv4(ip_protocol::UDP, Some(fragment), &[0, 7, 0, 9, 9, 9, 0, 0]);
            let headers = Headers::parse_packet(&packet).unwrap();
            assert_eq!(headers.transport(), transport);
            assert_eq!(headers.ports(&packet), None);
            assert_eq!(headers.flow(&packet).unwrap().source_port, 0);
        }
        let short = ipv4(ip_protocol::TCP, Some(first), &[0; 8]);
        assert_eq!(Headers::parse_packet(&short).unwrap().transport(), None);
    }

    #[test]
    fn faults_below_and_above_are_named() {
        assert_eq!(Headers::parse_packet(&[]), Err(Malformed::IpVersion));
        assert_eq!(Headers::parse_packet(&[0x50; 40]), Err(Malformed::IpVersion));
        let short = ipv4(ip_protocol::TCP, None, &[0; 8]);
        assert_eq!(Headers::parse_packet(&short), Err(Malformed::TcpShort));
        let short = ipv6(ip_protocol::ICMP6, &[0; 7]);
        assert_eq!(Headers::parse_packet(&short), Err(Malformed::IcmpShort));
    }

    #[test]
    fn a_flow_has_one_symmetric_key() {
        let packet = ipv4(ip_protocol::UDP, None, &UDP);
        let flow = Headers::parse_packet(&packet).unwrap().flow(&packet).unwrap();
        assert_ne!(flow, flow.reversed());
        assert_eq!(flow.symmetric(), flow.reversed().symmetric());
        let same_host = FlowKey { destination: flow.source, ..flow };
        assert_eq!(same_host.symmetric(), same_host.reversed().symmetric());
    }
}
