//! The gateway of a port: frames of guests to packets, and back.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;

use adit_engine::{DropReason, Endpoint, Outbox, PortId};
use adit_packet::checksum::Sum;
use adit_packet::{
    Arp, ArpOperation, Ethernet, EthernetHeader, Icmp, Instant, Ipv4, Ipv6, MacAddr, Neighbour,
    NeighbourKind, NoRoom, PacketBuf, Udp, ether_type, icmp, ip_protocol,
};

use crate::guest::config::{GuestConfig, GuestConfigError};
use crate::guest::leases::Leases;
use crate::guest::pending::{Due, Pending};
use crate::guest::servers::{self, Desk};
use crate::guest::stations::Stations;
use crate::guest::{dhcp4, dhcp6, frame, nd};

/// Room for a frame that the gateway writes. The longest, an advertisement of DHCPv6 with the longest client
/// identifier and search list, has 700 bytes.
const REPLY_MAX: usize = 1024;
const HEADER_LEN: u16 = 14;
/// IGMP, and multicast listener discovery: query, report, done, and the report of version 2.
const IGMP: u8 = 2;
const LISTENER: [u8; 4] = [130, 131, 132, 143];
/// The interval of router advertisements (RFC 4861, 6.2.1), and what is random of it.
const ADVERTISE_MIN: Duration = Duration::from_secs(200);
const ADVERTISE_SPREAD_MS: u64 = 400_000;

/// The layer-2 side of a NAT for one port: see the [module](super).
#[derive(Debug)]
pub struct Guests {
    port: PortId,
    config: GuestConfig,
    stations: Stations,
    leases_v4: Option<Leases<Ipv4Addr>>,
    leases_v6: Option<Leases<Ipv6Addr>>,
    pending: Pending,
    advertise_at: Option<Instant>,
    random: u64,
}

/// A frame that was read.
struct Seen<'a> {
    source: MacAddr,
    /// Whether it was sent to the gateway and not to a group.
    is_unicast: bool,
    /// Whether checksums of transports are complete.
    has_checksum: bool,
    payload: &'a [u8],
}

/// What becomes of a frame that is not discarded.
enum Fate {
    /// Its packet, of that many bytes, is for the NAT.
    Packet(usize),
    /// It was for the gateway itself.
    Served,
}

impl Guests {
    /// Serves the guests of `port`.
    ///
    /// # Errors
    ///
    /// [`GuestConfigError`].
    pub fn new(port: PortId, config: GuestConfig) -> Result<Self, GuestConfigError> {
        let mut new = Self {
            port,
            random: config.seed,
            config: GuestConfig::default(),
            stations: Stations::default(),
            leases_v4: None,
            leases_v6: None,
            pending: Pending::default(),
            advertise_at: None,
        };
        new.set(config)?;
        Ok(new)
    }

    /// Replaces the configuration, and advertises the new one at once. Leases stay if their pool does.
    ///
    /// # Errors
    ///
    /// [`GuestConfigError`]; nothing changes then.
    pub fn set(&mut self, config: GuestConfig) -> Result<(), GuestConfigError> {
        config.check()?;
        let pool = config.v4.as_ref().and_then(|v4| v4.pool);
        if self.leases_v4.as_ref().map(Leases::pool) != pool.as_ref() {
            self.leases_v4 = pool.map(Leases::new);
        }
        let pool = config.v6.as_ref().and_then(|v6| v6.pool);
        if self.leases_v6.as_ref().map(Leases::pool) != pool.as_ref() {
            self.leases_v6 = pool.map(Leases::new);
        }
        let has_router = config.v6.is_some() && config.advertises;
        self.advertise_at = has_router.then_some(Instant::ZERO);
        self.config = config;
        Ok(())
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &GuestConfig {
        &self.config
    }

    /// The addresses that guests use, with their MAC addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, MacAddr)> + '_ {
        self.stations.iter()
    }

