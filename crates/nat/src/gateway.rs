//! A NAT with its services: guests behind frames, and the name server of the inside.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::translate::{Nat, Policy, Publish, PublishError, Redirect};
use adit_engine::{
    DropReason, Endpoint, Engine, FlowEvent, FlowId, Handled, Outbox, PortId, Relay,
};
use adit_packet::checksum::Sum;
use adit_packet::{Gso, Headers, Instant, Meta, PacketBuf, Udp, UdpHeader, ip_protocol};

use crate::dns::{Client, Forwarder, truncate};
use crate::guest::{GuestConfig, GuestConfigError, Guests, udp_header};

const DNS_PORT: u16 = 53;

/// A [`Nat`] whose ports carry packets (TUN) or frames (TAP, QEMU), with a name server.
///
/// ```text
/// frames  -> Guests -> packets -> a query for the name server? -> Nat -> flows
///                                  Forwarder -> flows of its own
/// ```
///
/// Frames of a port with guests become packets in [`Guests`]; what the NAT sends there becomes frames again.
/// Datagrams to port 53 of the name server's addresses go to the [`Forwarder`]. By TCP those addresses lead to the
/// first name server, where the NAT's own names are not known.
#[derive(Debug)]
pub struct Gateway {
    nat: Nat,
    policy: Policy,
    guests: BTreeMap<PortId, Guests>,
    forwarder: Forwarder,
    /// The addresses of the name server.
    servers: Vec<IpAddr>,
    relay: Relay,
}

impl Gateway {
    /// A gateway around `nat`, with a name server at these addresses of the inside.
    #[must_use]
    pub fn new(nat: Nat, forwarder: Forwarder, servers: Vec<IpAddr>) -> Self {
        let policy = nat.config().policy.clone();
        let guests = BTreeMap::new();
        let mut new = Self { nat, policy, guests, forwarder, servers, relay: Relay::new() };
        new.redirect();
        new
    }

    /// Makes `port` one of frames. Ports that are not named carry packets.
    ///
    /// # Errors
    ///
    /// [`GuestConfigError`].
    pub fn add_guests(
        &mut self,
        port: PortId,
        config: GuestConfig,
    ) -> Result<(), GuestConfigError> {
        self.guests.insert(port, Guests::new(port, config)?);
        Ok(())
    }

    /// Forgets the guests of a port; packets that wait for them are discarded.
    pub fn remove_guests(&mut self, port: PortId, out: &mut Outbox) {
        if let Some(mut guests) = self.guests.remove(&port) {
            guests.clear(out);
        }
    }

    /// The guests of a port.
    #[must_use]
    pub fn guests(&self, port: PortId) -> Option<&Guests> {
        self.guests.get(&port)
    }

    /// The guests of a port, to change their configuration.
    pub fn guests_mut(&mut self, port: PortId) -> Option<&mut Guests> {
        self.guests.get_mut(&port)
    }

    /// The NAT.
    #[must_use]
    pub const fn nat(&self) -> &Nat {
        &self.nat
    }

    /// As [`Nat::publish`].
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn publish(
        &mut self,
        now: Instant,
        publish: Publish,
        out: &mut Outbox,
    ) -> Result<FlowId, PublishError> {
        self.with_nat(now, out, |nat, out| nat.publish(now, publish, out))
    }

    /// As [`Nat::unpublish`].
    pub fn unpublish(&mut self, now: Instant, flow: FlowId, out: &mut Outbox) -> bool {
        self.with_nat(now, out, |nat, out| nat.unpublish(flow, out))
    }

    /// The forwarder.
    #[must_use]
    pub const fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// The forwarder, to replace its names.
    pub const fn forwarder_mut(&mut self) -> &mut Forwarder {
        &mut self.forwarder
    }

