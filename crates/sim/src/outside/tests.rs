use super::*;
use crate::{EngineId, Sim};
use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, Request};
use adit_packet::PacketBuf;
use std::panic::{AssertUnwindSafe, catch_unwind};

const FLOW: FlowId = FlowId(1 << 32 | 7);
const SECOND: Duration = Duration::from_secs(1);

/// Uses one flow as configured, and records data and events.
#[derive(Default)]
struct Client {
    events: Vec<FlowEvent>,
    received: Vec<u8>,
    pieces: usize,
    /// To be sent as credit allows, and how much of it was.
    upload: Vec<u8>,
    sent: usize,
    shuts_down: bool,
}

impl Client {
    fn pump(&mut self, until: u64, out: &mut Outbox) {
        let until = self.upload.len().min(usize::try_from(until).unwrap());
        for piece in self.upload[self.sent..until].chunks(1400) {
            let mut packet = out.make(piece.len()).unwrap();
            packet.extend(piece).unwrap();
            out.send(Endpoint::Flow(FLOW), packet);
        }
        self.sent = until;
        if self.shuts_down && self.sent == self.upload.len() {
            self.shuts_down = false;
            out.request(Request::Flow(FLOW, FlowRequest::Shutdown)).unwrap();
        }
    }
}

impl Engine for Client {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        assert_eq!(from, Endpoint::Flow(FLOW));
        self.received.extend_from_slice(packet.bytes());
        self.pieces += 1;
        out.absorb(packet);
        Handled::NOTHING
    }

    fn handle_flow(&mut self, _: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        assert_eq!(flow, FLOW);
        self.events.push(event);
        if let FlowEvent::Credit { until } = event {
            self.pump(until, out);
        }
    }
}

struct World {
    sim: Sim,
    client: EngineId<Client>,
    at: SocketAddr,
    transport: Transport,
}

impl World {
    fn new(transport: Transport, server: Option<Server>, client: Client) -> Self {
        let mut sim = Sim::new(1);
        let at = SocketAddr::from(([192, 0, 2, 1], 80));
        if let Some(server) = server {
            sim.outside_mut().listen(transport, at, server);
        }
        let client = sim.engine("client", client);
        Self { sim, client, at, transport }
    }

    fn ask(&mut self, request: FlowRequest) {
        self.sim.call(self.client, |_, _, out| out.request(Request::Flow(FLOW, request)).unwrap());
    }

    fn open(&mut self) {
        self.ask(FlowRequest::Open {
            transport: self.transport,
            to: self.at,
            port: 0,
            hop_limit: 0,
        });
    }

    fn client(&self) -> &Client {
        self.sim.get(self.client)
    }