    /// Takes a frame of a guest. Returns the packet in it if that is for the NAT: in the same buffer, without
    /// the frame's header and padding. Everything else is answered, absorbed or discarded here.
    pub fn ingress(
        &mut self,
        now: Instant,
        mut frame: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let fate = self.read(now, &frame, out).and_then(|fate| match fate {
            Fate::Packet(len) => {
                let vnet = frame.meta.vnet.shifted(|at| at.checked_sub(HEADER_LEN));
                frame.meta.vnet = vnet.ok_or(DropReason::MALFORMED)?;
                frame.advance(EthernetHeader::LEN);
                frame.truncate(len);
                Ok(true)
            }
            Fate::Served => Ok(false),
        });
        match fate {
            Ok(true) => return Some(frame),
            Ok(false) => out.absorb(frame),
            Err(why) => out.discard(frame, why),
        }
        None
    }

    /// Sends a packet of the NAT to the guest that has its destination. It waits if that guest must be asked
    /// for first.
    pub fn egress(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        let Some(ip) = destination(packet.bytes()) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let known = match *self.config.macs.as_slice() {
            [only] => Some(only),
            _ => self.stations.mac_of(ip),
        };
        if let Some(mac) = known {
            return self.send(mac, packet, out);
        }
        let neighbour = if self.config.may_have(ip) { Some(ip) } else { self.config.router_to(ip) };
        let Some(neighbour) = neighbour else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        if neighbour != ip
            && let Some(mac) = self.stations.mac_of(neighbour)
        {
            return self.send(mac, packet, out);
        }
        let (gave_way, is_new) = self.pending.hold(now, neighbour, packet);
        if let Some(packet) = gave_way {
            out.discard(packet, DropReason::NO_NEIGHBOUR);
        }
        if is_new {
            self.ask_for(neighbour, out);
        }
    }

