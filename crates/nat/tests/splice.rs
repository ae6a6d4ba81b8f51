//! Connections that the NAT hands over to the runtime.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use adit_engine::{
    Endpoint, Engine, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, PortId, Request,
};
use adit_nat::{Config, Nat, SPLICE_TAG};
use adit_packet::{
    Batch, Instant, Ipv4Header, Pool, PoolConfig, Tcp, TcpFlags, TcpHeader, VnetHeader,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// MSS 1460, SACK permitted, timestamp 7.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0];

/// Where our window begins: before it has shrunk or grown.
const CREDIT: FlowEvent = FlowEvent::Credit { until: 60_000 };

/// A segment to the inside.
#[derive(Debug)]
struct Sent {
    source: Ipv4Addr,
    ports: (u16, u16),
    flags: TcpFlags,
    seq: u32,
    urgent: u16,
    options: Vec<u8>,
}

struct World {
    nat: Nat,
    out: Outbox,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut config = Config::new([7; 16]);
        config.inside = vec!["10.0.2.0/24".parse().unwrap()];
        config.gateway_v4 = Some([10, 0, 2, 2].into());
        config.splice = true;
        let pool = Pool::new(PoolConfig::default());
        Self { nat: Nat::new(config), out: Outbox::new(pool), now: Instant::ZERO }
    }

    /// A segment of the inside from this port.
    fn segment(&mut self, port: u16, flags: TcpFlags, urgent: u16) {
        let header = TcpHeader {
            source_port: port,
            destination_port: 80,
            sequence: 1000,
            acknowledgment: 0,
            flags,
            window: 64_240,
            checksum: 0,
            urgent,
        };
        let tcp = [&header.to_bytes(20)[..], &OPTIONS].concat();
        let ip = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(20 + tcp.len()).unwrap(),
            id: 1,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: 6,
            source: INSIDE,
            destination: REMOTE,
        };
        let mut packet = self.out.pool().take(100).unwrap();
        packet.extend(&[&ip.to_bytes()[..], &tcp].concat()).unwrap();
        packet.meta.vnet.flags = VnetHeader::NEEDS_CSUM;
        self.nat.handle(self.now, Endpoint::Port(PortId(0)), packet, &mut self.out);
    }

    fn syn(&mut self, port: u16) {
        self.segment(port, TcpFlags::SYN, SPLICE_TAG);
    }

    fn event(&mut self, flow: FlowId, event: FlowEvent) {
        self.nat.handle_flow(self.now, flow, event, &mut self.out);
    }

    fn connected(&mut self, flow: FlowId) {
        let local = SocketAddr::from(([192, 0, 2, 7], 4000));
        self.event(flow, FlowEvent::Connected { local, path_mtu: 1500 });
        self.event(flow, CREDIT);
    }

    fn requests(&mut self) -> Vec<(FlowId, FlowRequest)> {
        let requests = std::iter::from_fn(|| self.out.next_request());
        let of_flow = |request| match request {
            Request::Flow(id, request) => (id, request),
            other => panic!("{other:?}"),
        };
        requests.map(of_flow).collect()
    }

    /// Segments to the inside.
    fn segments(&mut self) -> Vec<Sent> {
        let (mut batch, mut found) = (Batch::new(), Vec::new());
        while let Some(to) = self.out.next_group(&mut batch) {
            assert_eq!(to, Endpoint::Port(PortId(0)));
            for packet in batch.drain(..) {
                let bytes = packet.bytes();
                let source = Ipv4Addr::from(*bytes[12..].first_chunk::<4>().unwrap());
                let tcp = Tcp::parse(&bytes[20..]).unwrap();
                found.push(Sent {
                    source,
                    ports: (tcp.source_port(), tcp.destination_port()),
                    flags: tcp.flags(),
                    seq: tcp.sequence(),
                    urgent: tcp.urgent(),
                    options: bytes[40..20 + tcp.header_len()].to_vec(),
                });
                self.out.pool().give(packet);
            }
        }
        assert_eq!(self.out.pool().out(), (0, 0), "no buffer is lost");
        found
    }

    /// A connection that is handed over.
    fn handed_over(&mut self, port: u16) -> FlowId {
        self.syn(port);
        let requests = self.requests();
        let [(flow, FlowRequest::Open { .. })] = requests[..] else { panic!("{requests:?}") };
        self.connected(flow);
        let (client, server) = ((INSIDE, port).into(), (REMOTE, 80).into());
        assert_eq!(self.requests(), [(flow, FlowRequest::Splice { client, server })]);
        let segments = self.segments();
        let [sent] = &segments[..] else { panic!("{segments:?}") };
        assert_eq!((sent.source, sent.ports, sent.flags), (INSIDE, (port, 80), TcpFlags::SYN));
        assert_eq!((sent.seq, sent.urgent), (1000, SPLICE_TAG));
        // Those of the SYN; their order is ours.
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&sent.options), sorted(&OPTIONS));
        flow
    }

    fn states(&self) -> Vec<&'static str> {
        self.nat.flows().map(|row| row.state).collect()
    }
}

