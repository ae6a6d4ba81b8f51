//! A router: forwards IPv4 and IPv6 between Ethernet interfaces.
//!
//! # Theory of operation
//!
//! ```text
//!   interface 0 ──┐                                     ┌── interface 1
//!                 ├─ ours? ── no ── longest prefix ── ARP, ND ──┤
//!   local stack ──┘    └── yes ── local stack           └── interface 2
//! ```
//!
//! Interface `n` is port `n`, which carries frames, or packets without Ethernet. The next port leads to a stack of the
//! router's own: a host without Ethernet that has the same addresses. The ports after it have the packets of one UDP port each. So a host with several interfaces is a router that does not forward.
//!
//! Packets wait for the address of a neighbour, at most [`neighbours::WAITING_MAX`] of them. What cannot be forwarded is
//! answered by an ICMP error, as the kernel does it. The router itself answers echo requests to its addresses, so its
//! stack need not have all of them. IPv4 packets that are too long are not fragmented.

mod echo;
mod error;
mod neighbours;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId, Reason};
use adit_packet::{
    Arp, ArpOperation, Ethernet, EthernetHeader, Instant, IpPrefix, Ipv4, Ipv4Mut, Ipv6,
    Ipv6Header, Ipv6Mut, Layer, MacAddr, Neighbour, NeighbourKind, PacketBuf, VnetHeader,
    ether_type, icmp, ip_protocol,
};

use crate::udp;
use error::IcmpError;
use neighbours::{Found, Key, Neighbours};

/// The configuration of a [`Router`].
#[derive(Clone, Debug, Default)]
pub struct RouterConfig {
    /// Its interfaces; the place of one is the number of its port.
    pub interfaces: Vec<RouterInterface>,
    /// Addresses of no interface.
    pub own: Vec<IpAddr>,
    /// Its routes beside those to the networks of its interfaces.
    pub routes: Vec<RouterRoute>,
    /// Whether it forwards what is not for itself.
    pub forward: bool,
    /// UDP ports whose packets are not for its stack. Each has a port of the router, after that of the stack.
    pub sockets: Vec<u16>,
}

/// An interface of a [`Router`].
#[derive(Clone, Debug)]
pub struct RouterInterface {
    /// Its MAC address; `None`: it has no Ethernet, as a tunnel, and its port carries packets.
    pub mac: Option<MacAddr>,
    /// Its IP MTU.
    pub mtu: u16,
    /// Its addresses with the lengths of their networks.
    pub addresses: Vec<IpPrefix>,
}

/// A route of a [`Router`].
#[derive(Clone, Copy, Debug)]
pub struct RouterRoute {
    /// Where it leads.
    pub to: IpPrefix,
    /// The next hop; `None`: the destination itself.
    pub via: Option<IpAddr>,
    /// The place of the interface.
    pub interface: usize,
    /// Of two routes to one network, the one with the smaller metric is used.
    pub metric: u32,
}

/// A router: an engine that forwards IPv4 and IPv6 between Ethernet interfaces, and answers with ICMP errors as the kernel does.
#[derive(Debug)]
pub struct Router {
    interfaces: Vec<RouterInterface>,
    /// The longest prefix first, then the smallest metric.
    own: Vec<IpAddr>,
    routes: Vec<RouterRoute>,
    forward: bool,
    sockets: Vec<u16>,
    neighbours: Neighbours,
}

/// What a packet says to a router.
struct Seen {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    len: usize,
    is_neighbour_discovery: bool,
}

const HOP_LIMIT: DropReason =
    DropReason::new(&Reason::new("hop limit", "The packet has passed too many routers."));
const NO_ROUTE: DropReason =
    DropReason::new(&Reason::new("no route", "No route leads to the destination."));
const NO_NEIGHBOUR: DropReason =
    DropReason::new(&Reason::new("no neighbour", "The next hop does not answer."));
const NOT_OURS: DropReason =
    DropReason::new(&Reason::new("not ours", "The frame or packet is for another station."));

