//! A NAT with its services: guests behind frames, and the name server of the inside.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

use crate::translate::{Nat, Policy, Publish, PublishError};
use adit_engine::{
    DropReason, Endpoint, Engine, FlowEvent, FlowId, Handled, Outbox, PortId, Relay,
};
use adit_packet::checksum::Sum;
use adit_packet::{Gso, Headers, Instant, Meta, PacketBuf, Udp, UdpHeader, ip_protocol};

use crate::dns::{self, Client, Forwarder, Step, Streams, truncate};
use crate::guest::{GuestConfig, GuestConfigError, Guests, udp_header};

/// A [`Nat`] whose ports carry packets (TUN) or frames (TAP, QEMU), with a name server.
///
/// ```text
/// frames  -> Guests -> packets -> a datagram for the name server? -> Nat -> flows
///                                      |            .------ TCP of the name server
///                                      v            v
///                                  Forwarder <-- Streams
///                                      '--> flows of its own
/// ```
///
/// Frames of a port with guests become packets in [`Guests`]; what the NAT sends there becomes frames again.
/// Datagrams to port 53 of the name server's addresses go to the [`Forwarder`], and so do queries on TCP connections
/// to it, which the NAT ends.
#[derive(Debug)]
pub struct Gateway {
    nat: Nat,
    guests: BTreeMap<PortId, Guests>,
    forwarder: Forwarder,
    streams: Streams,
    /// The addresses of the name server.
    servers: Vec<IpAddr>,
    /// The name servers outside.
    upstream: Vec<SocketAddr>,
    relay: Relay,
}

/// What a packet for the name server has.
enum Asked {
    /// A query, and where it is in its packet.
    Datagram(Client, Range<usize>),
    /// A segment of a TCP connection.
    Segment(Client),
}