    /// When [`Self::handle_timeout`] must be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.advertise_at, self.pending.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due: advertises the router, asks again for guests.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.advertise_at.is_some_and(|at| at <= now) {
            self.advertise_at = Some(now + ADVERTISE_MIN + self.spread());
            // Without a buffer for it, the next one serves.
            let _ = self.advertise(nd::ALL_NODES, frame::group_mac(nd::ALL_NODES), out);
        }
        while let Some(due) = self.pending.due(now) {
            match due {
                Due::Ask(ip) => self.ask_for(ip, out),
                Due::GiveUp(packet) => out.discard(packet, DropReason::NO_NEIGHBOUR),
            }
        }
    }

    /// How many packets wait for the MAC address of their guest.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.pending.len()
    }

    /// Discards the packets that wait: the port is going.
    pub fn clear(&mut self, out: &mut Outbox) {
        while let Some(packet) = self.pending.pop() {
            out.discard(packet, DropReason::PORT_DOWN);
        }
    }

    /// Up to [`ADVERTISE_SPREAD_MS`] (a step of splitmix64): guests of many ports need not advertise at once.
    fn spread(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Duration::from_millis((mixed ^ mixed >> 31) % ADVERTISE_SPREAD_MS)
    }

    /// Reads a frame from its first byte on, and answers what is for the gateway itself.
    fn read(
        &mut self,
        now: Instant,
        packet: &PacketBuf,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let ethernet = Ethernet::parse(packet.bytes()).map_err(|_| DropReason::MALFORMED)?;
        let (source, destination) = (ethernet.source(), ethernet.destination());
        require(ethernet.tags().next().is_none(), DropReason::VLAN_FILTERED)?;
        require(source.is_station() && source != self.config.mac, DropReason::MAC_GUARD)?;
        let macs = &self.config.macs;
        require(macs.is_empty() || macs.contains(&source), DropReason::MAC_GUARD)?;
        let is_unicast = destination == self.config.mac;
        require(is_unicast || destination.is_multicast(), DropReason::NO_DESTINATION)?;
        self.stations.admit(now, source, self.config.stations_max)?;
        let has_checksum = !packet.meta.vnet.needs_csum();
        let seen = Seen { source, is_unicast, has_checksum, payload: ethernet.payload() };
        match ethernet.ether_type() {
            ether_type::IPV4 => self.read_v4(now, &seen, out),
            ether_type::IPV6 => self.read_v6(now, &seen, out),
            ether_type::ARP => self.read_arp(now, &seen, out),
            // Such as the probes of a switch with a loop guard: each station on the link gets them.
            _ if !is_unicast => Err(DropReason::MULTICAST),
            _ => Err(DropReason::NO_DESTINATION),
        }
    }

    /// The station uses the address as its source: it must be a guest's, and no other station's. Packets that
    /// wait for it go.
    fn claim(
        &mut self,
        now: Instant,
        mac: MacAddr,
        ip: impl Into<IpAddr>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let ip = ip.into();
        if !self.config.may_have(ip) {
            // Of a network behind a router: nobody but that router sends from it.
            let router = self.config.router_to(ip).ok_or(DropReason::IP_GUARD)?;
            let of_router = self.stations.mac_of(router);
            return require(of_router.is_none_or(|of| of == mac), DropReason::IP_GUARD);
        }
        self.stations.claim(now, mac, ip)?;
        if self.pending.len() > 0
            && let Some(packet) = self.pending.take(ip)
        {
            self.send(mac, packet, out);
        }
        Ok(())
    }

    fn read_arp(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let arp = Arp::parse(seen.payload).map_err(|_| DropReason::MALFORMED)?;
        require(self.config.v4.is_some(), DropReason::FILTERED)?;
        require(arp.sender_mac == seen.source, DropReason::ARP_GUARD)?;
        // A probe asks whether another host has the address that it is about to use (RFC 5227).
        let is_probe = arp.sender_ip.is_unspecified();
        if !is_probe {
            let claimed = self.claim(now, seen.source, arp.sender_ip, out);
            claimed.map_err(|_| DropReason::ARP_GUARD)?;
        }
        let is_request = arp.operation == ArpOperation::Request;
        if is_request && self.answers_for(arp.target_ip.into(), is_probe) {
            let reply = arp.reply_from(self.config.mac);
            self.reply(seen.source, ether_type::ARP, out, |packet| {
                packet.extend(&reply.to_bytes())
            })?;
        }
        Ok(Fate::Served)
    }

    /// Whether ARP and neighbour discovery answer for `ip`. A host that probes for its own address is not
    /// answered for the addresses of others that are behind the NAT.
    fn answers_for(&self, ip: IpAddr, is_probe: bool) -> bool {
        let is_host = match ip {
            IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_broadcast() || ip.is_loopback()),
            IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_unicast_link_local()),
        };
        let is_behind = self.config.off_link && !is_probe && is_host && !ip.is_multicast();
        self.config.is_own(ip) || is_behind && self.stations.mac_of(ip).is_none()
    }

    fn read_v4(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let v4 = self.config.v4.as_ref().ok_or(DropReason::FILTERED)?;
        let packet = Ipv4::parse(seen.payload).map_err(|_| DropReason::MALFORMED)?;
        let to = packet.destination();
        let is_ours = to == v4.gateway || to.is_broadcast() || to == v4.broadcast();
        let is_udp = packet.protocol() == ip_protocol::UDP && packet.fragment().is_none();
        if is_ours && is_udp && udp_port(packet.payload()) == Some(dhcp4::SERVER_PORT) {
            return self.read_dhcp_v4(now, seen, &packet, out);
        }
        self.claim(now, seen.source, packet.source(), out)?;
        if !seen.is_unicast || to.is_multicast() || to.is_broadcast() || to.is_unspecified() {
            return if packet.protocol() == IGMP {
                Ok(Fate::Served)
            } else {
                Err(DropReason::MULTICAST)
            };
        }
        Ok(Fate::Packet(usize::from(packet.total_len())))
    }

    fn read_dhcp_v4(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        packet: &Ipv4<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let udp = Udp::parse(packet.payload()).map_err(|_| DropReason::MALFORMED)?;
        let bytes = packet.payload().get(..usize::from(udp.len())).unwrap_or_default();
        let pseudo =
            Sum::pseudo_v4(packet.source(), packet.destination(), ip_protocol::UDP, udp.len());
        let is_sound = udp.checksum() == 0 || pseudo.add_bytes(bytes).finish() == 0;
        require(packet.has_valid_checksum(), DropReason::MALFORMED)?;
        require(is_sound || !seen.has_checksum, DropReason::MALFORMED)?;
        let request =
            dhcp4::Request::parse(udp.payload(), seen.source).map_err(|why| match why {
                dhcp4::Refused::Malformed => DropReason::MALFORMED,
                dhcp4::Refused::NotOfAClient => DropReason::DHCP_GUARD,
            })?;
        let config = &self.config;
        let v4 = config.v4.as_ref().ok_or(DropReason::FILTERED)?;
        let leases = self.leases_v4.as_mut().ok_or(DropReason::FILTERED)?;
        let mut desk = Desk { now, mac: seen.source, config, stations: &mut self.stations };
        let Some((kind, assigned)) = servers::answer_v4(&request, leases, v4, &mut desk)? else {
            return Ok(Fate::Served);
        };
        let (mac, ip) = request.reply_to(kind, assigned);
        let from = SocketAddrV4::new(v4.gateway, dhcp4::SERVER_PORT);
        let to = SocketAddrV4::new(ip, dhcp4::CLIENT_PORT);
        self.reply(mac, ether_type::IPV4, out, |packet| {
            request.reply(kind, assigned, config, v4, packet)?;
            frame::udp_v4(packet, from, to)
        })
    }

    fn read_v6(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        require(self.config.v6.is_some(), DropReason::FILTERED)?;
        let packet = Ipv6::parse(seen.payload).map_err(|_| DropReason::MALFORMED)?;
        let (from, to) = (packet.source(), packet.destination());
        if packet.next_header() != ip_protocol::TCP {
            let upper = packet.upper_layer().map_err(|_| DropReason::MALFORMED)?;
            let is_start = upper.fragment.is_none_or(|fragment| fragment.offset == 0);
            match (upper.protocol, upper.payload.first()) {
                (ip_protocol::ICMP6, Some(kind)) if is_start && LISTENER.contains(kind) => {
                    return Ok(Fate::Served);
                }
                (ip_protocol::ICMP6, Some(icmp::v6::ROUTER_SOLICITATION..=nd::REDIRECT))
                    if is_start =>
                {
                    // Not in fragments (RFC 6980); nothing that a host sends has extension headers here.
                    require(upper.extensions_len == 0, DropReason::ND_GUARD)?;
                    return self.read_nd(now, seen, &packet, out);
                }
                (ip_protocol::UDP, _)
                    if upper.extensions_len == 0
                        && (to == dhcp6::SERVERS || self.config.is_own(to.into()))
                        && udp_port(upper.payload) == Some(dhcp6::SERVER_PORT) =>
                {
                    return self.read_dhcp_v6(now, seen, &packet, out);
                }
                _ => {}
            }
        }
        self.claim(now, seen.source, from, out)?;
        require(seen.is_unicast && !to.is_multicast(), DropReason::MULTICAST)?;
        // What is of the link stays on it.
        let is_own = to.is_unicast_link_local() && self.config.is_own(to.into());
        require(is_own || !to.is_unicast_link_local(), DropReason::NO_DESTINATION)?;
        require(is_own || !from.is_unicast_link_local(), DropReason::IP_GUARD)?;
        Ok(Fate::Packet(adit_packet::Ipv6Header::LEN + usize::from(packet.payload_len())))
    }

    fn read_nd(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        packet: &Ipv6<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let (from, message) = (packet.source(), packet.payload());
        let malformed = |_| DropReason::MALFORMED;
        let icmp = Icmp::parse(message).map_err(malformed)?;
        let is_sound = packet.hop_limit() == frame::ND_HOP_LIMIT
            && icmp.code() == 0
            && icmp::has_valid_checksum_v6(from, packet.destination(), message);
        require(is_sound, DropReason::ND_GUARD)?;
        match icmp.kind() {
            icmp::v6::ROUTER_SOLICITATION => {
                let link_address = nd::source_link_address(message).map_err(malformed)?;
                self.claim_nd(now, seen, from, link_address, out)?;
                require(self.config.advertises, DropReason::FILTERED)?;
                let (ip, mac) = if from.is_unspecified() {
                    (nd::ALL_NODES, frame::group_mac(nd::ALL_NODES))
                } else {
                    (from, seen.source)
                };
                self.advertise(ip, mac, out)
            }
            icmp::v6::NEIGHBOUR_SOLICITATION => {
                let asked = Neighbour::parse(message).map_err(malformed)?;
                self.claim_nd(now, seen, from, asked.link_address, out)?;
                require(self.config.solicited, DropReason::FILTERED)?;
                self.answer_solicitation(seen, from, asked.target, out)
            }
            icmp::v6::NEIGHBOUR_ADVERTISEMENT => {
                let told = Neighbour::parse(message).map_err(malformed)?;
                require(!from.is_unspecified(), DropReason::ND_GUARD)?;
                self.claim_nd(now, seen, told.target, told.link_address, out)?;
                Ok(Fate::Served)
            }
            // Router advertisements and redirects are the gateway's own.
            _ => Err(DropReason::RA_GUARD),
        }
    }

    /// What a message of neighbour discovery says of its sender must be true. A host that has no address yet
    /// says nothing.
    fn claim_nd(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        ip: Ipv6Addr,
        link_address: Option<MacAddr>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        if ip.is_unspecified() {
            return require(link_address.is_none(), DropReason::ND_GUARD);
        }
        require(link_address.is_none_or(|mac| mac == seen.source), DropReason::ND_GUARD)?;
        self.claim(now, seen.source, ip, out).map_err(|_| DropReason::ND_GUARD)
    }

    fn answer_solicitation(
        &self,
        seen: &Seen<'_>,
        from: Ipv6Addr,
        target: Ipv6Addr,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let is_probe = from.is_unspecified();
        if !self.answers_for(target.into(), is_probe) {
            return Ok(Fate::Served);
        }
        // Who probes for an address of ours hears with all others that it is taken (RFC 4861, 7.2.4).
        let (ip, mac) = if is_probe {
            (nd::ALL_NODES, frame::group_mac(nd::ALL_NODES))
        } else {
            (from, seen.source)
        };
        let kind = NeighbourKind::Advertisement {
            router: true,
            solicited: !is_probe,
            override_cached: true,
        };
        let answer = Neighbour { kind, target, link_address: Some(self.config.mac) };
        let (bytes, len) = answer.to_bytes();
        self.reply(mac, ether_type::IPV6, out, |packet| {
            packet.extend(bytes.get(..len).unwrap_or_default())?;
            frame::neighbour_discovery(packet, target, ip)
        })
    }

    fn read_dhcp_v6(
        &mut self,
        now: Instant,
        seen: &Seen<'_>,
        packet: &Ipv6<'_>,
        out: &mut Outbox,
    ) -> Result<Fate, DropReason> {
        let client = packet.source();
        let udp = Udp::parse(packet.payload()).map_err(|_| DropReason::MALFORMED)?;
        let bytes = packet.payload().get(..usize::from(udp.len())).unwrap_or_default();
        let pseudo =
            Sum::pseudo_v6(client, packet.destination(), ip_protocol::UDP, udp.len().into());
        let is_sound = udp.checksum() != 0 && pseudo.add_bytes(bytes).finish() == 0;
        require(is_sound || !seen.has_checksum, DropReason::MALFORMED)?;
        require(client.is_unicast_link_local(), DropReason::IP_GUARD)?;
        self.claim(now, seen.source, client, out)?;
        let request =
            dhcp6::Request::parse(udp.payload(), self.config.mac).map_err(|why| match why {
                dhcp6::Refused::Malformed => DropReason::MALFORMED,
                dhcp6::Refused::NotOfAClient => DropReason::DHCP_GUARD,
                dhcp6::Refused::OtherServer => DropReason::NO_DESTINATION,
            })?;
        let config = &self.config;
        let v6 = config.v6.as_ref().ok_or(DropReason::FILTERED)?;
        let mut desk = Desk { now, mac: seen.source, config, stations: &mut self.stations };
        let Some((kind, status)) = servers::answer_v6(&request, &desk) else {
            return Ok(Fate::Served);
        };
        let grants = request.associations.map(|association| {
            servers::grant(&request, &association?, self.leases_v6.as_mut(), &mut desk)
        });
        let from = SocketAddrV6::new(v6.link_local, dhcp6::SERVER_PORT, 0, 0);
        let to = SocketAddrV6::new(client, dhcp6::CLIENT_PORT, 0, 0);
        self.reply(seen.source, ether_type::IPV6, out, |packet| {
            request.reply(kind, status, &grants, config, v6, packet)?;
            frame::udp_v6(packet, from, to)
        })
    }

    fn advertise(&self, to: Ipv6Addr, mac: MacAddr, out: &mut Outbox) -> Result<Fate, DropReason> {
        let v6 = self.config.v6.as_ref().ok_or(DropReason::FILTERED)?;
        self.reply(mac, ether_type::IPV6, out, |packet| {
            nd::router_advertisement(&self.config, v6, packet)?;
            frame::neighbour_discovery(packet, v6.link_local, to)
        })
    }

    /// Asks all stations for the owner of `ip`. Without a buffer, the next attempt serves.
    fn ask_for(&self, ip: IpAddr, out: &mut Outbox) {
        let mac = self.config.mac;
        let _ = match (ip, &self.config.v4, &self.config.v6) {
            (IpAddr::V4(ip), Some(v4), _) => {
                let request = Arp {
                    operation: ArpOperation::Request,
                    sender_mac: mac,
                    sender_ip: v4.gateway,
                    target_mac: MacAddr::default(),
                    target_ip: ip,
                };
                self.reply(MacAddr::BROADCAST, ether_type::ARP, out, |packet| {
                    packet.extend(&request.to_bytes())
                })
            }
            (IpAddr::V6(target), _, Some(v6)) => {
                let kind = NeighbourKind::Solicitation;
                let (bytes, len) = Neighbour { kind, target, link_address: Some(mac) }.to_bytes();
                let group = nd::solicited_node(target);
                self.reply(frame::group_mac(group), ether_type::IPV6, out, |packet| {
                    packet.extend(bytes.get(..len).unwrap_or_default())?;
                    frame::neighbour_discovery(packet, v6.link_local, group)
                })
            }
            _ => Err(DropReason::FILTERED),
        };
    }

    /// Sends a frame that `write` fills.
    fn reply(
        &self,
        to: MacAddr,
        ether_type: u16,
        out: &mut Outbox,
        write: impl FnOnce(&mut PacketBuf) -> Result<(), NoRoom>,
    ) -> Result<Fate, DropReason> {
        let mut packet = out.make(REPLY_MAX).ok_or(DropReason::NO_BUFFER)?;
        let written = write(&mut packet)
            .and_then(|()| frame::ethernet(&mut packet, to, self.config.mac, ether_type));
        if written.is_err() {
            out.absorb(packet);
            return Err(DropReason::NO_BUFFER);
        }
        out.send(Endpoint::Port(self.port), packet);
        Ok(Fate::Served)
    }

    /// Sends a packet of the NAT to a station.
    fn send(&self, to: MacAddr, mut packet: PacketBuf, out: &mut Outbox) {
        let vnet = packet.meta.vnet.shifted(|at| at.checked_add(HEADER_LEN));
        let ether_type = frame::ether_type_of(packet.bytes());
        let (Some(vnet), Some(ether_type)) = (vnet, ether_type) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        match frame::ethernet(&mut packet, to, self.config.mac, ether_type) {
            Ok(()) => {
                packet.meta.vnet = vnet;
                out.send(Endpoint::Port(self.port), packet);
            }
            Err(NoRoom) => out.discard(packet, DropReason::NO_BUFFER),
        }
    }
}

const fn require(holds: bool, otherwise: DropReason) -> Result<(), DropReason> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// The destination port of a datagram.
fn udp_port(datagram: &[u8]) -> Option<u16> {
    let &[_, _, high, low] = datagram.first_chunk()?;
    Some(u16::from_be_bytes([high, low]))
}

/// The destination address of a packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(16..)?.first_chunk::<4>().map(|&octets| octets.into()),
        6 => packet.get(24..)?.first_chunk::<16>().map(|&octets| octets.into()),
        _ => None,
    }
}