impl Router {
    /// A router that knows no neighbour yet.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        let RouterConfig { interfaces, own, routes, forward, sockets } = config;
        let mut router = Self {
            interfaces,
            own,
            routes: Vec::new(),
            forward,
            sockets,
            neighbours: Neighbours::default(),
        };
        router.set_routes(routes);
        router
    }

    /// Replaces its routes but for those to the networks of its interfaces.
    pub fn set_routes(&mut self, mut routes: Vec<RouterRoute>) {
        let interfaces = &self.interfaces;
        for (at, interface) in interfaces.iter().enumerate() {
            let connected = interface.addresses.iter().map(|address| RouterRoute {
                to: address.network(),
                via: None,
                interface: at,
                metric: 0,
            });
            routes.extend(connected);
        }
        routes.retain(|route| route.interface < interfaces.len());
        routes.sort_by_key(|route| (core::cmp::Reverse(route.to.len()), route.metric));
        self.routes = routes;
    }

    /// The port of its own stack.
    #[must_use]
    pub fn local(&self) -> PortId {
        PortId(u16::try_from(self.interfaces.len()).unwrap_or(u16::MAX))
    }

    fn mac(&self, at: usize) -> Option<MacAddr> {
        self.interfaces.get(at)?.mac
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        let mut addresses = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.any(|address| address.ip() == ip) || self.own.contains(&ip)
    }

    /// The interface and the next hop to a destination.
    fn route(&self, destination: IpAddr) -> Option<(usize, IpAddr)> {
        let route = self.routes.iter().find(|route| route.to.contains(destination))?;
        Some((route.interface, route.via.unwrap_or(destination)))
    }

    /// The address of which packets on the way to a destination come.
    fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let (interface, next) = self.route(destination)?;
        self.address_on(interface, next)
    }

    /// An address of an interface: that in the network of a neighbour, or else the first one of its family.
    fn address_on(&self, interface: usize, neighbour: IpAddr) -> Option<IpAddr> {
        let addresses = &self.interfaces.get(interface)?.addresses;
        let same = addresses.iter().find(|address| address.contains(neighbour));
        let first =
            || addresses.iter().find(|address| address.ip().is_ipv4() == neighbour.is_ipv4());
        same.or_else(first).map(|address| address.ip())
    }

    /// Takes a packet from a link without Ethernet.
    fn handle_packet(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        match parse(packet.bytes()) {
            None => out.discard(packet, DropReason::MALFORMED),
            Some(seen) if self.is_ours(seen.destination) => self.deliver(now, &seen, packet, out),
            Some(seen) if self.forward => self.forward(now, &seen, packet, out),
            Some(_) => out.discard(packet, NOT_OURS),
        }
    }

    /// Takes a frame from a link.
    fn handle_frame(&mut self, now: Instant, at: usize, mut packet: PacketBuf, out: &mut Outbox) {
        let Ok(frame) = Ethernet::parse(packet.bytes()) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let (to, from, kind, header) =
            (frame.destination(), frame.source(), frame.ether_type(), frame.header_len());
        let is_for_us = self.interfaces.get(at).is_some_and(|interface| interface.mac == Some(to));
        if !is_for_us && !to.is_multicast() {
            return out.discard(packet, NOT_OURS);
        }
        match kind {
            ether_type::ARP => match Arp::parse(frame.payload()) {
                Ok(arp) => {
                    out.absorb(packet);
                    self.handle_arp(at, &arp, out);
                }
                Err(_) => out.discard(packet, DropReason::MALFORMED),
            },
            ether_type::IPV4 | ether_type::IPV6 => {
                strip(&mut packet, header);
                let Some(seen) = parse(packet.bytes()) else {
                    return out.discard(packet, DropReason::MALFORMED);
                };
                // A short frame is padded.
                if !packet.meta.vnet.is_super_packet() {
                    packet.truncate(seen.len);
                }
                if seen.is_neighbour_discovery {
                    self.handle_neighbour(at, from, &seen, packet, out);
                } else if self.is_ours(seen.destination) {
                    self.deliver(now, &seen, packet, out);
                } else if is_for_us && self.forward {
                    self.forward(now, &seen, packet, out);
                } else {
                    out.discard(packet, NOT_OURS);
                }
            }
            _ => out.discard(packet, DropReason::NO_DESTINATION),
        }
    }

    /// Takes a packet from the stack or a socket.
    fn handle_local(&mut self, now: Instant, mut packet: PacketBuf, out: &mut Outbox) {
        let Some(mut seen) = parse(packet.bytes()) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        if let (true, Some(source)) =
            (seen.source.is_unspecified(), self.source_for(seen.destination))
        {
            udp::set_source(packet.bytes_mut(), source);
            seen.source = source;
        }
        if self.is_ours(seen.destination) {
            return self.deliver(now, &seen, packet, out);
        }
        self.output(now, &seen, packet, out);
    }

    /// Answers an echo request, and leaves the rest to the stack.
    fn deliver(&mut self, now: Instant, seen: &Seen, mut packet: PacketBuf, out: &mut Outbox) {
        if self.is_ours(seen.source) || !echo::answer(&mut packet) {
            let to = udp_port(packet.bytes());
            let socket = self.sockets.iter().position(|port| Some(*port) == to);
            let socket = socket.map_or(0, |place| u16::try_from(place + 1).unwrap_or(0));
            return out.send(Endpoint::Port(PortId(self.local().0 + socket)), packet);
        }
        let seen = Seen { source: seen.destination, destination: seen.source, ..*seen };
        self.output(now, &seen, packet, out);
    }

    fn forward(&mut self, now: Instant, seen: &Seen, mut packet: PacketBuf, out: &mut Outbox) {
        if seen.hop_limit <= 1 {
            return self.refuse(now, seen, packet, HOP_LIMIT, IcmpError::HopLimit, out);
        }
        let hop_limit = seen.hop_limit - 1;
        match (Ipv4Mut::parse(packet.bytes_mut()), seen.destination) {
            (Ok(mut header), IpAddr::V4(_)) => header.set_ttl(hop_limit),
            _ => {
                if let Ok(mut header) = Ipv6Mut::parse(packet.bytes_mut()) {
                    header.set_hop_limit(hop_limit);
                }
            }
        }
        self.output(now, seen, packet, out);
    }

    /// Sends a packet to its next hop.
    fn output(&mut self, now: Instant, seen: &Seen, packet: PacketBuf, out: &mut Outbox) {
        let Some((at, next)) = self.route(seen.destination) else {
            return self.refuse(now, seen, packet, NO_ROUTE, IcmpError::NoRoute, out);
        };
        let mtu = self.interfaces.get(at).map_or(0, |interface| interface.mtu);
        if seen.len > usize::from(mtu) && !packet.meta.vnet.is_super_packet() {
            return self.refuse(
                now,
                seen,
                packet,
                DropReason::TOO_BIG,
                IcmpError::TooBig(mtu),
                out,
            );
        }
        if self.interfaces.get(at).is_some_and(|interface| interface.mac.is_none()) {
            return out.send(port(at), packet);
        }
        match self.neighbours.find((at, next), now, packet) {
            Found::Known(mac, packet) => self.transmit(at, mac, packet, out),
            Found::Ask => self.ask((at, next), out),
            Found::Waits => {}
            Found::Full(packet) => out.discard(packet, DropReason::QUEUE_FULL),
        }
    }

    /// Discards a packet, and reports that to its sender.
    fn refuse(
        &mut self,
        now: Instant,
        seen: &Seen,
        packet: PacketBuf,
        why: DropReason,
        error: IcmpError,
        out: &mut Outbox,
    ) {
        let from = self.source_for(seen.source).or_else(|| {
            let ours = self.is_ours(seen.source);
            ours.then_some(seen.source)
        });
        let report = from.and_then(|from| error.about(packet.bytes(), from, seen.source, out));
        out.discard(packet, why);
        if let Some(report) = report {
            // An error about an error is never made, so this ends here.
            self.handle_local(now, report, out);
        }
    }

    fn transmit(&self, at: usize, to: MacAddr, mut packet: PacketBuf, out: &mut Outbox) {
        let Some(source) = self.mac(at) else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        let is_v4 = packet.bytes().first().is_some_and(|first| first >> 4 == 4);
        let ether_type = if is_v4 { ether_type::IPV4 } else { ether_type::IPV6 };
        let header = EthernetHeader { destination: to, source, ether_type };
        if !wrap(&mut packet, header) {
            return out.discard(packet, DropReason::NO_BUFFER);
        }
        out.send(port(at), packet);
    }

    /// Asks who has the address of a neighbour.
    fn ask(&self, (at, ip): Key, out: &mut Outbox) {
        let (Some(mac), Some(source)) = (self.mac(at), self.address_on(at, ip)) else {
            return;
        };
        match (source, ip) {
            (IpAddr::V4(sender_ip), IpAddr::V4(target_ip)) => {
                let arp = Arp {
                    operation: ArpOperation::Request,
                    sender_mac: mac,
                    sender_ip,
                    target_mac: MacAddr::default(),
                    target_ip,
                };
                self.send_arp(at, MacAddr([0xff; 6]), &arp, out);
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let [.., a, b, c] = target.octets();
                let group =
                    [0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c])];
                let message = Neighbour {
                    kind: NeighbourKind::Solicitation,
                    target,
                    link_address: Some(mac),
                };
                let all = MacAddr([0x33, 0x33, 0xff, a, b, c]);
                self.send_neighbour((at, all), source, group.into(), &message, out);
            }
            _ => {}
        }
    }

    fn send_arp(&self, at: usize, to: MacAddr, arp: &Arp, out: &mut Outbox) {
        let Some(mut packet) = out.make(Arp::LEN) else { return };
        let header =
            EthernetHeader { destination: to, source: arp.sender_mac, ether_type: ether_type::ARP };
        if packet.extend(&arp.to_bytes()).is_ok() && wrap(&mut packet, header) {
            out.send(port(at), packet);
        } else {
            out.absorb(packet);
        }
    }

    fn send_neighbour(
        &self,
        (at, mac): (usize, MacAddr),
        source: Ipv6Addr,
        destination: Ipv6Addr,
        message: &Neighbour,
        out: &mut Outbox,
    ) {
        let (mut bytes, len) = message.to_bytes();
        let Some((message, mut packet)) = bytes.get_mut(..len).zip(out.make(Ipv6Header::LEN + len))
        else {
            return;
        };
        icmp::fill_checksum_v6(source, destination, message);
        let header = Ipv6Header {
            class: 0,
            flow_label: 0,
            payload_len: u16::try_from(len).unwrap_or_default(),
            next_header: ip_protocol::ICMP6,
            // A router in between would have made it less (RFC 4861, 7.1).
            hop_limit: 255,
            source,
            destination,
        };
        let written = packet.extend(&header.to_bytes()).and_then(|()| packet.extend(message));
        if written.is_ok() { self.transmit(at, mac, packet, out) } else { out.absorb(packet) }
    }

    fn handle_arp(&mut self, at: usize, arp: &Arp, out: &mut Outbox) {
        let is_for_us = self.has_on(at, arp.target_ip.into());
        let sender = arp.sender_ip.into();
        self.learn((at, sender), arp.sender_mac, is_for_us, out);
        if let (true, ArpOperation::Request, Some(mac)) = (is_for_us, arp.operation, self.mac(at)) {
            self.send_arp(at, arp.sender_mac, &arp.reply_from(mac), out);
        }
    }

    fn handle_neighbour(
        &mut self,
        at: usize,
        from: MacAddr,
        seen: &Seen,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let message = Ipv6::parse(packet.bytes()).and_then(|ip| Neighbour::parse(ip.payload()));
        let (Ok(message), IpAddr::V6(source)) = (message, seen.source) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        out.absorb(packet);
        let mac = message.link_address.unwrap_or(from);
        match message.kind {
            NeighbourKind::Advertisement { .. } => {
                self.learn((at, message.target.into()), mac, false, out);
            }
            NeighbourKind::Solicitation => {
                let is_for_us = self.has_on(at, message.target.into());
                self.learn((at, source.into()), mac, is_for_us, out);
                let Some(own) = self.mac(at).filter(|_| is_for_us) else { return };
                let answer = Neighbour {
                    kind: NeighbourKind::Advertisement {
                        router: self.forward,
                        solicited: true,
                        override_cached: true,
                    },
                    target: message.target,
                    link_address: Some(own),
                };
                self.send_neighbour((at, mac), message.target, source, &answer, out);
            }
        }
    }

    fn has_on(&self, at: usize, ip: IpAddr) -> bool {
        let interface = self.interfaces.get(at);
        interface.is_some_and(|interface| interface.addresses.iter().any(|own| own.ip() == ip))
    }

    /// Learns the MAC address of a neighbour, if it is one that we asked for or that has asked for us, and sends what
    /// waited for it.
    fn learn(&mut self, key: Key, mac: MacAddr, asked_for_us: bool, out: &mut Outbox) {
        if key.1.is_unspecified() {
            return;
        }
        for packet in self.neighbours.learn(key, mac, asked_for_us) {
            self.transmit(key.0, mac, packet, out);
        }
    }
}

