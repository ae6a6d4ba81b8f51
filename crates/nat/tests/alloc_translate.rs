//! A NAT allocates nothing for a packet of a flow that is open, in either direction.

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;

use adit_engine::{
    Endpoint, Engine, FlowEvent, FlowId, FlowRequest, Outbox, PortId, Request, flow,
};
use adit_nat::{Config, Nat};
use adit_packet::{
    Batch, Instant, Ipv4Header, Pool, PoolConfig, Tcp, TcpFlags, TcpHeader, UdpHeader, VnetHeader,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

struct World {
    nat: Nat,
    out: Outbox,
    batch: Batch,
    now: Instant,
    /// What the inside acknowledges, and its next byte.
    ack: u32,
    seq: u32,
    flows: [Option<FlowId>; 2],
    to_flow: u64,
    credit: u64,
}

impl World {
    fn packet(&mut self, protocol: u8, header: &[u8], len: usize) {
        let total = 20 + header.len() + len;
        let ip = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(total).expect("short"),
            id: 1,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol,
            source: INSIDE,
            destination: Ipv4Addr::new(192, 0, 2, 1),
        };
        let mut packet = self.out.pool().take(total).expect("far from the limit");
        packet.extend(&ip.to_bytes()).expect("room");
        packet.extend(header).expect("room");
        packet.grow(len).expect("room").fill(7);
        packet.meta.vnet.flags = VnetHeader::NEEDS_CSUM;
        self.nat.handle(self.now, Endpoint::Port(PortId(0)), packet, &mut self.out);
    }

    fn segment(&mut self, flags: TcpFlags, len: usize) {
        let header = TcpHeader {
            source_port: 4000,
            destination_port: 80,
            sequence: self.seq,
            acknowledgment: self.ack,
            flags,
            window: 60_000,
            checksum: 0,
            urgent: 0,
        };
        self.packet(6, &header.to_bytes(0), len);
        self.seq = self.seq.wrapping_add(u32::try_from(len).expect("short"));
    }

    /// Takes what came out, as a runtime does.
    fn settle(&mut self) {
        while let Some(Request::Flow(id, request)) = self.out.next_request() {
            match request {
                FlowRequest::Open { .. } => self.flows[0] = Some(id),
                FlowRequest::Bind { .. } => self.flows[1] = Some(id),
                FlowRequest::Credit { until } => self.credit = until,
                _ => {}
            }
        }
        while let Some(to) = self.out.next_group(&mut self.batch) {
            for packet in self.batch.iter() {
                match to {
                    Endpoint::Flow(id) if Some(id) == self.flows[0] => {
                        self.to_flow += u64::try_from(packet.len()).expect("short");
                    }
                    Endpoint::Port(_) if packet.bytes()[9] == 6 => {
                        let tcp = Tcp::parse(&packet.bytes()[20..]).expect("a segment");
                        let len = u32::try_from(tcp.payload().len()).expect("short");
                        let syn = u32::from(tcp.flags().contains(TcpFlags::SYN));
                        self.ack = tcp.sequence().wrapping_add(len + syn);
                    }
                    _ => {}
                }
            }
            self.batch.give_all(self.out.pool());
        }
    }

    fn pass(&mut self) {
        self.now += Duration::from_micros(100);
        if self.nat.next_timeout().is_some_and(|due| due <= self.now) {
            self.nat.handle_timeout(self.now, &mut self.out);
        }
        self.settle();
    }
}

#[test]
fn packets_of_open_flows_allocate_nothing() {
    let mut config = Config::new([1; 16]);
    config.inside = vec!["10.0.2.0/24".parse().expect("valid")];
    let mut world = World {
        nat: Nat::new(config),
        out: Outbox::new(Pool::new(PoolConfig::default())),
        batch: Batch::new(),
        now: Instant::ZERO,
        ack: 0,
        seq: 1000,
        flows: [None; 2],
        to_flow: 0,
        credit: 0,
    };
    world.segment(TcpFlags::SYN, 0);
    world.settle();
    let [Some(stream), _] = world.flows else { panic!("no flow was opened") };
    let connected = FlowEvent::Connected { local: REMOTE, path_mtu: 1500 };
    world.nat.handle_flow(world.now, stream, connected, &mut world.out);
    let open = FlowEvent::Credit { until: 200_000 };
    world.nat.handle_flow(world.now, stream, open, &mut world.out);
    world.settle();
    world.seq += 1;
    world.segment(TcpFlags::ACK, 0);
    world.settle();
    assert!(world.credit > 0, "the inside is open");

    let udp = UdpHeader { source_port: 4000, destination_port: 53, len: 108, checksum: 0 };
    let (mut before, mut delivered) = (0, 0);
    for round in 0..4000 {
        if round == 2000 {
            before = counting::allocations();
        }
        world.segment(TcpFlags::ACK.with(TcpFlags::PSH), 1000);
        world.pass();
        let credit = FlowEvent::Credit { until: world.to_flow + 200_000 };
        world.nat.handle_flow(world.now, stream, credit, &mut world.out);
        world.settle();
        if world.credit >= delivered + 1000 {
            let mut packet = world.out.pool().take(1000).expect("far from the limit");
            packet.grow(1000).expect("room");
            delivered += 1000;
            world.nat.handle(world.now, Endpoint::Flow(stream), packet, &mut world.out);
            world.settle();
        }
        world.packet(17, &udp.to_bytes(), 100);
        world.settle();
        if let Some(datagrams) = world.flows[1] {
            let mut packet = world.out.pool().take(100).expect("far from the limit");
            packet.grow(100).expect("room");
            let from = SocketAddr::new(REMOTE.ip(), 53);
            assert!(flow::push_address(&mut packet, from));
            world.nat.handle(world.now, Endpoint::Flow(datagrams), packet, &mut world.out);
            world.settle();
        }
    }
    assert_eq!(counting::allocations() - before, 0);
    assert_eq!((world.to_flow, world.nat.flow_count()), (4_000_000, 2));
    assert!(delivered > 3_000_000, "{delivered}");
    assert_eq!(world.out.counts().discarded(), 0);
}