    /// Replaces the name servers outside.
    pub fn set_name_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        self.forwarder.set_servers(servers);
        self.redirect();
    }

    /// Decides by another policy about flows that begin from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.redirect();
    }

    /// Adds to the policy that the name server's addresses lead outside by TCP.
    fn redirect(&mut self) {
        let mut policy = self.policy.clone();
        for &from in &self.servers {
            let of_family = |to: &&SocketAddr| to.is_ipv4() == from.is_ipv4();
            if let Some(to) = self.forwarder.servers().iter().find(of_family) {
                let ports = DNS_PORT..=DNS_PORT;
                policy.redirects.push(Redirect { from, ports, to: to.ip(), port: Some(to.port()) });
            }
        }
        self.nat.set_policy(policy);
    }

    /// Lets the NAT work; what it sends to a port of frames becomes frames.
    fn with_nat<T>(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        work: impl FnOnce(&mut Nat, &mut Outbox) -> T,
    ) -> T {
        if self.guests.is_empty() {
            return work(&mut self.nat, out);
        }
        let (nat, guests) = (&mut self.nat, &mut self.guests);
        out.relay(
            &mut self.relay,
            |out| work(nat, out),
            |out, to, packet| match to {
                Endpoint::Port(port) => deliver(guests, now, port, packet, out),
                to => out.send(to, packet),
            },
        )
    }

    /// Takes a query for the name server; any other packet comes back.
    fn query(
        &mut self,
        now: Instant,
        port: PortId,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let Some((client, start, end)) = self.find_query(port, &packet) else {
            return Some(packet);
        };
        if !self.nat.config().is_inside(client.from.ip()) {
            out.discard(packet, DropReason::FORGED_SOURCE);
            return None;
        }
        packet.truncate(end);
        packet.advance(start);
        packet.meta = Meta::default();
        if let Some(reply) = self.forwarder.query(now, client, packet, out) {
            self.answer(now, client, reply, out);
        }
        None
    }

    /// The client of a sound query, and where the message is in its packet.
    fn find_query(&self, port: PortId, packet: &PacketBuf) -> Option<(Client, usize, usize)> {
        let bytes = packet.bytes();
        let is_v4 = bytes.first()? >> 4 == 4;
        let is_ours = self.servers.iter().any(|server| match server {
            IpAddr::V4(ip) => is_v4 && bytes.get(16..20) == Some(&ip.octets()),
            IpAddr::V6(ip) => !is_v4 && bytes.get(24..40) == Some(&ip.octets()),
        });
        if !is_ours || packet.meta.vnet.gso != Gso::None {
            return None;
        }
        let headers = Headers::parse_packet(bytes).ok()?;
        let is_udp = headers.protocol() == Some(ip_protocol::UDP) && headers.fragment().is_none();
        let at = headers.transport().filter(|_| is_udp)?;
        let udp = Udp::parse(bytes.get(at..headers.end())?).ok()?;
        let (from, to) = headers.addresses(bytes)?;
        let datagram = bytes.get(at..at + usize::from(udp.len()))?;
        let is_sound = packet.meta.vnet.needs_csum()
            || udp.checksum() == 0 && is_v4
            || pseudo(from, to, udp.len()).add_bytes(datagram).finish() == 0;
        (udp.destination_port() == DNS_PORT && is_sound).then(|| {
            let from = SocketAddr::new(from, udp.source_port());
            let to = SocketAddr::new(to, DNS_PORT);
            (Client { port, from, to, stream: None }, at + UdpHeader::LEN, at + datagram.len())
        })
    }

    /// Sends an answer of the name server. One that does not fit the MTU is sent truncated: the client asks again
    /// by TCP.
    fn answer(&mut self, now: Instant, client: Client, mut reply: PacketBuf, out: &mut Outbox) {
        let headers = if client.to.is_ipv4() { 28 } else { 48 };
        let room = usize::from(self.nat.config().mtu).saturating_sub(headers);
        if reply.len() > room {
            truncate(&mut reply);
        }
        reply.meta = Meta::default();
        match udp_header(&mut reply, client.to, client.from) {
            Ok(()) => deliver(&mut self.guests, now, client.port, reply, out),
            Err(_) => out.discard(reply, DropReason::NO_BUFFER),
        }
    }
}