impl Gateway {
    /// A gateway around `nat`, with a name server at these addresses of the inside.
    #[must_use]
    pub fn new(mut nat: Nat, forwarder: Forwarder, servers: Vec<IpAddr>) -> Self {
        nat.serve(servers.iter().map(|&ip| SocketAddr::new(ip, dns::PORT)).collect());
        let (guests, streams) = (BTreeMap::new(), Streams::default());
        let (upstream, relay) = (Vec::new(), Relay::new());
        Self { nat, guests, forwarder, streams, servers, upstream, relay }
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

    /// The NAT, to take its news and change its settings.
    pub const fn nat_mut(&mut self) -> &mut Nat {
        &mut self.nat
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

    /// Replaces the name servers outside. Those that a rule of the policy denies are not asked.
    pub fn set_name_servers(&mut self, servers: impl IntoIterator<Item = SocketAddr>) {
        self.upstream = servers.into_iter().collect();
        self.choose_servers();
    }

    /// As [`Nat::set_policy`].
    pub fn set_policy(&mut self, policy: Policy) {
        self.nat.set_policy(policy);
        self.choose_servers();
    }

    fn choose_servers(&mut self) {
        let policy = &self.nat.config().policy;
        let is_asked = |at: &SocketAddr| policy.rule_for(*at).is_none_or(|rule| rule.allows);
        let asked: Vec<SocketAddr> = self.upstream.iter().copied().filter(is_asked).collect();
        if asked != self.forwarder.servers() {
            self.forwarder.set_servers(asked);
        }
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
        self.relayed(now, out, work)
    }

    /// As [`Self::with_nat`]; what it does with connections to the name server reaches them, and the other way.
    fn with_streams<T>(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        work: impl FnOnce(&mut Nat, &mut Outbox) -> T,
    ) -> T {
        let result = self.relayed(now, out, work);
        self.take_requests(out);
        while let Some((flow, step)) = self.streams.next(now, &mut self.forwarder, out) {
            self.relayed(now, out, |nat, out| match step {
                Step::Event(event) => nat.handle_flow(now, flow, event, out),
                Step::Bytes(packet) => {
                    nat.handle(now, Endpoint::Flow(flow), packet, out);
                }
            });
            self.take_requests(out);
        }
        result
    }

    /// Lets the NAT work; its packets for ports of frames and for connections to the name server go there.
    fn relayed<T>(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        work: impl FnOnce(&mut Nat, &mut Outbox) -> T,
    ) -> T {
        let Self { nat, guests, streams, forwarder, relay, .. } = self;
        out.relay(
            relay,
            |out| work(nat, out),
            |out, to, packet| match to {
                Endpoint::Port(port) => deliver(guests, now, port, packet, out),
                Endpoint::Flow(flow) if streams.owns(flow) => {
                    streams.receive(now, flow, packet, forwarder, out);
                }
                to => out.send(to, packet),
            },
        )
    }

    /// Takes the requests for connections to the name server.
    fn take_requests(&mut self, out: &mut Outbox) {
        let caller = self.streams.take_caller();
        for _ in 0..out.requests() {
            let Some(request) = out.next_request() else { break };
            if !self.streams.request(caller, request) {
                // There is room for it: it was there before.
                let _ = out.request(request);
            }
        }
    }

    /// Takes a packet for the name server; any other one comes back, and a segment for it too.
    fn asked(
        &mut self,
        now: Instant,
        port: PortId,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let (client, query) = match self.find_asked(port, &packet) {
            None => return Some(packet),
            Some(Asked::Segment(client)) => {
                self.streams.expect(client);
                return Some(packet);
            }
            Some(Asked::Datagram(client, query)) => (client, query),
        };
        if !self.nat.config().is_inside(client.from.ip()) {
            out.discard(packet, DropReason::FORGED_SOURCE);
            return None;
        }
        if self.nat.config().without.contains(&ip_protocol::UDP) {
            out.discard(packet, DropReason::NOT_TRANSLATED);
            return None;
        }
        if !self.nat.may_send(client.from.ip(), packet.len(), now) {
            out.discard(packet, DropReason::SOURCE_RATE);
            return None;
        }
        packet.truncate(query.end);
        packet.advance(query.start);
        packet.meta = Meta::default();
        if let Some(reply) = self.forwarder.query(now, client, packet, out) {
            self.answer(now, client, reply, out);
        }
        None
    }

    /// What a packet asks of the name server, if it is for that, and sound.
    fn find_asked(&self, port: PortId, packet: &PacketBuf) -> Option<Asked> {
        let bytes = packet.bytes();
        let is_v4 = bytes.first()? >> 4 == 4;
        let is_ours = self.servers.iter().any(|server| match server {
            IpAddr::V4(ip) => is_v4 && bytes.get(16..20) == Some(&ip.octets()),
            IpAddr::V6(ip) => !is_v4 && bytes.get(24..40) == Some(&ip.octets()),
        });
        if !is_ours {
            return None;
        }
        let headers = Headers::parse_packet(bytes).ok().filter(|it| it.fragment().is_none())?;
        let (from, to) = headers.addresses(bytes)?;
        let (from_port, to_port) = headers.ports(bytes).filter(|ports| ports.1 == dns::PORT)?;
        let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
        let client = Client { port, from, to, stream: None };
        match headers.protocol()? {
            ip_protocol::TCP => Some(Asked::Segment(client)),
            ip_protocol::UDP if packet.meta.vnet.gso == Gso::None => {
                let at = headers.transport()?;
                let udp = Udp::parse(bytes.get(at..headers.end())?).ok()?;
                let datagram = bytes.get(at..at + usize::from(udp.len()))?;
                let is_sound = packet.meta.vnet.needs_csum()
                    || udp.checksum() == 0 && is_v4
                    || pseudo(from.ip(), to.ip(), udp.len()).add_bytes(datagram).finish() == 0;
                let query = at + UdpHeader::LEN..at + datagram.len();
                is_sound.then_some(Asked::Datagram(client, query))
            }
            _ => None,
        }
    }

    /// Sends an answer of the name server. One that does not fit the MTU is sent truncated: the client asks again
    /// by TCP.
    fn answer(&mut self, now: Instant, client: Client, mut reply: PacketBuf, out: &mut Outbox) {
        if let Some(stream) = client.stream {
            self.streams.answer(stream, reply, out);
            return self.with_streams(now, out, |_, _| ());
        }
        let headers = if client.to.is_ipv4() { 28 } else { 48 };
        let room = usize::from(self.nat.config().mtu).saturating_sub(headers);
        if reply.len() > room {
            truncate(&mut reply);
        }
        reply.meta = Meta::default();
        if !self.nat.may_receive(client.from.ip(), reply.len(), now) {
            return out.discard(reply, DropReason::SOURCE_RATE);
        }
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
                packet.and_then(|packet| self.asked(now, port, packet, out))
            }
            Endpoint::Flow(flow) if Forwarder::owns(flow) => {
                if let Some((client, reply)) = self.forwarder.handle(now, flow, packet, out) {
                    self.answer(now, client, reply, out);
                }
                None
            }
            _ => Some(packet),
        };
        let Some(packet) = packet else { return Handled::NOTHING };
        if self.streams.has_caller() {
            self.with_streams(now, out, |nat, out| nat.handle(now, from, packet, out))
        } else {
            self.with_nat(now, out, |nat, out| nat.handle(now, from, packet, out))
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
        let streams = self.streams.next_timeout();
        let others = [self.nat.next_timeout(), self.forwarder.next_timeout(), streams];
        guests.chain(others.into_iter().flatten()).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.streams.is_empty() {
            self.with_nat(now, out, |nat, out| nat.handle_timeout(now, out));
        } else {
            self.with_streams(now, out, |nat, out| nat.handle_timeout(now, out));
        }
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
    use crate::translate::{Config, Rule};
    use adit_engine::{FlowRequest, Request, Transport};
    use adit_packet::{Batch, Ipv4, Ipv4Header, Pool, PoolConfig};
    use std::vec;

    const TUN: PortId = PortId(3);
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01x\x01y\0\0\x01\0\x01";

    struct World {
        gateway: Gateway,
        out: Outbox,
        received: u64,
        now: Instant,
        source_port: u16,
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
            let out = Outbox::new(Pool::new(PoolConfig::default()));
            Self { gateway, out, received: 0, now: Instant::ZERO, source_port: 1024 }
        }

        fn give(&mut self, from: Endpoint, bytes: &[u8]) {
            let mut packet = self.out.pool().take(bytes.len()).unwrap();
            packet.extend(bytes).unwrap();
            self.received += 1;
            self.gateway.handle(self.now, from, packet, &mut self.out);
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
    }

    /// A client's end of a TCP connection to the name server: it loses every third segment of bytes.
    struct Tcp {
        seq: u32,
        ack: u32,
        received: Vec<u8>,
        segments: usize,
        has_ended: bool,
    }

    impl Tcp {
        /// Sends a segment, and takes what comes back.
        fn send(&mut self, world: &mut World, flags: u8, bytes: &[u8]) {
            let (source, destination) = ([10, 0, 2, 9].into(), [10, 0, 2, 3].into());
            let mut tcp = world.source_port.to_be_bytes().to_vec();
            tcp.extend([0, 53]);
            tcp.extend(self.seq.to_be_bytes());
            tcp.extend(self.ack.to_be_bytes());
            tcp.extend([0x50, flags, 255, 255, 0, 0, 0, 0]);
            tcp.extend(bytes);
            let len = u16::try_from(tcp.len()).unwrap();
            let sum =
                Sum::pseudo_v4(source, destination, ip_protocol::TCP, len).add_bytes(&tcp).finish();
            tcp[16..18].copy_from_slice(&sum.to_be_bytes());
            let head = Ipv4Header {
                tos: 0,
                total_len: 20 + len,
                id: 0,
                dont_fragment: true,
                fragment: None,
                ttl: 64,
                protocol: ip_protocol::TCP,
                source,
                destination,
            };
            world.give(Endpoint::Port(TUN), &[&head.to_bytes()[..], &tcp].concat());
            let is_counted = u32::from(flags & 3 != 0);
            self.seq = self.seq.wrapping_add(u32::try_from(bytes.len()).unwrap() + is_counted);
            self.receive(world);
        }

        fn receive(&mut self, world: &mut World) {
            for (to, packet) in world.sent() {
                let Endpoint::Port(TUN) = to else { continue };
                let tcp = &packet[20..];
                let seq = u32::from_be_bytes(*tcp[4..].first_chunk().unwrap());
                let (flags, bytes) = (tcp[13], &tcp[usize::from(tcp[12] >> 4) * 4..]);
                self.segments += usize::from(!bytes.is_empty());
                let is_next = flags & 2 != 0 || seq == self.ack;
                if !is_next || (!bytes.is_empty() && self.segments % 3 == 1) {
                    continue;
                }
                self.received.extend(bytes);
                let is_counted = u32::from(flags & 3 != 0);
                self.has_ended |= flags & 1 != 0;
                self.ack = seq.wrapping_add(u32::try_from(bytes.len()).unwrap() + is_counted);
            }
        }
    }

    #[test]
    fn queries_by_tcp_are_answered_and_what_is_lost_is_sent_again() {
        let mut world = World::new();
        let mut tcp = Tcp { seq: 1, ack: 0, received: Vec::new(), segments: 0, has_ended: false };
        tcp.send(&mut world, 2, &[]);
        assert_ne!(tcp.ack, 0, "{:?}", world.out.counts());
        let own = b"\x77\x77\x01\0\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01";
        let mut stream = Vec::new();
        for query in [&own[..], QUERY] {
            stream.extend(u16::try_from(query.len()).unwrap().to_be_bytes());
            stream.extend(query);
        }
        // In two pieces, and then the client's end: it waits for answers alone.
        let (first, second) = stream.split_at(30);
        tcp.send(&mut world, 0x10, first);
        tcp.send(&mut world, 0x10, second);
        tcp.send(&mut world, 0x11, &[]);
        // Nobody outside is asked about our own name, and about the other one by TCP.
        let mut opened = Vec::new();
        while let Some(request) = world.out.next_request() {
            if let Request::Flow(flow, FlowRequest::Open { transport, to, .. }) = request {
                opened.push((flow, transport, to));
            }
        }
        let [(flow, Transport::Tcp, _)] = opened[..] else { panic!("{opened:?}") };
        assert!(Forwarder::owns(flow));
        let connected = FlowEvent::Connected { local: ([192, 0, 2, 9], 1).into(), path_mtu: 0 };
        world.gateway.handle_flow(world.now, flow, connected, &mut world.out);
        let credit = FlowEvent::Credit { until: 65_536 };
        world.gateway.handle_flow(world.now, flow, credit, &mut world.out);
        let (mut asked, mut batch) = (Vec::new(), Batch::new());
        while let Some(to) = world.out.next_group(&mut batch) {
            asked.extend(batch.iter().map(|packet| (to, packet.bytes().to_vec())));
            batch.give_all(world.out.pool());
        }
        let [(Endpoint::Flow(to), query)] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(*to, flow);
        let mut answer = query[2..].to_vec();
        answer[2] = 0x81;
        answer.resize(5000, 7);
        let framed = [&[0x13, 0x88][..], &answer].concat();
        world.give(Endpoint::Flow(flow), &framed);
        tcp.receive(&mut world);
        for _ in 0..100 {
            tcp.send(&mut world, 0x10, &[]);
            let Some(at) = world.gateway.next_timeout() else { break };
            world.now = world.now.max(at);
            let World { gateway, out, now, .. } = &mut world;
            gateway.handle_timeout(*now, out);
            tcp.receive(&mut world);
            if tcp.has_ended {
                break;
            }
        }
        assert!(tcp.has_ended && tcp.segments > 5, "{}", tcp.segments);
        let len = usize::from(u16::from_be_bytes([tcp.received[0], tcp.received[1]]));
        let (own_answer, rest) = tcp.received[2..].split_at(len);
        assert_eq!((&own_answer[..2], &own_answer[len - 4..]), (&own[..2], &[10, 0, 0, 9][..]));
        assert_eq!((&rest[..4], rest.len()), (&[0x13, 0x88, 0x12, 0x34][..], 5002));
        tcp.send(&mut world, 0x10, &[]);
        assert_eq!((world.gateway.nat().flow_count(), world.gateway.forwarder().waiting()), (0, 0));
        assert!(world.gateway.streams.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_on_a_connection_to_the_name_server_conserve_packets(
            parts in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..60), 0..40),
        ) {
            let mut world = World::new();
            let mut tcp = Tcp { seq: 1, ack: 0, received: Vec::new(), segments: 0, has_ended: false };
            tcp.send(&mut world, 2, &[]);
            for part in &parts {
                // Mostly messages: some of any bytes, some with a sound question.
                let (len, rest) = (part.len(), &part[part.len().min(1)..]);
                let message = match part.first() {
                    Some(0..100) => [&QUERY[..2], &[1, 0], &QUERY[4..], rest].concat(),
                    Some(100..120) => rest.to_vec(),
                    _ => [&u16::try_from(len).unwrap().to_be_bytes()[..], part].concat(),
                };
                let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
                tcp.send(&mut world, 0x10, if len % 5 == 1 { &message } else { &framed });
                proptest::prop_assert!(world.gateway.forwarder().waiting() <= 128);
                if let Some(at) = world.gateway.next_timeout().filter(|_| len % 3 == 0) {
                    world.now = world.now.max(at);
                    let World { gateway, out, now, .. } = &mut world;
                    gateway.handle_timeout(*now, out);
                    tcp.receive(&mut world);
                }
            }
        }
    }

    #[test]
    fn a_name_server_that_a_rule_denies_is_not_asked() {
        let mut world = World::new();
        let servers = [([192, 0, 2, 1], 53), ([127, 0, 0, 1], 53)].map(SocketAddr::from);
        world.gateway.set_name_servers(servers);
        assert_eq!(world.gateway.forwarder().servers(), servers);
        let mut policy = Policy::default();
        let to = "192.0.2.0/24".parse().unwrap();
        policy.rules = vec![Rule { allows: false, to, ports: 0..=65_535 }];
        world.gateway.set_policy(policy);
        assert_eq!(world.gateway.forwarder().servers(), &servers[1..]);
        world.gateway.set_policy(Policy::default());
        assert_eq!(world.gateway.forwarder().servers(), servers);
    }

    #[test]
    fn connections_to_the_name_server_are_bounded() {
        let mut world = World::new();
        for port in 0..100_u16 {
            let mut tcp =
                Tcp { seq: 1, ack: 0, received: Vec::new(), segments: 0, has_ended: false };
            world.source_port = 1000 + port;
            tcp.send(&mut world, 2, &[]);
            tcp.send(&mut world, 0x10, &[0, 20, 1, 2]);
        }
        assert_eq!(world.gateway.nat().flow_count(), 64);
    }
}
