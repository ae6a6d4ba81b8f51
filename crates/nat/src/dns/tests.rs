//! The forwarder: which name server is asked when, which answers count, and what the bounds are.

use super::{Client, Forwarder, OwnNames};
use adit_engine::{
    DropReason, Endpoint, FlowError, FlowEvent, FlowId, FlowRequest, Outbox, Request, Transport,
};
use adit_packet::{Batch, Instant, Pool, PoolConfig};
use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::vec::Vec;

/// A query for `a.example` with EDNS and a cookie, as dig sends it.
const QUERY: &[u8] = b"\xab\xcd\x01\x20\0\x01\0\0\0\0\0\x01\x01a\x07example\0\0\x01\0\x01\
                       \0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08\x01\x02\x03\x04\x05\x06\x07\x08";
const QUESTION: core::ops::Range<usize> = 12..27;

fn server(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 53).into()
}

fn client(last: u8, port: u16) -> Client {
    Client {
        port: adit_engine::PortId(0),
        from: ([10, 0, 2, last], port).into(),
        to: ([10, 0, 2, 3], 53).into(),
        stream: None,
    }
}

/// A forwarder and its name servers: flows that are open, with what each was sent.
struct World {
    dns: Forwarder,
    out: Outbox,
    now: Instant,
    received: u64,
    open: BTreeMap<FlowId, (Transport, SocketAddr)>,
    sent: Vec<(FlowId, SocketAddr, Vec<u8>)>,
}

impl World {
    fn new(servers: u8) -> Self {
        let mut names = OwnNames::new();
        names.add("Host.adit.internal".parse().unwrap(), [10, 0, 2, 2].into());
        let mut dns = Forwarder::new(names, [3; 32]);
        dns.set_servers((0..servers).map(server));
        let out = Outbox::new(Pool::new(PoolConfig::default()));
        let (open, sent) = (BTreeMap::new(), Vec::new());
        Self { dns, out, now: Instant::ZERO, received: 0, open, sent }
    }

    fn buffer(&mut self, bytes: &[u8]) -> adit_packet::PacketBuf {
        let mut packet = self.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        self.received += 1;
        packet
    }

    fn query(&mut self, client: Client, message: &[u8]) -> Option<Vec<u8>> {
        let packet = self.buffer(message);
        let reply = self.dns.query(self.now, client, packet, &mut self.out);
        let reply = reply.map(|reply| (client, reply));
        self.settle(reply.into_iter().collect()).pop().map(|(_, reply)| reply)
    }

    /// A name server sends this on a flow.
    fn answer(&mut self, flow: FlowId, message: &[u8]) -> Option<(Client, Vec<u8>)> {
        let packet = self.buffer(message);
        let reply = self.dns.handle(self.now, flow, packet, &mut self.out);
        self.settle(reply.into_iter().collect()).pop()
    }

    fn event(&mut self, flow: FlowId, event: FlowEvent) {
        if matches!(event, FlowEvent::Failed(_)) {
            self.open.remove(&flow);
        }
        self.dns.handle_flow(self.now, flow, event, &mut self.out);
        self.settle(Vec::new());
    }

    fn wait(&mut self, millis: u64) -> Vec<(Client, Vec<u8>)> {
        self.now += Duration::from_millis(millis);
        let mut replies = Vec::new();
        if self.dns.next_timeout().is_some_and(|due| due <= self.now) {
            let failed = self.dns.handle_timeout(self.now, &mut self.out);
            replies = self.settle(failed);
        }
        replies
    }

