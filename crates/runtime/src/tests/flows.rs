//! An engine with flows against sockets on the loopback, the loop nested in another one by its
//! descriptor.

use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::tests::support::{PATIENCE, enter, ip};
use adit_engine::{
    Endpoint, Engine, FlowError, FlowEvent, FlowId, FlowRequest, Handled, Outbox, Request,
    Transport,
};
use adit_packet::{Instant, PacketBuf, Pool, PoolConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// The most bytes of one packet to a flow.
const PIECE_LEN: usize = 16_000;

/// Opens flows as a test wants, sends what it is given as far as it has credit, and notes what comes.
#[derive(Default)]
struct Probe {
    flows: BTreeMap<FlowId, Seen>,
}

#[derive(Default)]
struct Seen {
    events: Vec<FlowEvent>,
    received: Vec<u8>,
    /// How many packets came.
    packets: usize,
    to_send: Vec<u8>,
    sent: usize,
    credit: usize,
    /// Ends our direction behind the last byte.
    shuts_down: bool,
}

impl Probe {
    /// Sends what there is credit for.
    fn pump(&mut self, id: FlowId, out: &mut Outbox) {
        let Some(seen) = self.flows.get_mut(&id) else { return };
        while seen.sent < seen.to_send.len().min(seen.credit) {
            let end = (seen.sent + PIECE_LEN).min(seen.to_send.len()).min(seen.credit);
            let mut packet = out.make(end - seen.sent).expect("a buffer");
            packet.extend(&seen.to_send[seen.sent..end]).expect("room");
            out.send(Endpoint::Flow(id), packet);
            seen.sent = end;
        }
        if seen.shuts_down && seen.sent == seen.to_send.len() {
            seen.shuts_down = false;
            out.request(Request::Flow(id, FlowRequest::Shutdown)).expect("room");
        }
    }
}

impl Engine for Probe {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        if let Endpoint::Flow(id) = from {
            let seen = self.flows.get_mut(&id).expect("a flow that is open");
            seen.received.extend_from_slice(packet.bytes());
            seen.packets += 1;
        }
        out.absorb(packet);
        Handled::NOTHING
    }

    fn handle_flow(&mut self, _: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        let seen = self.flows.get_mut(&flow).expect("a flow that is open");
        if let FlowEvent::Credit { until } = event {
            let until = usize::try_from(until).unwrap();
            assert!(until >= seen.credit, "credit never decreases");
            seen.credit = until;
        } else {
            seen.events.push(event);
        }
        self.pump(flow, out);
    }
}

struct Nobody;

impl Handler<Probe> for Nobody {
    fn event(&mut self, _: &mut Runner<Probe>, event: Event) -> Next {
        panic!("{event:?}")
    }
}

struct Rig(Runner<Probe>);

impl Rig {
    fn new() -> Self {
        enter();
        Self(Runner::new(Probe::default(), Pool::new(PoolConfig::default())).unwrap())
    }

    fn ask(&mut self, id: u64, request: FlowRequest) {
        let (_, _, out) = self.0.engine_and_outbox();
        out.request(Request::Flow(FlowId(id), request)).unwrap();
    }

    /// Opens a flow that takes all that comes.
    fn open(&mut self, id: u64, transport: Transport, to: SocketAddr) {
        self.0.engine_mut().flows.insert(FlowId(id), Seen::default());
        self.ask(id, FlowRequest::Open { transport, to, port: 0, hop_limit: 0 });
        self.ask(id, FlowRequest::Credit { until: u64::MAX });
    }

    fn send(&mut self, id: u64, bytes: &[u8]) {
        let (probe, _, out) = self.0.engine_and_outbox();
        probe.flows.get_mut(&FlowId(id)).unwrap().to_send.extend_from_slice(bytes);
        probe.pump(FlowId(id), out);
    }

    fn seen(&mut self, id: u64) -> &mut Seen {
        self.0.engine_mut().flows.get_mut(&FlowId(id)).unwrap()
    }

