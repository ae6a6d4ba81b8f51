//! The DNS forwarder on any bytes: what must hold whatever they are. The property test and the fuzz target call
//! the same function.

use adit_engine::{Endpoint, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, PortId, Request};
use adit_nat::dns::{Client, Forwarder, OwnNames, ResolvConf};
use adit_packet::{Batch, Instant, PacketBuf, Pool, PoolConfig};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A query for `x`, with EDNS.
const QUERY: &[u8] =
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01x\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// Gives a forwarder queries, answers and events made of the bytes. Returns how many clients were answered.
pub(crate) fn dns(bytes: &[u8]) -> u64 {
    // Any text is a resolv.conf.
    let conf = ResolvConf::parse(&String::from_utf8_lossy(bytes));
    assert!(conf.servers.len() <= ResolvConf::SERVERS_MAX);
    let (&first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut world = World::new(first);
    let mut input = rest.iter().copied();
    while let Some(action) = input.next() {
        world.step(action, &mut input);
        world.settle();
    }
    world.answered
}

struct World {
    dns: Forwarder,
    out: Outbox,
    now: Instant,
    received: u64,
    answered: u64,
    /// Open flows, with the last query that each has sent.
    flows: BTreeMap<FlowId, Vec<u8>>,
}

fn server(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 53).into()
}

impl World {
    fn new(servers: u8) -> Self {
        let mut names = OwnNames::new();
        names.add("y".parse().expect("a name"), [10, 0, 0, 9].into());
        names.add("host.adit.internal".parse().expect("a name"), [10, 0, 2, 2].into());
        let mut dns = Forwarder::new(names, [1; 32]);
        dns.set_servers((0..servers % 4).map(server));
        // So small that it is used up at times.
        let pool = PoolConfig { small_limit: 8, large_limit: 2, ..PoolConfig::default() };
        let out = Outbox::with_limit(Pool::new(pool), 8);
        let (now, flows) = (Instant::ZERO, BTreeMap::new());
        Self { dns, out, now, received: 0, answered: 0, flows }
    }

    fn step(&mut self, action: u8, input: &mut impl Iterator<Item = u8>) {
        self.now += Duration::from_millis(u64::from(action & 31) * 40);
        let at = usize::from(input.next().unwrap_or(0)) % self.flows.len().max(1);
        let flow = self.flows.keys().nth(at).copied();
        let mut message = match (action >> 6, flow) {
            (0, _) => QUERY.to_vec(),
            (2, Some(flow)) => self.flows[&flow].clone(),
            _ => Vec::new(),
        };
        // Most queries that come back are responses, with or without a length before them.
        if action >> 6 == 2 && action & 16 != 0 && message.len() > 4 {
            let at = if message[0] == 0 { 4 } else { 2 };
            message[at] |= 0x80;
        }
        for _ in 0..action & 7 {
            let (Some(at), Some(value)) = (input.next(), input.next()) else { break };
            match message.get_mut(usize::from(at)) {
                Some(old) => *old = value,
                None => message.push(value),
            }
        }
        match (action >> 6, flow) {
            (0 | 1, _) => self.query(action, &message),
            (2, Some(flow)) => {
                let Some(packet) = self.buffer(&message) else { return };
                let reply = self.dns.handle(self.now, flow, packet, &mut self.out);
                self.answered(reply.map(|(_, reply)| reply));
            }
            (_, Some(flow)) => self.event(flow, action),
            _ => {}
        }
        if self.dns.next_timeout().is_some_and(|due| due <= self.now) {
            let failed = self.dns.handle_timeout(self.now, &mut self.out);
            self.answered(failed.into_iter().map(|(_, reply)| reply));
        }
    }

    fn buffer(&mut self, bytes: &[u8]) -> Option<PacketBuf> {
        let mut packet = self.out.pool().take(bytes.len())?;
        packet.extend(bytes).expect("taken with that room");
        self.received += 1;
        Some(packet)
    }

    fn query(&mut self, action: u8, message: &[u8]) {
        let Some(packet) = self.buffer(message) else { return };
        let stream = (action & 32 != 0).then_some(u64::from(action & 3));
        let from = ([10, 0, 2, action & 3], 1000).into();
        let client = Client { port: PortId(0), from, to: ([10, 0, 2, 3], 53).into(), stream };
        let reply = self.dns.query(self.now, client, packet, &mut self.out);
        self.answered(reply);
    }

    fn event(&mut self, flow: FlowId, action: u8) {
        let event = match action & 7 {
            0 => FlowEvent::Connected { local: server(9), path_mtu: 1500 },
            1 | 2 => FlowEvent::Credit { until: u64::from(action & 31) * 100 },
            3 => FlowEvent::Finished,
            4 => FlowEvent::Error(FlowError::Refused),
            5 => FlowEvent::PathMtu(1400),
            6 => return self.dns.forget(self.now, u64::from(action & 3), &mut self.out),
            _ => FlowEvent::Failed(FlowError::Refused),
        };
        if matches!(event, FlowEvent::Failed(_)) {
            self.flows.remove(&flow);
        }
        self.dns.handle_flow(self.now, flow, event, &mut self.out);
    }

    fn answered(&mut self, replies: impl IntoIterator<Item = PacketBuf>) {
        for reply in replies {
            assert!(reply.bytes().get(2).is_some_and(|flags| flags & 0x80 != 0), "a response");
            self.answered += 1;
            self.out.absorb(reply);
        }
    }

    /// Does what a runtime would, and checks the laws.
    fn settle(&mut self) {
        let mut closed = Vec::new();
        while let Some(request) = self.out.next_request() {
            match request {
                Request::Flow(flow, FlowRequest::Open { .. }) => {
                    assert!(Forwarder::owns(flow), "{flow}");
                    assert!(self.flows.insert(flow, Vec::new()).is_none(), "opened twice");
                }
                Request::Flow(flow, FlowRequest::Close) => {
                    assert!(self.flows.remove(&flow).is_some(), "closed twice");
                    closed.push(flow);
                }
                Request::Flow(_, FlowRequest::Credit { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            let Endpoint::Flow(flow) = to else { panic!("sent to {to}") };
            let sent = batch.as_slice().last().expect("a packet").bytes().to_vec();
            match self.flows.get_mut(&flow) {
                Some(last) => *last = sent,
                // Its time ended as it was sent: the runtime discards it.
                None => assert!(closed.contains(&flow), "an open flow"),
            }
            batch.give_all(self.out.pool());
        }
        assert!(self.out.counts().balance(self.received, 0));
        assert_eq!(self.out.pool().out(), (0, 0), "a buffer is lost");
        let waiting = self.dns.waiting();
        assert!(
            waiting <= 512 && self.flows.len() <= 2 * waiting,
            "{waiting} {}",
            self.flows.len()
        );
    }
}
