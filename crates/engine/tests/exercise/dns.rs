//! The DNS forwarder on any bytes: what must hold whatever they are. The property test and the fuzz target call
//! the same function.

use adit_engine::nat::dns::{Client, Forwarder, OwnNames, ResolvConf};
use adit_engine::{Endpoint, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, Request};
use adit_packet::{Batch, Instant, Pool, PoolConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// A query for `x`, with EDNS.
const QUERY: &[u8] =
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01x\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// Gives a forwarder queries, answers and events made of the bytes. Returns how many clients were answered.
pub(crate) fn dns(bytes: &[u8]) -> u64 {
    // Any text is a resolv.conf.
    let conf = ResolvConf::parse(&String::from_utf8_lossy(bytes));
    assert!(conf.servers.len() <= ResolvConf::SERVERS_MAX);
    let mut input = bytes.iter().copied();
    let mut byte = || input.next();
    let mut names = OwnNames::new();
    names.add("x".parse().expect("a name"), [10, 0, 0, 9].into());
    names.add("host.adit.internal".parse().expect("a name"), [10, 0, 2, 2].into());
    let mut dns = Forwarder::new(names, [1; 32]);
    let server = |number: u8| ([192, 0, 2, number], 53).into();
    dns.set_servers((0..byte().unwrap_or(0) % 4).map(server));
    let pool = PoolConfig { small_limit: 8, large_limit: 2, ..PoolConfig::default() };
    let mut out = Outbox::with_limit(Pool::new(pool), 8);
    let (mut now, mut received, mut answered) = (Instant::ZERO, 0, 0);
    // Open flows, with the last query that each has sent.
    let mut flows: BTreeMap<FlowId, Vec<u8>> = BTreeMap::new();
    let mut batch = Batch::new();
    while let Some(action) = byte() {
        now += Duration::from_millis(u64::from(action & 31) * 40);
        let flow = flows.keys().nth(usize::from(byte().unwrap_or(0)) % flows.len().max(1)).copied();
        let mut message = match action >> 6 {
            0 => QUERY.to_vec(),
            1 => Vec::new(),
            _ => flow.and_then(|flow| flows.get(&flow)).cloned().unwrap_or_default(),
        };
        if action & 0x80 != 0 && action & 16 != 0 && message.len() > 4 {
            let at = usize::from(message[2] & 0x80 == 0 && message[0] == 0) * 2;
            message[at + 2] |= 0x80;
        }
        for _ in 0..action & 7 {
            let (Some(at), Some(value)) = (byte(), byte()) else { break };
            match message.get_mut(usize::from(at)) {
                Some(old) => *old = value,
                None => message.push(value),
            }
        }
        let (mut replies, stream) =
            (Vec::new(), (action & 32 != 0).then_some(u64::from(action & 3)));
        match (action >> 6, flow) {
            (0 | 1, _) => {
                let Some(mut packet) = out.pool().take(message.len()) else { continue };
                packet.extend(&message).expect("taken with that room");
                received += 1;
                let from = ([10, 0, 2, action & 3], 1000).into();
                let client = Client { from, to: ([10, 0, 2, 3], 53).into(), stream };
                let reply = dns.query(now, client, packet, &mut out);
                replies.extend(reply.map(|reply| (client, reply)));
            }
            (2, Some(flow)) => {
                let Some(mut packet) = out.pool().take(message.len()) else { continue };
                packet.extend(&message).expect("taken with that room");
                received += 1;
                replies.extend(dns.handle(now, flow, packet, &mut out));
            }
            (_, Some(flow)) => {
                let event = match action & 7 {
                    0 => FlowEvent::Connected { local: server(9), path_mtu: 1500 },
                    1 | 2 => FlowEvent::Credit { until: u64::from(action & 31) * 100 },
                    3 => FlowEvent::Finished,
                    4 => FlowEvent::Error(FlowError::Refused),
                    5 => FlowEvent::PathMtu(1400),
                    6 => {
                        dns.forget(now, u64::from(action & 3), &mut out);
                        FlowEvent::PathMtu(1280)
                    }
                    _ => FlowEvent::Failed(FlowError::Refused),
                };
                if matches!(event, FlowEvent::Failed(_)) {
                    flows.remove(&flow);
                }
                dns.handle_flow(now, flow, event, &mut out);
            }
            _ => {}
        }
        if dns.next_timeout().is_some_and(|due| due <= now) {
            replies.extend(dns.handle_timeout(now, &mut out));
        }
        for (_, reply) in replies {
            assert!(reply.bytes().get(2).is_some_and(|flags| flags & 0x80 != 0), "a response");
            answered += 1;
            out.absorb(reply);
        }
        let mut closed = Vec::new();
        while let Some(request) = out.next_request() {
            match request {
                Request::Flow(flow, FlowRequest::Open { .. }) => {
                    assert!(Forwarder::owns(flow) && flows.insert(flow, Vec::new()).is_none());
                }
                Request::Flow(flow, FlowRequest::Close) => {
                    assert!(flows.remove(&flow).is_some(), "closed twice");
                    closed.push(flow);
                }
                Request::Flow(flow, FlowRequest::Credit { .. }) => {
                    assert!(flows.contains_key(&flow))
                }
                other => panic!("{other:?}"),
            }
        }
        while let Some(to) = out.next_group(&mut batch) {
            let Endpoint::Flow(flow) = to else { panic!("sent to {to}") };
            let sent = batch.as_slice().last().expect("a packet").bytes().to_vec();
            match flows.get_mut(&flow) {
                Some(last) => *last = sent,
                // Its time ended as it was sent: the runtime discards it.
                None => assert!(closed.contains(&flow), "an open flow"),
            }
            batch.give_all(out.pool());
        }
        assert!(out.counts().balance(received, 0));
        assert_eq!(out.pool().out(), (0, 0), "a buffer is lost");
        assert!(dns.waiting() <= 512 && flows.len() <= 2 * dns.waiting());
    }
    answered
}
