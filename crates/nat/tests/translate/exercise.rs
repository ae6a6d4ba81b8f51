//! Bytes as packets of the inside, events of flows and time, for a NAT: for the property tests and the fuzzer.

use adit_engine::{
    Endpoint, Engine, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, PortId, Request,
    Transport, flow,
};
use adit_nat::{Config, Nat, Publish, SPLICE_TAG, UdpFiltering};
use adit_packet::{
    Batch, Gso, Instant, Ipv4Header, Meta, Pool, PoolConfig, Tcp, TcpFlags, TcpHeader, UdpHeader,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Flows of the NAT at most: evictions happen.
const FLOWS_MAX: usize = 24;

/// A flow as the runtime has it.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    is_stream: bool,
    is_listener: bool,
    is_connected: bool,
    waiting: u32,
    /// What the NAT may send, and has sent.
    credit: u64,
    taken: u64,
    /// Where the next bytes for the NAT are, how many it takes, and how many it has seen.
    position: u64,
    limit: u64,
    high: u64,
    released: u64,
    is_shut: bool,
    /// It waits for its client, and then the NAT has nothing to do with its bytes.
    is_offered: bool,
    is_spliced: bool,
}

struct World {
    nat: Nat,
    out: Outbox,
    now: Instant,
    received: u64,
    flows: BTreeMap<FlowId, Flow>,
    /// By ports of the inside and remote: what the inside acknowledges next, and its own next byte.
    seen: BTreeMap<(u16, u16), (u32, u32)>,
    sent: u64,
}

/// Feeds a NAT; returns how many packets reached the inside or a flow.
///
/// # Panics
/// If a packet is lost uncounted, if a limit is exceeded, or if the contract of flows is broken.
pub(crate) fn nat(bytes: &[u8]) -> u64 {
    let mut config = Config::new([3; 16]);
    config.inside =
        vec!["10.0.2.0/24".parse().expect("valid"), "fd00::/64".parse().expect("valid")];
    config.gateway_v4 = Some([10, 0, 2, 2].into());
    config.gateway_v6 = Some("fd00::2".parse().expect("valid"));
    config.limits.flows = FLOWS_MAX;
    config.limits.reorder_bytes = 20_000;
    config.limits.fragment_bytes = 20_000;
    if bytes.first().is_some_and(|byte| byte % 2 == 1) {
        config.udp_filtering = UdpFiltering::EndpointIndependent;
    }
    config.splice = bytes.first().is_some_and(|byte| byte % 4 > 1);
    let pool = Pool::new(PoolConfig { small_limit: 40, large_limit: 8, ..PoolConfig::default() });
    let mut world = World {
        nat: Nat::new(config),
        out: Outbox::new(pool),
        now: Instant::ZERO,
        received: 0,
        flows: BTreeMap::new(),
        seen: BTreeMap::new(),
        sent: 0,
    };
    for (transport, port) in [(Transport::Tcp, 80), (Transport::Udp, 81)] {
        let publish = Publish {
            transport,
            local: ([0, 0, 0, 0], port).into(),
            inside: ([10, 0, 2, 100], port).into(),
            port: PortId(0),
        };
        world.nat.publish(world.now, publish, &mut world.out).expect("room");
    }
    let mut rest = bytes.get(1..).unwrap_or_default();
    while let [kind, args @ ..] = rest {
        let (head, tail) = args.split_at(args.len().min(12));
        rest = tail;
        let mut args = [0; 12];
        args[..head.len()].copy_from_slice(head);
        match kind % 8 {
            0 => {
                let len = args.first().map_or(0, |&len| usize::from(len)).min(rest.len());
                let (packet, behind) = rest.split_at(len);
                rest = behind;
                world.packet(packet, Meta::default());
            }
            1..=3 => world.segment(&args),
            4 => world.datagram(&args),
            5 => world.event(&args),
            6 => world.flow_bytes(&args),
            _ => world.pass(u64::from(args[0]) * u64::from(args[1]) * u64::from(args[2])),
        }
        world.settle();
    }
    world.pass(8_000_000);
    world.settle();
    world.sent
}