    fn remote(&self) -> RemoteId {
        self.sim.outside().flows(self.transport, self.at).next().unwrap()
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_stream_crosses_both_ways_within_its_credit() {
    let server = Server { buffer: 5000, ..Server::ECHOES };
    let client = Client { upload: bytes(100_000), shuts_down: true, ..Client::default() };
    let mut world = World::new(Transport::Tcp, Some(server), client);
    world.open();
    world.sim.run_for(SECOND);
    let first = world.client().events[..2].to_vec();
    assert!(matches!(first[0], FlowEvent::Connected { path_mtu: 1500, .. }), "{first:?}");
    assert_eq!(first[1], FlowEvent::Credit { until: 5000 });
    let remote = world.remote();
    assert_eq!(world.sim.outside().received(remote), bytes(100_000));
    assert!(world.sim.outside().is_finished(remote));
    assert_eq!(world.client().received, [], "it gave no credit");

    for until in [10, 40_000, u64::MAX] {
        world.ask(FlowRequest::Credit { until });
        world.sim.run_for(SECOND);
        let expected = usize::try_from(until).unwrap_or(usize::MAX).min(100_000);
        assert_eq!(world.client().received.len(), expected);
    }
    assert_eq!(world.client().received, bytes(100_000));
    assert_eq!(world.client().events.last(), Some(&FlowEvent::Finished));
    world.ask(FlowRequest::Close);
    world.sim.run_for(SECOND);
    assert!(world.sim.outside().is_closed(remote));
}

#[test]
fn a_slow_reader_gives_credit_as_it_reads() {
    let server = Server { buffer: 10_000, reads: 100, ..Server::ACCEPTS };
    let client = Client { upload: bytes(20_000), ..Client::default() };
    let mut world = World::new(Transport::Tcp, Some(server), client);
    world.open();
    world.sim.run_for(Duration::from_millis(50));
    let read = world.sim.outside().received(world.remote()).len();
    assert!((4_000..=5_000).contains(&read), "100 bytes each ms: {read}");
    assert_eq!(world.client().sent, 10_000 + read);
    world.sim.run_for(SECOND);
    assert_eq!(world.sim.outside().received(world.remote()), bytes(20_000));
}

#[test]
fn the_engine_learns_why_a_connect_fails() {
    for (server, error) in [
        (None, FlowError::Refused),
        (Some(Server::fails(FlowError::HostUnreachable)), FlowError::HostUnreachable),
        (Some(Server::fails(FlowError::TimedOut)), FlowError::TimedOut),
    ] {
        let mut world = World::new(Transport::Tcp, server, Client::default());
        world.open();
        world.sim.run_for(SECOND);
        assert_eq!(world.client().events, [FlowEvent::Failed(error)]);
    }
}

#[test]
fn a_reset_discards_and_frees_the_flow() {
    let client = Client { upload: bytes(300), ..Client::default() };
    let server = Server { reads: 100, ..Server::ACCEPTS };
    let mut world = World::new(Transport::Tcp, Some(server), client);
    world.open();
    world.sim.run_for(Duration::from_millis(2));
    let remote = world.remote();
    world.sim.outside_mut().fail(remote, FlowError::Reset);
    world.sim.run_for(SECOND);
    assert_eq!(world.client().events.last(), Some(&FlowEvent::Failed(FlowError::Reset)));
    assert!(world.sim.outside().is_closed(remote));

    let packet = |_: &mut Client, _: Instant, out: &mut Outbox| {
        let packet = out.make(1).unwrap();
        out.send(Endpoint::Flow(FLOW), packet);
    };
    world.sim.call(world.client, packet);
    assert_eq!(world.sim.lost().discarded_for(DropReason::NO_DESTINATION), 1);
}

#[test]
fn datagrams_stay_datagrams_and_errors_do_not_end_their_flow() {
    let mut world = World::new(Transport::Udp, Some(Server::ECHOES), Client::default());
    world.open();
    for len in [1, 0, 1000] {
        world.sim.call(world.client, |_, _, out| {
            let mut packet = out.make(len).unwrap();
            packet.extend(&bytes(len)).unwrap();
            out.send(Endpoint::Flow(FLOW), packet);
        });
    }
    world.sim.run_for(SECOND);
    assert_eq!((world.client().pieces, world.client().received.len()), (3, 1001));
    let remote = world.remote();
    world.sim.outside_mut().fail(remote, FlowError::Refused);
    world.sim.outside_mut().set_path_mtu(remote, 1400);
    world.sim.outside_mut().send(remote, b"hello");
    world.sim.run_for(SECOND);
    let news = [FlowEvent::Error(FlowError::Refused), FlowEvent::PathMtu(1400)];
    assert_eq!(world.client().events[1..], news);
    assert!(world.client().received.ends_with(b"hello"));
}

#[test]
fn data_sent_before_a_close_arrives() {
    let client = Client { upload: bytes(3000), ..Client::default() };
    let server = Server { reads: 100, ..Server::ACCEPTS };
    let mut world = World::new(Transport::Tcp, Some(server), client);
    world.open();
    world.sim.run_for(Duration::from_millis(2));
    world.ask(FlowRequest::Close);
    let remote = world.remote();
    world.sim.outside_mut().send(remote, b"nobody reads this");
    world.sim.run_for(SECOND);
    assert_eq!(world.sim.outside().received(remote), bytes(3000));
    assert!(world.sim.outside().is_closed(remote));
    assert_eq!(world.client().received, []);
}

#[test]
fn an_engine_that_breaks_the_contract_of_flows_is_caught() {
    let breaks: [fn(&mut Outbox); 3] = [
        |out| {
            let packet = out.make(100).unwrap();
            let mut packet = packet;
            packet.set_len(100).unwrap();
            out.send(Endpoint::Flow(FLOW), packet);
        },
        |out| {
            for until in [2, 1] {
                out.request(Request::Flow(FLOW, FlowRequest::Credit { until })).unwrap();
            }
        },
        |out| {
            let to = SocketAddr::from(([192, 0, 2, 1], 80));
            let open = FlowRequest::Open { transport: Transport::Tcp, to, port: 0, hop_limit: 0 };
            out.request(Request::Flow(FLOW, open)).unwrap();
        },
    ];
    for (number, breaks) in breaks.into_iter().enumerate() {
        let server = Server { buffer: 99, ..Server::ACCEPTS };
        let mut world = World::new(Transport::Tcp, Some(server), Client::default());
        world.open();
        world.sim.run_for(SECOND);
        let broken = catch_unwind(AssertUnwindSafe(|| {
            world.sim.call(world.client, |_, _, out| breaks(out));
        }));
        assert!(broken.is_err(), "{number}");
    }
}