    /// Takes turns, each when the runner's descriptor is readable, until it is so.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Seen) -> bool, id: u64) {
        let start = std::time::Instant::now();
        loop {
            assert_eq!(self.0.turn(&mut Nobody).unwrap(), Next::Continue);
            let seen = self.seen(id);
            if done(seen) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", seen.events);
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
        }
    }

    fn connected(&mut self, id: u64) {
        let is_connected = |event: &FlowEvent| matches!(event, FlowEvent::Connected { .. });
        self.until("connected", |seen| seen.events.iter().any(is_connected), id);
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_megabyte_goes_both_ways_and_both_directions_end() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&bytes(1 << 20)).unwrap());
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        got
    });
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let FlowEvent::Connected { local, path_mtu } = rig.seen(1).events[0] else { panic!() };
    assert!(local.ip().is_loopback() && path_mtu > 1280, "{path_mtu}");
    rig.seen(1).shuts_down = true;
    rig.send(1, &bytes(1 << 20));
    rig.until("finished", |seen| seen.events.contains(&FlowEvent::Finished), 1);
    assert!(rig.seen(1).received == bytes(1 << 20));
    assert!(peer.join().unwrap() == bytes(1 << 20), "it saw our end behind the last byte");
    assert_eq!(rig.seen(1).events.len(), 2, "{:?}", rig.seen(1).events);
}

#[test]
fn a_peer_that_does_not_read_holds_the_engine_up_and_nothing_else() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let (mut stream, _) = listener.accept().unwrap();
    // More than the sockets hold.
    let all = bytes(64 << 20);
    rig.send(1, &all);
    for _ in 0..200 {
        rig.0.turn(&mut Nobody).unwrap();
    }
    let seen = rig.seen(1);
    assert!(seen.sent < all.len() && seen.sent == seen.credit, "{} {}", seen.sent, seen.credit);
    let peer = thread::spawn(move || {
        let mut got = vec![0; 64 << 20];
        stream.read_exact(&mut got).unwrap();
        got
    });
    rig.until("all sent", |seen| seen.sent == seen.to_send.len(), 1);
    while !peer.is_finished() {
        rig.0.turn(&mut Nobody).unwrap();
    }
    assert!(peer.join().unwrap() == all);
}

#[test]
fn reading_stops_at_the_credit_and_goes_on() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.0.engine_mut().flows.insert(FlowId(7), Seen::default());
    rig.ask(7, FlowRequest::Open { transport: Transport::Tcp, to: address, port: 0, hop_limit: 0 });
    rig.ask(7, FlowRequest::Credit { until: 1000 });
    rig.connected(7);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&bytes(5000)).unwrap();
    rig.until("a thousand", |seen| seen.received.len() >= 1000, 7);
    drop(stream);
    for _ in 0..20 {
        rig.0.turn(&mut Nobody).unwrap();
    }
    assert_eq!(rig.seen(7).received.len(), 1000);
    rig.ask(7, FlowRequest::Credit { until: u64::MAX });
    rig.until("finished", |seen| seen.events.contains(&FlowEvent::Finished), 7);
    assert_eq!(rig.seen(7).received, bytes(5000), "its end did not overtake what was read late");
}

#[test]
fn a_connection_that_fails_is_an_event() {
    let mut rig = Rig::new();
    let (listener, closed) = listener();
    drop(listener);
    rig.open(1, Transport::Tcp, closed);
    rig.until("refused", |seen| !seen.events.is_empty(), 1);
    assert_eq!(rig.seen(1).events, [FlowEvent::Failed(FlowError::Refused)]);
    rig.open(2, Transport::Tcp, "198.51.100.1:9".parse().unwrap());
    rig.until("no route", |seen| !seen.events.is_empty(), 2);
    assert_eq!(rig.seen(2).events, [FlowEvent::Failed(FlowError::NetUnreachable)]);
    ip("route add prohibit 203.0.113.0/24");
    rig.open(3, Transport::Tcp, "203.0.113.1:9".parse().unwrap());
    rig.until("prohibited", |seen| !seen.events.is_empty(), 3);
    assert_eq!(rig.seen(3).events, [FlowEvent::Failed(FlowError::Prohibited)]);
}

#[test]
fn a_reset_is_seen_both_ways() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let (stream, _) = listener.accept().unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    rig.until("reset", |seen| seen.events.len() > 1, 1);
    assert_eq!(rig.seen(1).events[1], FlowEvent::Failed(FlowError::Reset));

    rig.open(2, Transport::Tcp, address);
    rig.connected(2);
    let (mut stream, _) = listener.accept().unwrap();
    rig.ask(2, FlowRequest::Reset);
    rig.0.turn(&mut Nobody).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    rig.open(3, Transport::Tcp, address);
    rig.connected(3);
    let (mut stream, _) = listener.accept().unwrap();
    rig.send(3, b"the last words");
    rig.ask(3, FlowRequest::Close);
    rig.0.turn(&mut Nobody).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "the last words");
    drop(TcpStream::connect(address));
}