    fn settle(&mut self, replies: Vec<(Client, adit_packet::PacketBuf)>) -> Vec<(Client, Vec<u8>)> {
        let mut bytes = Vec::new();
        for (client, reply) in replies {
            bytes.push((client, reply.bytes().to_vec()));
            self.out.absorb(reply);
        }
        while let Some(request) = self.out.next_request() {
            match request {
                Request::Flow(flow, FlowRequest::Open { transport, to, .. }) => {
                    assert!(Forwarder::owns(flow));
                    self.open.insert(flow, (transport, to));
                }
                Request::Flow(flow, FlowRequest::Close) => {
                    assert!(self.open.remove(&flow).is_some())
                }
                Request::Flow(_, FlowRequest::Credit { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            let Endpoint::Flow(flow) = to else { panic!("{to}") };
            let to = self.open[&flow].1;
            self.sent.extend(batch.iter().map(|packet| (flow, to, packet.bytes().to_vec())));
            batch.give_all(self.out.pool());
        }
        assert!(self.out.counts().balance(self.received, 0));
        bytes
    }

    /// The name servers that were asked since the last call, by number.
    fn asked(&mut self) -> Vec<u8> {
        self.sent
            .iter()
            .map(|(_, to, _)| if let SocketAddr::V4(to) = to { to.ip().octets()[3] } else { 0 })
            .collect()
    }

    fn unwanted(&self) -> u64 {
        self.out.counts().discarded_for(DropReason::DNS_UNWANTED)
    }
}

/// The answer to a query as it was forwarded: flags, question, one record.
fn reply_to(query: &[u8], flags: [u8; 2]) -> Vec<u8> {
    let mut reply = query[..QUESTION.end].to_vec();
    reply[2..12].copy_from_slice(&[flags[0], flags[1], 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x63");
    reply
}

#[test]
fn a_query_passes_unchanged_but_for_its_id() {
    let mut world = World::new(2);
    assert_eq!(world.query(client(1, 1000), QUERY), None);
    let (flow, to, sent) = world.sent.pop().unwrap();
    assert_eq!((to, &sent[2..]), (server(0), &QUERY[2..]));
    assert_ne!(sent[..2], QUERY[..2], "an id of our own");
    // A truncated answer passes as well, with flags and all.
    let truncated = reply_to(&sent, [0x83, 0xa0]);
    let (to, reply) = world.answer(flow, &truncated).unwrap();
    assert_eq!((to, &reply[..2], &reply[2..]), (client(1, 1000), &QUERY[..2], &truncated[2..]));
    assert!(world.open.is_empty() && world.dns.waiting() == 0);
    // The same answer again comes too late.
    assert_eq!(world.answer(flow, &truncated), None);
    assert_eq!(world.unwanted(), 1);
}

#[test]
fn ids_and_flows_cannot_be_guessed() {
    let mut world = World::new(1);
    for port in 0..100 {
        world.query(client(1, port), QUERY);
    }
    let mut ids: Vec<_> = world.sent.iter().map(|(_, _, sent)| [sent[0], sent[1]]).collect();
    ids.sort_unstable();
    ids.dedup();
    // Of 65,536, two of a hundred may be the same.
    assert!(ids.len() > 90 && world.open.len() == 100, "{}", ids.len());
    let seconds = |ids: &[[u8; 2]]| {
        ids.windows(2).filter(|two| two[1][0] == two[0][0] && two[1][1] == two[0][1] + 1).count()
    };
    assert!(seconds(&ids) < 10, "not in order");
}

#[test]
fn forged_answers_do_not_count() {
    let mut world = World::new(1);
    world.query(client(1, 1000), QUERY);
    let (flow, _, sent) = world.sent.pop().unwrap();
    let good = reply_to(&sent, [0x81, 0x80]);
    let forge = |at: usize| {
        let mut forged = good.clone();
        forged[at] ^= 1;
        forged
    };
    let mut other_name = good.clone();
    other_name[13] = b'b';
    let no_question = [&good[..4], &[0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let forged =
        [forge(0), forge(1), other_name, forge(24), sent.clone(), good[..11].to_vec(), no_question];
    for (number, bytes) in (1..).zip(&forged) {
        assert_eq!(world.answer(flow, bytes), None, "{number}");
        assert_eq!(world.unwanted(), number);
    }
    assert_eq!(world.answer(FlowId(flow.0 + 1), &good), None);
    assert_eq!(world.answer(FlowId(flow.0 + 0x100), &good), None);
    // Servers may change the case of a name, and the honest one is still heard.
    let mut upper = good.clone();
    upper[13] = b'A';
    assert!(world.answer(flow, &upper).is_some());
}

#[test]
fn a_silent_server_costs_less_than_a_second_once() {
    let mut world = World::new(3);
    world.query(client(1, 1000), QUERY);
    assert!(world.wait(700).is_empty());
    assert_eq!(world.asked(), [0]);
    world.wait(60);
    assert_eq!(world.asked(), [0, 1]);
    // The first may still answer, but the second does.
    assert_eq!(world.open.len(), 2);
    let (flow, _, sent) = world.sent[1].clone();
    assert!(world.answer(flow, &reply_to(&sent, [0x81, 0x80])).is_some());
    assert!(world.open.is_empty());
    // The next query goes to the one that answers; after a while the first is tried again.
    world.sent.clear();
    world.query(client(1, 1001), QUERY);
    assert_eq!(world.asked(), [1]);
    world.wait(10_000);
    world.sent.clear();
    world.query(client(1, 1002), QUERY);
    assert_eq!(world.asked(), [0]);
}

#[test]
fn a_server_that_fails_is_followed_by_the_next_at_once() {
    let mut world = World::new(4);
    world.query(client(1, 1000), QUERY);
    let (flow, _, sent) = world.sent[0].clone();
    assert_eq!(world.answer(flow, &reply_to(&sent, [0x81, 0x82])), None, "SERVFAIL");
    world.event(world.sent[1].0, FlowEvent::Error(FlowError::Refused));
    world.event(world.sent[2].0, FlowEvent::Failed(FlowError::NetUnreachable));
    assert_eq!(world.asked(), [0, 1, 2, 3]);
    assert_eq!(world.open.len(), 1);
    // What the last one says is passed on.
    let (flow, _, sent) = world.sent[3].clone();
    let refused = [&sent[..2], &[0x81, 0x85], &[0; 8][..]].concat();
    let (_, reply) = world.answer(flow, &refused).unwrap();
    assert_eq!((&reply[..2], reply[3]), (&QUERY[..2], 0x85));
}

#[test]
fn a_client_hears_that_nobody_answers_before_it_asks_again() {
    let mut world = World::new(2);
    world.query(client(1, 1000), QUERY);
    let start = world.now;
    let (to, reply) = loop {
        let mut replies = world.wait(100);
        assert!(world.open.len() <= 2, "two sockets");
        if let Some(reply) = replies.pop() {
            break reply;
        }
    };
    assert!((4000..5000).contains(&world.now.since(start).as_millis()));
    assert_eq!((to, &reply[..4]), (client(1, 1000), &b"\xab\xcd\x81\x82"[..]));
    assert_eq!(reply[QUESTION], QUERY[QUESTION]);
    assert!(world.asked().len() <= 6 && world.open.is_empty());
    // Without servers at once.
    world.dns.set_servers([]);
    assert_eq!(world.query(client(1, 1), QUERY).unwrap()[3], 0x82);
    // A server that comes later is asked for a query that waits.
    world.dns.set_servers([server(7)]);
    world.query(client(1, 2), QUERY);
    world.dns.set_servers([server(8)]);
    world.sent.clear();
    world.wait(750);
    assert_eq!(world.asked(), [8]);
}

#[test]
fn queries_that_wait_are_bounded() {
    let mut world = World::new(1);
    let limit = |world: &World| world.out.counts().discarded_for(DropReason::DNS_LIMIT);
    for last in 1..=5 {
        for port in 0..200 {
            world.query(client(last, port), QUERY);
        }
    }
    assert_eq!((world.dns.waiting(), limit(&world)), (512, 488));
    world.query(client(1, 5), QUERY);
    assert_eq!(world.out.counts().discarded_for(DropReason::DNS_DUPLICATE), 1);
    // One source cannot take the place of others.
    let mut world = World::new(1);
    (0..1000).for_each(|port| drop(world.query(client(1, port), QUERY)));
    assert_eq!(world.dns.waiting(), 128);
    world.query(client(2, 1), QUERY);
    assert_eq!(world.dns.waiting(), 129);
    let long = [QUERY, &[0; 1232]].concat();
    assert_eq!(world.query(client(2, 2), &long), None);
    assert_eq!(world.out.counts().discarded_for(DropReason::TOO_BIG), 1);
}

#[test]
fn malformed_queries_are_answered_by_their_header_or_not_at_all() {
    let mut world = World::new(1);
    let mut code = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut query = QUERY.to_vec();
        change(&mut query);
        world.query(client(1, 1), &query).map(|reply| (reply.len(), reply[3] & 15))
    };
    assert_eq!(code(&|query| query.truncate(11)), None);
    assert_eq!(code(&|query| query[2] = 0x81), None, "a response");
    assert_eq!(code(&|query| query[2] = 0x28), Some((12, 4)), "an update");
    assert_eq!(code(&|query| query[5] = 2), Some((12, 1)));
    assert_eq!(code(&|query| query[7] = 1), Some((12, 1)));
    assert_eq!(code(&|query| query[12] = 0xc0), Some((12, 1)), "a pointer");
    assert_eq!(code(&|query| query.truncate(20)), Some((12, 1)));
    assert_eq!(code(&|query| query.truncate(25)), Some((12, 1)));
    assert_eq!(world.out.counts().discarded_for(DropReason::MALFORMED), 2);
    assert!(world.sent.is_empty());
    // A name of 255 bytes is one, of 256 none.
    let name = |last: usize| {
        let mut query = QUERY[..12].to_vec();
        query[11] = 0;
        [63, 63, 63, last].iter().for_each(|&len| {
            query.push(u8::try_from(len).unwrap());
            query.extend(std::iter::repeat_n(b'a', len));
        });
        query.extend([0, 0, 1, 0, 1]);
        query
    };
    assert_eq!(world.query(client(1, 2), &name(61)), None);
    assert_eq!(world.sent.len(), 1);
    assert_eq!(world.query(client(1, 3), &name(62)).unwrap()[3], 1 | 0x80);
}

#[test]
fn own_names_are_answered_to_the_byte() {
    let mut world = World::new(0);
    let question = b"\x04HOST\x04adit\x08internal\0\0\x01\0\x01";
    let query = [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0"[..], question].concat();
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x0a\0\x04\x0a\0\x02\x02";
    let wanted = [&b"\x12\x34\x85\x80\0\x01\0\x01\0\0\0\0"[..], question, record].concat();
    assert_eq!(world.query(client(1, 1), &query), Some(wanted));
    // No address of IPv6: the name exists, which may be kept for a while.
    let mut query = query;
    let at = query.len() - 3;
    query[at] = 28;
    let soa = b"\xc0\x0c\0\x06\0\x01\0\0\0\x0a\0\x16\0\0\0\0\0\x01\0\0\x0e\x10\0\0\x02\x58\0\x01\x51\x80\0\0\0\x0a";
    let reply = world.query(client(1, 1), &query).unwrap();
    assert_eq!(
        (&reply[2..12], &reply[query.len()..]),
        (&b"\x85\x80\0\x01\0\0\0\x01\0\0"[..], &soa[..])
    );
    // Another name of the zone does not exist, by a record of the zone.
    query[13] = b'x';
    let reply = world.query(client(1, 1), &query).unwrap();
    assert_eq!((reply[3], &reply[query.len()..query.len() + 2]), (0x83, &[0xc0, 12 + 5][..]));
}

#[test]
fn by_tcp_a_query_waits_for_the_connection() {
    let mut world = World::new(2);
    let client = Client { stream: Some(9), ..client(1, 1000) };
    world.query(client, QUERY);
    let (&flow, &(transport, to)) = world.open.first_key_value().unwrap();
    assert_eq!((transport, to, world.sent.len()), (Transport::Tcp, server(0), 0));
    world.event(flow, FlowEvent::Connected { local: server(99), path_mtu: 1500 });
    world.event(flow, FlowEvent::Credit { until: 10 });
    assert!(world.sent.is_empty(), "there is no room for it");
    world.event(flow, FlowEvent::Credit { until: 1000 });
    world.event(flow, FlowEvent::Credit { until: 2000 });
    let (_, _, sent) = world.sent.pop().unwrap();
    assert!(world.sent.is_empty(), "once");
    let len = u16::try_from(QUERY.len()).unwrap().to_be_bytes();
    assert_eq!((&sent[..2], &sent[4..]), (&len[..], &QUERY[2..]));
    // A long answer in pieces.
    let mut long = reply_to(&sent[2..], [0x81, 0x80]);
    long.resize(40_000, 7);
    let stream = [&40_000_u16.to_be_bytes()[..], &long].concat();
    let mut pieces = stream.chunks(1300).peekable();
    while let Some(piece) = pieces.next() {
        let answer = world.answer(flow, piece);
        assert_eq!(answer.is_some(), pieces.peek().is_none());
        if let Some((to, reply)) = answer {
            assert_eq!((to, &reply[..2], &reply[2..]), (client, &QUERY[..2], &long[2..]));
        }
    }
    // A server that ends the connection is followed by the next; a client that goes ends all.
    world.query(client, QUERY);
    let (&flow, _) = world.open.first_key_value().unwrap();
    world.event(flow, FlowEvent::Finished);
    assert_eq!(world.open.values().map(|open| open.1).collect::<Vec<_>>(), [server(1)]);
    world.dns.forget(world.now, 9, &mut world.out);
    world.settle(Vec::new());
    assert!(world.open.is_empty() && world.dns.waiting() == 0);
}

#[test]
fn flows_are_closed_also_when_too_many_requests_wait() {
    let mut world = World::new(1);
    for port in 0..128 {
        world.query(client(1, port), QUERY);
    }
    let request = Request::Reroute(server(0));
    while world.out.request(request).is_ok() {}
    world.now += Duration::from_secs(5);
    let failed = world.dns.handle_timeout(world.now, &mut world.out);
    assert_eq!((failed.len(), world.dns.next_timeout()), (128, Some(world.now)));
    while world.out.next_request().is_some() {}
    world.settle(failed);
    world.wait(0);
    assert!(world.open.is_empty() && world.dns.next_timeout().is_none());
}