#[test]
fn the_insides_syn_goes_back_once_the_outside_has_connected() {
    let mut world = World::new();
    let flow = world.handed_over(4000);
    assert_eq!(world.states(), ["handed over"]);
    world.event(flow, FlowEvent::Spliced);
    assert_eq!(world.states(), ["spliced"]);
    // It has no end of its own.
    world.now += Duration::from_secs(100_000);
    world.nat.handle_timeout(world.now, &mut world.out);
    assert_eq!(world.states(), ["spliced"]);
    // A new connection with the same addresses: the socket of the old one answers.
    world.syn(4000);
    assert_eq!(world.segments().len(), 1);
    world.event(flow, FlowEvent::Ended { sent: 5, received: 7 });
    assert_eq!((world.nat.flow_count(), world.requests()), (0, vec![]));
}

#[test]
fn a_refused_connection_is_refused_before_it_is_handed_over() {
    let mut world = World::new();
    world.syn(4000);
    let flow = world.requests()[0].0;
    world.event(flow, FlowEvent::Failed(FlowError::Refused));
    let segments = world.segments();
    assert_eq!(segments[0].flags, TcpFlags::RST.with(TcpFlags::ACK), "{segments:?}");
    assert_eq!(world.nat.flow_count(), 0);
}

#[test]
fn a_syn_that_comes_again_is_answered_and_the_next_minute_passes_without_splices() {
    let mut world = World::new();
    let flow = world.handed_over(4000);
    world.now += Duration::from_secs(1);
    world.syn(4000);
    assert!(matches!(world.requests()[..], [(id, FlowRequest::Keep { .. })] if id == flow));
    assert_eq!(world.segments()[0].flags, TcpFlags::SYN.with(TcpFlags::ACK));
    assert_eq!(world.states(), ["answered"]);
    world.syn(4001);
    assert_eq!(world.requests().len(), 2, "opened, and kept from the start");
    world.now += Duration::from_secs(61);
    world.handed_over(4002);
}

#[test]
fn what_the_rules_have_not_tagged_passes_as_packets() {
    let mut world = World::new();
    world.segment(4000, TcpFlags::SYN, 0);
    world.segment(4001, TcpFlags::SYN.with(TcpFlags::URG), SPLICE_TAG);
    world.nat.set_splice(false);
    world.syn(4002);
    let kept = |(_, request): &(FlowId, FlowRequest)| matches!(request, FlowRequest::Keep { .. });
    assert_eq!(world.requests().iter().filter(|request| kept(request)).count(), 3);
}

#[test]
fn a_spliced_connection_whose_segments_reach_the_nat_is_reset() {
    for flags in [TcpFlags::ACK, TcpFlags::RST] {
        let mut world = World::new();
        let flow = world.handed_over(4000);
        world.event(flow, FlowEvent::Spliced);
        world.segment(4000, flags, 0);
        assert_eq!(world.requests(), [(flow, FlowRequest::Reset)]);
        assert_eq!((world.nat.flow_count(), world.segments().len()), (0, 0));
    }
}