impl Engine for Router {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        match from {
            Endpoint::Port(port) if port >= self.local() => self.handle_local(now, packet, out),
            Endpoint::Port(port) => match usize::from(port.0) {
                at if self.mac(at).is_some() => self.handle_frame(now, at, packet, out),
                _ => self.handle_packet(now, packet, out),
            },
            _ => out.discard(packet, DropReason::NO_DESTINATION),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.neighbours.due()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((key, given_up)) = self.neighbours.next_due(now) {
            match given_up {
                None => self.ask(key, out),
                Some(packets) => {
                    for packet in packets {
                        match parse(packet.bytes()) {
                            Some(seen) => {
                                let error = IcmpError::NoNeighbour;
                                self.refuse(now, &seen, packet, NO_NEIGHBOUR, error, out);
                            }
                            None => out.discard(packet, DropReason::MALFORMED),
                        }
                    }
                }
            }
        }
    }

    fn held(&self) -> usize {
        self.neighbours.held()
    }
}

fn port(at: usize) -> Endpoint {
    Endpoint::Port(PortId(u16::try_from(at).unwrap_or(u16::MAX)))
}

/// Where a UDP datagram goes.
fn udp_port(packet: &[u8]) -> Option<u16> {
    let headers = Layer::Packet.parse(packet).ok()?;
    let is_udp = headers.protocol()? == ip_protocol::UDP && headers.fragment().is_none();
    headers.ports(packet).filter(|_| is_udp).map(|(_, to)| to)
}