/// Sends a packet to a port, as a frame if that has guests.
fn deliver(
    guests: &mut BTreeMap<PortId, Guests>,
    now: Instant,
    port: PortId,
    packet: PacketBuf,
    out: &mut Outbox,
) {
    match guests.get_mut(&port) {
        Some(guests) => guests.egress(now, packet, out),
        None => out.send(Endpoint::Port(port), packet),
    }
}

fn pseudo(from: IpAddr, to: IpAddr, len: u16) -> Sum {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Sum::pseudo_v4(from, to, ip_protocol::UDP, len),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Sum::pseudo_v6(from, to, ip_protocol::UDP, u32::from(len))
        }
        _ => Sum::ZERO,
    }
}

impl Engine for Gateway {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let packet = match from {
            Endpoint::Port(port) => {
                let packet = match self.guests.get_mut(&port) {
                    Some(guests) => guests.ingress(now, packet, out),
                    None => Some(packet),
                };
                packet.and_then(|packet| self.query(now, port, packet, out))
            }
            Endpoint::Flow(flow) if Forwarder::owns(flow) => {
                if let Some((client, reply)) = self.forwarder.handle(now, flow, packet, out) {
                    self.answer(now, client, reply, out);
                }
                None
            }
            _ => Some(packet),
        };
        match packet {
            Some(packet) => self.with_nat(now, out, |nat, out| nat.handle(now, from, packet, out)),
            None => Handled::NOTHING,
        }
    }

    fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        if Forwarder::owns(flow) {
            self.forwarder.handle_flow(now, flow, event, out);
        } else {
            self.with_nat(now, out, |nat, out| nat.handle_flow(now, flow, event, out));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let guests = self.guests.values().filter_map(Guests::next_timeout);
        let others = [self.nat.next_timeout(), self.forwarder.next_timeout()];
        guests.chain(others.into_iter().flatten()).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.with_nat(now, out, |nat, out| nat.handle_timeout(now, out));
        self.guests.values_mut().for_each(|guests| guests.handle_timeout(now, out));
        for (client, reply) in self.forwarder.handle_timeout(now, out) {
            self.answer(now, client, reply, out);
        }
    }

    fn held(&self) -> usize {
        self.nat.held() + self.guests.values().map(Guests::held).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::OwnNames;
    use crate::translate::Config;
    use adit_engine::{FlowRequest, Request};
    use adit_packet::{Batch, Ipv4, Ipv4Header, Pool, PoolConfig};
    use std::vec;

    const TUN: PortId = PortId(3);
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01x\x01y\0\0\x01\0\x01";

    struct World {
        gateway: Gateway,
        out: Outbox,
        received: u64,
    }

    impl World {
        fn new() -> Self {
            let mut config = Config::new([1; 16]);
            config.inside = vec!["10.0.2.0/24".parse().unwrap()];
            let mut names = OwnNames::new();
            names.add("x".parse().unwrap(), [10, 0, 0, 9].into());
            let forwarder = Forwarder::new(names, [2; 32]);
            let servers = vec![[10, 0, 2, 3].into()];
            let mut gateway = Gateway::new(Nat::new(config), forwarder, servers);
            gateway.set_name_servers([([192, 0, 2, 1], 53).into()]);
            gateway.add_guests(PortId(0), GuestConfig::default()).unwrap();
            Self { gateway, out: Outbox::new(Pool::new(PoolConfig::default())), received: 0 }
        }

        fn give(&mut self, from: Endpoint, bytes: &[u8]) {
            let mut packet = self.out.pool().take(bytes.len()).unwrap();
            packet.extend(bytes).unwrap();
            self.received += 1;
            self.gateway.handle(Instant::ZERO, from, packet, &mut self.out);
        }

        fn query(&mut self, source: [u8; 4], message: &[u8]) {
            let mut packet = PacketBuf::new(100, 2000);
            packet.extend(message).unwrap();
            let (from, to) = ((source, 1000).into(), ([10, 0, 2, 3], 53).into());
            udp_header(&mut packet, from, to).unwrap();
            self.give(Endpoint::Port(TUN), packet.bytes());
        }

        /// The packets that were sent, each with its destination.
        fn sent(&mut self) -> Vec<(Endpoint, Vec<u8>)> {
            let (mut batch, mut sent) = (Batch::new(), Vec::new());
            while let Some(to) = self.out.next_group(&mut batch) {
                sent.extend(batch.iter().map(|packet| (to, packet.bytes().to_vec())));
                batch.give_all(self.out.pool());
            }
            assert!(self.out.counts().balance(self.received, self.gateway.held()));
            sent
        }
    }

    #[test]
    fn a_long_answer_is_truncated_to_the_mtu() {
        let mut world = World::new();
        world.query([10, 0, 2, 9], QUERY);
        let sent = world.sent();
        let [(Endpoint::Flow(flow), query)] = &sent[..] else { panic!("{sent:?}") };
        let mut answer = query.clone();
        answer[2] = 0x81;
        answer[7] = 40;
        for (len, wanted, flags) in [(1472, 1472, 0x81), (1473, QUERY.len(), 0x83)] {
            let mut answer = answer.clone();
            answer.resize(len, 7);
            if len > 1472 {
                world.query([10, 0, 2, 9], QUERY);
                let again = world.sent();
                let [(Endpoint::Flow(flow), query)] = &again[..] else { panic!("{again:?}") };
                answer[..2].copy_from_slice(&query[..2]);
                world.give(Endpoint::Flow(*flow), &answer);
            } else {
                world.give(Endpoint::Flow(*flow), &answer);
            }
            let sent = world.sent();
            let [(Endpoint::Port(TUN), packet)] = &sent[..] else { panic!("{sent:?}") };
            let ip = Ipv4::parse(packet).unwrap();
            let udp = Udp::parse(ip.payload()).unwrap();
            assert_eq!(
                (ip.source(), ip.destination()),
                ([10, 0, 2, 3].into(), [10, 0, 2, 9].into())
            );
            assert_eq!((udp.source_port(), udp.destination_port()), (53, 1000));
            assert_eq!((udp.payload().len(), udp.payload()[2]), (wanted, flags));
            assert_eq!(udp.payload()[..2], QUERY[..2]);
        }
    }

    #[test]
    fn queries_of_others_are_no_queries() {
        let mut world = World::new();
        world.query([192, 0, 2, 77], QUERY);
        assert_eq!(world.out.counts().discarded_for(DropReason::FORGED_SOURCE), 1);
        assert!(world.sent().is_empty());
        // By TCP, and on other ports, the name server's address is one of the NAT's flows.
        let mut open = Vec::new();
        let (source, destination) = ([10, 0, 2, 9].into(), [10, 0, 2, 3].into());
        let mut tcp = [4, 0, 0, 53, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0];
        let sum =
            Sum::pseudo_v4(source, destination, ip_protocol::TCP, 20).add_bytes(&tcp).finish();
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let head = Ipv4Header {
            tos: 0,
            total_len: 40,
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: ip_protocol::TCP,
            source,
            destination,
        };
        let syn = [&head.to_bytes()[..], &tcp].concat();
        world.give(Endpoint::Port(TUN), &syn);
        while let Some(request) = world.out.next_request() {
            if let Request::Flow(flow, FlowRequest::Open { to, .. }) = request {
                open.push((Forwarder::owns(flow), to));
            }
        }
        assert_eq!(open, [(false, ([192, 0, 2, 1], 53).into())], "{:?}", world.out.counts());
    }
}