#[test]
fn datagrams_go_and_come_and_an_icmp_error_is_an_event() {
    let mut rig = Rig::new();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.open(1, Transport::Udp, echo.local_addr().unwrap());
    rig.connected(1);
    rig.seen(1).credit = usize::MAX;
    let mut buf = [0; 2000];
    for round in 1..4_u8 {
        rig.send(1, &[round; 900]);
        rig.0.turn(&mut Nobody).unwrap();
        let (count, from) = echo.recv_from(&mut buf).unwrap();
        assert_eq!(count, 900);
        echo.send_to(&buf[..count], from).unwrap();
        let rounds = usize::from(round);
        rig.until("an echo", |seen| seen.received.len() == 900 * rounds, 1);
    }
    let closed = echo.local_addr().unwrap();
    drop(echo);
    rig.send(1, b"nobody");
    rig.until("refused", |seen| seen.events.len() > 1, 1);
    assert_eq!(rig.seen(1).events[1], FlowEvent::Error(FlowError::Refused));
    // The flow goes on.
    let echo = UdpSocket::bind(closed).unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.send(1, b"again");
    rig.0.turn(&mut Nobody).unwrap();
    assert_eq!(echo.recv(&mut buf).unwrap(), 5);
}

#[test]
fn flows_in_the_thousands_and_none_is_searched_for() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    let mut streams = Vec::new();
    // No more at once than the listener's backlog has room for.
    for wave in 0..8 {
        let ids = wave * 50..(wave + 1) * 50;
        ids.clone().for_each(|id| rig.open(id, Transport::Tcp, address));
        ids.clone().for_each(|id| rig.connected(id));
        streams.extend(ids.map(|_| listener.accept().unwrap().0));
    }
    streams[7].write_all(b"one").unwrap();
    let of_seven = streams[7].peer_addr().unwrap();
    let probe = rig.0.engine();
    let is_it = |seen: &&Seen| matches!(seen.events[0], FlowEvent::Connected { local, .. } if local == of_seven);
    let id = *probe.flows.iter().find(|(_, seen)| is_it(seen)).unwrap().0;
    rig.until("one", |seen| seen.received == b"one", id.0);
    let packets: usize = rig.0.engine().flows.values().map(|seen| seen.packets).sum();
    assert_eq!(packets, 1, "nothing was read of any other");
}

#[test]
fn kept_bytes_are_delivered_again_until_they_are_released() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.0.engine_mut().flows.insert(FlowId(1), Seen::default());
    rig.ask(1, FlowRequest::Open { transport: Transport::Tcp, to: address, port: 0, hop_limit: 0 });
    rig.ask(1, FlowRequest::Keep { piece_max: 1000 });
    rig.ask(1, FlowRequest::Credit { until: 3000 });
    rig.connected(1);
    let (mut stream, _) = listener.accept().unwrap();
    let all = bytes(10_000);
    stream.write_all(&all).unwrap();
    rig.until("three pieces", |seen| seen.received.len() >= 3000, 1);
    assert_eq!((rig.seen(1).received.len(), rig.seen(1).packets), (3000, 3));
    // The middle again, then on from a place that was not released.
    rig.ask(1, FlowRequest::Release { until: 1500 });
    rig.ask(1, FlowRequest::Seek { to: 1700, until: 2100 });
    rig.until("the middle", |seen| seen.received.len() >= 3400, 1);
    assert_eq!(rig.seen(1).received[3000..], all[1700..2100]);
    rig.ask(1, FlowRequest::Seek { to: 1500, until: u64::MAX });
    drop(stream);
    rig.until("the end", |seen| seen.events.contains(&FlowEvent::Finished), 1);
    assert_eq!(rig.seen(1).received[3400..], all[1500..]);
    // After the end as well, which is not reported twice.
    rig.ask(1, FlowRequest::Seek { to: 9000, until: u64::MAX });
    rig.until("the last", |seen| seen.received.len() >= 3400 + 8500 + 1000, 1);
    rig.ask(1, FlowRequest::Release { until: 10_000 });
    for _ in 0..10 {
        rig.0.turn(&mut Nobody).unwrap();
    }
    let seen = rig.seen(1);
    assert_eq!(seen.received[3400 + 8500..], all[9000..]);
    assert_eq!(seen.events.iter().filter(|&event| *event == FlowEvent::Finished).count(), 1);
}