fn parse(packet: &[u8]) -> Option<Seen> {
    match packet.first()? >> 4 {
        4 => {
            let header = Ipv4::parse(packet).ok().filter(Ipv4::has_valid_checksum)?;
            Some(Seen {
                source: header.source().into(),
                destination: header.destination().into(),
                hop_limit: header.ttl(),
                len: usize::from(header.total_len()),
                is_neighbour_discovery: false,
            })
        }
        6 => {
            let header = Ipv6::parse(packet).ok()?;
            let kind = header.payload().first().copied();
            let (first, last) = (icmp::v6::ROUTER_SOLICITATION, icmp::v6::NEIGHBOUR_ADVERTISEMENT);
            let is_icmp = header.next_header() == ip_protocol::ICMP6;
            Some(Seen {
                source: header.source().into(),
                destination: header.destination().into(),
                hop_limit: header.hop_limit(),
                len: Ipv6Header::LEN + usize::from(header.payload_len()),
                is_neighbour_discovery: is_icmp
                    && kind.is_some_and(|kind| (first..=last).contains(&kind)),
            })
        }
        _ => None,
    }
}

/// Takes the header of the frame away.
fn strip(packet: &mut PacketBuf, header: usize) {
    packet.advance(header);
    if packet.meta.vnet != VnetHeader::default() {
        let less = u16::try_from(header).unwrap_or_default();
        let vnet = &mut packet.meta.vnet;
        vnet.csum_start = vnet.csum_start.saturating_sub(less);
        vnet.hdr_len = vnet.hdr_len.saturating_sub(less);
    }
}

/// Puts a header before the packet; `false` without room for it.
fn wrap(packet: &mut PacketBuf, header: EthernetHeader) -> bool {
    let header = header.to_bytes();
    let Some(room) = packet.prepend(header.len()) else { return false };
    room.copy_from_slice(&header);
    if packet.meta.vnet != VnetHeader::default() {
        let more = u16::try_from(header.len()).unwrap_or_default();
        let vnet = &mut packet.meta.vnet;
        vnet.csum_start = vnet.csum_start.saturating_add(more);
        vnet.hdr_len = vnet.hdr_len.saturating_add(more);
    }
    true
}

#[cfg(test)]
mod tests;