impl World {
    fn packet(&mut self, bytes: &[u8], meta: Meta) {
        let Some(mut packet) = self.out.pool().take(bytes.len()) else { return };
        packet.extend(bytes).expect("it has room for as much");
        packet.meta = meta;
        self.received += 1;
        self.nat.handle(self.now, Endpoint::Port(PortId(0)), packet, &mut self.out);
    }

    /// An IPv4 packet whose checksum is left to be finished.
    fn ipv4(&mut self, protocol: u8, payload: &[u8], gso: (Gso, u16)) {
        let header = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(20 + payload.len()).expect("short"),
            id: 1,
            dont_fragment: true,
            fragment: None,
            // Some may go no further.
            ttl: if self.received % 32 == 31 { 1 } else { 64 },
            protocol,
            source: [10, 0, 2, 100].into(),
            destination: [192, 0, 2, 1].into(),
        };
        let mut meta = Meta::default();
        (meta.vnet.flags, meta.vnet.gso, meta.vnet.gso_size) = (1, gso.0, gso.1);
        let bytes = [&header.to_bytes()[..], payload].concat();
        self.packet(&bytes, meta);
    }

    /// A segment that is near to what the NAT expects.
    fn segment(&mut self, args: &[u8; 12]) {
        let ports = (80 + u16::from(args[0] % 3), 80 + u16::from(args[1] % 2));
        let (acknowledged, next) = self.seen.get(&ports).copied().unwrap_or_default();
        let step = [0, 0, 0, 1, 100, 9000][usize::from(args[8] % 6)];
        let near = |base: u32, offset: u8| {
            base.wrapping_add_signed(i32::from(offset.cast_signed()) * step)
        };
        let usual = [
            TcpFlags::SYN,
            TcpFlags::ACK,
            TcpFlags::ACK,
            TcpFlags::ACK.with(TcpFlags::PSH),
            TcpFlags::ACK.with(TcpFlags::URG),
            TcpFlags::ACK.with(TcpFlags::FIN),
            TcpFlags::ACK.with(TcpFlags::SYN),
        ];
        let flags = usual.get(usize::from(args[4] % 8)).copied().unwrap_or(TcpFlags(args[4]));
        let header = TcpHeader {
            source_port: ports.0,
            destination_port: ports.1,
            sequence: near(next, args[2]),
            acknowledgment: near(acknowledged, args[3]),
            flags,
            window: u16::from(args[5]) << 8 | u16::from(args[6]),
            checksum: 0,
            urgent: if args[7] % 2 == 1 { SPLICE_TAG } else { u16::from(args[7]) },
        };
        // MSS, SACK permitted or blocks, timestamps, scale.
        let options: &[u8] = match args[9] % 4 {
            0 => &[],
            1 => &[2, 4, 0, 1, 1, 1, 4, 2, 1, 3, 3, 14],
            2 => &[2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0, 0, args[10], 0, 0, 0, 0, 1, 1, 4, 2],
            _ => &[1, 1, 5, 10, 0, 0, 0, args[10], 0, 0, args[11], 0],
        };
        let len = usize::from(args[10]) * [0, 1, 30][usize::from(args[11] % 3)];
        let options_len = u8::try_from(options.len()).expect("short");
        let payload = [&header.to_bytes(options_len)[..], options, &vec![7; len]].concat();
        let gso = if len > 1000 { (Gso::Tcp4, 1000) } else { (Gso::None, 0) };
        self.ipv4(6, &payload, gso);
    }

    fn datagram(&mut self, args: &[u8; 12]) {
        let len = usize::from(args[2]) * 30;
        let header = UdpHeader {
            source_port: 80 + u16::from(args[0] % 8),
            destination_port: u16::from(args[1]),
            len: u16::try_from(8 + len).expect("short"),
            checksum: 0,
        };
        let payload = [&header.to_bytes()[..], &vec![7; len]].concat();
        let gso = if args[3] % 2 == 1 { (Gso::UdpL4, u16::from(args[4])) } else { (Gso::None, 0) };
        self.ipv4(17, &payload, gso);
    }

    fn pick(&self, which: u8) -> Option<FlowId> {
        let at = usize::from(which) % self.flows.len().max(1);
        self.flows.keys().nth(at).copied()
    }

    fn event(&mut self, args: &[u8; 12]) {
        let Some(id) = self.pick(args[0]) else { return };
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let remote = ([192, 0, 2, 1], u16::from(args[2])).into();
        let kind = if flow.is_connected { args[1] % 6 } else { args[1] % 4 / 2 * 3 };
        let event = match kind {
            _ if flow.is_spliced => {
                self.flows.remove(&id);
                FlowEvent::Ended { sent: u64::from(args[2]), received: u64::from(args[3]) }
            }
            _ if flow.is_offered => {
                flow.is_spliced = true;
                FlowEvent::Spliced
            }
            0 if flow.is_stream && !flow.is_listener => {
                flow.credit += u64::from(args[2]) * 1000;
                flow.is_connected = true;
                let connected = FlowEvent::Connected { local: remote, path_mtu: 1500 };
                self.nat.handle_flow(self.now, id, connected, &mut self.out);
                FlowEvent::Credit { until: flow.credit }
            }
            1 if flow.is_stream && flow.is_connected && flow.position == flow.high => {
                FlowEvent::Finished
            }
            2 if args[3].is_multiple_of(8) => {
                self.flows.remove(&id);
                let errors = [
                    FlowError::Refused,
                    FlowError::Reset,
                    FlowError::HostUnreachable,
                    FlowError::Prohibited,
                ];
                FlowEvent::Failed(errors[usize::from(args[2] % 4)])
            }
            3 if flow.is_listener => {
                flow.waiting += 1;
                FlowEvent::Incoming { from: remote }
            }
            _ => FlowEvent::Icmp {
                to: remote,
                from: None,
                kind: args[3],
                code: args[4],
                mtu: u16::from(args[5]),
            },
        };
        self.nat.handle_flow(self.now, id, event, &mut self.out);
    }

    fn flow_bytes(&mut self, args: &[u8; 12]) {
        let Some(id) = self.pick(args[0]) else { return };
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let mut len = usize::from(args[1]) * 100;
        if flow.is_listener || flow.is_offered || (flow.is_stream && !flow.is_connected) {
            return;
        }
        if flow.is_stream {
            let room = flow.limit.saturating_sub(flow.position);
            len = len.min(usize::try_from(room).unwrap_or(usize::MAX));
            if len == 0 {
                return;
            }
        }
        let Some(mut packet) = self.out.pool().take(len + flow::ADDRESS_LEN) else { return };
        packet.extend(&vec![9; len]).expect("it has room for as much");
        if flow.is_stream {
            flow.position += u64::try_from(len).expect("short");
            flow.high = flow.high.max(flow.position);
            packet.meta.urgent = args[2] % 4 == 1;
        } else {
            let remote = ([192, 0, 2, 1], u16::from(args[2])).into();
            assert!(flow::push_address(&mut packet, remote));
            if args[3] % 2 == 1 {
                (packet.meta.vnet.gso, packet.meta.vnet.gso_size) =
                    (Gso::UdpL4, u16::from(args[4]) * 10);
            }
        }
        self.received += 1;
        self.nat.handle(self.now, Endpoint::Flow(id), packet, &mut self.out);
    }

    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        for _ in 0..200 {
            let Some(next) = self.nat.next_timeout().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            self.nat.handle_timeout(self.now, &mut self.out);
            self.settle();
        }
        self.now = end;
        self.nat.handle_timeout(self.now, &mut self.out);
    }

    /// Takes what came out, as a runtime does, and checks the laws.
    fn settle(&mut self) {
        let mut ends = Vec::new();
        while let Some(request) = self.out.next_request() {
            let Request::Flow(id, request) = request else { panic!("{request:?}") };
            self.request(id, request, &mut ends);
        }
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            for packet in batch.drain(..) {
                self.sent += 1;
                if let Endpoint::Flow(id) = to
                    && let Some(flow) = self.flows.get_mut(&id).filter(|flow| flow.is_stream)
                {
                    flow.taken += u64::try_from(packet.len()).expect("short");
                    assert!(
                        flow.taken <= flow.credit && !flow.is_shut && !flow.is_offered,
                        "{flow:?}"
                    );
                }
                if to == Endpoint::Port(PortId(0))
                    && packet.bytes().get(9) == Some(&6)
                    && let Ok(tcp) = Tcp::parse(&packet.bytes()[20..])
                {
                    let controls = [TcpFlags::SYN, TcpFlags::FIN]
                        .map(|flag| u32::from(tcp.flags().contains(flag)));
                    let len = u32::try_from(tcp.payload().len()).expect("short");
                    let acknowledged = tcp.sequence().wrapping_add(len + controls[0] + controls[1]);
                    let ports = (tcp.destination_port(), tcp.source_port());
                    self.seen.insert(ports, (acknowledged, tcp.acknowledgment()));
                }
                self.out.pool().give(packet);
            }
        }
        for (id, is_shutdown) in ends {
            match self.flows.get_mut(&id) {
                Some(flow) if is_shutdown => flow.is_shut = true,
                _ => drop(self.flows.remove(&id)),
            }
        }
        assert!(
            self.out.counts().balance(self.received, self.nat.held()),
            "{:?}",
            self.out.counts()
        );
        assert_eq!(self.out.pool().out(), (0, 0), "a buffer is lost");
        assert!(self.nat.flow_count() <= FLOWS_MAX);
    }

    fn request(&mut self, id: FlowId, request: FlowRequest, ends: &mut Vec<(FlowId, bool)>) {
        match request {
            FlowRequest::Open { .. } => {
                let is_new = self.flows.insert(id, Flow { is_stream: true, ..Flow::default() });
                assert!(is_new.is_none(), "{id} is opened twice");
            }
            FlowRequest::Listen { .. } => {
                let listener = Flow { is_listener: true, is_stream: true, ..Flow::default() };
                self.flows.insert(id, listener);
            }
            FlowRequest::Bind { .. } => drop(self.flows.insert(id, Flow::default())),
            FlowRequest::Accept { listener } => {
                if let Some(listener) = self.flows.get_mut(&listener) {
                    assert!(listener.waiting > 0, "nobody waits");
                    listener.waiting -= 1;
                }
                self.flows.insert(id, Flow { is_stream: true, ..Flow::default() });
            }
            FlowRequest::Refuse => {
                if let Some(listener) = self.flows.get_mut(&id) {
                    assert!(listener.waiting > 0, "nobody waits");
                    listener.waiting -= 1;
                }
            }
            FlowRequest::Shutdown => ends.push((id, true)),
            FlowRequest::Close => ends.push((id, false)),
            FlowRequest::Reset => drop(self.flows.remove(&id)),
            request => {
                let Some(flow) = self.flows.get_mut(&id) else { return };
                match request {
                    FlowRequest::Splice { .. } => {
                        assert!(flow.is_connected && flow.taken + flow.limit == 0, "{flow:?}");
                        flow.is_offered = true;
                    }
                    FlowRequest::Keep { .. } => {
                        assert!(!flow.is_spliced, "{flow:?}");
                        flow.is_offered = false;
                    }
                    _ if flow.is_offered => panic!("{flow:?}: {request:?}"),
                    FlowRequest::Credit { until } => {
                        assert!(until >= flow.limit, "{flow:?}: credit of {until}");
                        flow.limit = until;
                    }
                    FlowRequest::Release { until } => {
                        assert!((flow.released..=flow.high).contains(&until), "{flow:?}: {until}");
                        flow.released = until;
                        flow.position = flow.position.max(until);
                    }
                    FlowRequest::Seek { to, until } => {
                        assert!((flow.released..=flow.high).contains(&to), "{flow:?}: {to}");
                        (flow.position, flow.limit) = (to, until);
                    }
                    _ => {}
                }
            }
        }
    }
}