#[test]
fn a_bound_flow_talks_to_many_and_names_whose_error_it_was() {
    let mut rig = Rig::new();
    let echoes = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let places = [0, 1].map(|at: usize| echoes[at].local_addr().unwrap());
    rig.0.engine_mut().flows.insert(FlowId(1), Seen::default());
    let local = "0.0.0.0:4000".parse().unwrap();
    rig.ask(1, FlowRequest::Bind { transport: Transport::Udp, local, or_any_port: true });
    rig.connected(1);
    let FlowEvent::Connected { local, .. } = rig.seen(1).events[0] else { panic!() };
    assert_eq!(local.port(), 4000, "it was free");
    let send = |rig: &mut Rig, to: SocketAddr, text: &[u8]| {
        let (_, _, out) = rig.0.engine_and_outbox();
        let mut packet = out.make(text.len()).unwrap();
        packet.extend(text).unwrap();
        assert!(adit_engine::flow::push_address(&mut packet, to));
        out.send(Endpoint::Flow(FlowId(1)), packet);
        rig.0.turn(&mut Nobody).unwrap();
    };
    let mut buf = [0; 100];
    for (echo, place) in echoes.iter().zip(places) {
        echo.set_read_timeout(Some(PATIENCE)).unwrap();
        send(&mut rig, place, b"hello");
        let (count, from) = echo.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..count], from.port()), (&b"hello"[..], 4000));
        echo.send_to(b"back", from).unwrap();
        rig.seen(1).received.clear();
        rig.until("an answer", |seen| !seen.received.is_empty(), 1);
        let mut expected = [&[0; 10][..], &[0xff, 0xff, 127, 0, 0, 1]].concat();
        expected.extend(place.port().to_be_bytes());
        expected.extend(b"back");
        assert_eq!(rig.seen(1).received, expected);
    }
    drop(echoes);
    send(&mut rig, places[1], b"nobody");
    let error = |seen: &Seen| {
        seen.events.iter().find(|event| matches!(event, FlowEvent::Icmp { .. })).copied()
    };
    rig.until("an error", |seen| error(seen).is_some(), 1);
    let from = Some(places[1].ip());
    let expected = FlowEvent::Icmp { to: places[1], from, kind: 3, code: 3, mtu: 0 };
    assert_eq!(error(rig.seen(1)), Some(expected));
    send(&mut rig, "198.51.100.1:9".parse().unwrap(), b"no route");
    let no_route =
        |event: &FlowEvent| matches!(event, FlowEvent::Icmp { from: None, kind: 3, code: 0, .. });
    rig.until("no route", |seen| seen.events.iter().any(no_route), 1);
    let too_big = |event: &FlowEvent| matches!(event, FlowEvent::Icmp { kind: 3, code: 4, .. });
    ip("link set lo mtu 1400");
    send(&mut rig, places[0], &[0; 1390]);
    rig.until("too big", |seen| seen.events.iter().any(too_big), 1);
    let mtu = rig.seen(1).events.iter().find_map(|event| match event {
        FlowEvent::Icmp { to, kind: 3, code: 4, mtu, .. } => Some((*to, *mtu)),
        _ => None,
    });
    assert_eq!(mtu, Some((places[0], 1400)));
    ip("link set lo mtu 65536");
}

#[test]
fn a_connection_keeps_the_port_that_is_free() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    let mut streams = Vec::new();
    for (id, keeps) in [(1, true), (2, false)] {
        rig.0.engine_mut().flows.insert(FlowId(id), Seen::default());
        rig.ask(
            id,
            FlowRequest::Open {
                transport: Transport::Tcp,
                to: address,
                port: 40_123,
                hop_limit: 0,
            },
        );
        rig.connected(id);
        let (stream, from) = listener.accept().unwrap();
        assert_eq!(from.port() == 40_123, keeps, "{from}");
        streams.push(stream);
    }
}
